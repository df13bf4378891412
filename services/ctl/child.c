#include "services/ctl/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/runtime/listening.h"

/* What a daemon may see of our environment, whatever its role: how it finds its files, its
 * libraries and its language, and what developers' tools say. No proxies: they are configured. */
static const char *const usual_env[] = {
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "NOTIFY_SOCKET",
    "TOLLGATE_CONFIG",
    "TOLLGATE_RUN_DIR",
    "TOLLGATE_STATE_DIR",
    "TOLLGATE_SHARE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "LD_LIBRARY_PATH",
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "ASAN_OPTIONS",
    "LSAN_OPTIONS",
    "UBSAN_OPTIONS",
    "TSAN_OPTIONS",
    "GCOV_PREFIX",
    "GCOV_PREFIX_STRIP",
    "LLVM_PROFILE_FILE",
};

void child_init(struct child *c, const char *name, const char *program, enum child_stage stage)
{
    *c = (struct child){.stage = stage, .state = CHILD_WAITING};
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    (void)snprintf(c->program, sizeof c->program, "%s", program);
    c->args[0] = c->program;
    c->arg_count = 1;
}

void child_free(struct child *c)
{
    for (size_t i = 1; i < c->arg_count; i++)
        free(c->args[i]);
    for (size_t i = 0; i < c->keep_count; i++)
        free(c->keep_env[i]);
    free(c->keep_env);
    c->keep_env = NULL;
    c->arg_count = c->keep_count = 0;
}

enum err child_add_arg(struct child *c, const char *arg)
{
    if (c->arg_count > CHILD_ARGS_MAX)
        return ERR_TOO_BIG;
    c->args[c->arg_count] = strdup(arg);
    if (!c->args[c->arg_count])
        return ERR_NOMEM;
    c->arg_count++;
    return OK;
}

/* ---- its environment ---- */

static bool is_kept(const struct child *c, struct span name)
{
    for (size_t i = 0; i < c->keep_count; i++) {
        if (span_is(name, c->keep_env[i]))
            return true;
    }
    return false;
}

static bool is_usual(struct span name)
{
    for (size_t i = 0; i < sizeof usual_env / sizeof usual_env[0]; i++) {
        if (span_is(name, usual_env[i]))
            return true;
    }
    return false;
}

bool child_keeps_env(const struct child *c, const char *name)
{
    return is_kept(c, span_str(name));
}

enum err child_keep_env(struct child *c, struct span name)
{
    if (is_kept(c, name))
        return OK;
    if (c->keep_count == CHILD_ENV_MAX)
        return ERR_TOO_BIG;
    char **grown = realloc(c->keep_env, (c->keep_count + 1) * sizeof *grown);
    if (!grown)
        return ERR_NOMEM;
    c->keep_env = grown;
    c->keep_env[c->keep_count] = strndup(name.data, name.len);
    return c->keep_env[c->keep_count] ? (c->keep_count++, OK) : ERR_NOMEM;
}

/* In the child: false when out of memory. */
static bool limit_environment(const struct child *c)
{
    size_t count = 0, kept = 0;
    while (environ && environ[count])
        count++;
    char **fresh = calloc(count + 1, sizeof *fresh);
    if (!fresh)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct span rest = span_str(environ[i]), name = span_cut(&rest, '=');
        if (is_usual(name) || is_kept(c, name))
            fresh[kept++] = environ[i];
    }
    environ = fresh;
    return true;
}

/* As sd_listen_fds(3) has it. */
static bool hand_over(int fd)
{
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    bool there = fd == LISTENING_FIRST_FD ? fcntl(fd, F_SETFD, 0) == 0
                                          : dup2(fd, LISTENING_FIRST_FD) == LISTENING_FIRST_FD;
    return there && setenv("LISTEN_PID", pid, 1) == 0 && setenv("LISTEN_FDS", "1", 1) == 0 &&
           setenv("LISTEN_FDNAMES", LISTENING_HTTP, 1) == 0;
}

