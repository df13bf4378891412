/* A request's body, read: its coding taken off, parsed and checked. What takes long is done beside
 * the loop. */
#ifndef SERVICES_EDGE_REQUEST_READING_H
#define SERVICES_EDGE_REQUEST_READING_H

#include "services/edge/request/arrival.h"
#include "services/edge/request/body.h"

/* What is done with it then; a's spans and `key` are views of the exchange. */
typedef void (*reading_fn)(const struct arrival *a, struct edge_request *r, struct span key,
                           const struct body *body);

/* Calls `then`, at once or later, or fails the request, which may end meanwhile. The exchange's
 * body is without its coding from then on. */
void reading_begin(const struct arrival *a, struct edge_request *r, struct span key,
                   reading_fn then);

#endif
