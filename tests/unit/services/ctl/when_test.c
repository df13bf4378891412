#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/ctl/when.h"

static const uint64_t now_ms = 1795478400000; /* 2026-11-24T00:00:00Z */
#define DAY_MS ((uint64_t)86400000)

static void dates_in_the_future(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms; /* 0: no date */
    } cases[] = {{"30d", 1795478400000 + 30 * DAY_MS},
                 {"+12h", 1795478400000 + DAY_MS / 2},
                 {"45m", 1795478400000 + 45 * 60000},
                 {"2026-12-31", 1798675200000},
                 {"2026-12-31T12:00:00Z", 1798718400000},
                 {"0d", 0},
                 {"", 0},
                 {"d", 0},
                 {"30", 0},
                 {"30w", 0},
                 {"-1d", 0},
                 {"2026-13-01", 0},
                 {"2026-12-31x", 0},
                 {"1969-01-01", 0},
                 {"999999999999d", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t ms = 0;
        assert_int_equal(when_future(span_str(cases[i].text), now_ms, &ms), cases[i].ms != 0);
        if (cases[i].ms)
            assert_int_equal(ms, cases[i].ms);
    }
}

static void days_back(void **state)
{
    (void)state;
    const uint64_t today = now_ms / DAY_MS;
    uint64_t day = 0;
    assert_true(when_day(SPAN("today"), now_ms + 5, &day));
    assert_int_equal(day, today);
    assert_true(when_day(SPAN("7d"), now_ms, &day));
    assert_int_equal(day, today - 7);
    assert_true(when_day(SPAN("2026-11-23"), now_ms, &day));
    assert_int_equal(day, today - 1);
    assert_false(when_day(SPAN("12h"), now_ms, &day));
    assert_false(when_day(SPAN("99999d"), now_ms, &day));
    assert_false(when_day(SPAN("yesterday"), now_ms, &day));
    assert_false(when_day(SPAN(""), now_ms, &day));
}

static void moments_back(void **state)
{
    (void)state;
    uint64_t ms = 0;
    assert_true(when_past(SPAN("1h"), now_ms, &ms));
    assert_int_equal(ms, now_ms - DAY_MS / 24);
    assert_true(when_past(SPAN("45m"), now_ms, &ms));
    assert_int_equal(ms, now_ms - 45 * 60000);
    assert_true(when_past(SPAN("today"), now_ms + 5, &ms));
    assert_int_equal(ms, now_ms / DAY_MS * DAY_MS);
    assert_true(when_past(SPAN("2026-12-31T12:00:00Z"), now_ms, &ms));
    assert_int_equal(ms, 1798718400000);
    assert_true(when_past(SPAN("99999d"), now_ms, &ms));
    assert_int_equal(ms, 0);
    assert_false(when_past(SPAN("soon"), now_ms, &ms));
    assert_false(when_past(SPAN(""), now_ms, &ms));
}

static void times_are_readable(void **state)
{
    (void)state;
    char text[20];
    when_text(1798718400000, text);
    assert_string_equal(text, "2026-12-31 12:00");
    when_text(0, text);
    assert_string_equal(text, "never");
    when_text(UINT64_MAX, text); /* a bad number is no crash */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_in_the_future),
        cmocka_unit_test(days_back),
        cmocka_unit_test(moments_back),
        cmocka_unit_test(times_are_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
