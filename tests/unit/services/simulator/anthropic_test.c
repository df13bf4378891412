#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/services/simulator/test_sim.h"

#define MESSAGES "/anthropic/v1/messages"
#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"

static void a_message_is_answered(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, MESSAGES, "{\"model\":\"claude\",\"max_tokens\":100," HELLO "}"),
                     200);
    struct json v = json_of(&t);
    assert_true(json_is(at(v, "type"), "message"));
    assert_true(json_is(at(v, "stop_reason"), "end_turn"));
    assert_true(has(&t, "[simulated] hello (#"));
    assert_true(has(&t, "request-id: req_sim_"));
    uint64_t in = number_at(v, "usage.input_tokens");
    assert_int_equal(post(&t, MESSAGES "/count_tokens", "{\"model\":\"claude\"," HELLO "}"), 200);
    assert_int_equal(number_at(json_of(&t), "input_tokens"), in);
    test_sim_stop(&t);
}

static void a_stream_keeps_the_grammar(void **state)
{
    (void)state;
    static const char *const order[] = {"event: message_start\n", "\"type\":\"thinking\"",
                                        "thinking_delta",         "signature_delta",
                                        "content_block_stop",     "\"index\":1",
                                        "event: ping\n",          "text_delta",
                                        "content_block_stop",     "event: message_delta\n",
                                        "event: message_stop\n"};
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, MESSAGES,
                          "{\"model\":\"claude\",\"max_tokens\":5000,\"stream\":true,\"thinking\":{"
                          "\"type\":\"enabled\","
                          "\"budget_tokens\":1024}," HELLO "}"),
                     200);
    struct span rest = body_of(&t);
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        size_t found = span_find_span(rest, span_str(order[i]));
        if (found == rest.len)
            fail_msg("%s is missing or out of order", order[i]);
        rest = span_skip(rest, found + strlen(order[i]));
    }
    test_sim_stop(&t);
}

static void tools_are_called_and_their_results_answered_with_text(void **state)
{
    (void)state;
    static const char tools[] =
        "\"tools\":[{\"name\":\"add\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}}]";
    struct test_sim t;
    struct sim_options options = test_options();
    struct buf body = {0};
    test_sim_start(&t, &options);
    buf_printf(&body,
               "{\"model\":\"c\",\"max_tokens\":99,%s,\"messages\":[{\"role\":\"user\",\"content\":"
               "\"call:add\"}]}",
               tools);
    buf_append_char(&body, '\0');
    assert_int_equal(post(&t, MESSAGES, body.data), 200);
    struct json v = json_of(&t);
    assert_true(json_is(at(v, "stop_reason"), "tool_use"));
    assert_true(json_is(at(v, "content.0.name"), "add"));
    buf_clear(&body);
    buf_printf(
        &body,
        "{\"model\":\"c\",\"max_tokens\":99,%s,\"messages\":[{\"role\":\"user\",\"content\":\"call:"
        "add\"},{\"role\":"
        "\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"add\",\"input\":"
        "{}}]},{\"role\":\"user\","
        "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"3\"}]}]}",
        tools);
    buf_append_char(&body, '\0');
    assert_int_equal(post(&t, MESSAGES, body.data), 200);
    assert_true(json_is(at(json_of(&t), "content.0.type"), "text"));
    buf_free(&body);
    test_sim_stop(&t);
}

static void what_the_provider_refuses_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"c\"," HELLO "}",
        "{\"max_tokens\":1," HELLO "}",
        "{\"model\":\"c\",\"max_tokens\":1,\"messages\":[]}",
        "{\"model\":\"c\",\"max_tokens\":1,\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}",
        "{\"model\":\"c\",\"max_tokens\":1,\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"}"
        "]}",
        "{\"model\":\"c\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}",
        "{\"model\":\"c\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
        "\"text\",\"text\":\"\"}]}]}",
        "{\"model\":\"c\",\"max_tokens\":1,\"temperature\":1.5," HELLO "}",
        "{\"model\":\"c\",\"max_tokens\":1,\"stop\":\"x\"," HELLO "}",
        "{\"model\":\"c\",\"max_tokens\":1024,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":"
        "1024}," HELLO "}",
        "{\"model\":\"c\",\"max_tokens\":1,\"tools\":[{\"name\":\"x\"}]," HELLO "}",
        "{\"model\":\"c\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
        "\"tool_result\","
        "\"tool_use_id\":\"a\"}]}]}",
        "{\"model\":\"c\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{"
        "\"role\":\"assistant\",\"content\":[{"
        "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\","
        "\"content\":\"y\"}]}",
        "{\"model\":\"c\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{"
        "\"role\":\"assistant\",\"content\":[{"
        "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\","
        "\"content\":[{\"type\":\"text\",\"text\":"
        "\"y\"},{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]}]}",
    };
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        if (post(&t, MESSAGES, bodies[i]) != 400)
            fail_msg("not refused: %s", bodies[i]);
        assert_true(json_is(at(json_of(&t), "error.type"), "invalid_request_error"));
    }
    assert_int_equal(ask_sim(&t, "POST", MESSAGES, "anthropic-version: x\r\n", "{}"), 401);
    assert_int_equal(ask_sim(&t, "POST", MESSAGES, "x-api-key: k\r\n", "{}"), 400);
    assert_int_equal(post(&t, MESSAGES, "{\"model\":\"missing\",\"max_tokens\":1," HELLO "}"), 404);
    test_sim_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_answered),
        cmocka_unit_test(a_stream_keeps_the_grammar),
        cmocka_unit_test(tools_are_called_and_their_results_answered_with_text),
        cmocka_unit_test(what_the_provider_refuses_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
