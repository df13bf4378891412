/* The pass-through pipeline: bytes in, bytes out, and what is seen in passing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "services/worker/pipeline/synthesize.h"
#include "unit/services/worker/pipeline_driver.h"
#include "unit/services/worker/response_stream.h"

/* A provider that speaks everything, and maps an error by its own `class` member or its status. */
static void map_error(struct conversion *pc, unsigned status,
                      const struct upstream_headers *headers, struct span body,
                      struct api_error *fault_out)
{
    int64_t error_class = 0;
    struct json error = JSON_NOTHING;
    if (json_parse(pc->doc, body, JSON_DEPTH_UPSTREAM) == OK)
        error = json_get(json_root(pc->doc), "error");
    fault_out->error_class = status == 429 ? ERROR_UPSTREAM_RATE_LIMITED : ERROR_UPSTREAM_ERROR;
    if (json_i64(json_get(error, "class"), &error_class))
        fault_out->error_class = (unsigned)error_class;
    fault_out->message = arena_copy(pc->arena, json_text(json_get(error, "message")));
    uint64_t seconds;
    if (span_to_u64(headers->get(headers->ctx, "retry-after"), &seconds))
        fault_out->retry_after_ms = seconds * 1000;
}

static const struct provider fake = {
    .protocol = PROTOCOL_OPENAI, .native_apis = ~0u, .map_error = map_error};

static struct config_model native_completions = {.completions = "native"};

static void init(struct driver *d, enum api api)
{
    static const char *const paths[API_COUNT] = {
        [API_OPENAI_CHAT] = "/chat/completions",
        [API_OPENAI_COMPLETIONS] = "/completions",
        [API_OPENAI_EMBEDDINGS] = "/embeddings",
        [API_OPENAI_RESPONSES] = "/responses",
        [API_ANTHROPIC_MESSAGES] = "/messages",
        [API_ANTHROPIC_COUNT_TOKENS] = "/messages/count_tokens",
    };
    driver_init(d, &fake, api, paths[api]);
    if (api == API_OPENAI_COMPLETIONS)
        d->spec.model_config = &native_completions;
}

/* ---- requests ---- */

struct request_case {
    enum api api;
    const char *in;
    const char *out;
};

