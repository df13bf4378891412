/* Answers through libmicrohttpd: handed to it when it calls. */
#include <stdlib.h>

#include "common/http/internal.h"

enum { READER_BLOCK_BYTES = 1024 };

static void wake(struct http_exchange *x)
{
    if (!x->library.suspended)
        return;
    x->library.suspended = false;
    MHD_resume_connection(x->library.mhd);
    shard_mark(x->conn->shard);
}

/* The first call comes again: there an answer may be given still. */
static void read_body(struct http_exchange *x)
{
    wake(x);
}

void relay_suspend(struct http_exchange *x)
{
    x->library.suspended = true;
    MHD_suspend_connection(x->library.mhd);
    if (x->conn->gone)
        exchange_gone(x);
}

/* Cuts the fields up where they stand, as it wants strings. */
static void add_fields(struct http_exchange *x)
{
    char *at = x->fields.data, *end = at + x->fields.len;
    while (at < end) {
        char *colon = memchr(at, ':', (size_t)(end - at));
        char *line_end = memchr(at, '\r', (size_t)(end - at));
        *colon = *line_end = '\0';
        (void)MHD_add_response_header(x->library.response, at, colon + 2);
        at = line_end + 2;
    }
}

static void take(struct http_exchange *x, struct MHD_Response *response, unsigned status,
                 enum x_state state)
{
    if (!response) {
        exchange_cut(x);
        return;
    }
    x->library.response = response;
    x->status = status;
    x->state = state;
    if (x->fields.len)
        add_fields(x);
    wake(x);
}

static void respond(struct http_exchange *x, unsigned status, struct span body)
{
    char *copy = body.len ? malloc(body.len) : NULL;
    if (body.len && !copy) {
        exchange_cut(x);
        return;
    }
    if (copy)
        memcpy(copy, body.data, body.len);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.len, copy, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(copy);
    take(x, response, status, X_ANSWERED);
}

static ssize_t park(struct http_exchange *x)
{
    conn_phase(x->conn, CONN_WORK);
    relay_suspend(x);
    return 0;
}

/* libmicrohttpd asks for more: for the first time when the head is on the socket. */
static ssize_t read_stream(void *ctx, uint64_t at, char *to, size_t room)
{
    struct http_exchange *x = ctx;
    size_t n = answer_pending(x);
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
    /* with its last byte libmicrohttpd ends the exchange, which is the handler's to end */
    if (x->is_whole && !x->ended && n && at + n >= x->whole_bytes)
        n--;
    if (x->ended && !n) {
        x->state = X_STREAM_END;
        conn_phase(x->conn, CONN_SEND);
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (!n)
        return park(x);
    if (n > room)
        n = room;
    memcpy(to, x->out.data + x->out_sent, n);
    conn_phase(x->conn, CONN_SEND);
    stream_was_sent(x, n);
    exchange_mark(x);
    return (ssize_t)n;
}

static void stream_begin(struct http_exchange *x, unsigned status)
{
    take(x,
         MHD_create_response_from_callback(x->is_whole ? x->whole_bytes : MHD_SIZE_UNKNOWN,
                                           READER_BLOCK_BYTES, read_stream, x, NULL),
         status, X_STREAM_HEAD);
}

static void flush(struct http_exchange *x)
{
    if (x->state != X_STREAM)
        return;
    if (answer_pending(x) || x->ended)
        wake(x);
    stream_report_room(x);
}

enum MHD_Result relay_queue(struct http_exchange *x)
{
    struct MHD_Response *response = x->library.response;
    if (x->close_after || x->server->retiring)
        (void)MHD_add_response_header(response, "Connection", "close");
    conn_phase(x->conn, CONN_SEND);
    x->library.queued = true;
    x->library.response = NULL;
    enum MHD_Result result = MHD_queue_response(x->library.mhd, x->status, response);
    MHD_destroy_response(response);
    return result;
}

const struct exchange_way way_relay = {.respond = respond,
                                       .stream_begin = stream_begin,
                                       .wake = wake,
                                       .read_body = read_body,
                                       .flush = flush};
