/* May this request run? A lease answers at once; otherwise auth is asked, with a deadline. While
 * auth is away, known keys go on within their leases; others wait a moment for it and are then told
 * 503, never 401. */
#ifndef SERVICES_EDGE_REQUEST_AUTHORIZE_H
#define SERVICES_EDGE_REQUEST_AUTHORIZE_H

#include "services/edge/request/request.h"

/* r->key, asked_model, the estimates and on_authorized are set. Calls on_authorized now, later, or
 * fails the request. */
void authorize_ask(struct edge_request *r);

/* A fallback is asked: its own limits are charged. Nothing is waited for: auth has said already
 * which fallbacks may not answer. */
void authorize_charge_fallback(const struct edge_request *r);

void authorize_on_allow(struct edge *e, const struct bus_message *m);
void authorize_on_deny(struct edge *e, const struct bus_message *m);
void authorize_on_revoked(struct edge *e, const struct bus_message *m);
void authorize_on_lease_counted(struct edge *e, const struct bus_message *m);
void authorize_on_lease_end(struct edge *e, const struct bus_message *m);
void authorize_on_slots_back(struct edge *e, const struct bus_message *m);
/* What was waiting for auth is asked now. */
void authorize_on_auth_up(struct edge *e);
/* auth has gone, or is still away: what it has not answered goes on under its leases as they allow,
 * or waits for auth to come back. */
void authorize_without_auth(struct edge *e);

#endif
