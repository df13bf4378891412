#include "proto/api_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void bodies_have_the_protocols_shape(void **state)
{
    (void)state;
    struct api_error r = {
        .error_class = ERROR_MODEL_NOT_FOUND, .message = SPAN("no \"x\""), .param = SPAN("model")};
    struct buf out = {0};
    api_error_write_body(&out, API_OPENAI_CHAT, &r, SPAN("req_1"));
    assert_true(
        span_is(buf_span(&out),
                "{\"error\":{\"message\":\"no \\\"x\\\"\",\"type\":\"invalid_request_error\","
                "\"param\":\"model\",\"code\":\"model_not_found\"}}"));
    buf_clear(&out);
    api_error_write_body(&out, API_ANTHROPIC_MESSAGES, &r, SPAN("req_1"));
    assert_true(span_is(buf_span(&out),
                        "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\","
                        "\"message\":\"no \\\"x\\\"\"},\"request_id\":\"req_1\"}"));
    buf_clear(&out);
    r.code = SPAN("upstreams_own");
    r.param = SPAN_NONE;
    api_error_write_event(&out, API_OPENAI_CHAT, &r, SPAN("req_1"), 3);
    assert_true(
        span_is(buf_span(&out),
                "data: {\"error\":{\"message\":\"no \\\"x\\\"\",\"type\":\"invalid_request_error\","
                "\"param\":null,\"code\":\"upstreams_own\"}}\n\n"));
    buf_clear(&out);
    api_error_write_event(&out, API_ANTHROPIC_MESSAGES, &r, SPAN("req_1"), 3);
    assert_true(span_starts(buf_span(&out), "event: error\ndata: {\"type\":\"error\""));
    buf_clear(&out);
    api_error_write_event(&out, API_OPENAI_RESPONSES, &r, SPAN("req_1"), 3);
    assert_true(span_is(buf_span(&out),
                        "event: error\ndata: {\"type\":\"error\",\"code\":\"upstreams_own\","
                        "\"message\":\"no \\\"x\\\"\",\"param\":null,\"sequence_number\":3}\n\n"));
    buf_free(&out);
}

static const struct api_error whole = {
    .error_class = ERROR_UPSTREAM_RATE_LIMITED,
    .message = {"slow down", 9},
    .code = {"upstreams_own", 13},
    .param = {"model", 5},
    .upstream_status = 429,
    .retry_after_ms = 1500,
    .details_json = {"{}", 2},
    .final = true,
};

static void assert_whole(const struct api_error *e)
{
    assert_int_equal(e->error_class, whole.error_class);
    assert_true(span_equals(e->message, whole.message));
    assert_true(span_equals(e->code, whole.code));
    assert_true(span_equals(e->param, whole.param));
    assert_int_equal(e->upstream_status, whole.upstream_status);
    assert_int_equal(e->retry_after_ms, whole.retry_after_ms);
    assert_true(span_equals(e->details_json, whole.details_json));
    assert_true(e->final);
}

static void an_error_survives_its_message(void **state)
{
    (void)state;
    struct fail m = {.endpoint = 3};
    api_error_to_fail(&whole, &m);
    struct api_error back = api_error_of_fail(&m);
    assert_whole(&back);
    assert_int_equal(m.endpoint, 3);
    struct deny deny = {.error_class = ERROR_BAD_KEY, .code = SPAN("c"), .retry_after_ms = 7};
    back = api_error_of_deny(&deny);
    assert_int_equal(back.error_class, ERROR_BAD_KEY);
    assert_int_equal(back.retry_after_ms, 7);
    assert_true(span_is(back.code, "c"));
}

static void a_copy_lives_in_the_arena_and_is_bounded(void **state)
{
    (void)state;
    struct arena arena;
    static const char text[2000];
    arena_init(&arena, 0);
    struct api_error copy = api_error_copy(&whole, &arena);
    assert_whole(&copy);
    assert_ptr_not_equal(copy.message.data, whole.message.data);
    copy = api_error_copy(&(struct api_error){.message = span_of(text, sizeof text)}, &arena);
    assert_int_equal(copy.message.len, 1024);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_have_the_protocols_shape),
        cmocka_unit_test(an_error_survives_its_message),
        cmocka_unit_test(a_copy_lives_in_the_arena_and_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
