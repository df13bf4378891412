#include "services/worker/neutral.h"

enum { FIRST_ITEMS = 4 };

void neutral_drop(struct neutral_request *r, const char *name)
{
    for (size_t i = 0; i < r->dropped_count; i++) {
        if (strcmp(r->dropped[i], name) == 0)
            return;
    }
    if (r->dropped_count == r->dropped_cap) {
        size_t cap = r->dropped_cap ? r->dropped_cap * 2 : FIRST_ITEMS;
        const char **grown = ARENA_ARRAY(r->arena, const char *, cap);
        if (!grown)
            return;
        for (size_t i = 0; i < r->dropped_count; i++)
            grown[i] = r->dropped[i];
        r->dropped = grown;
        r->dropped_cap = cap;
    }
    r->dropped[r->dropped_count++] = name;
}

struct part *part_list_add(struct part_list *list, struct arena *arena)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : FIRST_ITEMS;
        struct part *grown = ARENA_ARRAY(arena, struct part, cap);
        if (!grown)
            return NULL;
        if (list->count)
            memcpy(grown, list->items, list->count * sizeof *grown);
        list->items = grown;
        list->cap = cap;
    }
    return &list->items[list->count++];
}

static void take(uint64_t *into, uint64_t from)
{
    if (from != USAGE_UNKNOWN)
        *into = from;
}

void usage_merge(struct usage *into, const struct usage *from)
{
    take(&into->input, from->input);
    take(&into->cached, from->cached);
    take(&into->cache_write, from->cache_write);
    take(&into->output, from->output);
    take(&into->reasoning, from->reasoning);
    if (from->service_tier_text.len)
        into->service_tier_text = from->service_tier_text;
}
