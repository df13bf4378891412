#include "common/runtime/line_server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/crypto.h"
#include "common/base/log.h"

enum { PIECE_BYTES = 4096 };

struct line_client {
    struct line_server *server;
    int fd; /* −1: it has left, and its answer is still to come */
    struct loop_watch *watch;
    struct loop_timer idle;
    struct buf in, out;
    bool waits;  /* for its answer */
    bool inside; /* on_line is running */
    bool answered;
    struct line_client *next;
};

struct line_server {
    struct loop *loop;
    struct line_server_spec spec;
    int fd;
    struct loop_watch *watch;
    struct line_client *clients;
    unsigned count;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
};

/* ---- a client ---- */

static void free_client(struct line_client *c)
{
    for (struct line_client **at = &c->server->clients; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    c->server->count--;
    if (c->out.data)
        crypto_wipe(c->out.data, c->out.cap); /* a new key's text was in it */
    buf_free(&c->in);
    buf_free(&c->out);
    free(c);
}

static void hang_up(struct line_client *c)
{
    if (c->fd < 0)
        return;
    loop_timer_stop(c->server->loop, &c->idle);
    loop_watch_remove(&c->watch);
    (void)close(c->fd);
    c->fd = -1;
    if (!c->waits)
        free_client(c);
}

static void on_idle(void *ctx)
{
    hang_up(ctx);
}

/* False when the client is gone. */
static bool flush(struct line_client *c)
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
    bool over = c->answered && c->server->spec.once && !c->out.len;
    if (over || loop_watch_set(c->watch, c->out.len ? EPOLLIN | EPOLLOUT : EPOLLIN)) {
        hang_up(c);
        return false;
    }
    return true;
}

/* Gives out the lines that are complete, one at a time: the next one when the one before has its
 * answer. */
static void work(struct line_client *c)
{
    size_t end;
    while (!c->waits && !c->out.len && (end = span_find(buf_span(&c->in), '\n')) < c->in.len) {
        struct buf line = {0};
        buf_append(&line, span_of(c->in.data, end));
        buf_consume(&c->in, end + 1);
        c->waits = c->inside = true;
        c->server->spec.on_line(c->server->spec.ctx, c, buf_span(&line));
        c->inside = false;
        buf_free(&line);
        if (c->waits || !flush(c))
            return;
    }
}

static void on_readable(struct line_client *c)
{
    char *at = buf_reserve(&c->in, PIECE_BYTES);
    ssize_t n = at ? recv(c->fd, at, PIECE_BYTES, MSG_DONTWAIT) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(c);
        return;
    }
    c->in.len += (size_t)n;
    if (c->in.len >= c->server->spec.line_bytes && span_find(buf_span(&c->in), '\n') == c->in.len) {
        hang_up(c);
        return;
    }
    loop_timer_start(c->server->loop, &c->idle, c->server->spec.idle_ms, on_idle, c);
    work(c);
}

static void on_client(void *ctx, uint32_t events)
{
    struct line_client *c = ctx;
    if (!(events & EPOLLOUT))
        on_readable(c);
    else if (flush(c))
        work(c);
}

void line_server_answer(struct line_client *to, struct span line)
{
    buf_append(&to->out, line);
    buf_append_char(&to->out, '\n');
    to->waits = false;
    to->answered = true;
    if (to->inside)
        return; /* work goes on */
    if (to->fd < 0)
        free_client(to);
    else if (buf_check(&to->out) != OK)
        hang_up(to);
    else if (flush(to))
        work(to);
}

/* ---- the server ---- */

static bool is_allowed(const struct line_server *s, int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    log_warn("socket_refused", LSTR("path", s->path), LU64("uid", peer.uid),
             LU64("pid", (uint64_t)peer.pid));
    return false;
}

static bool add_client(struct line_server *s, int fd)
{
    struct line_client *c = s->count < s->spec.clients ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return false;
    c->server = s;
    c->fd = fd;
    buf_init(&c->in, s->spec.line_bytes + PIECE_BYTES);
    (void)buf_reserve(&c->out,
                      PIECE_BYTES); /* so that an answer with a secret is not moved about */
    if (loop_watch_add(s->loop, fd, EPOLLIN, on_client, c, &c->watch)) {
        buf_free(&c->out);
        free(c);
        return false;
    }
    c->next = s->clients;
    s->clients = c;
    s->count++;
    loop_timer_start(s->loop, &c->idle, s->spec.idle_ms, on_idle, c);
    return true;
}

static void on_accept(void *ctx, uint32_t events)
{
    struct line_server *s = ctx;
    int fd;
    (void)events;
    while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (!is_allowed(s, fd) || !add_client(s, fd))
            (void)close(fd);
    }
}

static enum err open_socket(struct line_server *s)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(s->spec.path);
    if (n >= sizeof at.sun_path)
        return ERR_TOO_BIG;
    memcpy(at.sun_path, s->spec.path, n);
    memcpy(s->path, s->spec.path, n);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return ERR_IO;
    (void)unlink(s->path);
    mode_t old = umask(0177);
    int bound = bind(s->fd, (const struct sockaddr *)&at, sizeof at);
    (void)umask(old);
    return bound == 0 && listen(s->fd, (int)s->spec.clients) == 0 ? OK : ERR_IO;
}

enum err line_server_create(struct line_server **out, struct loop *loop,
                            const struct line_server_spec *spec)
{
    struct line_server *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return ERR_NOMEM;
    s->loop = loop;
    s->spec = *spec;
    s->fd = -1;
    enum err e = open_socket(s);
    if (!e)
        e = loop_watch_add(loop, s->fd, EPOLLIN, on_accept, s, &s->watch);
    int why = errno;
    if (e)
        line_server_destroy(&s);
    errno = why;
    *out = s;
    return e;
}

void line_server_destroy(struct line_server **server)
{
    struct line_server *s = *server;
    if (!s)
        return;
    *server = NULL;
    while (s->clients) {
        struct line_client *c = s->clients;
        c->waits = false;
        if (c->fd >= 0)
            hang_up(c);
        else
            free_client(c);
    }
    loop_watch_remove(&s->watch);
    if (s->fd >= 0) {
        (void)close(s->fd);
        (void)unlink(s->path);
    }
    free(s);
}
