#include "services/broker/stored.h"

#include <stdlib.h>

enum { WAYS = 8 };

struct stored_entry {
    uint64_t id;    /* hash; 0 = empty */
    uint64_t owner; /* hash of the key's id */
    uint64_t until_us;
    struct stored_response stored;
};

void stored_free(struct stored *s)
{
    free(s->entries);
    s->entries = NULL;
}

/* FNV-1a, finished so that its low bits depend on all. Ids are the provider's, key ids are auth's:
 * no client can choose either. */
static uint64_t hash_of(struct span text)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (unsigned char)text.data[i]) * 0x100000001b3;
    h ^= h >> 32;
    return h ? h : 1;
}

static struct stored_entry *set_of(const struct stored *s, uint64_t id)
{
    return &s->entries[id % (STORED_ENTRIES / WAYS) * WAYS];
}

static struct stored_entry *find(const struct stored *s, uint64_t id, uint64_t now_us)
{
    struct stored_entry *set = set_of(s, id);
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].id == id && set[i].until_us > now_us)
            return &set[i];
    return NULL;
}

void stored_remember(struct stored *s, struct span id, struct span key_id,
                     struct stored_response stored, uint64_t now_us)
{
    if (!id.len)
        return;
    if (!s->entries)
        s->entries = calloc(STORED_ENTRIES, sizeof *s->entries);
    uint64_t hash = hash_of(id);
    if (!s->entries || find(s, hash, now_us))
        return;
    struct stored_entry *set = set_of(s, hash), *at = set;
    for (unsigned i = 1; i < WAYS; i++)
        if (set[i].until_us < at->until_us)
            at = &set[i];
    *at = (struct stored_entry){hash, hash_of(key_id), now_us + STORED_KEPT_US, stored};
}

enum stored_owner stored_find(const struct stored *s, struct span id, struct span key_id,
                              uint64_t now_us, struct stored_response *stored_out)
{
    const struct stored_entry *e = s->entries && id.len ? find(s, hash_of(id), now_us) : NULL;
    if (!e)
        return STORED_UNKNOWN;
    if (e->owner != hash_of(key_id))
        return STORED_FOREIGN;
    *stored_out = e->stored;
    return STORED_OWN;
}

void stored_forget_endpoints(struct stored *s)
{
    for (size_t i = 0; s->entries && i < STORED_ENTRIES; i++)
        s->entries[i].stored.endpoint = 0;
}
