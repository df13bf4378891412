#include "services/worker/endpoints/stored_responses.h"

#include <stdlib.h>

enum { WAYS = 4 };

struct stored_response_entry {
    uint64_t hash;  /* of the id; 0 = empty */
    uint64_t owner; /* hash of the client key's id */
    uint32_t endpoint;
    uint32_t age; /* the set's clock when it was remembered */
};

void stored_responses_free(struct stored_responses *s)
{
    free(s->entries);
    s->entries = NULL;
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

static struct stored_response_entry *set_of(const struct stored_responses *s, uint64_t hash)
{
    return &s->entries[hash % (STORED_RESPONSES_MAX / WAYS) * WAYS];
}

void stored_responses_remember(struct stored_responses *s, struct span id, struct span key_id,
                               unsigned endpoint)
{
    if (id.len == 0)
        return;
    if (!s->entries)
        s->entries = calloc(STORED_RESPONSES_MAX, sizeof *s->entries);
    if (!s->entries)
        return;
    uint64_t hash = hash_of(id);
    struct stored_response_entry *set = set_of(s, hash), *at = &set[0];
    uint32_t newest = 0;
    for (unsigned i = 0; i < WAYS; i++) {
        newest = set[i].age > newest ? set[i].age : newest;
        if (set[i].age < at->age)
            at = &set[i];
    }
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].hash == hash)
            at = &set[i];
    *at = (struct stored_response_entry){hash, hash_of(key_id), endpoint, newest + 1};
}

enum response_owner stored_responses_find(const struct stored_responses *s, struct span id,
                                          struct span key_id, unsigned *endpoint_out)
{
    if (!s->entries || id.len == 0)
        return RESPONSE_UNKNOWN;
    uint64_t hash = hash_of(id);
    const struct stored_response_entry *set = set_of(s, hash);
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].hash != hash)
            continue;
        if (set[i].owner != hash_of(key_id))
            return RESPONSE_FOREIGN;
        *endpoint_out = set[i].endpoint;
        return RESPONSE_OWN;
    }
    return RESPONSE_UNKNOWN;
}
