/* What the files of the core share; nobody else includes it. Each calls only those above it:
 *   grant.c            one grant: made, counted, forgotten
 *   grants_standing.c  those that an edge keeps
 *   grants.c           one attempt's, and what is heard of all
 *   ask.c              one ask: its state, its end
 *   ask_queue.c        where it may go, and where it waits
 *   ask_retry.c        what follows a failed attempt
 *   asks.c             new ones, and those whose time has come
 *   core.c             events */
#ifndef SERVICES_BROKER_CORE_INTERNAL_H
#define SERVICES_BROKER_CORE_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "common/base/heap.h"
#include "common/base/stored_responses.h"
#include "proto/grant.h"
#include "services/broker/core.h"
#include "services/broker/trail.h"

enum {
    US_PER_MS = 1000,
    ASK_RETRY_AFTER_MS = 1000, /* what a client is told who finds no room */
    ASK_MAX_WAITS = 8,
    STANDING_MAX_WORKERS = 32, /* that one model's standing grants of an edge are spread over */
    STANDING_MAX_MODELS = 1024 /* of one edge */
};

enum ask_state { ASK_BACKOFF, ASK_QUEUED };

struct broker_ask {
    UT_hash_handle hh;
    struct request_id id;
    uint8_t attempt;
    enum ask_state state;
    bool again; /* it has been queued before: it goes first in its line */
    bool by_id; /* about a stored response, by its id alone */
    uint8_t wait_count;
    struct broker_edge *edge;
    struct ask m;          /* its strings are behind it */
    uint64_t last_worker;  /* serial of the one that failed it; 0 = none */
    struct router *router; /* own reference: owns route */
    const struct model_route *route;
    struct trail trail;
    uint64_t eligible;
    struct stored_response stored; /* that it is about, if remembered */
    uint64_t deadline_us;
    uint64_t asked_us; /* began to wait for a slot */
    struct heap_entry due;
    struct queue_entry waits[ASK_MAX_WAITS];
    struct broker_ask *prev, *next; /* its edge's */
    char text[];
};

/* The standing grants of one edge for one model, as its clients name it. */
struct standing {
    UT_hash_handle hh;
    struct broker_edge *edge;
    struct router *router; /* own reference */
    const struct model_route *route;
    struct edge_share *share; /* of the pool that they are of */
    struct broker_grant *grants;
    size_t model_bytes;
    char model[];
};

/* Standing slots that an edge has of one pool. */
struct edge_share {
    struct pool *pool;
    uint32_t slots;
    struct edge_share *next;
};

struct broker_grant {
    UT_hash_handle hh;     /* by number */
    UT_hash_handle hh_ask; /* by ask: one attempt's, until it is closed */
    uint64_t number;
    struct broker_edge *edge;
    struct broker_worker *worker; /* NULL: gone */
    struct standing *standing;    /* NULL: one attempt's, or over */
    struct router *router;        /* own reference: owns target */
    struct target *target;
    struct request_id ask;
    uint8_t attempt, busy;
    bool probe;
    bool revoked;
    uint32_t slots;
    uint32_t taken; /* as the worker's counter has it */
    struct grant_report seen;
    struct heap_entry due; /* its end, if nothing is heard of it */
    void *message; /* one attempt's: the GRANT as it was sent, for an ask that is repeated */
    struct broker_grant *edge_prev, *edge_next;
    struct broker_grant *worker_prev, *worker_next;
    struct broker_grant *standing_prev, *standing_next;
};

struct broker_edge {
    struct bus_peer *peer;
    uint64_t epoch;
    struct broker_ask *asks;
    struct broker_grant *grants;
    struct standing *standing; /* by model */
    struct edge_share *shares;
    struct broker_edge *prev, *next;
};

struct core {
    const struct core_ops *ops;
    void *ctx;
    struct core_rules rules;
    struct workers *workers;
    struct router *router;
    uint64_t epoch, numbers;
    struct broker_edge *edges;
    uint32_t edge_count;
    struct broker_ask *asks;
    struct broker_grant *grants, *by_ask;
    struct heap due_asks, due_grants;
    struct stored_responses stored;
    struct core_stats stats;
    uint64_t closed_from_us; /* 0 = open */
};

/* ---- grant.c ---- */

/* The attempts that run under it, as far as is heard. */
uint64_t grant_runs(const struct broker_grant *g);
/* Brings the worker's counter in line with what the grant takes now. */
void grant_count(struct broker_grant *g);
/* Without grants it is over. */
void standing_drop(struct standing *s);
/* Not a standing one any more: it is closed, revoked or gone. */
void grant_leave_standing(struct broker_grant *g);
/* Its ask is not answered with it any more. */
void grant_leave_ask(struct core *c, struct broker_grant *g);
/* It takes nothing any more; its worker is gone, or it is. */
void grant_leave_worker(struct broker_grant *g);
void grant_forget(struct core *c, struct broker_grant *g, uint64_t now_us);
/* NULL without memory. */
struct broker_grant *grant_make(struct core *c, struct broker_edge *edge, struct broker_worker *w,
                                struct router *router, struct target *target, uint32_t slots);
