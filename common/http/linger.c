/* Closes that wait: unread bytes would reset our answer away, so they are read and dropped for a
 * second. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/internal.h"

enum { MAX_LINGERING = 1024 };

void linger_end(struct http_linger *l)
{
    loop_watch_remove(&l->watch);
    loop_timer_stop(l->server->loop, &l->timer);
    (void)close(l->fd);
    l->server->lingering--;
    DL_DELETE(l->server->lingers, l);
    free(l);
}

static void on_linger_timeout(void *ctx)
{
    linger_end(ctx);
}

static void on_linger(void *ctx, uint32_t events)
{
    struct http_linger *l = ctx;
    char waste[16 << 10];
    (void)events;
    for (;;) {
        ssize_t n = recv(l->fd, waste, sizeof waste, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            linger_end(l);
            return;
        }
        l->bytes += (size_t)n;
        if (l->bytes > HTTP_SWALLOW_BYTES - sizeof waste) {
            loop_watch_remove(&l->watch); /* no more is read; the timer closes */
            return;
        }
    }
}

void linger_start(struct http_server *s, int fd)
{
    struct http_linger *l = s->lingering < MAX_LINGERING ? calloc(1, sizeof *l) : NULL;
    if (!l || loop_watch_add(s->loop, fd, EPOLLIN | EPOLLRDHUP, on_linger, l, &l->watch)) {
        free(l);
        (void)close(fd);
        return;
    }
    l->server = s;
    l->fd = fd;
    s->lingering++;
    DL_PREPEND(s->lingers, l);
    (void)shutdown(fd, SHUT_WR);
    loop_timer_start(s->loop, &l->timer, HTTP_LINGER_MS, on_linger_timeout, l);
}
