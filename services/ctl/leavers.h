/* Processes that were told to end and are waited for: those that a restart has replaced, and those
 * whose provider is gone from the configuration. */
#ifndef SERVICES_CTL_LEAVERS_H
#define SERVICES_CTL_LEAVERS_H

#include "services/ctl/child.h"

enum { LEAVERS_MAX = 64 };
struct leavers {
    struct leaver {
        pid_t pid;
        enum child_stage stage;
        uint64_t kill_ms;
        char name[64];
    } all[LEAVERS_MAX];
    size_t count;
};

size_t leavers_room(const struct leavers *l);
/* Sends SIGTERM to a process of c's, which has until kill_ms. There must be room: without it, it is
 * killed. */
void leavers_add(struct leavers *l, const struct child *c, pid_t pid, uint64_t kill_ms);
/* It has ended. Others' pids are ignored. */
void leavers_remove(struct leavers *l, pid_t pid);
bool leavers_any(const struct leavers *l, enum child_stage stage);
void leavers_signal(const struct leavers *l, int number, enum child_stage stage);
void leavers_kill_overdue(const struct leavers *l, uint64_t now_ms);

#endif
