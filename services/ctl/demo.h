/* The configuration of `tollgate up --demo`, with a provider for each protocol: everyone whose API
 * key is in the environment is the real one, the others are the simulator. */
#ifndef SERVICES_CTL_DEMO_H
#define SERVICES_CTL_DEMO_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct demo_ports {
    unsigned edge, metrics, simulator; /* metrics 0: none */
};

/* How many providers are simulated. `getenv_fn` is getenv, but for tests. */
unsigned demo_config(const struct demo_ports *ports, char *(*getenv_fn)(const char *),
                     struct buf *out);

/* A port of 127.0.0.1 that nobody uses now; `wanted` 0 = any. 0 when there is none (or not that
 * one). */
unsigned demo_free_port(unsigned wanted);

#endif
