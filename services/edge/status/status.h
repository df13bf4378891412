/* What the edge says about the suite: /health and its probes, /metrics, /v1/models. */
#ifndef SERVICES_EDGE_STATUS_STATUS_H
#define SERVICES_EDGE_STATUS_STATUS_H

#include "services/edge/request/request.h"

/* Answered at once, to anyone. */
void status_liveness(const struct client *c);
void status_readiness(const struct client *c);
/* /health without a line per daemon. */
void status_health_plain(const struct client *c);

/* on_authorized: asks the metrics daemon, with a deadline. */
void status_health(struct edge_request *r);
void status_metrics(struct edge_request *r);
void status_on_answer(struct edge *e, const struct bus_message *m);
/* The metrics daemon is gone: those who wait are answered without it. */
void status_on_metrics_down(struct edge *e);

/* on_authorized: what the key may use. */
void status_models(struct edge_request *r);
void status_model(struct edge_request *r);

#endif
