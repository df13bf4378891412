#include "common/base/json.h"

#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "common/base/utf8.h"

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

static void skip_blanks(struct parser *p)
{
    while (p->i < p->n) {
        unsigned char c = p->s[p->i];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return;
        p->i++;
    }
}

/* Most JSON has none. */
static inline void skip_white(struct parser *p)
{
    if (p->i < p->n && p->s[p->i] <= ' ')
        skip_blanks(p);
}

static uint32_t most_values(const struct json_doc *doc)
{
    return doc->most ? doc->most : JSON_MAX_VALUES;
}

static bool grow(struct json_doc *doc)
{
    uint32_t cap = doc->cap ? doc->cap * 2 : 64, most = most_values(doc);
    cap = cap < most ? cap : most;
    if (cap <= doc->count)
        return false;
    struct json_node *grown = realloc(doc->nodes, cap * sizeof *grown);
    if (!grown)
        return false;
    doc->nodes = grown;
    doc->cap = cap;
    return true;
}

static enum err no_node(struct parser *p)
{
    return p->doc->count >= most_values(p->doc) ? fail(p, ERR_TOO_BIG, "too many values")
                                                : fail(p, ERR_NOMEM, "out of memory");
}

static inline struct json_node *add_node(struct parser *p, enum json_type type)
{
    struct json_doc *doc = p->doc;
    if (doc->count == doc->cap && !grow(doc))
        return NULL;
    struct json_node *node = &doc->nodes[doc->count++];
    *node = (struct json_node){.start = (uint32_t)p->i, .next = doc->count, .type = (uint8_t)type};
    return node;
}

/* From s[i] on: where the first byte stands that needs a look: a quote, a backslash, a control or a
 * non-ASCII byte. */
static inline size_t skip_plain(const unsigned char *s, size_t i, size_t n)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  space = _mm_set1_epi8(0x20);
    for (; n - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s + i));
        /* signed compare: bytes >= 0x80 are negative, so they are below the space too */
        __m128i stop =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                         _mm_cmplt_epi8(v, space));
        int mask = _mm_movemask_epi8(stop);
        if (mask)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    while (i < n && s[i] != '"' && s[i] != '\\' && s[i] >= 0x20 && s[i] < 0x80)
        i++;
    return i;
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

/* An escape, or a character beyond ASCII. */
static enum err parse_special(struct parser *p, struct json_node *string)
{
    unsigned char c = p->s[p->i];
    if (c == '\\') {
        string->escaped = 1;
        return skip_escape(p);
    }
    if (c < 0x20)
        return fail(p, ERR_INVALID, "control character in string");
    size_t n = utf8_length(p->s + p->i, p->n - p->i);
    if (n == 0)
        return fail(p, ERR_INVALID, "invalid UTF-8");
    p->i += n;
    return OK;
}

static enum err parse_string(struct parser *p)
{
    struct json_node *node = add_node(p, JSON_STRING);
    if (!node)
        return no_node(p);
    p->i++;
    for (;;) {
        p->i = skip_plain(p->s, p->i, p->n);
        if (p->i >= p->n)
            return fail(p, ERR_INVALID, "unterminated string");
        if (p->s[p->i] == '"')
            break;
        enum err e = parse_special(p, node);
        if (e)
            return e;
    }
    p->i++;
    node->end = (uint32_t)p->i;
    return OK;
}

static bool skip_digits(struct parser *p)
{
    const unsigned char *s = p->s;
    size_t i = p->i;
    while (i < p->n && s[i] >= '0' && s[i] <= '9')
        i++;
    bool any = i > p->i;
    p->i = i;
    return any;
}

static enum err parse_number(struct parser *p)
{
    if (!add_node(p, JSON_NUMBER))
        return no_node(p);
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
        return no_node(p);
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
        return no_node(p);
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
