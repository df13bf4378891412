/* Streamed answers: chunks framed here and written to the socket while libmicrohttpd is parked. */
#include <errno.h>
#include <sys/socket.h>

#include "common/http/internal.h"

enum {
    MAX_STREAM_BYTES =
        8 << 20, /* unsent bytes of one stream; callers stay far below by http_stream_pending */
    KEEP_STREAM_BYTES = 4 << 10, /* a drained stream's buffer is kept up to this size */
    READER_BLOCK_BYTES = 1024,
};

/* Past libmicrohttpd: once it has sent the head it is suspended, and the chunks are written to the
 * socket directly. A resume and a suspend per chunk would cost more than the chunk. Not under TLS,
 * where the session is libmicrohttpd's. */
static bool is_direct(const struct http_exchange *x)
{
    return !x->server->tls_cert;
}

static size_t pending(const struct http_exchange *x)
{
    return x->out.len - x->out_sent;
}

static void report_drained(struct http_exchange *x)
{
    const struct http_handler *h = &x->server->handler;
    if (!x->out_high || pending(x) > x->out_high / 2)
        return;
    x->out_high = pending(x);
    if (h->on_drain && !x->ended) {
        x->server->worked = true;
        h->on_drain(h->ctx, x);
    }
}

static void forget_sent(struct http_exchange *x)
{
    if (pending(x)) {
        /* moving is worth it only once it frees much */
        if (x->out_sent > (64 << 10)) {
            buf_consume(&x->out, x->out_sent);
            x->out_sent = 0;
        }
        return;
    }
    x->out_sent = 0;
    if (x->out.cap > KEEP_STREAM_BYTES)
        buf_free(&x->out);
    else
        buf_clear(&x->out);
}

static ssize_t park(struct http_exchange *x)
{
    conn_phase(x->conn, CONN_WORK);
    exchange_suspend(x);
    return 0;
}

/* libmicrohttpd asks for more: for the first time when the head is on the socket. */
static ssize_t read_stream(void *ctx, uint64_t at, char *to, size_t room)
{
    struct http_exchange *x = ctx;
    (void)at;
    if (x->state == X_CUT) {
        /* To say END_WITH_ERROR would close the connection and then forget to clean it up (0.9.75
         * and 1.0.1, with epoll). The socket is shut down: a byte more fails to be sent, and that
         * ends it properly. */
        to[0] = '\n';
        return 1;
    }
    if (x->state == X_STREAM_HEAD)
        x->state = X_STREAM;
    if (x->ended && !pending(x)) {
        x->state = X_STREAM_END;
        conn_phase(x->conn, CONN_SEND);
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (is_direct(x)) {
        stream_mark(x);
        return park(x);
    }
    size_t n = pending(x) < room ? pending(x) : room;
    if (!n)
        return park(x);
    memcpy(to, x->out.data + x->out_sent, n);
    x->out_sent += n;
    conn_phase(x->conn, CONN_SEND);
    forget_sent(x);
    stream_mark(x);
    return (ssize_t)n;
}

void http_stream_begin(struct http_exchange *x, unsigned status)
{
    if (!exchange_is_open(x))
        return;
    x->out.max = MAX_STREAM_BYTES;
    answer_take(x,
                MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, READER_BLOCK_BYTES, read_stream,
                                                  x, NULL),
                status, X_STREAM_HEAD);
}

bool http_raw_begin(struct http_exchange *x)
{
    if (!exchange_is_open(x) || !is_direct(x))
        return false;
    x->out.max = 0;
    x->raw_stream = true;
    x->chunk_frames = false;
    x->state = X_STREAM;
    stream_mark(x);
    return true;
}

enum err http_stream_write(struct http_exchange *x, struct span bytes)
{
    if (x->state != X_STREAM_HEAD && x->state != X_STREAM)
        return ERR_CLOSED;
    if (x->ended)
        return ERR_INVALID;
    if (!bytes.len)
        return OK;
    if (pending(x) + bytes.len > MAX_STREAM_BYTES && !x->raw_stream)
        return ERR_TOO_BIG;
    bool frame = x->chunk_frames && is_direct(x);
    char *to = buf_reserve(&x->out, bytes.len + 24);
    if (!to)
        return ERR_TOO_BIG;
    size_t n = 0;
    if (frame) {
        static const char digits[] = "0123456789abcdef";
        unsigned shift = 0;
        while (bytes.len >> shift > 15)
            shift += 4;
        for (;; shift -= 4) {
            to[n++] = digits[(bytes.len >> shift) & 15];
            if (!shift)
                break;
        }
        to[n++] = '\r';
        to[n++] = '\n';
    }
    memcpy(to + n, bytes.data, bytes.len);
    n += bytes.len;
    if (frame) {
        to[n++] = '\r';
        to[n++] = '\n';
    }
    x->out.len += n;
    if (pending(x) > x->out_high)
        x->out_high = pending(x);
    stream_mark(x);
    return OK;
}

void http_stream_end(struct http_exchange *x)
{
    if ((x->state != X_STREAM_HEAD && x->state != X_STREAM) || x->ended)
        return;
    x->ended = true;
    stream_mark(x);
}

/* All is written: libmicrohttpd ends the chunks and goes on with the connection, or a raw answer's
 * connection ends. */
static void finish(struct http_exchange *x)
{
    if (x->raw_stream) {
        x->sent_raw = true;
        exchange_cut(x);
        return;
    }
    exchange_wake(x);
}

/* false when the client is gone. */
static bool send_pending(struct http_exchange *x)
{
    while (pending(x)) {
        ssize_t n =
            send(x->conn->fd, x->out.data + x->out_sent, pending(x), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        x->out_sent += (size_t)n;
    }
    return true;
}

void stream_flush(struct http_exchange *x)
{
    if (x->state != X_STREAM || !x->conn)
        return;
    if (!is_direct(x)) {
        if (pending(x) || x->ended)
            exchange_wake(x);
        report_drained(x);
        return;
    }
    if (!x->suspended) /* libmicrohttpd is not out of the way yet */
        return;
    if (!send_pending(x)) {
        x->conn->gone = true;
        exchange_gone(x);
        return;
    }
    bool all = !pending(x);
    forget_sent(x);
    if (all && x->conn->phase == CONN_SEND)
        conn_phase(x->conn, CONN_WORK);
    else if (!all && x->conn->phase != CONN_SEND)
        conn_phase(x->conn, CONN_SEND);
    report_drained(x);
    if (x->state == X_STREAM && x->ended && !pending(x))
        finish(x);
}

size_t http_stream_pending(const struct http_exchange *x)
{
    return pending(x);
}
