/* What a running suite has measured of its models, read from its metrics. */
#ifndef SERVICES_CTL_MEASURED_H
#define SERVICES_CTL_MEASURED_H

#include "common/base/span.h"

enum { MEASURED_BUCKETS_MAX = 64 };

/* A histogram: how many took until then, cumulative. */
struct measured_times {
    double bounds_s[MEASURED_BUCKETS_MAX];
    double within[MEASURED_BUCKETS_MAX];
    size_t buckets;
};

/* Of one model at one provider, since the counters began. */
struct measured {
    uint64_t requests, failed;   /* failed: a status of 500 and above, or 429 */
    struct measured_times first; /* to a stream's first content */
    struct measured_times whole; /* to the last byte */
};

/* From the metrics' Prometheus text. */
void measured_read(struct span text, const char *model, const char *provider, struct measured *out);
/* The time that `share` (0.5, 0.95) of the answers stayed below, in seconds; < 0 when nothing was
 * measured. */
double measured_s(const struct measured_times *t, double share);

#endif
