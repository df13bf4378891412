/* One request, and the table of all: private to request.c (one request), requests.c (the table,
 * edges, time), dispatch.c (where requests go) and answers.c (what workers answer). */
#ifndef SERVICES_BROKER_REQUEST_H
#define SERVICES_BROKER_REQUEST_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "common/base/stored_responses.h"
#include "services/broker/requests.h"
#include "services/broker/cancels.h"
#include "common/base/heap.h"

/* A worker has so long to end a request by itself once its deadline has passed. */
enum { REQUEST_MAX_WAITS = 8, OVERDUE_US = 1000000 };

enum broker_request_state {
    REQUEST_BACKOFF,    /* waits before its next attempt; a new one, before its first */
    REQUEST_QUEUED,     /* waits in the queues of its candidates' providers */
    REQUEST_DISPATCHED, /* at a worker, nothing heard yet */
    REQUEST_COMMITTED,  /* its head went to the edge: no other attempt any more */
    REQUEST_OWING       /* over, but the edge had no room for its FAIL: sent again until it has */
};

struct broker_request {
    struct request_id id;
    enum broker_request_state state;
    uint8_t flags;
    uint8_t attempt;     /* the present one; 0 before the first */
    bool ambiguous_used; /* the one ambiguous repeat is spent */
    bool probe;          /* the present attempt probes its target's breaker */
    bool again;          /* it has been queued before: it goes first in its line */
    bool by_id;          /* about a stored response, by its id alone */
    uint8_t missed;      /* attempts that did not find it */
    uint8_t wait_count;
    uint16_t candidate; /* index of the present or last attempt's candidate */
    unsigned owed;      /* OWING: the error class of its FAIL */

    struct broker_edge *edge;
    struct broker_worker *worker; /* while DISPATCHED or COMMITTED */
    uint64_t last_worker;         /* serial of the one that lost it */

    struct router *router; /* own reference: owns route */
    const struct model_route *route;
    uint64_t eligible;
    uint64_t tried, barred;
    uint64_t avoid; /* endpoints that failed, bits; of avoid_target */
    const struct target *avoid_target;
    struct stored_response stored; /* of the stored response it is about, if remembered */

    uint64_t deadline_us;
    uint64_t asked_us; /* began to wait for a slot */
    struct heap_entry due;

    char *payload;          /* the strings of `message`, for retries; owned; NULL once committed */
    size_t payload_bytes;   /* of its frame */
    struct request message; /* views of payload */

    struct queue_entry waits[REQUEST_MAX_WAITS];
    struct broker_request *edge_prev, *edge_next;
    struct broker_request *worker_prev, *worker_next;
    UT_hash_handle hh;
};

struct broker_edge {
    struct bus_peer *peer;
    struct broker_request *requests;
    struct broker_edge *prev, *next;
};

struct requests {
    const struct requests_ops *ops;
    void *ctx;
    struct requests_rules rules;
    struct workers *workers;
    struct router *router;
    struct broker_edge *edges;
    struct broker_request *by_id;
    struct cancels *cancels;
    struct heap due;
    struct retry_budget budget;
    struct stored_responses stored;
    uint32_t count;
    uint32_t queued;
    uint64_t body_bytes;
    uint64_t stale;
    uint64_t closed_from_us; /* 0 = open */
};

/* ---- dispatch.c: where a request goes next ---- */

/* To a free worker now, else into the queues of its candidates; ends it with a FAIL when there is
 * nowhere to go. */
void dispatch_request(struct requests *rs, struct broker_request *request, uint64_t now_us);
/* Its wait is over: tries what else there is, or ends it. */
void dispatch_expired(struct requests *rs, struct broker_request *request, uint64_t now_us);
/* An attempt failed before anything reached the client. true: a next one is under way, the FAIL
 * must not be forwarded. */
bool dispatch_retry(struct requests *rs, struct broker_request *request, const struct fail *f,
                    uint64_t now_us);
/* The stored response it is about is not where it was looked for. true: it is looked for at the
 * next one. */
bool dispatch_search_on(struct requests *rs, struct broker_request *request, const struct fail *f,
                        uint64_t now_us);
/* Gives free slots of this provider to those who wait. */
void dispatch_waiting(struct requests *rs, struct pool *pool, uint64_t now_us);

/* ---- request.c: one request ---- */

struct broker_request *request_find(struct requests *rs, const struct request_id *id);
/* The one place where a request's state changes. It leaves the queues, and gives up its payload
 * when there is no other attempt; due_us: when it must be looked at again. */
void request_move(struct requests *rs, struct broker_request *request, enum broker_request_state to,
                  uint64_t due_us);
/* Out of every queue. */
void request_leave_queues(struct requests *rs, struct broker_request *request);
/* Its bytes are not needed any more: it won't be tried again. */
void request_drop_payload(struct requests *rs, struct broker_request *request);
/* Tells a worker to stop one attempt of the request in `of`. */
void request_send_cancel(struct requests *rs, struct broker_worker *w, const struct header *of,
                         uint8_t attempt);
/* The attempt is over: slot, breaker and counters; the request itself goes on. */
void request_detach(struct requests *rs, struct broker_request *request,
                    enum attempt_outcome outcome);
/* Frees the request. Nothing is sent. */
void request_end(struct requests *rs, struct broker_request *request);
/* Its last frame has been sent to the edge: ends it. If the edge had no room (`sent` is neither OK
 * nor ERR_CLOSED), a FAIL of this class follows as soon as it has. */
void request_close(struct requests *rs, struct broker_request *request, enum err sent,
                   unsigned error_class, uint64_t now_us);
/* Tells the edge, then ends it. */
void request_fail(struct requests *rs, struct broker_request *request, unsigned error_class,
                  const char *message, uint64_t retry_after_ms, uint64_t now_us);
/* 404, in words that do not tell a response of another client from none. */
void request_fail_stored(struct requests *rs, struct broker_request *request, uint64_t now_us);
/* A FAIL for what has not become a request here. */
enum err edge_refuse(struct requests *rs, struct broker_edge *edge, struct header h,
                     unsigned error_class, struct span message, uint64_t retry_after_ms);
/* … because of the stored response it is about: unknown, or another client's. */
enum err edge_refuse_stored(struct requests *rs, struct broker_edge *edge, struct header h,
                            struct span id, bool by_id);
/* Milliseconds left, for a header: at least 1. */
uint32_t request_left_ms(const struct broker_request *request, uint64_t now_us);

static inline struct candidate const *request_candidate(const struct broker_request *request)
{
    return &request->route->candidates[request->candidate];
}

#endif
