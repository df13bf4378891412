#include "services/ctl/children.h"

#include <signal.h>
#include <stdlib.h>

struct child *children_add(struct children *l, const char *name, const char *program,
                           enum child_stage stage)
{
    struct child *c = l->count < CHILDREN_MAX ? malloc(sizeof *c) : NULL;
    if (!c)
        return NULL;
    l->all[l->count++] = c;
    child_init(c, name, program, stage);
    return c;
}

struct child *children_find(const struct children *l, struct span name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (span_is(name, l->all[i]->name))
            return l->all[i];
    }
    return NULL;
}

struct child *children_by_pid(const struct children *l, pid_t pid)
{
    for (size_t i = 0; i < l->count; i++) {
        if (pid > 0 && (l->all[i]->pid == pid || l->all[i]->next_pid == pid))
            return l->all[i];
    }
    return NULL;
}

void children_forget(struct children *l, struct child *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (l->all[i] != c)
            l->all[kept++] = l->all[i];
    }
    l->count = kept;
    child_free(c);
    free(c);
}

void children_free(struct children *l)
{
    while (l->count)
        children_forget(l, l->all[0]);
}

void children_signal(const struct children *l, int number, enum child_stage stage)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct child *c = l->all[i];
        if (c->stage == stage && c->pid)
            (void)kill(c->pid, number);
        if (c->stage == stage && c->next_pid)
            (void)kill(c->next_pid, number);
    }
}

bool children_any(const struct children *l, enum child_stage stage)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->all[i]->stage == stage && (l->all[i]->pid || l->all[i]->next_pid))
            return true;
    }
    return false;
}
