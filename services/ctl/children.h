/* The children of a supervisor, by name, process and stage. */
#ifndef SERVICES_CTL_CHILDREN_H
#define SERVICES_CTL_CHILDREN_H

#include "services/ctl/child.h"

enum { CHILDREN_MAX = 64 };

struct children {
    struct child *all[CHILDREN_MAX];
    size_t count;
};

/* NULL at the bound, or out of memory. */
struct child *children_add(struct children *l, const char *name, const char *program,
                           enum child_stage stage);
struct child *children_find(const struct children *l, struct span name);
/* Whose process, or whose successor's, this is. */
struct child *children_by_pid(const struct children *l, pid_t pid);
void children_forget(struct children *l, struct child *c);
void children_free(struct children *l);
/* To their processes and their successors'. */
void children_signal(const struct children *l, int number, enum child_stage stage);
/* Does any run? */
bool children_any(const struct children *l, enum child_stage stage);

#endif
