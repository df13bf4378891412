/* Requests that wait for a slot of one provider: one line per key, served in turn, so that a key
 * that sends a thousand requests does not make the others wait behind them. First come, first
 * served within a line. Pure; the bound and the eviction by deadline are the callers' (one request
 * may wait in the queues of several providers). */
#ifndef SERVICES_BROKER_QUEUE_H
#define SERVICES_BROKER_QUEUE_H

#include "common/base/err.h"
#include "common/base/span.h"

struct key_line;

/* A wait in one queue; lives inside its owner. {0} is one that does not wait. */
struct queue_entry {
    void *owner;
    struct queue *queue; /* NULL = not queued */
    struct key_line *line;
    struct queue_entry *prev, *next;
};

/* {0} is an empty one. */
struct queue {
    struct key_line *by_key;
    struct key_line *turn; /* whose turn it is; a ring */
    uint32_t count;
};

/* `first`: ahead of its own line (a retry has waited before). ERR_NOMEM leaves the entry unqueued.
 */
enum err queue_push(struct queue *q, struct queue_entry *e, struct span key_id, void *owner,
                    bool first) NODISCARD;
/* The next owner in fair order, taken out; NULL when empty. */
void *queue_pop(struct queue *q);
/* Takes an entry out of its queue, if it is in one. */
void queue_remove(struct queue_entry *e);
/* Frees the lines of an abandoned queue; entries become unqueued. */
void queue_free(struct queue *q);

#endif