/* ---- its life ---- */

void child_find_folder(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    while (n > 0 && out[n - 1] != '/')
        n--;
    out[n > 0 ? n : 0] = '\0';
}

/* In the child, between fork and exec of a single-threaded program. */
static _Noreturn void become(struct child *c, struct span folder, unsigned generation, pid_t parent)
{
    sigset_t none;
    char path[4096], name[sizeof c->name + 16];
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing >= 0)
        (void)dup2(nothing, STDIN_FILENO);
    (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* stdout is for what `up` says */
    if (!limit_environment(c) || (c->listen_fd > 0 && !hand_over(c->listen_fd)))
        _exit(EXIT_FAILURE);
    if (generation && c->name_arg) {
        (void)snprintf(name, sizeof name, "%s.%u", c->name, generation + 1);
        c->args[c->name_arg] = name;
    }
    (void)snprintf(path, sizeof path, "%.*s%s", SPAN_ARG(folder), c->program);
    (void)execv(path, c->args);
    if (errno == ENOENT)
        (void)execvp(c->program, c->args);
    (void)fprintf(stderr, "tollgate: cannot run %s: %s\n", c->program, strerror(errno));
    _exit(127);
}

static pid_t spawn(struct child *c, struct span folder, unsigned generation)
{
    pid_t parent = getpid();
    (void)fflush(NULL);
    c->args[c->arg_count] = NULL;
    pid_t pid = fork();
    if (pid == 0)
        become(c, folder, generation, parent);
    return pid;
}

enum err child_start(struct child *c, struct span folder, uint64_t now_ms)
{
    pid_t pid = spawn(c, folder, c->generation);
    if (pid < 0)
        return ERR_NOMEM;
    c->pid = pid;
    c->state = CHILD_STARTING;
    c->restarts += c->started_ms != 0;
    c->started_ms = now_ms ? now_ms : 1;
    return OK;
}

enum err child_start_next(struct child *c, struct span folder, uint64_t now_ms)
{
    pid_t pid = spawn(c, folder, c->generation + 1);
    if (pid < 0)
        return ERR_NOMEM;
    c->next_pid = pid;
    c->next_started_ms = now_ms;
    return OK;
}

pid_t child_take_over(struct child *c)
{
    pid_t old = c->pid;
    c->pid = c->next_pid;
    c->next_pid = 0;
    c->started_ms = c->next_started_ms;
    c->restarts++;
    c->generation++;
    c->backoff_ms = 0;
    return old;
}

void child_ended(struct child *c, int exit_status, uint64_t now_ms)
{
    bool asked = c->state == CHILD_RESTARTING;
    c->pid = 0;
    c->has_ended = true;
    c->exit_status = exit_status;
    if (c->state == CHILD_STOPPED)
        return;
    bool lived = now_ms - c->started_ms >= BACKOFF_FORGET_MS;
    c->backoff_ms = asked                                    ? 0
                    : lived || !c->backoff_ms                ? BACKOFF_FIRST_MS
                    : c->backoff_ms * 2 < BACKOFF_LONGEST_MS ? c->backoff_ms * 2
                                                             : BACKOFF_LONGEST_MS;
    c->state = CHILD_WAITING;
    c->due_ms = now_ms + c->backoff_ms;
}

void child_why(const struct child *c, char out[32])
{
    if (WIFSIGNALED(c->exit_status))
        (void)snprintf(out, 32, "signal %d", WTERMSIG(c->exit_status));
    else
        (void)snprintf(out, 32, "exit code %d", WEXITSTATUS(c->exit_status));
}

const char *child_state_name(enum child_state state)
{
    switch (state) {
    case CHILD_WAITING:
        return "waiting";
    case CHILD_STARTING:
        return "starting";
    case CHILD_READY:
        return "ready";
    case CHILD_RESTARTING:
        return "restarting";
    case CHILD_STOPPED:
        return "stopping";
    }
    return "";
}
