#include "common/base/span_groups.h"

#include <stdlib.h>

struct numbered {
    struct span text;
    size_t at;
};

/* Any order will do; by length first, most texts differ there already. */
static int compare(struct span a, struct span b)
{
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return a.len ? memcmp(a.data, b.data, a.len) : 0;
}

static int compare_numbered(const void *a, const void *b)
{
    return compare(((const struct numbered *)a)->text, ((const struct numbered *)b)->text);
}

enum err span_groups_build(struct span_groups *out, struct arena *arena, const struct span *texts,
                           size_t count, size_t *group_of_out)
{
    *out = (struct span_groups){.texts = ARENA_ARRAY(arena, struct span, count)};
    struct numbered *sorted = malloc((count ? count : 1) * sizeof *sorted);
    if (!out->texts || !sorted) {
        free(sorted);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct numbered){texts[i], i};
    qsort(sorted, count, sizeof *sorted, compare_numbered);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare(sorted[i - 1].text, sorted[i].text) != 0)
            out->texts[out->count++] = sorted[i].text;
        group_of_out[sorted[i].at] = out->count - 1;
    }
    free(sorted);
    return OK;
}

size_t span_groups_find(const struct span_groups *groups, struct span text)
{
    size_t from = 0, to = groups->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = compare(groups->texts[middle], text);
        if (order == 0)
            return middle;
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return SPAN_GROUP_NONE;
}
