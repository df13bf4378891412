#include "services/worker/neutral/usage_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct usage read(void (*reader)(struct usage *, struct json), const char *text)
{
    struct usage u = USAGE_NONE;
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, span_str(text), JSON_DEPTH_UPSTREAM), OK);
    reader(&u, json_root(&doc));
    json_doc_free(&doc);
    return u;
}

static void read_messages(struct usage *u, struct json usage)
{
    struct usage_messages m = usage_messages_none;
    usage_read_messages(&m, usage);
    *u = usage_of_messages(&m);
}

/* xAI's way, and everybody else's: the total tells which it is. */
static void reasoning_beside_the_output_is_counted_once(void **state)
{
    (void)state;
    static const struct {
        const char *usage;
        uint64_t output, reasoning;
    } cases[] = {
        {"{\"prompt_tokens\":10120,\"completion_tokens\":1499,\"total_tokens\":14428,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":2809}}",
         4308, 2809},
        {"{\"prompt_tokens\":100,\"completion_tokens\":500,\"total_tokens\":600,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":200}}",
         500, 200},
        {"{\"prompt_tokens\":100,\"completion_tokens\":500,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":200}}",
         500, 200},
        {"{\"prompt_tokens\":100,\"completion_tokens\":500,\"total_tokens\":600,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":0}}",
         500, 0},
        {"{\"prompt_tokens\":100,\"completion_tokens\":500,\"total_tokens\":999,"
         "\"completion_tokens_details\":{\"reasoning_tokens\":200}}",
         500, 200},
        {"{\"completion_tokens_details\":{\"reasoning_tokens\":200},\"total_tokens\":200}",
         USAGE_UNKNOWN, 200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct usage u = read(usage_read_chat, cases[i].usage);
        assert_int_equal(u.output, cases[i].output);
        assert_int_equal(u.reasoning, cases[i].reasoning);
    }
    struct usage u =
        read(usage_read_responses, "{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":22,"
                                   "\"output_tokens_details\":{\"reasoning_tokens\":7}}");
    assert_int_equal(u.output, 12);
}

static void the_same_usage_again_changes_nothing(void **state)
{
    (void)state;
    static const char text[] = "{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":6,"
                               "\"completion_tokens_details\":{\"reasoning_tokens\":3}}";
    struct usage u = USAGE_NONE;
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, span_str(text), JSON_DEPTH_UPSTREAM), OK);
    for (int i = 0; i < 3; i++)
        usage_read_chat(&u, json_root(&doc));
    assert_int_equal(u.output, 5);
    json_doc_free(&doc);
}

static void cache_writes_are_told_apart_by_how_long_they_are_kept(void **state)
{
    (void)state;
    struct usage u = read(read_messages, "{\"input_tokens\":1,\"cache_creation_input_tokens\":10,"
                                         "\"cache_read_input_tokens\":100,\"output_tokens\":3,"
                                         "\"cache_creation\":{\"ephemeral_5m_input_tokens\":4,"
                                         "\"ephemeral_1h_input_tokens\":6}}");
    assert_int_equal(u.input, 111);
    assert_int_equal(u.cache_write, 10);
    assert_int_equal(u.cache_write_1h, 6);
    u = read(read_messages, "{\"input_tokens\":1,\"cache_creation_input_tokens\":10,"
                            "\"cache_creation\":null}");
    assert_true(u.cache_write_1h == USAGE_UNKNOWN);
    u = read(usage_read_chat,
             "{\"prompt_tokens_details\":{\"cache_write_tokens\":9,"
             "\"cache_creation_token_details\":{\"ephemeral_1h_input_tokens\":2}}}");
    assert_int_equal(u.cache_write, 9);
    assert_int_equal(u.cache_write_1h, 2);
}

static void a_cost_that_the_provider_states_is_kept(void **state)
{
    (void)state;
    static const struct {
        const char *usage;
        bool stated;
        uint64_t nano;
    } cases[] = {
        {"{\"cost\":0.0123,\"cost_details\":{\"upstream_inference_cost\":null}}", true, 12300000},
        {"{\"cost\":0}", true, 0},
        {"{\"cost\":0.001,\"is_byok\":true,\"cost_details\":{\"upstream_inference_cost\":0.02}}",
         true, 21000000},
        {"{\"cost\":0.001,\"is_byok\":false,\"cost_details\":{\"upstream_inference_cost\":0.001}}",
         true, 1000000},
        {"{\"cost\":{\"total_cost\":0.006,\"request_cost\":0.005}}", true, 6000000},
        {"{\"estimated_cost\":1.5e-05}", true, 15000},
        {"{\"cost_in_usd_ticks\":37756000}", true, 3775600},
        {"{\"cost\":-1}", false, 0},
        {"{\"cost\":1e30}", false, 0},
        {"{\"cost\":\"0.1\"}", false, 0},
        {"{\"cost\":null}", false, 0},
        {"{\"cost\":{}}", false, 0},
        {"{}", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct usage u = read(usage_read_chat, cases[i].usage);
        assert_int_equal(u.stated, cases[i].stated);
        assert_int_equal(u.stated_nano, cases[i].nano);
    }
}

static void calls_of_the_providers_tools_are_counted(void **state)
{
    (void)state;
    struct usage u =
        read(read_messages, "{\"input_tokens\":1,\"server_tool_use\":{\"web_search_requests\":2}}");
    assert_int_equal(u.calls[FEE_WEB_SEARCH], 2);
    u = read(usage_read_chat, "{\"num_sources_used\":3}");
    assert_int_equal(u.calls[FEE_WEB_SEARCH], 3);
    u = read(usage_read_chat, "{\"server_tool_use\":{\"web_search_requests\":1}}");
    assert_int_equal(u.calls[FEE_WEB_SEARCH], 1);
}

static void the_tier_that_served_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *usage;
        enum service_tier tier;
    } cases[] = {
        {"{\"service_tier\":\"standard\"}", TIER_STANDARD},
        {"{\"service_tier\":\"batch\"}", TIER_BATCH},
        {"{\"service_tier\":\"priority\"}", TIER_PRIORITY},
        {"{\"service_tier\":\"standard\",\"speed\":\"fast\"}", TIER_FAST},
        {"{\"speed\":\"standard\"}", TIER_STANDARD},
        {"{\"service_tier\":7}", TIER_STANDARD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(read(read_messages, cases[i].usage).tier, cases[i].tier);
}

static void what_is_no_object_says_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"null", "7", "[]", "\"x\"", "{}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct usage u = read(usage_read_chat, texts[i]);
        assert_true(u.input == USAGE_UNKNOWN && u.output == USAGE_UNKNOWN && !u.stated);
        u = read(usage_read_responses, texts[i]);
        assert_true(u.input == USAGE_UNKNOWN && u.output == USAGE_UNKNOWN && !u.stated);
        u = read(read_messages, texts[i]);
        assert_true(u.input == USAGE_UNKNOWN && u.output == USAGE_UNKNOWN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasoning_beside_the_output_is_counted_once),
        cmocka_unit_test(the_same_usage_again_changes_nothing),
        cmocka_unit_test(cache_writes_are_told_apart_by_how_long_they_are_kept),
        cmocka_unit_test(a_cost_that_the_provider_states_is_kept),
        cmocka_unit_test(calls_of_the_providers_tools_are_counted),
        cmocka_unit_test(the_tier_that_served_is_known),
        cmocka_unit_test(what_is_no_object_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
