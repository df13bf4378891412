#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "services/worker/endpoints/endpoints.h"

static const struct breaker_rules breaker = {
    .failures = 2, .open_us = 10000000, .max_us = 60000000};
static const struct provider bearer = {.protocol = PROTOCOL_OPENAI};
static const struct provider x_api_key = {.protocol = PROTOCOL_ANTHROPIC};

static struct config_list list_of(const char **items, size_t n)
{
    return (struct config_list){items, n};
}

static struct endpoints *make(const char **urls, size_t url_count, const char **keys,
                              size_t key_count)
{
    struct config_provider p = {.name = "p",
                                .private_network = true,
                                .endpoints = list_of(urls, url_count),
                                .api_keys = list_of(keys, key_count)};
    struct endpoints *e = NULL;
    assert_int_equal(endpoints_create(&e, &p, &bearer, &breaker), OK);
    return e;
}

static const char *two_urls[] = {"http://a/v1", "http://b/v1"}, *two_keys[] = {"sk-1", "sk-2"};

static void lanes_are_endpoints_times_keys(void **state)
{
    (void)state;
    struct endpoints *e = make(two_urls, 2, two_keys, 2);
    static const char *const want[][2] = {{"http://a/v1", "Authorization: Bearer sk-1"},
                                          {"http://a/v1", "Authorization: Bearer sk-2"},
                                          {"http://b/v1", "Authorization: Bearer sk-1"},
                                          {"http://b/v1", "Authorization: Bearer sk-2"}};
    assert_int_equal(endpoints_count(e), 4);
    assert_null(endpoints_why(e));
    for (unsigned i = 0; i < 4; i++) {
        const struct endpoint *endpoint = endpoints_at(e, i);
        assert_int_equal(endpoint->index, i);
        assert_true(span_is(endpoint->base_url, want[i][0]));
        assert_true(span_is(secret_reveal(endpoint->key_header), want[i][1]));
    }
    assert_null(endpoints_at(e, 4));
    endpoints_destroy(&e);
}

static void keys_come_from_the_environment_and_the_provider_gives_the_address(void **state)
{
    (void)state;
    const char *keys[] = {"${TEST_KEY}"};
    struct config_provider p = {.name = "p", .api_keys = list_of(keys, 1)};
    struct endpoints *e = NULL;
    assert_int_equal(setenv("TEST_KEY", "sk-env", 1), 0);
    assert_int_equal(endpoints_create(&e, &p, &x_api_key, &breaker), OK);
    assert_int_equal(endpoints_count(e), 1);
    assert_true(span_is(secret_reveal(endpoints_at(e, 0)->key_header), "x-api-key: sk-env"));
    assert_true(span_is(endpoints_at(e, 0)->base_url, "https://api.anthropic.com/v1"));
    endpoints_destroy(&e);
    (void)unsetenv("TEST_KEY");
}

static void without_a_key_there_are_no_lanes_and_a_reason(void **state)
{
    (void)state;
    const char *keys[] = {"${TEST_KEY_UNSET}"};
    struct config_provider p = {.name = "p", .api_keys = list_of(keys, 1)};
    struct endpoints *e = NULL;
    assert_int_equal(endpoints_create(&e, &p, &bearer, &breaker), OK);
    assert_int_equal(endpoints_count(e), 0);
    assert_string_equal(endpoints_why(e), "no api key: TEST_KEY_UNSET is not set");
    assert_null(endpoints_take(e, SPAN_NONE, 0));
    endpoints_destroy(&e);

    p.api_keys.count = 0;
    assert_int_equal(endpoints_create(&e, &p, &bearer, &breaker), OK);
    assert_string_equal(endpoints_why(e), "no api key");
    endpoints_destroy(&e);
}

static void a_missing_key_beside_a_good_one_is_left_out(void **state)
{
    (void)state;
    const char *keys[] = {"${TEST_KEY_UNSET}", "sk-good"};
    struct endpoints *e = make(two_urls, 1, keys, 2);
    assert_int_equal(endpoints_count(e), 1);
    assert_null(endpoints_why(e));
    endpoints_destroy(&e);
}