static const struct request_case plain_requests[] = {
    /* H131: nothing to change, nothing changed */
    {API_OPENAI_CHAT,
     "{ \"model\" : \"m\",\n\t\"foo\":{\"bar\":1.10, \"n\":1e400}, \"messages\":[] }",
     "{ \"model\" : \"m\",\n\t\"foo\":{\"bar\":1.10, \"n\":1e400}, \"messages\":[] }"},
    {API_OPENAI_CHAT, "{\"model\":\"alias\",\"x\":\"\\u003c\\/\",\"messages\":[]}",
     "{\"model\":\"m\",\"x\":\"\\u003c\\/\",\"messages\":[]}"},
    {API_OPENAI_CHAT, "{\"messages\":[]}", "{\"messages\":[],\"model\":\"m\"}"},
    {API_OPENAI_CHAT, "{\"model\":null,\"messages\":[]}", "{\"model\":\"m\",\"messages\":[]}"},
    /* usage is forced on streams */
    {API_OPENAI_CHAT, "{\"model\":\"m\",\"stream\":true}",
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
    {API_OPENAI_CHAT, "{\"model\":\"m\",\"stream\":true,\"stream_options\":null}",
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
    {API_OPENAI_CHAT, "{\"model\":\"m\",\"stream\":true,\"stream_options\":{}}",
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
    {API_OPENAI_CHAT,
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\": false, "
     "\"include_obfuscation\":false}}",
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\": true, "
     "\"include_obfuscation\":false}}"},
    {API_OPENAI_CHAT,
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
    {API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[1,2],\"stream\":true}",
     "{\"model\":\"m\",\"prompt\":[1,2],\"stream\":true,\"stream_options\":{\"include_usage\":true}"
     "}"},
    /* H063: no invented errors */
    {API_OPENAI_CHAT, "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}",
     "{\"model\":\"m\",\"stream_options\":{\"include_usage\":true}}"},
    {API_OPENAI_CHAT, "{\"model\":\"m\",\"stream\":true,\"stream_options\":7}",
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":7}"},
    /* protocols that report usage by themselves */
    {API_OPENAI_RESPONSES, "{\"model\":\"m\",\"stream\":true}",
     "{\"model\":\"m\",\"stream\":true}"},
    {API_ANTHROPIC_MESSAGES, "{\"model\":\"x\",\"stream\":true}",
     "{\"model\":\"m\",\"stream\":true}"},
    {API_ANTHROPIC_COUNT_TOKENS, "{\"model\":\"x\"}", "{\"model\":\"m\"}"},
    {API_OPENAI_EMBEDDINGS, "{\"input\":[0.10],\"model\":\"m\"}",
     "{\"input\":[0.10],\"model\":\"m\"}"},
};

static void expect_request(const struct driver *d, const char *body)
{
    assert_int_equal(d->sent_count, 1);
    struct span sent = d->sent[0]->body;
    if (!span_is(sent, body))
        fail_msg("sent %.*s\ninstead of %s", SPAN_ARG(sent), body);
}

static void a_request_leaves_as_it_came_but_for_what_must_change(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plain_requests / sizeof *plain_requests; i++) {
        struct driver d;
        init(&d, plain_requests[i].api);
        assert_int_equal(driver_start(&d, plain_requests[i].in), OK);
        expect_request(&d, plain_requests[i].out);
        driver_done(&d);
    }
}

static void configured_defaults_fill_what_the_client_left_out(void **state)
{
    (void)state;
    static struct config_default defaults[] = {{"max_tokens", "1000"}, {"temperature", "0.70"}};
    static const struct config_model config = {
        .defaults = defaults, .default_count = 2, .completions = "native"};
    static const struct request_case cases[] = {
        {API_OPENAI_CHAT, "{\"model\":\"m\"}",
         "{\"model\":\"m\",\"max_tokens\":1000,\"temperature\":0.70}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"max_completion_tokens\":5,\"temperature\":null}",
         "{\"model\":\"m\",\"max_completion_tokens\":5,\"temperature\":0.70}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"max_tokens\":5,\"temperature\":0}",
         "{\"model\":\"m\",\"max_tokens\":5,\"temperature\":0}"},
        {API_OPENAI_COMPLETIONS, "{\"model\":\"m\"}",
         "{\"model\":\"m\",\"max_tokens\":1000,\"temperature\":0.70}"},
        {API_OPENAI_RESPONSES, "{\"model\":\"m\"}",
         "{\"model\":\"m\",\"max_output_tokens\":1000,\"temperature\":0.70}"},
        {API_ANTHROPIC_MESSAGES, "{\"model\":\"m\"}",
         "{\"model\":\"m\",\"max_tokens\":1000,\"temperature\":0.70}"},
        {API_ANTHROPIC_COUNT_TOKENS, "{\"model\":\"m\"}", "{\"model\":\"m\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        d.spec.model_config = &config;
        assert_int_equal(driver_start(&d, cases[i].in), OK);
        expect_request(&d, cases[i].out);
        driver_done(&d);
    }
}

static void a_default_cap_has_openais_new_name_at_openai_itself(void **state)
{
    (void)state;
    static struct config_default defaults[] = {{"max_tokens", "1000"}};
    static const struct config_model config = {.defaults = defaults, .default_count = 1};
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.model_config = &config;
    d.spec.base_url = SPAN("https://api.openai.com/v1");
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    expect_request(&d, "{\"model\":\"m\",\"max_completion_tokens\":1000}");
    driver_done(&d);
}

static void a_hard_budgets_cap_bounds_every_choice(void **state)
{
    (void)state;
    static struct config_default defaults[] = {{"max_tokens", "1000"}};
    static const struct config_model config = {.defaults = defaults, .default_count = 1};
    static const struct request_case cases[] = {
        {API_OPENAI_CHAT, "{\"model\":\"m\"}", "{\"model\":\"m\",\"max_tokens\":100}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"max_tokens\":500}",
         "{\"model\":\"m\",\"max_tokens\":100}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"max_tokens\":50}",
         "{\"model\":\"m\",\"max_tokens\":50}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"max_tokens\":500,\"max_completion_tokens\":50}",
         "{\"model\":\"m\",\"max_tokens\":100,\"max_completion_tokens\":50}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"max_tokens\":null}",
         "{\"model\":\"m\",\"max_tokens\":100}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"n\":4}",
         "{\"model\":\"m\",\"n\":4,\"max_tokens\":25}"},
        {API_OPENAI_RESPONSES, "{\"model\":\"m\"}", "{\"model\":\"m\",\"max_output_tokens\":100}"},
        {API_ANTHROPIC_MESSAGES, "{\"model\":\"m\",\"max_tokens\":101}",
         "{\"model\":\"m\",\"max_tokens\":100}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        d.spec.model_config = &config;
        d.spec.output_cap = 100;
        assert_int_equal(driver_start(&d, cases[i].in), OK);
        expect_request(&d, cases[i].out);
        driver_done(&d);
    }
}

static void a_hosts_quirks_are_spliced_too(void **state)
{
    (void)state;
    static const char *quirks[] = {"no_stream_options", "max_tokens", "no_parallel_tool_calls"};
    static const struct config_provider provider_config = {.compat = {quirks, 3}};
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.provider_config = &provider_config;
    assert_int_equal(
        driver_start(&d,
                     "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true,"
                     "\"max_completion_tokens\":9,\"parallel_tool_calls\":false}"),
        OK);
    expect_request(&d, "{\"model\":\"m\",\"stream\":true,\"max_tokens\":9}");
    assert_true(
        span_is(pipeline_result(d.pipeline)->headers, "x-tollgate-dropped: stream_options\n"));
    driver_done(&d);
}

static void system_messages_go_in_front_where_no_other_place_is_known(void **state)
{
    (void)state;
    static const char *marks[] = {"system_first"};
    static const struct config_provider provider_config = {.compat = {marks, 1}};
    static const struct request_case cases[] = {
        {API_OPENAI_CHAT,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":"
         "\"user\",\"content\":\"q\",\"x\":1.0}, "
         "{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"b\\n\"},{\"type\":"
         "\"text\",\"text\":\"c\"}]}]}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"a\\n\\nb\\n\\n\\nc\"},{"
         "\"role\":\"user\",\"content\":\"q\",\"x\":1.0}]}"},
        {API_OPENAI_CHAT,
         "{\"model\":\"m\",\"messages\":[ {\"role\":\"system\",\"content\":\"a\"} ]}",
         "{\"model\":\"m\",\"messages\":[ {\"role\":\"system\",\"content\":\"a\"} ]}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"messages\":7}", NULL},
        {API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"x\"}",
         "{\"model\":\"m\",\"prompt\":\"x\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        d.spec.provider_config = &provider_config;
        assert_int_equal(driver_start(&d, cases[i].in), cases[i].out ? OK : ERR_INVALID);
        if (cases[i].out)
            expect_request(&d, cases[i].out);
        driver_done(&d);
    }
}

static void a_model_without_eyes_gets_no_images(void **state)
{
    (void)state;
    static const struct config_model blind = {.capabilities = "{\"vision\":false}"},
                                     seeing = {.capabilities = "{\"vision\":true}"};
    static const struct {
        enum api api;
        const char *body, *param;
    } cases[] = {
        {API_OPENAI_CHAT,
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"},{"
         "\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.test/a\"}}]}]}",
         "messages"},
        {API_ANTHROPIC_MESSAGES,
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"content\":[{"
         "\"type\":\"image\"}]}]}]}",
         "messages"},
        {API_OPENAI_RESPONSES,
         "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}]}", "input"},
        {API_OPENAI_RESPONSES,
         "{\"input\":[{\"type\":\"function_call_output\",\"output\":[{\"type\":\"input_image\"}]}]"
         "}",
         "input"},
        {API_OPENAI_CHAT,
         "{\"messages\":[{\"role\":\"user\",\"content\":\"an image_url\"}],\"tools\":[{\"type\":"
         "\"image\"}]}",
         NULL},
    };
    struct model_table *table;
    struct buf error = {0};
    assert_int_equal(model_table_load(SOURCE_DIR "/share/models.json", &table, &error), OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int sees = 0; sees < 2; sees++) {
            struct driver d;
            init(&d, cases[i].api);
            d.spec.table = table;
            d.spec.model_config = sees ? &seeing : &blind;
            bool refused = !sees && cases[i].param;
            assert_int_equal(driver_start(&d, cases[i].body), refused ? ERR_INVALID : OK);
            if (refused) {
                assert_int_equal(d.fault.error_class, ERROR_UNSUPPORTED_PARAMETER);
                assert_true(span_is(d.fault.param, cases[i].param));
            }
            driver_done(&d);
        }
    }
    model_table_destroy(&table);
    buf_free(&error);
}

static void what_the_gateway_reads_must_be_there_once_and_of_its_type(void **state)
{
    (void)state;
    static const struct {
        enum api api;
        const char *body, *param;
        unsigned error_class;
    } cases[] = {
        {API_OPENAI_CHAT, "{\"model\":\"a\",\"model\":\"b\"}", "model", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", "model", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"stream\":true,\"stream\":false}", "stream", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"n\":1,\"n\":9}", "n", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"max_tokens\":1,\"max_tokens\":9}", "max_tokens", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"max_completion_tokens\":1,\"max_completion_tokens\":9}",
         "max_completion_tokens", ERROR_INVALID_VALUE},
        {API_OPENAI_RESPONSES, "{\"max_output_tokens\":1,\"max_output_tokens\":9}",
         "max_output_tokens", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"stream\":\"true\"}", "stream", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"max_tokens\":\"100\"}", "max_tokens", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"max_tokens\":1.5}", "max_tokens", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"messages\":{}}", "messages", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "{\"model\":7}", "model", ERROR_INVALID_VALUE},
        {API_OPENAI_CHAT, "[]", "", ERROR_INVALID_JSON},
        {API_OPENAI_CHAT, "{\"a\":1} x", "", ERROR_INVALID_JSON},
        {API_OPENAI_CHAT, "", "", ERROR_INVALID_JSON},
        {API_OPENAI_CHAT, "{\"a\":\"\xff\"}", "", ERROR_INVALID_JSON},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        assert_int_equal(driver_start(&d, cases[i].body), ERR_INVALID);
        assert_int_equal(d.fault.error_class, cases[i].error_class);
        assert_true(span_is(d.fault.param, cases[i].param));
        assert_true(d.fault.message.len > 0);
        driver_done(&d);
    }
}

static void only_headers_of_the_protocol_are_forwarded(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_ANTHROPIC_MESSAGES);
    d.spec.path = SPAN("/messages?beta=true");
    d.spec.headers = SPAN("anthropic-beta: a,b\nx-stainless-os: Linux\nAnthropic-User-Profile-Id: "
                          "u\nAnthropic-Version: "
                          "2023-06-01\nopenai-beta: x\n");
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    assert_true(span_is(d.sent[0]->path, "/messages?beta=true"));
    assert_true(span_is(
        d.sent[0]->headers,
        "anthropic-beta: a,b\nAnthropic-User-Profile-Id: u\nAnthropic-Version: 2023-06-01\n"));
    assert_string_equal(d.sent[0]->method, "POST");
    driver_done(&d);
}

static void openai_headers_are_forwarded_to_openai(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.headers = SPAN("openai-beta: x\nanthropic-beta: a\nIdempotency-Key: k\ngarbage\n");
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    assert_true(span_is(d.sent[0]->headers, "openai-beta: x\nIdempotency-Key: k\n"));
    driver_done(&d);
}

static void odd_defaults_and_caps_do_no_harm(void **state)
{
    (void)state;
    static struct config_default defaults[] = {
        {"max_tokens", "\"many\""}, {"stop", "[\"X\"]"}, {"max_output_tokens", "7"}};
    static const struct config_model config = {
        .defaults = defaults, .default_count = 3, .completions = "native"};
    static const struct request_case cases[] = {
        /* a default that is no number never beats a hard cap */
        {API_OPENAI_CHAT, "{\"model\":\"m\"}",
         "{\"model\":\"m\",\"stop\":[\"X\"],\"max_tokens\":7}"},
        {API_ANTHROPIC_MESSAGES, "{\"model\":\"m\",\"max_tokens\":4}",
         "{\"model\":\"m\",\"max_tokens\":4,\"stop_sequences\":[\"X\"]}"},
        {API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"max_tokens\":40,\"best_of\":20}",
         "{\"model\":\"m\",\"max_tokens\":1,\"best_of\":20,\"stop\":[\"X\"]}"},
        {API_OPENAI_CHAT, "{\"model\":\"m\",\"max_tokens\":-3,\"stop\":\"Y\"}",
         "{\"model\":\"m\",\"max_tokens\":-3,\"stop\":\"Y\"}"},
        {API_OPENAI_EMBEDDINGS, "{\"model\":\"m\",\"stop\":\"Y\"}",
         "{\"model\":\"m\",\"stop\":\"Y\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        d.spec.model_config = &config;
        d.spec.output_cap = 10;
        assert_int_equal(driver_start(&d, cases[i].in), OK);
        expect_request(&d, cases[i].out);
        driver_done(&d);
    }
}

/* ---- whole answers ---- */

#define JSON_TYPE "content-type: application/json\n"

static void a_whole_answer_comes_back_byte_for_byte_and_is_metered(void **state)
{
    (void)state;
    static const char body[] =
        "{ \"id\":\"c1\",\"model\":\"m-2\", \"choices\":[{\"index\":0,\"message\":{\"content\":"
        "\"\\u00e9\"}}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3,"
        "\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":"
        "{\"reasoning_tokens\":2}}, \"x\":5.50 }\n";
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_answer(&d, 0, 200, JSON_TYPE, body);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_is(&d, body));
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    assert_int_equal(r->status, 200);
    assert_int_equal(r->usage.input, 12);
    assert_int_equal(r->usage.cached, 4);
    assert_int_equal(r->usage.output, 3);
    assert_int_equal(r->usage.reasoning, 2);
    assert_false(r->estimated);
    assert_true(span_is(r->upstream_id, "c1"));
    assert_true(span_is(r->upstream_model, "m-2"));
    assert_true(span_is(r->content_type, "application/json"));
    assert_int_equal(r->headers.len, 0);
    driver_done(&d);
}

struct usage_case {
    enum api api;
    const char *body;
    uint64_t input, cached, cache_write, output;
};

static void usage_is_read_in_every_protocol(void **state)
{
    (void)state;
    static const struct usage_case cases[] = {
        {API_ANTHROPIC_MESSAGES,
         "{\"type\":\"message\",\"content\":[],\"usage\":{\"input_tokens\":10,\"cache_creation_"
         "input_tokens\":100,"
         "\"cache_read_input_tokens\":1000,\"output_tokens\":5}}",
         1110, 1000, 100, 5},
        {API_ANTHROPIC_MESSAGES,
         "{\"content\":[],\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":null,\"output_"
         "tokens\":5}}",
         10, 0, 0, 5},
        {API_OPENAI_RESPONSES,
         "{\"object\":\"response\",\"error\":null,\"usage\":{\"input_tokens\":7,\"input_tokens_"
         "details\":"
         "{\"cached_tokens\":2},\"output_tokens\":9}}",
         7, 2, 0, 9},
        {API_OPENAI_RESPONSES,
         "{\"object\":\"response\",\"status\":\"failed\",\"error\":{\"code\":\"x\"},\"usage\":"
         "{\"input_tokens\":7,\"output_tokens\":0}}",
         7, 0, 0, 0},
        {API_OPENAI_EMBEDDINGS, "{\"data\":[],\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}",
         8, 0, 0, 0},
        {API_OPENAI_COMPLETIONS,
         "{\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":1}}", 8, 0, 0, 1},
        {API_ANTHROPIC_COUNT_TOKENS, "{\"input_tokens\":99}", 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
        driver_answer(&d, 0, 200, JSON_TYPE, cases[i].body);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        assert_true(driver_output_is(&d, cases[i].body));
        const struct pipeline_result *r = pipeline_result(d.pipeline);
        assert_int_equal(r->usage.input, cases[i].input);
        assert_int_equal(r->usage.cached, cases[i].cached);
        assert_int_equal(r->usage.cache_write, cases[i].cache_write);
        assert_int_equal(r->usage.output, cases[i].output);
        assert_false(r->estimated);
        driver_done(&d);
    }
}

static void missing_usage_is_estimated_and_marked(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.input_tokens = 17;
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_answer(&d, 0, 200, JSON_TYPE,
                  "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"12345\"}}]}");
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    assert_true(r->estimated);
    assert_int_equal(r->usage.input, 17);
    assert_int_equal(r->usage.output, 2);
    assert_true(span_is(r->headers, "x-tollgate-usage: estimated\n"));
    driver_done(&d);
}

static void an_answer_that_is_none_is_a_protocol_error(void **state)
{
    (void)state;
    static const char *const bodies[] = {"<html>", "", "[]", "{\"choices\":", "\"text\""};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct driver d;
        init(&d, API_OPENAI_CHAT);
        assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
        driver_answer(&d, 0, 200, "content-type: text/html\n", bodies[i]);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
        assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
        assert_int_equal(pipeline_result(d.pipeline)->status, 502);
        assert_int_equal(d.output.len, 0);
        assert_int_equal(pipeline_result(d.pipeline)->usage.input, 0);
        driver_done(&d);
    }
}

static void bytes_that_are_not_utf8_are_mended(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_answer(&d, 0, 200, JSON_TYPE, "{\"choices\":[],\"x\":\"a\xff\"}");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_is(&d, "{\"choices\":[],\"x\":\"a\xef\xbf\xbd\"}"));
    driver_done(&d);
}

static void errors_keep_status_and_retry_after(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"stream\":true}"), OK);
    driver_answer(&d, 0, 429, "retry-after: 7\n", "{\"error\":{\"message\":\"slow\"}}");
    const struct api_error *f = pipeline_fault(d.pipeline);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(f->error_class, ERROR_UPSTREAM_RATE_LIMITED);
    assert_int_equal(f->retry_after_ms, 7000);
    assert_int_equal(f->upstream_status, 429);
    assert_true(span_is(f->message, "slow"));
    assert_int_equal(pipeline_result(d.pipeline)->status, 429);
    driver_done(&d);
}

