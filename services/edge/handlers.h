/* The HTTP side of the edge: what the server calls. Finds the route, the key and the body's few
 * facts, and starts a request or answers by itself. */
#ifndef SERVICES_EDGE_HANDLERS_H
#define SERVICES_EDGE_HANDLERS_H

#include "services/edge/context.h"

/* ctx of all of them is the struct edge. */
extern const struct http_handler edge_handler;

#endif
