/* One client's request, from its head to its one outcome, as a state machine. Everything that ends
 * one goes through request_end; the HTTP exchange may then still be sending, but belongs to no
 * request any more. */
#ifndef SERVICES_EDGE_REQUEST_REQUEST_H
#define SERVICES_EDGE_REQUEST_REQUEST_H

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, hash_out)                                                          \
    ((hash_out) = (unsigned)request_id_hash((const struct request_id *)(const void *)(key)))
#include <uthash.h>

#include "common/base/arena.h"
#include "services/edge/request/answer.h"
#include "services/edge/grants/grants.h"
#include "services/edge/request/flow.h"
#include "services/edge/http/routes.h"

enum request_state {
    REQUEST_NEW,
    REQUEST_READING,     /* its large body is read beside the loop */
    REQUEST_AUTHORIZING, /* auth is asked, or waited for */
    REQUEST_ASKING,      /* it may run; a broker is asked for a worker, or waited for */
    REQUEST_LINKING,     /* a worker is granted; the link to it comes up */
    REQUEST_DISPATCHED,  /* a worker has it; nothing of an answer came yet */
    REQUEST_STREAMING,   /* HEAD came */
    REQUEST_QUERYING,    /* metrics is asked */
    REQUEST_ENDED,
    REQUEST_STATES
};

/* How a request ended: what the client saw and what was used. */
struct request_outcome {
    unsigned status;      /* 499 = it left */
    unsigned error_class; /* ERROR_NONE when it went well */
    bool settles;         /* a worker has it in its books: a SETTLE comes */
    uint64_t input_tokens, cached_tokens, output_tokens, cost_nano;
};

struct edge_request;
typedef void (*request_fn)(struct edge_request *r);

struct edge_request {
    UT_hash_handle hh;
    struct edge_request *next_spare;
    struct edge *edge;
    enum request_state state;
    struct request_id id;
    struct client to; /* the client */
    const struct http_route *route;
    request_fn on_authorized; /* what it does once auth (or a lease) has said yes */
    request_fn on_waited;     /* of ASKING and LINKING: wait_until_ms has passed */
    request_fn
        on_overdue; /* of QUERYING: there is no answer; of a stream: nothing was written for long */

    /* What was asked. Strings live in the arena, but `path` and `query` in the exchange. */
    struct span model, rest, path, query, passed_lines;
    struct span response_id;    /* the stored response it is about */
    struct span end_user, tags; /* for the ledger */
    struct secret
        *credential; /* the client's own, for a provider with auth: client; NULL = none … */
    struct span credential_for; /* … and the one that has got it: no other does */
    bool stream, anthropic_version;
    uint64_t input_tokens, output_tokens; /* estimates; the output's is the cap, 0 = unknown */
    uint32_t answers;                     /* that it makes without a cap */

    /* Authorization. */
    uint8_t key[SHA256_BYTES];
    struct span asked_model; /* as AUTHORIZE says it; empty for routes without one, and for unknown
                                models */
    struct span label;       /* the configuration's entry that the model came by, for metrics */
    struct span key_id, key_name, models;
    struct span barred;       /* fallbacks that may not answer */
    uint64_t reserved_tokens; /* set aside for it */
    struct limit_headers limits;
    struct leased_slots *slots; /* of its key: it runs in one of them; NULL = it needs none here */
    bool lacks_slot;            /* the lease is good, but for that */
    bool holds_slot;            /* of its key's requests at once, in auth: its RELEASE is urgent */
    bool asked, authorized;
    bool uncounted; /* admitted without auth, beyond what it has charged */

    /* The present attempt. */
    uint8_t attempt;          /* from 1; 0 before it is dispatched */
    uint8_t settling;         /* the last attempt before it that a SETTLE may come of; 0 = none */
    uint8_t busy;             /* workers that had no room for it */
    bool alone;               /* asks for a grant of its own */
    bool worker_lost;         /* a worker was lost while it had this request */
    uint32_t busy_free;       /* the last of them: its free slots */
    struct model_use *use;    /* NULL: about a stored response by its id alone */
    struct bus_peer *broker;  /* that was asked; NULL = none */
    struct held_grant *grant; /* LINKING to STREAMING … */
    struct worker_link *link; /* … the worker's that it names */
    struct span worker;       /* its name, or that of the last attempt's */
    struct span workers;      /* of all attempts, for the RELEASE: "a,b" */