/* H125 */
static void an_error_in_a_200_is_an_error(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"error\":{\"message\":\"m\",\"code\":503}}",
        "{\"error\":\"text\"}",
        "{\"object\":\"error\",\"message\":\"m\"}",
        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct driver d;
        init(&d, i == 3 ? API_ANTHROPIC_MESSAGES : API_OPENAI_CHAT);
        assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
        driver_answer(&d, 0, 200, JSON_TYPE, bodies[i]);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
        driver_done(&d);
    }
}

static void answers_have_bounds(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.max_response = 100;
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_head(&d, 0, 200, JSON_TYPE);
    for (int i = 0; i < 11; i++)
        driver_text(&d, 0, "          ");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);

    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_head(&d, 0, 500, JSON_TYPE);
    static char much[70000];
    memset(much, 'x', sizeof much);
    driver_bytes(&d, 0, span_of(much, sizeof much));
    driver_bytes(&d, 0, span_of(much, sizeof much));
    driver_end(&d, 0);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_ERROR);
    driver_done(&d);
}

static void transport_failures_keep_their_class(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_fail(&d, 0, ERROR_UPSTREAM_CONNECT_TIMEOUT);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_CONNECT_TIMEOUT);
    assert_int_equal(pipeline_result(d.pipeline)->status, 504);
    driver_done(&d);
}

/* ---- streams ---- */

static struct driver streaming(enum api api, const char *body)
{
    struct driver d;
    init(&d, api);
    assert_int_equal(driver_start(&d, body), OK);
    /* the pipeline only borrows what the driver holds: a moved driver must not move the body */
    driver_stream_head(&d, 0);
    return d;
}

#define CHUNK(rest) "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":" rest "}]}\n\n"
#define ROLE CHUNK("{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null")
#define HI CHUNK("{\"content\":\"Hi\"},\"finish_reason\":null")
#define FINISH CHUNK("{},\"finish_reason\":\"stop\"")
#define DONE "data: [DONE]\n\n"

static const char asked[] =
    "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
static const char not_asked[] = "{\"model\":\"m\",\"stream\":true}";

static void a_stream_comes_back_byte_for_byte(void **state)
{
    (void)state;
    static const char stream[] = ROLE
        "event: x\r\nid: 7\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}], "
        "\"obfuscation\":\"zz\" }  \r\n\r\n" HI FINISH
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n" DONE;
    for (size_t step = 1; step < sizeof stream; step++) {
        struct driver d = streaming(API_OPENAI_CHAT, asked);
        for (size_t at = 0; at < sizeof stream - 1; at += step)
            driver_bytes(&d, 0, span_first(span_of(stream + at, sizeof stream - 1 - at), step));
        driver_end(&d, 0);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        assert_true(driver_output_is(&d, stream));
        assert_int_equal(pipeline_result(d.pipeline)->usage.output, 4);
        assert_int_equal(pipeline_result(d.pipeline)->usage.input, 3);
        driver_done(&d);
    }
}

