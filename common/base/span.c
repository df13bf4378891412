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

/* Is each of the eight bytes from 0x21 to 0x7e? A subtraction sets the top bit of each byte that is
 * below, and perhaps of one beside it, so a no may be wrong; a yes is not. */
static bool are_graphic(const char *eight)
{
    const uint64_t each = 0x0101010101010101;
    uint64_t v;
    memcpy(&v, eight, sizeof v);
    uint64_t below = v - each * 0x21, del = (v ^ each * 0x7f) - each;
    return !((v | below | del) & each * 0x80);
}

bool span_is_graphic(struct span a)
{
    while (a.len >= 8 && are_graphic(a.data))
        a = span_skip(a, 8);
    for (size_t i = 0; i < a.len; i++) {
        unsigned char c = (unsigned char)a.data[i];
        if (c <= 0x20 || c >= 0x7f)
            return false;
    }
    return true;
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
