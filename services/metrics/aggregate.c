#include "services/metrics/aggregate.h"

#include "common/base/log.h"

enum { FORGET_AFTER_MS = 10 * 60 * 1000 };

enum err aggregate_init(struct aggregate *a, const struct clock *clock, uint32_t max_series)
{
    *a = (struct aggregate){.clock = clock};
    enum err e = store_create(&a->store, max_series);
    if (!e)
        e = daemons_create(&a->daemons);
    return e;
}

void aggregate_reset(struct aggregate *a)
{
    store_destroy(&a->store);
    daemons_destroy(&a->daemons);
}

static void say(struct aggregate *a, const struct daemon_seen *who, enum metric_id id,
                struct span labels)
{
    struct source from = {span_str(who->role), span_str(who->name)};
    enum err e = store_apply(a->store, &from, id, labels, 1, SPAN_NONE);
    if (e)
        log_warn("series_dropped", LSTR("of", who->name), LSTR("why", err_name(e)));
}

void aggregate_up(struct aggregate *a, const struct daemon_seen *who)
{
    struct daemon_seen one = *who;
    bool same;
    one.since_ms = clock_wall_ms(a->clock);
    enum err e = daemons_up(a->daemons, &one, &same);
    if (e) {
        log_warn("daemon_not_listed", LSTR("peer", who->name), LSTR("why", err_name(e)));
        return;
    }
    if (same)
        store_show(a->store, span_str(who->name));
    else
        store_forget(a->store, span_str(who->name));
    say(a, who, METRIC_UP, SPAN_NONE);
    say(a, who, METRIC_BUILD, span_str(who->version));
}

void aggregate_down(struct aggregate *a, struct span name)
{
    uint64_t now_ms = clock_mono_ms(a->clock);
    daemons_down(a->daemons, name, now_ms);
    store_hide(a->store, name, now_ms);
}

void aggregate_purge(struct aggregate *a)
{
    uint64_t now_ms = clock_mono_ms(a->clock);
    if (now_ms < FORGET_AFTER_MS)
        return;
    daemons_purge(a->daemons, now_ms - FORGET_AFTER_MS);
    store_purge(a->store, now_ms - FORGET_AFTER_MS);
}

const char *aggregate_document(const struct aggregate *a, struct span what, struct buf *out)
{
    if (span_is(what, "metrics")) {
        expose_all(a->store, out);
        return EXPOSE_CONTENT_TYPE;
    }
    if (span_is(what, "status"))
        status_write(a->daemons, a->store, clock_wall_ms(a->clock), out);
    else if (span_is(what, "health"))
        status_write_health(a->daemons, a->store, clock_wall_ms(a->clock), out);
    else
        return NULL;
    return "application/json";
}
