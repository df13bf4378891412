/* From an admitted request to a worker that has it: standing grants, asks, links, and what follows
 * a failed attempt (docs/grants.md). */
#ifndef SERVICES_EDGE_REQUEST_DISPATCH_H
#define SERVICES_EDGE_REQUEST_DISPATCH_H

#include "services/edge/request/request.h"

/* Finds a worker for the first attempt. */
void dispatch_start(struct edge_request *r);
/* The worker has no room for it: nothing happened, another one is asked for. */
void dispatch_busy(struct edge_request *r, uint32_t free_slots);
/* The attempt failed before anything of an answer came: a broker says whether there is another
 * one. If not, the client is told what r->failure says, which the caller has set. */
void dispatch_again(struct edge_request *r, const struct fail *failed);

/* GRANT, DECLINE, REVOKE, REPORTED of a broker */
void dispatch_on_grant(struct edge *e, struct bus_peer *from, const struct bus_message *m);
void dispatch_on_decline(struct edge *e, struct bus_peer *from, const struct bus_message *m);
void dispatch_on_revoke(struct edge *e, struct bus_peer *from, const struct bus_message *m);
void dispatch_on_reported(struct edge *e, struct bus_peer *from, const struct bus_message *m);

void dispatch_on_broker_up(struct edge *e);
/* Its link is lost, or it says that it will stop: others are asked. */
void dispatch_on_broker_down(struct edge *e, const struct bus_peer *broker, bool lost);
/* The link has been greeted. */
void dispatch_on_link_up(struct edge *e, struct worker_link *link);
/* `stopped`: the worker said goodbye, so what has no last frame was never begun. The link is
 * closed. */
void dispatch_on_link_down(struct edge *e, struct worker_link *link, bool stopped);

/* Tells brokers what they should hear by now, and sets the timer for the rest: at the end of every
 * turn. */
void dispatch_report(struct edge *e);

#endif
