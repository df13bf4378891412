#include "services/broker/peers.h"

#include "common/base/log.h"
#include "services/broker/report.h"

struct broker_edge *peer_edge(const struct bus_peer *from)
{
    return strcmp(bus_peer_role(from), "edge") == 0 ? bus_peer_user(from) : NULL;
}

struct broker_worker *peer_worker(const struct bus_peer *from)
{
    return strcmp(bus_peer_role(from), "worker") == 0 ? bus_peer_user(from) : NULL;
}

void peer_up(struct bus_peer *peer, struct core *core, struct workers *ws, uint64_t now_us)
{
    struct span provider = span_str(bus_peer_provider(peer)), name = span_str(bus_peer_name(peer));
    void *user = NULL;
    if (strcmp(bus_peer_role(peer), "edge") == 0) {
        user = core_edge_up(core, peer, bus_peer_epoch(peer));
    } else if (strcmp(bus_peer_role(peer), "worker") == 0) {
        struct broker_worker *w =
            workers_add(ws, peer, provider, name, span_str(bus_peer_address(peer)),
                        bus_peer_epoch(peer), now_us);
        if (w)
            w->public_key = bus_peer_key(peer);
        user = w;
    }
    bus_peer_set_user(peer, user);
}

void peer_down(struct bus_peer *peer, struct core *core, struct metric_client *metrics,
               uint64_t now_us)
{
    struct broker_edge *edge = peer_edge(peer);
    struct broker_worker *worker = peer_worker(peer);
    bus_peer_set_user(peer, NULL);
    struct core_event down = {
        .kind = edge ? EVENT_EDGE_DOWN : EVENT_WORKER_DOWN, .edge = edge, .worker = worker};
    if (worker)
        report_worker_gone(metrics, worker);
    if (edge || worker)
        core_step(core, &down, now_us);
}

void peers_announce_drain(struct bus *bus)
{
    for (struct bus_peer *p = bus_next_peer(bus, NULL); p; p = bus_next_peer(bus, p))
        if (bus_send(p, (struct header){0}, MESSAGE_DRAIN, &(struct drain){0}))
            log_debug("drain_undelivered", LSTR("peer", bus_peer_name(p)));
}

static void tell(struct bus_peer *edge, const struct models *models)
{
    if (bus_send(edge, (struct header){0}, MESSAGE_MODELS, models))
        log_debug("models_undelivered", LSTR("peer", bus_peer_name(edge)));
}

void peer_tell_models(struct bus_peer *edge, const struct catalog *catalog)
{
    for (const struct catalog_entry *e = catalog->first; e; e = e->next) {
        struct models models = {.provider = span_str(e->provider),
                                .names = span_str(e->names ? e->names : "")};
        tell(edge, &models);
    }
}

void peers_tell_edges(struct bus *bus, const struct models *models)
{
    for (struct bus_peer *p = bus_next_peer(bus, NULL); p; p = bus_next_peer(bus, p))
        if (peer_edge(p))
            tell(p, models);
}
