/* Requests that the edge itself ends before their answer is whole, each told to its client: inside
 * its stream, or by a status. */
#ifndef SERVICES_EDGE_REQUEST_CLOSING_H
#define SERVICES_EDGE_REQUEST_CLOSING_H

#include "services/edge/request/request.h"

/* All of them: this edge stops. */
void closing_end_all(struct edge *e);
/* Those of one key, which has been revoked. Returns how many. */
size_t closing_end_key(struct edge *e, struct span key_id);

#endif
