#include "services/ctl/leavers.h"

#include <signal.h>
#include <stdio.h>

#include "common/base/log.h"

size_t leavers_room(const struct leavers *l)
{
    return LEAVERS_MAX - l->count;
}

void leavers_add(struct leavers *l, const struct child *c, pid_t pid, uint64_t kill_ms)
{
    if (!leavers_room(l)) {
        (void)kill(pid, SIGKILL);
        return;
    }
    struct leaver *leaver = &l->all[l->count++];
    *leaver = (struct leaver){.pid = pid, .stage = c->stage, .kill_ms = kill_ms};
    (void)snprintf(leaver->name, sizeof leaver->name, "%s", c->name);
    (void)kill(pid, SIGTERM);
}

void leavers_remove(struct leavers *l, pid_t pid)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->all[i].pid != pid)
            continue;
        log_info("ended", LSTR("child", l->all[i].name), LI64("pid", pid));
        l->all[i] = l->all[--l->count];
        return;
    }
}

bool leavers_any(const struct leavers *l, enum child_stage stage)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->all[i].stage == stage)
            return true;
    }
    return false;
}

void leavers_signal(const struct leavers *l, int number, enum child_stage stage)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->all[i].stage == stage)
            (void)kill(l->all[i].pid, number);
    }
}

void leavers_kill_overdue(const struct leavers *l, uint64_t now_ms)
{
    for (size_t i = 0; i < l->count; i++) {
        if (now_ms >= l->all[i].kill_ms)
            (void)kill(l->all[i].pid, SIGKILL);
    }
}
