#include "services/worker/attempt/failure_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void the_first_of_its_kind_is_told_at_once_then_one_in_a_while(void **state)
{
    (void)state;
    struct failure_log log = {0};
    uint64_t unsaid, now = 1000000;
    assert_true(failure_log_admit(&log, 5, 0, SPAN("m"), now, &unsaid));
    assert_int_equal(unsaid, 0);
    for (unsigned i = 0; i < 7; i++)
        assert_false(failure_log_admit(&log, 5, 0, SPAN("m"), now + i, &unsaid));
    /* Another class, another endpoint, another model are other kinds. */
    assert_true(failure_log_admit(&log, 6, 0, SPAN("m"), now, &unsaid));
    assert_true(failure_log_admit(&log, 5, 1, SPAN("m"), now, &unsaid));
    assert_true(failure_log_admit(&log, 5, 0, SPAN("n"), now, &unsaid));
    assert_true(failure_log_admit(&log, 5, 0, SPAN("m"), now + FAILURE_LOG_EVERY_MS, &unsaid));
    assert_int_equal(unsaid, 7);
}

static void many_kinds_at_once_cost_no_more_memory(void **state)
{
    (void)state;
    struct failure_log log = {0};
    uint64_t unsaid;
    char name[16];
    for (unsigned i = 0; i < 10 * FAILURE_LOG_ROWS; i++) {
        int n = snprintf(name, sizeof name, "m%u", i);
        assert_true(failure_log_admit(&log, 5, 0, span_of(name, (size_t)n), 1000 + i, &unsaid));
        assert_int_equal(unsaid, 0);
    }
    /* The newest are remembered. */
    assert_false(failure_log_admit(&log, 5, 0, SPAN("m639"), 5000, &unsaid));
    assert_false(failure_log_admit(&log, 5, 0, SPAN("m576"), 5000, &unsaid));
    assert_true(failure_log_admit(&log, 5, 0, SPAN("m575"), 5000, &unsaid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_of_its_kind_is_told_at_once_then_one_in_a_while),
        cmocka_unit_test(many_kinds_at_once_cost_no_more_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