/* H132 */
static void usage_only_we_asked_for_is_hidden_again(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, not_asked);
    driver_text(&d, 0,
                "data: "
                "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],"
                "\"usage\":null}\n\n");
    driver_text(&d, 0,
                "id: 4\r\ndata: "
                "{\"usage\":{\"prompt_tokens\":1},\"choices\":[{\"index\":0,\"delta\":{},\"finish_"
                "reason\":\"stop\"}]}\r\n\r\n");
    driver_text(&d, 0,
                "data: {\"choices\":[],\n"
                "data: \"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n" DONE);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_is(
        &d, "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n"
            "id: 4\r\ndata: "
            "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n" DONE));
    assert_int_equal(pipeline_result(d.pipeline)->usage.input, 3);
    assert_int_equal(pipeline_result(d.pipeline)->usage.output, 4);
    assert_false(pipeline_result(d.pipeline)->estimated);
    driver_done(&d);
}

/* llama.cpp tells its `timings` with the usage that it was asked for, else with the finish. */
static void what_stands_beside_hidden_usage_survives(void **state)
{
    (void)state;
    static const char chunk[] =
        "data: {\"choices\": [],\"id\":\"c\",\"usage\":{\"prompt_tokens\":3,"
        "\"completion_tokens\":4},\"timings\":{\"n\":1.50}}\n\n" DONE;
    struct driver d = streaming(API_OPENAI_CHAT, not_asked);
    driver_text(&d, 0, HI FINISH);
    driver_text(&d, 0, chunk);
    assert_true(driver_output_is(
        &d,
        HI FINISH "data: {\"choices\": [{\"index\":0,\"delta\":{},\"finish_reason\":null}],\"id\":"
                  "\"c\",\"timings\":{\"n\":1.50}}\n\n" DONE));
    assert_int_equal(pipeline_result(d.pipeline)->usage.output, 4);
    driver_done(&d);
    d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, HI FINISH);
    driver_text(&d, 0, chunk);
    assert_true(driver_output_has(&d, chunk));
    driver_done(&d);
    d = streaming(API_OPENAI_COMPLETIONS, not_asked);
    driver_text(
        &d, 0, "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\n");
    driver_text(&d, 0, chunk);
    assert_true(
        driver_output_has(&d, "\"text\":\"\",\"logprobs\":null,\"finish_reason\":null}],\"id\":"));
    driver_done(&d);
}

static void a_pretty_printed_event_is_rewritten_on_one_line(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, not_asked);
    driver_text(&d, 0,
                "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"Hi\"}}],\ndata: "
                "\"usage\":null}\n\n");
    assert_true(
        driver_output_is(&d, "data: {\"choices\":[{\"delta\": {\"content\":\"Hi\"}}]}\n\n"));
    driver_done(&d);
}

static void nothing_is_committed_before_the_first_content(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    assert_true(pipeline_is_stream(d.pipeline));
    driver_text(&d, 0, ROLE);
    assert_false(pipeline_committed(d.pipeline));
    assert_int_equal(d.output.len, 0);
    driver_text(&d, 0, HI);
    assert_true(pipeline_committed(d.pipeline));
    assert_true(driver_output_is(&d, ROLE HI));
    driver_done(&d);
}

static void after_ten_seconds_it_is_committed_anyway(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    assert_int_equal(d.wait_ms, 10000);
    driver_text(&d, 0, ROLE);
    driver_timer(&d, 10123);
    assert_true(pipeline_committed(d.pipeline));
    assert_true(driver_output_is(&d, ROLE));
    assert_int_equal(d.wait_ms, 0);
    driver_done(&d);
}

/* H080, H097 */
static void an_error_before_content_has_a_status_of_its_own(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, ROLE "data: {\"error\":{\"message\":\"x\",\"class\":36}}\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_false(pipeline_committed(d.pipeline));
    assert_int_equal(d.output.len, 0);
    assert_int_equal(pipeline_output(d.pipeline)->len, 0);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, 36);
    driver_done(&d);
}

static void an_error_in_mid_stream_leaves_what_was_said(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, ROLE HI "event: error\ndata: {\"message\":\"x\"}\n\n" HI DONE);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_true(pipeline_committed(d.pipeline));
    driver_pump(&d);
    assert_true(span_is(buf_span(pipeline_output(d.pipeline)), "") ||
                driver_output_is(&d, ROLE HI));
    assert_true(pipeline_result(d.pipeline)->estimated);
    driver_done(&d);
}

/* The client asked for usage, and the upstream knows no such thing. */
static void usage_that_was_asked_for_is_shown_though_it_is_a_guess(void **state)
{
    (void)state;
    static const char *const ends[] = {HI FINISH DONE, HI FINISH};
    for (size_t i = 0; i < 2; i++) {
        struct driver d = streaming(API_OPENAI_CHAT, asked);
        driver_text(&d, 0, ends[i]);
        driver_end(&d, 0);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        assert_true(driver_output_has(&d, "\"choices\":[],\"usage\":{\"prompt_tokens\":"));
        assert_true(driver_output_has(&d, "\"estimated\":true}}\n\ndata: [DONE]"));
        driver_done(&d);
    }
}

/* Some servers fill the time with them. */
static void events_that_are_null_are_nothing(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, not_asked);
    driver_text(&d, 0, "data: null\n\n" HI "data: null\n\n" FINISH "data:  null \n\n" DONE);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_is(&d, HI FINISH DONE));
    driver_done(&d);
}

static void a_responses_own_error_passes_unchanged(void **state)
{
    (void)state;
    static const char delta[] = "event: response.output_text.delta\ndata: {\"type\":"
                                "\"response.output_text.delta\",\"delta\":\"x\"}\n\n";
    static const char error[] = "event: error\ndata: {\"type\":\"error\",\"code\":\"x\","
                                "\"message\":\"m\",\"param\":null,\"sequence_number\":1}\n\n";
    struct driver d = streaming(API_OPENAI_RESPONSES, not_asked);
    driver_text(&d, 0, delta);
    driver_text(&d, 0, error);
    driver_end(&d, 0);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, delta));
    assert_true(driver_output_has(&d, error));
    driver_done(&d);
    d = streaming(API_OPENAI_RESPONSES, not_asked); /* before anything else, it may go elsewhere */
    driver_text(&d, 0, error);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(d.output.len, 0);
    driver_done(&d);
}

/* A server of chat completions alone is found out by its 404, once. */
static void responses_go_to_chat_where_there_are_none(void **state)
{
    (void)state;
    static const char body[] = "{\"model\":\"m\",\"input\":\"hi\",\"stream\":true}";
    struct learned_compat learned = {0};
    for (size_t i = 0; i < 2; i++) {
        struct driver d;
        driver_init(&d, &provider_openai, API_OPENAI_RESPONSES, "/responses");
        d.spec.learned = &learned;
        assert_int_equal(driver_start(&d, body), OK);
        if (i == 0) {
            assert_true(span_is(d.sent[0]->path, "/responses"));
            driver_answer(&d, 0, 404, "content-type: text/plain\n", "404 page not found");
        }
        size_t chat = d.sent_count - 1;
        assert_true(span_is(d.sent[chat]->path, "/chat/completions"));
        driver_stream_head(&d, chat);
        driver_text(&d, chat, HI FINISH DONE);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        assert_null(response_stream_complaint(buf_span(&d.output), false));
        assert_true(driver_output_has(&d, "\"delta\":\"Hi\""));
        driver_done(&d);
        assert_true(learned.chat_only);
    }
    struct driver d; /* what was made there is read there */
    driver_init(&d, &provider_openai, API_OPENAI_RESPONSES, "/responses/resp_1");
    d.spec.learned = &learned;
    d.spec.method = SPAN("GET");
    assert_int_equal(driver_start(&d, ""), OK);
    assert_true(span_is(d.sent[0]->path, "/responses/resp_1"));
    driver_done(&d);
}

