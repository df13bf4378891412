/* A request coming in through libmicrohttpd: what it made of the head is put before the judge, the
 * body gathered within its bounds. */
#include <sys/socket.h>

#include "common/http/internal.h"

/* ---- the head ---- */

struct field_walk {
    struct http_exchange *x;
    const char *end; /* behind what came last: the version, then each value */
};

static void fault(struct http_exchange *x, const char *why)
{
    if (!x->framing.fault)
        x->framing.fault = why;
}

/* Where all is well `to` stands right behind the blank or line end that follows `from`. This
 * libmicrohttpd skips more blanks than one, ends a value at a NUL, glues folded lines on elsewhere
 * in memory, takes a line feed alone for a line end, and a line that begins with ':' for the end of
 * the head. */
static bool is_gap(const char *from, const char *to, long bytes)
{
#if MHD_VERSION < 0x00097600
    return to > from && to - from == bytes;
#else
    (void)from;
    (void)to;
    (void)bytes;
    return true;
#endif
}

static enum MHD_Result walk_field(void *ctx, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    struct field_walk *w = ctx;
    struct buf *lines = &w->x->library.lines;
    (void)kind;
    framing_field(&w->x->framing, span_of(name, name_len), span_of(value ? value : "", value_len));
    if (!is_gap(w->end, name, 2))
        fault(w->x, "NUL, bare line feed or folded line in the head");
    w->end = value ? value + value_len : name + name_len + 1;
    if (!w->x->framing.fault) {
        buf_append(lines, span_of(name, name_len));
        buf_append_char(lines, ':');
        buf_append(lines, span_of(value, value ? value_len : 0));
        buf_append(lines, SPAN("\r\n"));
    }
    return MHD_YES;
}

static size_t head_size(const struct http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->library.mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

static void frame_head(struct http_exchange *x, const char *method, const char *version)
{
    struct field_walk walk = {.x = x, .end = version + strlen(version)};
    x->method = span_str(method);
    framing_begin(&x->framing, x->method, x->target, span_str(version));
    if (!is_gap(method + x->method.len, x->library.target, 1))
        fault(x, "malformed request line");
    (void)MHD_get_connection_values_n(x->library.mhd, MHD_HEADER_KIND, walk_field, &walk);
    if (!is_gap(walk.end, method + head_size(x), 4))
        fault(x, "malformed end of the head");
    framing_end(&x->framing);
    x->lines = buf_span(&x->library.lines);
}

/* The server's and the handler's word on the head is there. */
static enum MHD_Result go_on_behind_head(struct http_exchange *x)
{
    const struct framing *f = &x->framing;
    if (x->state == X_CUT)
        return MHD_NO;
    bool has_body = f->chunked || f->length > 0;
    if (x->state == X_ANSWERED) {
        /* A small body that is on its way is read and dropped, so that the connection lives on. */
        bool swallow =
            !f->fault && (!has_body || (f->has_length && f->length <= HTTP_SWALLOW_BYTES &&
                                        !f->expects_continue && !x->close_after));
        if (swallow)
            return MHD_YES;
        x->close_after = true;
        exchange_linger(x);
        return relay_queue(x);
    }
    if (has_body)
        request_await_body(x);
    return MHD_YES;
}

static enum MHD_Result take_head(struct http_exchange *x, const char *method, const char *version)
{
    frame_head(x, method, version);
    request_take_head(x, head_size(x) > x->server->config.max_header_bytes);
    if (!x->held)
        return go_on_behind_head(x);
    x->library.head_again = true;
    conn_phase(x->conn, CONN_WORK);
    relay_suspend(x);
    return MHD_YES;
}

/* ---- the body ---- */

/* MHD_NO from here would close the connection and forget to clean it up (0.9.75). So the socket is
 * shut down, for writing first: what the client still sends is read and dropped for a while, as it
 * would reset our answer away. */
static void refuse_body(struct http_exchange *x, unsigned status, const char *reason)
{
    exchange_drop_body(x);
    exchange_linger(x);
    refuse_raw(x, status, reason);
    (void)shutdown(x->conn->fd, x->server->tls_cert ? SHUT_RDWR : SHUT_WR);
    conn_phase(x->conn, CONN_LINGER);
}

static void swallow(struct http_exchange *x, size_t n)
{
    uint64_t most = x->conn->drop_bytes;
    x->library.swallowed += n;
    if (x->library.swallowed > (most ? most : HTTP_SWALLOW_BYTES))
        (void)shutdown(x->conn->fd, SHUT_RDWR);
}

static enum MHD_Result take_body(struct http_exchange *x, const char *data, size_t *size)
{
    size_t n = *size;
    const char *why = NULL;
    *size = 0;
    conn_body_came(x->conn, n);
    x->server->turn_bytes += n;
    if (x->state != X_READING) {
        swallow(x, n); /* answered, or refused, already */
    } else if (x->body_len + n > x->server->config.max_body_bytes) {
        refuse_body(x, 413, "The request body is too large.");
    } else if (x->body_len + n > x->body_cap &&
               (why = request_grow_body(x, x->body_len + n)) != NULL) {
        refuse_body(x, 503, why);
    } else {
        memcpy(x->body + x->body_len, data, n);
        x->body_len += n;
    }
    return MHD_YES;
}

/* ---- the whole request ---- */

static enum MHD_Result take_end(struct http_exchange *x)
{
    if (x->state == X_READING)
        request_call_handler(x);
    if (x->state == X_CUT)
        return MHD_NO;
    if (x->library.response && !x->library.queued)
        return relay_queue(x);
    relay_suspend(x);
    return MHD_YES;
}

enum MHD_Result library_access(struct http_exchange *x, const char *method, const char *version,
                               const char *data, size_t *size)
{
    if (!x->counted)
        return take_head(x, method, version);
    if (x->library.head_again) {
        x->library.head_again = false;
        return go_on_behind_head(x);
    }
    if (*size)
        return take_body(x, data, size);
    return take_end(x);
}
