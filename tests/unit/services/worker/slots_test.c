#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "services/worker/slots.h"

struct share_case {
    const char *what;
    uint32_t total;
    struct slot_share in[3];
    uint32_t offered[3];
};

#define UP(running, queued)                                                                        \
    {                                                                                              \
        true, running, queued, 0                                                                   \
    }
#define DOWN                                                                                       \
    {                                                                                              \
        false, 0, 0, 0                                                                             \
    }

static void shares_follow_use_and_demand(void **state)
{
    static const struct share_case cases[] = {
        {"nobody asks: equal parts", 512, {UP(0, 0), UP(0, 0), DOWN}, {256, 256, 0}},
        {"one broker alone has all", 512, {UP(3, 0), DOWN, DOWN}, {512, 0, 0}},
        {"one in need gets what the other leaves", 10, {UP(0, 0), UP(5, 50), DOWN}, {1, 9, 0}},
        {"both in need share", 10, {UP(5, 50), UP(0, 50), DOWN}, {5, 5, 0}},
        {"what runs already is kept", 10, {UP(9, 50), UP(0, 50), DOWN}, {9, 1, 0}},
        {"what ends goes to others", 10, {UP(7, 50), UP(0, 50), DOWN}, {7, 3, 0}},
        {"others give in equal parts", 12, {UP(8, 50), UP(0, 50), UP(0, 50)}, {8, 2, 2}},
        {"all keep what runs, even beyond the whole", 4, {UP(9, 0), UP(3, 0), UP(0, 1)}, {9, 3, 1}},
        {"a modest need is met first", 12, {UP(1, 2), UP(6, 50), DOWN}, {3, 9, 0}},
        {"what nobody needs is shared out", 12, {UP(4, 0), UP(1, 0), DOWN}, {8, 4, 0}},
        {"at least one each, even when short", 1, {UP(1, 9), UP(0, 0), UP(0, 0)}, {1, 1, 1}},
        {"all down", 8, {DOWN, DOWN, DOWN}, {0, 0, 0}},
        {"the remainder goes somewhere", 11, {UP(0, 0), UP(0, 0), UP(0, 0)}, {4, 4, 3}},
        {"needs beyond counting", 9, {UP(2, UINT32_MAX), UP(0, UINT32_MAX), DOWN}, {5, 4, 0}},
        {"more than can be counted runs",
         9,
         {UP(UINT32_MAX, UINT32_MAX), UP(UINT32_MAX, 0), UP(0, 9)},
         {UINT32_MAX, UINT32_MAX, 1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slot_share shares[3];
        memcpy(shares, cases[i].in, sizeof shares);
        (void)slots_share(shares, 3, cases[i].total);
        for (size_t k = 0; k < 3; k++)
            if (shares[k].offered != cases[i].offered[k])
                fail_msg("%s: broker %zu got %u", cases[i].what, k, shares[k].offered);
    }
}

static void uneven_shares_are_told_of(void **state)
{
    (void)state;
    struct slot_share even[2] = {UP(5, 50), UP(0, 50)}, uneven[2] = {UP(6, 50), UP(0, 50)};
    assert_false(slots_share(even, 2, 10));
    assert_true(slots_share(uneven, 2, 10));
}

struct told {
    unsigned calls;
    struct slot_share shares[3];
    struct slots_state state;
    bool deaf;
};

static bool tell(void *ctx, size_t broker, const struct slot_share *share,
                 const struct slots_state *state)
{
    struct told *t = ctx;
    t->calls++;
    t->shares[broker] = *share;
    t->state = *state;
    return !t->deaf;
}

#define OFFER(n)                                                                                   \
    {                                                                                              \
        true, 0, 0, n                                                                              \
    }

static void only_changes_are_told(void **state)
{
    (void)state;
    struct offers s = {0};
    struct told t = {0};
    struct slot_share shares[2] = {OFFER(4), OFFER(4)};
    struct slots_state now = {.now_ms = 100, .free = 8};
    slots_update(&s, shares, 2, &now, tell, &t);
    assert_int_equal(t.calls, 2);
    slots_update(&s, shares, 2, &now, tell, &t);
    assert_int_equal(t.calls, 2);
    shares[1].offered = 5;
    slots_update(&s, shares, 2, &now, tell, &t);
    assert_int_equal(t.calls, 3);
    assert_int_equal(t.shares[1].offered, 5);
    shares[0].running = 1;
    slots_update(&s, shares, 2, &now, tell, &t);
    assert_int_equal(t.calls, 4);
    assert_int_equal(t.shares[0].running, 1);
    now.free = 7;
    slots_update(&s, shares, 2, &now, tell, &t);
    assert_int_equal(t.calls, 6);
    assert_int_equal(t.state.free, 7);
}

static void all_is_told_again_every_second(void **state)
{
    (void)state;
    struct offers s = {0};
    struct told t = {0};
    struct slot_share shares[1] = {OFFER(4)};
    struct slots_state now = {.now_ms = 100, .free = 4};
    slots_update(&s, shares, 1, &now, tell, &t);
    now.now_ms += SLOTS_REPEAT_MS - 1;
    slots_update(&s, shares, 1, &now, tell, &t);
    assert_int_equal(t.calls, 1);
    now.now_ms++;
    slots_update(&s, shares, 1, &now, tell, &t);
    assert_int_equal(t.calls, 2);
    assert_int_equal(t.state.now_ms, 100 + SLOTS_REPEAT_MS);
}

static void none_are_offered_while_there_is_a_reason(void **state)
{
    (void)state;
    struct offers s = {0};
    struct told t = {0};
    struct slot_share shares[2] = {OFFER(8), DOWN};
    struct slots_state now = {.why = "no api key"};
    slots_update(&s, shares, 2, &now, tell, &t);
    assert_int_equal(t.calls, 1);
    assert_int_equal(t.shares[0].offered, 0);
    assert_string_equal(t.state.why, "no api key");
    now.why = "draining";
    slots_update(&s, shares, 2, &now, tell, &t);
    assert_string_equal(t.state.why, "draining");
    now.why = NULL;
    slots_update(&s, shares, 2, &now, tell, &t);
    assert_int_equal(t.shares[0].offered, 8);
    assert_null(t.state.why);
}

static void a_broker_that_comes_back_or_did_not_hear_is_told_again(void **state)
{
    (void)state;
    struct offers s = {0};
    struct told t = {.deaf = true};
    struct slot_share shares[1] = {OFFER(8)};
    struct slots_state now = {0};
    slots_update(&s, shares, 1, &now, tell, &t);
    t.deaf = false;
    slots_update(&s, shares, 1, &now, tell, &t);
    assert_int_equal(t.calls, 2);
    shares[0].up = false;
    slots_update(&s, shares, 1, &now, tell, &t);
    shares[0].up = true;
    slots_update(&s, shares, 1, &now, tell, &t);
    assert_int_equal(t.calls, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_follow_use_and_demand),
        cmocka_unit_test(uneven_shares_are_told_of),
        cmocka_unit_test(only_changes_are_told),
        cmocka_unit_test(all_is_told_again_every_second),
        cmocka_unit_test(none_are_offered_while_there_is_a_reason),
        cmocka_unit_test(a_broker_that_comes_back_or_did_not_hear_is_told_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
