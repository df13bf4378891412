/* The keys an edge knows, their models and leases: one table, bounded. Part of leases.h. */
#ifndef SERVICES_EDGE_LEASES_LEASED_KEYS_H
#define SERVICES_EDGE_LEASES_LEASED_KEYS_H

#include <utlist.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "services/edge/leases/key_lease.h"
#include "services/edge/leases/leases.h"

/* What auth says of a model; the one used last is the first of its key. */
struct leased_model {
    struct leased_model *prev, *next;
    struct key_lease *lease;
    uint64_t output_tokens; /* of an answer without a cap */
    bool needs_slot;
    uint64_t limits_ms; /* when auth sent the limits */
    struct limit_headers limits;
    struct span name, barred; /* in `text` */
    char text[];
};

struct leased_key {
    UT_hash_handle hh;
    uint8_t digest[SHA256_BYTES];
    uint64_t known_until_ms;
    struct span id, name, models; /* in `text` */
    char *text;
    struct key_lease *leases;
    struct leased_model *by_use;
    size_t model_count;
};

/* uthash keeps the order of insertion; a key that auth is asked about moves to the end, so the
 * first is the longest unused. {0} is an empty table. */
struct leased_keys {
    struct leased_key *by_digest;
    struct key_lease *open;
    size_t model_count;
};

struct leased_key *leased_keys_find(const struct leased_keys *l, const uint8_t key[SHA256_BYTES]);
/* Finds or makes it, and moves it behind all others. NULL without memory. */
struct leased_key *leased_keys_touch(struct leased_keys *l, const uint8_t key[SHA256_BYTES],
                                     const struct allow *a);
void leased_keys_drop(struct leased_keys *l, struct leased_key *k);
void lease_set_open(struct leased_keys *l, struct key_lease *lease, bool open);

struct leased_model *leased_model_find(const struct leased_key *k, struct span name);
/* The first of its key from here on; takes the place of the one of that name. NULL without memory.
 */
struct leased_model *leased_model_put(struct leased_keys *l, struct leased_key *k, struct span name,
                                      const struct allow *a);
void leased_model_drop(struct leased_keys *l, struct leased_key *k, struct leased_model *m);
struct key_lease *leased_key_lease(struct leased_key *k, uint64_t name);

#endif
