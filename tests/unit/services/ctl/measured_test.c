#include "services/ctl/measured.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char text[] =
    "# HELP tollgate_requests_total Requests ended.\n"
    "tollgate_requests_total{model=\"m\",provider=\"p\",status=\"200\",key=\"a\"} 7\n"
    "tollgate_requests_total{model=\"m\",provider=\"p\",status=\"429\",key=\"a\"} 1\n"
    "tollgate_requests_total{model=\"m\",provider=\"p\",status=\"502\",key=\"b,c=\\\"}\"} 2\n"
    "tollgate_requests_total{model=\"m\",provider=\"q\",status=\"200\",key=\"a\"} 100\n"
    "tollgate_requests_total{model=\"n\",provider=\"p\",status=\"200\",key=\"a\"} 100\n"
    "tollgate_request_duration_seconds_bucket{model=\"m\",provider=\"p\",le=\"0.1\"} 0\n"
    "tollgate_request_duration_seconds_bucket{model=\"m\",provider=\"p\",le=\"0.2\"} 4\n"
    "tollgate_request_duration_seconds_bucket{model=\"m\",provider=\"p\",le=\"1\"} 8\n"
    "tollgate_request_duration_seconds_bucket{model=\"m\",provider=\"p\",le=\"+Inf\"} 10\n"
    "tollgate_up 1\n"
    "broken{model=\"m\n"
    "broken} 5\n";

static void one_models_numbers_are_found(void **state)
{
    (void)state;
    struct measured m;
    measured_read(span_str(text), "m", "p", &m);
    assert_int_equal(m.requests, 10);
    assert_int_equal(m.failed, 3);
    double p50 = measured_s(&m.whole, 0.5), p40 = measured_s(&m.whole, 0.4);
    assert_true(p50 > 0.2 && p50 < 0.5);
    assert_true(p40 > 0.199 && p40 < 0.201);
    assert_true(measured_s(&m.whole, 0.95) == 1); /* beyond the last bound: at least that */
    assert_true(measured_s(&m.first, 0.5) < 0);
}

static void what_is_cut_short_or_absent_is_nothing(void **state)
{
    (void)state;
    struct measured m;
    for (size_t n = 0; n <= sizeof text - 1; n++)
        measured_read(span_of(text, n), "m", "p", &m);
    measured_read(SPAN_NONE, "m", "p", &m);
    assert_int_equal(m.requests, 0);
    measured_read(span_str(text), "x", "p", &m);
    assert_int_equal(m.requests, 0);
    assert_true(measured_s(&m.whole, 0.5) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_models_numbers_are_found),
        cmocka_unit_test(what_is_cut_short_or_absent_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
