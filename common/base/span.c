#include "common/base/span.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span span_trim(struct span a)
{
    while (a.len > 0 && is_blank(a.data[0])) {
        a.data++;
        a.len--;
    }
    while (a.len > 0 && is_blank(a.data[a.len - 1]))
        a.len--;
    return a;
}

size_t span_find(struct span a, char c)
{
    const char *at = a.len ? memchr(a.data, c, a.len) : NULL;
    return at ? (size_t)(at - a.data) : a.len;
}

size_t span_find_span(struct span a, struct span needle)
{
    const char *at = a.len ? memmem(a.data, a.len, needle.data, needle.len) : NULL;
    return at ? (size_t)(at - a.data) : a.len;
}

struct span span_cut(struct span *rest, char separator)
{
    size_t at = span_find(*rest, separator);
    struct span head = span_first(*rest, at);
    *rest = span_skip(*rest, at + 1);
    return head;
}

bool span_to_u64(struct span a, uint64_t *out)
{
    uint64_t v = 0;
    if (a.len == 0 || a.len > 20)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (a.data[i] < '0' || a.data[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(a.data[i] - '0');
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}
