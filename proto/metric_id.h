/* Metrics as data: generated from metrics.def. */
#ifndef PROTO_METRIC_ID_H
#define PROTO_METRIC_ID_H

#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_COUNTER_NANO, METRIC_GAUGE, METRIC_HISTOGRAM };

enum metric_id {
#define METRIC(name, kind, text, labels, help) METRIC_##name,
#include "proto/metrics.def"
#undef METRIC
    METRIC_ID_COUNT
};

enum {
    METRIC_BUCKETS = 20,
    METRIC_MAX_LABELS = 4,
    METRIC_SERIES_MAX = 8192 /* of one daemon */
};

/* A gauge set to this is gone: its worker has left, say. */
#define METRIC_GONE INT64_MIN

struct metric_info {
    enum metric_kind kind;
    const char *name;
    const char *labels; /* comma-separated */
    const char *help;
};

/* NULL for an unknown id (a newer neighbour). */
const struct metric_info *metric_info(unsigned id);
/* Another name under which it is shown as well; NULL: it has none. */
const char *metric_alias(unsigned id);
/* Upper bounds of the histogram buckets in µs, ascending; the last one is UINT64_MAX. */
extern const uint64_t metric_bounds_us[METRIC_BUCKETS];
/* The bucket an observation falls into. */
unsigned metric_bucket(uint64_t us);

#endif
