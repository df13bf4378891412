/* The golden pairs of tests/fixtures/golden, each a test of its folder's name. */
#include "contract/test_support.h"

#include <stdio.h>

/* ---- streams ---- */

#define ASK_OPENAI                                                                                 \
    "{\"model\":\"claude-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":"    \
    "true}"
#define ASK_OPENAI_USAGE                                                                           \
    "{\"model\":\"claude-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":"    \
    "true,"                                                                                        \
    "\"stream_options\":{\"include_usage\":true}}"
#define ASK_ANTHROPIC                                                                              \
    "{\"model\":\"gpt-x\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}" \
    "],\"stream\":true}"
#define ASK_ANTHROPIC_THINKING                                                                     \
    "{\"model\":\"gpt-x\",\"max_tokens\":5000,\"thinking\":{\"type\":\"enabled\",\"budget_"        \
    "tokens\":1024},"                                                                              \
    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}"

struct stream_case {
    const char *name, *request;
};

static const struct stream_case streams[] = {
    {"stream_a2o_text", ASK_OPENAI},
    {"stream_a2o_text_usage", ASK_OPENAI_USAGE},
    {"stream_a2o_tool_no_args", ASK_OPENAI},
    {"stream_a2o_two_tools_overlap", ASK_OPENAI},
    {"stream_a2o_usage_two_deltas", ASK_OPENAI_USAGE},
    {"stream_a2o_max_tokens_in_tool", ASK_OPENAI},
    {"stream_a2o_thinking", ASK_OPENAI},
    {"stream_a2o_error_mid", ASK_OPENAI},
    {"stream_a2o_error_first", ASK_OPENAI},
    {"stream_a2o_cut", ASK_OPENAI},
    {"stream_a2o_cut_after_stop_reason", ASK_OPENAI},
    {"stream_a2o_refusal", ASK_OPENAI},
    {"stream_a2o_escapes", ASK_OPENAI},
    {"stream_o2a_usage_in_finish_chunk", ASK_ANTHROPIC},
    {"stream_o2a_tools_sequential", ASK_ANTHROPIC},
    {"stream_o2a_tools_interleaved", ASK_ANTHROPIC},
    {"stream_o2a_finish_stop_with_tools", ASK_ANTHROPIC},
    {"stream_o2a_reasoning", ASK_ANTHROPIC_THINKING},
    {"stream_o2a_no_done", ASK_ANTHROPIC},
    {"stream_o2a_cut", ASK_ANTHROPIC},
    {"stream_o2a_empty", ASK_ANTHROPIC},
    {"stream_o2a_refusal", ASK_ANTHROPIC},
};
enum { STREAMS = sizeof streams / sizeof *streams };

static bool is_from_anthropic(const char *name)
{
    return span_starts(span_str(name), "stream_a2o");
}

static void check_whole_error(struct driver *d, const char *name)
{
    struct span expected = file_read(GOLDEN "/%s/out.json", name);
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, expected, JSON_DEPTH_MAX), OK);
    int64_t status;
    assert_true(json_i64(json_get(json_root(&doc), "status"), &status));
    assert_false(pipeline_committed(d->pipeline));
    assert_int_equal(pipeline_result(d->pipeline)->status, status);
    expect_json(contract_output(d), json_raw(json_get(json_root(&doc), "body")), name, 0);
    json_doc_free(&doc);
    file_free(expected);
}

static void run_stream(void **state)
{
    const struct stream_case *c = *state;
    bool anthropic = is_from_anthropic(c->name);
    struct driver d;
    contract_init(&d, anthropic ? API_OPENAI_CHAT : API_ANTHROPIC_MESSAGES,
                  anthropic ? &provider_anthropic : &provider_openai,
                  anthropic ? "claude-x" : "gpt-x");
    contract_start(&d, c->request);
    struct span in = file_read(GOLDEN "/%s/in.sse", c->name);
    assert_non_null(in.data);
    contract_stream(&d, 0, in, (struct cut){CUT_NONE, 0});
    struct span out = file_read(GOLDEN "/%s/out.sse", c->name);
    if (out.data)
        expect_stream(contract_output(&d), out, c->name, anthropic ? 0 : COMPARE_MASK_INPUT_TOKENS);
    else
        check_whole_error(&d, c->name);
    file_free(in);
    file_free(out);
    driver_done(&d);
}

/* ---- requests ---- */

struct request_case {
    const char *name;
    enum api api;
    const struct provider *provider;
};

