#include "services/ctl/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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

enum err child_keep_env(struct child *c, struct span name)
{
    if (c->keep_count == sizeof c->keep_env / sizeof c->keep_env[0])
        return ERR_TOO_BIG;
    c->keep_env[c->keep_count] = strndup(name.data, name.len);
    if (!c->keep_env[c->keep_count])
        return ERR_NOMEM;
    c->keep_count++;
    return OK;
}

static bool keeps(const struct child *c, const char *name)
{
    for (size_t i = 0; i < c->keep_count; i++) {
        if (strcmp(c->keep_env[i], name) == 0)
            return true;
    }
    return false;
}

/* In the child, between fork and exec of a single-threaded program. */
static _Noreturn void become(const struct child *c, struct span folder, const char *const *secrets,
                             pid_t parent)
{
    sigset_t none;
    char path[4096];
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0)
        (void)dup2(nothing, STDIN_FILENO);
    (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* stdout is for what `up` says */
    for (; secrets && *secrets; secrets++) {
        if (!keeps(c, *secrets))
            (void)unsetenv(*secrets);
    }
    (void)snprintf(path, sizeof path, "%.*s%s", SPAN_ARG(folder), c->program);
    (void)execv(path, c->args);
    if (errno == ENOENT)
        (void)execvp(c->program, c->args);
    (void)fprintf(stderr, "tollgate: cannot run %s: %s\n", c->program, strerror(errno));
    _exit(127);
}

enum err child_start(struct child *c, struct span folder, const char *const *secrets,
                     uint64_t now_ms)
{
    pid_t parent = getpid();
    (void)fflush(NULL);
    c->args[c->arg_count] = NULL;
    pid_t pid = fork();
    if (pid < 0)
        return ERR_NOMEM;
    if (pid == 0)
        become(c, folder, secrets, parent);
    c->pid = pid;
    c->state = CHILD_STARTING;
    c->started_ms = now_ms;
    return OK;
}

void child_ended(struct child *c, int exit_status, uint64_t now_ms)
{
    c->pid = 0;
    c->exit_status = exit_status;
    if (c->state == CHILD_STOPPED)
        return;
    bool lived = now_ms - c->started_ms >= BACKOFF_FORGET_MS;
    c->backoff_ms = lived || !c->backoff_ms                  ? BACKOFF_FIRST_MS
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
