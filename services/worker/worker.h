/* The parts of a worker and how they hang together; main.c is their table of contents. */
#ifndef SERVICES_WORKER_WORKER_H
#define SERVICES_WORKER_WORKER_H

#include "common/runtime/daemon.h"
#include "services/worker/attempt/attempts.h"
#include "services/worker/gate.h"
#include "services/worker/listing.h"
#include "services/worker/slots.h"

/* To one of the daemon's brokers, by its number. */
struct broker_link {
    uint64_t epoch; /* 0 = down */
    uint8_t key[GRANT_KEY_BYTES];
};

struct worker {
    const char *provider; /* --provider NAME */
    struct daemon *d;
    struct setup *setup;
    struct model_table *table;
    struct schema_cache *schemas;
    struct fetch *fetch;
    struct listing listing; /* the provider's models, where they are shown */
    struct settles *settles;
    struct attempts *attempts; /* NULL until worker_open has succeeded */
    struct speeds speeds;      /* of the provider's models */
    struct gate *gate;
    struct broker_link links[SLOTS_MAX_BROKERS];
    struct offers offers;
    uint64_t descriptors; /* that connections to upstreams may take */
    bool uneven;          /* a broker has more than its part until attempts end */
    bool said_full;       /* brokers have heard that no slot is free */
    struct loop_timer upkeep;
    struct setup *prepared; /* by worker_prepare, for worker_reload */
    enum err prepared_err;
    bool is_prepared;
};

/* w->provider is set, the rest zero. On failure (logged) nothing is left open. */
enum err worker_open(struct worker *w, struct daemon *d) NODISCARD;
void worker_close(struct worker *w);
/* Beside the loop, before worker_reload: reads this file's setup. */
void worker_prepare(struct worker *w, const char *path);
/* The configuration has changed: new work uses it; the old one stays when it is bad. */
void worker_reload(struct worker *w);
/* Reports to brokers what they may grant, where that has changed. */
void worker_offer_slots(struct worker *w);
/* A link to a broker is up: it gets a key of its own, and its offer. */
void worker_broker_up(struct worker *w, const struct bus_peer *broker);
void worker_broker_down(struct worker *w, const struct bus_peer *broker);
/* DISPATCH of an edge: begun if the gate lets it in, else answered "busy". */
void worker_dispatch(struct worker *w, struct bus_peer *edge, const struct bus_message *m);

#endif
