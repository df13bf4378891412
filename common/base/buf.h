/* A growable byte buffer with a bound. Appending past the bound or out of memory sets `failed` and
 * drops the bytes, so that a writer may append freely and ask once, at its end. */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include <stdarg.h>
#include "common/base/err.h"
#include "common/base/span.h"

struct buf {
    char *data; /* owned; NULL until the first byte */
    size_t len;
    size_t cap;
    size_t max; /* bytes at most; 0 = BUF_DEFAULT_MAX */
    bool failed;
};

#define BUF_DEFAULT_MAX ((size_t)64 << 20)

/* {0} is an empty buffer too. */
void buf_init(struct buf *b, size_t max_bytes);
/* Frees the bytes; the buffer is empty and usable again, its bound kept. */
void buf_free(struct buf *b);
/* Empties without freeing; clears `failed`. */
void buf_clear(struct buf *b);
/* Room for n more bytes; NULL (and failed) when there can't be. The caller writes there and adds to
 * len. */
char *buf_reserve(struct buf *b, size_t n);
/* buf_append's rest: growing, or failing. */
void buf_append_more(struct buf *b, struct span s);
void buf_append_u64(struct buf *b, uint64_t v);
void buf_append_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Removes the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* Gives memory back when more than half of it is unused. */
void buf_shrink(struct buf *b);

/* These stand here because most appends are of a few known bytes, and fit. */
static inline void buf_append(struct buf *b, struct span s)
{
    if (b->failed || s.len > b->cap - b->len) {
        buf_append_more(b, s);
    } else if (s.len) {
        memcpy(b->data + b->len, s.data, s.len);
        b->len += s.len;
    }
}

static inline void buf_append_str(struct buf *b, const char *s)
{
    buf_append(b, span_str(s));
}

static inline void buf_append_char(struct buf *b, char c)
{
    buf_append(b, span_of(&c, 1));
}

static inline struct span buf_span(const struct buf *b)
{
    return span_of(b->data, b->len);
}

/* OK, or ERR_TOO_BIG when something was dropped (the bound, or no memory). */
enum err buf_check(const struct buf *b) NODISCARD;

#endif
