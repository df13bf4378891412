#include "proto/metric_id.h"

#include <stddef.h>

static const struct metric_info infos[METRIC_ID_COUNT] = {
#define METRIC(name, kind, text, labels, help)                                                     \
    [METRIC_##name] = {METRIC_##kind, text, labels, help},
#include "proto/metrics.def"
#undef METRIC
};

const uint64_t metric_bounds_us[METRIC_BUCKETS] = {
    250,      1000,     2500,     5000,      10000,     25000,     50000,
    100000,   250000,   500000,   1000000,   2500000,   5000000,   10000000,
    20000000, 40000000, 80000000, 160000000, 300000000, UINT64_MAX};

/* OpenTelemetry's names for what we measure under our own too (gen_ai semantic conventions). */
static const struct {
    enum metric_id id;
    const char *name;
} aliases[] = {{METRIC_DURATION, "gen_ai_server_request_duration_seconds"}};

const char *metric_alias(unsigned id)
{
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (aliases[i].id == id)
            return aliases[i].name;
    }
    return NULL;
}

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
