#include "services/broker/peers.h"

#include "common/base/log.h"
#include "services/broker/report.h"

struct edge *peer_edge(const struct bus_peer *from)
{
    return strcmp(bus_peer_role(from), "edge") == 0 ? bus_peer_user(from) : NULL;
}

struct worker *peer_worker(const struct bus_peer *from)
{
    return strcmp(bus_peer_role(from), "worker") == 0 ? bus_peer_user(from) : NULL;
}

void peer_up(struct bus_peer *peer, struct calls *c, struct workers *ws, uint64_t now_us)
{
    struct span provider = span_str(bus_peer_provider(peer)), name = span_str(bus_peer_name(peer));
    void *user = NULL;
    if (strcmp(bus_peer_role(peer), "edge") == 0)
        user = calls_edge_up(c, peer);
    else if (strcmp(bus_peer_role(peer), "worker") == 0)
        user = workers_add(ws, peer, provider, name, now_us);
    bus_peer_set_user(peer, user);
}

void peer_down(struct bus_peer *peer, struct calls *c, struct metric_client *metrics,
               uint64_t now_us)
{
    struct edge *edge = peer_edge(peer);
    struct worker *worker = peer_worker(peer);
    bus_peer_set_user(peer, NULL);
    if (worker)
        report_worker_gone(metrics, worker);
    calls_edge_down(c, &edge, now_us);
    calls_worker_down(c, &worker, now_us);
}

void peers_tell_drain(struct bus *bus)
{
    for (struct bus_peer *p = bus_next_peer(bus, NULL); p; p = bus_next_peer(bus, p))
        if (bus_send(p, (struct header){0}, MESSAGE_DRAIN, &(struct drain){0}))
            log_debug("drain_untold", LSTR("peer", bus_peer_name(p)));
}
