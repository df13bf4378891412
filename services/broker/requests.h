/* Every request between its edge and its worker, as one table of state machines:
 *
 *   QUEUED → DISPATCHED → COMMITTED → ended         BACKOFF: a failed attempt waits for its next
 * one ↑___________↓ ↑ BACKOFF ___|
 *
 * Exactly one terminal frame (END, REPLY or FAIL) reaches the edge, unless the edge cancelled or
 * went away. A frame of an older attempt, or of a worker that does not have the request (any more),
 * is stale and goes no further. Knows nothing of sockets or clocks: frames go out through
 * calls_ops, time comes in. */
#ifndef SERVICES_BROKER_REQUESTS_H
#define SERVICES_BROKER_REQUESTS_H

#include "common/runtime/bus/bus.h"
#include "services/broker/retry.h"
#include "services/broker/router.h"

struct calls;
struct edge; /* one greeted edge */

/* How the world looks to it; every function is required. */
struct calls_ops {
    enum err (*send)(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                     const void *message);
    enum err (*forward)(void *ctx, struct bus_peer *to, struct header h,
                        const struct bus_message *m);
    uint32_t (*chance)(void *ctx);          /* 32 random bits */
    void (*waited)(void *ctx, uint64_t us); /* a request left the queue for a worker */
    void (*retried)(void *ctx, const char *provider, unsigned error_class);
};

struct calls_rules {
    struct retry_rules retry;
    struct breaker_rules breaker;
    uint32_t queue_max;       /* requests waiting; 0 = nobody waits */
    uint64_t queue_wait_us;   /* longest wait for a slot; 0 = don't wait */
    uint64_t worker_grace_us; /* longest wait for a worker to appear; 0 = don't wait */
    uint64_t body_memory_max; /* bytes of all requests that are kept */
};

/* workers is borrowed; router is referenced. */
enum err calls_create(struct calls **out, const struct calls_ops *ops, void *ctx,
                      const struct calls_rules *rules, struct workers *workers,
                      struct router *router) NODISCARD;
void calls_destroy(struct calls **calls);
/* A new reading of the configuration; running requests keep theirs. */
void calls_reconfigure(struct calls *c, const struct calls_rules *rules, struct router *router);
/* Takes no more from that moment on: new requests are refused as WORKER_REFUSED (nothing was done,
 * ask another broker). */
void calls_close(struct calls *c, uint64_t from_us);
/* Closed, and nothing runs any more. */
bool calls_drained(const struct calls *c, uint64_t now_us);

/* ---- edges ---- */
struct edge *calls_edge_up(struct calls *c, struct bus_peer *peer); /* NULL without memory */
/* Its requests are cancelled. Takes NULL, nulls. */
void calls_edge_down(struct calls *c, struct edge **edge, uint64_t now_us);
/* REQUEST, CANCEL, CREDIT */
void calls_on_request(struct calls *c, struct edge *from, const struct bus_message *m,
                      uint64_t now_us);
void calls_on_cancel(struct calls *c, struct edge *from, const struct bus_message *m,
                     uint64_t now_us);
void calls_on_credit(struct calls *c, struct edge *from, const struct bus_message *m);

/* ---- workers ---- */
/* Its requests are repeated elsewhere where that is allowed, else failed. Takes NULL, nulls. */
void calls_worker_down(struct calls *c, struct worker **worker, uint64_t now_us);
/* SLOTS */
void calls_on_slots(struct calls *c, struct worker *from, uint32_t offered, struct span why,
                    uint64_t now_us);
/* HEAD, DATA, END or REPLY, FAIL */
void calls_on_head(struct calls *c, struct worker *from, const struct bus_message *m,
                   uint64_t now_us);
void calls_on_data(struct calls *c, struct worker *from, const struct bus_message *m,
                   uint64_t now_us);
void calls_on_end(struct calls *c, struct worker *from, const struct bus_message *m,
                  uint64_t now_us);
void calls_on_fail(struct calls *c, struct worker *from, const struct bus_message *m,
                   uint64_t now_us);

/* ---- time ---- */
/* When calls_tick has something to do; UINT64_MAX = not by itself. */
uint64_t calls_next_due_us(const struct calls *c);
void calls_tick(struct calls *c, uint64_t now_us);
/* Once a second or so: workers the bus could not reach are tried again. */
void calls_unstick(struct calls *c, uint64_t now_us);

struct calls_stats {
    uint32_t calls;  /* all of them */
    uint32_t queued; /* waiting for a slot */
    uint64_t body_bytes;
    uint64_t stale; /* frames dropped so far */
};
struct calls_stats calls_stats(const struct calls *c);

#endif
