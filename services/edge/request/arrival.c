#include "services/edge/request/arrival.h"

#include "services/edge/request/authorize.h"
#include "services/edge/http/fields.h"

static const char no_key[] =
    "You didn't provide an API key. Send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.";

struct arrival arrive(struct edge *e, struct http_exchange *x)
{
    struct arrival a = {.edge = e, .x = x};
    http_each_header(x, head_field, &a.head);
    a.match = route_match(http_method(x), http_path(x));
    a.api = a.match.route && a.match.route->kind == ROUTE_API
                ? a.match.route->api
                : route_protocol(http_path(x), a.head.has_anthropic_version);
    return a;
}

struct client arrival_client(const struct arrival *a)
{
    struct client c;
    struct request_id id = edge_new_id(a->edge);
    answer_init(&c, a->edge, a->x, a->api, &a->head, &id);
    return c;
}

static void count_refusal(const struct arrival *a, unsigned error_class)
{
    struct metric_client *m = a->edge->d->metrics;
    struct field_text text;
    struct span status = field_u64(&text, error_status(error_class, a->api));
    struct span class = span_str(error_info(error_class)->name);
    metric_add(m, METRIC_REQUESTS, METRIC_LABELS(SPAN_NONE, SPAN_NONE, status, SPAN_NONE), 1);
    metric_add(m, METRIC_ERRORS, METRIC_LABELS(SPAN_NONE, SPAN_NONE, class), 1);
}

void arrival_fail(const struct arrival *a, const struct api_error *failure)
{
    struct client c = arrival_client(a);
    count_refusal(a, failure->error_class);
    answer_error(&c, failure);
}

void arrival_refuse(const struct arrival *a, unsigned error_class, const char *message)
{
    struct api_error f = {.error_class = error_class, .message = span_str(message)};
    arrival_fail(a, &f);
}

const char *arrival_key(const struct arrival *a, struct span *key_out, unsigned *class_out)
{
    *class_out = ERROR_BAD_KEY;
    switch (head_key(&a->head, key_out)) {
    case KEY_FOUND:
        break;
    case KEY_MISSING:
        *class_out = ERROR_NO_KEY;
        return no_key;
    case KEY_AMBIGUOUS:
        return "Two different API keys were sent; send one.";
    case KEY_MALFORMED:
        return "The API key is malformed.";
    }
    return NULL;
}

struct edge_request *arrival_begin(const struct arrival *a)
{
    struct edge_request *r = request_begin(a->edge, a->x, a->match.route, a->api, &a->head);
    if (!r)
        arrival_refuse(a, ERROR_INTERNAL,
                       "The server had an error while processing your request. Try again shortly.");
    else
        r->rest = a->match.rest;
    return r;
}

void arrival_ask(struct edge_request *r, struct span key, request_fn then)
{
    crypto_sha256(key, r->key);
    r->on_authorized = then;
    authorize_ask(r);
}

/* A key is needed and known to be there; nothing else. */
void arrival_ask_plainly(const struct arrival *a, request_fn then)
{
    struct span key;
    unsigned error_class;
    const char *why = arrival_key(a, &key, &error_class);
    if (why) {
        arrival_refuse(a, error_class, why);
        return;
    }
    struct edge_request *r = arrival_begin(a);
    if (r)
        arrival_ask(r, key, then);
}
