/* What answers cost: by which price, and what the ledger is told of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "unit/services/worker/pipeline_driver.h"

#define JSON_TYPE "content-type: application/json\n"
#define CHAT_ANSWER(usage)                                                                         \
    "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," \
    "\"content\":\"a\"},\"finish_reason\":\"stop\"}]," usage "}"
#define MESSAGE_ANSWER(usage)                                                                      \
    "{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{"     \
    "\"type\":\"text\",\"text\":\"a\"}],\"stop_reason\":\"end_turn\",\"usage\":{" usage "}}"

static const char chat[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}";
static const char chat_stream[] =
    "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}";
static const char message[] = "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                              "\"content\":\"a\"}]}";
static const char response[] = "{\"model\":\"m\",\"input\":\"a\"}";
static const char response_stream[] = "{\"model\":\"m\",\"stream\":true,\"input\":\"a\"}";

struct cost_case {
    enum api api;
    enum protocol upstream;
    const char *request, *answer; /* a stream when the answer begins with "data:" or "event:" */
    uint64_t nano;
    enum cost_source source;
};

static const char *path_of(enum api api)
{
    static const char *const paths[API_COUNT] = {[API_OPENAI_CHAT] = "/chat/completions",
                                                 [API_OPENAI_RESPONSES] = "/responses",
                                                 [API_ANTHROPIC_MESSAGES] = "/messages"};
    return paths[api];
}

static void run(struct driver *d, const struct cost_case *c, const struct config_model *model)
{
    bool stream = strncmp(c->answer, "data:", 5) == 0 || strncmp(c->answer, "event:", 6) == 0;
    driver_init(d, provider_all[c->upstream], c->api, path_of(c->api));
    d->spec.model_config = model;
    assert_int_equal(driver_start(d, c->request), OK);
    driver_answer(d, 0, 200, stream ? "content-type: text/event-stream\n" : JSON_TYPE, c->answer);
    assert_int_equal(pipeline_state(d->pipeline), PIPELINE_DONE);
}

/* 1 $ per million tokens in, 2 out; a cached tenth; written for an hour: the double. */
static struct config_model priced(void)
{
    static const char text[] =
        "{\"input\":1,\"output\":2,\"cached_input\":0.1,\"cache_write\":1.25,\"flex\":{\"input\":"
        "0.5},\"fast\":{\"input\":6},\"web_search\":10,\"file_search\":2.5,\"code_interpreter\":"
        "30}";
    struct config_model model = {.price = {.set = true}};
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, span_str(text), JSON_DEPTH_CLIENT), OK);
    assert_true(tariff_read(json_root(&doc), &model.price.tariff));
    json_doc_free(&doc);
    return model;
}

static void an_answer_costs_what_its_usage_says(void **state)
{
    (void)state;
    static const struct cost_case cases[] = {
        {API_ANTHROPIC_MESSAGES, PROTOCOL_ANTHROPIC, message,
         MESSAGE_ANSWER("\"input_tokens\":1,\"cache_creation_input_tokens\":10,"
                        "\"cache_creation\":{\"ephemeral_1h_input_tokens\":4},\"output_tokens\":1"),
         1000 + 6 * 1250 + 4 * 2000 + 2000, COST_COMPUTED},
        {API_OPENAI_CHAT, PROTOCOL_ANTHROPIC, chat,
         MESSAGE_ANSWER("\"input_tokens\":1,\"cache_creation_input_tokens\":10,"
                        "\"cache_creation\":{\"ephemeral_1h_input_tokens\":4},\"output_tokens\":1"),
         1000 + 6 * 1250 + 4 * 2000 + 2000, COST_COMPUTED},
        {API_ANTHROPIC_MESSAGES, PROTOCOL_ANTHROPIC, message,
         MESSAGE_ANSWER("\"input_tokens\":1,\"output_tokens\":1,\"speed\":\"fast\""), 6000 + 12000,
         COST_COMPUTED},
        {API_ANTHROPIC_MESSAGES, PROTOCOL_ANTHROPIC, message,
         MESSAGE_ANSWER("\"input_tokens\":1,\"output_tokens\":1,\"server_tool_use\":{\"web_search_"
                        "requests\":2}"),
         3000 + 20000000, COST_COMPUTED},
        {API_OPENAI_CHAT, PROTOCOL_OPENAI, chat,
         CHAT_ANSWER("\"service_tier\":\"flex\",\"usage\":{\"prompt_tokens\":10,\"completion_"
                     "tokens\":1}"),
         5000 + 1000, COST_COMPUTED},
        {API_ANTHROPIC_MESSAGES, PROTOCOL_OPENAI, message,
         CHAT_ANSWER("\"service_tier\":\"flex\",\"usage\":{\"prompt_tokens\":10,\"completion_"
                     "tokens\":1}"),
         5000 + 1000, COST_COMPUTED},
        {API_OPENAI_CHAT, PROTOCOL_OPENAI, chat_stream,
         "data: "
         "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],"
         "\"service_tier\":\"flex\"}\n\n"
         "data: {\"choices\":[],\"service_tier\":\"flex\",\"usage\":{\"prompt_tokens\":10,"
         "\"completion_tokens\":1}}\n\ndata: [DONE]\n\n",
         5000 + 1000, COST_COMPUTED},
        /* Groq: usage beside the last delta, under a name of its own */
        {API_OPENAI_CHAT, PROTOCOL_OPENAI, chat_stream,
         "data: "
         "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n"
         "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{"
         "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}}\n\ndata: [DONE]\n\n",
         10000 + 6000, COST_COMPUTED},
        /* xAI: reasoning beside the output */
        {API_OPENAI_CHAT, PROTOCOL_OPENAI, chat,
         CHAT_ANSWER("\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1,\"total_tokens\":15,"
                     "\"completion_tokens_details\":{\"reasoning_tokens\":4}}"),
         10000 + 10000, COST_COMPUTED},
        /* an operator's own price stands above what a provider says */
        {API_OPENAI_CHAT, PROTOCOL_OPENAI, chat,
         CHAT_ANSWER("\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1,\"cost\":0.5}"),
         12000, COST_COMPUTED},
        {API_OPENAI_RESPONSES, PROTOCOL_OPENAI, response,
         "{\"object\":\"response\",\"id\":\"r\",\"error\":null,\"service_tier\":\"flex\","
         "\"output\":["
         "{\"type\":\"web_search_call\",\"action\":{\"type\":\"search\"}},"
         "{\"type\":\"web_search_call\",\"action\":{\"type\":\"open_page\"}},"
         "{\"type\":\"web_search_call\"},{\"type\":\"file_search_call\"},"
         "{\"type\":\"code_interpreter_call\",\"container_id\":\"a\"},"
         "{\"type\":\"code_interpreter_call\",\"container_id\":\"a\"},"
         "{\"type\":\"code_interpreter_call\",\"container_id\":\"b\"},{\"type\":\"message\"}],"
         "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}",
         5000 + 1000 + 20000000 + 2500000 + 60000000, COST_COMPUTED},
        {API_OPENAI_RESPONSES, PROTOCOL_OPENAI, response_stream,
         "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\","
         "\"output\":[],\"usage\":null}}\n\n"
         "event: response.output_item.done\ndata: "
         "{\"type\":\"response.output_item.done\",\"item\":{"
         "\"type\":\"web_search_call\",\"action\":{\"type\":\"search\"}}}\n\n"
         "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":"
         "\"r\",\"output\":[{\"type\":\"web_search_call\",\"action\":{\"type\":\"search\"}}],"
         "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
         12000 + 10000000, COST_COMPUTED},
    };
    struct config_model model = priced();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        run(&d, &cases[i], &model);
        const struct pipeline_result *r = pipeline_result(d.pipeline);
        if (r->cost_nano != cases[i].nano || r->cost_source != cases[i].source)
            fail_msg("case %zu: %llu nano-dollars, source %d", i, (unsigned long long)r->cost_nano,
                     (int)r->cost_source);
        driver_done(&d);
    }
}

