/* Upstream errors as our classes (H080, H097, H117, H120 to H127; golden error_*). */
#include "unit/services/worker/providers/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct fields {
    const char *pairs[6]; /* name, value, … */
};

static struct span get(const void *ctx, const char *name)
{
    const struct fields *f = ctx;
    for (size_t i = 0; f && i < 6 && f->pairs[i]; i += 2) {
        if (strcmp(f->pairs[i], name) == 0)
            return span_str(f->pairs[i + 1]);
    }
    return SPAN_NONE;
}

static void map(struct rig *r, const struct provider *provider, unsigned status,
                const struct fields *fields, struct span body)
{
    struct upstream_headers headers = {get, fields};
    rig_init(r, provider, "m");
    r->request.arena = &r->arena;
    provider->map_error(&r->pc, status, &headers, body, &r->fault);
}

struct status_case {
    unsigned status;
    const char *body;
    unsigned error_class;
};

static const struct status_case statuses[] = {
    {400, "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\"}}",
     ERROR_UPSTREAM_BAD_REQUEST},
    {400, "{\"error\":{\"message\":\"m\",\"code\":\"context_length_exceeded\"}}",
     ERROR_UPSTREAM_CONTEXT_LENGTH},
    {400,
     "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size\","
     "\"type\":\"exceed_context_size_error\"}}",
     ERROR_UPSTREAM_CONTEXT_LENGTH},
    {400,
     "{\"message\":\"The input (9000 tokens) is longer than the model's context length (8192)\"}",
     ERROR_UPSTREAM_CONTEXT_LENGTH},
    {400, "{\"error\":{\"message\":\"prompt is too long: 209000 tokens > 200000 maximum\"}}",
     ERROR_UPSTREAM_CONTEXT_LENGTH},
    {400, "{\"error\":\"This model's maximum prompt length is 131072\"}",
     ERROR_UPSTREAM_CONTEXT_LENGTH},
    {422,
     "{\"error\":\"`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000\","
     "\"error_type\":\"validation\"}",
     ERROR_UPSTREAM_CONTEXT_LENGTH},
    {400,
     "{\"error\":{\"message\":\"The response was filtered\",\"type\":null,"
     "\"code\":\"content_filter\"}}",
     ERROR_UPSTREAM_CONTENT_POLICY},
    {400,
     "{\"error\":{\"message\":\"filtered\",\"code\":null,\"status\":400,\"innererror\":{\"code\":"
     "\"ResponsibleAIPolicyViolation\"}}}",
     ERROR_UPSTREAM_CONTENT_POLICY},
    {400, "{\"message\":\"This model's maximum context length is 4096 tokens\"}",
     ERROR_UPSTREAM_CONTEXT_LENGTH},
    {400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is "
     "too long: 208310 tokens > 200000\"}}",
     ERROR_UPSTREAM_CONTEXT_LENGTH},
    {400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit "
     "balance is too low\"}}",
     ERROR_UPSTREAM_QUOTA},
    {401, "{}", ERROR_UPSTREAM_AUTH},
    {402, "{}", ERROR_UPSTREAM_QUOTA},
    {403, "{}", ERROR_UPSTREAM_AUTH},
    {404, "{}", ERROR_UPSTREAM_NOT_FOUND},
    {405, "{}", ERROR_UPSTREAM_BAD_REQUEST},
    {408, "{}", ERROR_UPSTREAM_TIMEOUT},
    {409, "{}", ERROR_UPSTREAM_CONFLICT},
    {413, "{}", ERROR_UPSTREAM_TOO_LARGE},
    {422, "{}", ERROR_UPSTREAM_UNPROCESSABLE},
    {429, "{}", ERROR_UPSTREAM_RATE_LIMITED},
    {429, "{\"error\":{\"code\":\"insufficient_quota\",\"type\":\"insufficient_quota\"}}",
     ERROR_UPSTREAM_QUOTA},
    {429, "{\"error\":{\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
     ERROR_UPSTREAM_RATE_LIMITED},
    {500, "{}", ERROR_UPSTREAM_ERROR},
    {502, "<html>", ERROR_UPSTREAM_OVERLOADED},
    {503, "{}", ERROR_UPSTREAM_OVERLOADED},
    {504, "{}", ERROR_UPSTREAM_TIMEOUT},
    {520, "{}", ERROR_UPSTREAM_ERROR},
    {529, "{}", ERROR_UPSTREAM_OVERLOADED},
    {301, "", ERROR_UPSTREAM_ERROR},
    {200, "{\"error\":{\"message\":\"m\",\"code\":503}}", ERROR_UPSTREAM_OVERLOADED},
    {200, "{\"error\":{\"message\":\"m\",\"code\":\"429\"}}", ERROR_UPSTREAM_RATE_LIMITED},
    {200, "{\"error\":{\"type\":\"overloaded_error\"}}", ERROR_UPSTREAM_OVERLOADED},
    {200, "{\"error\":{\"type\":\"authentication_error\"}}", ERROR_UPSTREAM_AUTH},
    {200, "{\"error\":{\"type\":\"invalid_request_error\",\"code\":\"model_not_found\"}}",
     ERROR_UPSTREAM_NOT_FOUND},
    {200, "{\"error\":{\"type\":\"new_word\"}}", ERROR_UPSTREAM_ERROR},
    {200, "{\"error\":\"text\"}", ERROR_UPSTREAM_ERROR},
    {200, "{\"error\":{\"message\":\"m\",\"code\":399}}", ERROR_UPSTREAM_ERROR},
    {200, "{\"error\":{\"message\":\"m\",\"code\":600}}", ERROR_UPSTREAM_ERROR},
    {400, "{\"error\":{\"message\":\"m\",\"code\":\"insufficient_quota\"}}", ERROR_UPSTREAM_QUOTA},
};