static void a_404_of_a_model_is_the_clients(void **state)
{
    (void)state;
    static const struct {
        const char *request, *answer;
        unsigned status, error_class;
    } cases[] = {
        {"{\"model\":\"m\",\"input\":\"hi\"}",
         "{\"error\":{\"message\":\"The model m does not exist\",\"code\":\"model_not_found\"}}",
         404, ERROR_UPSTREAM_NOT_FOUND},
        {"{\"model\":\"m\",\"input\":\"hi\"}", "{}", 400, ERROR_UPSTREAM_BAD_REQUEST},
        {"{\"model\":\"m\",\"input\":\"hi\",\"background\":true}", "{}", 404,
         ERROR_UNSUPPORTED_PARAMETER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        driver_init(&d, &provider_openai, API_OPENAI_RESPONSES, "/responses");
        assert_int_equal(driver_start(&d, cases[i].request), OK);
        driver_answer(&d, 0, cases[i].status, JSON_TYPE, cases[i].answer);
        assert_int_equal(d.sent_count, 1);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
        assert_int_equal(pipeline_fault(d.pipeline)->error_class, cases[i].error_class);
        driver_done(&d);
    }
}

/* Ours alone is taken out again, and the next request goes without. */
static void a_refused_wish_for_usage_is_withdrawn_and_remembered(void **state)
{
    (void)state;
    static const char refusal[] = "{\"detail\":[{\"loc\":[\"body\",\"stream_options\"],\"msg\":"
                                  "\"Extra inputs are not permitted\"}]}";
    struct learned_compat learned = {0};
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.learned = &learned;
    assert_int_equal(driver_start(&d, not_asked), OK);
    driver_answer(&d, 0, 422, "content-type: application/json\n", refusal);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    assert_int_equal(d.sent_count, 2);
    assert_true(span_find_span(d.sent[1]->body, SPAN("stream_options")) == d.sent[1]->body.len);
    driver_stream_head(&d, 1);
    driver_text(&d, 1, HI FINISH DONE);
    assert_true(driver_output_is(&d, HI FINISH DONE));
    assert_true(learned.no_stream_options);
    driver_done(&d);

    init(&d, API_OPENAI_CHAT); /* it knows */
    d.spec.learned = &learned;
    assert_int_equal(driver_start(&d, not_asked), OK);
    assert_true(span_find_span(d.sent[0]->body, SPAN("stream_options")) == d.sent[0]->body.len);
    driver_answer(&d, 0, 422, "content-type: application/json\n", refusal);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED); /* once */
    driver_done(&d);

    learned.no_stream_options = false;
    init(&d, API_OPENAI_CHAT); /* the client's own wish: its error */
    d.spec.learned = &learned;
    assert_int_equal(driver_start(&d, asked), OK);
    driver_answer(&d, 0, 422, "content-type: application/json\n", refusal);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_false(learned.no_stream_options);
    driver_done(&d);
}

static void the_end_of_a_stream_decides_whether_it_was_whole(void **state)
{
    (void)state;
    static const struct {
        enum api api;
        const char *stream;
        const char *output; /* NULL = failed */
    } cases[] = {
        {API_OPENAI_CHAT, ROLE HI, NULL},
        {API_OPENAI_CHAT, ROLE, NULL},
        {API_OPENAI_CHAT, "", NULL},
        {API_OPENAI_CHAT, HI FINISH, HI FINISH DONE},
        {API_OPENAI_CHAT, HI "data: [DONE]", HI "data: [DONE]\n\n"},
        {API_OPENAI_CHAT, HI "data:  [DONE] \r\n\r\n", HI "data:  [DONE] \r\n\r\n"},
        {API_OPENAI_CHAT, HI FINISH DONE "data: {\"choices\":[]}\n\n", HI FINISH DONE},
        {API_OPENAI_CHAT,
         HI "data: {\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
         NULL},
        {API_OPENAI_CHAT, HI ": comment\n\nevent: ping\n\ndata:\n\n" DONE, HI DONE},
        {API_ANTHROPIC_MESSAGES,
         "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n", NULL},
        {API_ANTHROPIC_MESSAGES,
         "event: message_delta\ndata: "
         "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
         "event: message_delta\ndata: "
         "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n"
         "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
        {API_ANTHROPIC_MESSAGES, "data: {\"type\":\"message_stop\"}",
         "data: {\"type\":\"message_stop\"}\n\n"},
        {API_OPENAI_RESPONSES,
         "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n", NULL},
        {API_OPENAI_RESPONSES, "data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
         "data: {\"type\":\"response.completed\",\"response\":{}}\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d = streaming(cases[i].api, not_asked);
        driver_text(&d, 0, cases[i].stream);
        driver_end(&d, 0);
        if (cases[i].output) {
            assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
            assert_true(driver_output_is(&d, cases[i].output));
        } else {
            assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
            assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_CLOSED);
        }
        driver_done(&d);
    }
}

static void a_connection_lost_behind_the_finish_costs_nothing(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, HI FINISH);
    driver_fail(&d, 0, ERROR_UPSTREAM_RESET);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
    d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, HI);
    driver_fail(&d, 0, ERROR_UPSTREAM_TIMEOUT);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_TIMEOUT);
    driver_done(&d);
}

/* H098 */
static void a_broken_event_is_not_skipped(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, HI "data: {\"choices\":[{\"del\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);
}

static void a_stream_with_a_broken_character_lives_on(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0,
                "data: {\"choices\":[{\"delta\":{\"content\":\"a\xf0\x9f\"}}]}\n\n" FINISH DONE);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, "a\xef\xbf\xbd"));
    driver_done(&d);
}

static void anthropic_usage_is_merged_over_its_events(void **state)
{
    (void)state;
    struct driver d = streaming(API_ANTHROPIC_MESSAGES, "{\"model\":\"m\",\"stream\":true}");
    driver_text(
        &d, 0,
        "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-x\","
        "\"usage\":{\"input_tokens\":3602,\"output_tokens\":1}}}\n\n");
    assert_false(pipeline_committed(d.pipeline));
    driver_text(&d, 0, "data: {\"type\":\"ping\"}\n\n");
    assert_false(pipeline_committed(d.pipeline));
    driver_text(&d, 0,
                "data: "
                "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
                "\"text\",\"text\":\"\"}}\n\n");
    assert_true(pipeline_committed(d.pipeline));
    driver_text(&d, 0,
                "data: "
                "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{\"output_"
                "tokens\":3,\"cache_read_input_tokens\":50}}\n\n");
    driver_text(&d, 0,
                "data: "
                "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"
                "\"output_tokens\":9}}\n\n");
    driver_text(&d, 0, "data: {\"type\":\"message_stop\"}\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    assert_int_equal(r->usage.input, 3652);
    assert_int_equal(r->usage.cached, 50);
    assert_int_equal(r->usage.output, 9);
    assert_true(span_is(r->upstream_id, "msg_1"));
    assert_true(span_is(r->upstream_model, "claude-x"));
    driver_done(&d);
}

/* message_start counts one output token whatever follows: what was said is charged, not that. */
static void a_cut_anthropic_stream_is_charged_by_its_text(void **state)
{
    (void)state;
    struct driver d = streaming(API_ANTHROPIC_MESSAGES, "{\"model\":\"m\",\"stream\":true}");
    driver_text(&d, 0,
                "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,"
                "\"output_tokens\":1}}}\n\n"
                "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
                "\"text_delta\",\"text\":\"0123456789abcdef\"}}\n\n");
    pipeline_cancel(d.pipeline);
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    assert_int_equal(r->usage.input, 7);
    assert_int_equal(r->usage.output, 4);
    assert_true(r->estimated);
    driver_done(&d);
}

/* ---- responses ---- */

static void responses_end_without_done_and_are_metered_by_their_last_event(void **state)
{
    (void)state;
    static const char created[] =
        "event: response.created\ndata: "
        "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"error\":null}}\n\n";
    static const char delta[] = "event: response.output_text.delta\ndata: "
                                "{\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
    static const char done[] = "event: response.completed\ndata: "
                               "{\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\","
                               "\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}}\n\n";
    struct driver d = streaming(API_OPENAI_RESPONSES, "{\"model\":\"m\",\"stream\":true}");
    driver_text(&d, 0, created);
    assert_false(pipeline_committed(d.pipeline));
    driver_text(&d, 0, delta);
    driver_text(&d, 0, done);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, created));
    assert_false(driver_output_has(&d, "[DONE]"));
    assert_int_equal(pipeline_result(d.pipeline)->usage.output, 6);
    assert_true(span_is(pipeline_result(d.pipeline)->upstream_id, "resp_1"));
    driver_done(&d);
}

