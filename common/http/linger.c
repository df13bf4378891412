/* Closes that wait: unread bytes would reset our answer away, so they are read and dropped for a
 * while. Some clients read nothing before all is sent. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/internal.h"

enum { MAX_LINGERING = 1024, READS_PER_EVENT = 4, READ_BYTES = 64 << 10 };

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
    ssize_t n;
    (void)events;
    for (int i = 0; i < READS_PER_EVENT; i++) {
        /* TCP drops them without a copy */
        n = recv(l->fd, NULL, l->left < READ_BYTES ? (size_t)l->left : READ_BYTES,
                 MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            linger_end(l);
            return;
        }
        l->left -= (uint64_t)n;
        if (!l->left) {
            loop_watch_remove(&l->watch); /* no more is read; the timer closes */
            loop_timer_start(l->server->loop, &l->timer, HTTP_LINGER_MS, on_linger_timeout, l);
            return;
        }
    }
}

void linger_start(struct http_server *s, int fd, uint64_t drop_bytes)
{
    struct http_linger *l = s->lingering < MAX_LINGERING ? calloc(1, sizeof *l) : NULL;
    if (!l || loop_watch_add(s->loop, fd, EPOLLIN | EPOLLRDHUP, on_linger, l, &l->watch)) {
        free(l);
        (void)close(fd);
        return;
    }
    l->server = s;
    l->fd = fd;
    l->left = drop_bytes ? drop_bytes : HTTP_SWALLOW_BYTES;
    s->lingering++;
    DL_PREPEND(s->lingers, l);
    (void)shutdown(fd, SHUT_WR);
    loop_timer_start(s->loop, &l->timer, drop_bytes ? HTTP_DROP_MS : HTTP_LINGER_MS,
                     on_linger_timeout, l);
}
