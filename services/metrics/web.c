#include "services/metrics/web.h"

static void respond(struct http_exchange *x, unsigned status, const char *content_type,
                    struct span body)
{
    http_add_header(x, "content-type", span_str(content_type));
    http_respond(x, status, body);
}

static void on_request(void *ctx, struct http_exchange *x)
{
    const struct aggregate *a = ctx;
    struct buf out = {0};
    if (!span_is(http_method(x), "GET") && !span_is(http_method(x), "HEAD")) {
        http_add_header(x, "allow", SPAN("GET, HEAD"));
        respond(x, 405, "text/plain", SPAN("Only GET here.\n"));
        return;
    }
    struct span what = span_skip(http_path(x), 1);
    if (span_is(what, "metrics") && aggregate_is_catching_up(a)) {
        http_add_header(x, "retry-after", SPAN("1"));
        respond(x, 503, "text/plain", SPAN("Counters are being gathered after a restart.\n"));
        return;
    }
    const char *type = aggregate_document(a, what, &out);
    if (!type)
        respond(x, 404, "text/plain", SPAN("Try /metrics, /status or /health.\n"));
    else if (buf_check(&out))
        respond(x, 503, "text/plain", SPAN("The document is too big.\n"));
    else
        respond(x, 200, type, buf_span(&out));
    buf_free(&out);
}

/* Nothing of ours hangs on an exchange. */
static void on_done(void *ctx, struct http_exchange *x, bool sent)
{
    (void)ctx;
    (void)x;
    (void)sent;
}

enum err web_create(struct http_server **out, struct loop *loop, const char *address, uint16_t port,
                    struct aggregate *a)
{
    struct http_config config = {
        .address = address,
        .port = port,
        .shards = 1,
        .max_connections = 256,
        .max_connections_per_address = 256,
        .max_header_bytes = 16384,
        .max_body_bytes = 4096,
        .max_body_memory_bytes = 1 << 20,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .idle_timeout_ms = 75000,
        .send_timeout_ms = 30000,
    };
    struct http_handler handler = {.ctx = a, .on_request = on_request, .on_done = on_done};
    return http_server_create(out, loop, &config, &handler);
}
