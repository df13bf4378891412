/* Who can do the work: the greeted workers by provider, the slots they offer and what they have in
 * flight. Decides which worker gets the next attempt; knows nothing of models or retries. */
#ifndef SERVICES_BROKER_WORKERS_H
#define SERVICES_BROKER_WORKERS_H

#include "common/base/err.h"
#include "proto/grant.h"
#include "services/broker/queue.h"

struct bus_peer;
struct broker_grant;
struct workers;

enum { WORKERS_NAME = 64, WORKERS_ADDRESS = 256, WORKERS_MAX_POOLS = 1024 };

/* How attempts ended; counted per provider. */
enum attempt_outcome { OUTCOME_OK, OUTCOME_FAILED, OUTCOME_CANCELED, OUTCOME_COUNT };
const char *outcome_name(enum attempt_outcome outcome);

/* All workers of one provider, and the asks that wait for them. Lives until workers_destroy. */
struct pool {
    char name[WORKERS_NAME];
    struct broker_worker *workers;
    uint32_t worker_count;
    uint32_t offered;        /* by all of them */
    uint32_t in_flight;      /* slots taken, of all of them */
    uint64_t empty_since_us; /* while nobody offers a slot */
    struct queue queue;
    uint64_t outcomes[OUTCOME_COUNT];      /* since the start */
    uint64_t last_reported[OUTCOME_COUNT]; /* … of them, to metrics */
    struct pool *next;
};

struct broker_worker {
    struct pool *pool;
    struct bus_peer *peer;
    uint64_t serial; /* of this greeting; never reused */
    char name[WORKERS_NAME];
    uint64_t epoch;                /* of its boot */
    char address[WORKERS_ADDRESS]; /* where edges reach it … */
    const char *public_key;        /* … and what it is known by there; the peer's; "" = no keys */
    uint8_t key[GRANT_KEY_BYTES];  /* signs our grants for it */
    uint64_t clock_ms, clock_us;   /* its clock, and ours when it said so */
    uint32_t offered;
    uint32_t in_flight; /* slots taken by grants */
    uint32_t running;   /* attempts there under our grants, by its own word */
    uint32_t unknown; /* of these, under grants that we do not know: from before a link was lost */
    bool stuck;       /* it has no room, whatever it offered: until its next word or an end there */
    char why[WORKERS_NAME];      /* it offers none because … */
    char reported[WORKERS_NAME]; /* … as metrics know it */
    struct broker_grant *grants; /* of its slots; the list is the grants' own */
    struct broker_worker *prev, *next;
};

enum err workers_create(struct workers **out) NODISCARD;
void workers_destroy(struct workers **workers);

/* The pool of a provider, made at its first mention; NULL at the bound or without memory. */
struct pool *workers_pool(struct workers *ws, struct span provider, uint64_t now_us);
struct pool *workers_first_pool(const struct workers *ws);

/* A worker has been greeted; it offers nothing yet. NULL without memory. */
struct broker_worker *workers_add(struct workers *ws, struct bus_peer *peer, struct span provider,
                                  struct span name, struct span address, uint64_t epoch,
                                  uint64_t now_us);
/* It is gone; its grants must have been taken away before. Takes NULL, nulls. */
void workers_remove(struct broker_worker **worker, uint64_t now_us);
/* SLOTS: absolute; `why` when 0. free: of all its slots; while it has none, what others run there
 * takes this broker's too. */
void workers_offer(struct broker_worker *w, uint32_t slots, uint32_t free, struct span why,
                   uint64_t now_us);

/* The worker with the least in flight per slot offered that has one free; `avoid` (a serial) only
 * when there is no other. NULL when all are full. */
struct broker_worker *workers_pick(const struct pool *pool, uint64_t avoid);
/* Slots taken of it: so many more, or fewer. */
void workers_take(struct broker_worker *w, uint32_t slots);
void workers_give_back(struct broker_worker *w, uint32_t slots);
/* Free slots; 0 for one that is stuck. */
uint32_t workers_free(const struct broker_worker *w);
/* Its clock, as far as is known here. */
uint64_t workers_clock_ms(const struct broker_worker *w, uint64_t now_us);

/* There is a worker here, and every one reports that it can't serve at all (no key). *why_out names
 * the reason. */
bool pool_is_unable(const struct pool *pool, const char **why_out);

#endif
