/* SETTLE and RELEASE on their way into the store, and what they correct in memory once they are
 * durable. */
#ifndef SERVICES_AUTH_LEDGER_LEDGER_H
#define SERVICES_AUTH_LEDGER_LEDGER_H

#include "common/runtime/config/config.h"
#include "common/runtime/metric.h"
#include "proto/message.h"
#include "services/auth/limits/reservations.h"
#include "services/auth/limits/outputs.h"
#include "services/auth/ledger/held.h"
#include "services/auth/ledger/prices.h"

struct ledger {
    enum err (*submit)(void *ctx, const struct store_op *op); /* to the writer */
    /* The last word on a SETTLE or RELEASE that was taken: OK = durable, acknowledge it. `op->tag`
     * goes with it. May be NULL. */
    void (*answer)(void *ctx, const struct store_op *op, enum err result);
    /* The key is charged with more than was set aside; may be NULL. */
    void (*charged)(void *ctx, const struct key *key);
    /* The request was admitted by an edge that has ended, and is charged nowhere: to be charged to
     * its limits. May be NULL. */
    void (*uncounted)(void *ctx, const struct key *key, struct span model, uint64_t tokens);
    void *ctx; /* of all */
    struct held held;
    struct keys *keys;
    uint64_t seed; /* of hashes of workers' names */
    struct reservations *reservations;
    struct outputs *outputs; /* learns; may be NULL */
    struct prices *prices;   /* for rows that are booked without a worker's report */
    const struct config *config;
    struct metric_client *metrics; /* may be NULL */
};

/* ERR_AGAIN: not taken, the sender will come again; else `tag` comes back by answer(). */
/* `worker` is the bus name of the one that settles. */
enum err ledger_on_settle(struct ledger *l, const struct header *h, const struct settle *m,
                          struct span worker, uint64_t now_ns, uint64_t wall_ms,
                          void *tag) NODISCARD;
/* What it held is free from here on. Answered when its SETTLE is durable, or it is booked as an
 * estimate. */
enum err ledger_on_release(struct ledger *l, const struct header *h, const struct release *m,
                           uint64_t now_ns, uint64_t wall_ms, void *tag) NODISCARD;
/* A RELEASE without a key: its edge gave up before auth had answered. Lets go of what was held;
 * books nothing. */
void ledger_on_abandoned(struct ledger *l, const struct header *h, uint64_t now_ns);
/* A SETTLE, RELEASE or SLOT_PUT operation has become durable (or has not). */
void ledger_on_result(struct ledger *l, const struct store_op *op, enum err result,
                      uint64_t now_ns);
/* A slot found in the store at start: its request may still run, at an edge that will come back. */
enum err ledger_on_slot(struct ledger *l, const struct store_slot *slot, uint64_t now_ns,
                        uint64_t wall_ms) NODISCARD;
/* Books what has waited long enough, stores slots that last. Call a few times a second. */
void ledger_tick(struct ledger *l, uint64_t now_ns, uint64_t wall_ms);
/* The end is near: books all that waits. A SETTLE that still comes replaces it. */
void ledger_book_all(struct ledger *l);
/* What is held is not answered OK. */
void ledger_free(struct ledger *l);

#endif
