/* A worker's gauges: requests in flight, settlements pending, open breakers. */
#ifndef SERVICES_WORKER_REPORT_H
#define SERVICES_WORKER_REPORT_H

#include "services/worker/attempt/attempts.h"

/* m may be NULL. */
void report_gauges(struct metric_client *m, const struct setup *setup,
                   const struct attempts *attempts, const struct settles *settles);

#endif
