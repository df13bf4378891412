/* tollgate-broker: decides which worker runs a request, and what follows when an attempt fails.
 * Holds the queue, the slots, the breakers and the retries; sees no body, talks to no provider,
 * writes nothing to disk. */
#include "common/base/log.h"
#include "services/broker/driver.h"
#include "services/broker/peers.h"
#include "services/broker/rules.h"

enum { CLOSE_AFTER_US = 500000 };

struct broker {
    struct daemon *d;
    struct workers *workers;
    struct router *router;
    struct core *core;
    struct core_driver driver;
    struct catalog catalog; /* what providers list, for edges that come */
    uint64_t close_us;      /* draining: until then */
};

static uint64_t now_us(const struct broker *b)
{
    return loop_now_us(b->d->loop);
}

/* ---- life ---- */

static enum err start(void *self, struct daemon *d)
{
    struct broker *b = self;
    struct core_rules rules = rules_from(&d->config->options);
    b->d = d;
    enum err e = workers_create(&b->workers);
    if (!e)
        e = router_create(&b->router, d->config, b->workers, NULL, now_us(b));
    driver_init(&b->driver, d, b->workers);
    if (!e)
        e = core_create(&b->core, &driver_ops, &b->driver, &rules, b->workers, b->router,
                        bus_epoch(d->bus));
    if (!e)
        driver_start(&b->driver, b->core);
    return e;
}

static void reload(void *self)
{
    struct broker *b = self;
    struct core_rules rules = rules_from(&b->d->config->options);
    if (router_renew(&b->router, b->d->config, b->workers, now_us(b)))
        log_error("reload_failed", LSTR("why", "out of memory"),
                  LSTR("keeping", "the models in force"));
    else
        core_reconfigure(b->core, &rules, b->router, now_us(b));
}

static void drain(void *self)
{
    struct broker *b = self;
    peers_announce_drain(b->d->bus);
    /* Asks already on their way here are still answered. */
    b->close_us = now_us(b) + CLOSE_AFTER_US;
    core_close(b->core, b->close_us);
}

static bool drained(void *self)
{
    const struct broker *b = self;
    return now_us(b) >= b->close_us; /* edges ask others for what waits here */
}

static void stop(void *self)
{
    struct broker *b = self;
    driver_stop(&b->driver);
    core_destroy(&b->core);
    router_unref(&b->router);
    workers_destroy(&b->workers);
    catalog_free(&b->catalog);
}

/* ---- peers ---- */

static void on_peer_up(void *self, struct bus_peer *peer)
{
    struct broker *b = self;
    peer_up(peer, b->core, b->workers, now_us(b));
    if (peer_edge(peer))
        peer_tell_models(peer, &b->catalog);
}

static void on_peer_down(void *self, struct bus_peer *peer)
{
    struct broker *b = self;
    peer_down(peer, b->core, b->d->metrics, now_us(b));
}

/* ---- messages ---- */

static void step(struct broker *b, enum core_event_kind kind, struct bus_peer *peer,
                 const struct bus_message *m)
{
    struct core_event event = {.kind = kind,
                               .edge = peer_edge(peer),
                               .worker = peer_worker(peer),
                               .header = m->header,
                               .body = m->body};
    if (kind == EVENT_SLOTS ? event.worker != NULL : event.edge != NULL)
        core_step(b->core, &event, now_us(b));
}

static void on_ask(void *self, struct bus_peer *from, const struct bus_message *m)
{
    step(self, EVENT_ASK, from, m);
}

static void on_cancel(void *self, struct bus_peer *from, const struct bus_message *m)
{
    step(self, EVENT_CANCEL, from, m);
}

static void on_report(void *self, struct bus_peer *from, const struct bus_message *m)
{
    step(self, EVENT_REPORT, from, m);
}

static void on_stored(void *self, struct bus_peer *from, const struct bus_message *m)
{
    step(self, EVENT_STORED, from, m);
}

static void on_slots(void *self, struct bus_peer *from, const struct bus_message *m)
{
    step(self, EVENT_SLOTS, from, m);
}

/* Of the worker's own provider, whatever it says. */
static void on_models(void *self, struct bus_peer *from, const struct bus_message *m)
{
    struct broker *b = self;
    struct models models = {.provider = span_str(bus_peer_provider(from)),
                            .names = m->body->models.names};
    enum err e = catalog_put(&b->catalog, models.provider, models.names);
    if (e)
        log_warn("models_not_kept", LSPAN("provider", models.provider), LSTR("why", err_name(e)));
    else
        peers_tell_edges(b->d->bus, &models);
}

/* A worker shares its slots by it: what waits for its provider. An edge chooses a broker by it. */
static uint32_t queued(void *self, const struct bus_peer *peer)
{
    const struct broker *b = self;
    const struct broker_worker *w = peer_worker(peer);
    if (w)
        return w->pool->queue.count;
    return b->core ? core_stats(b->core).queued : 0;
}

static const struct daemon_spec spec = {
    .program = "tollgate-broker",
    .role = "broker",
    .summary = "Decides which worker runs a request: queue, slots, retries, fallbacks.",
    .connects = LINK_METRICS,
    .binds = true,
    .max_message_bytes = 4 << 20,
    .start = start,
    .reload = reload,
    .drain = drain,
    .drained = drained,
    .stop = stop,
    .handlers = {[MESSAGE_ASK] = on_ask,
                 [MESSAGE_CANCEL] = on_cancel,
                 [MESSAGE_REPORT] = on_report,
                 [MESSAGE_STORED] = on_stored,
                 [MESSAGE_SLOTS] = on_slots,
                 [MESSAGE_MODELS] = on_models},
    .senders = {[MESSAGE_ASK] = "edge",
                [MESSAGE_CANCEL] = "edge",
                [MESSAGE_REPORT] = "edge",
                [MESSAGE_STORED] = "edge",
                [MESSAGE_SLOTS] = "worker",
                [MESSAGE_MODELS] = "worker"},
    .callers = "edge worker ctl",
    .on_peer_up = on_peer_up,
    .on_peer_down = on_peer_down,
    .queued = queued,
};

int main(int argc, char **argv)
{
    struct broker broker = {0};
    return daemon_main(&spec, &broker, argc, argv);
}
