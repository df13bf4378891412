#include "common/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- UTF-8 ---- */

/* Length of the valid sequence at s[0..n), 0 when it is none (RFC 3629: no overlong forms, no
 * surrogates). */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        return n >= 2 && (s[1] & 0xc0) == 0x80 ? 2 : 0;
    if (s[0] >= 0xe0 && s[0] <= 0xef) {
        if (n < 3 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
            return 0;
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
            return 0;
        return 3;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        if (n < 4 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
            return 0;
        if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
            return 0;
        return 4;
    }
    return 0;
}

bool utf8_valid(struct span s)
{
    const unsigned char *at = (const unsigned char *)s.data;
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_length(at + i, s.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void utf8_repair(struct buf *out, struct span s)
{
    const unsigned char *at = (const unsigned char *)s.data;
    size_t good = 0;
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_length(at + i, s.len - i);
        if (n) {
            i += n;
            continue;
        }
        buf_append(out, span_of(s.data + good, i - good));
        buf_append_str(out, "\xef\xbf\xbd");
        good = ++i;
    }
    buf_append(out, span_of(s.data + good, s.len - good));
}

static size_t utf8_put(char *at, uint32_t c)
{
    if (c < 0x80) {
        at[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        at[0] = (char)(0xc0 | c >> 6);
        at[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        at[0] = (char)(0xe0 | c >> 12);
        at[1] = (char)(0x80 | (c >> 6 & 0x3f));
        at[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    at[0] = (char)(0xf0 | c >> 18);
    at[1] = (char)(0x80 | (c >> 12 & 0x3f));
    at[2] = (char)(0x80 | (c >> 6 & 0x3f));
    at[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* ---- parsing ---- */

struct parser {
    struct json_doc *doc;
    const unsigned char *s;
    size_t n;
    size_t i;
};

static enum err fail(struct parser *p, enum err e, const char *what)
{
    p->doc->error = what;
    p->doc->error_at = p->i;
    return e;
}

static void skip_white(struct parser *p)
{
    while (p->i < p->n) {
        unsigned char c = p->s[p->i];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return;
        p->i++;
    }
}

static struct json_node *add_node(struct parser *p, enum json_type type)
{
    struct json_doc *doc = p->doc;
    if (doc->count == doc->cap) {
        uint32_t cap = doc->cap ? doc->cap * 2 : 64;
        struct json_node *grown = realloc(doc->nodes, cap * sizeof *grown);
        if (!grown)
            return NULL;
        doc->nodes = grown;
        doc->cap = cap;
    }
    struct json_node *node = &doc->nodes[doc->count++];
    *node = (struct json_node){.start = (uint32_t)p->i, .next = doc->count, .type = (uint8_t)type};
    return node;
}

/* Advances over bytes that need no look: not a quote, a backslash, a control or a non-ASCII byte.
 */
static void skip_plain(struct parser *p)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  space = _mm_set1_epi8(0x20);
    while (p->n - p->i >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p->s + p->i));
        /* signed compare: bytes >= 0x80 are negative, so they are below the space too */
        __m128i stop =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                         _mm_cmplt_epi8(v, space));
        int mask = _mm_movemask_epi8(stop);
        if (mask) {
            p->i += (size_t)__builtin_ctz((unsigned)mask);
            return;
        }
        p->i += 16;
    }
#endif
    while (p->i < p->n) {
        unsigned char c = p->s[p->i];
        if (c == '"' || c == '\\' || c < 0x20 || c >= 0x80)
            return;
        p->i++;
    }
}

static bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static enum err skip_escape(struct parser *p)
{
    if (p->n - p->i < 2)
        return fail(p, ERR_INVALID, "unterminated string");
    unsigned char c = p->s[p->i + 1];
    if (c == 'u') {
        for (size_t k = 2; k < 6; k++) {
            if (p->i + k >= p->n || !is_hex(p->s[p->i + k]))
                return fail(p, ERR_INVALID, "bad \\u escape");
        }
        p->i += 6;
        return OK;
    }
    if (!c || !strchr("\"\\/bfnrt", c))
        return fail(p, ERR_INVALID, "bad escape in string");
    p->i += 2;
    return OK;
}

static enum err parse_string(struct parser *p)
{
    if (!add_node(p, JSON_STRING))
        return fail(p, ERR_NOMEM, "out of memory");
    uint32_t at = p->doc->count - 1;
    p->i++;
    for (;;) {
        skip_plain(p);
        if (p->i >= p->n)
            return fail(p, ERR_INVALID, "unterminated string");
        unsigned char c = p->s[p->i];
        if (c == '"')
            break;
        if (c == '\\') {
            p->doc->nodes[at].escaped = 1;
            enum err e = skip_escape(p);
            if (e)
                return e;
        } else if (c < 0x20) {
            return fail(p, ERR_INVALID, "control character in string");
        } else {
            size_t n = utf8_length(p->s + p->i, p->n - p->i);
            if (n == 0)
                return fail(p, ERR_INVALID, "invalid UTF-8");
            p->i += n;
        }
    }
    p->i++;
    p->doc->nodes[at].end = (uint32_t)p->i;
    return OK;
}

static bool is_digit(const struct parser *p)
{
    return p->i < p->n && p->s[p->i] >= '0' && p->s[p->i] <= '9';
}

static bool skip_digits(struct parser *p)
{
    if (!is_digit(p))
        return false;
    while (is_digit(p))
        p->i++;
    return true;
}

static enum err parse_number(struct parser *p)
{
    if (!add_node(p, JSON_NUMBER))
        return fail(p, ERR_NOMEM, "out of memory");
    if (p->s[p->i] == '-')
        p->i++;
    if (p->i < p->n && p->s[p->i] == '0')
        p->i++;
    else if (!skip_digits(p))
        return fail(p, ERR_INVALID, "bad number");
    if (p->i < p->n && p->s[p->i] == '.') {
        p->i++;
        if (!skip_digits(p))
            return fail(p, ERR_INVALID, "bad number");
    }
    if (p->i < p->n && (p->s[p->i] | 0x20) == 'e') {
        p->i++;
        if (p->i < p->n && (p->s[p->i] == '+' || p->s[p->i] == '-'))
            p->i++;
        if (!skip_digits(p))
            return fail(p, ERR_INVALID, "bad number");
    }
    p->doc->nodes[p->doc->count - 1].end = (uint32_t)p->i;
    return OK;
}

static enum err parse_word(struct parser *p, const char *word, enum json_type type)
{
    size_t n = strlen(word);
    if (p->n - p->i < n || memcmp(p->s + p->i, word, n) != 0)
        return fail(p, ERR_INVALID, "unexpected character");
    if (!add_node(p, type))
        return fail(p, ERR_NOMEM, "out of memory");
    p->i += n;
    p->doc->nodes[p->doc->count - 1].end = (uint32_t)p->i;
    return OK;
}

static enum err parse_scalar(struct parser *p)
{
    switch (p->s[p->i]) {
    case '"':
        return parse_string(p);
    case 't':
        return parse_word(p, "true", JSON_BOOL);
    case 'f':
        return parse_word(p, "false", JSON_BOOL);
    case 'n':
        return parse_word(p, "null", JSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return parse_number(p);
    default:
        return fail(p, ERR_INVALID, "unexpected character");
    }
}

/* A key and its colon. */
static enum err parse_key(struct parser *p)
{
    skip_white(p);
    if (p->i >= p->n || p->s[p->i] != '"')
        return fail(p, ERR_INVALID, "expected a member name");
    enum err e = parse_string(p);
    if (e)
        return e;
    skip_white(p);
    if (p->i >= p->n || p->s[p->i] != ':')
        return fail(p, ERR_INVALID, "expected a colon");
    p->i++;
    return OK;
}

struct open_list {
    uint32_t at[JSON_DEPTH_MAX];
    unsigned depth;
};

static bool top_is_object(const struct parser *p, const struct open_list *open)
{
    return p->doc->nodes[open->at[open->depth - 1]].type == JSON_OBJECT;
}

/* After a value: closes what ends here and eats the comma; *done when the whole text's value is
 * complete. */
static enum err finish_value(struct parser *p, struct open_list *open, bool *done)
{
    for (;;) {
        if (open->depth == 0) {
            *done = true;
            return OK;
        }
        skip_white(p);
        if (p->i >= p->n)
            return fail(p, ERR_INVALID, "unexpected end");
        bool object = top_is_object(p, open);
        if (p->s[p->i] == ',') {
            p->i++;
            return object ? parse_key(p) : OK;
        }
        if (p->s[p->i] != (object ? '}' : ']'))
            return fail(p, ERR_INVALID, object ? "expected , or }" : "expected , or ]");
        p->i++;
        struct json_node *node = &p->doc->nodes[open->at[--open->depth]];
        node->end = (uint32_t)p->i;
        node->next = p->doc->count;
    }
}

/* An opening brace or bracket; *empty when it closes at once. */
static enum err open_container(struct parser *p, struct open_list *open, unsigned max_depth,
                               bool *empty)
{
    bool object = p->s[p->i] == '{';
    if (open->depth >= max_depth)
        return fail(p, ERR_TOO_BIG, "nested too deeply");
    if (!add_node(p, object ? JSON_OBJECT : JSON_ARRAY))
        return fail(p, ERR_NOMEM, "out of memory");
    open->at[open->depth++] = p->doc->count - 1;
    p->i++;
    skip_white(p);
    *empty = p->i < p->n && p->s[p->i] == (object ? '}' : ']');
    return !*empty && object ? parse_key(p) : OK;
}

static enum err parse_all(struct parser *p, unsigned max_depth)
{
    struct open_list open;
    open.depth = 0;
    bool done = false;
    while (!done) {
        skip_white(p);
        if (p->i >= p->n)
            return fail(p, ERR_INVALID, "unexpected end");
        enum err e;
        bool complete = true;
        if (p->s[p->i] == '{' || p->s[p->i] == '[')
            e = open_container(p, &open, max_depth, &complete);
        else
            e = parse_scalar(p);
        if (!e && complete)
            e = finish_value(p, &open, &done);
        if (e)
            return e;
    }
    skip_white(p);
    return p->i == p->n ? OK : fail(p, ERR_INVALID, "text after the value");
}

enum err json_parse(struct json_doc *doc, struct span text, unsigned max_depth)
{
    struct parser p = {.doc = doc, .s = (const unsigned char *)text.data, .n = text.len};
    doc->text = text;
    doc->count = 0;
    doc->error = NULL;
    doc->error_at = 0;
    enum err e;
    if (text.len >= UINT32_MAX)
        e = fail(&p, ERR_TOO_BIG, "text too long");
    else
        e = parse_all(&p, max_depth < JSON_DEPTH_MAX ? max_depth : JSON_DEPTH_MAX);
    if (e)
        doc->count = 0;
    return e;
}

void json_doc_free(struct json_doc *doc)
{
    free(doc->nodes);
    *doc = (struct json_doc){0};
}

/* ---- reading ---- */

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

/* json_is with the name's length known: objects are searched far more often than parsed. */
static bool key_is(struct json key, const char *name, size_t len)
{
    const struct json_node *n = &key.doc->nodes[key.at];
    if (n->escaped)
        return json_is(key, name);
    return n->end - n->start == len + 2 &&
           memcmp(key.doc->text.data + n->start + 1, name, len) == 0;
}

struct json json_get(struct json object, const char *name)
{
    struct json found = JSON_NOTHING;
    size_t len = strlen(name);
    if (json_type(object) != JSON_OBJECT)
        return found;
    for (struct json_iter i = json_iter(object); json_next(&i);) {
        if (key_is(i.key, name, len))
            found = i.value;
    }
    return found;
}

unsigned json_count_named(struct json object, const char *name)
{
    unsigned count = 0;
    size_t len = strlen(name);
    if (json_type(object) != JSON_OBJECT)
        return 0;
    for (struct json_iter i = json_iter(object); json_next(&i);)
        count += key_is(i.key, name, len);
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

/* Decodes json text into at, which has room for text.len bytes (decoding never grows); returns the
 * length. */
static size_t decode_into(struct span text, char *at)
{
    static const char plain[] = "\"\\/bfnrt", decoded[] = "\"\\/\b\f\n\r\t";
    size_t out = 0;
    for (size_t i = 0; i < text.len;) {
        const char *slash = memchr(text.data + i, '\\', text.len - i);
        size_t run = slash ? (size_t)(slash - text.data) - i : text.len - i;
        memcpy(at + out, text.data + i, run);
        out += run;
        i += run;
        if (i + 1 >= text.len)
            break;
        if (text.data[i + 1] == 'u' && text.len - i >= 6) {
            out += utf8_put(at + out, decode_u(text, &i));
        } else {
            const char *which = strchr(plain, text.data[i + 1]);
            at[out++] = which && *which ? decoded[which - plain] : '?';
            i += 2;
        }
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

bool json_is(struct json v, const char *string)
{
    struct span text = json_text(v);
    if (!text.data)
        return false;
    if (!node_of(v)->escaped)
        return span_is(text, string);
    /* Escapes make text longer than its bytes, six to one at most. */
    size_t n = strlen(string);
    char small[512];
    if (text.len < n || text.len > 6 * n || text.len > sizeof small)
        return false;
    size_t len = decode_into(text, small);
    return span_is(span_of(small, len), string);
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

/* ---- writing ---- */

void json_append_text(struct buf *out, struct span bytes)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = (const unsigned char *)bytes.data;
    size_t from = 0;
    if (bytes.len == 0)
        return;
    for (size_t i = 0; i < bytes.len;) {
        unsigned char c = s[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c < 0x80) {
            i++;
            continue;
        }
        size_t n = c >= 0x80 ? utf8_length(s + i, bytes.len - i) : 0;
        if (n) {
            i += n;
            continue;
        }
        buf_append(out, span_of(bytes.data + from, i - from));
        static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
        const char *named = c && c < 0x80 ? strchr(special, c) : NULL;
        if (c >= 0x80) {
            buf_append_str(out, "\xef\xbf\xbd");
        } else if (named) {
            char pair[2] = {'\\', letters[named - special]};
            buf_append(out, span_of(pair, 2));
        } else {
            char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buf_append(out, span_of(six, 6));
        }
        from = ++i;
    }
    buf_append(out, span_of(bytes.data + from, bytes.len - from));
}

void json_append_string(struct buf *out, struct span bytes)
{
    buf_append_char(out, '"');
    json_append_text(out, bytes);
    buf_append_char(out, '"');
}

void json_append_compact(struct buf *out, struct json v)
{
    struct span raw = json_raw(v);
    bool inside = false;
    size_t from = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.data[i];
        if (inside) {
            if (c == '\\')
                i++;
            else if (c == '"')
                inside = false;
        } else if (c == '"') {
            inside = true;
        } else if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
            buf_append(out, span_of(raw.data + from, i - from));
            from = i + 1;
        }
    }
    buf_append(out, span_of(raw.data + from, raw.len - from));
}

static void before_value(struct json_writer *w)
{
    if (w->comma_)
        buf_append_char(w->out, ',');
    w->comma_ = true;
}

void jw_object(struct json_writer *w)
{
    before_value(w);
    buf_append_char(w->out, '{');
    w->comma_ = false;
}

void jw_object_end(struct json_writer *w)
{
    buf_append_char(w->out, '}');
    w->comma_ = true;
}

void jw_array(struct json_writer *w)
{
    before_value(w);
    buf_append_char(w->out, '[');
    w->comma_ = false;
}

void jw_array_end(struct json_writer *w)
{
    buf_append_char(w->out, ']');
    w->comma_ = true;
}

void jw_key_text(struct json_writer *w, struct span text)
{
    jw_text(w, text);
    buf_append_char(w->out, ':');
    w->comma_ = false;
}

void jw_key(struct json_writer *w, const char *name)
{
    jw_key_text(w, span_str(name));
}

void jw_raw(struct json_writer *w, struct span json)
{
    before_value(w);
    buf_append(w->out, json);
}

void jw_value(struct json_writer *w, struct json v)
{
    jw_raw(w, json_raw(v));
}

void jw_string(struct json_writer *w, struct span bytes)
{
    before_value(w);
    json_append_string(w->out, bytes);
}

void jw_text(struct json_writer *w, struct span text)
{
    before_value(w);
    buf_append_char(w->out, '"');
    buf_append(w->out, text);
    buf_append_char(w->out, '"');
}

void jw_str(struct json_writer *w, const char *c_string)
{
    jw_string(w, span_str(c_string));
}

void jw_u64(struct json_writer *w, uint64_t v)
{
    before_value(w);
    buf_append_u64(w->out, v);
}

void jw_i64(struct json_writer *w, int64_t v)
{
    before_value(w);
    buf_append_i64(w->out, v);
}

void jw_double(struct json_writer *w, double v)
{
    char text[40];
    if (!isfinite(v)) {
        jw_null(w);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    jw_raw(w, span_str(text));
}

void jw_bool(struct json_writer *w, bool v)
{
    jw_raw(w, v ? SPAN("true") : SPAN("false"));
}

void jw_null(struct json_writer *w)
{
    jw_raw(w, SPAN("null"));
}

void jw_string_begin(struct json_writer *w)
{
    before_value(w);
    buf_append_char(w->out, '"');
}

void jw_string_part(struct json_writer *w, struct span bytes)
{
    json_append_text(w->out, bytes);
}

void jw_string_text(struct json_writer *w, struct span text)
{
    buf_append(w->out, text);
}

void jw_string_end(struct json_writer *w)
{
    buf_append_char(w->out, '"');
}
