#include "proto/metric_id.h"

#include <stddef.h>

static const struct metric_info infos[METRIC_ID_COUNT] = {
#define METRIC(name, kind, text, labels, help)                                                     \
    [METRIC_##name] = {METRIC_##kind, text, labels, help},
#include "proto/metrics.def"
#undef METRIC
};

const uint64_t metric_bounds_us[METRIC_BUCKETS] = {
    100,    250,    500,    1000,    2500,    5000,    10000,    25000,    50000,
    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 60000000, UINT64_MAX};

const struct metric_info *metric_info(unsigned id)
{
    return id < METRIC_ID_COUNT ? &infos[id] : NULL;
}

unsigned metric_bucket(uint64_t us)
{
    unsigned i = 0;
    while (us > metric_bounds_us[i])
        i++;
    return i;
}