static void a_failed_response_is_a_failure_first_and_an_event_later(void **state)
{
    (void)state;
    static const char failed[] = "event: response.failed\ndata: "
                                 "{\"type\":\"response.failed\",\"response\":{\"error\":{"
                                 "\"message\":\"no\",\"class\":30}}}\n\n";
    struct driver d = streaming(API_OPENAI_RESPONSES, "{\"model\":\"m\",\"stream\":true}");
    driver_text(&d, 0, failed);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, 30);
    driver_done(&d);
    d = streaming(API_OPENAI_RESPONSES, "{\"model\":\"m\",\"stream\":true}");
    driver_text(&d, 0, "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n");
    driver_text(&d, 0, failed);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, failed));
    driver_done(&d);
}

static void stored_responses_are_read_deleted_and_cancelled_by_id(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *body;
        bool stream;
    } cases[] = {
        {"GET", "/responses/resp_1", "", false},
        {"GET", "/responses/resp_1?stream=true", "", true},
        {"DELETE", "/responses/resp_1", "", false},
        {"POST", "/responses/resp_1/cancel", "", false},
        {"POST", "/responses/resp_1/cancel", "{}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, API_OPENAI_RESPONSES);
        d.spec.method = span_str(cases[i].method);
        d.spec.path = span_str(cases[i].path);
        d.spec.target_model = SPAN_NONE;
        assert_int_equal(driver_start(&d, cases[i].body), OK);
        assert_string_equal(d.sent[0]->method, cases[i].method);
        assert_true(span_is(d.sent[0]->path, cases[i].path));
        assert_true(span_is(d.sent[0]->body, cases[i].body));
        assert_int_equal(pipeline_is_stream(d.pipeline), cases[i].stream);
        driver_done(&d);
    }
}

/* ---- plain JSON for a stream (H126) ---- */

static void json_for_a_stream_becomes_a_stream(void **state)
{
    (void)state;
    static const struct {
        enum api api;
        const char *request, *body, *stream;
    } cases[] = {
        {API_OPENAI_CHAT, asked,
         "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":7,\"choices\":[{\"index\":0,"
         "\"message\":{\"role\":"
         "\"assistant\",\"content\":\"a\\u0062\",\"tool_calls\":[{\"id\":\"t\",\"type\":"
         "\"function\",\"function\":{\"name\":"
         "\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_"
         "tokens\":1, "
         "\"completion_tokens\":2}}",
         "data: "
         "{\"id\":\"c\",\"created\":7,\"object\":\"chat.completion.chunk\",\"usage\":null,"
         "\"choices\":[{\"index\":0,"
         "\"delta\":{\"role\":\"assistant\",\"content\":\"a\\u0062\",\"tool_calls\":[{\"index\":0,"
         "\"id\":\"t\",\"type\":"
         "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":"
         "null}]}\n\n"
         "data: "
         "{\"id\":\"c\",\"created\":7,\"object\":\"chat.completion.chunk\",\"usage\":null,"
         "\"choices\":[{\"index\":0,"
         "\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n"
         "data: "
         "{\"id\":\"c\",\"created\":7,\"object\":\"chat.completion.chunk\",\"choices\":[],"
         "\"usage\":{\"prompt_tokens\":1,"
         "\"completion_tokens\":2}}\n\n" DONE},
        {API_OPENAI_CHAT, asked,
         "{\"id\":\"c\",\"choices\":[{\"message\":{\"content\":\"abcd\"},\"finish_reason\":"
         "\"stop\"}]"
         "}",
         "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"usage\":null,\"choices\":[{"
         "\"delta\":{\"content\":\"abcd\"},\"finish_reason\":null}]}\n\n"
         "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"usage\":null,\"choices\":[{"
         "\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
         "data: "
         "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":"
         "\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":17,\"completion_tokens\":1,\"total_"
         "tokens\":"
         "18,\"estimated\":true}}\n\n" DONE},
        {API_OPENAI_CHAT, not_asked,
         "{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":null}],\n\"usage\":{"
         "\"prompt_tokens\":1}}",
         "data: "
         "{\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"a\"},"
         "\"finish_reason\":null}]}\n\n"
         "data: "
         "{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_"
         "reason\":\"stop\"}]}\n\n" DONE},
        {API_OPENAI_COMPLETIONS, not_asked,
         "{\"object\":\"text_completion\",\n "
         "\"choices\":[{\"text\":\"a\",\"index\":0}],\"usage\":{}}",
         "data: "
         "{\"object\":\"text_completion\",\"choices\":[{\"text\":\"a\",\"index\":0}]}\n\n" DONE},
        {API_OPENAI_RESPONSES, "{\"stream\":true,\"model\":\"m\"}",
         "{\"object\":\"response\", \"status\":\"incomplete\"}",
         "event: response.created\ndata: "
         "{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"object\":"
         "\"response\",\"status\":\"in_progress\",\"output\":[],\"usage\":null}}\n\n"
         "event: response.in_progress\ndata: "
         "{\"type\":\"response.in_progress\",\"sequence_number\":1,\"response\":{\"object\":"
         "\"response\",\"status\":\"in_progress\",\"output\":[],\"usage\":null}}\n\n"
         "event: response.incomplete\ndata: "
         "{\"type\":\"response.incomplete\",\"sequence_number\":2,\"response\":{\"object\":"
         "\"response\",\"status\":\"incomplete\"}}\n\n"},
        {API_ANTHROPIC_MESSAGES, "{\"stream\":true,\"model\":\"m\"}",
         "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
         "\"text\",\"text\":\"Hi\"},{\"type\":"
         "\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\": "
         "1}}],\"stop_reason\":\"tool_use\",\"stop_sequence\":null,"
         "\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}",
         "event: message_start\ndata: "
         "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"
         "\"assistant\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2},\"content\":[],\"stop_"
         "reason\":null,"
         "\"stop_sequence\":null}}\n\n"
         "event: content_block_start\ndata: "
         "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","
         "\"text\":\"\"}}\n\n"
         "event: content_block_delta\ndata: "
         "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
         "\"text\":\"Hi\"}}\n\n"
         "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
         "event: content_block_start\ndata: "
         "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":"
         "\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\n"
         "event: content_block_delta\ndata: "
         "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":"
         "\"input_json_delta\",\"partial_json\":\"{\\\"a\\\": 1}\"}}\n\n"
         "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
         "event: message_delta\ndata: "
         "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":"
         "null},"
         "\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}\n\n"
         "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        assert_int_equal(driver_start(&d, cases[i].request), OK);
        driver_answer(&d, 0, 200, JSON_TYPE, cases[i].body);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        if (!driver_output_is(&d, cases[i].stream))
            fail_msg("case %zu:\n%.*s", i, SPAN_ARG(buf_span(&d.output)));
        driver_done(&d);
    }
}

static void absurd_usage_is_bounded_by_what_was_asked(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.output_most = 2 * 20000;
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"max_tokens\":20000,\"n\":2}"), OK);
    driver_answer(&d, 0, 200, JSON_TYPE,
                  "{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":"
                  "4611686018427387904,\"completion_tokens\":9223372036854775807}}");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    assert_true(r->estimated);
    assert_true(r->usage.input < 2000000);
    assert_int_equal(r->usage.output, 8 * 2 * 20000);
    driver_done(&d);
    static const char *const none[] = {"-5", "1.5", "1e300", "\"7\"", "null"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        struct buf answer = {0};
        init(&d, API_OPENAI_CHAT);
        assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
        buf_printf(&answer, "{\"choices\":[{}],\"usage\":{\"prompt_tokens\":%s}}%c", none[i], '\0');
        driver_answer(&d, 0, 200, JSON_TYPE, answer.data);
        assert_true(pipeline_result(d.pipeline)->estimated);
        assert_true(pipeline_result(d.pipeline)->usage.input < 100);
        buf_free(&answer);
        driver_done(&d);
    }
}

/* Another target may answer. */
static void an_answer_of_nothing_is_a_failure_of_the_upstream(void **state)
{
    (void)state;
    static const enum api apis[] = {API_OPENAI_CHAT,        API_OPENAI_COMPLETIONS,
                                    API_OPENAI_EMBEDDINGS,  API_OPENAI_RESPONSES,
                                    API_ANTHROPIC_MESSAGES, API_ANTHROPIC_COUNT_TOKENS};
    for (size_t i = 0; i < sizeof apis / sizeof *apis; i++) {
        struct driver d;
        init(&d, apis[i]);
        assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
        driver_answer(&d, 0, 200, JSON_TYPE, "{}");
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
        assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_ERROR);
        driver_done(&d);
    }
}

