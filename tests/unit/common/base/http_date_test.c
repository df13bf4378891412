/* HTTP dates, RFC 3339 times and durations. */
#include "common/base/http_date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

typedef bool (*parse_fn)(struct span text, uint64_t *out);

struct parse_case {
    const char *text;
    bool ok;
    uint64_t value;
};

/* Also every truncation, each in memory of its own: asan sees a read past the end. */
static void run(parse_fn parse, const struct parse_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value = 0;
        bool ok = parse(span_str(cases[i].text), &value);
        if (ok != cases[i].ok || (ok && value != cases[i].value))
            fail_msg("%s: %d %llu", cases[i].text, ok, (unsigned long long)value);
        for (size_t n = 0; n < strlen(cases[i].text); n++) {
            char *cut = malloc(n ? n : 1);
            assert_non_null(cut);
            memcpy(cut, cases[i].text, n);
            (void)parse(span_of(cut, n), &value);
            free(cut);
        }
    }
}

static void http_dates_of_all_three_forms_are_read(void **state)
{
    (void)state;
    static const struct parse_case cases[] = {
        {"Wed, 21 Oct 2026 07:28:00 GMT", true, 1792567680},
        {" Wed, 21 Oct 2026 07:28:00 GMT ", true, 1792567680},
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", true, 784111777},
        {"Sun Nov  6 08:49:37 1994", true, 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", true, 0},
        {"Thu, 29 Feb 2024 00:00:00 GMT", true, 1709164800},
        {"Thu, 29 Feb 2023 00:00:00 GMT", false, 0},
        {"Thu, 29 Feb 2100 00:00:00 GMT", false, 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", false, 0},
        {"Wed, 21 Oct 2026 24:28:00 GMT", false, 0},
        {"Wed, 21 Okt 2026 07:28:00 GMT", false, 0},
        {"Wed, 21 Oct 2026 07:28:00 CET", false, 0},
        {"Wed, 21 Oct 2026 07:28:00", false, 0},
        {"Wed, 0 Oct 2026 07:28:00 GMT", false, 0},
        {"2026-10-21T07:28:00Z", false, 0},
        {"tomorrow", false, 0},
        {",", false, 0},
        {"", false, 0},
    };
    run(http_date_parse, cases, sizeof cases / sizeof cases[0]);
}

static void rfc3339_times_are_read_with_fraction_and_offset(void **state)
{
    (void)state;
    static const struct parse_case cases[] = {
        {"2026-10-21T07:28:00Z", true, 1792567680000},
        {"2026-10-21t07:28:00.5z", true, 1792567680500},
        {"2026-10-21T07:28:00.123456Z", true, 1792567680123},
        {"2026-10-21T09:28:00+02:00", true, 1792567680000},
        {"2026-10-21T01:58:00-05:30", true, 1792567680000},
        {"2026-10-21 07:28:00Z", true, 1792567680000},
        {"1970-01-01T00:00:00+01:00", false, 0},
        {"2026-10-21T07:28:00", false, 0},
        {"2026-10-21T07:28Z", false, 0},
        {"2026-13-21T07:28:00Z", false, 0},
        {"2026-10-21T07:28:00+25:00", false, 0},
        {"2026-10-21T07:28:00Zx", false, 0},
        {"", false, 0},
    };
    run(rfc3339_parse, cases, sizeof cases / sizeof cases[0]);
}

static void durations_are_read_in_every_unit(void **state)
{
    (void)state;
    static const struct parse_case cases[] = {
        {"1s", true, 1000},          {"6m0s", true, 360000}, {"17ms", true, 17},
        {"1h2m3.5s", true, 3723500}, {"0s", true, 0},        {"1d", true, 86400000},
        {"500us", true, 1},          {"1.5ms", true, 2},     {"30", true, 30000},
        {"0.25", true, 250},         {"s", false, 0},        {"1x", false, 0},
        {"-1s", false, 0},           {"1s2", false, 0},      {"1e3s", false, 0},
        {"99999999999h", false, 0},  {"", false, 0},         {"1.2.3s", false, 0},
    };
    run(duration_parse, cases, sizeof cases / sizeof cases[0]);
}

static void seconds_are_read_with_a_fraction_and_rounded_up(void **state)
{
    (void)state;
    static const struct parse_case cases[] = {
        {"7", true, 7000},   {"0.5", true, 500},  {"0", true, 0},
        {" 2 ", true, 2000}, {"0.0001", true, 1}, {".5", true, 500},
        {"5.", true, 5000},  {"-1", false, 0},    {"1s", false, 0},
        {"1e2", false, 0},   {"", false, 0},      {".", false, 0},
        {"inf", false, 0},   {"nan", false, 0},   {"999999999999", false, 0},
    };
    run(seconds_parse, cases, sizeof cases / sizeof cases[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_dates_of_all_three_forms_are_read),
        cmocka_unit_test(rfc3339_times_are_read_with_fraction_and_offset),
        cmocka_unit_test(durations_are_read_in_every_unit),
        cmocka_unit_test(seconds_are_read_with_a_fraction_and_rounded_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
