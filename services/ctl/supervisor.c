#include "services/ctl/supervisor.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"

enum { TICK_MS = 50, EX_CONFIG_CODE = 78, EXEC_FAILED_CODE = 127 };

struct supervisor {
    struct supervisor_spec spec;
    struct loop *loop;
    struct child children[CHILDREN_MAX];
    size_t count;
    int signal_fd, ready_fd;
    struct loop_watch *signals, *readies;
    struct loop_timer tick;
    char socket_path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    char folder[4096]; /* of this program, with its slash */
    uint64_t give_up_ms, kill_ms;
    bool was_ready, stopping;
    enum child_stage stage; /* being stopped */
    enum err result;
};

static uint64_t now_ms(const struct supervisor *s)
{
    return clock_mono_ms(loop_clock(s->loop));
}

/* ---- stopping ---- */

static void signal_all(struct supervisor *s, int number, int only_stage)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->children[i].pid && (only_stage < 0 || (int)s->children[i].stage == only_stage))
            (void)kill(s->children[i].pid, number);
    }
}

static bool stage_is_gone(const struct supervisor *s, enum child_stage stage)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->children[i].pid && s->children[i].stage == stage)
            return false;
    }
    return true;
}

static void stop_stages(struct supervisor *s)
{
    while (s->stage == STAGE_COUNT || stage_is_gone(s, s->stage)) {
        if (s->stage == STAGE_COUNT || ++s->stage == STAGE_COUNT) {
            loop_stop(s->loop);
            return;
        }
        signal_all(s, SIGTERM, (int)s->stage);
        s->kill_ms = now_ms(s) + s->spec.stop_timeout_ms;
    }
    if (now_ms(s) < s->kill_ms)
        return;
    log_warn("killing", LU64("stage", s->stage));
    signal_all(s, SIGKILL, (int)s->stage);
    s->kill_ms = now_ms(s) + s->spec.stop_timeout_ms;
}

void supervisor_stop(struct supervisor *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    for (size_t i = 0; i < s->count; i++)
        s->children[i].state = CHILD_STOPPED;
    s->stage = STAGE_EDGE;
    s->kill_ms = now_ms(s) + s->spec.stop_timeout_ms;
    signal_all(s, SIGTERM, STAGE_EDGE);
    stop_stages(s);
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
    for (size_t i = 0; i < s->count && !s->stopping; i++) {
        struct child *c = &s->children[i];
        if (c->state != CHILD_WAITING || now_ms(s) < c->due_ms)
            continue;
        if (child_start(c, span_str(s->folder), s->spec.secrets, now_ms(s)) == OK) {
            log_info("started", LSTR("child", c->name), LI64("pid", c->pid));
            continue;
        }
        log_error("start_failed", LSTR("child", c->name), LSTR("error", strerror(errno)));
        c->due_ms = now_ms(s) + BACKOFF_LONGEST_MS;
    }
}

/* On loopback, so that connecting never waits. */
static bool answers(unsigned port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static void check_ready(struct supervisor *s)
{
    if (s->was_ready || s->stopping)
        return;
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        if (c->state == CHILD_STARTING && c->ready_port && answers(c->ready_port))
            c->state = CHILD_READY;
        if (c->state == CHILD_READY)
            continue;
        if (now_ms(s) >= s->give_up_ms)
            fail_start(s, c, "it was not ready in time");
        return;
    }
    s->was_ready = true;
    s->spec.on_ready(s->spec.ctx);
}

static void on_tick(void *ctx)
{
    struct supervisor *s = ctx;
    loop_timer_start(s->loop, &s->tick, TICK_MS, on_tick, s);
    start_due(s);
    check_ready(s);
    if (s->stopping)
        stop_stages(s);
}

/* ---- what children say and do ---- */

static struct child *by_pid(struct supervisor *s, pid_t pid)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->children[i].pid == pid)
            return &s->children[i];
    }
    return NULL;
}

