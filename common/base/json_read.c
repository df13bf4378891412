/* json.h, "reading": what a tape says. */
#include "common/base/json.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/utf8.h"

static const struct json_node *node_of(struct json v)
{
    return v.doc && v.at < v.doc->count ? &v.doc->nodes[v.at] : NULL;
}

struct json json_root(const struct json_doc *doc)
{
    return doc->count ? (struct json){doc, 0} : JSON_NOTHING;
}

enum json_type json_type(struct json v)
{
    const struct json_node *n = node_of(v);
    return n ? (enum json_type)n->type : JSON_NONE;
}

bool json_absent(struct json v)
{
    enum json_type t = json_type(v);
    return t == JSON_NONE || t == JSON_NULL;
}

struct span json_raw(struct json v)
{
    const struct json_node *n = node_of(v);
    return n ? span_of(v.doc->text.data + n->start, n->end - n->start) : SPAN_NONE;
}

size_t json_offset(struct json v)
{
    const struct json_node *n = node_of(v);
    return n ? n->start : 0;
}

struct json_iter json_iter(struct json container)
{
    enum json_type t = json_type(container);
    struct json_iter i = {.container = container};
    if (t == JSON_ARRAY || t == JSON_OBJECT)
        i.next_ = container.at + 1;
    else
        i.container = JSON_NOTHING;
    return i;
}

bool json_next(struct json_iter *i)
{
    const struct json_node *n = node_of(i->container);
    if (!n || i->next_ >= n->next)
        return false;
    const struct json_doc *doc = i->container.doc;
    i->key = JSON_NOTHING;
    if (n->type == JSON_OBJECT)
        i->key = (struct json){doc, i->next_++};
    i->value = (struct json){doc, i->next_};
    i->next_ = doc->nodes[i->next_].next;
    return true;
}

/* json_equals, by the key's place: objects are searched far more often than parsed. */
static bool key_is(const struct json_doc *doc, uint32_t at, struct span name)
{
    const struct json_node *n = &doc->nodes[at];
    if (n->escaped)
        return json_equals((struct json){doc, at}, name);
    return n->end - n->start == name.len + 2 &&
           memcmp(doc->text.data + n->start + 1, name.data, name.len) == 0;
}

/* The last value of that name, as the tape has it; 0 when there is none. Counts them all. */
static uint32_t find_member(struct json object, struct span name, unsigned *count_out)
{
    const struct json_node *o = node_of(object);
    const struct json_doc *doc = object.doc;
    uint32_t found = 0;
    *count_out = 0;
    if (!o || o->type != JSON_OBJECT)
        return 0;
    for (uint32_t key = object.at + 1; key < o->next; key = doc->nodes[key + 1].next) {
        if (key_is(doc, key, name)) {
            found = key + 1;
            ++*count_out;
        }
    }
    return found;
}

struct json json_member(struct json object, struct span name)
{
    unsigned count;
    uint32_t at = find_member(object, name, &count);
    return at ? (struct json){object.doc, at} : JSON_NOTHING;
}

unsigned json_count_named(struct json object, const char *name)
{
    unsigned count;
    (void)find_member(object, span_str(name), &count);
    return count;
}

struct json json_at(struct json array, size_t index)
{
    if (json_type(array) != JSON_ARRAY)
        return JSON_NOTHING;
    for (struct json_iter i = json_iter(array); json_next(&i);) {
        if (index-- == 0)
            return i.value;
    }
    return JSON_NOTHING;
}

size_t json_count(struct json v)
{
    size_t count = 0;
    for (struct json_iter i = json_iter(v); json_next(&i);)
        count++;
    return count;
}

struct span json_text(struct json v)
{
    const struct json_node *n = node_of(v);
    if (!n || n->type != JSON_STRING)
        return SPAN_NONE;
    return span_of(v.doc->text.data + n->start + 1, n->end - n->start - 2);
}

static uint32_t hex4(const char *s)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

