/* A request coming in: libmicrohttpd's parsing checked, the body gathered within its bounds, the
 * handler called. */
#include <stdlib.h>
#include <sys/socket.h>

#include "common/http/internal.h"

enum { FIRST_BODY_BYTES = 64 << 10 };

/* ---- the head ---- */

struct field_walk {
    struct http_exchange *x;
    const char *end; /* behind the last value */
};

static enum MHD_Result walk_field(void *ctx, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    struct field_walk *w = ctx;
    struct framing *f = &w->x->framing;
    (void)kind;
    framing_field(f, span_of(name, name_len), span_of(value ? value : "", value_len));
#if MHD_VERSION < 0x00097600
    /* This libmicrohttpd ends a value at a NUL and glues folded lines on elsewhere in memory. Where
     * all is well the next name stands right behind this value's line end: CR LF, or LF alone, both
     * overwritten with NULs. */
    if (w->end && (name <= w->end || name - w->end > 2) && !f->fault)
        f->fault = "NUL or folded line in a field";
    w->end = value ? value + value_len : NULL;
#endif
    return MHD_YES;
}

static size_t head_size(const struct http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

static bool head_is_too_big(const struct http_exchange *x)
{
    return head_size(x) > x->server->config.max_header_bytes;
}

/* The same libmicrohttpd takes a line that begins with ':' for the end of the head, and what
 * follows for the body or the next request. So no more than two line ends may stand between the
 * last value and the end of the head. */
static void check_head_end(struct http_exchange *x, const struct field_walk *w)
{
#if MHD_VERSION < 0x00097600
    const char *end = x->method + head_size(x);
    if (w->end && (w->end > end || end - w->end > 4) && !x->framing.fault)
        x->framing.fault = "field name is not a token";
#else
    (void)x;
    (void)w;
#endif
}

/* What the server itself has against the request; false when nothing. */
static bool refuse_head(struct http_exchange *x)
{
    const struct http_config *config = &x->server->config;
    const struct framing *f = &x->framing;
    if (f->fault) {
        x->close_after = true;
        x->server->stats.refused_framing++;
        refuse(x, 400, f->fault);
    } else if (head_is_too_big(x)) {
        x->close_after = true;
        refuse(x, 431, "The request headers are too large.");
    } else if (f->encoded) {
        refuse(x, 415, "Encoded request bodies are not supported.");
    } else if (f->has_length && f->length > config->max_body_bytes) {
        refuse(x, 413, "The request body is too large.");
    } else if (x->server->stats.body_bytes + f->length > config->max_body_memory_bytes) {
        refuse(x, 503, "The service is at capacity. Try again shortly.");
    } else {
        return false;
    }
    return true;
}

static enum MHD_Result take_head(struct http_exchange *x, const char *method, const char *version)
{
    const struct http_handler *h = &x->server->handler;
    struct framing *f = &x->framing;
    x->head_done = true;
    x->server->stats.exchanges++;
    x->method = method;
    x->conn->parsed_bytes += head_size(x);
    x->conn->request_line = (char *)(uintptr_t)method;
    framing_begin(f, span_str(method), x->target, span_str(version));
    struct field_walk walk = {.x = x};
    (void)MHD_get_connection_values_n(x->mhd, MHD_HEADER_KIND, walk_field, &walk);
    check_head_end(x, &walk);
    framing_end(f);
    x->fields_sound = true;
    /* HTTP/1.1 6.1: a connection that carried chunks is not trusted with another request */
    x->close_after = f->chunked || x->server->draining;
    x->chunk_frames = f->http11;
    if (!refuse_head(x) && h->on_head) {
        x->owes_done = true;
        h->on_head(h->ctx, x);
    }
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
        x->conn->linger = true;
        return answer_queue(x);
    }
    if (has_body)
        conn_phase(x->conn, CONN_BODY);
    return MHD_YES;
}

/* ---- the body ---- */

/* Room for `need` bytes in all, within the server's memory for bodies. */
static bool grow_body(struct http_exchange *x, size_t need)
{
    struct http_server *s = x->server;
    size_t cap = x->body_cap ? x->body_cap * 2 : FIRST_BODY_BYTES;
    if (cap < need)
        cap = need;
    if (x->framing.has_length && cap > x->framing.length)
        cap = (size_t)x->framing.length;
    if (s->stats.body_bytes - x->body_cap + cap > s->config.max_body_memory_bytes)
        return false;
    char *grown = realloc(x->body, cap);
    if (!grown)
        return false;
    s->stats.body_bytes += cap - x->body_cap;
    x->body = grown;
    x->body_cap = cap;
    return true;
}

/* MHD_NO from here would close the connection and forget to clean it up (0.9.75). So the socket is
 * shut down, for writing first: what the client still sends is read and dropped for a while, as it
 * would reset our answer away. */
static void refuse_body(struct http_exchange *x, unsigned status, const char *reason)
{
    exchange_drop_body(x);
    refuse_raw(x, status, reason);
    (void)shutdown(x->conn->fd, x->server->tls_cert ? SHUT_RDWR : SHUT_WR);
    conn_phase(x->conn, CONN_LINGER);
}

static void swallow(struct http_exchange *x, size_t n)
{
    x->swallowed += n;
    if (x->swallowed > HTTP_SWALLOW_BYTES)
        (void)shutdown(x->conn->fd, SHUT_RDWR);
}

static enum MHD_Result take_body(struct http_exchange *x, const char *data, size_t *size)
{
    size_t n = *size;
    *size = 0;
    x->conn->parsed_bytes += n;
    if (x->state != X_READING) {
        swallow(x, n); /* answered, or refused, already */
    } else if (x->body_len + n > x->server->config.max_body_bytes) {
        refuse_body(x, 413, "The request body is too large.");
    } else if (x->body_len + n > x->body_cap && !grow_body(x, x->body_len + n)) {
        refuse_body(x, 503, "The service is at capacity. Try again shortly.");
    } else {
        memcpy(x->body + x->body_len, data, n);
        x->body_len += n;
    }
    return MHD_YES;
}

/* ---- the whole request ---- */

static void call_handler(struct http_exchange *x)
{
    const struct http_handler *h = &x->server->handler;
    conn_phase(x->conn, CONN_WORK);
    x->state = X_HANDLING;
    x->owes_done = true;
    x->server->worked = true;
    h->on_request(h->ctx, x);
    if (x->state == X_HANDLING)
        x->state = X_WAITING;
}

static enum MHD_Result take_end(struct http_exchange *x)
{
    if (x->state == X_READING)
        call_handler(x);
    if (x->state == X_CUT)
        return MHD_NO;
    if (x->response && !x->queued)
        return answer_queue(x);
    if (x->raw_stream)
        stream_mark(x);
    exchange_suspend(x);
    return MHD_YES;
}

enum MHD_Result request_access(struct http_exchange *x, const char *method, const char *version,
                               const char *data, size_t *size)
{
    if (!x->head_done)
        return take_head(x, method, version);
    if (*size)
        return take_body(x, data, size);
    return take_end(x);
}
