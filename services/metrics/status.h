/* The suite at a glance, as JSON for `tollgate status`, /status and the edge's /health. All objects
 * of a list have the same members, so that it prints as a table:
 *
 * {"status":"healthy","timestamp":"2026-11-24T02:00:00Z","in_flight":3,"queued":0,
 *  "daemons":[{"role":"broker","name":"broker-1","version":"0.1.0","up_since":"2026-…Z","in_flight":3,"queued":0},
 * …],
 *  "workers":[{"worker":"worker-openai-3f2a","provider":"openai","slots":512,"in_flight":3,"why":""},
 *             {"worker":"worker-replicate-77aa","provider":"replicate","slots":0,"in_flight":0,"why":"no
 * api key"}]}
 *
 * "status" is "degraded" when there is no edge, auth, broker or no worker that offers slots. The
 * totals are the brokers'; a worker's slots and in_flight are what all brokers together know of it;
 * "why" says why it offers none. */
#ifndef SERVICES_METRICS_STATUS_H
#define SERVICES_METRICS_STATUS_H

#include "common/base/buf.h"
#include "services/metrics/daemons.h"
#include "services/metrics/store.h"

void status_write(const struct daemons *d, const struct series_store *s, uint64_t wall_ms,
                  struct buf *out);
/* {"status":…,"timestamp":…} only. */
void status_write_health(const struct daemons *d, const struct series_store *s, uint64_t wall_ms,
                         struct buf *out);

#endif
