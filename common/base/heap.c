#include "common/base/heap.h"

#include <assert.h>
#include <stdlib.h>

enum err heap_reserve(struct heap *heap, uint32_t count)
{
    if (count <= heap->cap)
        return OK;
    uint32_t cap = heap->cap ? heap->cap : 64;
    while (cap < count)
        cap *= 2;
    struct heap_entry **items = realloc(heap->items, cap * sizeof *items);
    if (!items)
        return ERR_NOMEM;
    heap->items = items;
    heap->cap = cap;
    return OK;
}

void heap_free(struct heap *heap)
{
    free(heap->items);
    *heap = (struct heap){0};
}

static void put(struct heap *heap, uint32_t at, struct heap_entry *entry)
{
    heap->items[at] = entry;
    entry->index = at + 1;
}

static void sift_up(struct heap *heap, uint32_t at)
{
    struct heap_entry *entry = heap->items[at];
    while (at > 0 && entry->key < heap->items[(at - 1) / 2]->key) {
        put(heap, at, heap->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(heap, at, entry);
}

static void sift_down(struct heap *heap, uint32_t at)
{
    struct heap_entry *entry = heap->items[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->items[child + 1]->key < heap->items[child]->key)
            child++;
        if (heap->items[child]->key >= entry->key)
            break;
        put(heap, at, heap->items[child]);
        at = child;
    }
    put(heap, at, entry);
}

void heap_set(struct heap *heap, struct heap_entry *entry, uint64_t key)
{
    entry->key = key;
    if (!entry->index) {
        assert(heap->count < heap->cap);
        put(heap, heap->count++, entry);
    }
    sift_up(heap, entry->index - 1);
    sift_down(heap, entry->index - 1);
}

void heap_remove(struct heap *heap, struct heap_entry *entry)
{
    if (!entry->index)
        return;
    uint32_t at = entry->index - 1;
    entry->index = 0;
    struct heap_entry *last = heap->items[--heap->count];
    if (last == entry)
        return;
    put(heap, at, last);
    sift_up(heap, at);
    sift_down(heap, last->index - 1);
}

struct heap_entry *heap_first(const struct heap *heap)
{
    return heap->count ? heap->items[0] : NULL;
}
