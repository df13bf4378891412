/* Memory that lives as long as one request: many allocations, one free. */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H

#include "common/base/err.h"
#include "common/base/span.h"

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used_bytes;          /* handed out in all */
    size_t max_bytes;           /* 0 = 256 MiB */
    bool failed; /* something could not be had: whoever filled it asks once, at the end */
};

void arena_init(struct arena *a, size_t max_bytes);
/* Frees all chunks but the first (kept for the next request). */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);
/* Zeroed, aligned to 16; NULL past the bound or out of memory. */
void *arena_alloc(struct arena *a, size_t n);
/* A copy with a NUL behind it (not counted); NULL as above. */
char *arena_strdup(struct arena *a, struct span s);
/* A copy; SPAN_NONE as above. */
struct span arena_copy(struct arena *a, struct span s);
/* printf into the arena; SPAN_NONE as above. */
struct span arena_printf(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, n) ((type *)arena_alloc((arena), sizeof(type) * (n)))

#endif
