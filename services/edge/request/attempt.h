/* The attempt that a request makes now: the slot it runs under, the worker that has it. */
#ifndef SERVICES_EDGE_REQUEST_ATTEMPT_H
#define SERVICES_EDGE_REQUEST_ATTEMPT_H

#include "services/edge/request/request.h"

/* It runs under this grant, at this worker; grants_take or grants_start has counted it. */
void attempt_begin(struct edge_request *r, struct held_grant *grant, struct worker_link *link);
/* The answer has begun: it is this attempt's. */
void attempt_commit(struct edge_request *r);
/* It is over: the slot is free. Nothing when none runs. */
void attempt_end(struct edge_request *r, enum grant_outcome outcome);
/* Whoever has the request, broker or worker, stops: nobody waits for it any more. */
void attempt_stop(struct edge_request *r);

#endif
