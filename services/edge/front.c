#include "services/edge/front.h"

#include <stdlib.h>

#include "services/edge/admission.h"
#include "services/edge/body.h"
#include "services/edge/relay.h"
#include "services/edge/status.h"

/* Bodies up to this size are read before a refusal: that keeps the connection, and costs less than
 * it. */
enum { SMALL_BODY_BYTES = 65536, QUERY_MAX_BYTES = 2048 };

static const char no_key[] =
    "You didn't provide an API key. Send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.";

/* What on_head and on_request both begin with. */
struct arrival {
    struct edge *edge;
    struct http_exchange *x;
    struct request_head head;
    struct route_match match;
    enum api api;
};

static struct arrival arrive(struct edge *e, struct http_exchange *x)
{
    struct arrival a = {.edge = e, .x = x};
    http_each_header(x, head_field, &a.head);
    a.match = route_match(http_method(x), http_path(x));
    a.api = a.match.route && a.match.route->kind == ROUTE_CALL
                ? a.match.route->api
                : route_protocol(http_path(x), a.head.has_anthropic_version);
    return a;
}

static struct client client_of(const struct arrival *a)
{
    struct client c;
    struct request_id id = request_id_new();
    answer_init(&c, a->edge, a->x, a->api, &a->head, &id);
    return c;
}

/* A refusal before there is a request to count. */
static void refuse(const struct arrival *a, const struct failure *f)
{
    struct client c = client_of(a);
    struct metric_client *m = a->edge->d->metrics;
    metric_add(m, METRIC_ERRORS,
               METRIC_LABELS(SPAN_NONE, SPAN_NONE, span_str(error_info(f->error_class)->name)), 1);
    answer_error(&c, f);
}

static void refuse_class(const struct arrival *a, unsigned error_class, const char *message)
{
    struct failure f = {.error_class = error_class, .message = span_str(message)};
    refuse(a, &f);
}

/* ---- checks before the body ---- */

static const char *find_key(const struct arrival *a, struct span *key_out, unsigned *class_out)
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

static void refuse_method(const struct arrival *a)
{
    char allow[ROUTE_METHODS_TEXT];
    size_t n = route_methods_text(a->match.methods, allow);
    http_add_header(a->x, "allow", span_of(allow, n));
    refuse_class(a, ERROR_METHOD_NOT_ALLOWED, "This method is not allowed for this path.");
}

static bool query_is_sane(struct span query)
{
    for (size_t i = 0; i < query.len; i++)
        if (query.data[i] <= 0x20 || query.data[i] == 0x7f)
            return false;
    return query.len <= QUERY_MAX_BYTES;
}

/* true when the head alone decides against the request, which is then answered. */
static bool refused_by_head(const struct arrival *a)
{
    struct span key;
    unsigned error_class;
    const char *why;
    if (a->match.found == ROUTE_NO_PATH) {
        refuse_class(a, ERROR_NOT_FOUND, "There is nothing at this path.");
    } else if (a->match.found == ROUTE_NO_METHOD) {
        refuse_method(a);
    } else if (a->match.found == ROUTE_OPTIONS || a->match.route->open) {
        return false;
    } else if (a->edge->d->draining) {
        refuse_class(a, ERROR_UNAVAILABLE, "This gateway is stopping; try again.");
    } else if ((why = find_key(a, &key, &error_class))) {
        refuse_class(a, error_class, why);
    } else if (a->match.route->has_body && !head_is_identity(&a->head)) {
        refuse_class(a, ERROR_UNSUPPORTED_ENCODING, "Encoded request bodies are not supported.");
    } else if (!query_is_sane(http_query(a->x))) {
        refuse_class(a, ERROR_BAD_REQUEST, "The query string is malformed or too long.");
    } else {
        return false;
    }
    return true;
}

static void on_head(void *ctx, struct http_exchange *x)
{
    uint64_t bytes = 0;
    struct span length = http_header(x, "content-length");
    bool small = length.len ? span_to_u64(length, &bytes) && bytes <= SMALL_BODY_BYTES
                            : !http_header(x, "transfer-encoding").len;
    if (small)
        return;
    struct arrival a = arrive(ctx, x);
    (void)refused_by_head(&a);
}

