#include "services/edge/http/fields.h"
#include "services/edge/http/cors.h"
#include "services/edge/http/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void money_is_written_in_dollars(void **state)
{
    static const struct {
        uint64_t nano;
        const char *text;
    } cases[] = {{0, "0"},
                 {1, "0.000000001"},
                 {123000, "0.000123"},
                 {1000000000, "1"},
                 {1500000000, "1.5"},
                 {12345678901, "12.345678901"},
                 {UINT64_MAX, "18446744073.709551615"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct field_text t;
        assert_true(span_is(field_dollars(&t, cases[i].nano), cases[i].text));
    }
}

static void durations_are_written_as_the_api_does(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {{0, "0ms"},          {17, "17ms"},         {999, "999ms"},   {1000, "1s"},
                 {1500, "1.500s"},    {60000, "1m0s"},      {360000, "6m0s"}, {361500, "6m1s"},
                 {7380000, "2h3m0s"}, {86400000, "24h0m0s"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct field_text t;
        assert_true(span_is(field_duration(&t, cases[i].ms), cases[i].text));
    }
}

static void waiting_times_are_rounded_up_to_seconds(void **state)
{
    struct field_text t;
    (void)state;
    assert_true(span_is(field_seconds_up(&t, 1), "1"));
    assert_true(span_is(field_seconds_up(&t, 1000), "1"));
    assert_true(span_is(field_seconds_up(&t, 1001), "2"));
    assert_true(span_is(field_u64(&t, UINT64_MAX), "18446744073709551615"));
    assert_true(span_is(field_time(&t, 1793756602123), "2026-11-04T01:43:22.123Z"));
}

static void upstream_lines_are_read_one_by_one(void **state)
{
    struct span lines = SPAN(
        "x-tollgate-dropped: seed, n\nnonsense\n: empty\nOpenAI-Version: 2020-10-01\r\nlast: ");
    struct span name, value;
    (void)state;
    assert_true(field_next_line(&lines, &name, &value));
    assert_true(span_is(name, "x-tollgate-dropped") && span_is(value, "seed, n"));
    assert_true(field_next_line(&lines, &name, &value));
    assert_true(span_is(name, "OpenAI-Version") && span_is(value, "2020-10-01"));
    assert_true(field_next_line(&lines, &name, &value));
    assert_true(span_is(name, "last") && value.len == 0);
    assert_false(field_next_line(&lines, &name, &value));
}

static void only_harmless_upstream_fields_pass(void **state)
{
    (void)state;
    assert_true(field_may_pass(SPAN("x-tollgate-dropped")));
    assert_true(field_may_pass(SPAN("OpenAI-Processing-Ms")));
    assert_true(field_may_pass(SPAN("anthropic-ratelimit-requests-limit")));
    static const char *const kept_back[] = {"set-cookie",
                                            "content-length",
                                            "transfer-encoding",
                                            "x-request-id",
                                            "connection",
                                            "x-tollgate-cost",
                                            "openai-organization",
                                            "anthropic-organization-id",
                                            "openai-",
                                            "retry-after",
                                            ""};
    for (size_t i = 0; i < sizeof kept_back / sizeof kept_back[0]; i++)
        assert_false(field_may_pass(span_str(kept_back[i])));
}

static void patterns_hold_one_star(void **state)
{
    (void)state;
    assert_true(pattern_matches(SPAN("gpt-4"), SPAN("gpt-4")));
    assert_false(pattern_matches(SPAN("gpt-4"), SPAN("gpt-4o")));
    assert_true(pattern_matches(SPAN("gpt-*"), SPAN("gpt-")));
    assert_true(pattern_matches(SPAN("*-mini"), SPAN("o4-mini")));
    assert_false(pattern_matches(SPAN("ab*ba"), SPAN("aba")));
    assert_true(pattern_matches(SPAN("*"), SPAN("")));
    assert_true(pattern_list_matches(SPAN(""), SPAN("anything")));
    assert_true(pattern_list_matches(SPAN("a, gpt-*"), SPAN("gpt-4")));
    assert_false(pattern_list_matches(SPAN("a, gpt-*"), SPAN("claude")));
    assert_false(pattern_list_matches(SPAN(","), SPAN("claude")));
}

static void origins_are_answered_as_configured(void **state)
{
    static const char *const any[] = {"*"};
    static const char *const listed[] = {"https://a.example", "https://*.b.example"};
    (void)state;
    struct cors_answer a = cors_answer(any, 1, SPAN("https://x"));
    assert_true(span_is(a.allow_origin, "*") && !a.varies);
    a = cors_answer(listed, 2, SPAN("https://www.b.example"));
    assert_true(span_is(a.allow_origin, "https://www.b.example") && a.varies);
    a = cors_answer(listed, 2, SPAN("https://evil"));
    assert_true(a.allow_origin.len == 0 && a.varies);
    a = cors_answer(listed, 2, SPAN_NONE);
    assert_true(a.allow_origin.len == 0 && a.varies);
    a = cors_answer(NULL, 0, SPAN("https://x"));
    assert_true(a.allow_origin.len == 0 && !a.varies);
    assert_true(cors_headers_are_sane(SPAN("authorization, content-type,x-api-key")));
    assert_false(cors_headers_are_sane(SPAN("x\r\ny")));
    assert_false(cors_headers_are_sane(SPAN("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(money_is_written_in_dollars),
        cmocka_unit_test(durations_are_written_as_the_api_does),
        cmocka_unit_test(waiting_times_are_rounded_up_to_seconds),
        cmocka_unit_test(upstream_lines_are_read_one_by_one),
        cmocka_unit_test(only_harmless_upstream_fields_pass),
        cmocka_unit_test(patterns_hold_one_star),
        cmocka_unit_test(origins_are_answered_as_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
