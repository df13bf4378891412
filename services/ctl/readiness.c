#include "services/ctl/readiness.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/span.h"

struct readiness {
    int fd;
    struct loop_watch *watch;
    void (*on_ready)(void *ctx, pid_t pid);
    void *ctx;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
};

/* 0: nobody has said READY=1. */
static pid_t speaker(const struct msghdr *m, struct span text)
{
    const struct cmsghdr *c = CMSG_FIRSTHDR(m);
    struct ucred who;
    if (!c || c->cmsg_type != SCM_CREDENTIALS || !span_starts(text, "READY=1"))
        return 0;
    memcpy(&who, CMSG_DATA(c), sizeof who);
    return who.pid;
}

static void on_message(void *ctx, uint32_t events)
{
    struct readiness *r = ctx;
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
        ssize_t n = recvmsg(r->fd, &m, MSG_DONTWAIT);
        if (n < 0)
            return;
        pid_t pid = speaker(&m, span_of(text, (size_t)n));
        if (pid > 0)
            r->on_ready(r->ctx, pid);
    }
}

static enum err open_socket(struct readiness *r, const char *folder)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int on = 1;
    int n = snprintf(r->path, sizeof r->path, "%s/ready-%d.sock", folder, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof at.sun_path)
        return ERR_TOO_BIG;
    memcpy(at.sun_path, r->path, (size_t)n);
    r->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->fd < 0)
        return ERR_IO;
    (void)unlink(r->path);
    if (bind(r->fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
        setsockopt(r->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
        setenv("NOTIFY_SOCKET", r->path, 1) != 0)
        return ERR_IO;
    return OK;
}

enum err readiness_create(struct readiness **out, struct loop *loop, const char *folder,
                          void (*on_ready)(void *ctx, pid_t pid), void *ctx)
{
    struct readiness *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return ERR_NOMEM;
    r->fd = -1;
    r->on_ready = on_ready;
    r->ctx = ctx;
    enum err e = open_socket(r, folder);
    if (!e)
        e = loop_watch_add(loop, r->fd, EPOLLIN, on_message, r, &r->watch);
    if (e)
        readiness_destroy(&r);
    *out = r;
    return e;
}

void readiness_destroy(struct readiness **out)
{
    struct readiness *r = *out;
    if (!r)
        return;
    *out = NULL;
    loop_watch_remove(&r->watch);
    if (r->fd >= 0) {
        (void)close(r->fd);
        (void)unlink(r->path);
    }
    free(r);
}

bool readiness_answers(unsigned port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}