static void an_endpoint_whose_variable_is_missing_is_left_out(void **state)
{
    (void)state;
    const char *urls[] = {"${TEST_URL_UNSET}", "os.environ/TEST_URL", "http://c:1/d?v=2"};
    struct endpoints *e;
    (void)unsetenv("TEST_URL_UNSET");
    assert_int_equal(setenv("TEST_URL", "http://b:8000/", 1), 0);
    e = make(urls, 3, two_keys, 2);
    assert_int_equal(endpoints_count(e), 4);
    assert_null(endpoints_why(e));
    assert_true(span_is(endpoints_at(e, 0)->base_url, "http://b:8000/v1"));
    assert_true(span_is(endpoints_at(e, 0)->query, ""));
    assert_true(span_is(endpoints_at(e, 2)->base_url, "http://c:1/d"));
    assert_true(span_is(endpoints_at(e, 2)->query, "v=2"));
    endpoints_destroy(&e);
    e = make(urls, 1, two_keys, 2);
    assert_int_equal(endpoints_count(e), 0);
    assert_string_equal(endpoints_why(e),
                        "no endpoint: ${TEST_URL_UNSET} names a variable that is not set");
    endpoints_destroy(&e);
    (void)unsetenv("TEST_URL");
}

static void clients_credentials_go_to_https_alone_and_need_no_key(void **state)
{
    (void)state;
    const char *urls[] = {"http://a/v1", "https://a/v1"};
    struct config_provider p = {
        .name = "p", .auth = "client", .private_network = true, .endpoints = list_of(urls, 2)};
    struct endpoints *e = NULL;
    assert_int_equal(endpoints_create(&e, &p, &bearer, &breaker), OK);
    assert_int_equal(endpoints_count(e), 1);
    assert_true(span_is(endpoints_at(e, 0)->base_url, "https://a/v1"));
    assert_null(endpoints_at(e, 0)->key_header);
    endpoints_destroy(&e);
    p = (struct config_provider){.name = "anthropic", .auth = "client"};
    assert_int_equal(endpoints_create(&e, &p, &x_api_key, &breaker), OK);
    assert_int_equal(endpoints_count(e), 1);
    endpoints_destroy(&e);
}

static void own_endpoints_may_be_keyless(void **state)
{
    (void)state;
    struct endpoints *e = make(two_urls, 2, NULL, 0);
    assert_int_equal(endpoints_count(e), 2);
    assert_null(endpoints_at(e, 0)->key_header);
    endpoints_destroy(&e);
}

static void too_many_lanes_are_refused(void **state)
{
    (void)state;
    const char *urls[CONFIG_MAX_ENDPOINTS + 1];
    struct endpoints *e = NULL;
    for (size_t i = 0; i <= CONFIG_MAX_ENDPOINTS; i++)
        urls[i] = "http://a/v1";
    struct config_provider p = {
        .name = "p", .private_network = true, .endpoints = list_of(urls, CONFIG_MAX_ENDPOINTS + 1)};
    assert_int_equal(endpoints_create(&e, &p, &bearer, &breaker), ERR_TOO_BIG);
    assert_null(e);
}