static void statuses_and_words_become_classes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct rig r;
        map(&r, &provider_openai, statuses[i].status, NULL, span_str(statuses[i].body));
        if (r.fault.error_class != statuses[i].error_class)
            fail_msg("%u %s: %s", statuses[i].status, statuses[i].body,
                     error_info(r.fault.error_class)->name);
        assert_true(r.fault.message.len > 0);
        assert_int_equal(r.fault.upstream_status, statuses[i].status);
        rig_free(&r);
    }
}

static void the_message_is_found_in_every_shape(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *body, *message;
    } cases[] = {
        {400, "{\"error\":{\"message\":\"m\"}}", "m"},
        {400, "{\"error\":\"m\"}", "m"},
        {400, "{\"message\":\"m\"}", "m"},
        {400, "{\"detail\":\"m\"}", "m"},
        {400, "{\"object\":\"error\",\"message\":\"m\",\"code\":400}", "m"},
        {422,
         "{\"title\":\"Input validation failed\",\"detail\":\"- input.temperature: must be "
         "greater\",\"status\":422}",
         "- input.temperature: must be greater"},
        {422, "{\"title\":\"t\"}", "t"},
        {422,
         "{\"detail\":[{\"loc\":[\"body\",\"input\",0],\"msg\":\"field "
         "required\"},{\"msg\":\"no\"}]}",
         "body.input.0: field required; no"},
        {422, "{\"message\":\"\",\"detail\":[],\"title\":\"t\"}", "t"},
        {422, "{\"detail\":[{\"loc\":[],\"msg\":7},{\"loc\":[\"a\"],\"msg\":\"m\"}]}", " ; a: m"},
        {502, "<html><h1>Bad Gateway</h1></html>", "The provider answered with status 502."},
        {500, "", "The provider answered with status 500."},
        {200, "{\"error\":{}}", "The provider answered with an error."},
        {401, "{\"error\":{\"message\":\"Incorrect API key provided: sk-abcdefghijklmnop.\"}}",
         "The provider refused the gateway's own key."}, /* H120 */
        {400, "{\"error\":{\"message\":\"Bad key sk-abcdefghijklmnop.\"}}",
         "Bad key sk-***."}, /* H127 */
        {400,
         "{\"error\":{\"message\":\"a\xff"
         "b\"}}",
         "a\xef\xbf\xbd"
         "b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        map(&r, &provider_openai, cases[i].status, NULL, span_str(cases[i].body));
        if (!span_is(r.fault.message, cases[i].message))
            fail_msg("%.*s, not %s", SPAN_ARG(r.fault.message), cases[i].message);
        rig_free(&r);
    }
}

static void code_and_param_are_kept_for_bad_requests_only(void **state)
{
    (void)state;
    struct rig r;
    map(&r, &provider_openai, 400, NULL,
        SPAN("{\"error\":{\"message\":\"m\",\"code\":\"unsupported_value\",\"param\":\"messages[0]."
             "role\"}}"));
    assert_true(span_is(r.fault.code, "unsupported_value"));
    assert_true(span_is(r.fault.param, "messages[0].role"));
    rig_free(&r);
    map(&r, &provider_openai, 400, NULL,
        SPAN("{\"error\":{\"message\":\"m\",\"code\":42,\"param\":null}}"));
    assert_int_equal(r.fault.code.len, 0);
    assert_int_equal(r.fault.param.len, 0);
    rig_free(&r);
    map(&r, &provider_openai, 500, NULL,
        SPAN("{\"error\":{\"message\":\"m\",\"code\":\"x\",\"param\":\"y\"}}"));
    assert_int_equal(r.fault.code.len + r.fault.param.len, 0);
    rig_free(&r);
}