static const struct request_case requests[] = {
    {"req_o2a_tools", API_OPENAI_CHAT, &provider_anthropic},
    {"req_o2a_images", API_OPENAI_CHAT, &provider_anthropic},
    {"req_o2a_schema_effort_47", API_OPENAI_CHAT, &provider_anthropic},
    {"req_o2a_effort_budget", API_OPENAI_CHAT, &provider_anthropic},
    {"req_o2a_nulls_defaults", API_OPENAI_CHAT, &provider_anthropic},
    {"req_a2o_full", API_ANTHROPIC_MESSAGES, &provider_openai},
    {"completions_request", API_OPENAI_COMPLETIONS, &provider_anthropic},
    {"replicate_request", API_OPENAI_CHAT, &provider_replicate},
};
enum { REQUESTS = sizeof requests / sizeof *requests };

static void model_of(struct span body, char *out, size_t size)
{
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, body, JSON_DEPTH_MAX), OK);
    (void)snprintf(out, size, "%.*s", SPAN_ARG(json_text(json_get(json_root(&doc), "model"))));
    json_doc_free(&doc);
}

/* The answer to the question for the model's input schema. */
static void answer_schema(struct driver *d, const char *name)
{
    struct span schema = file_read(GOLDEN "/%s/schema.json", name);
    struct buf body = {0};
    buf_append_str(&body, "{\"latest_version\":{\"id\":\"v\",\"openapi_schema\":{\"components\":{"
                          "\"schemas\":{\"Input\":{"
                          "\"type\":\"object\",\"properties\":");
    buf_append(&body, schema);
    buf_append_str(
        &body,
        "},\"Output\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"x-cog-array-type\":"
        "\"iterator\",\"x-cog-array-display\":\"concatenate\"}}}}}}");
    assert_string_equal(d->sent[0]->method, "GET");
    contract_answer(d, 0, 200, buf_span(&body));
    buf_free(&body);
    file_free(schema);
}

static void check_whole_request(const struct transfer *x, struct span expected, const char *name)
{
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, expected, JSON_DEPTH_MAX), OK);
    struct json root = json_root(&doc);
    assert_true(json_is(json_get(root, "method"), x->method));
    struct span path = json_text(json_get(root, "path"));
    assert_true(span_starts(path, "/v1"));
    assert_true(span_equals(span_skip(path, 3), x->path));
    struct span prefer = json_text(json_get(json_get(root, "headers"), "prefer"));
    assert_true(span_find_span(x->headers, prefer) < x->headers.len);
    expect_json(x->body, json_raw(json_get(root, "body")), name, 0);
    json_doc_free(&doc);
}

static void run_request(void **state)
{
    const struct request_case *c = *state;
    struct span in = file_read(GOLDEN "/%s/in.json", c->name),
                out = file_read(GOLDEN "/%s/out.json", c->name);
    assert_non_null(in.data);
    assert_non_null(out.data);
    char model[128];
    model_of(in, model, sizeof model);
    struct driver d;
    contract_init(&d, c->api, c->provider, model);
    contract_start(&d, in.data);
    if (file_exists(GOLDEN "/%s/schema.json", c->name)) {
        answer_schema(&d, c->name);
        assert_int_equal(d.sent_count, 2);
        check_whole_request(d.sent[1], out, c->name);
    } else {
        expect_json(contract_sent(&d, 0), out, c->name, 0);
    }
    file_free(in);
    file_free(out);
    driver_done(&d);
}

/* ---- whole answers ---- */

static const struct request_case responses[] = {
    {"resp_a2o_texts_cache", API_OPENAI_CHAT, &provider_anthropic},
    {"resp_o2a_tools_stop", API_ANTHROPIC_MESSAGES, &provider_openai},
    {"replicate_response", API_OPENAI_CHAT, &provider_replicate},
};
enum { RESPONSES = sizeof responses / sizeof *responses };

static void run_response(void **state)
{
    const struct request_case *c = *state;
    struct span in = file_read(GOLDEN "/%s/in.json", c->name),
                out = file_read(GOLDEN "/%s/out.json", c->name);
    assert_non_null(in.data);
    struct driver d;
    contract_init(&d, c->api, c->provider, c->provider == &provider_replicate ? "meta/x" : "m");
    contract_start(&d, "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"hi\"}]}");
    size_t last = 0;
    if (c->provider == &provider_replicate) {
        answer_schema(&d, "replicate_request");
        last = 1;
    }
    contract_answer(&d, last, 200, in);
    expect_json(contract_output(&d), out, c->name, 0);
    file_free(in);
    file_free(out);
    driver_done(&d);
}

/* ---- errors ---- */

static const struct error_case {
    const char *name;
    const struct provider *provider;
} errors[] = {
    {"error_anthropic_429", &provider_anthropic},   {"error_openai_401_our_key", &provider_openai},
    {"error_openai_400_context", &provider_openai}, {"error_html_502", &provider_openai},
    {"error_replicate_422", &provider_replicate},
};
enum { ERRORS = sizeof errors / sizeof *errors };

