/* The broker's state as metrics: gauges and counts that would cost too much to set with every
 * message are taken from the tables once a second. */
#ifndef SERVICES_BROKER_REPORT_H
#define SERVICES_BROKER_REPORT_H

#include "common/runtime/metric.h"
#include "services/broker/core.h"

/* *stale_reported: the stale frames that metrics know of already; 0 at first. */
void report_all(struct metric_client *m, const struct core *core, const struct workers *ws,
                uint64_t *stale_reported);
/* A worker has left: its series go too. */
void report_worker_gone(struct metric_client *m, struct broker_worker *w);

#endif
