#include "services/auth/limits/table.h"

#include <stdlib.h>

#include "common/base/hash.h"

enum { TABLE_FIRST_SIZE = 64 };

void table_free(struct table *t)
{
    free(t->slots);
    *t = (struct table){0};
}

static enum err grow(struct table *t)
{
    size_t size = t->size ? t->size * 2 : TABLE_FIRST_SIZE;
    struct table_node **slots = calloc(size, sizeof(struct table_node *));
    if (!slots)
        return ERR_NOMEM;
    for (size_t i = 0; i < t->size; i++) {
        for (struct table_node *n = t->slots[i], *after; n; n = after) {
            after = n->next;
            n->next = slots[n->hash & (size - 1)];
            slots[n->hash & (size - 1)] = n;
        }
    }
    free(t->slots);
    t->slots = slots;
    t->size = size;
    return OK;
}

enum err table_add(struct table *t, struct table_node *node, uint64_t hash)
{
    if (t->count >= t->size) {
        enum err e = grow(t);
        if (e && !t->size)
            return e; /* a full table that cannot grow only gets slower */
    }
    struct table_node **slot = &t->slots[hash & (t->size - 1)];
    node->hash = hash;
    node->next = *slot;
    *slot = node;
    t->count++;
    return OK;
}

void table_remove(struct table *t, struct table_node *node)
{
    if (!t->size)
        return;
    for (struct table_node **at = &t->slots[node->hash & (t->size - 1)]; *at; at = &(*at)->next) {
        if (*at == node) {
            *at = node->next;
            node->next = NULL;
            t->count--;
            return;
        }
    }
}

static struct table_node *same_hash(struct table_node *n, uint64_t hash)
{
    while (n && n->hash != hash)
        n = n->next;
    return n;
}

struct table_node *table_first(const struct table *t, uint64_t hash)
{
    return t->size ? same_hash(t->slots[hash & (t->size - 1)], hash) : NULL;
}

struct table_node *table_next(struct table_node *node)
{
    return same_hash(node->next, node->hash);
}

void table_sweep(struct table *t, size_t *cursor, size_t slots,
                 void (*fn)(void *ctx, struct table_node *node), void *ctx)
{
    for (size_t i = 0; i < slots && i < t->size; i++) {
        size_t at = (*cursor)++ & (t->size - 1);
        for (struct table_node *n = t->slots[at], *after; n; n = after) {
            after = n->next;
            fn(ctx, n);
        }
    }
}

uint64_t table_hash(uint64_t seed, struct span bytes)
{
    uint64_t h = hash_bytes(seed ^ HASH_NOTHING, bytes);
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}
