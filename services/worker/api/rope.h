/* Bytes gathered piece by piece in an arena, without ever copying what is already there. */
#ifndef SERVICES_WORKER_API_ROPE_H
#define SERVICES_WORKER_API_ROPE_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/json.h"

struct rope {
    struct rope_chunk *first, *last;
    size_t len;
    bool failed; /* the arena was full: bytes are missing */
};

void rope_append(struct rope *rope, struct arena *arena, struct span bytes);
void rope_write(const struct rope *rope, struct buf *out);
/* Writes json text as a string value. */
void rope_write_string(const struct rope *rope, struct json_writer *jw);
/* All of it in one piece; a view when it is one already. SPAN_NONE when the arena is full. */
struct span rope_join(const struct rope *rope, struct arena *arena);
/* Empty again (the arena keeps the bytes). */
void rope_reset(struct rope *rope);

#endif
