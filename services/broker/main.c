/* tollgate-broker: decides which worker runs a request, and what follows when an attempt fails.
 * Holds the queue, the slots, the breakers and the retries; reads no body, talks to no provider,
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
    struct requests *requests;
    struct requests_driver driver;
};

static uint64_t now_us(const struct broker *b)
{
    return loop_now_us(b->d->loop);
}

/* ---- life ---- */

static enum err start(void *self, struct daemon *d)
{
    struct broker *b = self;
    struct requests_rules rules = rules_from(&d->config->options);
    b->d = d;
    enum err e = workers_create(&b->workers);
    if (!e)
        e = router_create(&b->router, d->config, b->workers, NULL, now_us(b));
    driver_init(&b->driver, d, b->workers);
    if (!e)
        e = requests_create(&b->requests, &driver_ops, &b->driver, &rules, b->workers, b->router);
    if (!e)
        driver_start(&b->driver, b->requests);
    return e;
}

static void reload(void *self)
{
    struct broker *b = self;
    struct requests_rules rules = rules_from(&b->d->config->options);
    if (router_renew(&b->router, b->d->config, b->workers, now_us(b)))
        log_error("reload_failed", LSTR("why", "out of memory"),
                  LSTR("keeping", "the models in force"));
    else
        requests_reconfigure(b->requests, &rules, b->router);
}

static void drain(void *self)
{
    struct broker *b = self;
    peers_announce_drain(b->d->bus);
    /* Requests already on their way here are still served. */
    requests_close(b->requests, now_us(b) + CLOSE_AFTER_US);
}

static bool drained(void *self)
{
    const struct broker *b = self;
    return requests_drained(b->requests, now_us(b));
}

static void stop(void *self)
{
    struct broker *b = self;
    driver_stop(&b->driver);
    requests_destroy(&b->requests);
    router_unref(&b->router);
    workers_destroy(&b->workers);
}

/* ---- peers ---- */

static void on_peer_up(void *self, struct bus_peer *peer)
{
    struct broker *b = self;
    peer_up(peer, b->requests, b->workers, now_us(b));
}

static void on_peer_down(void *self, struct bus_peer *peer)
{
    struct broker *b = self;
    peer_down(peer, b->requests, b->d->metrics, now_us(b));
}

/* ---- messages: those of a peer in the wrong role go nowhere ---- */

#define FROM(role, name, action)                                                                   \
    static void on_##name(void *self, struct bus_peer *peer, const struct bus_message *m)          \
    {                                                                                              \
        struct broker *b = self;                                                                   \
        struct broker_##role *from = peer_##role(peer);                                            \
        if (from)                                                                                  \
            action;                                                                                \
    }

FROM(edge, request, requests_on_request(b->requests, from, m, now_us(b)))
FROM(edge, cancel, requests_on_cancel(b->requests, from, m, now_us(b)))
FROM(edge, credit, requests_on_credit(b->requests, from, m))
FROM(worker, slots,
     requests_on_slots(b->requests, from, m->body->slots.offered, m->body->slots.why, now_us(b)))
FROM(worker, head, requests_on_head(b->requests, from, m, now_us(b)))
FROM(worker, data, requests_on_data(b->requests, from, m, now_us(b)))
FROM(worker, end, requests_on_end(b->requests, from, m, now_us(b)))
FROM(worker, fail, requests_on_fail(b->requests, from, m, now_us(b)))
/* A worker that drains offers nothing more; what runs there goes on. */
FROM(worker, drain, ((void)m, requests_on_slots(b->requests, from, 0, SPAN("draining"), now_us(b))))

static uint32_t queued(void *self)
{
    const struct broker *b = self;
    return b->requests ? requests_stats(b->requests).queued : 0;
}

static const struct daemon_spec spec = {
    .program = "tollgate-broker",
    .role = "broker",
    .summary = "Routes requests of edges to workers: queue, slots, retries, fallbacks.",
    .connects = LINK_METRICS,
    .binds = true,
    .start = start,
    .reload = reload,
    .drain = drain,
    .drained = drained,
    .stop = stop,
    .handlers = {[MESSAGE_REQUEST] = on_request,
                 [MESSAGE_CANCEL] = on_cancel,
                 [MESSAGE_CREDIT] = on_credit,
                 [MESSAGE_SLOTS] = on_slots,
                 [MESSAGE_HEAD] = on_head,
                 [MESSAGE_DATA] = on_data,
                 [MESSAGE_END] = on_end,
                 [MESSAGE_REPLY] = on_end,
                 [MESSAGE_FAIL] = on_fail,
                 [MESSAGE_DRAIN] = on_drain},
    .on_peer_up = on_peer_up,
    .on_peer_down = on_peer_down,
    .queued = queued,
};

int main(int argc, char **argv)
{
    struct broker broker = {0};
    return daemon_main(&spec, &broker, argc, argv);
}
