#include "services/edge/handlers.h"

#include <stdio.h>

#include "common/base/log.h"
#include "services/edge/request/key_check.h"
#include "services/edge/request/start.h"
#include "services/edge/request/relay.h"
#include "services/edge/status/status.h"

/* Bodies up to this size are read before a refusal: that keeps the connection, and costs less than
 * it. */
enum { QUERY_MAX_BYTES = 2048 };
/* Of a URL that is refused, this much is repeated to the client. */
enum { METHOD_SHOWN_BYTES = 32, PATH_SHOWN_BYTES = 256, URL_MESSAGE_BYTES = 512 };

/* ---- checks before the body ---- */

/* "BEFORE POST BETWEEN /v1/path AFTER" */
static void refuse_url(const struct arrival *a, unsigned error_class, const char *const words[3])
{
    char text[URL_MESSAGE_BYTES];
    struct span method = span_first(http_method(a->x), METHOD_SHOWN_BYTES);
    struct span path = span_first(http_path(a->x), PATH_SHOWN_BYTES);
    (void)snprintf(text, sizeof text, "%s%.*s%s%.*s%s", words[0], SPAN_ARG(method), words[1],
                   SPAN_ARG(path), words[2]);
    arrival_refuse(a, error_class, text);
}

static void refuse_path(const struct arrival *a)
{
    static const char *const words[3] = {"Unknown request URL: ", " ",
                                         ". Please check the URL for typos."};
    refuse_url(a, ERROR_NOT_FOUND, words);
}

static void refuse_method(const struct arrival *a)
{
    static const char *const words[3] = {"Not allowed to ", " on ",
                                         ". Perhaps you meant to use a different HTTP method?"};
    char allow[ROUTE_METHODS_TEXT];
    size_t n = route_methods_text(a->match.methods, allow);
    http_add_header(a->x, "allow", span_of(allow, n));
    refuse_url(a, ERROR_METHOD_NOT_ALLOWED, words);
}

static void refuse_coding(const struct arrival *a)
{
    char text[URL_MESSAGE_BYTES];
    (void)snprintf(
        text, sizeof text,
        "Request bodies with Content-Encoding '%.*s' are not supported. Send them as they "
        "are, or with one of: %s.",
        SPAN_ARG(span_first(a->head.content_encoding, METHOD_SHOWN_BYTES)), coding_names);
    http_add_header(a->x, "accept-encoding", span_str(coding_names));
    arrival_refuse(a, ERROR_UNSUPPORTED_ENCODING, text);
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
        refuse_path(a);
    } else if (a->match.found == ROUTE_NO_METHOD) {
        refuse_method(a);
    } else if (a->match.found == ROUTE_OPTIONS || a->match.route->open) {
        return false;
    } else if ((why = arrival_key(a, &key, &error_class))) {
        arrival_refuse(a, error_class, why);
    } else if (a->match.route->body && head_coding(&a->head) == CODING_UNKNOWN) {
        refuse_coding(a);
    } else if (!query_is_sane(http_query(a->x))) {
        arrival_refuse(a, ERROR_BAD_REQUEST, "The query string is malformed or too long.");
    } else {
        return false;
    }
    return true;
}

static void on_head(void *ctx, struct http_exchange *x)
{
    uint64_t bytes = 0;
    struct span length = http_header(x, "content-length");
    bool small = length.len ? span_to_u64(length, &bytes) && bytes <= HTTP_SMALL_BODY_BYTES
                            : !http_header(x, "transfer-encoding").len;
    if (small && !http_is_encoded(x)) /* a few coded bytes may stand for many */
        return;
    struct arrival a = arrive(ctx, x);
    struct span key;
    if (refused_by_head(&a) || (small && (!a.match.route || !a.match.route->body)))
        return;
    if (!a.match.route || !a.match.route->body || head_key(&a.head, &key) != KEY_FOUND)
        arrival_refuse(&a, ERROR_REQUEST_TOO_LARGE, "This URL takes no request body.");
    else
        key_check_begin(&a, key, true);
}

/* A small body costs no question of its own, unless it holds its place for long. */
static void on_slow(void *ctx, struct http_exchange *x)
{
    struct arrival a = arrive(ctx, x);
    struct span key;
    if (!refused_by_head(&a) && head_key(&a.head, &key) == KEY_FOUND)
        key_check_begin(&a, key, false);
}

/* ---- requests ---- */

/* Somebody's proxy, whose word is not taken: either an option is missing, or he is a stranger. Once
 * is enough. */
static void warn_of_forwarded(const struct arrival *a)
{
    struct edge *e = a->edge;
    if (e->forwarded_warned || !a->head.forwarded_for.len ||
        edge_options(e)->edge_trust_forwarded_for)
        return;
    e->forwarded_warned = true;
    log_warn("forwarded_for_ignored", LSTR("client", http_client_address(a->x)),
             LSTR("why", "edge.trust_forwarded_for is off; turn it on behind your own proxy only"));
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
        struct edge_request *r = arrival_begin(a);
        if (r)
            then(r);
    } else if (a->match.route->kind == ROUTE_HEALTH && head_key(&a->head, &key) == KEY_MISSING) {
        struct client c = arrival_client(a);
        status_health_plain(&c);
    } else {
        arrival_ask_plainly(a, then);
    }
}

static void serve(const struct arrival *a)
{
    struct client c;
    switch (a->match.route->kind) {
    case ROUTE_API:
        request_start(a);
        break;
    case ROUTE_MODELS:
        arrival_ask_plainly(a, status_models);
        break;
    case ROUTE_MODEL:
        arrival_ask_plainly(a, status_model);
        break;
    case ROUTE_HEALTH:
        serve_operators(a, status_health);
        break;
    case ROUTE_METRICS:
        serve_operators(a, status_metrics);
        break;
    case ROUTE_LIVENESS:
        c = arrival_client(a);
        status_liveness(&c);
        break;
    case ROUTE_READINESS:
        c = arrival_client(a);
        status_readiness(&c);
        break;
    case ROUTE_KINDS:
        break;
    }
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct arrival a = arrive(ctx, x);
    if (http_user(x)) /* its body was slow, and came before auth's word */
        key_check_leave(ctx, x);
    warn_of_forwarded(&a);
    if (refused_by_head(&a))
        return;
    if (a.match.found == ROUTE_OPTIONS) {
        struct client c = arrival_client(&a);
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
    arrival_refuse(&a, class_of_refusal(refusal->status), refusal->reason);
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct edge_request *r = http_user(x);
    if (r && http_is_requested(x))
        request_gone(r);
    else if (r)
        key_check_leave(ctx, x);
}

static void on_drain(void *ctx, struct http_exchange *x)
{
    struct edge_request *r = http_user(x);
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

const struct http_handler edge_handler = {
    .on_request = on_request,
    .on_head = on_head,
    .on_slow = on_slow,
    .on_refuse = on_refuse,
    .on_gone = on_gone,
    .on_drain = on_drain,
    .on_done = on_done,
};
