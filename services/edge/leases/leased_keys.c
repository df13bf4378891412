#include "services/edge/leases/leased_keys.h"

#include <stdlib.h>

struct leased_key *leased_keys_find(const struct leased_keys *l, const uint8_t key[SHA256_BYTES])
{
    struct leased_key *k = NULL;
    HASH_FIND(hh, l->by_digest, key, SHA256_BYTES, k);
    return k;
}

struct leased_model *leased_model_find(const struct leased_key *k, struct span name)
{
    struct leased_model *m = NULL;
    DL_FOREACH(k->by_use, m)
    {
        if (span_equals(m->name, name))
            return m;
    }
    return NULL;
}

void lease_set_open(struct leased_keys *l, struct key_lease *lease, bool open)
{
    if (lease->open)
        DL_DELETE2(l->open, lease, prev_open, next_open);
    lease->open = open;
    if (open)
        DL_APPEND2(l->open, lease, prev_open, next_open);
}

void leased_model_drop(struct leased_keys *l, struct leased_key *k, struct leased_model *m)
{
    DL_DELETE(k->by_use, m);
    k->model_count--;
    l->model_count--;
    free(m);
}

static void empty_key(struct leased_keys *l, struct leased_key *k)
{
    struct key_lease *lease, *next;
    while (k->by_use)
        leased_model_drop(l, k, k->by_use);
    DL_FOREACH_SAFE(k->leases, lease, next)
    {
        lease_set_open(l, lease, false);
        free(lease);
    }
    free(k->text);
    free(k);
}

void leased_keys_drop(struct leased_keys *l, struct leased_key *k)
{
    HASH_DEL(l->by_digest, k);
    empty_key(l, k);
}

static struct span place(char **at, struct span s)
{
    struct span copy = span_of(*at, s.len);
    if (s.len)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

static bool set_texts(struct leased_key *k, const struct allow *a)
{
    if (k->text && span_equals(k->id, a->key_id) && span_equals(k->name, a->key_name) &&
        span_equals(k->models, a->models))
        return true;
    char *text = malloc(a->key_id.len + a->key_name.len + a->models.len + 1), *at = text;
    if (!text)
        return false;
    k->id = place(&at, a->key_id);
    k->name = place(&at, a->key_name);
    k->models = place(&at, a->models);
    free(k->text);
    k->text = text;
    return true;
}

struct leased_key *leased_keys_touch(struct leased_keys *l, const uint8_t key[SHA256_BYTES],
                                     const struct allow *a)
{
    struct leased_key *k = leased_keys_find(l, key);
    if (k)
        HASH_DEL(l->by_digest, k);
    else
        k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    memcpy(k->digest, key, SHA256_BYTES);
    HASH_ADD(hh, l->by_digest, digest, SHA256_BYTES, k);
    if (k->hh.tbl)
        return set_texts(k, a) ? k : NULL;
    empty_key(l, k); /* no memory: as if it had never been seen */
    return NULL;
}

struct leased_model *leased_model_put(struct leased_keys *l, struct leased_key *k, struct span name,
                                      const struct allow *a)
{
    struct leased_model *old = leased_model_find(k, name);
    struct leased_model *m = calloc(1, sizeof *m + name.len + a->barred.len);
    if (!m)
        return NULL;
    char *at = m->text;
    m->name = place(&at, name);
    m->barred = place(&at, a->barred);
    m->lease = old ? old->lease : NULL;
    if (old)
        leased_model_drop(l, k, old);
    DL_PREPEND(k->by_use, m);
    k->model_count++;
    l->model_count++;
    return m;
}

struct key_lease *leased_key_lease(struct leased_key *k, uint64_t name)
{
    struct key_lease *lease;
    DL_FOREACH(k->leases, lease)
    {
        if (lease->name == name)
            return lease;
    }
    lease = calloc(1, sizeof *lease);
    if (!lease)
        return NULL;
    lease->owner = k;
    lease->name = name;
    DL_APPEND(k->leases, lease);
    return lease;
}
