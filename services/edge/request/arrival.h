/* A request as it comes in, before there is a struct edge_request: its head, its route, its key;
 * and how it is turned away. */
#ifndef SERVICES_EDGE_REQUEST_ARRIVAL_H
#define SERVICES_EDGE_REQUEST_ARRIVAL_H

#include "services/edge/request/request.h"

struct arrival {
    struct edge *edge;
    struct http_exchange *x;
    struct request_head head;
    struct route_match match;
    enum api api; /* in which to speak */
};

struct arrival arrive(struct edge *e, struct http_exchange *x);
/* Whom to answer, under a fresh id. */
struct client arrival_client(const struct arrival *a);
/* Answers with the failure, and counts it. */
void arrival_refuse(const struct arrival *a, unsigned error_class, const char *message);

/* The same with all that is known of it. */
void arrival_fail(const struct arrival *a, const struct api_error *failure);

/* NULL when a key was found, else what to say, and its class. */
const char *arrival_key(const struct arrival *a, struct span *key_out, unsigned *class_out);
/* The edge_request of this arrival; NULL when it had to be refused. */
struct edge_request *arrival_begin(const struct arrival *a);
/* Asks auth whether it may run, and calls `then` when it may. */
void arrival_ask(struct edge_request *r, struct span key, request_fn then);
/* Key, request and question to auth in one, for routes that need a key and nothing else. */
void arrival_ask_plainly(const struct arrival *a, request_fn then);

#endif
