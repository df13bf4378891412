#include "services/ctl/import/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/json.h"

static const char *const heads[FATES] = {[FATE_CARRIED] = "carried",
                                         [FATE_CHANGED] = "carried with a difference",
                                         [FATE_LEFT] = "not carried"};
static const char *const names[FATES] = {
    [FATE_CARRIED] = "carried", [FATE_CHANGED] = "changed", [FATE_LEFT] = "not_carried"};

void report_free(struct report *r)
{
    free(r->entries);
    r->entries = NULL;
    r->count = r->cap = 0;
}

static bool has_room(struct report *r)
{
    if (r->count < r->cap)
        return true;
    size_t cap = r->cap ? r->cap * 2 : 64;
    struct fate_entry *grown = realloc(r->entries, cap * sizeof *grown);
    if (!grown)
        return false;
    r->entries = grown;
    r->cap = cap;
    return true;
}

void report_add(struct report *r, enum fate fate, struct import_place at, const char *format, ...)
{
    char note[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(note, sizeof note, format, args);
    va_end(args);
    const char *copy = arena_strdup(r->arena, span_str(note));
    if (!copy || !at.path || !has_room(r)) {
        r->failed = true;
        return;
    }
    r->entries[r->count++] = (struct fate_entry){fate, at, copy};
}

size_t report_count(const struct report *r, enum fate fate)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        n += r->entries[i].fate == fate;
    return n;
}

static int by_place(const void *a, const void *b)
{
    const struct fate_entry *x = a, *y = b;
    int files = strcmp(x->at.file, y->at.file);
    if (files)
        return files;
    if (x->at.line != y->at.line)
        return x->at.line < y->at.line ? -1 : 1;
    int paths = strcmp(x->at.path, y->at.path);
    return paths ? paths : strcmp(x->note, y->note);
}

static void sort(struct report *r)
{
    if (r->count)
        qsort(r->entries, r->count, sizeof *r->entries, by_place);
}

/* A file's text may hold anything; a terminal gets '?' for control bytes. */
static void put_plain(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_append_char(out, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

void report_text(struct report *r, struct buf *out)
{
    sort(r);
    for (enum fate fate = 0; fate < FATES; fate++) {
        buf_printf(out, "%s: %zu\n", heads[fate], report_count(r, fate));
        for (size_t i = 0; i < r->count; i++) {
            const struct fate_entry *e = &r->entries[i];
            if (e->fate != fate)
                continue;
            buf_append_str(out, "  ");
            put_plain(out, e->at.file);
            buf_printf(out, ":%u: ", e->at.line);
            put_plain(out, e->at.path);
            buf_append_str(out, *e->note ? ": " : "");
            put_plain(out, e->note);
            buf_append_char(out, '\n');
        }
    }
}

void report_json(struct report *r, struct buf *out)
{
    struct json_writer w = {.out = out};
    sort(r);
    jw_object(&w);
    for (enum fate fate = 0; fate < FATES; fate++) {
        jw_key(&w, names[fate]);
        jw_array(&w);
        for (size_t i = 0; i < r->count; i++) {
            const struct fate_entry *e = &r->entries[i];
            if (e->fate != fate)
                continue;
            jw_object(&w);
            jw_key(&w, "file");
            jw_str(&w, e->at.file);
            jw_key(&w, "line");
            jw_u64(&w, e->at.line);
            jw_key(&w, "path");
            jw_str(&w, e->at.path);
            jw_key(&w, "note");
            jw_str(&w, e->note);
            jw_object_end(&w);
        }
        jw_array_end(&w);
    }
    jw_object_end(&w);
    buf_append_char(out, '\n');
}
