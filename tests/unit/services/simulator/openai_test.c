#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/services/simulator/test_sim.h"

#define CHAT "/openai/v1/chat/completions"

static void chat_echoes_the_question_and_counts_it(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, CHAT,
                          "{\"model\":\"gpt-4\",\"messages\":[{\"role\":\"user\",\"content\":"
                          "\"caf\\u00e9 \\\"x\\\"\"}]}"),
                     200);
    assert_true(has(&t, "X-Simulated: true"));
    struct json v = json_of(&t);
    assert_true(json_is(at(v, "object"), "chat.completion"));
    assert_true(json_is(at(v, "system_fingerprint"), "simulated"));
    assert_true(has(&t, "[simulated] caf\xc3\xa9 \\\"x\\\" (#"));
    assert_true(json_is(at(v, "choices.0.finish_reason"), "stop"));
    uint64_t in = number_at(v, "usage.prompt_tokens"),
             out = number_at(v, "usage.completion_tokens");
    assert_int_equal(number_at(v, "usage.total_tokens"), in + out);
    assert_int_equal(get(&t, "/_sim/stats"), 200);
    v = json_of(&t);
    assert_int_equal(number_at(v, "requests"), 1);
    assert_int_equal(number_at(v, "input_tokens"), in);
    assert_int_equal(number_at(v, "by_model.gpt-4.output_tokens"), out);
    assert_int_equal(number_at(v, "by_route.openai_chat.completed"), 1);
    test_sim_stop(&t);
}

static void a_stream_says_the_same_in_pieces(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, CHAT,
                          "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":"
                          "true},\"messages\":[{\"role\":"
                          "\"user\",\"content\":\"hello [[sim chunks=5]]\"}]}"),
                     200);
    assert_int_equal(times_in_body(&t, "\"delta\":{\"content\":"), 5);
    assert_int_equal(times_in_body(&t, "\"role\":\"assistant\""), 1);
    assert_int_equal(times_in_body(&t, "\"usage\":null"), 7);
    assert_int_equal(times_in_body(&t, "\"choices\":[],\"usage\":{"), 1);
    assert_true(span_ends(body_of(&t), "data: [DONE]\n\n"));
    assert_int_equal(post(&t, CHAT,
                          "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                          "\"content\":\"hello\"}]}"),
                     200);
    assert_int_equal(times_in_body(&t, "usage"), 0);
    test_sim_stop(&t);
}

static void tools_are_called_when_named(void **state)
{
    (void)state;
    static const char tools[] = "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"add\","
                                "\"parameters\":{\"type\":\"object\","
                                "\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":7},\"b\":{"
                                "\"enum\":[\"x\",\"y\"]}}}}},"
                                "{\"type\":\"function\",\"function\":{\"name\":\"sub\"}}]";
    static const struct {
        const char *more, *text;
        const char *want;
        unsigned calls;
    } cases[] = {
        {"", "call:add args:{\\\"a\\\":12345678901234567890}", "{\\\"a\\\":12345678901234567890}",
         1},
        {"", "call:add", "{\\\"a\\\":7,\\\"b\\\":\\\"x\\\"}", 1},
        {"", "call:add call:sub", "\"name\":\"sub\",\"arguments\":\"{}\"", 2},
        {",\"parallel_tool_calls\":false", "call:add call:sub", "\"name\":\"add\"", 1},
        {",\"tool_choice\":\"required\"", "anything", "\"name\":\"add\"", 1},
        {",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"sub\"}}", "anything",
         "\"name\":\"sub\"", 1},
        {",\"tool_choice\":\"none\"", "call:add", "[simulated]", 0},
        {"", "call:unknown", "[simulated]", 0},
    };
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf body = {0};
        buf_printf(&body,
                   "{\"model\":\"m\",%s%s,\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
                   tools, cases[i].more, cases[i].text);
        buf_append_char(&body, '\0');
        assert_int_equal(post(&t, CHAT, body.data), 200);
        buf_free(&body);
        if (!has(&t, cases[i].want))
            fail_msg("case %zu: %.*s", i, SPAN_ARG(buf_span(&t.got)));
        assert_int_equal(json_count(at(json_of(&t), "choices.0.message.tool_calls")),
                         cases[i].calls);
        assert_true(json_is(at(json_root(&t.doc), "choices.0.finish_reason"),
                            cases[i].calls ? "tool_calls" : "stop"));
    }
    test_sim_stop(&t);
}

