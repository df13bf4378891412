/* The edge's life: what main.c calls. */
#ifndef SERVICES_EDGE_EDGE_H
#define SERVICES_EDGE_EDGE_H

#include "services/edge/context.h"

enum err edge_start(struct edge *e, struct daemon *d) NODISCARD;
void edge_reload(struct edge *e);
/* No more clients once edge.lame_duck has passed; meanwhile readiness says no. */
void edge_drain(struct edge *e);
uint64_t edge_lame_duck_ms(const struct edge *e);
bool edge_drained(struct edge *e);
/* Ends every request, in words, and accepts nobody. */
void edge_cut_short(struct edge *e);
void edge_stop(struct edge *e);

void edge_on_peer_up(struct edge *e, struct bus_peer *peer);
void edge_on_peer_down(struct edge *e, struct bus_peer *peer);
/* A provider has told which models it has. */
void edge_on_models(struct edge *e, const struct models *m);
/* DRAIN: this broker finishes what it has and takes no more. */
void edge_on_drain(struct edge *e, struct bus_peer *peer);

#endif
