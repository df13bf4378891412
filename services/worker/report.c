#include "services/worker/report.h"

#include <stdio.h>

/* "0" is the first base URL with its first key, "0/1" the same URL with its second key. */
static void report_breakers(struct metric_client *m, const struct setup *setup)
{
    for (size_t i = 0; i < endpoints_count(setup->endpoints); i++) {
        const struct endpoint *endpoint = endpoints_at(setup->endpoints, i);
        char name[32];
        int n = endpoint->key_index
                    ? snprintf(name, sizeof name, "%u/%u", endpoint->url_index, endpoint->key_index)
                    : snprintf(name, sizeof name, "%u", endpoint->url_index);
        struct span labels[] = {span_str(setup->provider_config->name), span_of(name, (size_t)n)};
        metric_set(m, METRIC_BREAKER_OPEN, labels, endpoint->breaker.state != BREAKER_CLOSED);
    }
}

void report_gauges(struct metric_client *m, const struct setup *setup,
                   const struct attempts *attempts, const struct settles *settles)
{
    metric_set(m, METRIC_IN_FLIGHT, NULL, attempts_running(attempts));
    metric_set(m, METRIC_SETTLES_PENDING, NULL, settles_pending(settles));
    report_breakers(m, setup);
}