/* The parts of a GRANT that do not depend on the ask; the token is written to `token`. */
struct grant grant_message(struct core *c, struct broker_grant *g,
                           const struct candidate *candidate, uint64_t life_ms,
                           uint8_t token[GRANT_TOKEN_BYTES], uint64_t now_us);

/* ---- grants_standing.c ---- */

/* Answers the ask with a standing grant. false: there is none to be had. */
bool grants_stand(struct core *c, struct broker_ask *ask, uint64_t now_us);
/* An edge wants its standing grants of a model to go on. */
void grants_renew(struct core *c, struct broker_edge *edge, struct span model, uint32_t wanted,
                  uint64_t now_us);
/* It counts until the edge has closed it. */
void grant_revoke(struct core *c, struct broker_grant *g);
/* Standing ones are called back: of a pool, of one worker, or (both NULL) all. */
void grants_call_back(struct core *c, const struct pool *pool, const struct broker_worker *w);

/* ---- grants.c ---- */

/* One attempt's grant of a slot of this worker, sent to the edge. ERR_NOMEM: nothing was given. */
enum err grants_give(struct core *c, struct broker_ask *ask, uint32_t candidate,
                     struct broker_worker *w, uint64_t now_us) NODISCARD;
/* The same grant again, if it has been given and not begun. */
bool grants_repeat(struct core *c, const struct broker_edge *edge, const struct request_id *ask,
                   uint8_t attempt, uint32_t busy, uint64_t now_us);
/* REPORT. Calls freed() for each pool in which slots have fallen free. */
void grants_hear(struct core *c, struct broker_edge *from, struct span entries,
                 void (*freed)(struct core *c, struct pool *pool, uint64_t now_us),
                 uint64_t now_us);
void grants_edge_down(struct core *c, struct broker_edge *edge, uint64_t now_us);
void grants_worker_down(struct core *c, struct broker_worker *w);
/* The first one whose time is over is forgotten; its pool, or NULL when none is due. */
struct pool *grants_expire(struct core *c, uint64_t now_us);

/* ---- ask.c ---- */

extern const char ask_at_capacity[];

/* NULL: it is not here. */
struct broker_ask *ask_find(const struct core *c, const struct request_id *id);
void ask_leave_queues(struct core *c, struct broker_ask *ask);
/* The one place where an ask's state changes; due_us: when it must be looked at again. */
void ask_move(struct core *c, struct broker_ask *ask, enum ask_state to, uint64_t due_us);
void ask_end(struct core *c, struct broker_ask *ask);
void ask_send_decline(struct core *c, const struct broker_edge *edge, const struct header *h,
                      const struct decline *d);
/* Tells the edge, then ends it. class 0: the failure that was asked about stands. */
void ask_decline(struct core *c, struct broker_ask *ask, unsigned error_class, const char *message,
                 uint64_t retry_after_ms);
/* Tells the edge that there is no such stored response, or model, in words that do not tell a
 * response of another client from none. */
void ask_decline_stored(struct core *c, const struct broker_edge *edge, const struct header *h,
                        struct span id, bool by_id);
void ask_decline_model(struct core *c, const struct broker_edge *edge, const struct header *h,
                       struct span model);
/* That its trail names. */
const struct candidate *ask_candidate(const struct broker_ask *ask);
/* What route_eligible wants to know of it. */
struct route_state ask_route_state(const struct core *c, const struct broker_ask *ask,
                                   uint64_t now_us);

/* ---- ask_queue.c ---- */

/* It may be gone afterwards. */
void ask_give_or_wait(struct core *c, struct broker_ask *ask, uint64_t now_us);
/* Its wait must be looked at again. It may be gone afterwards. */
void ask_expire(struct core *c, struct broker_ask *ask, uint64_t now_us);
/* Gives free slots of this provider to those who wait. */
void asks_serve(struct core *c, struct pool *pool, uint64_t now_us);

/* ---- ask_retry.c ---- */

/* Another attempt, or its failure stands and it is gone. */
void ask_after_failure(struct core *c, struct broker_ask *ask, uint64_t now_us);

/* ---- asks.c ---- */

void asks_add(struct core *c, struct broker_edge *from, const struct header *h, const struct ask *m,
              uint64_t now_us);
void asks_cancel(struct core *c, const struct broker_edge *from, const struct request_id *id);
void asks_edge_down(struct core *c, struct broker_edge *edge);
/* Those whose time has come. */
void asks_tick(struct core *c, uint64_t now_us);

#endif
