#include "services/worker/stop_filter.h"

/* ---- json text as UTF-16 units ---- */

static unsigned hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return (unsigned)((c | 0x20) - 'a' + 10) & 15;
}

static uint16_t escape_unit(char c)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *at = c ? strchr(from, c) : NULL;
    return (uint16_t)(at ? to[at - from] : c);
}

/* One character of json text (checked by the parser before): its bytes, and one or two units. */
static size_t next_units(struct span text, size_t at, uint16_t units[2], size_t *count)
{
    const unsigned char *s = (const unsigned char *)text.data + at;
    size_t left = text.len - at;
    *count = 1;
    if (s[0] == '\\' && left >= 6 && s[1] == 'u') {
        units[0] = (uint16_t)(hex_digit((char)s[2]) << 12 | hex_digit((char)s[3]) << 8 |
                              hex_digit((char)s[4]) << 4 | hex_digit((char)s[5]));
        return 6;
    }
    if (s[0] == '\\' && left >= 2) {
        units[0] = escape_unit((char)s[1]);
        return 2;
    }
    if (s[0] >= 0xf0 && left >= 4) {
        uint32_t c = (uint32_t)(s[0] & 7) << 18 | (uint32_t)(s[1] & 63) << 12 |
                     (uint32_t)(s[2] & 63) << 6 | (s[3] & 63);
        c -= 0x10000;
        units[0] = (uint16_t)(0xd800 | (c >> 10 & 0x3ff));
        units[1] = (uint16_t)(0xdc00 | (c & 0x3ff));
        *count = 2;
        return 4;
    }
    if (s[0] >= 0xe0 && left >= 3) {
        units[0] = (uint16_t)((s[0] & 15) << 12 | (s[1] & 63) << 6 | (s[2] & 63));
        return 3;
    }
    if (s[0] >= 0xc0 && left >= 2) {
        units[0] = (uint16_t)((s[0] & 31) << 6 | (s[1] & 63));
        return 2;
    }
    units[0] = s[0];
    return 1;
}

static enum err decode(struct stop_sequence *out, struct span text, struct arena *arena)
{
    uint16_t *units = ARENA_ARRAY(arena, uint16_t, text.len + 2);
    if (!units)
        return ERR_NOMEM;
    out->text = text;
    out->units = units;
    out->count = 0;
    for (size_t at = 0, n; at < text.len;) {
        at += next_units(text, at, units + out->count, &n);
        out->count += n;
    }
    return OK;
}

enum err stop_filter_init(struct stop_filter *f, const struct span *stops, size_t count,
                          struct arena *arena)
{
    *f = (struct stop_filter){0};
    f->sequences = count ? ARENA_ARRAY(arena, struct stop_sequence, count) : NULL;
    if (count && !f->sequences)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (stops[i].len == 0)
            continue;
        enum err e = decode(&f->sequences[f->count], stops[i], arena);
        if (e)
            return e;
        f->count++;
    }
    return OK;
}

bool stop_filter_is_empty(const struct stop_filter *f)
{
    return f->count == 0;
}

enum match { MATCH_NO, MATCH_PARTIAL, MATCH_WHOLE };

static enum match match_at(struct span text, size_t at, const struct stop_sequence *s)
{
    size_t matched = 0;
    while (matched < s->count) {
        if (at >= text.len)
            return MATCH_PARTIAL;
        uint16_t units[2];
        size_t n;
        at += next_units(text, at, units, &n);
        for (size_t i = 0; i < n && matched < s->count; i++) {
            if (units[i] != s->units[matched++])
                return MATCH_NO;
        }
    }
    return MATCH_WHOLE;
}

static enum match match_any(struct stop_filter *f, struct span text, size_t at)
{
    enum match best = MATCH_NO;
    for (size_t i = 0; i < f->count; i++) {
        enum match m = match_at(text, at, &f->sequences[i]);
        if (m == MATCH_WHOLE) {
            f->found = f->sequences[i].text;
            return m;
        }
        if (m > best)
            best = m;
    }
    return best;
}

/* What has been let through is forgotten at the next call, so that *out can be a view. */
bool stop_filter_feed(struct stop_filter *f, struct span text, struct span *out)
{
    buf_consume(&f->held, f->shown);
    buf_append(&f->held, text);
    struct span all = buf_span(&f->held);
    for (size_t at = 0; at < all.len;) {
        enum match m = match_any(f, all, at);
        if (m != MATCH_NO) {
            *out = span_first(all, f->shown = at);
            return m == MATCH_WHOLE;
        }
        uint16_t units[2];
        size_t n;
        at += next_units(all, at, units, &n);
    }
    f->shown = all.len;
    *out = all;
    return false;
}

struct span stop_filter_flush(struct stop_filter *f)
{
    struct span rest = f->found.data ? SPAN_NONE : span_skip(buf_span(&f->held), f->shown);
    f->shown = f->held.len;
    return rest;
}

void stop_filter_free(struct stop_filter *f)
{
    buf_free(&f->held);
}