static void limits_stops_and_formats_shape_the_answer(void **state)
{
    (void)state;
    static const struct {
        const char *more, *text, *want;
    } cases[] = {
        {",\"max_tokens\":2", "long enough", "\"content\":\"[simulat\""},
        {",\"max_tokens\":2", "long enough", "\"finish_reason\":\"length\""},
        {",\"stop\":\"two\"", "one two three", "\"content\":\"[simulated] one \""},
        {",\"stop\":[\"zzz\",\"one\"]", "one two", "\"content\":\"[simulated] \""},
        {",\"response_format\":{\"type\":\"json_object\"}", "x",
         "{\\\"simulated\\\":true,\\\"echo\\\":\\\"x\\\"}"},
        {",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
         "\"schema\":{\"type\":\"object\",\"properties\":{"
         "\"l\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
         "d\"}},\"n\":{\"type\":\"number\"}},\"$defs\":{\"d\":{\"type\":"
         "\"boolean\"}}}}}",
         "x", "{\\\"l\\\":[true],\\\"n\\\":1.5}"},
        {"", "json:{\\\"price\\\": 5.50}", "{\\\"price\\\": 5.50}"},
        {",\"n\":2", "x", "\"index\":1"},
        {"", "x [[sim finish=content_filter]]", "\"finish_reason\":\"content_filter\""},
        {"", "x [[sim finish=refusal]]", "\"content\":null,\"refusal\":\"[simulated] x"},
        {"", "x [[sim cached=1]]", "\"cached_tokens\":1"},
        {"", "x [[sim reasoning]]", "\"reasoning_content\":\"Simulated"},
        {"", "x [[sim tokens=50]]", "\"completion_tokens\":50"},
    };
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf body = {0};
        buf_printf(&body,
                   "{\"model\":\"m\"%s,\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
                   cases[i].more, cases[i].text);
        buf_append_char(&body, '\0');
        assert_int_equal(post(&t, CHAT, body.data), 200);
        buf_free(&body);
        if (!has(&t, cases[i].want))
            fail_msg("case %zu: %.*s", i, SPAN_ARG(buf_span(&t.got)));
    }
    test_sim_stop(&t);
}

static void what_the_provider_refuses_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        unsigned status;
    } cases[] = {
        {"{", 400},
        {"[]", 400},
        {"{\"messages\":[]}", 400},
        {"{\"model\":\"m\",\"messages\":[]}", 400},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"wizard\",\"content\":\"x\"}]}", 400},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":null}]}", 400},
        {"{\"model\":\"m\",\"temperature\":3,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         400},
        {"{\"model\":\"m\",\"stream\":\"yes\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
         "}",
         400},
        {"{\"model\":\"m\",\"stream_options\":{},\"messages\":[{\"role\":\"user\",\"content\":"
         "\"x\"}]}",
         400},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":"
         "\"x\"}]}",
         400},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\","
         "\"type\":\"function\",\"function\":{"
         "\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"user\",\"content\":\"x\"}]}",
         400},
        {"{\"model\":\"missing-1\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", 404},
    };
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(post(&t, CHAT, cases[i].body), cases[i].status);
        assert_int_equal(json_type(at(json_of(&t), "error.message")), JSON_STRING);
    }
    assert_int_equal(ask_sim(&t, "POST", CHAT, "", "{}"), 401);
    assert_int_equal(ask_sim(&t, "POST", CHAT, "Authorization: Bearer sk-bad\r\n", "{}"), 401);
    assert_true(json_is(at(json_of(&t), "error.code"), "invalid_api_key"));
    assert_int_equal(post(&t, "/openai/v1/completions", "{\"model\":\"gpt-4\",\"prompt\":\"x\"}"),
                     404);
    assert_int_equal(post(&t, "/openai/v1/nothing", "{}"), 404);
    test_sim_stop(&t);
}

