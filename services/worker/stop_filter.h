/* Stop sequences kept by the gateway itself, for those an upstream can't be sent (blank ones, ones
 * with a comma: WIRE 11, 17). Text is json text, in pieces; a piece that may be the beginning of a
 * sequence waits for the next one. */
#ifndef SERVICES_WORKER_STOP_FILTER_H
#define SERVICES_WORKER_STOP_FILTER_H

#include "common/base/arena.h"
#include "common/base/buf.h"

struct stop_sequence {
    struct span text;      /* as the client wrote it: json text */
    const uint16_t *units; /* UTF-16: escaped and plain forms compare equal */
    size_t count;
};

struct stop_filter {
    struct stop_sequence *sequences;
    size_t count;
    struct buf held; /* text not yet let through, behind `shown` bytes that were */
    size_t shown;
    struct span found; /* the sequence that ended the text; data NULL until then */
};

/* `stops` are json texts; empty ones are ignored. ERR_NOMEM. */
enum err stop_filter_init(struct stop_filter *f, const struct span *stops, size_t count,
                          struct arena *arena) NODISCARD;
bool stop_filter_is_empty(const struct stop_filter *f);
/* Takes a piece; *out is what may be shown now (a view, until the next call). True: a sequence was
 * found, *out is the last of the text, f->found is set. */
bool stop_filter_feed(struct stop_filter *f, struct span text, struct span *out);
/* The text is over: what was held back. */
struct span stop_filter_flush(struct stop_filter *f);
void stop_filter_free(struct stop_filter *f);

#endif
