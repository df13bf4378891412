#include <stdlib.h>
#include <uthash.h>

#include "services/simulator/sim.h"

struct item {
    UT_hash_handle hh; /* in the order they came */
    struct span value;
    void *extra;
    size_t id_len;
    char id[];
};

struct sim_store {
    struct item *items;
    uint32_t max;
};

enum err store_create(struct sim_store **out, uint32_t max)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->max = max;
    return OK;
}

static void drop(struct sim_store *s, struct item *item)
{
    HASH_DEL(s->items, item);
    free(item);
}

void store_destroy(struct sim_store **store)
{
    struct item *item, *next;
    if (!*store)
        return;
    HASH_ITER(hh, (*store)->items, item, next)
    drop(*store, item);
    free(*store);
    *store = NULL;
}

static struct item *find(const struct sim_store *s, struct span id)
{
    struct item *item = NULL;
    HASH_FIND(hh, s->items, id.data, id.len, item);
    return item;
}

enum err store_put(struct sim_store *s, struct span id, struct span value, const void *extra,
                   size_t extra_len)
{
    (void)store_remove(s, id);
    if (HASH_COUNT(s->items) >= s->max)
        drop(s, s->items);
    /* one piece of memory: item, id, value, then extra on a 16-byte border */
    size_t extra_at = (sizeof(struct item) + id.len + value.len + 15) & ~(size_t)15;
    struct item *item = calloc(1, extra_at + extra_len);
    if (!item)
        return ERR_NOMEM;
    memcpy(item->id, id.data, id.len);
    item->id_len = id.len;
    if (value.len)
        memcpy(item->id + id.len, value.data, value.len);
    item->value = span_of(item->id + id.len, value.len);
    item->extra = (char *)item + extra_at;
    if (extra_len)
        memcpy(item->extra, extra, extra_len);
    HASH_ADD_KEYPTR(hh, s->items, item->id, item->id_len, item);
    return OK;
}

bool store_get(const struct sim_store *s, struct span id, struct span *value, void **extra)
{
    struct item *item = find(s, id);
    if (!item)
        return false;
    *value = item->value;
    if (extra)
        *extra = item->extra;
    return true;
}

bool store_remove(struct sim_store *s, struct span id)
{
    struct item *item = find(s, id);
    if (!item)
        return false;
    drop(s, item);
    return true;
}
