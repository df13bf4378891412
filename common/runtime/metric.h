/* A daemon's own counters: summed here, sent to metrics once a second, bounded. Never holds up a
 * request. What is sent is always the total since this process began, so that a message may be lost
 * or repeated and a metrics daemon that is new learns all of it. */
#ifndef COMMON_RUNTIME_METRIC_H
#define COMMON_RUNTIME_METRIC_H

#include "common/runtime/bus/bus.h"
#include "proto/metric_id.h"

struct metric_client;

/* `peer` is the metrics daemon, at `bus`; while it is down, increments go on adding up here. Up to
 * METRIC_SERIES_MAX series: updates of further ones are counted in METRICS_DROPPED, one by one.
 * What the bus drops is counted without being asked for. */
enum err metric_client_create(struct metric_client **out, struct loop *loop, const struct bus *bus,
                              struct bus_peer *peer) NODISCARD;
void metric_client_destroy(struct metric_client **m);

/* Label values in metrics.def's order; up to METRIC_MAX_LABELS. m may be NULL (does nothing). */
#define METRIC_LABELS(...) ((const struct span[]){__VA_ARGS__})
void metric_add(struct metric_client *m, enum metric_id id, const struct span *labels,
                int64_t increment);
/* A counter kept elsewhere: adds what `total` has grown by since the last time. */
void metric_add_total(struct metric_client *m, enum metric_id id, const struct span *labels,
                      uint64_t total, uint64_t *last_reported);
void metric_set(struct metric_client *m, enum metric_id id, const struct span *labels,
                int64_t value);
void metric_observe_us(struct metric_client *m, enum metric_id id, const struct span *labels,
                       uint64_t us);
/* Sends what has changed, everything after a new link, and a tenth of all again. */
void metric_flush(struct metric_client *m);

#endif
