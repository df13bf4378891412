#include "services/worker/providers/stop_filter.h"

#include <assert.h>

enum err stop_filter_init(struct stop_filter *f, struct arena *arena, size_t max)
{
    *f = (struct stop_filter){.arena = arena, .usage = USAGE_NONE};
    f->stops = ARENA_ARRAY(arena, struct span, max);
    f->stops_text = ARENA_ARRAY(arena, struct span, max);
    return f->stops && f->stops_text ? OK : ERR_NOMEM;
}

enum err stop_filter_add(struct stop_filter *f, struct span stop_text)
{
    struct buf bytes = {0};
    json_text_decode(stop_text, &bytes);
    struct span stop = arena_copy(f->arena, buf_span(&bytes));
    size_t len = bytes.len;
    buf_free(&bytes);
    if (len == 0)
        return OK;
    if (len > STOP_FILTER_MAX_BYTES)
        return ERR_TOO_BIG;
    if (!stop.data)
        return ERR_NOMEM;
    f->stops[f->count] = stop;
    f->stops_text[f->count++] = stop_text;
    return OK;
}

/* ---- units of json text ---- */

static unsigned hex4(const char *at)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

/* Length of the unit at s: one byte, one escape, or two escapes that make one character. */
static size_t unit_length(struct span s)
{
    if (s.data[0] != '\\' || s.len < 2)
        return 1;
    if (s.data[1] != 'u' || s.len < 6)
        return 2;
    bool pair = (hex4(s.data + 2) & 0xfc00) == 0xd800 && s.len >= 12 && s.data[6] == '\\' &&
                s.data[7] == 'u' && (hex4(s.data + 8) & 0xfc00) == 0xdc00;
    return pair ? 12 : 6;
}

static bool is_high_half(struct span unit)
{
    return unit.len == 6 && (hex4(unit.data + 2) & 0xfc00) == 0xd800;
}

/* Decoded bytes with, for each, where its unit begins in the text; and where the text ends. */
struct decoded {
    struct buf bytes;
    size_t *from;
    size_t last_unit; /* offset of the last one */
};

static bool decode(struct span text, struct decoded *d, struct arena *scratch)
{
    d->from = ARENA_ARRAY(scratch, size_t, text.len + 1);
    if (!d->from)
        return false;
    for (size_t at = 0; at < text.len;) {
        struct span rest = span_skip(text, at);
        size_t n = unit_length(rest), before = d->bytes.len;
        json_text_decode(span_first(rest, n), &d->bytes);
        assert(d->bytes.len <= text.len); /* an escape is longer than what it says */
        for (size_t i = before; i < d->bytes.len; i++)
            d->from[i] = at;
        d->last_unit = at;
        at += n;
    }
    return buf_check(&d->bytes) == OK;
}

/* The first place where a sequence stands whole; false if none does. */
static bool find(const struct stop_filter *f, struct span bytes, size_t *at_out, size_t *which_out)
{
    bool found = false;
    for (size_t i = 0; i < f->count; i++) {
        size_t at = span_find_span(bytes, f->stops[i]);
        if (at == bytes.len || (found && at >= *at_out))
            continue;
        *at_out = at;
        *which_out = i;
        found = true;
    }
    return found;
}

/* How many of the last bytes may be the beginning of a sequence. */
static size_t tail(const struct stop_filter *f, struct span bytes)
{
    size_t longest = 0;
    for (size_t i = 0; i < f->count; i++) {
        size_t n = f->stops[i].len - 1;
        if (n > bytes.len)
            n = bytes.len;
        for (; n > longest; n--) {
            if (memcmp(bytes.data + bytes.len - n, f->stops[i].data, n) == 0)
                break;
        }
        longest = n > longest ? n : longest;
    }
    return longest;
}

/* ---- the filter ---- */

static bool hold(struct stop_filter *f, struct span text)
{
    if (text.len > f->held_cap) {
        char *grown = arena_alloc(f->arena, text.len * 2);
        if (!grown)
            return false;
        f->held = grown;
        f->held_cap = text.len * 2;
    }
    if (text.len)
        memcpy(f->held, text.data, text.len);
    f->held_len = text.len;
    return true;
}

static void pass_text(const struct neutral_event *like, struct span text, neutral_sink next,
                      void *ctx)
{
    if (text.len == 0)
        return;
    struct neutral_event e = *like;
    e.text = text;
    next(ctx, &e);
}

static void stop_at(struct stop_filter *f, size_t which, neutral_sink next, void *ctx)
{
    f->done = true;
    next(ctx, &(struct neutral_event){.kind = EVENT_USAGE, .usage = f->usage});
    next(ctx, &(struct neutral_event){.kind = EVENT_STOP,
                                      .stop = STOP_SEQUENCE,
                                      .stop_sequence_text = f->stops_text[which]});
    next(ctx, &(struct neutral_event){.kind = EVENT_END});
}

static void feed_text(struct stop_filter *f, const struct neutral_event *e, neutral_sink next,
                      void *ctx)
{
    struct buf joined = {0};
    struct arena scratch;
    struct decoded d = {.from = NULL};
    arena_init(&scratch, 0);
    buf_append(&joined, span_of(f->held, f->held_len));
    buf_append(&joined, e->text);
    struct span text = buf_span(&joined);
    size_t at = 0, which = 0;
    if (buf_check(&joined) || !decode(text, &d, &scratch)) {
        pass_text(e, text, next, ctx); /* out of memory: better too much text than none */
        f->held_len = 0;
    } else if (find(f, buf_span(&d.bytes), &at, &which)) {
        pass_text(e, span_first(text, d.from[at]), next, ctx);
        stop_at(f, which, next, ctx);
    } else {
        size_t keep = tail(f, buf_span(&d.bytes));
        size_t cut = keep ? d.from[d.bytes.len - keep] : text.len;
        if (cut == text.len && text.len && is_high_half(span_skip(text, d.last_unit)))
            cut = d.last_unit;
        struct span rest = span_skip(text, cut);
        if (!hold(f, rest))
            cut = text.len;
        pass_text(e, span_first(text, cut), next, ctx);
    }
    buf_free(&d.bytes);
    buf_free(&joined);
    arena_free(&scratch);
}

void stop_filter_feed(struct stop_filter *f, const struct neutral_event *e, neutral_sink next,
                      void *ctx)
{
    if (f->done)
        return;
    if (e->kind == EVENT_TEXT && f->count) {
        feed_text(f, e, next, ctx);
        return;
    }
    if (e->kind == EVENT_START || e->kind == EVENT_USAGE)
        usage_merge(&f->usage, &e->usage);
    if (e->kind != EVENT_PING && e->kind != EVENT_USAGE && f->held_len) {
        struct neutral_event text = {.kind = EVENT_TEXT};
        pass_text(&text, span_of(f->held, f->held_len), next, ctx);
        f->held_len = 0;
    }
    next(ctx, e);
}
