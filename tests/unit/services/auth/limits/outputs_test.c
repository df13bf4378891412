#include "unit/services/auth/test_support.h"

#include "services/auth/limits/outputs.h"

static struct outputs outputs;

static int set_up(void **state)
{
    (void)state;
    memset(&outputs, 0, sizeof outputs);
    return 0;
}

static void learn(const char *model, uint64_t tokens, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        outputs_learn(&outputs, span_str(model), tokens);
}

static uint64_t expected(const char *model)
{
    return outputs_expected(&outputs, span_str(model));
}

static void a_model_that_few_have_used_is_taken_for_a_usual_one(void **state)
{
    (void)state;
    assert_int_equal(expected("m"), OUTPUTS_UNKNOWN);
    learn("m", 7, OUTPUTS_LEAST - 1);
    assert_int_equal(expected("m"), OUTPUTS_UNKNOWN);
    learn("m", 7, 1);
    assert_int_equal(expected("m"), 7);
    assert_int_equal(expected("other"), OUTPUTS_UNKNOWN);
}

static void one_in_twenty_may_be_longer(void **state)
{
    (void)state;
    learn("m", 100, 95);
    learn("m", 50000, 5);
    assert_in_range(expected("m"), 100, 125);
    learn("m", 50000, 5);
    assert_in_range(expected("m"), 50000, 62500);
}

static void every_size_is_expected_within_a_quarter(void **state)
{
    static const uint64_t sizes[] = {0, 1, 7, 8, 9, 31, 32, 1000, 4096, 65535, 131072, 400000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        set_up(NULL);
        learn("m", sizes[i], OUTPUTS_LEAST);
        assert_in_range(expected("m"), sizes[i], sizes[i] + sizes[i] / 4);
    }
}

static void absurd_sizes_are_bounded(void **state)
{
    (void)state;
    learn("m", UINT64_MAX, OUTPUTS_LEAST);
    assert_true(expected("m") < 1000000);
}

static void what_was_long_ago_is_forgotten(void **state)
{
    (void)state;
    learn("m", 50000, 900);
    learn("m", 100, 20000);
    assert_in_range(expected("m"), 100, 125);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, set_up)
    const struct CMUnitTest tests[] = {
        CASE(a_model_that_few_have_used_is_taken_for_a_usual_one),
        CASE(one_in_twenty_may_be_longer),
        CASE(every_size_is_expected_within_a_quarter),
        CASE(absurd_sizes_are_bounded),
        CASE(what_was_long_ago_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
