/* Whole answers and the fields of any: made here, handed to libmicrohttpd when it calls. */
#include <stdlib.h>

#include "common/http/internal.h"

static bool is_servers_own(struct span name)
{
    return span_is_nocase(name, "content-length") || span_is_nocase(name, "connection") ||
           span_is_nocase(name, "date") || span_is_nocase(name, "transfer-encoding");
}

void http_add_header(struct http_exchange *x, const char *name, struct span value)
{
    struct span n = span_str(name);
    if (is_servers_own(n))
        return;
    if (!framing_is_token(n) || !framing_is_field_value(value) ||
        (value.len && memchr(value.data, '\t', value.len))) {
        x->server->stats.bad_headers++;
        return;
    }
    size_t before = x->fields.len;
    buf_append(&x->fields, n);
    buf_append_char(&x->fields, '\0');
    buf_append(&x->fields, value);
    buf_append_char(&x->fields, '\0');
    if (x->fields.failed) { /* half a field would shift all that follow */
        x->fields.len = before;
        x->fields.failed = false;
        x->server->stats.bad_headers++;
    }
}

static void add_fields(struct http_exchange *x)
{
    struct span rest = buf_span(&x->fields);
    while (rest.len) {
        struct span name = span_cut(&rest, '\0');
        struct span value = span_cut(&rest, '\0');
        /* both end in the NUL they were cut at */
        (void)MHD_add_response_header(x->response, name.data, value.data);
    }
}

void answer_take(struct http_exchange *x, struct MHD_Response *response, unsigned status,
                 enum x_state state)
{
    if (!response) {
        exchange_cut(x);
        return;
    }
    x->response = response;
    x->status = status;
    x->state = state;
    add_fields(x);
    exchange_wake(x);
}

void http_respond(struct http_exchange *x, unsigned status, struct span body)
{
    if (!exchange_is_open(x))
        return;
    if (x->raw_reply) {
        raw_respond(x, x->conn ? x->conn->fd : x->bare_fd, status, body);
        x->state = X_ANSWERED;
        return;
    }
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
    answer_take(x, response, status, X_ANSWERED);
}

enum MHD_Result answer_queue(struct http_exchange *x)
{
    struct MHD_Response *response = x->response;
    if (x->close_after || x->server->draining)
        (void)MHD_add_response_header(response, "Connection", "close");
    conn_phase(x->conn, CONN_SEND);
    x->queued = true;
    x->response = NULL;
    enum MHD_Result result = MHD_queue_response(x->mhd, x->status, response);
    MHD_destroy_response(response);
    return result;
}
