#include "unit/services/broker/test_core.h"

#include "proto/error_class.h"
#include "services/broker/retry.h"

static const struct retry_rules rules = {
    .max_attempts = 3, .base_us = 250000, .max_wait_us = 5000000, .percent = 20, .floor = 10};

static void classes_decide_what_may_be_repeated(void **state)
{
    (void)state;
    static const struct {
        struct retry_failure f;
        bool retry, ambiguous, inside, elsewhere; /* refused: a retry that is not ambiguous */
    } cases[] = {
        {{ERROR_UPSTREAM_RATE_LIMITED, true, false, false, 1, false}, true, false, false, false},
        {{ERROR_UPSTREAM_OVERLOADED, true, false, true, 1, false}, true, false, false, false},
        {{ERROR_UPSTREAM_UNREACHABLE, false, false, true, 1, false}, true, false, false, false},
        {{ERROR_UPSTREAM_AUTH, true, false, false, 1, false}, true, false, false, true},
        {{ERROR_UPSTREAM_QUOTA, true, false, false, 1, false}, true, false, false, true},
        {{ERROR_UPSTREAM_ERROR, true, false, false, 1, false}, true, true, false, false},
        {{ERROR_UPSTREAM_RESET, true, false, false, 2, false}, true, true, false, false},
        /* sent = false: nothing can have run */
        {{ERROR_UPSTREAM_RESET, false, false, false, 1, true}, true, false, false, false},
        {{ERROR_UPSTREAM_RESET, false, false, true, 1, false}, true, false, false, false},
        /* once */
        {{ERROR_UPSTREAM_RESET, true, false, false, 2, true}, false, false, false, false},
        /* never a prediction that may have been made */
        {{ERROR_UPSTREAM_RESET, true, false, true, 1, false}, false, false, false, false},
        {{ERROR_WORKER_LOST, true, false, true, 1, false}, false, false, false, false},
        {{ERROR_WORKER_LOST, true, false, false, 1, false}, true, true, true, false},
        {{ERROR_WORKER_REFUSED, false, false, true, 1, false}, true, false, true, false},
        {{ERROR_UPSTREAM_BAD_REQUEST, true, false, false, 1, false}, false, false, false, false},
        /* another target can, or another model */
        {{ERROR_UPSTREAM_NOT_FOUND, true, false, true, 1, false}, true, false, false, true},
        {{ERROR_UPSTREAM_TLS, false, false, false, 1, false}, true, false, false, true},
        {{ERROR_UPSTREAM_CONTEXT_LENGTH, true, false, true, 1, false}, true, false, false, true},
        {{ERROR_UPSTREAM_CONTENT_POLICY, true, false, false, 1, false}, true, false, false, true},
        {{ERROR_PREDICTION_FAILED, true, false, false, 1, false}, false, false, false, false},
        {{ERROR_RATE_LIMITED, false, false, false, 1, false}, false, false, false, false},
        /* final, and the third attempt */
        {{ERROR_UPSTREAM_RATE_LIMITED, true, true, false, 1, false}, false, false, false, false},
        {{ERROR_UPSTREAM_RATE_LIMITED, true, false, false, 3, false}, false, false, false, false},
        /* a newer neighbour's class */
        {{9999, true, false, false, 1, false}, false, false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct retry_decision d = retry_decide(&rules, &cases[i].f);
        if (d.retry != cases[i].retry || d.ambiguous != cases[i].ambiguous ||
            d.inside != cases[i].inside || d.elsewhere != cases[i].elsewhere ||
            d.refused != (cases[i].retry && !cases[i].ambiguous))
            fail_msg("case %zu: %d %d %d %d", i, d.retry, d.ambiguous, d.inside, d.elsewhere);
    }
}

static void every_class_can_be_decided(void **state)
{
    (void)state;
    for (unsigned c = 0; c < ERROR_CLASS_COUNT; c++) {
        struct retry_failure f = {.error_class = c, .sent = true, .attempts = 1};
        enum retry kind = error_info(c)->retry;
        bool may = kind != RETRY_NEVER && kind != RETRY_CLIENT;
        assert_int_equal(retry_decide(&rules, &f).retry, may);
        assert_false(retry_blames_target(c) && retry_is_neutral(c));
    }
}

static void backoff_is_fully_jittered_and_doubles(void **state)
{
    (void)state;
    assert_int_equal(retry_backoff_us(&rules, 1, 0), 0);
    assert_int_equal(retry_backoff_us(&rules, 1, UINT32_MAX), 250000);
    assert_int_equal(retry_backoff_us(&rules, 2, UINT32_MAX), 500000);
    assert_int_equal(retry_backoff_us(&rules, 3, UINT32_MAX), 1000000);
    assert_int_equal(retry_backoff_us(&rules, 200, UINT32_MAX), 5000000);
    uint64_t half = retry_backoff_us(&rules, 1, UINT32_MAX / 2);
    assert_true(half > 124000 && half < 126000);
}

static unsigned take(struct retry_budget *b, unsigned most, uint64_t now)
{
    unsigned n = 0;
    while (n < most && retry_budget_take(b, &rules, now))
        n++;
    return n;
}

static void a_quiet_target_may_be_retried_ten_times_in_ten_seconds(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    uint64_t now = 77000000;
    assert_int_equal(take(&b, 100, now), 10);
    assert_int_equal(take(&b, 100, now + 9000000), 0);
    assert_int_equal(take(&b, 100, now + 10000000), 10);
}

static void a_busy_target_may_be_retried_for_a_fifth_of_its_requests(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    uint64_t now = 5000000;
    for (unsigned i = 0; i < 1000; i++)
        retry_budget_requests(&b, 1, now + i * 1000);
    assert_int_equal(take(&b, 1000, now + 2000000), 200);
}

static void the_window_forgets_second_by_second(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    for (unsigned s = 0; s < 20; s++)
        retry_budget_requests(&b, 100, s * 1000000);
    assert_int_equal(take(&b, 1000, 19000000), 200);
    assert_int_equal(take(&b, 1000, 28900000), 0);
    assert_int_equal(take(&b, 1000, 29000000), 10);
    assert_int_equal(take(&b, 1000, 900000000), 10);
}

static void no_number_of_requests_overflows(void **state)
{
    (void)state;
    struct retry_budget b = {0};
    for (unsigned i = 0; i < 100; i++)
        retry_budget_requests(&b, UINT64_MAX, 1000000);
    assert_int_equal(take(&b, 100, 1000000), 100);
}

static void who_is_limited_rests_as_long_as_it_says(void **state)
{
    (void)state;
    assert_int_equal(retry_rest_ms(ERROR_UPSTREAM_RATE_LIMITED, 14400000), 14400000);
    assert_int_equal(retry_rest_ms(ERROR_UPSTREAM_RATE_LIMITED, UINT64_MAX), 24 * 3600 * 1000);
    assert_int_equal(retry_rest_ms(ERROR_UPSTREAM_RATE_LIMITED, 0), 1000);
    assert_int_equal(retry_rest_ms(ERROR_UPSTREAM_OVERLOADED, 5000), 5000);
    assert_int_equal(retry_rest_ms(ERROR_UPSTREAM_OVERLOADED, 0), 0);
    assert_int_equal(retry_rest_ms(ERROR_UPSTREAM_ERROR, 5000), 0);
    assert_int_equal(retry_rest_ms(ERROR_RATE_LIMITED, 5000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_decide_what_may_be_repeated),
        cmocka_unit_test(every_class_can_be_decided),
        cmocka_unit_test(backoff_is_fully_jittered_and_doubles),
        cmocka_unit_test(a_quiet_target_may_be_retried_ten_times_in_ten_seconds),
        cmocka_unit_test(a_busy_target_may_be_retried_for_a_fifth_of_its_requests),
        cmocka_unit_test(the_window_forgets_second_by_second),
        cmocka_unit_test(no_number_of_requests_overflows),
        cmocka_unit_test(who_is_limited_rests_as_long_as_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
