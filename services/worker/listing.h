/* The provider's own list of models (GET /models), where a wildcard of the configuration shows it
 * (`list`): read at the start and every five minutes, bounded, and told to the brokers, which tell
 * the edges. Nobody waits for it. */
#ifndef SERVICES_WORKER_LISTING_H
#define SERVICES_WORKER_LISTING_H

#include "common/runtime/bus/bus.h"
#include "services/worker/setup.h"

struct fetch_transfer;
/* Tells all brokers. */
typedef void (*listing_tell_fn)(void *ctx, struct span names);

struct listing {
    struct loop *loop;
    struct fetch *fetch;
    listing_tell_fn tell;
    void *ctx;
    struct setup *setup; /* while it is read; NULL */
    struct fetch_transfer *transfer;
    struct loop_timer next, late;
    struct buf body, names; /* names: the last ones, each with a \n behind it */
    unsigned status;
    bool wanted, complained;
};

/* {0}, with loop, fetch, tell and ctx set, is one at rest. The setup is new: is a list wanted? */
void listing_renew(struct listing *l, struct setup *setup);
/* What was read last; empty = nothing yet. */
struct span listing_names(const struct listing *l);
void listing_stop(struct listing *l);

/* The names in the answer of a provider ({"data":[{"id"}]}, {"models":…}, or the array alone), each
 * with a \n behind it, as many as CATALOG_MAX_BYTES have room for. ERR_INVALID: no such list. */
enum err listing_read(struct span body, struct buf *out) NODISCARD;

#endif
