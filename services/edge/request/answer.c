#include "services/edge/request/answer.h"

#include "services/edge/http/cors.h"
#include "services/edge/http/fields.h"
#include "services/edge/http/routes.h"

enum { RETRY_AFTER_DEFAULT_MS = 1000 };

/* What a browser's script may read of an answer. */
static const char exposed[] =
    "x-request-id, request-id, x-should-retry, retry-after, retry-after-ms, x-tollgate-model, "
    "x-tollgate-provider, "
    "x-tollgate-cost, x-tollgate-attempts, x-tollgate-overhead-ms, x-tollgate-dropped, "
    "x-ratelimit-limit-requests, "
    "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    "x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens";

void answer_init(struct client *c, struct edge *e, struct http_exchange *x, enum api api,
                 const struct request_head *h, const struct request_id *id)
{
    c->edge = e;
    c->x = x;
    c->api = api;
    c->client_id = head_client_id(h);
    c->origin = h->origin;
    c->scripts_may_read = !route_is_for_operators(http_path(x));
    request_id_text(id, c->id);
}

static struct span id_span(const struct client *c)
{
    return span_of(c->id, REQUEST_ID_TEXT - 1);
}

static void add_cors(const struct client *c)
{
    const struct config_list *origins = &edge_options(c->edge)->edge_cors_origins;
    if (!c->scripts_may_read)
        return;
    struct cors_answer cors = cors_answer(origins->items, origins->count, c->origin);
    if (cors.varies)
        http_add_header(c->x, "vary", SPAN("origin"));
    if (!cors.allow_origin.len)
        return;
    http_add_header(c->x, "access-control-allow-origin", cors.allow_origin);
    if (cors.listed && edge_options(c->edge)->edge_cors_credentials)
        http_add_header(c->x, "access-control-allow-credentials", SPAN("true"));
    if (c->origin.len)
        http_add_header(c->x, "access-control-expose-headers",
                        span_of(exposed, sizeof exposed - 1));
}

void answer_fields(const struct client *c)
{
    http_add_header(c->x, "x-request-id", c->client_id.len ? c->client_id : id_span(c));
    http_add_header(c->x, "request-id", id_span(c));
    add_cors(c);
}

static void add_limit(const struct client *c, const char *const names[3], uint64_t limit,
                      uint64_t remaining, uint64_t reset_ms)
{
    struct field_text text;
    if (limit == 0)
        return;
    http_add_header(c->x, names[0], field_u64(&text, limit));
    http_add_header(c->x, names[1], field_u64(&text, remaining));
    http_add_header(c->x, names[2], field_duration(&text, reset_ms));
}

void answer_limits(const struct client *c, const struct limit_headers *l)
{
    static const char *const requests[3] = {"x-ratelimit-limit-requests",
                                            "x-ratelimit-remaining-requests",
                                            "x-ratelimit-reset-requests"};
    static const char *const tokens[3] = {
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"};
    add_limit(c, requests, l->limit_requests, l->remaining_requests, l->reset_requests_ms);
    add_limit(c, tokens, l->limit_tokens, l->remaining_tokens, l->reset_tokens_ms);
}

void answer_body(const struct client *c, unsigned status, struct span type, struct span body)
{
    answer_fields(c);
    http_add_header(c->x, "content-type", type);
    http_respond(c->x, status, body);
}

void answer_json(const struct client *c, unsigned status, struct span body)
{
    answer_body(c, status, SPAN("application/json"), body);
}

/* 429 and "overloaded" say when to come back; a budget that is used up does not. */
static uint64_t retry_after_ms(const struct api_error *f, unsigned status)
{
    if (f->retry_after_ms > 0)
        return f->retry_after_ms;
    bool waits = status == 429 || status == 503 || status == 529;
    return waits && !f->final && error_should_retry(f->error_class) ? RETRY_AFTER_DEFAULT_MS : 0;
}

void answer_error(const struct client *c, const struct api_error *f)
{
    struct field_text text;
    unsigned status = error_status(f->error_class, c->api);
    uint64_t wait_ms = retry_after_ms(f, status);
    if (wait_ms > 0) {
        http_add_header(c->x, "retry-after", field_seconds_up(&text, wait_ms));
        http_add_header(c->x, "retry-after-ms", field_u64(&text, wait_ms));
    }
    bool again = error_should_retry(f->error_class) && !f->final;
    http_add_header(c->x, "x-should-retry", again ? SPAN("true") : SPAN("false"));
    struct buf *out = &c->edge->scratch;
    buf_clear(out);
    api_error_write_body(out, c->api, f, id_span(c));
    answer_json(c, status, buf_span(out));
}

void answer_error_event(const struct client *c, const struct api_error *f, uint64_t sequence,
                        struct buf *out)
{
    api_error_write_event(out, c->api, f, id_span(c), sequence);
}

void answer_options(const struct client *c, unsigned methods, const struct request_head *h)
{
    char allow[ROUTE_METHODS_TEXT];
    size_t n = route_methods_text(methods, allow);
    answer_fields(c);
    http_add_header(c->x, "allow", span_of(allow, n));
    if (c->origin.len && c->scripts_may_read) {
        http_add_header(c->x, "access-control-allow-methods", span_of(allow, n));
        if (cors_headers_are_sane(h->access_headers))
            http_add_header(c->x, "access-control-allow-headers", h->access_headers);
        http_add_header(c->x, "access-control-max-age", SPAN("86400"));
    }
    http_respond(c->x, 204, SPAN_NONE);
}
