#include "proto/error_class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/json.h"
#include "proto/metric_id.h"

static bool is_anthropic_word(const char *type)
{
    static const char *const words[] = {
        "invalid_request_error", "authentication_error", "billing_error",
        "permission_error",      "not_found_error",      "conflict_error",
        "request_too_large",     "rate_limit_error",     "api_error",
        "timeout_error",         "overloaded_error"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i], type) == 0)
            return true;
    }
    return false;
}

/* Anthropic clients switch on the type: it is always one of theirs. */
static void every_class_speaks_both_protocols(void **state)
{
    (void)state;
    for (unsigned c = 1; c < ERROR_CLASS_COUNT; c++) {
        const struct error_info *info = error_info(c);
        assert_true(info->openai_status >= 400 && info->openai_status < 600);
        assert_true(info->anthropic_status >= 400 && info->anthropic_status < 600);
        assert_true(*info->openai_type);
        assert_true(*info->openai_code || c == ERROR_UPSTREAM_UNPROCESSABLE);
        if (!is_anthropic_word(info->anthropic_type))
            fail_msg("%s says %s", info->name, info->anthropic_type);
    }
    assert_string_equal(error_info(9999)->name, "INTERNAL");
}

static void every_metric_is_named_as_prometheus_wants(void **state)
{
    (void)state;
    for (unsigned i = 0; i < METRIC_ID_COUNT; i++) {
        const struct metric_info *m = metric_info(i);
        struct span name = span_str(m->name);
        bool counter = m->kind == METRIC_COUNTER || m->kind == METRIC_COUNTER_NANO;
        assert_int_equal(counter, span_ends(name, "_total"));
        assert_true(m->kind != METRIC_HISTOGRAM || span_ends(name, "_seconds"));
        assert_int_equal(strspn(m->name, "abcdefghijklmnopqrstuvwxyz_0123456789"), name.len);
        assert_true(*m->help);
        unsigned labels = *m->labels ? 1 : 0;
        for (const char *c = m->labels; *c; c++)
            labels += *c == ',';
        assert_true(labels <= METRIC_MAX_LABELS);
    }
    assert_null(metric_info(METRIC_ID_COUNT));
}

static void observations_fall_into_their_bucket(void **state)
{
    (void)state;
    assert_int_equal(metric_bucket(0), 0);
    assert_int_equal(metric_bucket(250), 0);
    assert_int_equal(metric_bucket(251), 1);
    assert_int_equal(metric_bucket((uint64_t)300 * 1000000), METRIC_BUCKETS - 2);
    assert_int_equal(metric_bucket(UINT64_MAX), METRIC_BUCKETS - 1);
    for (unsigned i = 1; i < METRIC_BUCKETS; i++)
        assert_true(metric_bounds_us[i] > metric_bounds_us[i - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_speaks_both_protocols),
        cmocka_unit_test(every_metric_is_named_as_prometheus_wants),
        cmocka_unit_test(observations_fall_into_their_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
