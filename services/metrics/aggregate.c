#include "services/metrics/aggregate.h"

#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "services/metrics/state.h"

enum {
    FORGET_AFTER_MS = 10 * 60 * 1000,
    /* One that comes back after it was forgotten is counted twice. */
    FORGET_SENDERS_AFTER_MS = 24 * 60 * 60 * 1000,
    CATCH_UP_MS = 5000,
    TOTALS_BYTES_PER_SERIES = 1024
};

enum err aggregate_init(struct aggregate *a, const struct clock *clock, uint32_t max_series)
{
    *a = (struct aggregate){.clock = clock, .max_series = max_series};
    enum err e = store_create(&a->store, max_series);
    if (!e)
        e = daemons_create(&a->daemons);
    if (!e)
        e = senders_create(&a->senders, (size_t)max_series * TOTALS_BYTES_PER_SERIES);
    return e;
}

void aggregate_reset(struct aggregate *a)
{
    store_destroy(&a->store);
    daemons_destroy(&a->daemons);
    senders_destroy(&a->senders);
}

void aggregate_know_models(struct aggregate *a, bool (*is_entry)(void *ctx, struct span model),
                           void *ctx)
{
    a->is_entry = is_entry;
    a->ctx = ctx;
    store_know_models(a->store, is_entry, ctx);
}

/* ---- what outlives us ---- */

enum err aggregate_load(struct aggregate *a, const char *path)
{
    struct buf text = {0};
    uint64_t now_ms = clock_mono_ms(a->clock);
    enum err e = state_load(path, &text);
    if (!e)
        e = state_read(a->store, a->senders, buf_span(&text), now_ms);
    buf_free(&text);
    if (!e) {
        a->shown_from_ms = now_ms + CATCH_UP_MS;
        return OK;
    }
    if (e == ERR_NOT_FOUND)
        return OK;
    log_warn("state_unreadable", LSTR("path", path), LSTR("why", err_name(e)));
    struct aggregate was = *a;
    aggregate_reset(a);
    e = aggregate_init(a, was.clock, was.max_series);
    if (!e)
        aggregate_know_models(a, was.is_entry, was.ctx);
    return e;
}

void aggregate_save(struct aggregate *a, const char *path)
{
    struct buf text = {0};
    if (!a->unsaved)
        return;
    state_write(a->store, a->senders, &text);
    enum err e = buf_check(&text);
    if (!e)
        e = state_save(path, buf_span(&text));
    if (e && !a->save_failed)
        log_warn("state_not_saved", LSTR("path", path),
                 LSTR("why", e == ERR_IO ? strerror(errno) : err_name(e)));
    a->unsaved = a->save_failed = e != OK;
    buf_free(&text);
}

bool aggregate_is_catching_up(const struct aggregate *a)
{
    return senders_awaited(a->senders) && clock_mono_ms(a->clock) < a->shown_from_ms;
}

/* ---- what is counted ---- */

static uint64_t get64(const char *at)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)(unsigned char)at[i] << 8 * i;
    return value;
}

/* What a total has grown by; a smaller one is an older message. */
static uint64_t growth(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static enum err add_growth(struct aggregate *a, const struct source *from, const struct metric *m,
                           struct sender_total *before)
{
    uint64_t now[METRIC_BUCKETS], more[METRIC_BUCKETS];
    for (unsigned i = 0; before->buckets && i < METRIC_BUCKETS; i++) {
        now[i] = get64(m->buckets.data + (size_t)i * 8);
        more[i] = growth(now[i], before->buckets[i]);
    }
    int64_t grown = (int64_t)growth((uint64_t)m->value, (uint64_t)before->value);
    enum err e =
        store_apply(a->store, from, m->id, m->labels, grown, before->buckets ? more : NULL);
    if (e)
        return e;
    a->unsaved |= grown > 0;
    before->value += grown;
    for (unsigned i = 0; before->buckets && i < METRIC_BUCKETS; i++) {
        a->unsaved |= more[i] > 0;
        before->buckets[i] += more[i];
    }
    return OK;
}

static enum err report_total(struct aggregate *a, const struct source *from, struct sender *who,
                             const struct metric *m)
{
    bool histogram = metric_info(m->id)->kind == METRIC_HISTOGRAM;
    struct sender_total *before;
    if (m->value < 0 || m->buckets.len != (histogram ? METRIC_BUCKETS * 8 : 0))
        return ERR_INVALID;
    enum err e = senders_total(a->senders, who, m->number, histogram, &before);
    return e ? e : add_growth(a, from, m, before);
}

static enum err report(struct aggregate *a, const struct source *from, uint64_t epoch,
                       const struct metric *m)
{
    const struct metric_info *info = metric_info(m->id);
    if (!info)
        return ERR_UNSUPPORTED;
    if (info->kind == METRIC_GAUGE)
        return store_apply(a->store, from, m->id, m->labels, m->value, NULL);
    struct sender *who = senders_hear(a->senders, epoch, clock_mono_ms(a->clock));
    enum err e = who ? report_total(a, from, who, m) : ERR_NOMEM;
    if (who && m->complete)
        senders_complete(a->senders, who);
    return e;
}

void aggregate_expect(struct aggregate *a, uint64_t epoch)
{
    /* Without memory, its first report tries again. */
    (void)senders_hear(a->senders, epoch, clock_mono_ms(a->clock));
    a->unsaved = true;
}

enum err aggregate_report(struct aggregate *a, const struct source *from, uint64_t epoch,
                          const struct metric *m)
{
    enum err e = report(a, from, epoch, m);
    if (!e)
        return OK;
    a->unsaved = true;
    if (store_apply(a->store, from, METRIC_METRICS_DROPPED, SPAN_NONE, 1, NULL))
        return ERR_NOMEM;
    return e;
}

void aggregate_count(struct aggregate *a, enum metric_id id, struct span labels, uint64_t more)
{
    const struct source nobody = {SPAN_NONE, SPAN_NONE};
    enum err e = store_apply(a->store, &nobody, id, labels, (int64_t)more, NULL);
    a->unsaved = true;
    if (e)
        log_warn("series_dropped", LSTR("of", metric_info(id)->name), LSTR("why", err_name(e)));
}

/* ---- daemons that come and go ---- */

static void say(struct aggregate *a, const struct daemon_seen *who, enum metric_id id,
                struct span labels)
{
    struct source from = {span_str(who->role), span_str(who->name)};
    enum err e = store_apply(a->store, &from, id, labels, 1, NULL);
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

void aggregate_down(struct aggregate *a, struct span name, uint64_t epoch, bool stopped)
{
    uint64_t now_ms = clock_mono_ms(a->clock);
    daemons_down(a->daemons, name, now_ms);
    store_hide(a->store, name, now_ms);
    if (stopped)
        senders_forget(a->senders, epoch);
    else
        senders_away(a->senders, epoch);
    a->unsaved = true;
}

void aggregate_purge(struct aggregate *a)
{
    uint64_t now_ms = clock_mono_ms(a->clock);
    if (now_ms < FORGET_AFTER_MS)
        return;
    daemons_purge(a->daemons, now_ms - FORGET_AFTER_MS);
    store_purge(a->store, now_ms - FORGET_AFTER_MS);
    if (now_ms >= FORGET_SENDERS_AFTER_MS)
        senders_purge(a->senders, now_ms - FORGET_SENDERS_AFTER_MS);
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