    /* The attempt before: what the broker must know, and what the client is told if none follows.
     */
    struct span trail;
    struct {
        unsigned error_class;
        bool sent, final;
        uint64_t retry_after_ms;
        uint32_t endpoint;
    } failed;
    struct api_error failure;
    struct request_outcome used;
    struct attempt_note *history; /* attempts that have failed, and what followed: history.h */
    struct span said;             /* why it ends, in words of our own; empty: an upstream's */
    uint64_t waits_since_ms;      /* for its present attempt to begin … */
    uint64_t sent_ms;             /* … which went to its worker then */
    bool waited_in_vain;          /* it ends before an attempt has begun */
    unsigned runs;                /* attempts that an upstream may have worked on */
    unsigned repeats; /* calls of the client's before this one, for the same, as its SDK says */

    /* The answer. */
    bool early_headers; /* a stream whose first content is late: its 200 is out, with keep-alives */
    struct flow flow;
    struct span provider;
    struct span provider_request_id; /* the provider's own, of the last attempt */
    struct span answered; /* the fallback that answers instead of `model`; empty = none does */
    bool head_seen;
    bool is_events;  /* the answer is an event stream */
    unsigned status; /* as HEAD says it */
    uint32_t first_ms;

    /* Time. */
    uint64_t started_us, started_wall_ms;
    uint64_t deadline_ms;   /* monotonic */
    uint64_t content_by_ms; /* the first content; 0 = by the deadline */
    uint64_t wait_until_ms; /* of AUTHORIZING, ASKING, LINKING and QUERYING */
    uint64_t last_write_ms; /* to a stream */
    struct loop_timer timer;

    struct edge_request **reader; /* READING: points here from where its body is read */
    struct arena arena;
};

/* A request of this exchange, known by its fresh id and by http_user; NULL when out of memory. */
struct edge_request *request_begin(struct edge *e, struct http_exchange *x,
                                   const struct http_route *route, enum api api,
                                   const struct request_head *h);
/* Has what the client called for been run as often as one call may cost? Who repeats it by himself
 * then is not told to. */
bool request_ran_enough(const struct edge_request *r);
/* NULL when there is none (it has ended). */
struct edge_request *request_find(struct edge *e, const struct request_id *id);
/* The one function that changes a state; asserts that the change is one of the machine's. */
void request_set_state(struct edge_request *r, enum request_state state);
/* For messages of this request: id, attempt, flags, and the time that is left. */
static inline struct header request_header(const struct edge_request *r)
{
    uint64_t now = edge_now_ms(r->edge);
    uint64_t left = r->deadline_ms > now ? r->deadline_ms - now : 1;
    return (struct header){
        .id = r->id,
        .attempt = r->attempt,
        .flags = r->stream ? HEADER_STREAM : 0,
        .deadline_ms = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left,
    };
}
/* What metrics call the model that answers, or would have: `answered` says whether anybody has. */
struct span request_model_label(const struct edge_request *r, bool answered);
/* Limits, model and provider, beside what every answer carries. */
void request_add_fields(const struct edge_request *r);

/* Sends the failure to the client, as a status or inside its stream, and ends the request. `o` may
 * be NULL (nothing used). */
void request_fail(struct edge_request *r, const struct api_error *f,
                  const struct request_outcome *o);
/* With a literal message. */
void request_fail_class(struct edge_request *r, unsigned error_class, const char *message);
/* 404 about r->model, in words that do not tell an unknown model from a forbidden one. */
void request_fail_model(struct edge_request *r);
/* Stops what runs, books, counts, logs, and forgets the request. The answer has been given. */
void request_end(struct edge_request *r, const struct request_outcome *o);
/* May a SETTLE come of what runs, or has run? */
bool request_may_settle(const struct edge_request *r);
/* The client has left. */
void request_gone(struct edge_request *r);
/* At the end of the daemon: no message, no answer. */
void requests_free(struct edge *e);

#endif
