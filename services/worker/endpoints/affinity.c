#include "services/worker/endpoints/affinity.h"

#include <stdlib.h>

enum { WAYS = 4 };

struct affinity_entry {
    uint64_t hash;  /* of the id; 0 = empty */
    uint64_t owner; /* hash of the client key's id */
    uint32_t endpoint;
    uint32_t age; /* the set's clock when it was remembered */
};

void affinity_free(struct affinity *a)
{
    free(a->entries);
    a->entries = NULL;
}

/* FNV-1a, finished so that its low bits depend on all. Ids are the provider's, so a client gains
 * nothing by a collision but a wrong endpoint for its own request. */
static uint64_t hash_of(struct span id)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (unsigned char)id.data[i]) * 0x100000001b3;
    h ^= h >> 32;
    return h ? h : 1;
}

static struct affinity_entry *set_of(const struct affinity *a, uint64_t hash)
{
    return &a->entries[hash % (AFFINITY_ENTRIES / WAYS) * WAYS];
}

void affinity_remember(struct affinity *a, struct span id, struct span key_id, unsigned endpoint)
{
    if (id.len == 0)
        return;
    if (!a->entries)
        a->entries = calloc(AFFINITY_ENTRIES, sizeof *a->entries);
    if (!a->entries)
        return;
    uint64_t hash = hash_of(id);
    struct affinity_entry *set = set_of(a, hash), *at = &set[0];
    uint32_t newest = 0;
    for (unsigned i = 0; i < WAYS; i++) {
        newest = set[i].age > newest ? set[i].age : newest;
        if (set[i].age < at->age)
            at = &set[i];
    }
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].hash == hash)
            at = &set[i];
    *at = (struct affinity_entry){hash, hash_of(key_id), endpoint, newest + 1};
}

enum affinity_owner affinity_find(const struct affinity *a, struct span id, struct span key_id,
                                  unsigned *endpoint_out)
{
    if (!a->entries || id.len == 0)
        return AFFINITY_UNKNOWN;
    uint64_t hash = hash_of(id);
    const struct affinity_entry *set = set_of(a, hash);
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].hash != hash)
            continue;
        if (set[i].owner != hash_of(key_id))
            return AFFINITY_FOREIGN;
        *endpoint_out = set[i].endpoint;
        return AFFINITY_OWN;
    }
    return AFFINITY_UNKNOWN;
}
