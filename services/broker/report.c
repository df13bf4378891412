#include "services/broker/report.h"

#include <stdio.h>
#include <utlist.h>

static void report_outcomes(struct metric_client *m, struct pool *pool)
{
    for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
        uint64_t more = pool->outcomes[i] - pool->last_reported[i];
        pool->last_reported[i] = pool->outcomes[i];
        if (more)
            metric_add(m, METRIC_ATTEMPTS,
                       METRIC_LABELS(span_str(pool->name),
                                     span_str(outcome_name((enum attempt_outcome)i))),
                       (int64_t)more);
    }
}

static void set_worker(struct metric_client *m, const struct broker_worker *w, int64_t slots,
                       int64_t in_flight)
{
    const struct span *labels = METRIC_LABELS(span_str(w->pool->name), span_str(w->name));
    metric_set(m, METRIC_WORKER_SLOTS, labels, slots);
    metric_set(m, METRIC_WORKER_IN_FLIGHT, labels, in_flight);
}

/* Why a worker offers nothing; what was reported before is taken back. */
static void set_why(struct metric_client *m, struct broker_worker *w, const char *why)
{
    struct span provider = span_str(w->pool->name), name = span_str(w->name);
    if (strcmp(w->reported, why) == 0)
        return;
    if (w->reported[0])
        metric_set(m, METRIC_WORKER_UNAVAILABLE,
                   METRIC_LABELS(provider, name, span_str(w->reported)), METRIC_GONE);
    if (why[0])
        metric_set(m, METRIC_WORKER_UNAVAILABLE, METRIC_LABELS(provider, name, span_str(why)), 1);
    (void)snprintf(w->reported, sizeof w->reported, "%s", why);
}

void report_all(struct metric_client *m, const struct core *core, const struct workers *ws,
                uint64_t *stale_reported)
{
    struct core_stats stats = core_stats(core);
    metric_set(m, METRIC_QUEUE_DEPTH, NULL, stats.queued);
    metric_set(m, METRIC_GRANTS, NULL, stats.grants);
    if (stats.stale > *stale_reported)
        metric_add(m, METRIC_STALE_REPORTS, NULL, (int64_t)(stats.stale - *stale_reported));
    *stale_reported = stats.stale;
    struct pool *pool;
    int64_t running = 0;
    LL_FOREACH(workers_first_pool(ws), pool)
    {
        struct broker_worker *w;
        report_outcomes(m, pool);
        DL_FOREACH(pool->workers, w)
        {
            set_worker(m, w, w->offered, w->running);
            set_why(m, w, w->why);
            running += w->running;
        }
    }
    metric_set(m, METRIC_IN_FLIGHT, NULL, running);
}

void report_worker_gone(struct metric_client *m, struct broker_worker *w)
{
    set_why(m, w, "");
    set_worker(m, w, METRIC_GONE, METRIC_GONE);
}
