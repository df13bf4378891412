/* tollgate-broker: decides which worker runs a request, and what follows when an attempt fails.
 * Holds the queue, the slots, the breakers and the retries; reads no body, talks to no provider,
 * writes nothing to disk. */
#include "common/base/log.h"
#include "services/broker/timers.h"
#include "services/broker/peers.h"
#include "services/broker/rules.h"

enum { CLOSE_AFTER_US = 500000 };

struct broker {
    struct daemon *d;
    struct workers *workers;
    struct router *router;
    struct calls *calls;
    struct host host;
};

static uint64_t now_us(const struct broker *b)
{
    return loop_now_us(b->d->loop);
}

/* ---- life ---- */

static enum err start(void *self, struct daemon *d)
{
    struct broker *b = self;
    struct calls_rules rules = rules_from(&d->config->options);
    b->d = d;
    enum err e = workers_create(&b->workers);
    if (!e)
        e = router_create(&b->router, d->config, b->workers, NULL, now_us(b));
    host_init(&b->host, d, b->workers);
    if (!e)
        e = calls_create(&b->calls, &host_ops, &b->host, &rules, b->workers, b->router);
    if (!e)
        host_start(&b->host, b->calls);
    return e;
}

static void reload(void *self)
{
    struct broker *b = self;
    struct calls_rules rules = rules_from(&b->d->config->options);
    if (router_renew(&b->router, b->d->config, b->workers, now_us(b)))
        log_error("reload_failed", LSTR("why", "out of memory"),
                  LSTR("keeping", "the models in force"));
    else
        calls_reconfigure(b->calls, &rules, b->router);
}

static void drain(void *self)
{
    struct broker *b = self;
    peers_tell_drain(b->d->bus);
    /* Requests already on their way here are still served. */
    calls_close(b->calls, now_us(b) + CLOSE_AFTER_US);
}

static bool drained(void *self)
{
    const struct broker *b = self;
    return calls_drained(b->calls, now_us(b));
}

static void stop(void *self)
{
    struct broker *b = self;
    host_stop(&b->host);
    calls_destroy(&b->calls);
    router_unref(&b->router);
    workers_destroy(&b->workers);
}

/* ---- peers ---- */

static void on_peer_up(void *self, struct bus_peer *peer)
{
    struct broker *b = self;
    peer_up(peer, b->calls, b->workers, now_us(b));
}

static void on_peer_down(void *self, struct bus_peer *peer)
{
    struct broker *b = self;
    peer_down(peer, b->calls, b->d->metrics, now_us(b));
}

/* ---- messages: those of a peer in the wrong role go nowhere ---- */

#define FROM(role, name, call)                                                                     \
    static void on_##name(void *self, struct bus_peer *peer, const struct bus_message *m)          \
    {                                                                                              \
        struct broker *b = self;                                                                   \
        struct role *from = peer_##role(peer);                                                     \
        if (from)                                                                                  \
            call;                                                                                  \
    }

FROM(edge, request, calls_on_request(b->calls, from, m, now_us(b)))
FROM(edge, cancel, calls_on_cancel(b->calls, from, m, now_us(b)))
FROM(edge, credit, calls_on_credit(b->calls, from, m))
FROM(worker, slots,
     calls_on_slots(b->calls, from, m->body->slots.offered, m->body->slots.why, now_us(b)))
FROM(worker, head, calls_on_head(b->calls, from, m, now_us(b)))
FROM(worker, data, calls_on_data(b->calls, from, m, now_us(b)))
FROM(worker, end, calls_on_end(b->calls, from, m, now_us(b)))
FROM(worker, fail, calls_on_fail(b->calls, from, m, now_us(b)))
/* A worker that drains offers nothing more; what runs there goes on. */
FROM(worker, drain, ((void)m, calls_on_slots(b->calls, from, 0, SPAN("draining"), now_us(b))))

static uint32_t queued(void *self)
{
    const struct broker *b = self;
    return b->calls ? calls_stats(b->calls).queued : 0;
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
