#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/breaker.h"

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

static void off_is_never_open(void **state)
{
    (void)state;
    static const struct breaker_rules off = {.failures = 0, .open_us = 1000000, .max_us = 1000000};
    struct breaker b = {0};
    for (unsigned i = 0; i < 1000; i++) {
        breaker_failure(&b, &off, false, i);
        assert_true(breaker_allows(&b, i));
        assert_false(breaker_start(&b, i));
    }
}

static void a_longest_opening_below_the_first_does_not_shorten_it(void **state)
{
    (void)state;
    static const struct breaker_rules fixed = {.failures = 1, .open_us = 5000000};
    struct breaker b = {0};
    for (uint64_t now = 0; now < 50000000; now += 5000000) {
        breaker_failure(&b, &fixed, breaker_start(&b, now), now);
        assert_false(breaker_allows(&b, now + 4999999));
        assert_true(breaker_allows(&b, now + 5000000));
    }
}

static void it_knows_its_state_and_how_long_it_is_open(void **state)
{
    (void)state;
    struct breaker b = {0};
    assert_int_equal(b.state, BREAKER_CLOSED);
    fail_times(&b, 5, 0);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(b.open_us, 10000000);
    assert_true(breaker_start(&b, 10000000));
    assert_int_equal(b.state, BREAKER_PROBING);
    breaker_failure(&b, &rules, true, 10000000);
    assert_int_equal(b.open_us, 20000000);
    breaker_success(&b);
    assert_int_equal(b.state, BREAKER_CLOSED);
    assert_int_equal(b.open_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_failures_in_a_row_open_it),
        cmocka_unit_test(a_success_between_starts_the_count_again),
        cmocka_unit_test(one_probe_goes_when_half_open_and_closes_it),
        cmocka_unit_test(failed_probes_double_the_opening_up_to_the_most),
        cmocka_unit_test(an_abandoned_probe_lets_the_next_one_go),
        cmocka_unit_test(off_is_never_open),
        cmocka_unit_test(a_longest_opening_below_the_first_does_not_shorten_it),
        cmocka_unit_test(it_knows_its_state_and_how_long_it_is_open),
        cmocka_unit_test(attempts_that_began_before_it_opened_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
