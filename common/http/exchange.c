/* One request and its answer: its life, and what handlers ask of it. */
#include <stdlib.h>
#include <sys/socket.h>

#include "common/http/internal.h"

/* Without scheme and authority (RFC 9112 3.2.2), cut at '?'. */
void exchange_set_target(struct http_exchange *x, struct span target)
{
    struct span rest = target;
    size_t scheme = span_starts(rest, "http://") ? 7 : span_starts(rest, "https://") ? 8 : 0;
    if (scheme) {
        rest = span_skip(rest, scheme);
        rest = span_skip(rest, span_find(rest, '/'));
    }
    size_t mark = span_find(rest, '?');
    x->target = target;
    x->path = mark ? span_first(rest, mark) : SPAN("/");
    x->query = mark < rest.len ? span_skip(rest, mark + 1) : SPAN_NONE;
}

struct http_exchange *exchange_create(struct http_server *s, struct http_conn *c,
                                      const struct exchange_way *way, struct span text)
{
    struct http_exchange *x = malloc(sizeof *x + text.len + 1);
    if (!x)
        return NULL;
    memset(x, 0, sizeof *x);
    x->server = s;
    x->conn = c;
    x->way = way;
    x->address = c ? c->address : "";
    x->started_us = loop_now_us(s->loop);
    if (text.len)
        memcpy(x->text, text.data, text.len);
    x->text[text.len] = '\0';
    x->path = SPAN("/");
    return x;
}

void exchange_drop_body(struct http_exchange *x)
{
    room_leave(x);
    free(x->body);
    x->body = NULL;
    x->body_len = x->body_cap = 0;
}

void exchange_end(struct http_exchange *x, bool sent)
{
    struct http_server *s = x->server;
    if (x->counted)
        s->stats.exchanges--;
    if (x->owes_done) {
        s->worked = true;
        s->handler.on_done(s->handler.ctx, x, sent);
    }
    if (x->dirty)
        DL_DELETE2(s->dirty, x, dirty_prev, dirty_next);
    if (x->library.response)
        MHD_destroy_response(x->library.response);
    exchange_drop_body(x);
    room_disown(x);
    buf_free(&x->fields);
    buf_free(&x->out);
    buf_free(&x->library.lines);
    free(x);
}

void exchange_cut(struct http_exchange *x)
{
    x->state = X_CUT;
    if (!x->conn)
        return;
    (void)shutdown(x->conn->fd, SHUT_RDWR);
    x->way->wake(x);
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

/* Who may send a body may send more of one that is refused, to read the answer then: as much as it
 * says, or twice what is allowed. */
void exchange_linger(struct http_exchange *x)
{
    uint64_t most = 2 * x->server->config.max_body_bytes;
    x->conn->linger = true;
    if (x->welcome && (!x->framing.has_length || x->framing.length <= most))
        x->conn->drop_bytes = most;
}

void exchange_stop_reading(struct http_exchange *x)
{
    exchange_drop_body(x);
    x->close_after = true;
    if (x->conn->shard)
        exchange_cut(x);
}

bool exchange_is_open(const struct http_exchange *x)
{
    return x->state == X_READING || x->state == X_HANDLING || x->state == X_WAITING;
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
    return x->method;
}

struct span http_path(const struct http_exchange *x)
{
    return x->path;
}

struct span http_query(const struct http_exchange *x)
{
    return x->query;
}

static bool next_field(struct span *lines, struct span *name, struct span *value)
{
    if (!lines->len)
        return false;
    struct span line = span_cut(lines, '\n');
    *name = span_cut(&line, ':');
    *value = span_trim(line);
    return true;
}

struct span http_header(const struct http_exchange *x, const char *name)
{
    struct span lines = x->lines, found, value;
    while (next_field(&lines, &found, &value)) {
        if (span_is_nocase(found, name))
            return value;
    }
    return SPAN_NONE;
}

void http_each_header(const struct http_exchange *x,
                      void (*fn)(void *ctx, struct span name, struct span value), void *ctx)
{
    struct span lines = x->lines, name, value;
    while (next_field(&lines, &name, &value))
        fn(ctx, name, value);
}

struct span http_body(const struct http_exchange *x)
{
    return span_of(x->body, x->body_len);
}

void http_hold(struct http_exchange *x)
{
    x->held = x->state == X_READING;
}

bool http_is_requested(const struct http_exchange *x)
{
    return x->requested;
}

void http_body_release(struct http_exchange *x)
{
    exchange_drop_body(x);
}

bool http_is_encoded(const struct http_exchange *x)
{
    return x->framing.encoded;
}

char *http_lend_body(struct http_exchange *x, size_t *bytes_out)
{
    char *body = x->body;
    *bytes_out = x->body_len;
    x->body = NULL;
    x->body_len = x->body_cap = 0;
    return body;
}

void http_return_body(struct http_exchange *x, char *body, size_t bytes)
{
    x->body = body;
    x->body_len = x->body_cap = bytes;
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
