/* tollgate-metrics: sums what all daemons count and shows it: Prometheus text and the suite's
 * status, on a port of its own and to edges and the tollgate command over the bus. Holds up nobody:
 * others go on without it. */
#include <stdio.h>

#include "common/base/log.h"
#include "common/runtime/daemon.h"
#include "common/runtime/listening.h"
#include "services/metrics/web.h"

enum { PURGE_MS = 60000, SAVE_MS = 2000, PATH_BYTES = 256 };

struct metrics {
    struct daemon *d;
    struct aggregate aggregate;
    struct http_server *web; /* NULL: no port */
    struct loop_timer purge, save;
    char path[PATH_BYTES];                   /* what was counted, for our next start */
    uint64_t dropped, refused[BUS_REFUSALS]; /* of our own bus: what has been counted of it */
};

/* ---- life ---- */

static void on_purge(void *self)
{
    struct metrics *m = self;
    aggregate_purge(&m->aggregate);
    loop_timer_start(m->d->loop, &m->purge, PURGE_MS, on_purge, m);
}

static void count_own(struct metrics *m, enum metric_id id, const char *labels, uint64_t total,
                      uint64_t *counted)
{
    if (total > *counted)
        aggregate_count(&m->aggregate, id, span_str(labels), total - *counted);
    *counted = total;
}

/* What other daemons report of their bus. */
static void count_bus(struct metrics *m)
{
    const struct bus *bus = m->d->bus;
    count_own(m, METRIC_BUS_DROPPED, "metrics", bus_dropped(bus), &m->dropped);
    for (enum bus_refusal why = 0; why < BUS_REFUSALS; why++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "metrics\x1f%s", bus_refusal_name(why));
        count_own(m, METRIC_BUS_REFUSED, labels, bus_refused(bus, why), &m->refused[why]);
    }
}

static void on_save(void *self)
{
    struct metrics *m = self;
    count_bus(m);
    aggregate_save(&m->aggregate, m->path);
    loop_timer_start(m->d->loop, &m->save, SAVE_MS, on_save, m);
}

static enum err open_port(struct metrics *m)
{
    const struct config_options *o = &m->d->config->options;
    if (!o->metrics_port)
        return OK;
    enum err e = o->metrics_port > UINT16_MAX
                     ? ERR_INVALID
                     : web_create(&m->web, m->d->loop, o->metrics_address,
                                  (uint16_t)o->metrics_port, &m->aggregate);
    char why[LISTENING_FAULT_BYTES];
    if (e)
        log_error("cannot_listen", LSTR("address", o->metrics_address),
                  LU64("port", o->metrics_port),
                  LSTR("why", listening_fault(e, (uint16_t)o->metrics_port, why)));
    else
        log_info("listening", LSTR("address", o->metrics_address),
                 LU64("port", http_server_port(m->web)));
    return e;
}

static bool is_entry(void *ctx, struct span model)
{
    const struct metrics *m = ctx;
    const struct config_model *entry = config_find_model(m->d->config, model);
    return entry && span_is(model, entry->name);
}

static void list_self(struct metrics *m)
{
    struct daemon_seen self = {
        .role = "metrics", .version = TOLLGATE_VERSION, .epoch = bus_epoch(m->d->bus)};
    (void)snprintf(self.name, sizeof self.name, "%s", m->d->name);
    aggregate_up(&m->aggregate, &self);
}

static enum err start(void *self, struct daemon *d)
{
    struct metrics *m = self;
    m->d = d;
    (void)snprintf(m->path, sizeof m->path, "%s/metrics.json", d->state_dir);
    enum err e =
        aggregate_init(&m->aggregate, loop_clock(d->loop), d->config->options.metrics_max_series);
    if (!e) {
        aggregate_know_models(&m->aggregate, is_entry, m);
        e = aggregate_load(&m->aggregate, m->path);
    }
    if (e)
        return e;
    list_self(m);
    on_purge(m);
    on_save(m);
    return open_port(m);
}

static void stop(void *self)
{
    struct metrics *m = self;
    http_server_destroy(&m->web);
    loop_timer_stop(m->d->loop, &m->purge);
    loop_timer_stop(m->d->loop, &m->save);
    aggregate_save(&m->aggregate, m->path);
    aggregate_reset(&m->aggregate);
}

