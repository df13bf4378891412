/* A hash table of nodes that live inside their owners. The caller brings the hash and compares the
 * keys. Elsewhere tables are uthash's; this one also visits a bounded run of its slots at a time,
 * for sweeps that must not hold the loop, and survives a growth that finds no memory. */
#ifndef SERVICES_AUTH_LIMITS_TABLE_H
#define SERVICES_AUTH_LIMITS_TABLE_H

#include <stddef.h>

#include "common/base/err.h"
#include "common/base/span.h"

struct table_node {
    struct table_node *next;
    uint64_t hash;
};

/* {0} is an empty table. */
struct table {
    struct table_node **slots;
    size_t size; /* slots; a power of two, or 0 */
    size_t count;
};

#define TABLE_OWNER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Frees the slots, not the nodes. */
void table_free(struct table *t);
enum err table_add(struct table *t, struct table_node *node, uint64_t hash) NODISCARD;
/* Takes a node that is not in the table, too. */
void table_remove(struct table *t, struct table_node *node);

/* for (n = table_first(t, hash); n; n = table_next(n)): the nodes with that hash. */
struct table_node *table_first(const struct table *t, uint64_t hash);
struct table_node *table_next(struct table_node *node);

/* Calls fn for every node in `slots` slots from *cursor on, which moves on and wraps; fn may remove
 * its node. */
void table_sweep(struct table *t, size_t *cursor, size_t slots,
                 void (*fn)(void *ctx, struct table_node *node), void *ctx);

/* Spreads bytes of any kind. `seed` is random per process where a client chooses the bytes. */
uint64_t table_hash(uint64_t seed, struct span bytes);

#endif
