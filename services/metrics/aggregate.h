/* Everything the suite has told us: series and daemons, and the documents made of them. */
#ifndef SERVICES_METRICS_AGGREGATE_H
#define SERVICES_METRICS_AGGREGATE_H

#include "common/base/clock.h"
#include "services/metrics/daemons.h"
#include "services/metrics/expose.h"
#include "services/metrics/status.h"

struct aggregate {
    struct series_store *store;
    struct daemons *daemons;
    const struct clock *clock;
};

enum err aggregate_init(struct aggregate *a, const struct clock *clock,
                        uint32_t max_series) NODISCARD;
void aggregate_reset(struct aggregate *a);

/* since_ms and gone_ms of `who` are filled in here. */
void aggregate_up(struct aggregate *a, const struct daemon_seen *who);
void aggregate_down(struct aggregate *a, struct span name);
/* Forgets what has been out of sight for ten minutes; now and then. */
void aggregate_purge(struct aggregate *a);

/* "metrics", "status" or "health". NULL for anything else; else the content type, with the document
 * appended to out. */
const char *aggregate_document(const struct aggregate *a, struct span what, struct buf *out);

#endif
