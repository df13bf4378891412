/* Streamed answers: what is written, framed if it has to be, and what was sent of it. */
#include "common/http/internal.h"

enum {
    MAX_STREAM_BYTES =
        8 << 20, /* unsent bytes of one stream; callers stay far below by http_stream_pending */
    KEEP_STREAM_BYTES = 1 << 10,  /* a drained stream's buffer is kept up to this size */
    MOVE_STREAM_BYTES = 64 << 10, /* moving is worth it only once it frees much */
    FRAME_BYTES = 24,
};

bool http_raw_begin(struct http_exchange *x)
{
    if (!exchange_is_open(x) || !x->way->takes_raw)
        return false;
    x->raw_stream = true;
    x->close_after = true;
    x->state = X_STREAM;
    exchange_mark(x);
    return true;
}

static size_t write_chunk_size(char *to, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    unsigned shift = 0;
    size_t n = 0;
    while (bytes >> shift > 15)
        shift += 4;
    for (;; shift -= 4) {
        to[n++] = digits[(bytes >> shift) & 15];
        if (!shift)
            break;
    }
    memcpy(to + n, "\r\n", 2);
    return n + 2;
}

enum err http_stream_write(struct http_exchange *x, struct span bytes)
{
    if (x->state != X_STREAM_HEAD && x->state != X_STREAM)
        return ERR_CLOSED;
    if (x->ended)
        return ERR_INVALID;
    if (x->is_whole && bytes.len > x->whole_left)
        return ERR_TOO_BIG;
    x->whole_left -= x->is_whole ? bytes.len : 0;
    if (!bytes.len || x->drop_output)
        return OK;
    if (answer_pending(x) + bytes.len > MAX_STREAM_BYTES && !x->raw_stream)
        return ERR_TOO_BIG;
    char *to = buf_reserve(&x->out, bytes.len + FRAME_BYTES);
    if (!to)
        return ERR_TOO_BIG;
    size_t n = x->chunk_frames ? write_chunk_size(to, bytes.len) : 0;
    memcpy(to + n, bytes.data, bytes.len);
    n += bytes.len;
    if (x->chunk_frames) {
        memcpy(to + n, "\r\n", 2);
        n += 2;
    }
    x->out.len += n;
    if (answer_pending(x) > x->out_high)
        x->out_high = answer_pending(x);
    exchange_mark(x);
    return OK;
}

void http_stream_end(struct http_exchange *x)
{
    if ((x->state != X_STREAM_HEAD && x->state != X_STREAM) || x->ended)
        return;
    x->ended = true;
    if (x->chunk_frames)
        buf_append(&x->out, SPAN("0\r\n\r\n"));
    if (x->out.failed || (x->is_whole && x->whole_left)) /* an end that can't be said is none */
        exchange_cut(x);
    exchange_mark(x);
}

size_t http_stream_pending(const struct http_exchange *x)
{
    return answer_pending(x);
}

void stream_was_sent(struct http_exchange *x, size_t n)
{
    x->out_sent += n;
    if (answer_pending(x)) {
        /* what is left is the smaller part: a large answer goes in many pieces */
        if (x->out_sent <= MOVE_STREAM_BYTES || x->out_sent < answer_pending(x))
            return;
        buf_consume(&x->out, x->out_sent);
    } else if (x->out.cap > KEEP_STREAM_BYTES) {
        buf_free(&x->out);
    } else {
        buf_clear(&x->out);
    }
    x->out_sent = 0;
}

void stream_report_room(struct http_exchange *x)
{
    const struct http_handler *h = &x->server->handler;
    if (!x->out_high || answer_pending(x) > x->out_high / 2)
        return;
    x->out_high = answer_pending(x);
    if (h->on_drain && !x->ended) {
        x->server->worked = true;
        h->on_drain(h->ctx, x);
    }
}
