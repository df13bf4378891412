#include "services/auth/admin/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/log.h"

struct connection {
    struct admin *admin;
    int fd; /* −1: closed, waiting for its operation's result */
    struct loop_watch *watch;
    struct loop_timer idle;
    struct buf in, out;
    bool pending; /* an operation is at the store */
    struct admin_call call;
    struct connection *next;
};

struct admin {
    struct loop *loop;
    struct admin_host host;
    int fd;
    struct loop_watch *watch;
    struct connection *connections;
    size_t count;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
};

static void free_connection(struct connection *c)
{
    for (struct connection **at = &c->admin->connections; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    c->admin->count--;
    admin_call_reset(&c->call);
    if (c->out.data)
        crypto_wipe(c->out.data, c->out.cap); /* a new key's text was in it */
    buf_free(&c->in);
    buf_free(&c->out);
    free(c);
}

static void hang_up(struct connection *c)
{
    if (c->fd < 0)
        return;
    loop_timer_stop(c->admin->loop, &c->idle);
    loop_watch_remove(&c->watch);
    (void)close(c->fd);
    c->fd = -1;
    if (!c->pending)
        free_connection(c);
}

static void on_idle(void *ctx)
{
    hang_up(ctx);
}

/* False when the connection is gone. */
static bool flush(struct connection *c)
{
    while (c->out.len) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0) {
            hang_up(c);
            return false;
        }
        buf_consume(&c->out, (size_t)n);
    }
    uint32_t events = c->out.len ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (loop_watch_set(c->watch, events)) {
        hang_up(c);
        return false;
    }
    return true;
}

static void answer(struct connection *c)
{
    buf_append_char(&c->out, '\n');
    admin_call_reset(&c->call);
}

/* Answers the lines that are complete, one at a time. */
static void work(struct connection *c)
{
    size_t end;
    while (!c->pending && !c->out.len && (end = span_find(buf_span(&c->in), '\n')) < c->in.len) {
        c->call = (struct admin_call){.host = &c->admin->host,
                                      .wall_ms = clock_wall_ms(loop_clock(c->admin->loop)),
                                      .answer = &c->out,
                                      .tag = c};
        c->pending = !admin_begin(&c->call, span_of(c->in.data, end));
        buf_consume(&c->in, end + 1);
        if (c->pending) {
            buf_clear(&c->out);
            return;
        }
        answer(c);
        if (!flush(c))
            return;
    }
}

static void on_readable(struct connection *c)
{
    char *at = buf_reserve(&c->in, 4096);
    if (!at) {
        hang_up(c); /* a line longer than any command */
        return;
    }
    ssize_t n = recv(c->fd, at, 4096, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(c);
        return;
    }
    c->in.len += (size_t)n;
    loop_timer_start(c->admin->loop, &c->idle, ADMIN_IDLE_MS, on_idle, c);
    work(c);
}

static void on_connection(void *ctx, uint32_t events)
{
    struct connection *c = ctx;
    if (events & EPOLLOUT) {
        if (!flush(c))
            return;
        work(c);
        return;
    }
    on_readable(c);
}

void admin_on_result(struct admin *a, struct store_op *op, enum err result)
{
    struct connection *c = op->tag;
    (void)a;
    c->pending = false;
    admin_finish(&c->call, op, result);
    answer(c);
    if (c->fd < 0)
        free_connection(c);
    else if (flush(c))
        work(c);
}

static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    log_warn("admin_refused", LU64("uid", peer.uid), LU64("pid", (uint64_t)peer.pid));
    return false;
}

static bool add_connection(struct admin *a, int fd)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        return false;
    c->admin = a;
    c->fd = fd;
    buf_init(&c->in, ADMIN_LINE_MAX + 4096);
    (void)buf_reserve(&c->out, 4096); /* so that an answer with a secret is not moved about */
    if (loop_watch_add(a->loop, fd, EPOLLIN, on_connection, c, &c->watch)) {
        buf_free(&c->out);
        free(c);
        return false;
    }
    c->next = a->connections;
    a->connections = c;
    a->count++;
    loop_timer_start(a->loop, &c->idle, ADMIN_IDLE_MS, on_idle, c);
    return true;
}

static void on_accept(void *ctx, uint32_t events)
{
    struct admin *a = ctx;
    int fd;
    (void)events;
    while ((fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (a->count >= ADMIN_CONNECTIONS_MAX || !is_allowed(fd) || !add_connection(a, fd))
            (void)close(fd);
    }
}

static enum err open_socket(struct admin *a, const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof at.sun_path)
        return ERR_TOO_BIG;
    memcpy(at.sun_path, path, n);
    memcpy(a->path, path, n);
    a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a->fd < 0)
        return ERR_IO;
    (void)unlink(path); /* the store's lock has shown that no other auth lives */
    mode_t old = umask(0177);
    int bound = bind(a->fd, (const struct sockaddr *)&at, sizeof at);
    (void)umask(old);
    return bound == 0 && listen(a->fd, ADMIN_CONNECTIONS_MAX) == 0 ? OK : ERR_IO;
}

enum err admin_create(struct admin **out, struct loop *loop, const char *path,
                      const struct admin_host *host)
{
    struct admin *a = calloc(1, sizeof *a);
    if (!a)
        return ERR_NOMEM;
    a->loop = loop;
    a->host = *host;
    a->fd = -1;
    enum err e = open_socket(a, path);
    if (!e)
        e = loop_watch_add(loop, a->fd, EPOLLIN, on_accept, a, &a->watch);
    if (e) {
        log_error("admin_socket_failed", LSTR("path", path),
                  LSTR("error", e == ERR_IO ? strerror(errno) : err_name(e)));
        admin_destroy(&a);
        return e;
    }
    *out = a;
    return OK;
}

void admin_destroy(struct admin **out)
{
    struct admin *a = *out;
    if (!a)
        return;
    *out = NULL;
    while (a->connections) {
        struct connection *c = a->connections;
        c->pending = false;
        if (c->fd >= 0)
            hang_up(c);
        else
            free_connection(c);
    }
    loop_watch_remove(&a->watch);
    if (a->fd >= 0) {
        (void)close(a->fd);
        (void)unlink(a->path);
    }
    free(a);
}
