/* What comes back from the worker that has a request, to the client, byte for byte. */
#ifndef SERVICES_EDGE_REQUEST_RELAY_H
#define SERVICES_EDGE_REQUEST_RELAY_H

#include "services/edge/request/request.h"

/* on_authorized of API requests: a worker is found for it (dispatch.h). */
void relay_start(struct edge_request *r);
/* on_authorized of API requests whose model nobody knows: 404, now that the key is known to be
 * good. */
void relay_unknown_model(struct edge_request *r);

/* The client has taken bytes. */
void relay_on_drain(struct edge_request *r);

void relay_on_head(struct edge *e, struct bus_peer *from, const struct bus_message *m);
void relay_on_data(struct edge *e, struct bus_peer *from, const struct bus_message *m);
void relay_on_end(struct edge *e, struct bus_peer *from, const struct bus_message *m);
void relay_on_reply(struct edge *e, struct bus_peer *from, const struct bus_message *m);
void relay_on_fail(struct edge *e, struct bus_peer *from, const struct bus_message *m);

#endif
