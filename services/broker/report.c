#include "services/broker/report.h"

#include <stdio.h>
#include <utlist.h>

static void report_outcomes(struct metric_client *m, struct pool *pool)
{
    for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
        uint64_t more = pool->outcomes[i] - pool->reported[i];
        pool->reported[i] = pool->outcomes[i];
        if (more)
            metric_add(m, METRIC_ATTEMPTS,
                       METRIC_LABELS(span_str(pool->name), span_str(outcome_name((enum outcome)i))),
                       (int64_t)more);
    }
}

static void set_worker(struct metric_client *m, const struct worker *w, int64_t slots,
                       int64_t in_flight)
{
    const struct span *labels = METRIC_LABELS(span_str(w->pool->name), span_str(w->name));
    metric_set(m, METRIC_WORKER_SLOTS, labels, slots);
    metric_set(m, METRIC_WORKER_IN_FLIGHT, labels, in_flight);
}

/* Why a worker offers nothing; what was said before is taken back. */
static void set_why(struct metric_client *m, struct worker *w, const char *why)
{
    struct span provider = span_str(w->pool->name), name = span_str(w->name);
    if (strcmp(w->told, why) == 0)
        return;
    if (w->told[0])
        metric_set(m, METRIC_WORKER_UNAVAILABLE, METRIC_LABELS(provider, name, span_str(w->told)),
                   METRIC_GONE);
    if (why[0])
        metric_set(m, METRIC_WORKER_UNAVAILABLE, METRIC_LABELS(provider, name, span_str(why)), 1);
    (void)snprintf(w->told, sizeof w->told, "%s", why);
}

void report_all(struct metric_client *m, const struct calls *c, const struct workers *ws)
{
    struct calls_stats stats = calls_stats(c);
    metric_set(m, METRIC_QUEUE_DEPTH, NULL, stats.queued);
    metric_set(m, METRIC_IN_FLIGHT, NULL, stats.calls);
    struct pool *pool;
    LL_FOREACH(workers_first_pool(ws), pool)
    {
        struct worker *w;
        report_outcomes(m, pool);
        DL_FOREACH(pool->workers, w)
        {
            set_worker(m, w, w->offered, w->in_flight);
            set_why(m, w, w->why);
        }
    }
}

void report_worker_gone(struct metric_client *m, struct worker *w)
{
    set_why(m, w, "");
    set_worker(m, w, METRIC_GONE, METRIC_GONE);
}
