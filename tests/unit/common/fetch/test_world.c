#include "unit/common/fetch/test_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/error_class.h"

bool world_by_libcurl;

static const struct fetch_handler handler;

struct fetch_spec world_post(struct world *w, struct heard *h, const char *body)
{
    struct fetch_spec s = {.origin = w->origin,
                           .method = "POST",
                           .path = SPAN("/chat/completions"),
                           .headers = SPAN("x-extra: 1\n"),
                           .body = span_str(body),
                           .first_byte_ms = 1000,
                           .idle_ms = 500,
                           .handler = &handler,
                           .ctx = h};
    return s;
}

void world_start(struct world *w, struct heard *h, struct fetch_spec spec)
{
    spec.ctx = h;
    assert_int_equal(fetch_start(w->up, &spec, &h->request), OK);
}

static void on_head(void *ctx, unsigned status, const struct upstream_headers *headers)
{
    struct heard *h = ctx;
    h->heads++;
    h->status = status;
    struct span type = headers->get(headers->ctx, "Content-Type");
    (void)snprintf(h->type, sizeof h->type, "%.*s", SPAN_ARG(type));
    if (h->cancel_in_head)
        fetch_cancel(&h->request);
}

static void on_bytes(void *ctx, struct span bytes)
{
    struct heard *h = ctx;
    buf_append(&h->body, bytes);
    if (h->cancel_in_bytes)
        fetch_cancel(&h->request);
    if (h->pause_in_bytes) {
        fetch_pause(h->request);
        fetch_resume(h->request);
    }
}

static void on_end(void *ctx)
{
    struct heard *h = ctx;
    h->ends++;
    h->request = NULL;
    if (h->start_another) {
        struct world *w = h->start_another;
        world_start(w, &w->second, world_post(w, &w->second, "{}"));
    }
}

static void on_failure(void *ctx, const struct fetch_ending *ending)
{
    struct heard *h = ctx;
    h->failures++;
    h->error_class = ending->error_class;
    h->message = ending->message;
    h->reason = ending->reason;
    h->sent = ending->sent;
    h->request = NULL;
}

static const struct fetch_handler handler = {on_head, on_bytes, on_end, on_failure};

void world_until_over(struct world *w, const struct heard *h)
{
    for (int i = 0; i < TEST_PATIENCE && h->ends + h->failures == 0; i++)
        test_turn(&w->server);
    assert_int_equal(h->ends + h->failures, 1);
}

void world_until_body(struct world *w, const struct heard *h, size_t bytes)
{
    for (int i = 0; i < TEST_PATIENCE && h->body.len < bytes; i++)
        test_turn(&w->server);
    assert_int_equal(h->body.len, bytes);
}

void world_assert_failed(const struct heard *h, unsigned error_class, bool sent)
{
    assert_int_equal(h->failures, 1);
    assert_string_equal(error_info(h->error_class)->name, error_info(error_class)->name);
    assert_int_equal(h->sent, sent);
    assert_true(h->message.len > 0);
}

struct fetch_origin *world_make_origin(const struct world *w, const char *base,
                                       bool private_network)
{
    struct span defaults[] = {SPAN("x-version: 7"), SPAN("x-extra: default")};
    struct fetch_origin_spec spec = {.base_url = span_str(base),
                                     .key_header = w->key,
                                     .default_headers = defaults,
                                     .default_header_count = 2,
                                     .private_network = private_network};
    struct fetch_origin *o = NULL;
    assert_int_equal(fetch_origin_create(&spec, &o), OK);
    return o;
}

int world_set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    clock_fake_init(&w->clock, 1000000, 1700000000000);
    assert_int_equal(loop_create(&w->loop, &w->clock.clock), OK);
    /* libcurl measures the time to connect by its own clock: no test lets it pass */
    struct fetch_options options = {4, 64, 60000, WORLD_MAX_RESPONSE};
    assert_int_equal(fetch_create(&w->up, w->loop, &options), OK);
    assert_int_equal(secret_create(SPAN("Authorization: Bearer "), SPAN("sk-test"), &w->key), OK);
    test_server_open(&w->server, w->loop);
    char base[64];
    (void)snprintf(base, sizeof base, "http://127.0.0.1:%u%s/v1/", w->server.port,
                   world_by_libcurl ? "/." : "");
    w->origin = world_make_origin(w, base, true);
    *state = w;
    return 0;
}

int world_tear_down(void **state)
{
    struct world *w = *state;
    fetch_destroy(&w->up);
    fetch_origin_destroy(&w->origin);
    secret_destroy(&w->key);
    loop_destroy(&w->loop);
    test_server_close(&w->server);
    buf_free(&w->heard.body);
    buf_free(&w->second.body);
    free(w);
    return 0;
}

int world_warm_up(struct world *w)
{
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{\"warm\":1}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{\"warm\":1}");
    test_answer(fd, TEST_OK_JSON);
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.ends, 1);
    buf_free(&seen);
    return fd;
}
