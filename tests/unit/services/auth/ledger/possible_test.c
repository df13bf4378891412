#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "services/auth/ledger/possible.h"

static void what_can_be_stays_as_it_is(void **state)
{
    (void)state;
    struct store_usage u = {.input_tokens = 1000000,
                            .cached_tokens = 1000000,
                            .cache_write_tokens = 5,
                            .output_tokens = 64000,
                            .reasoning_tokens = 64000,
                            .cost_nano = 90000000000};
    assert_false(possible_usage(&u));
    assert_false(u.estimated);
    assert_int_equal(u.input_tokens, 1000000);
    assert_int_equal(u.reasoning_tokens, 64000);
}

static void what_cannot_be_is_bounded_and_an_estimate(void **state)
{
    (void)state;
    const struct store_usage absurd[] = {
        {.input_tokens = (uint64_t)1 << 62},
        {.output_tokens = UINT64_MAX},
        {.cost_nano = UINT64_MAX},
        {.cached_tokens = POSSIBLE_TOKENS + 1},
        {.cache_write_tokens = (uint64_t)1 << 62},
        {.reasoning_tokens = UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        struct store_usage u = absurd[i];
        assert_true(possible_usage(&u));
        assert_true(u.estimated);
        assert_true(u.input_tokens + u.output_tokens <= 2 * POSSIBLE_TOKENS);
        assert_true(u.cached_tokens + u.cache_write_tokens <= POSSIBLE_TOKENS);
        assert_true(u.reasoning_tokens <= POSSIBLE_TOKENS && u.cost_nano <= POSSIBLE_COST_NANO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_can_be_stays_as_it_is),
        cmocka_unit_test(what_cannot_be_is_bounded_and_an_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
