#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "services/worker/neutral/usage_bound.h"

static struct usage usage_of(uint64_t input, uint64_t output)
{
    struct usage u = USAGE_NONE;
    u.input = input;
    u.output = output;
    return u;
}

static void what_models_really_use_stays(void **state)
{
    (void)state;
    static const struct {
        struct usage_facts facts;
        uint64_t input, output;
    } rows[] = {
        {{.asked_bytes = 400, .context = 128000, .asked_output = 1000}, 100, 1000},
        /* a picture by its address */
        {{.asked_bytes = 300, .context = 200000, .asked_output = 100}, 20000, 100},
        /* the provider's own searches: some contexts */
        {{.asked_bytes = 300, .context = 200000, .asked_output = 4096}, 1200000, 4096},
        /* a server that does not know the cap, and thinks */
        {{.asked_bytes = 300, .asked_output = 10}, 100, 30000},
        {{.asked_bytes = 4000000, .context = 1000000, .model_output = 128000}, 990000, 128000},
        {{.asked_bytes = 40, .asked_output = 128 * 16384}, 10, 128 * 16384},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct usage u = usage_of(rows[i].input, rows[i].output);
        assert_false(usage_bound(&u, &rows[i].facts));
        assert_int_equal(u.input, rows[i].input);
        assert_int_equal(u.output, rows[i].output);
    }
}

static void what_cannot_be_is_brought_down(void **state)
{
    (void)state;
    const struct usage_facts small = {.asked_bytes = 100, .context = 128000, .asked_output = 10};
    struct usage u = usage_of(USAGE_COUNT_MAX, USAGE_COUNT_MAX);
    assert_true(usage_bound(&u, &small));
    assert_true(u.input < 1100000 && u.output < 70000);
    const struct usage_facts unknown = {
        .asked_bytes = UINT32_MAX, .answer_bytes = UINT32_MAX, .asked_output = UINT64_MAX};
    u = usage_of(UINT64_MAX - 1, UINT64_MAX - 1);
    assert_true(usage_bound(&u, &unknown));
    assert_true(u.input < USAGE_COUNT_MAX && u.output <= USAGE_COUNT_MAX);
    u = usage_of(10, 10);
    u.cached = 11;
    u.cache_write = 1000;
    u.reasoning = UINT64_MAX - 1;
    u.calls[0] = UINT64_MAX - 1;
    assert_true(usage_bound(&u, &small));
    assert_int_equal(u.cached, 10);
    assert_int_equal(u.cache_write, 10);
    assert_int_equal(u.reasoning, 10);
    assert_true(u.calls[0] <= 1000);
}

static void what_is_not_known_stays_so(void **state)
{
    (void)state;
    struct usage u = USAGE_NONE;
    assert_false(usage_bound(&u, &(struct usage_facts){0}));
    assert_true(u.input == USAGE_UNKNOWN && u.output == USAGE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_models_really_use_stays),
        cmocka_unit_test(what_cannot_be_is_brought_down),
        cmocka_unit_test(what_is_not_known_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
