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
        {"both in need share", 10, {UP(9, 50), UP(0, 50), DOWN}, {5, 5, 0}},
        {"a modest need is met first", 12, {UP(1, 2), UP(6, 50), DOWN}, {3, 9, 0}},
        {"what nobody needs is shared out", 12, {UP(4, 0), UP(1, 0), DOWN}, {8, 4, 0}},
        {"at least one each, even when short", 1, {UP(1, 9), UP(0, 0), UP(0, 0)}, {1, 1, 1}},
        {"all down", 8, {DOWN, DOWN, DOWN}, {0, 0, 0}},
        {"the remainder goes somewhere", 11, {UP(0, 0), UP(0, 0), UP(0, 0)}, {4, 4, 3}},
        {"needs beyond counting",
         9,
         {UP(UINT32_MAX, UINT32_MAX), UP(0, UINT32_MAX), DOWN},
         {5, 4, 0}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slot_share shares[3];
        memcpy(shares, cases[i].in, sizeof shares);
        slots_share(shares, 3, cases[i].total);
        for (size_t k = 0; k < 3; k++)
            if (shares[k].offered != cases[i].offered[k])
                fail_msg("%s: broker %zu got %u", cases[i].what, k, shares[k].offered);
    }
}

struct told {
    unsigned calls;
    uint32_t offered[3];
    const char *why[3];
    bool deaf;
};

static bool tell(void *ctx, size_t broker, uint32_t offered, const char *why)
{
    struct told *t = ctx;
    t->calls++;
    t->offered[broker] = offered;
    t->why[broker] = why;
    return !t->deaf;
}

static void only_changes_are_told(void **state)
{
    (void)state;
    struct offers s = {0};
    struct told t = {0};
    struct slot_share shares[2] = {UP(0, 0), UP(0, 0)};
    slots_update(&s, shares, 2, 8, NULL, tell, &t);
    assert_int_equal(t.calls, 2);
    assert_int_equal(t.offered[0] + t.offered[1], 8);
    slots_update(&s, shares, 2, 8, NULL, tell, &t);
    assert_int_equal(t.calls, 2);
    shares[1].queued = 20;
    slots_update(&s, shares, 2, 8, NULL, tell, &t);
    assert_int_equal(t.calls, 4);
    assert_int_equal(t.offered[1], 7);
}

static void none_are_offered_while_there_is_a_reason(void **state)
{
    (void)state;
    struct offers s = {0};
    struct told t = {0};
    struct slot_share shares[2] = {UP(0, 0), DOWN};
    slots_update(&s, shares, 2, 8, "no api key", tell, &t);
    assert_int_equal(t.calls, 1);
    assert_int_equal(t.offered[0], 0);
    assert_string_equal(t.why[0], "no api key");
    slots_update(&s, shares, 2, 8, "draining", tell, &t);
    assert_string_equal(t.why[0], "draining");
    slots_update(&s, shares, 2, 8, NULL, tell, &t);
    assert_int_equal(t.offered[0], 8);
    assert_null(t.why[0]);
}

static void a_broker_that_comes_back_or_did_not_hear_is_told_again(void **state)
{
    (void)state;
    struct offers s = {0};
    struct told t = {.deaf = true};
    struct slot_share shares[1] = {UP(0, 0)};
    slots_update(&s, shares, 1, 8, NULL, tell, &t);
    t.deaf = false;
    slots_update(&s, shares, 1, 8, NULL, tell, &t);
    assert_int_equal(t.calls, 2);
    shares[0].up = false;
    slots_update(&s, shares, 1, 8, NULL, tell, &t);
    shares[0].up = true;
    slots_update(&s, shares, 1, 8, NULL, tell, &t);
    assert_int_equal(t.calls, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_follow_use_and_demand),
        cmocka_unit_test(only_changes_are_told),
        cmocka_unit_test(none_are_offered_while_there_is_a_reason),
        cmocka_unit_test(a_broker_that_comes_back_or_did_not_hear_is_told_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
