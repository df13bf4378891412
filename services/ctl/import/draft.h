/* A configuration file being written: lines that know what they come from, so that one which our
 * own check refuses can be taken out and reported. */
#ifndef SERVICES_CTL_IMPORT_DRAFT_H
#define SERVICES_CTL_IMPORT_DRAFT_H

#include "services/ctl/import/report.h"

struct draft_line {
    size_t parent;            /* as draft_add returned it; 0 = none: goes with it */
    size_t first, last, next; /* its children, and who comes behind it, in the same way */
    struct import_place from;
    const char *text;
    unsigned written; /* as which line, last */
    bool dropped;
};

struct draft {
    struct arena *arena;
    struct draft_line *lines;
    size_t count, cap;
    size_t first, last; /* those without a parent */
    bool failed;
};

void draft_free(struct draft *d);
/* Indented by its depth. Returns what children give as their parent. */
size_t draft_add(struct draft *d, size_t parent, struct import_place from, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void draft_write(struct draft *d, struct buf *out);
/* Takes out what our check refuses, and reports it, until it is content. ERR_INVALID: it never is;
 * *errors_out says why. */
enum err draft_settle(struct draft *d, struct report *r, struct buf *out,
                      struct buf *errors_out) NODISCARD;

#endif
