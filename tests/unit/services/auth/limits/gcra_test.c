#include "unit/services/auth/test_support.h"

#include "services/auth/limits/gcra.h"

static const struct gcra_rate per_minute_60 = {60, GCRA_MINUTE, 60};

static bool take(struct gcra *g, uint64_t now_ns, uint64_t units)
{
    if (gcra_wait_ns(g, now_ns, units))
        return false;
    gcra_charge(g, now_ns, units);
    return true;
}

static void admits_exactly_the_burst_at_once(void **state)
{
    (void)state;
    struct gcra g = {.rate = per_minute_60};
    unsigned admitted = 0;
    for (int i = 0; i < 100; i++)
        admitted += take(&g, START, 1);
    assert_int_equal(admitted, 60);
}

static void waiting_as_told_is_exact_to_the_nanosecond(void **state)
{
    (void)state;
    struct gcra g = {.rate = {7, GCRA_SECOND, 3}};
    while (take(&g, START, 1)) {
    }
    uint64_t wait = gcra_wait_ns(&g, START, 1);
    assert_true(wait > 0);
    assert_false(take(&g, START + wait - 1, 1));
    assert_true(take(&g, START + wait, 1));
}

static void admits_rate_plus_burst_over_an_hour(void **state)
{
    (void)state;
    static const struct gcra_rate rates[] = {{10000, GCRA_HOUR, 10000},
                                             {60, GCRA_MINUTE, 10},
                                             {1000, GCRA_SECOND, 1},
                                             {7, GCRA_MINUTE, 7}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct gcra g = {.rate = rates[i]};
        uint64_t admitted = 0, ms = 600000;
        for (uint64_t t = 0; t < ms; t++) {
            while (take(&g, START + t * 1000000, 1))
                admitted++;
        }
        uint64_t most = rates[i].burst + rates[i].count * ms * 1000000 / rates[i].period_ns;
        assert_in_range(admitted, most * 99 / 100, most);
    }
}

static void a_request_larger_than_the_burst_never_fits(void **state)
{
    (void)state;
    struct gcra g = {.rate = per_minute_60};
    assert_int_equal(gcra_wait_ns(&g, START, 61), GCRA_NEVER);
    assert_int_equal(gcra_wait_ns(&g, START, 60), 0);
}

static void asking_changes_nothing(void **state)
{
    (void)state;
    struct gcra g = {.rate = per_minute_60};
    gcra_charge(&g, START, 60);
    struct gcra before = g;
    for (int i = 0; i < 10; i++)
        assert_true(gcra_wait_ns(&g, START, 1) > 0);
    assert_memory_equal(&before, &g, sizeof g);
}

static void a_refund_gives_back_what_was_charged_and_no_more(void **state)
{
    (void)state;
    struct gcra g = {.rate = {7, GCRA_SECOND, 7}};
    gcra_charge(&g, START, 7);
    gcra_refund(&g, 3);
    assert_int_equal(gcra_remaining(&g, START), 3);
    for (int i = 0; i < 1000; i++) {
        gcra_charge(&g, START, 1);
        gcra_refund(&g, 1);
    }
    assert_in_range(gcra_remaining(&g, START), 2, 3);
}

static void what_is_over_is_owed(void **state)
{
    (void)state;
    struct gcra g = {.rate = per_minute_60};
    gcra_charge(&g, START, 120);
    assert_int_equal(gcra_remaining(&g, START), 0);
    uint64_t wait = gcra_wait_ns(&g, START, 1);
    assert_in_range(wait, 60 * SECOND, 61 * SECOND);
}

static void another_rate_keeps_what_is_owed_in_units(void **state)
{
    (void)state;
    struct gcra g = {.rate = {5, GCRA_MINUTE, 5}};
    gcra_charge(&g, START, 5);
    gcra_set_rate(&g, START, (struct gcra_rate){50, GCRA_MINUTE, 50});
    assert_int_equal(gcra_remaining(&g, START), 45);
    gcra_set_rate(&g, START, (struct gcra_rate){50, GCRA_HOUR, 50});
    assert_int_equal(gcra_remaining(&g, START), 45);
    gcra_set_rate(&g, START, (struct gcra_rate){3, GCRA_MINUTE, 3});
    assert_int_equal(gcra_remaining(&g, START), 0);
    assert_true(take(&g, START + 3 * GCRA_MINUTE, 1)); /* the debt is not more than it was */
    gcra_set_rate(&g, START, (struct gcra_rate){0, 0, 0});
    assert_int_equal(gcra_remaining(&g, START), UINT64_MAX);
}

static void unlimited_is_never_full(void **state)
{
    (void)state;
    struct gcra g = {0};
    gcra_charge(&g, START, UINT64_MAX);
    assert_int_equal(gcra_wait_ns(&g, START, UINT64_MAX), 0);
    assert_int_equal(gcra_remaining(&g, START), UINT64_MAX);
}

static void huge_numbers_do_not_wrap(void **state)
{
    (void)state;
    struct gcra g = {.rate = {1, 24 * GCRA_HOUR, 1}};
    for (int i = 0; i < 100; i++)
        gcra_charge(&g, START, UINT64_MAX);
    assert_true(g.full_ns > START);
    assert_true(gcra_reset_ns(&g, START) <= 7 * 24 * GCRA_HOUR);
}

static void remaining_units_fit(void **state)
{
    (void)state;
    struct gcra g = {.rate = {13, GCRA_SECOND, 13}};
    for (uint64_t t = 0; t < 3000; t++) {
        uint64_t now = START + t * 1234567, left = gcra_remaining(&g, now);
        assert_int_equal(gcra_wait_ns(&g, now, left), 0);
        if (left < 13)
            assert_true(gcra_wait_ns(&g, now, left + 1) > 0);
        if (t % 5 == 0)
            gcra_charge(&g, now, 1);
    }
}

static void reads_rates_as_people_write_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t count, seconds; /* 0: not a rate */
    } cases[] = {{"100/minute", 100, 60},
                 {"10000/hour", 10000, 3600},
                 {"5/s", 5, 1},
                 {"3 / day", 3, 86400},
                 {"0/s", 0, 0},
                 {"10", 0, 0},
                 {"x/s", 0, 0},
                 {"10/year", 0, 0},
                 {"", 0, 0},
                 {"-1/s", 0, 0},
                 {"1/s/s", 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gcra_rate r;
        assert_int_equal(gcra_rate_parse(span_str(cases[i].text), &r), cases[i].count != 0);
        if (cases[i].count) {
            assert_int_equal(r.count, cases[i].count);
            assert_int_equal(r.period_ns, cases[i].seconds * SECOND);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(admits_exactly_the_burst_at_once),
        cmocka_unit_test(waiting_as_told_is_exact_to_the_nanosecond),
        cmocka_unit_test(admits_rate_plus_burst_over_an_hour),
        cmocka_unit_test(a_request_larger_than_the_burst_never_fits),
        cmocka_unit_test(asking_changes_nothing),
        cmocka_unit_test(a_refund_gives_back_what_was_charged_and_no_more),
        cmocka_unit_test(what_is_over_is_owed),
        cmocka_unit_test(another_rate_keeps_what_is_owed_in_units),
        cmocka_unit_test(unlimited_is_never_full),
        cmocka_unit_test(huge_numbers_do_not_wrap),
        cmocka_unit_test(remaining_units_fit),
        cmocka_unit_test(reads_rates_as_people_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