static void header_lines(struct json in, struct buf *out)
{
    for (struct json_iter i = json_iter(json_get(in, "headers")); json_next(&i);) {
        buf_append(out, json_text(i.key));
        buf_append_str(out, ": ");
        buf_append(out, json_text(i.value));
        buf_append_char(out, '\n');
    }
    buf_append_char(out, 0);
}

static void check_error(struct driver *d, const char *name, const char *client)
{
    struct span expected = file_read(GOLDEN "/%s/%s.json", name, client);
    assert_non_null(expected.data);
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, expected, JSON_DEPTH_MAX), OK);
    struct json root = json_root(&doc), headers = json_get(root, "headers");
    int64_t status;
    assert_true(json_i64(json_get(root, "status"), &status));
    assert_int_equal(pipeline_result(d->pipeline)->status, status);
    const struct api_error *f = pipeline_fault(d->pipeline);
    uint64_t seconds;
    if (span_to_u64(json_text(json_get(headers, "retry-after")), &seconds))
        assert_int_equal((f->retry_after_ms + 999) / 1000, seconds);
    if (!json_absent(json_get(headers, "x-should-retry")))
        assert_int_equal(error_should_retry(f->error_class) && !f->final,
                         json_is(json_get(headers, "x-should-retry"), "true"));
    expect_json(contract_output(d), json_raw(json_get(root, "body")), name, 0);
    json_doc_free(&doc);
    file_free(expected);
}

static void run_error_for(const struct error_case *c, enum api api, const char *client)
{
    struct span in = file_read(GOLDEN "/%s/in.json", c->name);
    assert_non_null(in.data);
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, in, JSON_DEPTH_MAX), OK);
    struct json root = json_root(&doc);
    int64_t status;
    assert_true(json_i64(json_get(root, "status"), &status));
    struct json raw = json_get(root, "raw");
    struct buf lines = {0};
    header_lines(root, &lines);

    struct driver d;
    contract_init(&d, api, c->provider, c->provider == &provider_replicate ? "meta/x" : "m");
    contract_start(&d, "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"hi\"}]}");
    size_t last = 0;
    if (c->provider == &provider_replicate) {
        answer_schema(&d, "replicate_request");
        last = 1;
    }
    driver_head(&d, last, (unsigned)status, lines.data);
    driver_bytes(&d, last, json_absent(raw) ? json_raw(json_get(root, "body")) : json_text(raw));
    driver_end(&d, last);
    check_error(&d, c->name, client);
    driver_done(&d);
    buf_free(&lines);
    json_doc_free(&doc);
    file_free(in);
}

static void run_error(void **state)
{
    run_error_for(*state, API_OPENAI_CHAT, "openai");
    run_error_for(*state, API_ANTHROPIC_MESSAGES, "anthropic");
}

/* ---- all of them ---- */

/* A folder nobody compares would be a silent hole. */
static void every_golden_folder_is_compared(void **state)
{
    (void)state;
    struct file_list list = {0};
    file_list_add(&list, GOLDEN, "");
    for (size_t i = 0; i < list.count; i++) {
        struct span rest = span_skip(span_str(list.paths[i]), strlen(GOLDEN) + 1);
        struct span folder = span_cut(&rest, '/');
        bool found = rest.len == 0; /* README.md */
        for (size_t k = 0; k < STREAMS; k++)
            found |= span_is(folder, streams[k].name);
        for (size_t k = 0; k < REQUESTS; k++)
            found |= span_is(folder, requests[k].name);
        for (size_t k = 0; k < RESPONSES; k++)
            found |= span_is(folder, responses[k].name);
        for (size_t k = 0; k < ERRORS; k++)
            found |= span_is(folder, errors[k].name);
        if (!found)
            fail_msg("%.*s is compared by nobody", SPAN_ARG(folder));
    }
    file_list_free(&list);
}

int main(void)
{
    struct CMUnitTest tests[STREAMS + REQUESTS + RESPONSES + ERRORS + 1];
    size_t n = 0;
    for (size_t i = 0; i < STREAMS; i++)
        tests[n++] = (struct CMUnitTest){streams[i].name, run_stream, NULL, NULL,
                                         (void *)(uintptr_t)&streams[i]};
    for (size_t i = 0; i < REQUESTS; i++)
        tests[n++] = (struct CMUnitTest){requests[i].name, run_request, NULL, NULL,
                                         (void *)(uintptr_t)&requests[i]};
    for (size_t i = 0; i < RESPONSES; i++)
        tests[n++] = (struct CMUnitTest){responses[i].name, run_response, NULL, NULL,
                                         (void *)(uintptr_t)&responses[i]};
    for (size_t i = 0; i < ERRORS; i++)
        tests[n++] = (struct CMUnitTest){errors[i].name, run_error, NULL, NULL,
                                         (void *)(uintptr_t)&errors[i]};
    tests[n++] = (struct CMUnitTest){"every golden folder is compared",
                                     every_golden_folder_is_compared, NULL, NULL, NULL};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
