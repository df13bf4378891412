/* A borrowed run of bytes: never owned, never NUL-terminated by promise. */
#ifndef COMMON_BASE_SPAN_H
#define COMMON_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct span {
    const char *data;
    size_t len;
};

#define SPAN_NONE ((struct span){NULL, 0})
/* From a string literal. */
#define SPAN(literal) ((struct span){"" literal, sizeof(literal) - 1})
/* For printf's %.*s. */
#define SPAN_ARG(s) (int)(s).len, (s).data ? (s).data : ""

static inline struct span span_of(const void *data, size_t len)
{
    return (struct span){data, len};
}

static inline struct span span_str(const char *s)
{
    return (struct span){s, s ? strlen(s) : 0};
}

static inline bool span_equals(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool span_is(struct span a, const char *s)
{
    return span_equals(a, span_str(s));
}

/* ASCII case-insensitive, as for header names. */
static inline bool span_is_nocase(struct span a, const char *s)
{
    return a.len == strlen(s) && (a.len == 0 || strncasecmp(a.data, s, a.len) == 0);
}

static inline bool span_starts(struct span a, const char *prefix)
{
    size_t n = strlen(prefix);
    return a.len >= n && memcmp(a.data, prefix, n) == 0;
}

static inline bool span_ends(struct span a, const char *suffix)
{
    size_t n = strlen(suffix);
    return a.len >= n && memcmp(a.data + a.len - n, suffix, n) == 0;
}

/* What is left after the first n bytes; empty when there are fewer. */
static inline struct span span_skip(struct span a, size_t n)
{
    n = n < a.len ? n : a.len;
    return (struct span){n ? a.data + n : a.data, a.len - n}; /* NULL + 0 is no pointer in C */
}

static inline struct span span_first(struct span a, size_t n)
{
    return (struct span){a.data, n < a.len ? n : a.len};
}

/* Without spaces, tabs, CR and LF at both ends. */
struct span span_trim(struct span a);

/* Offset of the first byte c, or a.len. */
size_t span_find(struct span a, char c);

/* Offset of the first occurrence of needle, or a.len. */
size_t span_find_span(struct span a, struct span needle);

/* Cuts off and returns what stands before the first `separator`; `rest` becomes what follows it
 * (empty at the end). */
struct span span_cut(struct span *rest, char separator);

/* Bytes from 0x21 to 0x7e only: no spaces, no controls, nothing beyond ASCII. True when empty. */
bool span_is_graphic(struct span a);

/* Decimal digits only, no sign, no overflow: false otherwise. */
bool span_to_u64(struct span a, uint64_t *out);

#endif
