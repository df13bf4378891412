/* What happens to an exchange of libmicrohttpd's when its client leaves or lets a deadline pass. */
#include <sys/socket.h>

#include "common/base/log.h"
#include "common/http/internal.h"

static void on_event(struct http_conn *c, uint32_t events)
{
    if (!(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        return;
    c->gone = true;
    if (c->x)
        exchange_gone(c->x);
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
        return;
    case CONN_SEND:
        log_debug("http_slow_reader", LSTR("client", c->address));
        c->gone = true;
        if (x)
            exchange_gone(x);
        close_now(c);
        return;
    case CONN_IDLE:
    case CONN_LINGER:
        close_now(c);
        return;
    }
}

const struct conn_watcher departures = {
    .events = EPOLLRDHUP, .on_event = on_event, .on_deadline = on_deadline};