/* ---- requests ---- */

static struct client_request *begin(const struct arrival *a)
{
    struct client_request *r = request_begin(a->edge, a->x, a->match.route, a->api, &a->head);
    if (!r)
        refuse_class(a, ERROR_INTERNAL, "The gateway is out of memory.");
    else
        r->rest = a->match.rest;
    return r;
}

static void ask(struct client_request *r, struct span key, request_fn then)
{
    crypto_sha256(key, r->key);
    r->on_admitted = then;
    admission_ask(r);
}

/* A key is needed and known to be there; nothing else. */
static void ask_plainly(const struct arrival *a, request_fn then)
{
    struct span key;
    unsigned error_class;
    const char *why = find_key(a, &key, &error_class);
    if (why) {
        refuse_class(a, error_class, why);
        return;
    }
    struct client_request *r = begin(a);
    if (r)
        ask(r, key, then);
}

static struct span client_address(const struct arrival *a)
{
    struct span forwarded = head_forwarded_address(&a->head);
    if (edge_options(a->edge)->edge_trust_forwarded_for && forwarded.len)
        return forwarded;
    return span_str(http_client_address(a->x));
}

/* What is for operators: from an allowed address at once, else with a key. */
static void serve_operators(const struct arrival *a, request_fn then)
{
    struct span key;
    if (edge_allows_address(a->edge, client_address(a))) {
        struct client_request *r = begin(a);
        if (r)
            then(r);
    } else if (a->match.route->kind == ROUTE_HEALTH && head_key(&a->head, &key) == KEY_MISSING) {
        struct client c = client_of(a);
        status_health_plain(&c);
    } else {
        ask_plainly(a, then);
    }
}

/* The cap a model's `defaults` would put into the body. */
static uint64_t default_cap(const struct config_model *model)
{
    for (size_t i = 0; i < model->default_count; i++) {
        uint64_t cap;
        const char *name = model->defaults[i].name;
        bool is_cap = strcmp(name, "max_tokens") == 0 ||
                      strcmp(name, "max_completion_tokens") == 0 ||
                      strcmp(name, "max_output_tokens") == 0;
        if (is_cap && span_to_u64(span_str(model->defaults[i].json), &cap))
            return cap;
    }
    return 0;
}

static bool generates(enum api api)
{
    return api != API_OPENAI_EMBEDDINGS && api != API_ANTHROPIC_COUNT_TOKENS;
}

/* Model, caps and deadline; false when there is no such model. */
static bool apply_model(struct client_request *r, const struct body *b)
{
    const struct config *config = r->edge->d->config;
    const struct config_model *model = config_find_model(config, r->model);
    if (!model)
        return false;
    uint64_t cap = b->has_cap ? b->output_cap : default_cap(model);
    uint64_t all;
    if (__builtin_mul_overflow(cap, b->choices, &all) || all > INT64_MAX)
        all = INT64_MAX;
    r->asked_model = r->model;
    r->input_tokens = b->input_tokens;
    r->output_tokens = generates(r->to.api) ? all : 0;
    if (model->deadline_ms > 0)
        r->deadline_ms = edge_now_ms(r->edge) + model->deadline_ms;
    return true;
}

/* A client that says how long it waits is not worked for any longer; streams keep it waiting with
 * keep-alives. */
static void apply_patience(struct client_request *r, const struct request_head *h)
{
    uint64_t patience_ms = head_patience_ms(h);
    uint64_t until = edge_now_ms(r->edge) + patience_ms;
    if (patience_ms > 0 && !r->stream && until < r->deadline_ms)
        r->deadline_ms = until;
}

static void refuse_body(struct client_request *r, const struct body_fault *fault)
{
    struct failure f = {
        .error_class = fault->error_class,
        .message = span_str(fault->message),
        .param = span_str(fault->param),
    };
    request_fail(r, &f, NULL);
}

