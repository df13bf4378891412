#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/api.h"
#include "services/worker/attempt/speed.h"

static void a_model_that_nobody_knows_has_the_usual_speed(void **state)
{
    (void)state;
    struct speeds s = {0};
    assert_int_equal(speeds_tokens(&s, SPAN("m"), 3000), 3 * API_TOKENS_PER_S);
    assert_int_equal(speeds_tokens(&s, SPAN_NONE, 1000), API_TOKENS_PER_S);
    assert_int_equal(speeds_tokens(&s, SPAN("m"), 0), 0);
}

static void answers_teach_it_one_after_the_other(void **state)
{
    (void)state;
    struct speeds s = {0};
    speeds_learn(&s, SPAN("m"), 400, 2000);
    assert_int_equal(speeds_tokens(&s, SPAN("m"), 1000), 200);
    speeds_learn(&s, SPAN("m"), 40, 1000); /* one slow answer does not turn it */
    uint64_t after = speeds_tokens(&s, SPAN("m"), 1000);
    assert_true(after < 200 && after > 150);
    for (int i = 0; i < 100; i++)
        speeds_learn(&s, SPAN("m"), 40, 1000);
    assert_in_range(speeds_tokens(&s, SPAN("m"), 1000), 40, 41);
    assert_int_equal(speeds_tokens(&s, SPAN("other"), 1000), API_TOKENS_PER_S);
}

static void short_answers_and_absurd_ones_teach_little(void **state)
{
    (void)state;
    struct speeds s = {0};
    speeds_learn(&s, SPAN("m"), 2, 1000);
    assert_int_equal(speeds_tokens(&s, SPAN("m"), 1000), API_TOKENS_PER_S);
    speeds_learn(&s, SPAN("m"), 100000, 0);
    assert_int_equal(speeds_tokens(&s, SPAN("m"), 1000), SPEED_MOST);
    speeds_learn(&s, SPAN("n"), UINT64_MAX, 1);
    assert_int_equal(speeds_tokens(&s, SPAN("n"), 1000), SPEED_MOST);
    assert_int_equal(speeds_tokens(&s, SPAN("m"), UINT64_MAX), UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_that_nobody_knows_has_the_usual_speed),
        cmocka_unit_test(answers_teach_it_one_after_the_other),
        cmocka_unit_test(short_answers_and_absurd_ones_teach_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