static void on_ready_message(void *ctx, uint32_t events)
{
    struct supervisor *s = ctx;
    (void)events;
    for (;;) {
        char text[64];
        union {
            char bytes[CMSG_SPACE(sizeof(struct ucred))];
            struct cmsghdr align;
        } control;
        struct iovec part = {text, sizeof text};
        struct msghdr m = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
        ssize_t n = recvmsg(s->ready_fd, &m, MSG_DONTWAIT);
        if (n < 0)
            break;
        const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (!c || c->cmsg_type != SCM_CREDENTIALS ||
            !span_starts(span_of(text, (size_t)n), "READY=1"))
            continue;
        struct ucred who;
        memcpy(&who, CMSG_DATA(c), sizeof who);
        struct child *child = by_pid(s, who.pid);
        if (child && child->state == CHILD_STARTING)
            child->state = CHILD_READY;
    }
    check_ready(s);
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *c = by_pid(s, pid);
        if (!c)
            continue;
        child_ended(c, status, now_ms(s));
        if (s->stopping)
            continue;
        char why[32];
        child_why(c, why);
        bool hopeless = WIFEXITED(status) && WEXITSTATUS(status) == EXEC_FAILED_CODE;
        if (!s->was_ready || hopeless)
            fail_start(s, c, hopeless ? "no such program" : why);
        else
            log_warn("child_died", LSTR("child", c->name), LSTR("why", why),
                     LU64("restart_in_ms", c->backoff_ms));
    }
    if (s->stopping)
        stop_stages(s);
}

static void on_signal(void *ctx, uint32_t events)
{
    struct supervisor *s = ctx;
    struct signalfd_siginfo info;
    (void)events;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            reap(s);
        } else if (info.ssi_signo == SIGHUP) {
            signal_all(s, SIGHUP, -1);
        } else if (s->stopping) {
            signal_all(s, SIGKILL, -1);
        } else {
            log_info("stopping");
            supervisor_stop(s);
        }
    }
}

/* ---- life ---- */

static enum err watch_signals(struct supervisor *s)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return ERR_IO;
    s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->signal_fd < 0)
        return ERR_IO;
    return loop_watch_add(s->loop, s->signal_fd, EPOLLIN, on_signal, s, &s->signals);
}

static enum err watch_readies(struct supervisor *s)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int on = 1;
    int n = snprintf(s->socket_path, sizeof s->socket_path, "%s/ready-%d.sock", s->spec.run_dir,
                     (int)getpid());
    if (n < 0 || (size_t)n >= sizeof at.sun_path)
        return ERR_TOO_BIG;
    memcpy(at.sun_path, s->socket_path, (size_t)n);
    s->ready_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->ready_fd < 0)
        return ERR_IO;
    (void)unlink(s->socket_path);
    if (bind(s->ready_fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
        setsockopt(s->ready_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
        setenv("NOTIFY_SOCKET", s->socket_path, 1) != 0)
        return ERR_IO;
    return loop_watch_add(s->loop, s->ready_fd, EPOLLIN, on_ready_message, s, &s->readies);
}

static void find_folder(struct supervisor *s)
{
    ssize_t n = readlink("/proc/self/exe", s->folder, sizeof s->folder - 1);
    while (n > 0 && s->folder[n - 1] != '/')
        n--;
    s->folder[n > 0 ? n : 0] = '\0';
}

enum err supervisor_create(struct supervisor **out, const struct supervisor_spec *spec)
{
    struct supervisor *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->spec = *spec;
    s->signal_fd = s->ready_fd = -1;
    find_folder(s);
    enum err e = loop_create(&s->loop, &clock_real);
    if (!e)
        e = watch_signals(s);
    if (!e)
        e = watch_readies(s);
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
    for (size_t i = 0; i < s->count; i++)
        child_free(&s->children[i]);
    loop_watch_remove(&s->signals);
    loop_watch_remove(&s->readies);
    if (s->signal_fd >= 0)
        (void)close(s->signal_fd);
    if (s->ready_fd >= 0) {
        (void)close(s->ready_fd);
        (void)unlink(s->socket_path);
    }
    loop_destroy(&s->loop);
    free(s);
}

struct child *supervisor_add(struct supervisor *s, const char *name, const char *program,
                             enum child_stage stage)
{
    if (s->count == CHILDREN_MAX)
        return NULL;
    struct child *c = &s->children[s->count++];
    child_init(c, name, program, stage);
    return c;
}

struct child *supervisor_child(struct supervisor *s, size_t index)
{
    return index < s->count ? &s->children[index] : NULL;
}

enum err supervisor_run(struct supervisor *s)
{
    s->give_up_ms = now_ms(s) + START_TIMEOUT_MS;
    on_tick(s);
    enum err e = loop_run(s->loop);
    loop_timer_stop(s->loop, &s->tick);
    return e ? e : s->result;
}
