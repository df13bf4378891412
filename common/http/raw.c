/* Answers written at once to a socket that is closed next: to a client that is turned away, and
 * where libmicrohttpd takes no answer any more. */
#include <sys/socket.h>

#include "common/http/internal.h"

static void respond(struct http_exchange *x, unsigned status, struct span body)
{
    struct buf out;
    buf_init(&out, 0);
    x->close_after = true;
    answer_head(x, status, (int64_t)body.len, &out);
    buf_append(&out, body);
    if (!out.failed)
        /* Whatever doesn't fit an empty socket buffer is lost: the client is being refused anyway.
         */
        (void)send(x->conn ? x->conn->fd : x->bare_fd, out.data, out.len,
                   MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_free(&out);
    x->state = X_ANSWERED;
}

static void stream_begin(struct http_exchange *x, unsigned status)
{
    respond(x, status, SPAN_NONE);
}

static void nothing(struct http_exchange *x)
{
    (void)x;
}

const struct exchange_way way_raw = {.respond = respond,
                                     .stream_begin = stream_begin,
                                     .wake = nothing,
                                     .read_body = nothing,
                                     .flush = nothing};
