/* Server-sent events: an incremental reader for what upstreams send (docs/wire.md, Streams) and a
 * writer (docs/wire.md, Streams). */
#ifndef COMMON_BASE_SSE_H
#define COMMON_BASE_SSE_H

#include "common/base/buf.h"

enum { SSE_MAX_LINE = 8 << 20, SSE_MAX_EVENT = 16 << 20 };

/* Views, valid during the callback only. */
struct sse_event {
    struct span name; /* empty when there was none */
    struct span data; /* data lines joined with \n; a view of raw when it is one line */
    struct span id;   /* last id seen */
    bool has_data;
    struct span raw; /* the event's own bytes, its blank line included, for pass-through; empty for
                        one cut by EOF without it */
    size_t data_at;  /* where data stands in raw; 0 = several lines, or no raw */
};

/* Incremental: bytes of an unfinished event are kept, nothing else. {0} is ready. Read borders
 * never matter. */
struct sse_reader {
    struct buf pending; /* raw bytes of the event so far */
    struct buf data;    /* of several lines; one stays where it is */
    struct buf id;
    size_t line_start;        /* in pending: where the unfinished line begins */
    size_t name_at, name_len; /* in pending */
    size_t data_at, data_len; /* of the first data line */
    bool started;             /* BOM looked for */
    bool has_data, has_name;
    bool joined; /* data holds all lines so far */
    bool last_was_cr;
    enum err error; /* sticky: ERR_TOO_BIG once a limit was passed */
};

/* Returning something else than OK stops sse_feed with that value (sticky). */
typedef enum err (*sse_fn)(void *ctx, const struct sse_event *e);

/* Calls fn for every block that ended in these bytes (one with a name and no data too: has_data
 * false). Blocks of comments only call nothing, but their bytes are in no event's raw. */
enum err sse_feed(struct sse_reader *r, struct span bytes, sse_fn fn, void *ctx) NODISCARD;
/* EOF: dispatches what is pending. */
enum err sse_finish(struct sse_reader *r, sse_fn fn, void *ctx) NODISCARD;
void sse_reader_free(struct sse_reader *r);

/* "event: name\n" (unless empty) + "data: …\n\n"; data has no newline. */
void sse_write(struct buf *out, struct span name, struct span data);

#endif
