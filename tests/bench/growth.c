/* bench_growth: runs one shape at its size, at twice and at four times of it. tests/bench/growth
 * runs it under callgrind, which counts each run of growth_run on its own.
 *
 *   bench_growth --list
 *   bench_growth SHAPE */
#include "bench/growth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct growth_shape *const lists[] = {growth_readers, growth_requests, growth_answers};
enum { LISTS = sizeof lists / sizeof *lists, SIZES = 3 };

static const char *running = "";

void growth_fail(const char *what)
{
    fprintf(stderr, "bench_growth: %s: %s\n", running, what);
    exit(1);
}

static void append_repeat(struct buf *out, const char *piece, size_t number)
{
    for (const char *at; (at = strchr(piece, '@')); piece = at + 1) {
        buf_append(out, span_of(piece, (size_t)(at - piece)));
        buf_append_u64(out, number);
    }
    buf_append_str(out, piece);
}

void growth_text(const struct growth_shape *shape, size_t n, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; shape->pieces[i]; i++) {
        for (size_t k = 0; i % 2 && k < n; k++)
            append_repeat(out, shape->pieces[i], k);
        if (i % 2 == 0)
            buf_append_str(out, shape->pieces[i]);
    }
    GROWTH_REQUIRE(buf_check(out) == OK);
}

/* A symbol of its own: callgrind begins to count when it is entered and tells when it is left. */
__attribute__((noinline)) void growth_run(const struct growth_shape *shape);
void growth_run(const struct growth_shape *shape)
{
    shape->run(shape);
}

static const struct growth_shape *find(const char *name)
{
    for (size_t i = 0; i < LISTS; i++)
        for (const struct growth_shape *s = lists[i]; s->name; s++)
            if (strcmp(s->name, name) == 0)
                return s;
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < LISTS; i++)
            for (const struct growth_shape *s = lists[i]; s->name; s++)
                puts(s->name);
        return 0;
    }
    const struct growth_shape *shape = argc == 2 ? find(argv[1]) : NULL;
    if (!shape) {
        fprintf(stderr, "usage: bench_growth --list | SHAPE\n");
        return 2;
    }
    running = shape->name;
    for (unsigned i = 0; i < SIZES; i++) {
        shape->prepare(shape, shape->n << i);
        growth_run(shape);
    }
    return 0;
}
