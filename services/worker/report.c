#include "services/worker/report.h"

#include <stdio.h>

/* Lanes of one endpoint differ by key: "0" is the first endpoint, "0/1" its second key. */
static void report_breakers(struct metric_client *m, const struct setup *setup)
{
    for (size_t i = 0; i < endpoints_count(setup->endpoints); i++) {
        const struct lane *lane = endpoints_lane(setup->endpoints, i);
        char name[32];
        int n = lane->key ? snprintf(name, sizeof name, "%u/%u", lane->endpoint, lane->key)
                          : snprintf(name, sizeof name, "%u", lane->endpoint);
        struct span labels[] = {span_str(setup->host->name), span_of(name, (size_t)n)};
        metric_set(m, METRIC_BREAKER_OPEN, labels, lane->breaker.state != BREAKER_CLOSED);
    }
}

void report_gauges(struct metric_client *m, const struct setup *setup, const struct jobs *jobs,
                   const struct settles *settles)
{
    metric_set(m, METRIC_IN_FLIGHT, NULL, jobs_running(jobs));
    metric_set(m, METRIC_SETTLES_PENDING, NULL, settles_pending(settles));
    report_breakers(m, setup);
}