/* What others report as a metric. */
static void restart_needed(void *self, const char *option, bool waits)
{
    struct metrics *m = self;
    const struct source source = {SPAN("metrics"), span_str(m->d->name)};
    const struct metric gauge = {
        .id = METRIC_RESTART_NEEDED, .labels = span_str(option), .value = waits ? 1 : METRIC_GONE};
    if (aggregate_report(&m->aggregate, &source, bus_epoch(m->d->bus), &gauge))
        log_debug("series_dropped", LSTR("option", option));
}

/* ---- peers ---- */

static void on_peer_up(void *self, struct bus_peer *peer)
{
    struct metrics *m = self;
    struct daemon_seen who = {.epoch = bus_peer_epoch(peer)};
    /* A command that asks and leaves is no part of the suite. */
    if (strcmp(bus_peer_role(peer), "ctl") == 0)
        return;
    (void)snprintf(who.role, sizeof who.role, "%s", bus_peer_role(peer));
    (void)snprintf(who.name, sizeof who.name, "%s", bus_peer_name(peer));
    (void)snprintf(who.version, sizeof who.version, "%s", bus_peer_version(peer));
    (void)snprintf(who.provider, sizeof who.provider, "%s", bus_peer_provider(peer));
    aggregate_up(&m->aggregate, &who);
    aggregate_expect(&m->aggregate, who.epoch);
    aggregate_save(&m->aggregate, m->path);
}

static void on_peer_down(void *self, struct bus_peer *peer)
{
    struct metrics *m = self;
    if (strcmp(bus_peer_role(peer), "ctl") == 0)
        return;
    aggregate_down(&m->aggregate, span_str(bus_peer_name(peer)), bus_peer_epoch(peer),
                   bus_peer_stopped(peer));
    /* What it had counted can't be learned from it again. */
    aggregate_save(&m->aggregate, m->path);
}

/* ---- messages ---- */

static void on_metric(void *self, struct bus_peer *from, const struct bus_message *message)
{
    struct metrics *m = self;
    const struct metric *u = &message->body->metric;
    struct source source = {span_str(bus_peer_role(from)), span_str(bus_peer_name(from))};
    enum err e = aggregate_report(&m->aggregate, &source, bus_peer_epoch(from), u);
    if (e)
        log_debug("series_dropped", LSPAN("from", source.name), LU64("id", u->id),
                  LSTR("why", err_name(e)));
}

static void on_query(void *self, struct bus_peer *from, const struct bus_message *message)
{
    struct metrics *m = self;
    struct buf out = {0};
    /* Unanswered, it is "unavailable at the moment". */
    if (span_is(message->body->query.what, "metrics") && aggregate_is_catching_up(&m->aggregate))
        return;
    const char *type = aggregate_document(&m->aggregate, message->body->query.what, &out);
    struct answer answer = {.content_type = span_str(type ? type : ""), .body = buf_span(&out)};
    if (bus_send(from, (struct header){.id = message->header.id}, MESSAGE_ANSWER, &answer))
        log_debug("answer_undelivered", LSTR("to", bus_peer_name(from)));
    buf_free(&out);
}

static const struct daemon_spec spec = {
    .program = "tollgate-metrics",
    .role = "metrics",
    .summary = "Sums what all daemons count: Prometheus text and the suite's status.",
    .binds = true,
    .keeps_state = true,
    .max_message_bytes = 4 << 20,
    .start = start,
    .restart_needed = restart_needed,
    .stop = stop,
    .handlers = {[MESSAGE_METRIC] = on_metric, [MESSAGE_QUERY] = on_query},
    .senders = {[MESSAGE_METRIC] = BUS_ANYBODY, [MESSAGE_QUERY] = BUS_ANYBODY},
    .callers = "edge auth broker worker ctl",
    .on_peer_up = on_peer_up,
    .on_peer_down = on_peer_down,
};

int main(int argc, char **argv)
{
    struct metrics metrics = {0};
    return daemon_main(&spec, &metrics, argc, argv);
}
