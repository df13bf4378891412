/* Shapes of input whose cost tests/bench/growth counts at a size, twice and four times of it: one
 * dimension each of what a client, or an upstream, may send. */
#pragma once
#include "common/base/buf.h"

struct growth_shape {
    const char *name;
    size_t n; /* the first size */
    void (*prepare)(const struct growth_shape *shape, size_t n);
    void (*run)(const struct growth_shape *shape);
    const char *pieces[10]; /* once, n times, once, n times, …; ends with NULL */
    unsigned route;         /* of growth_requests.c and growth_answers.c */
};

/* Each list ends with a shape without a name. */
extern const struct growth_shape growth_readers[];
extern const struct growth_shape growth_requests[];
extern const struct growth_shape growth_answers[];

/* What the shape's pieces make at this size: every other one is repeated, with "@" in it as the
 * number of the repeat. */
void growth_text(const struct growth_shape *shape, size_t n, struct buf *out);

/* Ends the program: a shape that fails measures nothing. */
#define GROWTH_REQUIRE(condition)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            growth_fail(#condition);                                                               \
    } while (0)
_Noreturn void growth_fail(const char *what);
