/* Refusals by the server itself: the handler writes their bodies. */
#include "common/http/internal.h"

void refuse(struct http_exchange *x, unsigned status, const char *reason)
{
    const struct http_handler *h = &x->server->handler;
    struct http_refusal refusal = {status, reason};
    if (h->on_refuse) {
        x->owes_done = true;
        x->server->worked = true;
        h->on_refuse(h->ctx, x, &refusal);
    }
    if (x->state < X_ANSWERED) {
        buf_clear(&x->fields);
        http_add_header(x, "Content-Type", SPAN("text/plain"));
        http_respond(x, status, span_str(reason));
    }
}

void refuse_raw(struct http_exchange *x, unsigned status, const char *reason)
{
    struct http_server *s = x->server;
    if (x->conn && s->tls_cert) { /* the bytes would have to go through its TLS session */
        x->state = X_CUT;
        return;
    }
    x->way = &way_raw;
    refuse(x, status, reason);
    x->state = X_CUT;
    if (x->conn)
        x->conn->linger = true;
}
