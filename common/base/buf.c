#include "common/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

static size_t bound(const struct buf *b)
{
    return b->max ? b->max : BUF_DEFAULT_MAX;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > bound(b) - b->len) {
        b->failed = true;
        return NULL;
    }
    if (b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        while (cap < b->len + n)
            cap *= 2;
        if (cap > bound(b))
            cap = bound(b);
        char *grown = realloc(b->data, cap);
        if (!grown) {
            b->failed = true;
            return NULL;
        }
        b->data = grown;
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_append_more(struct buf *b, struct span s)
{
    char *at = s.len ? buf_reserve(b, s.len) : NULL;
    if (!at)
        return;
    memcpy(at, s.data, s.len);
    b->len += s.len;
}

void buf_append_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_append(b, span_of(digits + at, sizeof digits - at));
}

void buf_append_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_append_char(b, '-');
    buf_append_u64(b, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}

void buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *at = n >= 0 ? buf_reserve(b, (size_t)n + 1) : NULL;
    if (at) {
        (void)vsnprintf(at, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void buf_shrink(struct buf *b)
{
    char *smaller = b->len && b->len < b->cap / 2 ? realloc(b->data, b->len) : NULL;
    if (!smaller)
        return;
    b->data = smaller;
    b->cap = b->len;
}

enum err buf_check(const struct buf *b)
{
    return b->failed ? ERR_TOO_BIG : OK;
}
