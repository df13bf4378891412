#include "services/ctl/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "common/base/log.h"
#include "services/ctl/children.h"
#include "services/ctl/leavers.h"
#include "services/ctl/readiness.h"
#include "services/ctl/signals.h"

enum { TICK_MS = 50, EX_CONFIG_CODE = 78, EXEC_FAILED_CODE = 127 };

struct supervisor {
    struct supervisor_spec spec;
    struct loop *loop;
    struct children children;
    struct leavers leavers;
    struct readiness *readiness;
    struct signals signals;
    struct loop_timer tick;
    char folder[4096]; /* of this program, with its slash */
    uint64_t give_up_ms, kill_ms;
    bool was_ready, stopping, hurried;
    enum child_stage stage; /* being stopped */
    enum err result;
};

static uint64_t now_ms(const struct supervisor *s)
{
    return clock_mono_ms(loop_clock(s->loop));
}

/* ---- stopping ---- */

static void signal_stage(struct supervisor *s, int number, enum child_stage stage)
{
    children_signal(&s->children, number, stage);
    leavers_signal(&s->leavers, number, stage);
}

static void kill_all(struct supervisor *s)
{
    for (int stage = 0; stage < STAGE_COUNT; stage++)
        signal_stage(s, SIGKILL, (enum child_stage)stage);
}

static bool stage_is_gone(const struct supervisor *s, enum child_stage stage)
{
    return !children_any(&s->children, stage) && !leavers_any(&s->leavers, stage);
}

static uint64_t kill_time(const struct supervisor *s)
{
    return now_ms(s) + (s->hurried ? HURRY_MS : s->spec.stop_timeout_ms);
}

static void stop_stages(struct supervisor *s)
{
    while (s->stage == STAGE_COUNT || stage_is_gone(s, s->stage)) {
        if (s->stage == STAGE_COUNT || ++s->stage == STAGE_COUNT) {
            loop_stop(s->loop);
            return;
        }
        signal_stage(s, SIGTERM, s->stage);
        s->kill_ms = kill_time(s);
    }
    if (now_ms(s) < s->kill_ms)
        return;
    log_warn("killing", LU64("stage", s->stage));
    signal_stage(s, SIGKILL, s->stage);
    s->kill_ms = kill_time(s);
}

void supervisor_stop(struct supervisor *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    if (s->spec.on_stopping)
        s->spec.on_stopping(s->spec.ctx);
    for (size_t i = 0; i < s->children.count; i++)
        s->children.all[i]->state = CHILD_STOPPED;
    s->stage = STAGE_EDGE;
    s->kill_ms = kill_time(s);
    signal_stage(s, SIGTERM, STAGE_EDGE);
    stop_stages(s);
}

/* Asked twice: whoever takes his time is asked again, and ends what runs. */
static void stop_soon(struct supervisor *s)
{
    if (s->hurried) {
        kill_all(s);
        return;
    }
    log_info("stopping_now", LSTR("why", "asked again"));
    s->hurried = true;
    s->kill_ms = kill_time(s);
    if (s->stage < STAGE_COUNT)
        signal_stage(s, SIGTERM, s->stage);
}

/* ---- starting ---- */

static void fail_start(struct supervisor *s, const struct child *c, const char *why)
{
    bool config = WIFEXITED(c->exit_status) && WEXITSTATUS(c->exit_status) == EX_CONFIG_CODE;
    if (s->stopping)
        return;
    (void)fprintf(stderr, "tollgate: %s could not start: %s\n", c->name, why);
    s->result = config ? ERR_INVALID : ERR_CLOSED;
    supervisor_stop(s);
}

static void start_due(struct supervisor *s)
{
    for (size_t i = 0; i < s->children.count && !s->stopping; i++) {
        struct child *c = s->children.all[i];
        if (c->state != CHILD_WAITING || now_ms(s) < c->due_ms)
            continue;
        if (child_start(c, span_str(s->folder), now_ms(s)) == OK) {
            log_debug("started", LSTR("child", c->name), LI64("pid", c->pid));
            continue;
        }
        log_error("start_failed", LSTR("child", c->name), LSTR("error", strerror(errno)));
        c->due_ms = now_ms(s) + BACKOFF_LONGEST_MS;
    }
}

