/* The upstream sockets in the daemon's epoll, by descriptor. Lazy: a socket of
 * our own stays registered when nobody waits for it, because the next request on it will want the
 * same; it is only taken out when it becomes ready unasked, or is closed. */
#ifndef COMMON_FETCH_SOCKET_TABLE_H
#define COMMON_FETCH_SOCKET_TABLE_H

#include "common/runtime/loop.h"

struct socket_slot;

/* Who waits for a socket. */
struct socket_owner {
    /* What was waited for has come: EPOLLIN, EPOLLOUT, EPOLLERR (hang-ups read as EPOLLIN |
     * EPOLLERR). */
    void (*on_ready)(struct socket_owner *owner, int fd, uint32_t events);
};

struct socket_table {
    struct loop *loop;
    struct socket_slot **slots; /* by descriptor */
    size_t cap;
};

void socket_table_init(struct socket_table *t, struct loop *loop);
void socket_table_free(struct socket_table *t);

/* The socket is ours from its opening to socket_table_closed: it may stay registered while unused.
 */
enum err socket_table_opened(struct socket_table *t, int fd) NODISCARD;
/* `owner` waits for these (EPOLLIN, EPOLLOUT), or 0 for nothing any more. */
enum err socket_table_want(struct socket_table *t, int fd, uint32_t events,
                           struct socket_owner *owner) NODISCARD;
/* Before it is closed. */
void socket_table_closed(struct socket_table *t, int fd);

#endif
