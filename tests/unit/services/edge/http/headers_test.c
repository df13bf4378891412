#include "services/edge/http/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"

/* "name: value\n…" as the server would tell them. */
static struct request_head read_head(const char *lines)
{
    struct request_head h = {0};
    for (struct span rest = span_str(lines); rest.len;) {
        struct span value = span_cut(&rest, '\n');
        struct span name = span_cut(&value, ':');
        head_field(&h, name, span_trim(value));
    }
    return h;
}

static void the_key_is_found_in_either_field(void **state)
{
    static const struct {
        const char *lines, *key;
        enum key_found found;
    } cases[] = {
        {"Authorization: Bearer sk-1\n", "sk-1", KEY_FOUND},
        {"authorization: bearer  sk-1 \n", "sk-1", KEY_FOUND},
        {"X-Api-Key: sk-1\n", "sk-1", KEY_FOUND},
        {"Authorization: Bearer sk-1\nx-api-key: sk-1\n", "sk-1", KEY_FOUND},
        {"Authorization: Bearer\nx-api-key: sk-1\n", "sk-1", KEY_FOUND},
        {"Authorization: Basic dXNlcjpwYXNz\nx-api-key: sk-1\n", "sk-1", KEY_FOUND},
        {"Authorization: Bearer sk-1\nAuthorization: Bearer sk-1\n", "sk-1", KEY_FOUND},
        {"", "", KEY_MISSING},
        {"Authorization: Bearer \n", "", KEY_MISSING},
        {"Authorization: sk-1\n", "", KEY_MISSING},
        {"Authorization: Bearersk-1\n", "", KEY_MISSING},
        {"Authorization: Basic dXNlcjpwYXNz\n", "", KEY_MISSING},
        {"x-api-key: \n", "", KEY_MISSING},
        {"Authorization: Bearer sk-1\nx-api-key: sk-2\n", "", KEY_AMBIGUOUS},
        {"Authorization: Bearer sk-1\nAuthorization: Bearer sk-2\n", "", KEY_AMBIGUOUS},
        {"x-api-key: sk-1\nx-api-key: sk-2\n", "", KEY_AMBIGUOUS},
        {"Authorization: Bearer sk-1 sk-2\n", "", KEY_MALFORMED},
        {"api-key: sk-1\n", "sk-1", KEY_FOUND},
        {"X-Goog-Api-Key: sk-1\n", "sk-1", KEY_FOUND},
        {"api-key: sk-1\nAuthorization: Bearer sk-1\n", "sk-1", KEY_FOUND},
        {"api-key: sk-1\nAuthorization: Bearer sk-2\n", "", KEY_AMBIGUOUS},
        {"api-key: sk-1\nx-goog-api-key: sk-2\n", "", KEY_AMBIGUOUS},
        {"api-key: sk-1\napi-key: sk-2\n", "", KEY_AMBIGUOUS},
        /* ours stands above what a client sends for somebody else */
        {"x-litellm-api-key: sk-1\n", "sk-1", KEY_FOUND},
        {"x-litellm-api-key: Bearer sk-1\n", "sk-1", KEY_FOUND},
        {"x-tollgate-key: sk-1\nAuthorization: Bearer other\nx-api-key: another\n", "sk-1",
         KEY_FOUND},
        {"x-tollgate-key: sk-1\nx-litellm-api-key: sk-2\n", "", KEY_AMBIGUOUS},
        {"x-tollgate-key: \nx-api-key: sk-2\n", "sk-2", KEY_FOUND},
        {"x-tollgate-key: sk 1\n", "", KEY_MALFORMED},
        {"x-api-key: sk-\xc3\xa4\n", "", KEY_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request_head h = read_head(cases[i].lines);
        struct span key;
        assert_int_equal(head_key(&h, &key), cases[i].found);
        assert_true(span_is(key, cases[i].key));
    }
}

static void an_endless_key_is_malformed(void **state)
{
    char key[KEY_MAX_BYTES + 1];
    struct request_head h = {0};
    struct span found;
    (void)state;
    memset(key, 'k', sizeof key);
    h.x_api_key = span_of(key, KEY_MAX_BYTES);
    assert_int_equal(head_key(&h, &found), KEY_FOUND);
    h.x_api_key = span_of(key, KEY_MAX_BYTES + 1);
    assert_int_equal(head_key(&h, &found), KEY_MALFORMED);
}

static void a_sane_request_id_is_taken_and_another_is_not(void **state)
{
    (void)state;
    struct request_head h = read_head("X-Request-Id: 7f3c-AB_c.d:e/f+g=@\n");
    assert_true(span_is(head_client_id(&h), "7f3c-AB_c.d:e/f+g=@"));
    h = read_head("x-request-id: a b\n");
    assert_int_equal(head_client_id(&h).len, 0);
    h = read_head("x-request-id: \"quoted\"\n");
    assert_int_equal(head_client_id(&h).len, 0);
    h = read_head("x-request-id: [x]\n");
    assert_int_equal(head_client_id(&h).len, 0);
    h = read_head("");
    assert_int_equal(head_client_id(&h).len, 0);
    char id[CLIENT_ID_MAX_BYTES + 1];
    memset(id, 'x', sizeof id);
    h.request_id = span_of(id, sizeof id);
    assert_int_equal(head_client_id(&h).len, 0);
    h.request_id = span_of("a\0b", 3);
    assert_int_equal(head_client_id(&h).len, 0);
}

static void patience_is_read_in_seconds(void **state)
{
    static const struct {
        const char *lines;
        uint64_t ms;
    } cases[] = {
        {"", 0},
        {"x-stainless-read-timeout: 600\n", 600000},
        {"x-stainless-timeout: 5\n", 5000},
        {"x-stainless-timeout: 5\nx-stainless-read-timeout: 7\n", 7000},
        {"x-stainless-read-timeout: 7\nx-stainless-timeout: 5\n", 7000},
        {"x-stainless-read-timeout: 0.25\n", 250},
        {"x-stainless-read-timeout: 1.50009\n", 1500},
        {"x-stainless-read-timeout: NOT_GIVEN\n", 0},
        {"x-stainless-read-timeout: -1\n", 0},
        {"x-stainless-read-timeout: 1.x\n", 0},
        {"x-stainless-read-timeout: 99999999999\n", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request_head h = read_head(cases[i].lines);
        assert_true(head_patience_ms(&h) == cases[i].ms);
    }
}

static void repeats_are_read_where_they_are_numbers(void **state)
{
    static const struct {
        const char *lines;
        unsigned n;
    } cases[] = {
        {"", 0},
        {"x-stainless-retry-count: 0\n", 0},
        {"X-Stainless-Retry-Count: 2\n", 2},
        {"x-stainless-retry-count: two\n", 0},
        {"x-stainless-retry-count: -1\n", 0},
        {"x-stainless-retry-count: 4294967296\n", 100},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request_head h = read_head(cases[i].lines);
        assert_int_equal(head_repeats(&h), cases[i].n);
    }
}

static void only_listed_fields_travel_to_an_upstream(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, 0);
    struct request_head h =
        read_head("Cookie: a=b\nAnthropic-Beta: tools\nanthropic-version: 2023-06-01\n"
                  "OpenAI-Beta: x\nAuthorization: Bearer sk-1\nx-stainless-lang: python\n");
    assert_true(h.has_anthropic_version);
    assert_true(span_is(head_passed_lines(&h, &arena),
                        "anthropic-beta: tools\nanthropic-version: 2023-06-01\nopenai-beta: x\n"));
    h = read_head("Host: x\n");
    assert_int_equal(head_passed_lines(&h, &arena).len, 0);
    h = read_head("traceparent: 00-1-2-01\nIdempotency-Key: k\nx-client-request-id: c\n"
                  "anthropic-workspace-id: w\nanthropic-user-profile-id: u\nopenai-project: p\n");
    assert_true(span_is(head_passed_lines(&h, &arena),
                        "anthropic-user-profile-id: u\nanthropic-workspace-id: w\n"
                        "openai-project: p\nidempotency-key: k\nx-client-request-id: c\n"
                        "traceparent: 00-1-2-01\n"));
    arena_free(&arena);
}

static void a_list_in_several_fields_is_joined(void **state)
{
    (void)state;
    struct arena arena;
    struct buf lines = {0};
    arena_init(&arena, 0);
    struct request_head h = read_head("anthropic-beta: a,b\nanthropic-version: 1\n"
                                      "Anthropic-Beta: c\nanthropic-version: 2\ntracestate: x=1\n"
                                      "anthropic-beta: \ntracestate: y=2\n");
    assert_true(span_is(head_passed_lines(&h, &arena),
                        "anthropic-beta: a,b,c\nanthropic-version: 1\ntracestate: x=1,y=2\n"));
    for (int i = 0; i < 100; i++) /* bounded */
        buf_append_str(&lines, "anthropic-beta: a\n");
    buf_append_char(&lines, '\0');
    h = read_head(lines.data);
    assert_int_equal(h.passed_count, PASSED_MAX);
    buf_free(&lines);
    arena_free(&arena);
}

static void the_last_forwarded_address_is_our_own_proxys_word(void **state)
{
    (void)state;
    struct request_head h = read_head("X-Forwarded-For: 1.1.1.1, 10.0.0.9\n");
    assert_true(span_is(head_forwarded_address(&h), "10.0.0.9"));
    h = read_head("");
    assert_int_equal(head_forwarded_address(&h).len, 0);
}

static void one_coding_is_known_by_its_name(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        enum coding coding;
    } cases[] = {{"", CODING_NONE},
                 {"Content-Encoding: \n", CODING_NONE},
                 {"Content-Encoding: Identity\n", CODING_NONE},
                 {"content-encoding:  GZip \n", CODING_GZIP},
                 {"Content-Encoding: x-gzip\n", CODING_GZIP},
                 {"Content-Encoding: deflate\n", CODING_DEFLATE},
                 {"Content-Encoding: br\n", CODING_UNKNOWN},
                 {"Content-Encoding: gzip, gzip\n", CODING_UNKNOWN},
                 {"Content-Encoding: gzip\nContent-Encoding: identity\n", CODING_UNKNOWN}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request_head h = read_head(cases[i].fields);
        assert_int_equal(head_coding(&h), cases[i].coding);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_found_in_either_field),
        cmocka_unit_test(an_endless_key_is_malformed),
        cmocka_unit_test(a_sane_request_id_is_taken_and_another_is_not),
        cmocka_unit_test(patience_is_read_in_seconds),
        cmocka_unit_test(repeats_are_read_where_they_are_numbers),
        cmocka_unit_test(only_listed_fields_travel_to_an_upstream),
        cmocka_unit_test(a_list_in_several_fields_is_joined),
        cmocka_unit_test(the_last_forwarded_address_is_our_own_proxys_word),
        cmocka_unit_test(one_coding_is_known_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