/* The child, or its successor, has said that it is ready. */
static void is_ready(struct supervisor *s, struct child *c, pid_t pid)
{
    if (pid == c->next_pid) {
        pid_t old = child_take_over(c);
        log_info("restarted", LSTR("child", c->name), LI64("pid", pid), LI64("old_pid", old));
        if (old)
            leavers_add(&s->leavers, c, old, kill_time(s));
    } else if (c->state != CHILD_STARTING) {
        return;
    }
    if (c->state != CHILD_STOPPED)
        c->state = CHILD_READY;
    if (c->owes_hup)
        (void)kill(c->pid, SIGHUP);
    c->owes_hup = false;
}

static void try_ports(struct supervisor *s)
{
    for (size_t i = 0; i < s->children.count; i++) {
        struct child *c = s->children.all[i];
        bool starts = c->state == CHILD_STARTING || c->next_pid;
        if (starts && c->ready_port && readiness_answers(c->ready_port))
            is_ready(s, c, c->next_pid ? c->next_pid : c->pid);
    }
}

static void check_ready(struct supervisor *s)
{
    if (s->was_ready || s->stopping)
        return;
    for (size_t i = 0; i < s->children.count; i++) {
        if (s->children.all[i]->state == CHILD_READY)
            continue;
        if (now_ms(s) >= s->give_up_ms)
            fail_start(s, s->children.all[i], "it was not ready in time");
        return;
    }
    s->was_ready = true;
    s->spec.on_ready(s->spec.ctx);
}

/* Those that were told to end, or to be ready, and take too long. */
static void kill_overdue(struct supervisor *s)
{
    uint64_t now = now_ms(s);
    for (size_t i = 0; i < s->children.count; i++) {
        const struct child *c = s->children.all[i];
        if (c->next_pid && now >= c->next_started_ms + START_TIMEOUT_MS)
            (void)kill(c->next_pid, SIGKILL);
        if (c->state == CHILD_RESTARTING && c->pid && now >= c->due_ms)
            (void)kill(c->pid, SIGKILL);
    }
    leavers_kill_overdue(&s->leavers, now);
}

static void on_tick(void *ctx)
{
    struct supervisor *s = ctx;
    loop_timer_start(s->loop, &s->tick, TICK_MS, on_tick, s);
    start_due(s);
    try_ports(s);
    check_ready(s);
    if (s->stopping)
        stop_stages(s);
    else
        kill_overdue(s);
}

/* ---- what children say and do ---- */

static void on_ready_message(void *ctx, pid_t pid)
{
    struct supervisor *s = ctx;
    struct child *c = children_by_pid(&s->children, pid);
    if (c)
        is_ready(s, c, pid);
    check_ready(s);
}

static void child_has_ended(struct supervisor *s, struct child *c, int status)
{
    bool asked = c->state == CHILD_RESTARTING;
    child_ended(c, status, now_ms(s));
    if (s->stopping || asked)
        return;
    char why[32];
    child_why(c, why);
    bool hopeless = WIFEXITED(status) && WEXITSTATUS(status) == EXEC_FAILED_CODE;
    if (!s->was_ready)
        fail_start(s, c, hopeless ? "no such program" : why);
    else
        log_warn("child_died", LSTR("child", c->name), LSTR("why", why),
                 LU64("restart_in_ms", c->backoff_ms));
    if (!c->next_pid)
        return;
    (void)child_take_over(c); /* its successor is under way already */
    c->state = CHILD_STARTING;
}

static void next_has_ended(struct child *c, int status)
{
    c->next_pid = 0;
    c->failed_restarts++;
    c->has_ended = true;
    c->exit_status = status;
    char why[32];
    child_why(c, why);
    log_error("restart_failed", LSTR("child", c->name), LSTR("why", why),
              LSTR("keeping", "the one that runs"));
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *c = children_by_pid(&s->children, pid);
        if (!c)
            leavers_remove(&s->leavers, pid);
        else if (pid == c->pid)
            child_has_ended(s, c, status);
        else
            next_has_ended(c, status);
    }
    if (s->stopping)
        stop_stages(s);
}

