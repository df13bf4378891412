/* What both ways in do with a request: what the server has against its head, its body's memory, the
 * handler's call. */
#include <stdlib.h>

#include "common/http/internal.h"

enum { FIRST_BODY_BYTES = 64 << 10 };

/* What the server itself has against the request; false when nothing. */
static bool refuse_head(struct http_exchange *x, bool too_big)
{
    const struct http_config *config = &x->server->config;
    const struct framing *f = &x->framing;
    if (f->fault) {
        x->close_after = true;
        x->server->stats.refused_framing++;
        refuse(x, 400, f->fault);
    } else if (too_big || f->fields > FRAMING_MAX_FIELDS) {
        x->close_after = true;
        refuse(x, 431, "The request headers are too large.");
    } else if (f->encoded) {
        refuse(x, 415, "Encoded request bodies are not supported.");
    } else if (f->has_length && f->length > config->max_body_bytes) {
        refuse(x, 413, "The request body is too large.");
    } else {
        return false;
    }
    return true;
}

/* The body is to be read. What says its length has room for all of it, or is refused at once. */
static bool admit_body(struct http_exchange *x)
{
    const char *why = x->framing.length ? room_take(x, x->framing.length) : NULL;
    if (why)
        refuse(x, 503, why);
    return !why;
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
    size_t cap = x->body_cap ? x->body_cap * 2 : FIRST_BODY_BYTES;
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
    x->state = X_HANDLING;
    x->owes_done = true;
    x->server->worked = true;
    h->on_request(h->ctx, x);
    if (x->state == X_HANDLING)
        x->state = X_WAITING;
}
