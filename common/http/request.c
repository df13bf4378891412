/* What both ways in do with a request: what the server has against its head, its body's memory, the
 * handler's call. */
#include <stdlib.h>

#include "common/http/internal.h"

enum { FIRST_BODY_BYTES = 64 << 10 };

/* What the server itself has against the request; false when nothing. */
static bool refuse_head(struct http_exchange *x, bool too_big)
{
    const struct framing *f = &x->framing;
    if (f->fault) {
        x->close_after = true;
        x->server->stats.refused_framing++;
        refuse(x, 400, f->fault);
    } else if (too_big || f->fields > FRAMING_MAX_FIELDS) {
        x->close_after = true;
        refuse(x, 431, "The request headers are too large.");
    } else if (f->encoded && !x->server->config.takes_codings) {
        refuse(x, 415, "Encoded request bodies are not supported.");
    } else {
        return false;
    }
    return true;
}

/* The body is to be read. What says its length has room for all of it, or is refused at once; but a
 * small one takes room as it comes, so that to announce many costs nobody anything. */
static bool admit_body(struct http_exchange *x)
{
    const struct framing *f = &x->framing;
    bool too_large = f->has_length && f->length > x->server->config.max_body_bytes;
    x->welcome = x->owner != NULL;
    bool whole = f->length > HTTP_SMALL_BODY_BYTES && !too_large;
    const char *why = whole ? room_take(x, f->length) : NULL;
    if (too_large)
        refuse(x, 413, "The request body is too large.");
    else if (why)
        refuse(x, 503, why);
    return !too_large && !why;
}

static void on_slow(void *ctx)
{
    struct http_conn *c = ctx;
    struct http_exchange *x = c->x;
    const struct http_handler *h = &c->server->handler;
    if (!x || x->state != X_READING || x->held || x->slow || c->phase != CONN_BODY)
        return;
    x->slow = x->owes_done = true;
    c->server->worked = true;
    h->on_slow(h->ctx, x);
}

void request_await_body(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    const struct framing *f = &x->framing;
    conn_phase(c, CONN_BODY);
    if (c->server->handler.on_slow && f->has_length && f->length <= HTTP_SMALL_BODY_BYTES)
        loop_timer_start(c->server->loop, &c->slow_timer, HTTP_SLOW_BODY_MS, on_slow, c);
}

void request_take_head(struct http_exchange *x, bool too_big)
{
    const struct http_handler *h = &x->server->handler;
    x->counted = true;
    x->server->stats.exchanges++;
    x->close_after = !framing_lives_on(&x->framing) || x->server->retiring;
    if (!refuse_head(x, too_big) && h->on_head) {
        x->owes_done = true;
        x->server->worked = true;
        h->on_head(h->ctx, x);
    }
    if (x->state == X_READING && !x->held)
        (void)admit_body(x);
}

void http_read_body(struct http_exchange *x)
{
    if (!x->held)
        return;
    x->held = false;
    if (admit_body(x))
        x->way->read_body(x);
}

const char *request_grow_body(struct http_exchange *x, size_t n)
{
    size_t cap = x->body_cap ? x->body_cap * 2 : x->framing.has_length ? n : FIRST_BODY_BYTES;
    if (cap < n)
        cap = n;
    if (x->framing.has_length && cap > x->framing.length)
        cap = (size_t)x->framing.length;
    const char *why = room_take(x, cap);
    if (why)
        return why;
    char *grown = realloc(x->body, cap);
    if (!grown)
        return "The service is at capacity. Try again shortly.";
    x->body = grown;
    x->body_cap = cap;
    return NULL;
}

void request_call_handler(struct http_exchange *x)
{
    const struct http_handler *h = &x->server->handler;
    conn_phase(x->conn, CONN_WORK);
    loop_timer_stop(x->server->loop, &x->conn->slow_timer);
    x->state = X_HANDLING;
    x->requested = true;
    x->owes_done = true;
    x->server->worked = true;
    h->on_request(h->ctx, x);
    if (x->state == X_HANDLING)
        x->state = X_WAITING;
}