static void json_that_is_no_answer_becomes_no_stream(void **state)
{
    (void)state;
    static const struct {
        enum api api;
        const char *body;
    } cases[] = {
        {API_OPENAI_CHAT, "{\"choices\":7}"},
        {API_OPENAI_COMPLETIONS, "{\"choices\":{}}"},
        {API_OPENAI_RESPONSES, "{\"object\":\"list\"}"},
        {API_ANTHROPIC_MESSAGES, "{\"content\":\"x\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        assert_int_equal(driver_start(&d, not_asked), OK);
        driver_answer(&d, 0, 200, JSON_TYPE, cases[i].body);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
        assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
        driver_done(&d);
    }
}

static void every_block_of_a_message_finds_its_way_into_a_stream(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_ANTHROPIC_MESSAGES);
    assert_int_equal(driver_start(&d, not_asked), OK);
    driver_answer(&d, 0, 200, JSON_TYPE,
                  "{\"type\":\"message\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\","
                  "\"signature\":\"s\"},"
                  "{\"type\":\"redacted_thinking\",\"data\":\"d\"},{\"type\":\"server_tool_use\","
                  "\"id\":\"i\",\"name\":"
                  "\"n\",\"input\":{}},{\"type\":\"web_search_tool_result\",\"content\":[ 1, 2 "
                  "]}],\"stop_reason\":"
                  "\"end_turn\",\"stop_details\":null}");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(
        driver_output_has(&d, "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\""));
    assert_true(driver_output_has(&d, "{\"type\":\"thinking_delta\",\"thinking\":\"t\"}"));
    assert_true(driver_output_has(&d, "{\"type\":\"signature_delta\",\"signature\":\"s\"}"));
    assert_true(driver_output_has(&d, "{\"type\":\"redacted_thinking\",\"data\":\"d\"}"));
    assert_true(driver_output_has(&d, "{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}"));
    assert_true(driver_output_has(&d, "\"content\":[1,2]"));
    assert_true(driver_output_has(&d, "\"stop_details\":null"));
    driver_done(&d);
}

static void synthesised_streams_of_the_other_protocols(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_COMPLETIONS);
    assert_int_equal(driver_start(&d, asked), OK);
    driver_answer(&d, 0, 200, JSON_TYPE,
                  "{\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":1}}");
    assert_true(driver_output_is(&d, "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"
                                     "data: "
                                     "{\"object\":\"text_completion\",\"choices\":[],\"usage\":{"
                                     "\"prompt_tokens\":1}}\n\n" DONE));
    driver_done(&d);
    static const char *const statuses[] = {"completed", "failed"};
    for (size_t i = 0; i < 2; i++) {
        init(&d, API_OPENAI_RESPONSES);
        assert_int_equal(driver_start(&d, not_asked), OK);
        driver_head(&d, 0, 200, JSON_TYPE);
        driver_text(&d, 0, "{\"object\":\"response\",\"status\":\"");
        driver_text(&d, 0, statuses[i]);
        driver_text(&d, 0, "\"}");
        driver_end(&d, 0);
        assert_true(
            driver_output_has(&d, i ? "event: response.failed\n" : "event: response.completed\n"));
        driver_done(&d);
    }
}

/* ---- odd upstreams ---- */

static void choices_beyond_all_bounds_are_not_counted(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(
        &d, 0,
        "data: "
        "{\"choices\":[{\"index\":-1,\"delta\":{}},{\"index\":128,\"delta\":{\"content\":\"x\"}},"
        "{\"index\":127,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":-4}}"
        "\n\n");
    driver_end(&d, 0);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
}

static void an_empty_finish_reason_is_none(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, CHUNK("{\"content\":\"a\"},\"finish_reason\":\"\""));
    driver_end(&d, 0);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    driver_done(&d);
}

static void events_may_have_their_type_in_the_name_only(void **state)
{
    (void)state;
    struct driver d = streaming(API_ANTHROPIC_MESSAGES, not_asked);
    driver_text(&d, 0,
                "event: content_block_delta\ndata: {\"delta\":{\"text\":\"a\"}}\n\nevent: "
                "message_stop\ndata: {}\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
    d = streaming(API_OPENAI_RESPONSES, not_asked);
    driver_text(&d, 0,
                "event: response.queued\ndata: {}\n\nevent: response.cancelled\ndata: {}\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
    d = streaming(API_OPENAI_RESPONSES, not_asked);
    driver_text(&d, 0, "event: response.incomplete\ndata: {\"response\":{}}\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
    d = streaming(API_OPENAI_RESPONSES, not_asked);
    driver_text(&d, 0, "event: response.failed\ndata: {\"response\":{}}\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    driver_done(&d);
}

static void a_stream_nobody_asked_for_is_refused(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_text(&d, 0, "bytes before any head");
    driver_stream_head(&d, 0);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);
    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_end(&d, 0);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_CLOSED);
    driver_done(&d);
}

/* `stream` says nothing where there are no streams. */
static void a_protocol_without_streams_gives_none(void **state)
{
    (void)state;
    static const struct {
        enum api api;
        const char *body, *answer;
    } cases[] = {
        {API_OPENAI_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\",\"stream\":true}",
         "{\"object\":\"list\",\"data\":[],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}"},
        {API_ANTHROPIC_COUNT_TOKENS, "{\"model\":\"m\",\"messages\":[],\"stream\":true}",
         "{\"input_tokens\":5}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        assert_int_equal(driver_start(&d, cases[i].body), OK);
        assert_false(pipeline_is_stream(d.pipeline));
        expect_request(&d, cases[i].body);
        driver_answer(&d, 0, 200, JSON_TYPE, cases[i].answer);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        assert_true(driver_output_is(&d, cases[i].answer));
        driver_done(&d);
    }
}

static void an_event_that_is_no_object_is_a_protocol_error(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, HI "data: [1]\n\n");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);
}

static void only_2xx_and_plain_bytes_are_answers(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_answer(&d, 0, 199, JSON_TYPE, "{}");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_ERROR);
    driver_done(&d);
    init(&d, API_OPENAI_EMBEDDINGS);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\"}"), OK);
    driver_answer(&d, 0, 200, "content-encoding: Identity\n" JSON_TYPE,
                  "{\"data\":[],\"usage\":{\"total_tokens\":3}}");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_int_equal(pipeline_result(d.pipeline)->usage.output, 0);
    assert_true(pipeline_result(d.pipeline)->estimated);
    driver_done(&d);
}

/* Legacy completions go as they are only to models that speak them. */
static void completions_are_native_where_the_model_speaks_them(void **state)
{
    (void)state;
    static const struct config_model silent = {0}, chat = {.completions = "chat"};
    static const struct {
        const struct config_model *config;
        const char *model, *path;
    } cases[] = {
        {NULL, "gpt-4o", "/chat/completions"},  {&silent, "gpt-4o", "/chat/completions"},
        {&chat, "gpt-4o", "/chat/completions"}, {&native_completions, "gpt-4o", "/completions"},
        {NULL, "babbage-002", "/completions"},
    };
    struct model_table *table;
    struct buf error = {0};
    assert_int_equal(model_table_load(SOURCE_DIR "/share/models.json", &table, &error), OK);
    buf_free(&error);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        driver_init(&d, &provider_openai, API_OPENAI_COMPLETIONS, "/completions");
        d.spec.model_config = cases[i].config;
        d.spec.target_model = span_str(cases[i].model);
        d.spec.table = table;
        assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"prompt\":\"x\"}"), OK);
        if (!span_is(d.sent[0]->path, cases[i].path))
            fail_msg("%s: %.*s", cases[i].model, SPAN_ARG(d.sent[0]->path));
        driver_done(&d);
    }
    model_table_destroy(&table);
}

