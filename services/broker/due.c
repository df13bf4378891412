#include "services/broker/due.h"

#include <assert.h>
#include <stdlib.h>

enum err due_reserve(struct due_heap *heap, uint32_t count)
{
    if (count <= heap->cap)
        return OK;
    uint32_t cap = heap->cap ? heap->cap : 64;
    while (cap < count)
        cap *= 2;
    struct due **items = realloc(heap->items, cap * sizeof *items);
    if (!items)
        return ERR_NOMEM;
    heap->items = items;
    heap->cap = cap;
    return OK;
}

void due_free(struct due_heap *heap)
{
    free(heap->items);
    *heap = (struct due_heap){0};
}

static void put(struct due_heap *heap, uint32_t at, struct due *due)
{
    heap->items[at] = due;
    due->index = at + 1;
}

static void sift_up(struct due_heap *heap, uint32_t at)
{
    struct due *due = heap->items[at];
    while (at > 0 && due->at_us < heap->items[(at - 1) / 2]->at_us) {
        put(heap, at, heap->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(heap, at, due);
}

static void sift_down(struct due_heap *heap, uint32_t at)
{
    struct due *due = heap->items[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->items[child + 1]->at_us < heap->items[child]->at_us)
            child++;
        if (heap->items[child]->at_us >= due->at_us)
            break;
        put(heap, at, heap->items[child]);
        at = child;
    }
    put(heap, at, due);
}

void due_set(struct due_heap *heap, struct due *due, uint64_t at_us)
{
    due->at_us = at_us;
    if (!due->index) {
        assert(heap->count < heap->cap);
        put(heap, heap->count++, due);
    }
    sift_up(heap, due->index - 1);
    sift_down(heap, due->index - 1);
}

void due_clear(struct due_heap *heap, struct due *due)
{
    if (!due->index)
        return;
    uint32_t at = due->index - 1;
    due->index = 0;
    struct due *last = heap->items[--heap->count];
    if (last == due)
        return;
    put(heap, at, last);
    sift_up(heap, at);
    sift_down(heap, last->index - 1);
}

struct due *due_first(const struct due_heap *heap)
{
    return heap->count ? heap->items[0] : NULL;
}
