#include "unit/services/broker/test_world.h"

#include "services/broker/breaker.h"

static const struct breaker_rules rules = {.failures = 5, .open_us = 10000000, .max_us = 300000000};

static void fail_times(struct breaker *b, unsigned n, uint64_t now)
{
    for (unsigned i = 0; i < n; i++)
        breaker_failure(b, &rules, false, now);
}

static void five_failures_in_a_row_open_it(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 4, 1);
    assert_true(breaker_allows(&b, 1));
    fail_times(&b, 1, 1);
    assert_false(breaker_allows(&b, 1));
    assert_false(breaker_allows(&b, 10000000));
    assert_true(breaker_allows(&b, 10000001));
}

static void a_success_between_starts_the_count_again(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 4, 1);
    breaker_success(&b);
    fail_times(&b, 4, 1);
    assert_true(breaker_allows(&b, 1));
}

static void one_probe_goes_when_half_open_and_closes_it(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 5, 0);
    uint64_t now = 10000000;
    assert_true(breaker_start(&b, now));
    assert_false(breaker_allows(&b, now));
    assert_false(breaker_start(&b, now));
    breaker_success(&b);
    assert_true(breaker_allows(&b, now));
}

static void failed_probes_double_the_opening_up_to_the_most(void **state)
{
    (void)state;
    static const uint64_t seconds[] = {10, 20, 40, 80, 160, 300, 300};
    struct breaker b = {0};
    uint64_t now = 5;
    fail_times(&b, 5, now);
    for (unsigned i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        assert_false(breaker_allows(&b, now + seconds[i] * 1000000 - 1));
        now += seconds[i] * 1000000;
        assert_true(breaker_start(&b, now));
        breaker_failure(&b, &rules, true, now);
    }
}

static void an_abandoned_probe_lets_the_next_one_go(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 5, 0);
    assert_true(breaker_start(&b, 10000000));
    breaker_abandon(&b, true, 11000000);
    assert_true(breaker_start(&b, 11000000));
}

static void attempts_that_began_before_it_opened_change_nothing(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 5, 0);
    fail_times(&b, 50, 9000000);
    assert_true(breaker_allows(&b, 10000000));
    assert_true(breaker_start(&b, 10000000));
    fail_times(&b, 50, 10000000);
    breaker_success(&b);
    assert_true(breaker_allows(&b, 10000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_failures_in_a_row_open_it),
        cmocka_unit_test(a_success_between_starts_the_count_again),
        cmocka_unit_test(one_probe_goes_when_half_open_and_closes_it),
        cmocka_unit_test(failed_probes_double_the_opening_up_to_the_most),
        cmocka_unit_test(an_abandoned_probe_lets_the_next_one_go),
        cmocka_unit_test(attempts_that_began_before_it_opened_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
