/* What the files of the core share; nobody else includes it. Each calls only those above it:
 *   grants.c   slots in the hands of edges: given, counted, revoked, forgotten
 *   asks.c     who waits for one, where it goes, what follows a failure
 *   core.c     events */
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

/* ---- grants.c ---- */

/* One attempt's grant of a slot of this worker, sent to the edge. ERR_NOMEM: nothing was given. */
enum err grants_give(struct core *c, struct broker_ask *ask, uint32_t candidate,
                     struct broker_worker *w, uint64_t now_us) NODISCARD;
/* The same grant again, if it has been given and not begun. */
bool grants_repeat(struct core *c, const struct broker_edge *edge, const struct request_id *ask,
                   uint8_t attempt, uint32_t busy, uint64_t now_us);
/* Answers the ask with a standing grant. false: there is none to be had. */
bool grants_stand(struct core *c, struct broker_ask *ask, uint64_t now_us);
/* An edge wants its standing grants of a model to go on. */
void grants_renew(struct core *c, struct broker_edge *edge, struct span model, uint32_t wanted,
                  uint64_t now_us);
/* Standing ones are called back: of a pool, of one worker, or (both NULL) all. */
void grants_call_back(struct core *c, const struct pool *pool, const struct broker_worker *w);
/* REPORT. Calls freed() for each pool in which slots have fallen free. */
void grants_hear(struct core *c, struct broker_edge *from, struct span entries,
                 void (*freed)(struct core *c, struct pool *pool, uint64_t now_us),
                 uint64_t now_us);
void grants_edge_down(struct core *c, struct broker_edge *edge, uint64_t now_us);
void grants_worker_down(struct core *c, struct broker_worker *w);
/* The first one whose time is over is forgotten; its pool, or NULL when none is due. */
struct pool *grants_expire(struct core *c, uint64_t now_us);

/* ---- asks.c ---- */

void asks_add(struct core *c, struct broker_edge *from, const struct header *h, const struct ask *m,
              uint64_t now_us);
void asks_cancel(struct core *c, const struct broker_edge *from, const struct request_id *id);
void asks_edge_down(struct core *c, struct broker_edge *edge);
/* Gives free slots of this provider to those who wait. */
void asks_serve(struct core *c, struct pool *pool, uint64_t now_us);
/* Those whose time has come. */
void asks_tick(struct core *c, uint64_t now_us);

#endif
