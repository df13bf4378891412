/* One client's request, from its head to its one outcome, as a state machine. Everything that ends
 * one goes through request_end; the HTTP exchange may then still be sending, but belongs to no
 * request any more. */
#ifndef SERVICES_EDGE_REQUEST_REQUEST_H
#define SERVICES_EDGE_REQUEST_REQUEST_H

#define HASH_FUNCTION(key, len, hash_out)                                                          \
    ((hash_out) = (unsigned)request_id_hash((const struct request_id *)(const void *)(key)))
#include <uthash.h>

#include "common/base/arena.h"
#include "services/edge/request/answer.h"
#include "services/edge/request/flow.h"
#include "services/edge/http/routes.h"

enum request_state {
    REQUEST_NEW,
    REQUEST_AUTHORIZING,   /* auth is asked, or waited for */
    REQUEST_WAITING,       /* it may run; no broker is up */
    REQUEST_SENT,          /* a broker has it; nothing said to the client yet */
    REQUEST_EARLY_HEADERS, /* a stream whose first content is late: its 200 is out, with keep-alives
                            */
    REQUEST_STREAMING,     /* HEAD came */
    REQUEST_QUERYING,      /* metrics is asked */
    REQUEST_ENDED,
    REQUEST_STATES
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
    request_fn
        on_overdue; /* of QUERYING: there is no answer; later: nothing was written for long */

    /* What was asked. Strings live in the arena, but `path` and `query` in the exchange. */
    struct span model, rest, path, query, passed_lines;
    struct span response_id; /* the stored response it is about */
    bool stream, anthropic_version;
    uint64_t input_tokens, output_tokens; /* estimates; the output's is the cap, 0 = unknown */

    /* Authorization. */
    uint8_t key[SHA256_BYTES];
    struct span asked_model; /* as AUTHORIZE says it; empty for routes without one, and for unknown
                                models */
    struct span key_id, key_name, models;
    struct limit_headers limits;
    bool asked, authorized, leased;

    /* The answer. */
    struct bus_peer *broker;     /* NULL until it is sent */
    struct bus_peer *refused_by; /* a broker that handed it back */
    struct flow flow;
    struct span provider;
    bool head_seen;
    bool is_events; /* the answer is an event stream */
    uint32_t first_ms;

    /* Time. */
    uint64_t started_us, started_wall_ms;
    uint64_t deadline_ms;   /* monotonic */
    uint64_t wait_until_ms; /* of AUTHORIZING, WAITING and QUERYING */
    uint64_t last_write_ms; /* to a stream */
    struct loop_timer timer;

    struct arena arena;
};

/* How a request ended: what the client saw and what was used. */
struct request_outcome {
    unsigned status;      /* 499 = it left */
    unsigned error_class; /* ERROR_NONE when it went well */
    bool settles;         /* a worker has it in its books: a SETTLE comes */
    bool cancel;          /* the broker must be told to stop */
    uint64_t input_tokens, cached_tokens, output_tokens, cost_nano;
};

/* A request of this exchange, known by its fresh id and by http_user; NULL when out of memory. */
struct edge_request *request_begin(struct edge *e, struct http_exchange *x,
                                   const struct http_route *route, enum api api,
                                   const struct request_head *h);
/* NULL when there is none (it has ended). */
struct edge_request *request_find(struct edge *e, const struct request_id *id);
/* The one function that changes a state; asserts that the change is one of the machine's. */
void request_set_state(struct edge_request *r, enum request_state state);
/* For messages of this request: id, flags, and the time that is left. */
struct header request_header(const struct edge_request *r);
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
/* Books, counts, logs, tells the broker if need be, and forgets the request. The answer has been
 * given. */
void request_end(struct edge_request *r, const struct request_outcome *o);
/* The client has left. */
void request_gone(struct edge_request *r);
/* At the end of the daemon: no message, no answer. */
void requests_free(struct edge *e);

#endif
