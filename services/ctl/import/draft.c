#include "services/ctl/import/draft.h"

#include <stdarg.h>
#include <stdlib.h>

#include "common/runtime/config/config.h"

#define DRAFT_NAME "import"
enum { SETTLE_ROUNDS = 64 };

void draft_free(struct draft *d)
{
    free(d->lines);
    d->lines = NULL;
    d->count = d->cap = 0;
}

static unsigned depth_of(const struct draft *d, size_t parent)
{
    unsigned depth = 0;
    for (; parent; parent = d->lines[parent - 1].parent)
        depth++;
    return depth;
}

static bool has_room(struct draft *d)
{
    if (d->count < d->cap)
        return true;
    size_t cap = d->cap ? d->cap * 2 : 64;
    struct draft_line *grown = realloc(d->lines, cap * sizeof *grown);
    if (!grown)
        return false;
    d->lines = grown;
    d->cap = cap;
    return true;
}

size_t draft_add(struct draft *d, size_t parent, struct import_place from, const char *format, ...)
{
    struct buf text = {0};
    for (unsigned i = depth_of(d, parent); i; i--)
        buf_append_str(&text, "  ");
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    const char *copy = buf_check(&text) ? NULL : arena_strdup(d->arena, buf_span(&text));
    buf_free(&text);
    if (!copy || !has_room(d)) {
        d->failed = true;
        return parent;
    }
    d->lines[d->count++] = (struct draft_line){.parent = parent, .from = from, .text = copy};
    size_t *first = parent ? &d->lines[parent - 1].first : &d->first;
    size_t *last = parent ? &d->lines[parent - 1].last : &d->last;
    *(*last ? &d->lines[*last - 1].next : first) = d->count;
    *last = d->count;
    return d->count;
}

/* A head all of whose lines were taken out goes with them. */
static bool is_out(const struct draft *d, size_t at)
{
    const struct draft_line *l = &d->lines[at - 1];
    if (l->dropped || !l->first)
        return l->dropped;
    for (size_t child = l->first; child; child = d->lines[child - 1].next) {
        if (!is_out(d, child))
            return false;
    }
    return true;
}

static void write_lines(struct draft *d, size_t at, struct buf *out, unsigned *written)
{
    for (; at; at = d->lines[at - 1].next) {
        struct draft_line *l = &d->lines[at - 1];
        l->written = 0;
        if (is_out(d, at))
            continue;
        buf_append_str(out, l->text);
        buf_append_char(out, '\n');
        l->written = ++*written;
        write_lines(d, l->first, out, written);
    }
}

void draft_write(struct draft *d, struct buf *out)
{
    unsigned written = 0;
    for (size_t i = 0; i < d->count; i++)
        d->lines[i].written = 0;
    buf_clear(out);
    write_lines(d, d->first, out, &written);
}

/* "import:12: models.x: what": the line and what it says. */
static bool read_complaint(struct span line, uint64_t *number_out, struct span *what_out)
{
    struct span name = span_cut(&line, ':');
    struct span number = span_cut(&line, ':');
    *what_out = span_trim(line);
    return span_is(name, DRAFT_NAME) && span_to_u64(number, number_out);
}

static bool drop_line(struct draft *d, struct report *r, uint64_t number, struct span what)
{
    for (size_t i = 0; i < d->count; i++) {
        struct draft_line *l = &d->lines[i];
        if (l->written != number)
            continue;
        if (!l->dropped)
            report_add(r, FATE_LEFT, l->from, "our check refuses it: %.*s", SPAN_ARG(what));
        l->dropped = true;
        return true;
    }
    return false;
}

static bool drop_refused(struct draft *d, struct report *r, struct span errors)
{
    bool dropped = false;
    while (errors.len) {
        uint64_t number = 0;
        struct span what;
        if (read_complaint(span_cut(&errors, '\n'), &number, &what) && number)
            dropped |= drop_line(d, r, number, what);
    }
    return dropped;
}

enum err draft_settle(struct draft *d, struct report *r, struct buf *out, struct buf *errors_out)
{
    const struct config_paths paths = {"/run/tollgate", "/var/lib/tollgate"};
    for (int i = 0; i < SETTLE_ROUNDS && !d->failed && !r->failed; i++) {
        struct config *config = NULL;
        draft_write(d, out);
        buf_clear(errors_out);
        enum err e = buf_check(out);
        if (!e)
            e = config_read(buf_span(out), DRAFT_NAME, &paths, &config, errors_out);
        config_destroy(&config);
        if (e != ERR_INVALID)
            return e;
        if (!drop_refused(d, r, buf_span(errors_out)))
            return ERR_INVALID;
    }
    return d->failed || r->failed ? ERR_NOMEM : ERR_INVALID;
}
