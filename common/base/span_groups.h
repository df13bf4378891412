/* Equal texts among many, found in n log n by sorting. No hash: nobody who chooses the texts can
 * make them collide. */
#ifndef COMMON_BASE_SPAN_GROUPS_H
#define COMMON_BASE_SPAN_GROUPS_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/span.h"

#define SPAN_GROUP_NONE SIZE_MAX

struct span_groups {
    struct span *texts; /* each text once, sorted; in the arena */
    size_t count;
};

/* Numbers the groups of equal texts from 0 in their sorted order; group_of_out[i] becomes the one
 * of texts[i]. The texts are borrowed. ERR_NOMEM. */
enum err span_groups_build(struct span_groups *out, struct arena *arena, const struct span *texts,
                           size_t count, size_t *group_of_out) NODISCARD;
/* SPAN_GROUP_NONE when no text is equal to it. */
size_t span_groups_find(const struct span_groups *groups, struct span text);

#endif
