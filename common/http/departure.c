/* What happens to an exchange when its client leaves, makes room or lets a deadline pass. */
#include <sys/socket.h>

#include "common/base/log.h"
#include "common/http/internal.h"

static void on_event(void *ctx, uint32_t events)
{
    struct http_conn *c = ctx;
    struct http_exchange *x = c->x;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        c->gone = true;
        if (x)
            exchange_gone(x);
        return;
    }
    if ((events & EPOLLOUT) && x && x->state == X_STREAM)
        stream_flush(x);
}

static void close_now(struct http_conn *c)
{
    /* libmicrohttpd sees the end of file, and closes */
    (void)shutdown(c->fd, SHUT_RDWR);
}

static void on_deadline(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    switch (c->phase) {
    case CONN_HEAD:
    case CONN_BODY:
        if (x && x->state == X_READING)
            refuse_raw(x, 408,
                       c->phase == CONN_HEAD ? "The request headers took too long to arrive."
                                             : "The request body took too long to arrive.");
        close_now(c);
        return;
    case CONN_WORK:
        conn_trim_pool(c);
        return;
    case CONN_SEND:
        if (conn_has_progressed(c)) {
            conn_phase(c, CONN_SEND);
            return;
        }
        log_debug("http_slow_reader", LSTR("client", c->address));
        c->gone = true;
        if (x)
            exchange_gone(x);
        close_now(c);
        return;
    case CONN_IDLE:
        conn_trim_pool(c);
        conn_phase(c, CONN_IDLE_LONG);
        return;
    case CONN_IDLE_LONG:
    case CONN_LINGER:
        close_now(c);
        return;
    }
}

const struct conn_watcher departures = {.on_event = on_event, .on_deadline = on_deadline};