static void hang_up(struct supervisor *s)
{
    if (s->stopping || (s->spec.on_reload && !s->spec.on_reload(s->spec.ctx)))
        return;
    for (size_t i = 0; i < s->children.count; i++) {
        struct child *c = s->children.all[i];
        /* one that starts would be ended by it, or has read what there was before */
        c->owes_hup = c->state == CHILD_STARTING || c->next_pid;
        if (c->pid && c->state == CHILD_READY)
            (void)kill(c->pid, SIGHUP);
    }
}

static void on_signal(void *ctx, int number)
{
    struct supervisor *s = ctx;
    if (number == SIGCHLD) {
        reap(s);
    } else if (number == SIGHUP) {
        hang_up(s);
    } else if (s->stopping) {
        stop_soon(s);
    } else {
        log_info("stopping");
        supervisor_stop(s);
    }
}

/* ---- life ---- */

enum err supervisor_create(struct supervisor **out, const struct supervisor_spec *spec)
{
    struct supervisor *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->spec = *spec;
    child_find_folder(s->folder, sizeof s->folder);
    enum err e = loop_create(&s->loop, &clock_real);
    if (!e)
        e = signals_open(&s->signals, s->loop, on_signal, s);
    if (!e)
        e = readiness_create(&s->readiness, s->loop, s->spec.run_dir, on_ready_message, s);
    if (e)
        supervisor_destroy(&s);
    *out = s;
    return e;
}

void supervisor_destroy(struct supervisor **out)
{
    struct supervisor *s = *out;
    if (!s)
        return;
    *out = NULL;
    children_free(&s->children);
    readiness_destroy(&s->readiness);
    signals_close(&s->signals);
    loop_destroy(&s->loop);
    free(s);
}

struct loop *supervisor_loop(const struct supervisor *s)
{
    return s->loop;
}

void supervisor_set_stop_timeout(struct supervisor *s, unsigned ms)
{
    s->spec.stop_timeout_ms = ms;
}

struct child *supervisor_add(struct supervisor *s, const char *name, const char *program,
                             enum child_stage stage)
{
    return children_add(&s->children, name, program, stage);
}

struct child *supervisor_child(const struct supervisor *s, size_t index)
{
    return index < s->children.count ? s->children.all[index] : NULL;
}

struct child *supervisor_find(const struct supervisor *s, struct span name)
{
    return children_find(&s->children, name);
}

enum err supervisor_remove(struct supervisor *s, struct child *c)
{
    if (leavers_room(&s->leavers) < 2)
        return ERR_TOO_BIG;
    if (c->pid)
        leavers_add(&s->leavers, c, c->pid, kill_time(s));
    if (c->next_pid)
        leavers_add(&s->leavers, c, c->next_pid, kill_time(s));
    log_info("removed", LSTR("child", c->name));
    children_forget(&s->children, c);
    return OK;
}

enum err supervisor_restart(struct supervisor *s, struct child *c)
{
    if (s->stopping)
        return ERR_CLOSED;
    if (c->state == CHILD_WAITING) {
        c->due_ms = 0;
        return OK;
    }
    if (c->next_pid || c->state != CHILD_READY)
        return ERR_AGAIN;
    if (c->overlaps) {
        if (!leavers_room(&s->leavers))
            return ERR_TOO_BIG;
        enum err e = child_start_next(c, span_str(s->folder), now_ms(s));
        if (!e)
            log_info("restarting", LSTR("child", c->name), LI64("pid", c->next_pid));
        return e;
    }
    log_info("restarting", LSTR("child", c->name), LI64("old_pid", c->pid));
    c->state = CHILD_RESTARTING;
    c->due_ms = kill_time(s);
    (void)kill(c->pid, SIGTERM);
    return OK;
}

enum err supervisor_run(struct supervisor *s)
{
    s->give_up_ms = now_ms(s) + START_TIMEOUT_MS;
    on_tick(s);
    enum err e = loop_run(s->loop);
    loop_timer_stop(s->loop, &s->tick);
    return e ? e : s->result;
}
