/* A binary heap of entries that live inside their owners, the smallest key first: what is due next.
 * Pure. */
#ifndef COMMON_BASE_HEAP_H
#define COMMON_BASE_HEAP_H

#include <stdint.h>

#include "common/base/err.h"

/* {0} is one that is in no heap. */
struct heap_entry {
    uint64_t key;
    uint32_t index; /* 1-based position in the heap; 0 = not in it */
};

struct heap {
    struct heap_entry **items; /* owned; the entries are not */
    uint32_t count;
    uint32_t cap;
};

/* Room for so many at once, so that setting one of them can't fail. */
enum err heap_reserve(struct heap *heap, uint32_t count) NODISCARD;
void heap_free(struct heap *heap);
/* Puts it in, or moves it. The room has been reserved before. */
void heap_set(struct heap *heap, struct heap_entry *entry, uint64_t key);
/* Takes it out if it is in. */
void heap_remove(struct heap *heap, struct heap_entry *entry);
/* The one with the smallest key, or NULL. */
struct heap_entry *heap_first(const struct heap *heap);

#endif
