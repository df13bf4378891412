/* Answers of the edge: the fields that every one carries, and errors in the client's own protocol.
 */
#ifndef SERVICES_EDGE_REQUEST_ANSWER_H
#define SERVICES_EDGE_REQUEST_ANSWER_H

#include "proto/api_error.h"
#include "services/edge/context.h"
#include "services/edge/http/headers.h"
#include "services/edge/leases/leases.h"

/* To whom, and as what. Spans are views of the exchange. */
struct client {
    struct edge *edge;
    struct http_exchange *x;
    enum api api;
    struct span client_id; /* the client's own sane x-request-id; empty = none */
    struct span origin;
    bool scripts_may_read;    /* other sites' scripts, as CORS says */
    char id[REQUEST_ID_TEXT]; /* ours */
};

void answer_init(struct client *c, struct edge *e, struct http_exchange *x, enum api api,
                 const struct request_head *h, const struct request_id *id);

/* Request ids and CORS. */
void answer_fields(const struct client *c);
void answer_limits(const struct client *c, const struct limit_headers *l);
/* `type` must outlive the call only. */
void answer_body(const struct client *c, unsigned status, struct span type, struct span body);
void answer_json(const struct client *c, unsigned status, struct span body);
void answer_error(const struct client *c, const struct api_error *f);
/* The failure as an event inside a stream, appended to out. */
void answer_error_event(const struct client *c, const struct api_error *f, uint64_t sequence,
                        struct buf *out);
/* CORS preflight, and plain OPTIONS: `methods` as route_match has them. */
void answer_options(const struct client *c, unsigned methods, const struct request_head *h);

#endif
