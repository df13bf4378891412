/* A client connection: its phase, the phase's deadline, the memory it can give back while it waits.
 */
#include <linux/tcp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/internal.h"

enum { TRIM_AFTER_MS = 2000 };

/* All zero when there is none. */
static struct tcp_info tcp_state(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    (void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info;
}

/* Gives back the pages of the connection's memory pool that hold nothing. libmicrohttpd zeroes its
 * whole pool on every request, so each connection would keep all of it resident; an all-zero page
 * of private memory reads the same when it is given back. Only when a wait lasts: a page costs a
 * fault when it is needed again. */
void conn_trim_pool(const struct http_conn *c)
{
    static const char zeros[256];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pool = http_pool_bytes(c->server);
    if (pool <= HTTP_POOL_MAPPED_ABOVE || !c->request_line)
        return;
    /* A pool this big is a mapping of its own, and the request line stands in its first page unless
     * much came before it that is in no request: bare line ends, or a line that begins with NUL,
     * which libmicrohttpd skips. */
    if (tcp_state(c->fd).tcpi_bytes_received - c->parsed_bytes >= page)
        return;
    char *base = c->request_line - ((uintptr_t)c->request_line & (page - 1));
    for (size_t at = page; at + page <= pool; at += page) {
        size_t i = 0;
        while (i < page && memcmp(base + at + i, zeros, sizeof zeros) == 0)
            i += sizeof zeros;
        if (i >= page)
            (void)madvise(base + at, page, MADV_DONTNEED);
    }
}

bool conn_has_progressed(struct http_conn *c)
{
    uint64_t now = tcp_state(c->fd).tcpi_bytes_acked;
    bool more = now > c->acked;
    c->acked = now;
    return more;
}

static void on_timer(void *ctx)
{
    struct http_conn *c = ctx;
    struct loop *loop = c->server->loop;
    if (!c->deadline_us)
        return;
    uint64_t now = loop_now_us(loop);
    if (now < c->deadline_us) {
        loop_timer_start_us(loop, &c->timer, c->deadline_us - now, on_timer, c);
        return;
    }
    c->deadline_us = 0;
    c->watcher->on_deadline(c);
}

void conn_phase(struct http_conn *c, enum conn_phase phase)
{
    const struct http_config *config = &c->server->config;
    const uint64_t idle_ms = config->idle_timeout_ms;
    const uint64_t trim_ms = idle_ms && idle_ms < TRIM_AFTER_MS ? idle_ms : TRIM_AFTER_MS;
    const uint64_t limit_ms[] = {
        [CONN_HEAD] = config->header_timeout_ms,
        [CONN_BODY] = config->body_timeout_ms,
        [CONN_WORK] = TRIM_AFTER_MS,
        [CONN_SEND] = config->send_timeout_ms,
        [CONN_IDLE] = trim_ms,
        [CONN_IDLE_LONG] = idle_ms,
        [CONN_LINGER] = HTTP_LINGER_MS,
    };
    if (phase == CONN_SEND && c->phase != CONN_SEND)
        c->acked = 0; /* the first look always finds progress */
    c->phase = phase;
    c->deadline_us = 0;
    if (!limit_ms[phase])
        return;
    struct loop *loop = c->server->loop;
    uint64_t now = loop_now_us(loop);
    if (phase != CONN_IDLE_LONG)
        c->since_us = now;
    c->deadline_us = c->since_us + limit_ms[phase] * 1000;
    if (!loop_timer_running(&c->timer) || loop_timer_due_us(&c->timer) > c->deadline_us)
        loop_timer_start_us(loop, &c->timer, c->deadline_us > now ? c->deadline_us - now : 0,
                            on_timer, c);
}

struct http_conn *conn_create(struct http_server *s, struct http_peer *peer, int fd,
                              const struct conn_watcher *watcher)
{
    struct http_conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->server = s;
    c->fd = fd;
    c->peer = peer;
    c->watcher = watcher;
    /* Edge-triggered: one call per change and none while data flows in, so it may stand beside
     * libmicrohttpd's own registration of the same socket for as long as that lives. */
    if (loop_watch_add(s->loop, fd, EPOLLRDHUP | EPOLLOUT | EPOLLET, watcher->on_event, c,
                       &c->watch)) {
        free(c);
        return NULL;
    }
    DL_PREPEND(s->starting, c);
    return c;
}

void conn_free(struct http_conn *c)
{
    loop_watch_remove(&c->watch);
    loop_timer_stop(c->server->loop, &c->timer);
    if (c->started)
        DL_DELETE(c->server->conns, c);
    else
        DL_DELETE(c->server->starting, c);
    free(c);
}
