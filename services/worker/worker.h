/* The parts of a worker and how they hang together; main.c is their table of contents. */
#ifndef SERVICES_WORKER_WORKER_H
#define SERVICES_WORKER_WORKER_H

#include "common/runtime/daemon.h"
#include "services/worker/attempt/attempts.h"
#include "services/worker/slots.h"

struct worker {
    const char *provider; /* --provider NAME */
    struct daemon *d;
    struct setup *setup;
    struct model_table *table;
    struct schema_cache *schemas;
    struct fetch *fetch;
    struct settles *settles;
    struct attempts *attempts; /* NULL until worker_open has succeeded */
    struct offers offers;
    struct loop_timer upkeep;
};

/* w->provider is set, the rest zero. On failure (logged) nothing is left open. */
enum err worker_open(struct worker *w, struct daemon *d) NODISCARD;
void worker_close(struct worker *w);
/* The configuration has changed: new work uses it; the old one stays when it is bad. */
void worker_reload(struct worker *w);
/* Reports to brokers what they may send, where that has changed. */
void worker_offer_slots(struct worker *w);
void worker_broker_up(struct worker *w, const struct bus_peer *broker);
/* Attempts at once, whatever was offered. */
uint32_t worker_attempt_limit(const struct worker *w);

#endif
