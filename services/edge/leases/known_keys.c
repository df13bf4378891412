#include "services/edge/leases/known_keys.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct key_memory {
    UT_hash_handle hh;
    uint8_t key[SHA256_BYTES];
    uint64_t until_ms;
};

/* uthash keeps the order of insertion: the first of each is the one longest not told of. Two
 * tables, so that a flood of invented keys drives out no known one. */
struct known_keys {
    struct key_memory *said[2]; /* unknown, known */
    size_t max[2];
};

enum err known_keys_create(struct known_keys **out, size_t max_known, size_t max_unknown)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->max[true] = max_known;
    (*out)->max[false] = max_unknown;
    return OK;
}

static struct key_memory *find(struct key_memory *table, const uint8_t key[SHA256_BYTES])
{
    struct key_memory *m = NULL;
    HASH_FIND(hh, table, key, SHA256_BYTES, m);
    return m;
}

static void drop(struct key_memory **table, struct key_memory *m)
{
    if (!m)
        return;
    HASH_DEL(*table, m);
    free(m);
}

void known_keys_forget(struct known_keys *k, const uint8_t key[SHA256_BYTES])
{
    for (unsigned known = 0; known < 2; known++)
        drop(&k->said[known], find(k->said[known], key));
}

void known_keys_forget_all(struct known_keys *k)
{
    for (unsigned known = 0; known < 2; known++)
        while (k->said[known])
            drop(&k->said[known], k->said[known]);
}

void known_keys_destroy(struct known_keys **keys)
{
    if (!*keys)
        return;
    known_keys_forget_all(*keys);
    free(*keys);
    *keys = NULL;
}

void known_keys_put(struct known_keys *k, const uint8_t key[SHA256_BYTES], bool known,
                    uint64_t life_ms, uint64_t now_ms)
{
    struct key_memory **table = &k->said[known];
    known_keys_forget(k, key);
    if (HASH_COUNT(*table) >= k->max[known])
        drop(table, *table);
    struct key_memory *m = calloc(1, sizeof *m);
    if (!m)
        return;
    memcpy(m->key, key, SHA256_BYTES);
    m->until_ms = life_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + life_ms;
    HASH_ADD(hh, *table, key, SHA256_BYTES, m);
    if (!m->hh.tbl)
        free(m);
}

enum key_word known_keys_find(const struct known_keys *k, const uint8_t key[SHA256_BYTES],
                              uint64_t now_ms)
{
    for (unsigned known = 0; known < 2; known++) {
        const struct key_memory *m = find(k->said[known], key);
        if (m && now_ms < m->until_ms)
            return known ? KEY_IS_KNOWN : KEY_IS_UNKNOWN;
    }
    return KEY_NOT_ASKED;
}
