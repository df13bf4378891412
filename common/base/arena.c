#include "common/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FIRST_BYTES = 1536, /* enough for most, and there may be thousands */
    CHUNK_BYTES = 4096,
    ALIGN = 16
};

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    size_t used;
    _Alignas(16) char bytes[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max_bytes = max_bytes ? max_bytes : (size_t)256 << 20};
}

void arena_reset(struct arena *a)
{
    while (a->chunks && a->chunks->next) {
        struct arena_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        free(chunk);
    }
    if (a->chunks && a->chunks->size > CHUNK_BYTES) {
        free(a->chunks);
        a->chunks = NULL;
    }
    if (a->chunks)
        a->chunks->used = 0;
    a->used_bytes = 0;
    a->failed = false;
}

void arena_free(struct arena *a)
{
    arena_reset(a);
    free(a->chunks);
    a->chunks = NULL;
}

static struct arena_chunk *add_chunk(struct arena *a, size_t n)
{
    size_t least = a->chunks ? CHUNK_BYTES : FIRST_BYTES, size = n > least ? n : least;
    struct arena_chunk *chunk = malloc(sizeof *chunk + size);
    if (!chunk)
        return NULL;
    *chunk = (struct arena_chunk){.next = a->chunks, .size = size};
    a->chunks = chunk;
    return chunk;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t max = a->max_bytes ? a->max_bytes : (size_t)256 << 20;
    if (n > max || a->used_bytes > max - n) {
        a->failed = true;
        return NULL;
    }
    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct arena_chunk *chunk = a->chunks;
    if (!chunk || chunk->size - chunk->used < n) {
        chunk = add_chunk(a, n);
        if (!chunk) {
            a->failed = true;
            return NULL;
        }
    }
    void *at = chunk->bytes + chunk->used;
    chunk->used += n;
    a->used_bytes += n;
    memset(at, 0, n);
    return at;
}

char *arena_strdup(struct arena *a, struct span s)
{
    char *copy = arena_alloc(a, s.len + 1);
    if (copy && s.len)
        memcpy(copy, s.data, s.len);
    return copy;
}

struct span arena_copy(struct arena *a, struct span s)
{
    char *copy = arena_strdup(a, s);
    return copy ? span_of(copy, s.len) : SPAN_NONE;
}

struct span arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *at = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (at)
        (void)vsnprintf(at, (size_t)n + 1, format, again);
    va_end(again);
    return at ? span_of(at, (size_t)n) : SPAN_NONE;
}
