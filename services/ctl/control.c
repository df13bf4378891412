#include "services/ctl/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/log.h"

struct control_client {
    struct control *control;
    int fd;
    struct loop_watch *watch;
    struct loop_timer idle;
    struct buf in;
    struct control_client *next;
};

struct control {
    struct loop *loop;
    int fd;
    struct loop_watch *watch;
    control_fn fn;
    void *ctx;
    struct control_client *clients;
    size_t count;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
};

static void client_free(struct control_client *k)
{
    struct control *c = k->control;
    for (struct control_client **at = &c->clients; *at; at = &(*at)->next) {
        if (*at == k) {
            *at = k->next;
            break;
        }
    }
    c->count--;
    loop_timer_stop(c->loop, &k->idle);
    loop_watch_remove(&k->watch);
    (void)close(k->fd);
    buf_free(&k->in);
    free(k);
}

static void on_idle(void *ctx)
{
    client_free(ctx);
}

/* A fresh socket takes an answer of this size whole. */
static void reply(const struct control_client *k, struct span line)
{
    struct control *c = k->control;
    struct json_doc doc = {0};
    struct buf out = {0};
    struct json_writer w = {.out = &out};
    jw_object(&w);
    if (json_parse(&doc, line, JSON_DEPTH_CLIENT) == OK) {
        c->fn(c->ctx, json_root(&doc), &w);
    } else {
        jw_key(&w, "error");
        jw_str(&w, "that is no JSON");
    }
    jw_object_end(&w);
    buf_append_char(&out, '\n');
    if (!out.failed && send(k->fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
        log_debug("control_unanswered", LSTR("why", strerror(errno)));
    buf_free(&out);
    json_doc_free(&doc);
}

static void on_client(void *ctx, uint32_t events)
{
    struct control_client *k = ctx;
    char *at = buf_reserve(&k->in, CONTROL_LINE_MAX);
    ssize_t n = at ? recv(k->fd, at, CONTROL_LINE_MAX, MSG_DONTWAIT) : 0;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    k->in.len += n > 0 ? (size_t)n : 0;
    size_t end = span_find(buf_span(&k->in), '\n');
    if (end < k->in.len)
        reply(k, span_first(buf_span(&k->in), end));
    else if (n > 0 && k->in.len < CONTROL_LINE_MAX)
        return;
    client_free(k);
}

static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    log_warn("control_refused", LU64("uid", peer.uid));
    return false;
}

static bool add_client(struct control *c, int fd)
{
    struct control_client *k = c->count < CONTROL_CLIENTS_MAX ? calloc(1, sizeof *k) : NULL;
    if (!k)
        return false;
    k->control = c;
    k->fd = fd;
    buf_init(&k->in, (size_t)CONTROL_LINE_MAX * 2);
    if (loop_watch_add(c->loop, fd, EPOLLIN, on_client, k, &k->watch)) {
        free(k);
        return false;
    }
    k->next = c->clients;
    c->clients = k;
    c->count++;
    loop_timer_start(c->loop, &k->idle, CONTROL_IDLE_MS, on_idle, k);
    return true;
}

static void on_accept(void *ctx, uint32_t events)
{
    struct control *c = ctx;
    int fd;
    (void)events;
    while ((fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (!is_allowed(fd) || !add_client(c, fd))
            (void)close(fd);
    }
}

static enum err open_socket(struct control *c, const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int n = snprintf(c->path, sizeof c->path, "%s", path);
    if (n < 0 || (size_t)n >= sizeof at.sun_path)
        return ERR_TOO_BIG;
    memcpy(at.sun_path, path, (size_t)n);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return ERR_IO;
    (void)unlink(path);
    mode_t old = umask(0177);
    int bound = bind(c->fd, (const struct sockaddr *)&at, sizeof at);
    (void)umask(old);
    return bound == 0 && listen(c->fd, CONTROL_CLIENTS_MAX) == 0 ? OK : ERR_IO;
}

enum err control_create(struct control **out, struct loop *loop, const char *path, control_fn fn,
                        void *ctx)
{
    struct control *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return ERR_NOMEM;
    c->loop = loop;
    c->fd = -1;
    c->fn = fn;
    c->ctx = ctx;
    enum err e = open_socket(c, path);
    if (!e)
        e = loop_watch_add(loop, c->fd, EPOLLIN, on_accept, c, &c->watch);
    if (e)
        control_destroy(&c);
    *out = c;
    return e;
}

void control_destroy(struct control **out)
{
    struct control *c = *out;
    if (!c)
        return;
    *out = NULL;
    while (c->clients)
        client_free(c->clients);
    loop_watch_remove(&c->watch);
    if (c->fd >= 0) {
        (void)close(c->fd);
        (void)unlink(c->path);
    }
    free(c);
}
