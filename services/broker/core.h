/* The broker's decisions as one pure machine: events come in with the time, messages to edges go
 * out; no bus, no clock, no chance of its own (docs/grants.md). Whatever it knows of a request that
 * must outlive an attempt travels with that request (trail.h), so that any broker may decide next.
 *
 * An ask:
 *   QUEUED   waits for a slot of one of its candidates     GRANT, DECLINE, CANCEL, the edge is
 * gone, deadline, queue time BACKOFF  waits before the next attempt                 QUEUED or GRANT
 * when it is over; as QUEUED A grant: OPEN     takes its slots                               the
 * edge reports it closed; GRANT_GONE_MS after its expiry CLOSED   takes what runs under it nothing
 * runs: forgotten Both are freed when their edge is gone. */
#ifndef SERVICES_BROKER_CORE_H
#define SERVICES_BROKER_CORE_H

#include "proto/message.h"
#include "services/broker/retry.h"
#include "services/broker/router.h"

struct core;
struct bus_peer;
struct broker_edge; /* one greeted edge */

/* How the world looks to it; every function is required. */
struct core_ops {
    /* The message shows memory that is good until this returns. A failure is not handled: the edge
     * asks again. */
    void (*send)(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                 const void *message);
    uint32_t (*chance)(void *ctx);          /* 32 random bits */
    void (*waited)(void *ctx, uint64_t us); /* an ask was granted after so long */
    void (*retried)(void *ctx, const char *provider, unsigned error_class);
};

struct core_rules {
    struct retry_rules retry;
    struct breaker_rules breaker;
    uint32_t queue_max;       /* asks waiting; 0 = nobody waits */
    uint64_t queue_wait_us;   /* longest wait for a slot; 0 = don't wait */
    uint64_t worker_grace_us; /* longest wait for a worker to appear; 0 = don't wait */
};

/* epoch: of this boot, in every grant. workers is borrowed; router is referenced. */
enum err core_create(struct core **out, const struct core_ops *ops, void *ctx,
                     const struct core_rules *rules, struct workers *workers, struct router *router,
                     uint64_t epoch) NODISCARD;
void core_destroy(struct core **core);
/* A new reading of the configuration: standing grants are revoked, asks keep their route. */
void core_reconfigure(struct core *c, const struct core_rules *rules, struct router *router,
                      uint64_t now_us);
/* Takes no more asks from that moment on: they are declined as WORKER_REFUSED (ask another broker).
 */
void core_close(struct core *c, uint64_t from_us);

enum core_event_kind {
    EVENT_ASK,         /* edge, header, ask */
    EVENT_CANCEL,      /* edge, header */
    EVENT_REPORT,      /* edge, header, report */
    EVENT_STORED,      /* edge, stored */
    EVENT_EDGE_DOWN,   /* edge: not used any more */
    EVENT_SLOTS,       /* worker, slots */
    EVENT_WORKER_DOWN, /* worker: not used any more */
    EVENT_TICK         /* core_next_due_us has come */
};

struct core_event {
    enum core_event_kind kind;
    struct broker_edge *edge;
    struct broker_worker *worker;
    struct header header;
    const union message_body *body;
};

/* An edge of this boot has been greeted; NULL without memory. (Workers: workers_add.) */
struct broker_edge *core_edge_up(struct core *c, struct bus_peer *peer, uint64_t epoch);
/* The one function that changes anything. */
void core_step(struct core *c, const struct core_event *event, uint64_t now_us);
/* When EVENT_TICK is due; UINT64_MAX = not by itself. */
uint64_t core_next_due_us(const struct core *c);

struct core_stats {
    uint32_t asks;   /* all of them */
    uint32_t queued; /* waiting for a slot */
    uint32_t grants;
    uint64_t stale; /* reports of grants that are not known */
};
struct core_stats core_stats(const struct core *c);

#endif
