#include "services/edge/http/routes.h"

#define OPEN true
#define KEYED false

static const struct http_route table[] = {
#define API(...)
#define ROUTE(number, OPERATION, NAME, METHOD, path, BODY)                                         \
    {METHOD_##METHOD, path, API_##NAME, ROUTE_API, KEYED, API_BODY_##BODY, number},
#include "proto/apis.def"
#undef API
#undef ROUTE
    {METHOD_GET, "/v1/models", API_OPENAI_CHAT, ROUTE_MODELS, KEYED, API_BODY_NONE, 0},
    {METHOD_GET, "/v1/models/*", API_OPENAI_CHAT, ROUTE_MODEL, KEYED, API_BODY_NONE, 0},
    {METHOD_GET, "/health", API_OPENAI_CHAT, ROUTE_HEALTH, OPEN, API_BODY_NONE, 0},
    {METHOD_GET, "/health/liveness", API_OPENAI_CHAT, ROUTE_LIVENESS, OPEN, API_BODY_NONE, 0},
    {METHOD_GET, "/health/readiness", API_OPENAI_CHAT, ROUTE_READINESS, OPEN, API_BODY_NONE, 0},
    {METHOD_GET, "/metrics", API_OPENAI_CHAT, ROUTE_METRICS, OPEN, API_BODY_NONE, 0},
};

enum { TABLE_SIZE = sizeof table / sizeof table[0] };

static const struct {
    const char *name;
    unsigned bit;
} methods[] = {{"GET", METHOD_GET},
               {"HEAD", METHOD_HEAD},
               {"POST", METHOD_POST},
               {"DELETE", METHOD_DELETE},
               {"OPTIONS", METHOD_OPTIONS}};

enum { METHOD_COUNT = sizeof methods / sizeof methods[0] };

static unsigned method_bit(struct span method)
{
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (span_is(method, methods[i].name))
            return methods[i].bit;
    return 0;
}

/* The one wildcard of a pattern is `{}` or a trailing `*`; *rest_out is what it stood for. */
static bool pattern_matches(const char *pattern, struct span path, struct span *rest_out)
{
    size_t fixed = 0;
    *rest_out = SPAN_NONE;
    for (; pattern[fixed] && pattern[fixed] != '{' && pattern[fixed] != '*'; fixed++) {
        if (fixed == path.len || path.data[fixed] != pattern[fixed])
            return false;
    }
    struct span rest = span_skip(path, fixed);
    const char *wild = pattern + fixed;
    if (*wild == 0)
        return rest.len == 0;
    if (*wild == '*') {
        *rest_out = rest;
        return rest.len > 0;
    }
    size_t segment = span_find(rest, '/');
    *rest_out = span_first(rest, segment);
    return segment > 0 && span_is(span_skip(rest, segment), wild + 2);
}

struct route_match route_match(struct span method, struct span path)
{
    struct route_match m = {.found = ROUTE_NO_PATH};
    unsigned bit = method_bit(method);
    unsigned wanted = bit == METHOD_HEAD ? METHOD_GET : bit;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        struct span rest;
        if (!pattern_matches(table[i].pattern, path, &rest))
            continue;
        m.methods |= table[i].method;
        if (table[i].method == wanted && !m.route) {
            m.route = &table[i];
            m.rest = rest;
        }
    }
    if (m.methods & METHOD_GET)
        m.methods |= METHOD_HEAD;
    if (m.methods)
        m.methods |= METHOD_OPTIONS;
    if (m.route)
        m.found = ROUTE_FOUND;
    else if (m.methods)
        m.found = bit == METHOD_OPTIONS ? ROUTE_OPTIONS : ROUTE_NO_METHOD;
    return m;
}

const struct http_route *route_at(size_t index)
{
    return index < TABLE_SIZE ? &table[index] : NULL;
}

enum api route_protocol(struct span path, bool anthropic_version)
{
    if (span_is(path, "/v1/messages") || span_starts(path, "/v1/messages/"))
        return API_ANTHROPIC_MESSAGES;
    struct span rest;
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (table[i].kind == ROUTE_API && pattern_matches(table[i].pattern, path, &rest))
            return table[i].api;
    return anthropic_version ? API_ANTHROPIC_MESSAGES : API_OPENAI_CHAT;
}

bool route_is_for_operators(struct span path)
{
    return span_is(path, "/metrics") || span_is(path, "/health");
}

size_t route_methods_text(unsigned bits, char out[ROUTE_METHODS_TEXT])
{
    size_t len = 0;
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (!(bits & methods[i].bit))
            continue;
        size_t n = strlen(methods[i].name);
        if (len > 0) {
            memcpy(out + len, ", ", 2);
            len += 2;
        }
        memcpy(out + len, methods[i].name, n);
        len += n;
    }
    out[len] = 0;
    return len;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool route_decode(struct span text, char *out, size_t *len_out)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int c = (unsigned char)text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = high * 16 + low;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return false;
        out[len++] = (char)c;
    }
    *len_out = len;
    return true;
}
