/* Options that the configuration file changed since daemons read it and that only a start takes. */
#ifndef SERVICES_CTL_CHANGES_H
#define SERVICES_CTL_CHANGES_H

#include "services/ctl/child.h"

enum { CHANGES_MAX = 64, CHANGE_OPTION_BYTES = 64 };

struct changes {
    struct change {
        char option[CHANGE_OPTION_BYTES]; /* "edge.max_body" */
        uint64_t since_ms;                /* monotonic: when a reload first saw it */
        bool seen;                        /* by the reload under way */
    } all[CHANGES_MAX];
    size_t count;
};

/* A reload: begin, note each option that differs from what the daemons were started with, end.
 * Those that differ no longer are forgotten. */
void changes_begin(struct changes *c);
void changes_note(struct changes *c, const char *section, const char *name, uint64_t now_ms);
void changes_end(struct changes *c);

/* Appends those that this child has not read, "edge.max_body, bus.auth"; nothing when there are
 * none. */
void changes_put(const struct changes *c, const struct child *child, struct buf *out);

#endif
