/* Options that the configuration file has changed since this daemon was started and that only a
 * start takes. */
#ifndef COMMON_RUNTIME_START_ONLY_H
#define COMMON_RUNTIME_START_ONLY_H

#include <stdbool.h>
#include <stddef.h>

enum { START_ONLY_MAX = 64, START_ONLY_BYTES = 64 };

struct start_only {
    struct start_only_option {
        char name[START_ONLY_BYTES]; /* "edge.max_body" */
        bool told, seen;             /* seen by the reload under way */
    } all[START_ONLY_MAX];
    size_t count;
};

/* `waits`: it differs from what is in force; else it did, and was taken back. */
typedef void (*start_only_fn)(void *ctx, const char *option, bool waits);

/* A reload: begin, note each option that differs, end. `fn` is told of those that are new and those
 * that are gone. Further ones than START_ONLY_MAX are not kept. */
void start_only_begin(struct start_only *s);
void start_only_note(struct start_only *s, const char *option);
void start_only_end(struct start_only *s, start_only_fn fn, void *ctx);

#endif