static void equals_take_turns_and_the_least_busy_goes_first(void **state)
{
    (void)state;
    struct endpoints *e = make(two_urls, 2, two_keys, 2);
    unsigned seen[4] = {0};
    struct endpoint *taken[4];
    for (unsigned i = 0; i < 4; i++) {
        taken[i] = endpoints_take(e, SPAN_NONE, 0);
        seen[taken[i]->index]++;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(seen[i], 1);
    endpoints_give_back(e, taken[2], ENDPOINT_WELL, 0, 0);
    assert_ptr_equal(endpoints_take(e, SPAN_NONE, 0), taken[2]);
    for (unsigned i = 0; i < 4; i++)
        endpoints_give_back(e, taken[i], ENDPOINT_WELL, 0, 0);
    struct endpoint *first = endpoints_take(e, SPAN_NONE, 0);
    endpoints_give_back(e, first, ENDPOINT_WELL, 0, 0);
    assert_ptr_not_equal(endpoints_take(e, SPAN_NONE, 0), first);
    endpoints_destroy(&e);
}

static void avoided_lanes_are_used_only_when_there_is_no_other(void **state)
{
    (void)state;
    struct endpoints *e = make(two_urls, 2, two_keys, 2);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(endpoints_take(e, SPAN("0, 1,3,x,"), 0)->index, 2);
    assert_non_null(endpoints_take(e, SPAN("0,1,2,3"), 0));
    endpoints_destroy(&e);
}

static void an_open_breaker_keeps_a_lane_out_until_its_probe(void **state)
{
    (void)state;
    struct endpoints *e = make(two_urls, 2, two_keys, 1);
    struct endpoint *bad = endpoints_at(e, 0);
    for (unsigned i = 0; i < 2; i++) {
        endpoints_take_this(e, bad, 0);
        endpoints_give_back(e, bad, ENDPOINT_FAILED, 0, 0);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(endpoints_take(e, SPAN_NONE, 9999)->index, 1);
    struct endpoint *probe = endpoints_take(e, SPAN_NONE, 10000);
    assert_ptr_equal(probe, bad);
    assert_int_equal(endpoints_take(e, SPAN_NONE, 10000)->index, 1);
    endpoints_give_back(e, probe, ENDPOINT_WELL, 0, 10000);
    assert_int_equal(bad->breaker.state, BREAKER_CLOSED);
    endpoints_destroy(&e);
}

static void the_last_lane_is_used_even_when_open(void **state)
{
    (void)state;
    struct endpoints *e = make(two_urls, 1, two_keys, 1);
    for (unsigned i = 0; i < 10; i++) {
        struct endpoint *endpoint = endpoints_take(e, SPAN_NONE, 0);
        assert_non_null(endpoint);
        endpoints_give_back(e, endpoint, ENDPOINT_FAILED, 0, 0);
    }
    endpoints_destroy(&e);
}

static void a_limited_endpoint_rests_as_long_as_told_but_not_for_ever(void **state)
{
    (void)state;
    struct endpoints *e = make(two_urls, 1, two_keys, 2);
    struct endpoint *endpoint = endpoints_take(e, SPAN_NONE, 0);
    endpoints_give_back(e, endpoint, ENDPOINT_LIMITED, UINT64_MAX, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_ptr_not_equal(endpoints_take(e, SPAN_NONE, ENDPOINTS_MAX_REST_MS - 1), endpoint);
    assert_ptr_equal(endpoints_take(e, SPAN_NONE, ENDPOINTS_MAX_REST_MS), endpoint);
    endpoints_destroy(&e);
}

static void error_classes_blame_the_lane_or_not(void **state)
{
    static const struct {
        unsigned error_class;
        enum endpoint_verdict verdict;
    } cases[] = {{ERROR_NONE, ENDPOINT_WELL},
                 {ERROR_UPSTREAM_BAD_REQUEST, ENDPOINT_WELL},
                 {ERROR_UPSTREAM_CONTEXT_LENGTH, ENDPOINT_WELL},
                 {ERROR_UPSTREAM_NOT_FOUND, ENDPOINT_WELL},
                 {ERROR_UPSTREAM_RATE_LIMITED, ENDPOINT_LIMITED},
                 {ERROR_UPSTREAM_AUTH, ENDPOINT_FAILED},
                 {ERROR_UPSTREAM_OVERLOADED, ENDPOINT_FAILED},
                 {ERROR_UPSTREAM_TIMEOUT, ENDPOINT_FAILED},
                 {ERROR_CLIENT_GONE, ENDPOINT_UNKNOWN},
                 {ERROR_DEADLINE, ENDPOINT_UNKNOWN}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(endpoints_verdict(cases[i].error_class), cases[i].verdict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_are_endpoints_times_keys),
        cmocka_unit_test(keys_come_from_the_environment_and_the_provider_gives_the_address),
        cmocka_unit_test(without_a_key_there_are_no_lanes_and_a_reason),
        cmocka_unit_test(a_missing_key_beside_a_good_one_is_left_out),
        cmocka_unit_test(own_endpoints_may_be_keyless),
        cmocka_unit_test(an_endpoint_whose_variable_is_missing_is_left_out),
        cmocka_unit_test(clients_credentials_go_to_https_alone_and_need_no_key),
        cmocka_unit_test(too_many_lanes_are_refused),
        cmocka_unit_test(equals_take_turns_and_the_least_busy_goes_first),
        cmocka_unit_test(avoided_lanes_are_used_only_when_there_is_no_other),
        cmocka_unit_test(an_open_breaker_keeps_a_lane_out_until_its_probe),
        cmocka_unit_test(the_last_lane_is_used_even_when_open),
        cmocka_unit_test(a_limited_endpoint_rests_as_long_as_told_but_not_for_ever),
        cmocka_unit_test(error_classes_blame_the_lane_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
