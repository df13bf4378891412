/* One request and its answer: its life, and what handlers ask of it. */
#include <stdlib.h>
#include <sys/socket.h>

#include "common/http/internal.h"

/* The target without scheme and authority (RFC 9112 3.2.2), cut at '?'. */
static void split_target(struct http_exchange *x)
{
    struct span rest = x->target;
    size_t scheme = span_starts(rest, "http://") ? 7 : span_starts(rest, "https://") ? 8 : 0;
    if (scheme) {
        rest = span_skip(rest, scheme);
        rest = span_skip(rest, span_find(rest, '/'));
    }
    size_t mark = span_find(rest, '?');
    x->path = span_first(rest, mark);
    x->query = mark < rest.len ? span_skip(rest, mark + 1) : SPAN_NONE;
    if (!x->path.len)
        x->path = SPAN("/");
}

struct http_exchange *exchange_create(struct http_server *s, struct http_conn *c, const char *uri)
{
    size_t len = strlen(uri);
    struct http_exchange *x = calloc(1, sizeof *x + len + 1);
    if (!x)
        return NULL;
    x->server = s;
    x->conn = c;
    x->method = "";
    x->address = c ? c->address : "";
    x->started_us = loop_now_us(s->loop);
    memcpy(x->uri, uri, len + 1);
    x->target = span_of(x->uri, len);
    split_target(x);
    buf_init(&x->fields, 64 << 10);
    buf_init(&x->out, 0);
    return x;
}

void exchange_drop_body(struct http_exchange *x)
{
    x->server->stats.body_bytes -= x->body_cap;
    free(x->body);
    x->body = NULL;
    x->body_len = x->body_cap = 0;
}

void exchange_end(struct http_exchange *x, bool sent)
{
    struct http_server *s = x->server;
    if (x->head_done)
        s->stats.exchanges--;
    if (x->owes_done) {
        s->worked = true;
        s->handler.on_done(s->handler.ctx, x, sent);
    }
    if (x->dirty)
        DL_DELETE2(s->dirty, x, dirty_prev, dirty_next);
    if (x->response)
        MHD_destroy_response(x->response);
    exchange_drop_body(x);
    buf_free(&x->fields);
    buf_free(&x->out);
    free(x);
}

void exchange_wake(struct http_exchange *x)
{
    if (!x->suspended)
        return;
    x->suspended = false;
    MHD_resume_connection(x->mhd);
    shard_mark(x->conn->shard);
}

void exchange_cut(struct http_exchange *x)
{
    x->state = X_CUT;
    if (!x->conn)
        return;
    (void)shutdown(x->conn->fd, SHUT_RDWR);
    exchange_wake(x);
}

void exchange_gone(struct http_exchange *x)
{
    const struct http_handler *h = &x->server->handler;
    bool working = x->state == X_WAITING || x->state == X_STREAM_HEAD || x->state == X_STREAM ||
                   x->state == X_STREAM_END;
    if (!working)
        return;
    x->state = X_CUT;
    if (h->on_gone && !x->gone_reported) {
        x->gone_reported = true;
        x->server->worked = true;
        h->on_gone(h->ctx, x);
    }
    exchange_cut(x);
}

bool exchange_is_open(const struct http_exchange *x)
{
    return x->state == X_READING || x->state == X_HANDLING || x->state == X_WAITING;
}

void exchange_suspend(struct http_exchange *x)
{
    x->suspended = true;
    MHD_suspend_connection(x->mhd);
    if (x->conn->gone)
        exchange_gone(x);
}

void http_abort(struct http_exchange *x)
{
    if (x->state != X_CUT)
        exchange_cut(x);
}

void http_reset(struct http_exchange *x)
{
    if (x->state == X_CUT || !x->conn)
        return;
    /* dissolving the association sends an RST at once, with no FIN before it */
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    (void)connect(x->conn->fd, &none, sizeof none);
    exchange_cut(x);
}

/* ---- what handlers ask ---- */

struct span http_method(const struct http_exchange *x)
{
    return span_str(x->method);
}

struct span http_path(const struct http_exchange *x)
{
    return x->path;
}

struct span http_query(const struct http_exchange *x)
{
    return x->query;
}

struct span http_header(const struct http_exchange *x, const char *name)
{
    const char *value = NULL;
    size_t len = 0;
    if (!x->fields_sound || MHD_lookup_connection_value_n(x->mhd, MHD_HEADER_KIND, name,
                                                          strlen(name), &value, &len) != MHD_YES)
        return SPAN_NONE;
    return span_of(value ? value : "", len);
}

struct each_field {
    void (*fn)(void *ctx, struct span name, struct span value);
    void *ctx;
};

static enum MHD_Result each_field(void *ctx, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    const struct each_field *each = ctx;
    (void)kind;
    each->fn(each->ctx, span_of(name, name_len), span_of(value ? value : "", value_len));
    return MHD_YES;
}

void http_each_header(const struct http_exchange *x,
                      void (*fn)(void *ctx, struct span name, struct span value), void *ctx)
{
    struct each_field each = {fn, ctx};
    if (x->fields_sound)
        (void)MHD_get_connection_values_n(x->mhd, MHD_HEADER_KIND, each_field, &each);
}

struct span http_body(const struct http_exchange *x)
{
    return span_of(x->body, x->body_len);
}

void http_body_release(struct http_exchange *x)
{
    exchange_drop_body(x);
}

const char *http_client_address(const struct http_exchange *x)
{
    return x->address;
}

uint64_t http_started_us(const struct http_exchange *x)
{
    return x->started_us;
}

void http_set_user(struct http_exchange *x, void *user)
{
    x->user = user;
}

void *http_user(const struct http_exchange *x)
{
    return x->user;
}
