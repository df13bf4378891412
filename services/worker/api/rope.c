#include "services/worker/api/rope.h"

enum { CHUNK_MIN = 256, CHUNK_MAX = 1 << 20 };

struct rope_chunk {
    struct rope_chunk *next;
    size_t len, cap;
    char bytes[];
};

/* Chunks double, so that a long text costs few and a short one little. */
static struct rope_chunk *add_chunk(struct rope *rope, struct arena *arena, size_t n)
{
    size_t cap = rope->last ? rope->last->cap * 2 : CHUNK_MIN;
    cap = cap > CHUNK_MAX ? CHUNK_MAX : cap;
    cap = cap < n ? n : cap;
    struct rope_chunk *chunk = arena_alloc(arena, sizeof *chunk + cap);
    if (!chunk)
        return NULL;
    chunk->cap = cap;
    if (rope->last)
        rope->last->next = chunk;
    else
        rope->first = chunk;
    rope->last = chunk;
    return chunk;
}

void rope_append(struct rope *rope, struct arena *arena, struct span bytes)
{
    while (bytes.len && !rope->failed) {
        struct rope_chunk *chunk = rope->last;
        if (!chunk || chunk->len == chunk->cap)
            chunk = add_chunk(rope, arena, bytes.len);
        if (!chunk) {
            rope->failed = true;
            return;
        }
        size_t n = chunk->cap - chunk->len < bytes.len ? chunk->cap - chunk->len : bytes.len;
        memcpy(chunk->bytes + chunk->len, bytes.data, n);
        chunk->len += n;
        rope->len += n;
        bytes = span_skip(bytes, n);
    }
}

void rope_write(const struct rope *rope, struct buf *out)
{
    for (const struct rope_chunk *chunk = rope->first; chunk; chunk = chunk->next)
        buf_append(out, span_of(chunk->bytes, chunk->len));
    if (rope->failed)
        out->failed = true;
}

void rope_write_string(const struct rope *rope, struct json_writer *jw)
{
    jw_string_begin(jw);
    rope_write(rope, jw->out);
    jw_string_end(jw);
}

struct span rope_join(const struct rope *rope, struct arena *arena)
{
    if (rope->failed)
        return SPAN_NONE;
    if (rope->first == rope->last)
        return rope->first ? span_of(rope->first->bytes, rope->first->len) : SPAN("");
    char *at = arena_alloc(arena, rope->len);
    size_t n = 0;
    if (!at)
        return SPAN_NONE;
    for (const struct rope_chunk *chunk = rope->first; chunk; chunk = chunk->next) {
        memcpy(at + n, chunk->bytes, chunk->len);
        n += chunk->len;
    }
    return span_of(at, n);
}

void rope_reset(struct rope *rope)
{
    *rope = (struct rope){0};
}
