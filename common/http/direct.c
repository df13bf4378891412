/* Answers by ourselves: made here, sent to the socket at the end of the turn. */
#include <errno.h>
#include <sys/socket.h>

#include "common/http/internal.h"

enum { HEAD_BYTES = 256, MAX_ANSWER_BYTES = 1 << 30 };

/* Before the head is written: does the connection live on behind this answer? Of a body that was
 * not read yet a little is read and dropped for that. */
static void begin(struct http_exchange *x, unsigned status)
{
    x->status = status;
    x->close_after |= x->server->retiring;
    if (x->body_left && (x->body_left > HTTP_SWALLOW_BYTES || x->awaits_continue))
        x->close_after = true;
    if (x->body_left && x->close_after) {
        x->body_left = 0;
        exchange_linger(x);
    }
    x->drop_output = x->is_head || !answer_has_body(status);
}

void direct_respond(struct http_exchange *x, unsigned status, struct span body)
{
    begin(x, status);
    x->out.max = MAX_ANSWER_BYTES;
    (void)buf_reserve(&x->out, HEAD_BYTES + x->fields.len + body.len);
    answer_head(x, status, (int64_t)body.len, &x->out);
    if (!x->drop_output)
        buf_append(&x->out, body);
    if (x->out.failed) {
        exchange_cut(x);
        return;
    }
    x->state = X_ANSWERED;
    x->ended = true;
    exchange_mark(x);
}

void direct_stream_begin(struct http_exchange *x, unsigned status)
{
    bool chunked = x->framing.http11 && answer_has_body(status);
    /* without either the end of the connection is the stream's */
    x->close_after |= !x->framing.http11 && !x->is_whole;
    begin(x, status);
    x->chunk_frames = chunked && !x->drop_output && !x->is_whole;
    answer_head(x, status,
                x->is_whole ? (int64_t)x->whole_bytes
                : chunked   ? HTTP_BODY_CHUNKED
                            : HTTP_BODY_TO_CLOSE,
                &x->out);
    buf_free(&x->fields);
    x->state = X_STREAM;
    exchange_mark(x);
}

void direct_continue(struct http_exchange *x)
{
    x->awaits_continue = false;
    buf_append(&x->out, SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
    exchange_mark(x);
}

bool direct_send(struct http_exchange *x)
{
    while (answer_pending(x)) {
        ssize_t n = send(x->conn->fd, x->out.data + x->out_sent, answer_pending(x),
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        stream_was_sent(x, (size_t)n);
    }
    return true;
}
