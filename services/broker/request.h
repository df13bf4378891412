/* Private to calls.c (requests and edges), place.c (where they go) and answers.c (workers): one
 * request, and their table. */
#ifndef SERVICES_BROKER_REQUEST_H
#define SERVICES_BROKER_REQUEST_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "services/broker/requests.h"
#include "services/broker/cancels.h"
#include "services/broker/due.h"
#include "services/broker/stored.h"

/* A worker has so long to end a request by itself once its deadline has passed. */
enum { CALL_MAX_WAITS = 8, OVERDUE_US = 1000000 };

enum call_state {
    CALL_QUEUED,     /* waits in the queues of its candidates' providers */
    CALL_BACKOFF,    /* waits before its next attempt */
    CALL_DISPATCHED, /* at a worker, nothing heard yet */
    CALL_COMMITTED,  /* its head went to the edge: no other attempt any more */
    CALL_OWING       /* over, but the edge had no room for its FAIL: sent again until it has */
};

struct call {
    struct request_id id;
    enum call_state state;
    uint8_t flags;
    uint8_t attempt;     /* the present one; 0 before the first */
    bool ambiguous_used; /* the one ambiguous repeat is spent */
    bool probe;          /* the present attempt probes its target's breaker */
    bool again;          /* it has been queued before: it goes first in its lane */
    bool by_id;          /* about a stored response, by its id alone */
    uint8_t missed;      /* attempts that did not find it */
    uint8_t wait_count;
    uint16_t choice; /* index of the present or last attempt's choice */
    unsigned owed;   /* OWING: the error class of its FAIL */

    struct edge *edge;
    struct worker *worker; /* while DISPATCHED or COMMITTED */
    uint64_t last_worker;  /* serial of the one that lost it */

    struct router *router; /* own reference: owns route */
    const struct route *route;
    uint64_t candidates;
    uint64_t tried, barred;
    uint64_t avoid; /* endpoints that failed, bits; of avoid_target */
    const struct target *avoid_target;
    struct stored_place place; /* of the stored response it is about, if remembered */

    uint64_t deadline_us;
    uint64_t asked_us; /* began to wait for a slot */
    struct due due;

    char *payload; /* the REQUEST's own bytes, for retries; owned; NULL once committed */
    size_t payload_bytes;
    struct request request; /* views of payload */

    struct queue_entry waits[CALL_MAX_WAITS];
    struct call *edge_prev, *edge_next;
    struct call *worker_prev, *worker_next;
    UT_hash_handle hh;
};

struct edge {
    struct bus_peer *peer;
    struct call *calls;
    struct edge *prev, *next;
};

struct calls {
    const struct calls_ops *ops;
    void *ctx;
    struct calls_rules rules;
    struct workers *workers;
    struct router *router;
    struct edge *edges;
    struct call *by_id;
    struct cancels *cancels;
    struct due_heap due;
    struct retry_budget budget;
    struct stored stored;
    uint32_t count;
    uint32_t queued;
    uint64_t body_bytes;
    uint64_t stale;
    uint64_t closed_from_us; /* 0 = open */
};

/* ---- place.c: where a request goes next ---- */

/* To a free worker now, else into the queues of its candidates; ends it with a FAIL when there is
 * nowhere to go. */
void place_call(struct calls *c, struct call *call, uint64_t now_us);
/* Its wait is over: tries what else there is, or ends it. */
void place_expired(struct calls *c, struct call *call, uint64_t now_us);
/* An attempt failed before anything reached the client. true: a next one is under way, the FAIL
 * must not be forwarded. */
bool place_retry(struct calls *c, struct call *call, const struct fail *f, uint64_t now_us);
/* The stored response it is about is not where it was looked for. true: it is looked for in the
 * next place. */
bool place_search_on(struct calls *c, struct call *call, const struct fail *f, uint64_t now_us);
/* Gives free slots of this provider to those who wait. */
void place_waiting(struct calls *c, struct pool *pool, uint64_t now_us);
/* Out of every queue. */
void place_unqueue(struct calls *c, struct call *call);

/* ---- calls.c ---- */

struct call *call_find(struct calls *c, const struct request_id *id);
/* Its bytes are not needed any more: it won't be tried again. */
void call_drop_payload(struct calls *c, struct call *call);
/* Tells a worker to stop one attempt of the request in `of`. */
void call_send_cancel(struct calls *c, struct worker *w, const struct header *of, uint8_t attempt);
/* The attempt is over: slot, breaker and counters; the request itself goes on. */
void call_detach(struct calls *c, struct call *call, enum outcome outcome);
/* Frees the request. Nothing is sent. */
void call_end(struct calls *c, struct call *call);
/* Its last frame has been sent to the edge: ends it. If the edge had no room (`sent` is neither OK
 * nor ERR_CLOSED), a FAIL of this class follows as soon as it has. */
void call_close(struct calls *c, struct call *call, enum err sent, unsigned error_class,
                uint64_t now_us);
/* Tells the edge, then ends it. */
void call_fail(struct calls *c, struct call *call, unsigned error_class, const char *message,
               uint64_t retry_after_ms, uint64_t now_us);
/* 404, in words that do not tell a response of another client from none. */
void call_fail_stored(struct calls *c, struct call *call, uint64_t now_us);
/* Milliseconds left, for a header: at least 1. */
uint32_t call_left_ms(const struct call *call, uint64_t now_us);

static inline struct choice const *call_choice(const struct call *call)
{
    return &call->route->choices[call->choice];
}

#endif
