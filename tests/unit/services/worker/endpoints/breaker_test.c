#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/worker/endpoints/breaker.h"

static const struct breaker_options options = {.failures = 5, .open_ms = 10000, .max_ms = 300000};

static void fail_times(struct breaker *b, unsigned n, uint64_t now)
{
    while (n--)
        breaker_failure(b, &options, now);
}

static void it_opens_at_the_fifth_failure_in_a_row(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 4, 1000);
    assert_true(breaker_allows(&b, 1000));
    fail_times(&b, 1, 1000);
    assert_false(breaker_allows(&b, 1000));
    assert_false(breaker_allows(&b, 10999));
    assert_true(breaker_allows(&b, 11000));
}

static void a_success_between_failures_begins_the_count_anew(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 4, 0);
    breaker_success(&b);
    fail_times(&b, 4, 0);
    assert_true(breaker_allows(&b, 0));
}

static void one_probe_goes_through_and_its_success_closes(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 5, 0);
    breaker_start(&b, 10000);
    assert_int_equal(b.state, BREAKER_PROBING);
    assert_false(breaker_allows(&b, 10000));
    breaker_success(&b);
    assert_true(breaker_allows(&b, 10000));
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void each_failed_probe_doubles_the_opening_up_to_the_longest(void **state)
{
    static const uint64_t lasts[] = {10000, 20000, 40000, 80000, 160000, 300000, 300000};
    (void)state;
    struct breaker b = {0};
    uint64_t now = 0;
    fail_times(&b, 5, now);
    for (unsigned i = 0; i < sizeof lasts / sizeof lasts[0]; i++) {
        assert_false(breaker_allows(&b, now + lasts[i] - 1));
        now += lasts[i];
        assert_true(breaker_allows(&b, now));
        breaker_start(&b, now);
        breaker_failure(&b, &options, now);
    }
}

static void failures_of_requests_from_before_do_not_prolong_it(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 50, 0);
    assert_true(breaker_allows(&b, 10000));
}

static void an_abandoned_probe_lets_the_next_one_try(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, 5, 0);
    breaker_start(&b, 10000);
    breaker_abandon(&b, 10500);
    assert_true(breaker_allows(&b, 10500));
    breaker_abandon(&b, 10500); /* of a request that was no probe */
    breaker_start(&b, 10500);
    assert_int_equal(b.state, BREAKER_PROBING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_at_the_fifth_failure_in_a_row),
        cmocka_unit_test(a_success_between_failures_begins_the_count_anew),
        cmocka_unit_test(one_probe_goes_through_and_its_success_closes),
        cmocka_unit_test(each_failed_probe_doubles_the_opening_up_to_the_longest),
        cmocka_unit_test(failures_of_requests_from_before_do_not_prolong_it),
        cmocka_unit_test(an_abandoned_probe_lets_the_next_one_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
