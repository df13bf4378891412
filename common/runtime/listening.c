#include "common/runtime/listening.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/span.h"
#include "common/runtime/holder.h"

enum { HANDED_MAX = 64 };

/* ---- opening ---- */

static void set_option(int fd, int level, int name, int value)
{
    if (setsockopt(fd, level, name, &value, sizeof value) < 0)
        log_debug("setsockopt", LU64("option", (unsigned)name), LU64("errno", (unsigned)errno));
}

static enum err listen_on(const struct addrinfo *at, int *fd_out)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_IO;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->ai_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, LISTENING_BACKLOG) == 0) {
        *fd_out = fd;
        return OK;
    }
    int why = errno;
    (void)close(fd);
    return why == EADDRINUSE ? ERR_EXISTS : why == EACCES ? ERR_DENIED : ERR_IO;
}

enum err listening_open(const char *address, uint16_t port, int *fd_out)
{
    char service[8];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    *fd_out = LISTENING_NONE;
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(address && *address ? address : NULL, service, &hints, &found) || !found)
        return ERR_INVALID;
    enum err e = listen_on(found, fd_out);
    freeaddrinfo(found);
    return e;
}

const char *listening_fault(enum err e, uint16_t port, char out[LISTENING_FAULT_BYTES])
{
    char holder[HOLDER_BYTES];
    if (e == ERR_INVALID)
        return "that is no address of this machine, nor a name of one";
    if (e == ERR_DENIED)
        return "permission denied: ports below 1024 need CAP_NET_BIND_SERVICE";
    if (e != ERR_EXISTS)
        return err_name(e);
    if (!holder_of_port(port, holder))
        return "address in use";
    (void)snprintf(out, LISTENING_FAULT_BYTES, "address in use by %s", holder);
    return out;
}

/* ---- handed over ---- */

static bool number_from_env(const char *name, uint64_t *out)
{
    const char *text = getenv(name);
    return text && span_to_u64(span_str(text), out);
}

static int option_of(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

static bool listens_on_tcp(int fd)
{
    int domain = option_of(fd, SO_DOMAIN);
    return (domain == AF_INET || domain == AF_INET6) && option_of(fd, SO_TYPE) == SOCK_STREAM &&
           option_of(fd, SO_ACCEPTCONN) == 1;
}

/* Which of `count` is meant; `count` when none is. */
static uint64_t choose(struct span names, uint64_t count, const char *name)
{
    if (count == 1)
        return 0;
    for (uint64_t i = 0; i < count && names.len; i++) {
        if (span_is(span_cut(&names, ':'), name))
            return i;
    }
    return count;
}

static void forget_environment(void)
{
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
}

static bool set_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && flags >= 0 &&
           fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

enum err listening_handed(const char *name, int *fd_out)
{
    uint64_t pid = 0, count = 0;
    *fd_out = LISTENING_NONE;
    bool ours = number_from_env("LISTEN_PID", &pid) && pid == (uint64_t)getpid() &&
                number_from_env("LISTEN_FDS", &count) && count > 0;
    uint64_t chosen = ours ? choose(span_str(getenv("LISTEN_FDNAMES")), count, name) : 0;
    forget_environment();
    if (!ours)
        return OK;
    if (count > HANDED_MAX)
        return ERR_INVALID;
    for (uint64_t i = 0; i < count; i++) {
        if (i != chosen)
            (void)close(LISTENING_FIRST_FD + (int)i);
    }
    int fd = LISTENING_FIRST_FD + (int)chosen;
    if (chosen == count || !listens_on_tcp(fd) || !set_flags(fd))
        return ERR_INVALID;
    *fd_out = fd;
    return OK;
}

uint16_t listening_port(int fd)
{
    struct sockaddr_storage at = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    if (at.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)&at)->sin_port);
    if (at.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)&at)->sin6_port);
    return 0;
}
