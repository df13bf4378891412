#include "common/base/utf8.h"

size_t utf8_length(const unsigned char *s, size_t n)
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

size_t utf8_put(char *at, uint32_t c)
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