static void start_body_call(const struct arrival *a, struct client_request *r, struct span key)
{
    struct body body;
    struct body_fault fault;
    struct edge *e = r->edge;
    if (body_check(r->to.api, http_body(r->to.x), &e->doc, &r->arena, &body, &fault) != OK) {
        refuse_body(r, &fault);
        return;
    }
    if (!body.model.len)
        body.model = span_str(e->d->config->default_model);
    if (!body.model.len) {
        fault = (struct body_fault){ERROR_INVALID_VALUE, "You must provide a model.", "model"};
        refuse_body(r, &fault);
        return;
    }
    r->stream = body.stream;
    r->model = arena_copy(&r->arena, body.model); /* the body goes before the answer comes */
    r->passed_lines = head_passed_lines(&a->head, &r->arena);
    bool known = r->model.data && apply_model(r, &body);
    apply_patience(r, &a->head);
    ask(r, key, known ? relay_start : relay_unknown_model);
}

static bool asks_for_stream(struct span query)
{
    while (query.len > 0)
        if (span_is(span_cut(&query, '&'), "stream=true"))
            return true;
    return false;
}

static void start_call(const struct arrival *a)
{
    struct span key;
    unsigned error_class;
    if (find_key(a, &key, &error_class))
        return; /* refused_by_head has answered */
    struct client_request *r = begin(a);
    if (!r)
        return;
    if (a->match.route->has_body) {
        start_body_call(a, r, key);
    } else if (!route_id_is_sane(r->rest)) {
        request_fail_class(r, ERROR_NOT_FOUND, "There is no response with this id.");
    } else {
        r->stream = asks_for_stream(r->query);
        apply_patience(r, &a->head);
        ask(r, key, relay_start);
    }
}

static void serve(const struct arrival *a)
{
    struct client c;
    switch (a->match.route->kind) {
    case ROUTE_CALL:
        start_call(a);
        break;
    case ROUTE_MODELS:
        ask_plainly(a, status_models);
        break;
    case ROUTE_MODEL:
        ask_plainly(a, status_model);
        break;
    case ROUTE_HEALTH:
        serve_operators(a, status_health);
        break;
    case ROUTE_METRICS:
        serve_operators(a, status_metrics);
        break;
    case ROUTE_LIVENESS:
        c = client_of(a);
        status_liveness(&c);
        break;
    case ROUTE_READINESS:
        c = client_of(a);
        status_readiness(&c);
        break;
    case ROUTE_KINDS:
        break;
    }
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct arrival a = arrive(ctx, x);
    if (refused_by_head(&a))
        return;
    if (a.match.found == ROUTE_OPTIONS) {
        struct client c = client_of(&a);
        answer_options(&c, a.match.methods, &a.head);
        return;
    }
    serve(&a);
}

/* ---- what the server refuses, and departures ---- */

static unsigned class_of_refusal(unsigned status)
{
    static const struct {
        unsigned status, error_class;
    } classes[] = {{408, ERROR_REQUEST_TIMEOUT},
                   {413, ERROR_REQUEST_TOO_LARGE},
                   {415, ERROR_UNSUPPORTED_ENCODING},
                   {431, ERROR_HEADERS_TOO_LARGE},
                   {503, ERROR_OVERLOADED},
                   {405, ERROR_METHOD_NOT_ALLOWED},
                   {500, ERROR_INTERNAL}};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (classes[i].status == status)
            return classes[i].error_class;
    return ERROR_BAD_REQUEST;
}

static void on_refuse(void *ctx, struct http_exchange *x, const struct http_refusal *refusal)
{
    struct arrival a = {.edge = ctx, .x = x};
    http_each_header(x, head_field, &a.head);
    a.api = route_protocol(http_path(x), a.head.has_anthropic_version);
    refuse_class(&a, class_of_refusal(refusal->status), refusal->reason);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct client_request *r = http_user(x);
    (void)ctx;
    if (r)
        request_gone(r);
}

static void on_drain(void *ctx, struct http_exchange *x)
{
    struct client_request *r = http_user(x);
    (void)ctx;
    if (r)
        relay_on_drain(r);
}

/* With a request still there, the answer was cut without on_gone. */
static void on_done(void *ctx, struct http_exchange *x, bool sent)
{
    (void)sent;
    on_gone(ctx, x);
}

const struct http_handler front_handler = {
    .on_request = on_request,
    .on_head = on_head,
    .on_refuse = on_refuse,
    .on_gone = on_gone,
    .on_drain = on_drain,
    .on_done = on_done,
};
