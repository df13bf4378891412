/* The Prometheus text format, version 0.0.4, of all series that are in sight. */
#ifndef SERVICES_METRICS_EXPOSE_H
#define SERVICES_METRICS_EXPOSE_H

#include "common/base/buf.h"
#include "services/metrics/store.h"

#define EXPOSE_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends everything; a metric without series is left out. Failure is the buffer's. */
void expose_all(const struct series_store *s, struct buf *out);

#endif
