/* All series of the suite: counters and histograms summed over daemons and their restarts, gauges
 * by daemon. Bounded in lines and in bytes of what is shown: when full, new counters and histograms
 * are summed under label values "other", new gauges dropped and counted. Models that no entry of
 * the configuration names (a wildcard let them in, and clients choose the names) get half of the
 * room at most. */
#ifndef SERVICES_METRICS_STORE_H
#define SERVICES_METRICS_STORE_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "proto/metric_id.h"

enum { STORE_LABEL_BYTES = 128, STORE_LINE_BYTES = 190 };

struct series_store;

/* Which daemon a gauge is of. */
struct source {
    struct span role; /* "broker" */
    struct span name; /* "broker-1": unique in the suite */
};

struct series {
    enum metric_id id;
    unsigned label_count;
    struct span labels[METRIC_MAX_LABELS]; /* valid UTF-8 */
    struct span role, instance;            /* gauges; empty otherwise */
    int64_t value;     /* counter: sum; gauge: value; histogram: sum of observations (µs) */
    uint64_t *buckets; /* histogram: METRIC_BUCKETS counts, not cumulative */
    bool away;         /* its daemon can't be seen: not shown */
    struct series *next;
};

/* Of `max_series` lines, as Prometheus counts series: a histogram is one for each bucket, its sum
 * and its count. They have STORE_LINE_BYTES each on average. */
enum err store_create(struct series_store **out, uint32_t max_series) NODISCARD;
/* Has the configuration an entry of this very name? Without being told of one, all models are
 * taken for named. */
void store_know_models(struct series_store *s, bool (*is_entry)(void *ctx, struct span model),
                       void *ctx);
void store_destroy(struct series_store **store);

/* A gauge's value, or what a counter or histogram has grown by. Labels as on the bus: in
 * metrics.def's order, separated by \x1f. buckets: METRIC_BUCKETS counts for a histogram, else
 * NULL. ERR_UNSUPPORTED for an unknown id, ERR_INVALID for what no daemon of ours sends,
 * ERR_TOO_BIG and ERR_NOMEM when it could not be kept. */
enum err store_apply(struct series_store *s, const struct source *from, unsigned id,
                     struct span labels, int64_t value, const uint64_t *buckets) NODISCARD;

/* A daemon went out of sight: its gauges are kept, but not shown, in case it is the same one that
 * comes back. */
void store_hide(struct series_store *s, struct span name, uint64_t now_ms);
/* It is back, the same process as before: what it does not send again still holds. */
void store_show(struct series_store *s, struct span name);
/* Its gauges, and those about it (label worker), are gone. */
void store_forget(struct series_store *s, struct span name);
/* Forgets gauges hidden before this moment. */
void store_purge(struct series_store *s, uint64_t before_ms);

/* Series of one metric in order of appearance; NULL when there is none. Hidden ones are among them.
 */
const struct series *store_first(const struct series_store *s, enum metric_id id);
uint32_t store_count(const struct series_store *s);

#endif