static void waits_and_final_words_are_read(void **state) /* H122, H124 */
{
    (void)state;
    static const struct {
        unsigned status;
        struct fields fields;
        const char *body;
        uint64_t ms;
        bool final;
    } cases[] = {
        {429, {{"retry-after", "7", "x-should-retry", "true"}}, "{}", 7000, false},
        {429, {{"retry-after-ms", "1500"}}, "{}", 1500, false},
        {429,
         {{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "1m0s"}},
         "{}",
         60000,
         false},
        {429,
         {{NULL}},
         "{\"detail\":\"Request was throttled. Your rate limit resets in ~30s.\"}",
         30000,
         false},
        {500,
         {{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "1m0s"}},
         "{}",
         0,
         false},
        {500, {{"x-should-retry", "false"}}, "{}", 0, true},
        {302, {{NULL}}, "", 0, true},
        {429,
         {{NULL}},
         "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\","
         "\"details\":{\"error_code\":"
         "\"enforced_spend_limit_reached\"}}}",
         0,
         true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        map(&r, &provider_anthropic, cases[i].status, &cases[i].fields, span_str(cases[i].body));
        assert_int_equal(r.fault.retry_after_ms, cases[i].ms);
        assert_int_equal(r.fault.final, cases[i].final);
        rig_free(&r);
    }
}

/* No status and no body makes it stumble; what it says is always fit for a client. */
static void every_status_with_every_truncation_maps(void **state)
{
    (void)state;
    static const char body[] =
        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"a \\u00e9 "
        "b\",\"code\":null,"
        "\"details\":{\"error_code\":\"x\"}},\"detail\":[{\"loc\":[1,\"a\"],\"msg\":\"m\"}]}";
    for (size_t n = 0; n < sizeof body; n++) {
        for (unsigned status = 200; status < 600; status += 57) {
            struct rig r;
            char *cut = malloc(n ? n : 1);
            assert_non_null(cut);
            memcpy(cut, body, n);
            map(&r, &provider_replicate, status, NULL, span_of(cut, n));
            assert_true(r.fault.error_class != ERROR_NONE && r.fault.message.len > 0);
            free(cut);
            rig_free(&r);
        }
    }
}

/* What Azure says of its filters is for clients of the same protocol. */
static void an_azure_inner_error_is_kept_for_openais_clients(void **state)
{
    (void)state;
    static const char body[] =
        "{\"error\":{\"message\":\"filtered\",\"code\":\"content_filter\",\"innererror\":{\"code\":"
        "\"ResponsibleAIPolicyViolation\",\"content_filter_result\":{\"hate\":{\"filtered\":true}}}"
        "}}";
    static const struct {
        enum api api;
        bool kept;
    } cases[] = {{API_OPENAI_CHAT, true}, {API_ANTHROPIC_MESSAGES, false}};
    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        struct upstream_headers headers = {get, NULL};
        struct buf out = {0};
        rig_init(&r, &provider_openai, "m");
        r.request.arena = &r.arena;
        r.request.api = cases[i].api;
        provider_openai.map_error(&r.pc, 400, &headers, span_str(body), &r.fault);
        assert_int_equal(r.fault.error_class, ERROR_UPSTREAM_CONTENT_POLICY);
        api_error_write_body(&out, cases[i].api, &r.fault, SPAN("req_1"));
        bool has =
            span_find_span(buf_span(&out),
                           SPAN("\"code\":\"content_filter\",\"innererror\":{\"code\":"
                                "\"ResponsibleAIPolicyViolation\",\"content_filter_result\":{"
                                "\"hate\":{\"filtered\":true}}}}}")) < out.len;
        assert_int_equal(has, cases[i].kept);
        buf_free(&out);
        rig_free(&r);
    }
}

static void providers_are_found_by_their_type(void **state)
{
    (void)state;
    assert_ptr_equal(provider_all[PROTOCOL_OPENAI], &provider_openai);
    assert_ptr_equal(provider_all[PROTOCOL_ANTHROPIC], &provider_anthropic);
    assert_ptr_equal(provider_all[PROTOCOL_REPLICATE], &provider_replicate);
    assert_null(provider_all[PROTOCOL_COUNT]);
}

static int leave(void **state)
{
    (void)state;
    rig_table_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_and_words_become_classes),
        cmocka_unit_test(the_message_is_found_in_every_shape),
        cmocka_unit_test(code_and_param_are_kept_for_bad_requests_only),
        cmocka_unit_test(waits_and_final_words_are_read),
        cmocka_unit_test(every_status_with_every_truncation_maps),
        cmocka_unit_test(an_azure_inner_error_is_kept_for_openais_clients),
        cmocka_unit_test(providers_are_found_by_their_type),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
