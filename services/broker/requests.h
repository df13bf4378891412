/* Every request between its edge and its worker, as one table of state machines. A frame of an
 * older attempt, or of a worker that does not have the request (any more), is stale and goes no
 * further. Knows nothing of sockets or clocks: frames go out through requests_ops, time comes in.
 *
 * Exactly one last frame (END, REPLY or FAIL) reaches the edge, unless the edge cancelled or went
 * away. */
/* clang-format off */
/* | event                        | QUEUED     | BACKOFF    | DISPATCHED | COMMITTED | OWING |
 * | a slot falls free            | DISPATCHED |            |            |           |       |
 * | its wait is over, others can | QUEUED (1) | as new     |            |           |       |
 * | its wait is over, none can   | ended      | as new     |            |           |       |
 * | HEAD                         |            |            | COMMITTED  |           |       |
 * | DATA                         |            |            |            | COMMITTED |       |
 * | END, REPLY                   |            |            | ended      | ended     |       |
 * | FAIL, may be repeated        |            |            | BACKOFF    | ended     |       |
 * | FAIL, may not                |            |            | ended      | ended     |       |
 * | the worker is gone           |            |            | as a FAIL  | ended     |       |
 * | the deadline has passed      | ended      | ended      | ended (2)  | ended (2) | ended |
 * | CANCEL, the edge is gone     | ended      | ended      | ended      | ended     | ended |
 * | the edge has room            |            |            |            |           | ended |
 *
 * new:   DISPATCHED if a worker has a free slot, else QUEUED; ended where nobody can serve it.
 * ended: OWING instead while the edge has no room for the last frame; so does a HEAD or DATA that
 *        the edge has no room for.
 * (1)    waits for the candidates of the next tier, or goes to one that has a free slot.
 * (2)    a second later: the worker keeps the deadline and reports it better. */
/* clang-format on */
#ifndef SERVICES_BROKER_REQUESTS_H
#define SERVICES_BROKER_REQUESTS_H

#include "common/runtime/bus/bus.h"
#include "services/broker/retry.h"
#include "services/broker/router.h"

struct requests;
struct broker_edge; /* one greeted edge */

/* How the world looks to it; every function is required. */
struct requests_ops {
    enum err (*send)(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                     const void *message);
    enum err (*forward)(void *ctx, struct bus_peer *to, struct header h,
                        const struct bus_message *m);
    uint32_t (*chance)(void *ctx);          /* 32 random bits */
    void (*waited)(void *ctx, uint64_t us); /* a request left the queue for a worker */
    void (*retried)(void *ctx, const char *provider, unsigned error_class);
};

struct requests_rules {
    struct retry_rules retry;
    struct breaker_rules breaker;
    uint32_t queue_max;       /* requests waiting; 0 = nobody waits */
    uint64_t queue_wait_us;   /* longest wait for a slot; 0 = don't wait */
    uint64_t worker_grace_us; /* longest wait for a worker to appear; 0 = don't wait */
    uint64_t body_memory_max; /* bytes of all requests that are kept */
};

/* workers is borrowed; router is referenced. */
enum err requests_create(struct requests **out, const struct requests_ops *ops, void *ctx,
                         const struct requests_rules *rules, struct workers *workers,
                         struct router *router) NODISCARD;
void requests_destroy(struct requests **requests);
/* A new reading of the configuration; running requests keep theirs. */
void requests_reconfigure(struct requests *rs, const struct requests_rules *rules,
                          struct router *router);
/* Takes no more from that moment on: new requests are refused as WORKER_REFUSED (nothing was done,
 * ask another broker). */
void requests_close(struct requests *rs, uint64_t from_us);
/* Closed, and nothing runs any more. */
bool requests_drained(const struct requests *rs, uint64_t now_us);

/* ---- edges ---- */
struct broker_edge *requests_edge_up(struct requests *rs,
                                     struct bus_peer *peer); /* NULL without memory */
/* Its requests are cancelled. Takes NULL, nulls. */
void requests_edge_down(struct requests *rs, struct broker_edge **edge, uint64_t now_us);
/* REQUEST, CANCEL, CREDIT */
void requests_on_request(struct requests *rs, struct broker_edge *from, const struct bus_message *m,
                         uint64_t now_us);
void requests_on_cancel(struct requests *rs, struct broker_edge *from, const struct bus_message *m,
                        uint64_t now_us);
void requests_on_credit(struct requests *rs, struct broker_edge *from, const struct bus_message *m);

/* ---- workers ---- */
/* Its requests are repeated elsewhere where that is allowed, else failed. Takes NULL, nulls. */
void requests_worker_down(struct requests *rs, struct broker_worker **worker, uint64_t now_us);
/* SLOTS */
void requests_on_slots(struct requests *rs, struct broker_worker *from, uint32_t offered,
                       struct span why, uint64_t now_us);
/* HEAD, DATA, END or REPLY, FAIL */
void requests_on_head(struct requests *rs, struct broker_worker *from, const struct bus_message *m,
                      uint64_t now_us);
void requests_on_data(struct requests *rs, struct broker_worker *from, const struct bus_message *m,
                      uint64_t now_us);
void requests_on_end(struct requests *rs, struct broker_worker *from, const struct bus_message *m,
                     uint64_t now_us);
void requests_on_fail(struct requests *rs, struct broker_worker *from, const struct bus_message *m,
                      uint64_t now_us);

/* ---- time ---- */
/* When requests_tick has something to do; UINT64_MAX = not by itself. */
uint64_t requests_next_due_us(const struct requests *rs);
void requests_tick(struct requests *rs, uint64_t now_us);
/* Once a second or so: workers the bus could not reach are tried again. */
void requests_unstick(struct requests *rs, uint64_t now_us);

struct requests_stats {
    uint32_t requests; /* all of them */
    uint32_t queued;   /* waiting for a slot */
    uint64_t body_bytes;
    uint64_t stale; /* frames dropped so far */
};
struct requests_stats requests_stats(const struct requests *rs);

#endif
