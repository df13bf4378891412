#include "common/base/stored_responses.h"

#include <stdlib.h>

#include "common/base/hash.h"

enum { WAYS = 8 };

struct stored_response_entry {
    uint64_t id;    /* hash; 0 = empty */
    uint64_t owner; /* hash of the key's id */
    uint64_t made_ms;
    struct stored_response where;
};

void stored_responses_free(struct stored_responses *s)
{
    free(s->entries);
    s->entries = NULL;
}

/* Its low bits depend on all. Ids are the provider's, key ids are auth's: no client can choose
 * either. */
static uint64_t hash_of(struct span text)
{
    uint64_t h = hash_bytes(HASH_NOTHING, text);
    h ^= h >> 32;
    return h ? h : 1;
}

static struct stored_response_entry *set_of(const struct stored_responses *s, uint64_t id)
{
    return &s->entries[id % (STORED_RESPONSES_MAX / WAYS) * WAYS];
}

static struct stored_response_entry *find(const struct stored_responses *s, uint64_t id)
{
    struct stored_response_entry *set = set_of(s, id);
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].id == id)
            return &set[i];
    return NULL;
}

void stored_responses_remember(struct stored_responses *s, struct span id, struct span key_id,
                               struct stored_response where, uint64_t made_ms)
{
    if (!id.len)
        return;
    if (!s->entries)
        s->entries = calloc(STORED_RESPONSES_MAX, sizeof *s->entries);
    uint64_t hash = hash_of(id);
    if (!s->entries || find(s, hash))
        return;
    struct stored_response_entry *set = set_of(s, hash), *at = set;
    for (unsigned i = 1; i < WAYS; i++)
        if (set[i].made_ms < at->made_ms)
            at = &set[i];
    /* They may come in any order: an older one than all here has no claim. */
    if (!at->id || at->made_ms <= made_ms)
        *at = (struct stored_response_entry){hash, hash_of(key_id), made_ms, where};
}

enum response_owner stored_responses_find(const struct stored_responses *s, struct span id,
                                          struct span key_id, struct stored_response *where_out)
{
    const struct stored_response_entry *e = s->entries && id.len ? find(s, hash_of(id)) : NULL;
    if (!e)
        return RESPONSE_UNKNOWN;
    if (e->owner != hash_of(key_id))
        return RESPONSE_FOREIGN;
    if (where_out)
        *where_out = e->where;
    return RESPONSE_OWN;
}

void stored_responses_forget_endpoints(struct stored_responses *s)
{
    for (size_t i = 0; s->entries && i < STORED_RESPONSES_MAX; i++)
        s->entries[i].where.endpoint = 0;
}