/* Decodes the \u escape at text[*i] (a pair where it is one) and moves *i behind it. */
static uint32_t decode_u(struct span text, size_t *i)
{
    uint32_t c = hex4(text.data + *i + 2);
    *i += 6;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c < 0xdc00 && text.len - *i >= 6 && text.data[*i] == '\\' && text.data[*i + 1] == 'u') {
        uint32_t low = hex4(text.data + *i + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *i += 6;
            return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return 0xfffd;
}

/* Decodes the byte or the escape at text[*i] into at, which has room for 4 bytes; moves *i behind
 * it.
 */
static size_t next_unit(struct span text, size_t *i, char *at)
{
    static const char plain[] = "\"\\/bfnrt", decoded[] = "\"\\/\b\f\n\r\t";
    if (text.data[*i] != '\\' || *i + 1 >= text.len) {
        *at = text.data[(*i)++];
        return 1;
    }
    if (text.data[*i + 1] == 'u' && text.len - *i >= 6)
        return utf8_put(at, decode_u(text, i));
    const char *which = strchr(plain, text.data[*i + 1]);
    *at = which && *which ? decoded[which - plain] : '?';
    *i += 2;
    return 1;
}

/* Decodes json text into at, which has room for text.len bytes (decoding never grows); returns the
 * length. */
static size_t decode_into(struct span text, char *at)
{
    size_t out = 0;
    for (size_t i = 0; i < text.len;) {
        const char *slash = memchr(text.data + i, '\\', text.len - i);
        size_t run = slash ? (size_t)(slash - text.data) - i : text.len - i;
        memcpy(at + out, text.data + i, run);
        out += run;
        i += run;
        if (i + 1 >= text.len)
            break;
        out += next_unit(text, &i, at + out);
    }
    return out;
}

void json_text_decode(struct span text, struct buf *out)
{
    char *at = text.len ? buf_reserve(out, text.len) : NULL;
    if (at)
        out->len += decode_into(text, at);
}

struct span json_string(struct json v, struct arena *arena)
{
    struct span text = json_text(v);
    const struct json_node *n = node_of(v);
    if (!text.data || !n->escaped)
        return text;
    char *at = arena_alloc(arena, text.len + 1);
    return at ? span_of(at, decode_into(text, at)) : SPAN_NONE;
}

/* Decodes no further than both are alike: a name is compared with many. */
static bool decodes_to(struct span text, struct span wanted)
{
    for (size_t i = 0; i < text.len;) {
        char unit[4];
        size_t n = next_unit(text, &i, unit);
        if (n > wanted.len || memcmp(unit, wanted.data, n) != 0)
            return false;
        wanted = span_skip(wanted, n);
    }
    return wanted.len == 0;
}

bool json_equals(struct json v, struct span wanted)
{
    const struct json_node *n = node_of(v);
    if (!n || n->type != JSON_STRING)
        return false;
    struct span text = span_of(v.doc->text.data + n->start + 1, n->end - n->start - 2);
    return n->escaped ? decodes_to(text, wanted) : span_equals(text, wanted);
}

bool json_bool(struct json v, bool *out)
{
    if (json_type(v) != JSON_BOOL)
        return false;
    *out = json_raw(v).data[0] == 't';
    return true;
}

bool json_double(struct json v, double *out)
{
    struct span raw = json_raw(v);
    char small[64];
    if (json_type(v) != JSON_NUMBER || raw.len >= sizeof small)
        return false;
    memcpy(small, raw.data, raw.len);
    small[raw.len] = '\0';
    *out = strtod(small, NULL);
    return isfinite(*out);
}

bool json_i64(struct json v, int64_t *out)
{
    struct span raw = json_raw(v);
    if (json_type(v) != JSON_NUMBER)
        return false;
    bool negative = raw.data[0] == '-';
    uint64_t magnitude;
    if (span_to_u64(span_skip(raw, negative), &magnitude)) {
        if (magnitude > (uint64_t)INT64_MAX + negative)
            return false;
        *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
        return true;
    }
    double d;
    /* 2^53: beyond it a double no longer holds every integer */
    if (!json_double(v, &d) || d != floor(d) || fabs(d) > 9007199254740992.0)
        return false;
    *out = (int64_t)d;
    return true;
}
