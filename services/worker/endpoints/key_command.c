#include "services/worker/endpoints/key_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"

enum { ARGUMENTS_MAX = 64 };

/* ---- who could change what is run ---- */

static bool is_ours(const struct stat *s)
{
    if (s->st_uid != 0 && s->st_uid != geteuid())
        return false;
    bool shared = (s->st_mode & (S_IWGRP | S_IWOTH)) != 0;
    return !shared || (S_ISDIR(s->st_mode) && (s->st_mode & S_ISVTX));
}

/* The file, and each folder above it: whoever may write one of these may put another file there. */
static bool path_is_ours(char *path)
{
    struct stat s;
    for (;;) {
        if (stat(*path ? path : "/", &s) != 0 || !is_ours(&s))
            return false;
        char *slash = strrchr(path, '/');
        if (!slash)
            return true;
        *slash = '\0';
    }
}

/* The file behind all links, in memory of the caller's; NULL: *why_out. */
static char *find_program(const char *name, enum err *err_out, const char **why_out)
{
    struct stat s;
    char *path = *name == '/' ? realpath(name, NULL) : NULL, *copy = path ? strdup(path) : NULL;
    *err_out = OK;
    if (!copy || stat(path, &s) != 0 || !S_ISREG(s.st_mode) || access(path, X_OK) != 0) {
        *err_out = ERR_NOT_FOUND;
        *why_out = "is no program: a whole path is needed";
    } else if (!path_is_ours(copy)) {
        *err_out = ERR_DENIED;
        *why_out = "could be changed by others (chmod go-w, it and the folders above it)";
    }
    free(copy);
    if (*err_out == OK)
        return path;
    free(path);
    return NULL;
}

/* ---- running it ---- */

static enum err start(const char *path, char *const arguments[], int output, pid_t *pid_out)
{
    static char *const nothing[] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawn_file_actions_init(&files);
    (void)posix_spawnattr_init(&attributes);
    /* A group of its own, so that what it starts ends with it. */
    int failed =
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                  POSIX_SPAWN_SETSIGDEF) ||
        posix_spawnattr_setpgroup(&attributes, 0) ||
        posix_spawnattr_setsigmask(&attributes, &none) ||
        posix_spawnattr_setsigdefault(&attributes, &all) ||
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0) ||
        posix_spawn_file_actions_adddup2(&files, output, 1) ||
        posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0) ||
        posix_spawn_file_actions_addclosefrom_np(&files, 3) ||
        posix_spawn(pid_out, path, &files, &attributes, arguments, nothing);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attributes);
    return failed ? ERR_IO : OK;
}

static int left_ms(uint64_t until_ms)
{
    uint64_t now_ms = clock_mono_ms(&clock_real);
    return now_ms < until_ms ? (int)(until_ms - now_ms) : 0;
}

static bool wait_for(int fd, uint64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    do {
        n = poll(&p, 1, left_ms(until_ms));
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

/* To the end of what it writes. */
static enum err read_output(int fd, uint64_t until_ms, struct buf *out, const char **why_out)
{
    for (;;) {
        if (!wait_for(fd, until_ms)) {
            *why_out = "took longer than 10 s";
            return ERR_TIMEOUT;
        }
        char *at = buf_reserve(out, 1);
        ssize_t n = at ? read(fd, at, out->cap - out->len) : -1;
        if (n == 0)
            return OK;
        if (n < 0) {
            *why_out = at ? "could not be read" : "wrote more than a key";
            return at ? ERR_IO : ERR_TOO_BIG;
        }
        out->len += (size_t)n;
    }
}

/* Ends it, if it has not ended by itself in time; what it has started ends in any case. */
static enum err finish(pid_t pid, uint64_t until_ms, bool in_time, const char **why_out)
{
    int fd = pidfd_open(pid, 0), status = 0;
    bool ended = in_time && fd >= 0 && wait_for(fd, until_ms);
    (void)kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (fd >= 0)
        (void)close(fd);
    if (!in_time)
        return OK; /* why has been said */
    if (!ended)
        *why_out = "took longer than 10 s";
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        *why_out = "failed";
    else
        return OK;
    return ended ? ERR_IO : ERR_TIMEOUT;
}

static enum err run(const char *path, char *const arguments[], struct buf *out,
                    const char **why_out)
{
    uint64_t until_ms = clock_mono_ms(&clock_real) + KEY_COMMAND_MS;
    int ends[2];
    pid_t pid = 0;
    *why_out = "could not be started";
    if (pipe2(ends, O_CLOEXEC) != 0)
        return ERR_IO;
    enum err e = start(path, arguments, ends[1], &pid);
    (void)close(ends[1]);
    if (!e) {
        e = read_output(ends[0], until_ms, out, why_out);
        enum err ended = finish(pid, until_ms, e == OK, why_out);
        e = e ? e : ended;
    }
    (void)close(ends[0]);
    return e;
}

enum err key_command_run(const struct config_list *command, struct secret **out,
                         const char **why_out)
{
    char *arguments[ARGUMENTS_MAX + 1] = {NULL};
    struct buf text = {0};
    enum err e;
    *out = NULL;
    char *path = find_program(command->items[0], &e, why_out);
    if (!path)
        return e;
    for (size_t i = 0; i < command->count && i < ARGUMENTS_MAX; i++)
        arguments[i] = (char *)(uintptr_t)command->items[i]; /* execve changes none */
    buf_init(&text, SECRET_MAX_BYTES);
    /* Once grown, never moved: no copy of a key stays behind in freed memory. */
    e = buf_reserve(&text, SECRET_MAX_BYTES) ? run(path, arguments, &text, why_out) : ERR_NOMEM;
    if (!e && (e = secret_create(SPAN_NONE, span_trim(buf_span(&text)), out)))
        *why_out = "wrote no key";
    if (text.data)
        crypto_wipe(text.data, text.cap);
    buf_free(&text);
    free(path);
    return e;
}
