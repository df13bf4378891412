/* A client connection: its phase, and the phase's deadline. */
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/http/internal.h"

/* How often a client that should take its answer is looked at. */
enum { SEND_LOOK_MS = 250 };

/* All zero when there is none. */
static struct tcp_info tcp_state(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    (void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info;
}

static bool has_taken_more(struct http_conn *c)
{
    uint64_t now = tcp_state(c->fd).tcpi_bytes_acked;
    bool more = now > c->acked;
    c->acked = now;
    return more;
}

/* The next look, or the end of its patience if that is earlier. */
static void look_again(struct http_conn *c, uint64_t now_us)
{
    uint64_t end = c->taken_us + c->server->config.send_timeout_ms * 1000;
    uint64_t look = now_us + SEND_LOOK_MS * 1000;
    c->deadline_us = look < end ? look : end;
}

static void on_timer(void *ctx)
{
    struct http_conn *c = ctx;
    struct loop *loop = c->server->loop;
    if (!c->deadline_us)
        return;
    uint64_t now = loop_now_us(loop);
    if (now >= c->deadline_us && c->phase == CONN_SEND) {
        if (has_taken_more(c))
            c->taken_us = now;
        look_again(c, now);
    }
    if (now < c->deadline_us) {
        loop_timer_start_us(loop, &c->timer, c->deadline_us - now, on_timer, c);
        return;
    }
    c->deadline_us = 0;
    c->watcher->on_deadline(c);
}

static void set_deadline(struct http_conn *c, uint64_t wait_us)
{
    struct loop *loop = c->server->loop;
    c->deadline_us = loop_now_us(loop) + wait_us;
    if (!loop_timer_running(&c->timer) || loop_timer_due_us(&c->timer) > c->deadline_us)
        loop_timer_start_us(loop, &c->timer, wait_us, on_timer, c);
}

/* Is nothing under way? A head that has begun is. */
static bool is_quiet(const struct http_conn *c)
{
    return !c->x && (c->phase == CONN_IDLE || (c->phase == CONN_HEAD && !c->head_us));
}

void conn_hurry(struct http_conn *c)
{
    enum { WAIT_US = HTTP_DRAIN_QUIET_MS * 1000 };
    uint64_t due_us = loop_now_us(c->server->loop) + WAIT_US;
    if (is_quiet(c) && (!c->deadline_us || c->deadline_us > due_us))
        set_deadline(c, WAIT_US);
}

void conn_phase(struct http_conn *c, enum conn_phase phase)
{
    const struct http_config *config = &c->server->config;
    const uint64_t limit_ms[] = {
        [CONN_HEAD] = config->header_timeout_ms,
        [CONN_BODY] = config->body_timeout_ms,
        [CONN_WORK] = 0,
        [CONN_SEND] = config->send_timeout_ms,
        [CONN_IDLE] = config->idle_timeout_ms,
        [CONN_LINGER] = c->drop_bytes ? HTTP_DROP_MS : HTTP_LINGER_MS,
    };
    if (phase == CONN_SEND && c->phase != CONN_SEND)
        c->acked = 0; /* the first look always finds progress */
    c->phase = phase;
    c->deadline_us = 0;
    c->taken_us = loop_now_us(c->server->loop);
    uint64_t wait_ms = limit_ms[phase];
    if (phase == CONN_SEND && wait_ms > SEND_LOOK_MS)
        wait_ms = SEND_LOOK_MS;
    if (wait_ms)
        set_deadline(c, wait_ms * 1000);
    if (phase == CONN_IDLE && c->server->draining)
        conn_hurry(c);
}

void conn_body_came(struct http_conn *c, size_t n)
{
    const struct http_config *config = &c->server->config;
    if (c->phase != CONN_BODY || !c->deadline_us || !config->body_min_rate)
        return;
    /* What it is ahead of the rate is not saved up: a fast half does not pay for a dripping one. */
    uint64_t most = loop_now_us(c->server->loop) + config->body_timeout_ms * 1000;
    uint64_t earned = c->deadline_us + (uint64_t)n * 1000000 / config->body_min_rate;
    c->deadline_us = earned < most ? earned : most; /* never earlier: the timer follows */
}

static void on_event(void *ctx, uint32_t events)
{
    struct http_conn *c = ctx;
    c->watcher->on_event(c, events);
}

struct http_conn *conn_create(struct http_server *s, struct http_peer *peer, int fd,
                              const char *address, const struct conn_watcher *watcher)
{
    struct http_conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->server = s;
    c->fd = fd;
    c->peer = peer;
    c->watcher = watcher;
    (void)snprintf(c->address, sizeof c->address, "%s", address);
    /* Edge-triggered: one call per change, so it may stand beside libmicrohttpd's own registration
     * of the same socket for as long as that lives. */
    if (loop_watch_add(s->loop, fd, watcher->events | EPOLLET, on_event, c, &c->watch)) {
        free(c);
        return NULL;
    }
    s->stats.connections++;
    DL_PREPEND(s->conns, c);
    c->started = true;
    return c;
}

bool conn_watch(struct http_conn *c, const struct conn_watcher *watcher)
{
    if (loop_watch_set(c->watch, watcher->events | EPOLLET))
        return false;
    c->watcher = watcher;
    return true;
}

void conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;
    loop_watch_remove(&c->watch);
    loop_timer_stop(s->loop, &c->timer);
    loop_timer_stop(s->loop, &c->look_timer);
    loop_timer_stop(s->loop, &c->slow_timer);
    if (c->started)
        DL_DELETE(s->conns, c);
    else
        DL_DELETE(s->starting, c);
    s->stats.connections--;
    peer_release(s, c->peer);
    free(c);
}
