/* Accepting by ourselves: the socket, limits per server and address. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/http/internal.h"
#include "common/runtime/listening.h"

enum {
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100, /* after running out of descriptors */
    KEEPALIVE_S = 60,
    DEFAULT_SEND_BUFFER = 128 << 10,
};

/* ---- accepting ---- */

/* Answers 503 without reading a byte. Leaves the fd open. */
static void refuse_client(struct http_server *s, int fd, const char *address, const char *reason)
{
    struct http_exchange *x = s->tls_cert ? NULL : exchange_create(s, NULL, &way_raw, SPAN_NONE);
    if (!x)
        return;
    x->bare_fd = fd;
    x->address = address;
    refuse_raw(x, 503, reason);
    exchange_end(x, false);
}

static void turn_away(struct http_server *s, int fd, const char *address, const char *reason)
{
    refuse_client(s, fd, address, reason);
    if (s->tls_cert)
        (void)close(fd);
    else
        linger_start(s, fd, 0);
}

static void take_client(struct http_server *s, int fd, const struct sockaddr_storage *from)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr from_address = address_of(from);
    address_text(&from_address, address);
    if (s->stats.connections >= s->config.max_connections) {
        s->stats.refused_limit++;
        turn_away(s, fd, address,
                  "The service is at capacity: too many connections. Try again shortly.");
        return;
    }
    struct http_peer *peer = peer_take(s, &from_address);
    if (!peer) {
        (void)close(fd);
        return;
    }
    if (peer->connections > s->config.max_connections_per_address) {
        peer_release(s, peer);
        s->stats.refused_address++;
        turn_away(s, fd, address, "Too many connections from this address.");
        return;
    }
    bool plain = !s->tls_cert && !s->config.library_only;
    struct http_conn *c = conn_create(s, peer, fd, address, plain ? &plain_watcher : &departures);
    if (!c) {
        peer_release(s, peer);
        (void)close(fd);
    } else if (plain) {
        conn_phase(c, CONN_HEAD);
    } else {
        shard_take(c);
    }
}

static void open_reserve(struct http_server *s)
{
    if (s->reserve_fd < 0)
        s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_listen(void *ctx, uint32_t events);

static void on_accept_timer(void *ctx)
{
    struct http_server *s = ctx;
    open_reserve(s);
    if (s->listen_fd >= 0 && !s->listen_watch &&
        loop_watch_add(s->loop, s->listen_fd, EPOLLIN, on_listen, s, &s->listen_watch))
        loop_timer_start(s->loop, &s->accept_timer, RETRY_MS, on_accept_timer, s);
}

/* Out of descriptors: closing the reserve one lets a client in to be refused; then accepting pauses
 * so as not to spin. */
static void out_of_descriptors(struct http_server *s)
{
    if (s->reserve_fd >= 0) {
        (void)close(s->reserve_fd);
        s->reserve_fd = -1;
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            refuse_client(s, fd, "", "The service is at capacity. Try again shortly.");
            (void)close(fd);
        }
        open_reserve(s);
    }
    s->stats.refused_limit++;
    log_warn("http_out_of_descriptors", LU64("connections", s->stats.connections));
    loop_watch_remove(&s->listen_watch);
    loop_timer_start(s->loop, &s->accept_timer, RETRY_MS, on_accept_timer, s);
}

static void on_listen(void *ctx, uint32_t events)
{
    struct http_server *s = ctx;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int fd =
            accept4(s->listen_fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_client(s, fd, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            out_of_descriptors(s);
        else if (errno == EINTR || errno == ECONNABORTED)
            continue;
        return;
    }
}

/* ---- listening ---- */

static void set_option(int fd, int level, int name, int value)
{
    if (setsockopt(fd, level, name, &value, sizeof value) < 0)
        log_debug("http_setsockopt", LU64("option", (unsigned)name),
                  LU64("errno", (unsigned)errno));
}

/* Accepted sockets inherit all of these on Linux, which saves the calls per connection. */
static void set_options(int fd, const struct http_server *s)
{
    uint32_t buffer =
        s->config.send_buffer_bytes ? s->config.send_buffer_bytes : DEFAULT_SEND_BUFFER;
    set_option(fd, SOL_SOCKET, SO_SNDBUF, (int)buffer);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

enum err accept_start(struct http_server *s)
{
    int fd = s->config.listen_fd;
    enum err e = fd > 0 ? OK : listening_open(s->address, s->config.port, &fd);
    if (e)
        return e;
    s->listen_fd = fd;
    s->port = listening_port(fd);
    set_options(fd, s);
    open_reserve(s);
    return loop_watch_add(s->loop, fd, EPOLLIN, on_listen, s, &s->listen_watch);
}

void accept_stop(struct http_server *s)
{
    loop_timer_stop(s->loop, &s->accept_timer);
    loop_watch_remove(&s->listen_watch);
    if (s->listen_fd >= 0)
        (void)close(s->listen_fd);
    s->listen_fd = -1;
}