static void a_synthesised_response_has_the_grammar_of_its_streams(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_RESPONSES);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"input\":\"x\",\"stream\":true}"), OK);
    driver_answer(
        &d, 0, 200, JSON_TYPE,
        "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\n\"output\":[{\"id\":"
        "\"rs\","
        "\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"hm\"}]},{\"id\":"
        "\"m\","
        "\"type\":\"message\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{"
        "\"type\":"
        "\"output_text\",\"text\":\"a\\u0062\",\"annotations\":[]},{\"type\":\"refusal\","
        "\"refusal\":\"\"}"
        "]},{\"id\":\"f\",\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"n\","
        "\"arguments\":"
        "\"{}\"},{\"id\":\"w\",\"type\":\"web_search_call\"}],\"usage\":{\"total_tokens\":3}}");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    const char *complaint = response_stream_complaint(buf_span(&d.output), false);
    if (complaint)
        fail_msg("%s in %.*s", complaint, SPAN_ARG(buf_span(&d.output)));
    assert_true(driver_output_has(&d, "\"delta\":\"a\\u0062\""));
    driver_done(&d);
}

static void a_synthesised_stream_needs_a_protocol_with_streams(void **state)
{
    (void)state;
    static const struct {
        enum api api;
        const char *body, *out;
    } cases[] = {
        {API_OPENAI_EMBEDDINGS, "{}", NULL},
        {API_OPENAI_CHAT, "{\"choices\":[],\"usage\":null}", ""},
        {API_OPENAI_COMPLETIONS, "{\"choices\":[],\"usage\":null}", "data: {\"choices\":[]}\n\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_doc doc = {0};
        struct buf out = {0};
        assert_int_equal(json_parse(&doc, span_str(cases[i].body), JSON_DEPTH_UPSTREAM), OK);
        enum err e = synthesize_stream(cases[i].api, json_root(&doc), true, &out);
        assert_int_equal(e, cases[i].out ? OK : ERR_INVALID);
        if (cases[i].out && !span_is(buf_span(&out), cases[i].out))
            fail_msg("%.*s", SPAN_ARG(buf_span(&out)));
        buf_free(&out);
        json_doc_free(&doc);
    }
}

static void a_deleted_response_may_have_no_body(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_RESPONSES);
    d.spec.method = SPAN("DELETE");
    assert_int_equal(driver_start(&d, ""), OK);
    driver_answer(&d, 0, 204, "", "");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_int_equal(pipeline_result(d.pipeline)->status, 204);
    driver_done(&d);
}

static void an_error_event_of_responses_is_a_failure(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_RESPONSES, not_asked);
    driver_text(&d, 0,
                "event: error\ndata: {\"type\":\"error\",\"code\":\"x\",\"message\":\"m\"}\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    driver_done(&d);
}

/* ---- ends ---- */

static void a_client_that_leaves_ends_the_call(void **state)
{
    (void)state;
    struct driver d = streaming(API_OPENAI_CHAT, asked);
    driver_text(&d, 0, HI);
    pipeline_cancel(d.pipeline);
    driver_pump(&d);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_CLIENT_GONE);
    assert_int_equal(pipeline_result(d.pipeline)->status, 499);
    assert_true(pipeline_result(d.pipeline)->estimated);
    assert_int_equal(d.sent_count, 1);
    driver_text(&d, 0, HI);
    assert_true(driver_output_is(&d, HI));
    driver_done(&d);
}

static void a_stream_that_outgrows_its_reader_is_ended(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.max_response = 1;
    assert_int_equal(driver_start(&d, asked), OK);
    driver_stream_head(&d, 0);
    for (size_t i = 0; i < 20000 && pipeline_state(d.pipeline) == PIPELINE_RUNNING; i++)
        pipeline_on_bytes(d.pipeline, d.sent[0], SPAN(HI)); /* nobody takes the output */
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    driver_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_leaves_as_it_came_but_for_what_must_change),
        cmocka_unit_test(configured_defaults_fill_what_the_client_left_out),
        cmocka_unit_test(a_default_cap_has_openais_new_name_at_openai_itself),
        cmocka_unit_test(a_hard_budgets_cap_bounds_every_choice),
        cmocka_unit_test(a_hosts_quirks_are_spliced_too),
        cmocka_unit_test(system_messages_go_in_front_where_no_other_place_is_known),
        cmocka_unit_test(a_model_without_eyes_gets_no_images),
        cmocka_unit_test(what_the_gateway_reads_must_be_there_once_and_of_its_type),
        cmocka_unit_test(only_headers_of_the_protocol_are_forwarded),
        cmocka_unit_test(a_whole_answer_comes_back_byte_for_byte_and_is_metered),
        cmocka_unit_test(usage_is_read_in_every_protocol),
        cmocka_unit_test(missing_usage_is_estimated_and_marked),
        cmocka_unit_test(an_answer_that_is_none_is_a_protocol_error),
        cmocka_unit_test(bytes_that_are_not_utf8_are_mended),
        cmocka_unit_test(errors_keep_status_and_retry_after),
        cmocka_unit_test(an_error_in_a_200_is_an_error),
        cmocka_unit_test(answers_have_bounds),
        cmocka_unit_test(transport_failures_keep_their_class),
        cmocka_unit_test(a_stream_comes_back_byte_for_byte),
        cmocka_unit_test(usage_only_we_asked_for_is_hidden_again),
        cmocka_unit_test(what_stands_beside_hidden_usage_survives),
        cmocka_unit_test(a_pretty_printed_event_is_rewritten_on_one_line),
        cmocka_unit_test(nothing_is_committed_before_the_first_content),
        cmocka_unit_test(after_ten_seconds_it_is_committed_anyway),
        cmocka_unit_test(an_error_before_content_has_a_status_of_its_own),
        cmocka_unit_test(an_error_in_mid_stream_leaves_what_was_said),
        cmocka_unit_test(the_end_of_a_stream_decides_whether_it_was_whole),
        cmocka_unit_test(usage_that_was_asked_for_is_shown_though_it_is_a_guess),
        cmocka_unit_test(events_that_are_null_are_nothing),
        cmocka_unit_test(a_responses_own_error_passes_unchanged),
        cmocka_unit_test(responses_go_to_chat_where_there_are_none),
        cmocka_unit_test(a_404_of_a_model_is_the_clients),
        cmocka_unit_test(a_refused_wish_for_usage_is_withdrawn_and_remembered),
        cmocka_unit_test(a_connection_lost_behind_the_finish_costs_nothing),
        cmocka_unit_test(a_broken_event_is_not_skipped),
        cmocka_unit_test(a_stream_with_a_broken_character_lives_on),
        cmocka_unit_test(anthropic_usage_is_merged_over_its_events),
        cmocka_unit_test(a_cut_anthropic_stream_is_charged_by_its_text),
        cmocka_unit_test(responses_end_without_done_and_are_metered_by_their_last_event),
        cmocka_unit_test(a_failed_response_is_a_failure_first_and_an_event_later),
        cmocka_unit_test(stored_responses_are_read_deleted_and_cancelled_by_id),
        cmocka_unit_test(json_for_a_stream_becomes_a_stream),
        cmocka_unit_test(openai_headers_are_forwarded_to_openai),
        cmocka_unit_test(odd_defaults_and_caps_do_no_harm),
        cmocka_unit_test(json_that_is_no_answer_becomes_no_stream),
        cmocka_unit_test(absurd_usage_is_bounded_by_what_was_asked),
        cmocka_unit_test(an_answer_of_nothing_is_a_failure_of_the_upstream),
        cmocka_unit_test(every_block_of_a_message_finds_its_way_into_a_stream),
        cmocka_unit_test(synthesised_streams_of_the_other_protocols),
        cmocka_unit_test(choices_beyond_all_bounds_are_not_counted),
        cmocka_unit_test(an_empty_finish_reason_is_none),
        cmocka_unit_test(events_may_have_their_type_in_the_name_only),
        cmocka_unit_test(a_stream_nobody_asked_for_is_refused),
        cmocka_unit_test(a_protocol_without_streams_gives_none),
        cmocka_unit_test(an_event_that_is_no_object_is_a_protocol_error),
        cmocka_unit_test(only_2xx_and_plain_bytes_are_answers),
        cmocka_unit_test(completions_are_native_where_the_model_speaks_them),
        cmocka_unit_test(a_synthesised_response_has_the_grammar_of_its_streams),
        cmocka_unit_test(a_synthesised_stream_needs_a_protocol_with_streams),
        cmocka_unit_test(a_deleted_response_may_have_no_body),
        cmocka_unit_test(an_error_event_of_responses_is_a_failure),
        cmocka_unit_test(a_client_that_leaves_ends_the_call),
        cmocka_unit_test(a_stream_that_outgrows_its_reader_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
