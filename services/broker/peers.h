/* Who is at the other end of a link: an edge or a worker, as its greeting said. */
#ifndef SERVICES_BROKER_PEERS_H
#define SERVICES_BROKER_PEERS_H

#include "common/runtime/catalog.h"
#include "common/runtime/metric.h"
#include "services/broker/core.h"

/* NULL when the peer is something else. */
struct broker_edge *peer_edge(const struct bus_peer *peer);
struct broker_worker *peer_worker(const struct bus_peer *peer);

void peer_up(struct bus_peer *peer, struct core *core, struct workers *ws, uint64_t now_us);
void peer_down(struct bus_peer *peer, struct core *core, struct metric_client *metrics,
               uint64_t now_us);
/* What providers list: all of it to an edge that has come, a new list to all edges. */
void peer_tell_models(struct bus_peer *edge, const struct catalog *catalog);
void peers_tell_edges(struct bus *bus, const struct models *models);
/* Edges look for another broker, workers for other work. */
void peers_announce_drain(struct bus *bus);

#endif