static void without_a_price_the_providers_word_counts_or_nobodys(void **state)
{
    (void)state;
    static const struct cost_case cases[] = {
        {API_OPENAI_CHAT, PROTOCOL_OPENAI, chat,
         CHAT_ANSWER("\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1,\"cost\":0.0123}"),
         12300000, COST_STATED},
        {API_ANTHROPIC_MESSAGES, PROTOCOL_OPENAI, message,
         CHAT_ANSWER("\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1,\"cost\":0.0123}"),
         12300000, COST_STATED},
        {API_OPENAI_CHAT, PROTOCOL_OPENAI, chat,
         CHAT_ANSWER("\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":1}"), 0, COST_UNPRICED},
        {API_ANTHROPIC_MESSAGES, PROTOCOL_ANTHROPIC, message,
         MESSAGE_ANSWER("\"input_tokens\":0,\"output_tokens\":0"), 0, COST_COMPUTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        run(&d, &cases[i], NULL);
        const struct pipeline_result *r = pipeline_result(d.pipeline);
        assert_int_equal(r->cost_nano, cases[i].nano);
        assert_int_equal(r->cost_source, cases[i].source);
        driver_done(&d);
    }
}

/* Clients of both protocols see how long what was written is kept. */
static void the_split_of_cache_writes_reaches_clients(void **state)
{
    (void)state;
    static const struct cost_case cases[] = {
        {.api = API_OPENAI_CHAT,
         .upstream = PROTOCOL_ANTHROPIC,
         .request = chat,
         .answer = MESSAGE_ANSWER("\"input_tokens\":1,\"cache_creation_input_tokens\":10,\"cache_"
                                  "creation\":{\"ephemeral_1h_input_tokens\":4},\"output_tokens\":"
                                  "1")},
        {.api = API_ANTHROPIC_MESSAGES,
         .upstream = PROTOCOL_OPENAI,
         .request = message,
         .answer = CHAT_ANSWER("\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":1,\"prompt_"
                               "tokens_details\":{\"cache_write_tokens\":10,\"cache_creation_token_"
                               "details\":{\"ephemeral_1h_input_tokens\":4}}}")},
    };
    static const char *const members[] = {
        "\"cache_creation_token_details\":{\"ephemeral_5m_input_tokens\":6,"
        "\"ephemeral_1h_input_tokens\":4}",
        "\"cache_creation\":{\"ephemeral_5m_input_tokens\":6,\"ephemeral_1h_input_tokens\":4}"};
    for (size_t i = 0; i < 2; i++) {
        struct driver d;
        run(&d, &cases[i], NULL);
        if (!driver_output_has(&d, members[i]))
            fail_msg("%.*s", SPAN_ARG(buf_span(&d.output)));
        driver_done(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_costs_what_its_usage_says),
        cmocka_unit_test(without_a_price_the_providers_word_counts_or_nobodys),
        cmocka_unit_test(the_split_of_cache_writes_reaches_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
