#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/services/simulator/test_sim.h"

#define CREATE "/replicate/v1/models/meta/llama/predictions"
#define KEY "Authorization: Bearer r8_x\r\n"

static void waiting_gives_the_whole_prediction(void **state)
{
    (void)state;
    static const char *const paths[] = {CREATE, "/replicate/v1/predictions",
                                        "/replicate/v1/deployments/me/mine/predictions"};
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    for (size_t i = 0; i < 3; i++) {
        const char *body = i == 1 ? "{\"version\":\"a/b:0123\",\"input\":{\"prompt\":\"hello\"}}"
                                  : "{\"input\":{\"prompt\":\"hello\"}}";
        assert_int_equal(ask_sim(&t, "POST", paths[i], KEY "Prefer: wait=5\r\n", body), 201);
        struct json v = json_of(&t);
        assert_true(json_is(at(v, "status"), "succeeded"));
        assert_true(json_is(at(v, "output.0"), "[simulated] h"));
        assert_true(has(&t, "Preference-Applied: wait"));
        assert_int_equal(number_at(v, "metrics.input_token_count"), 2);
    }
    test_sim_stop(&t);
}

static void path_of(struct test_sim *t, const char *kind, const char *tail, char out[128])
{
    struct json id = at(json_of(t), "id");
    assert_true(snprintf(out, 128, "/replicate/v1/%s/%.*s%s", kind, SPAN_ARG(json_text(id)), tail) <
                128);
}

static void a_prediction_goes_through_its_states_by_time(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    char path[128];
    test_sim_start(&t, &options);
    assert_int_equal(
        post(&t, CREATE, "{\"input\":{\"prompt\":\"hello [[sim ttft=1000 pace=1000 chunks=4]]\"}}"),
        201);
    path_of(&t, "predictions", "", path);
    assert_true(json_is(at(json_root(&t.doc), "status"), "starting"));
    clock_fake_advance_ms(&t.clock, 3000);
    assert_int_equal(get(&t, path), 200);
    assert_true(json_is(at(json_of(&t), "status"), "processing"));
    assert_true(json_count(at(json_root(&t.doc), "output")) > 0);
    clock_fake_advance_ms(&t.clock, 3000);
    assert_int_equal(get(&t, path), 200);
    assert_true(json_is(at(json_of(&t), "status"), "succeeded"));
    assert_int_equal(json_count(at(json_root(&t.doc), "output")), 4);
    assert_int_equal(get(&t, path), 200);
    assert_int_equal(get(&t, "/_sim/stats"), 200);
    /* its usage counts once, however often it is shown */
    assert_int_equal(number_at(json_of(&t), "by_route.replicate_get.output_tokens"), 10);
    test_sim_stop(&t);
}

static void a_prediction_can_be_canceled(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    char path[128], cancel[128];
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, CREATE, "{\"input\":{\"prompt\":\"[[sim ttft=60000]]\"}}"), 201);
    path_of(&t, "predictions", "", path);
    path_of(&t, "predictions", "/cancel", cancel);
    assert_int_equal(post(&t, cancel, ""), 200);
    assert_int_equal(get(&t, path), 200);
    assert_true(json_is(at(json_of(&t), "status"), "canceled"));
    test_sim_stop(&t);
}

static void a_stream_url_sends_the_text_as_events(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    char path[128];
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, CREATE, "{\"input\":{\"prompt\":\"one\\ntwo [[sim chunks=1]]\"}}"),
                     201);
    assert_true(has(&t, "\"stream\":\"http://sim/replicate/v1/stream/"));
    path_of(&t, "stream", "", path);
    assert_int_equal(get(&t, path), 200);
    assert_true(span_starts(
        body_of(&t), "event: output\nid: 1690212292000:0\ndata: [simulated] one\ndata: two (#"));
    assert_true(span_ends(body_of(&t), "event: done\nid: 1690212292000:1\ndata: {}\n\n"));
    assert_int_equal(post(&t, CREATE, "{\"input\":{\"prompt\":\"x [[sim error=1]]\"}}"), 201);
    path_of(&t, "stream", "", path);
    assert_int_equal(get(&t, path), 200);
    assert_int_equal(times_in_body(&t, "event: output"), 1);
    assert_int_equal(times_in_body(&t, "{\"reason\":\"error\"}"), 1);
    test_sim_stop(&t);
}

static void models_show_their_schema(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(get(&t, "/replicate/v1/models/meta/llama-2-70b"), 200);
    struct json input =
        at(json_of(&t), "latest_version.openapi_schema.components.schemas.Input.properties");
    assert_int_equal(json_type(json_get(input, "max_new_tokens")), JSON_OBJECT);
    assert_int_equal(get(&t, "/replicate/v1/models/me/plain-string"), 200);
    struct json schemas = at(json_of(&t), "latest_version.openapi_schema.components.schemas");
    assert_int_equal(json_count(at(schemas, "Input.properties")), 1);
    assert_true(json_is(at(schemas, "Output.type"), "string"));
    assert_int_equal(get(&t, "/replicate/v1/models/me/missing"), 404);
    test_sim_stop(&t);
}

static void what_the_provider_refuses_is_refused(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, CREATE, "{\"input\":{}}"), 422);
    assert_int_equal(json_type(at(json_of(&t), "detail")), JSON_STRING);
    assert_int_equal(post(&t, CREATE, "{\"input\":{\"prompt\":\"x\"},\"model\":\"m\"}"), 422);
    assert_int_equal(post(&t, "/replicate/v1/predictions", "{\"input\":{\"prompt\":\"x\"}}"), 422);
    assert_int_equal(post(&t, "/replicate/v1/models/meta/llama-2/predictions",
                          "{\"input\":{\"prompt\":\"x\",\"temperature\":0}}"),
                     422);
    assert_int_equal(ask_sim(&t, "POST", CREATE, "", "{}"), 401);
    assert_int_equal(get(&t, "/replicate/v1/predictions/none"), 404);
    assert_int_equal(post(&t, CREATE, "{\"input\":{\"prompt\":\"[[sim status=429]]\"}}"), 429);
    test_sim_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiting_gives_the_whole_prediction),
        cmocka_unit_test(a_prediction_goes_through_its_states_by_time),
        cmocka_unit_test(a_prediction_can_be_canceled),
        cmocka_unit_test(a_stream_url_sends_the_text_as_events),
        cmocka_unit_test(models_show_their_schema),
        cmocka_unit_test(what_the_provider_refuses_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
