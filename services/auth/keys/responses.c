#include "services/auth/keys/responses.h"

#include <stdlib.h>

enum { WAYS = 8 };

struct response_entry {
    uint64_t id;    /* hash; 0 = empty */
    uint64_t owner; /* hash of the key's id */
    uint64_t made_ms;
};

void responses_free(struct responses *r)
{
    free(r->entries);
    r->entries = NULL;
}

/* FNV-1a, finished so that its low bits depend on all. Ids are the provider's, key ids are ours: no
 * client can choose either. */
static uint64_t hash_of(struct span text)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (unsigned char)text.data[i]) * 0x100000001b3;
    h ^= h >> 32;
    return h ? h : 1;
}

static struct response_entry *set_of(const struct responses *r, uint64_t id)
{
    return &r->entries[id % (RESPONSES_MAX / WAYS) * WAYS];
}

static struct response_entry *find(const struct responses *r, uint64_t id)
{
    struct response_entry *set = set_of(r, id);
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].id == id)
            return &set[i];
    return NULL;
}

void responses_remember(struct responses *r, struct span id, struct span key_id, uint64_t made_ms)
{
    uint64_t hash = hash_of(id);
    if (!id.len)
        return;
    if (!r->entries)
        r->entries = calloc(RESPONSES_MAX, sizeof *r->entries);
    if (!r->entries || find(r, hash))
        return;
    struct response_entry *set = set_of(r, hash), *at = set;
    for (unsigned i = 1; i < WAYS; i++)
        if (set[i].made_ms < at->made_ms)
            at = &set[i];
    if (!at->id || at->made_ms <= made_ms)
        *at = (struct response_entry){hash, hash_of(key_id), made_ms};
}

bool responses_is_foreign(const struct responses *r, struct span id, struct span key_id)
{
    const struct response_entry *e = r->entries && id.len ? find(r, hash_of(id)) : NULL;
    return e && e->owner != hash_of(key_id);
}