static void completions_index_their_choices(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, "/openai/v1/completions",
                          "{\"model\":\"davinci-002\",\"prompt\":[\"a\",\"b\"],\"n\":2,\"echo\":"
                          "true,\"max_tokens\":50}"),
                     200);
    struct json v = json_of(&t);
    assert_int_equal(json_count(at(v, "choices")), 4);
    assert_int_equal(number_at(v, "choices.3.index"), 3);
    assert_true(has(&t, "\"text\":\"b[simulated] b"));
    assert_int_equal(post(&t, "/openai/v1/completions",
                          "{\"model\":\"davinci-002\",\"prompt\":\"a\",\"stream\":true}"),
                     200);
    assert_int_equal(times_in_body(&t, "\"finish_reason\":\"stop\""), 1);
    assert_true(span_ends(body_of(&t), "data: [DONE]\n\n"));
    test_sim_stop(&t);
}

static void embeddings_come_in_both_encodings(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, "/openai/v1/embeddings",
                          "{\"model\":\"e\",\"input\":[\"a\",\"b\"],\"dimensions\":5}"),
                     200);
    struct json v = json_of(&t);
    assert_int_equal(json_count(at(v, "data")), 2);
    assert_int_equal(json_count(at(v, "data.1.embedding")), 5);
    for (int dimensions = 1; dimensions < 4; dimensions++) { /* every padding */
        struct buf body = {0};
        buf_printf(
            &body,
            "{\"model\":\"e\",\"input\":\"a\",\"encoding_format\":\"base64\",\"dimensions\":%d}",
            dimensions);
        buf_append_char(&body, '\0');
        assert_int_equal(post(&t, "/openai/v1/embeddings", body.data), 200);
        struct span text = json_text(at(json_of(&t), "data.0.embedding"));
        assert_int_equal(text.len, (unsigned)(dimensions * 4 + 2) / 3 * 4);
        buf_free(&body);
    }
    assert_int_equal(post(&t, "/openai/v1/embeddings", "{\"model\":\"e\",\"input\":\"\"}"), 400);
    assert_int_equal(post(&t, "/openai/v1/embeddings", "{\"model\":\"e\",\"input\":[1,2,3]}"), 200);
    test_sim_stop(&t);
}

static void responses_are_kept_and_found_again(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(post(&t, "/openai/v1/responses", "{\"model\":\"m\",\"input\":\"hello\"}"),
                     200);
    struct json v = json_of(&t);
    struct buf path = {0};
    buf_printf(&path, "/openai/v1/responses/%.*s", SPAN_ARG(json_text(at(v, "id"))));
    buf_append_char(&path, '\0');
    assert_int_equal(get(&t, path.data), 200);
    assert_true(json_is(at(json_of(&t), "status"), "completed"));
    assert_int_equal(ask_sim(&t, "DELETE", path.data, "Authorization: Bearer sk-x\r\n", ""), 200);
    assert_int_equal(get(&t, path.data), 404);
    assert_int_equal(post(&t, "/openai/v1/responses",
                          "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"hello\"}],"
                          "\"stream\":true}"),
                     200);
    assert_int_equal(times_in_body(&t, "event: response.completed\n"), 1);
    assert_int_equal(times_in_body(&t, "[DONE]"), 0);
    assert_int_equal(post(&t, "/openai/v1/responses/input_tokens",
                          "{\"model\":\"m\",\"input\":\"hello there\"}"),
                     200);
    assert_int_equal(number_at(json_of(&t), "input_tokens"), 4);
    buf_free(&path);
    test_sim_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_echoes_the_question_and_counts_it),
        cmocka_unit_test(a_stream_says_the_same_in_pieces),
        cmocka_unit_test(tools_are_called_when_named),
        cmocka_unit_test(limits_stops_and_formats_shape_the_answer),
        cmocka_unit_test(what_the_provider_refuses_is_refused),
        cmocka_unit_test(completions_index_their_choices),
        cmocka_unit_test(embeddings_come_in_both_encodings),
        cmocka_unit_test(responses_are_kept_and_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
