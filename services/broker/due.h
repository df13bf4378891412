/* When which request must be looked at again: a binary heap of moments that live inside their
 * owners. Pure. */
#ifndef SERVICES_BROKER_DUE_H
#define SERVICES_BROKER_DUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

/* {0} is one that is not set. */
struct due {
    uint64_t at_us;
    uint32_t index; /* 1-based place in the heap; 0 = not set */
};

struct due_heap {
    struct due **items; /* owned; the items are not */
    uint32_t count;
    uint32_t cap;
};

/* Room for so many at once, so that setting one can't fail. */
enum err due_reserve(struct due_heap *heap, uint32_t count) NODISCARD;
void due_free(struct due_heap *heap);
/* Sets or moves it. */
void due_set(struct due_heap *heap, struct due *due, uint64_t at_us);
void due_clear(struct due_heap *heap, struct due *due);
/* The earliest, or NULL. */
struct due *due_first(const struct due_heap *heap);

#endif
