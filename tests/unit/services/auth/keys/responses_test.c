#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "services/auth/keys/responses.h"

#define ID SPAN("resp_1")
#define ANN SPAN("key_ann")
#define BOB SPAN("key_bob")

static void a_response_belongs_to_the_key_that_made_it(void **state)
{
    (void)state;
    struct responses r = {0};
    assert_false(responses_is_foreign(&r, ID, BOB));
    responses_remember(&r, ID, ANN, 5);
    assert_true(responses_is_foreign(&r, ID, BOB));
    assert_false(responses_is_foreign(&r, ID, ANN));
    assert_false(responses_is_foreign(&r, SPAN("resp_2"), BOB));
    assert_false(responses_is_foreign(&r, SPAN(""), BOB));
    responses_free(&r);
}

static void it_does_not_change_hands(void **state)
{
    (void)state;
    struct responses r = {0};
    responses_remember(&r, ID, ANN, 5);
    responses_remember(&r, ID, BOB, 6);
    responses_remember(&r, SPAN(""), BOB, 6);
    assert_true(responses_is_foreign(&r, ID, BOB));
    assert_false(responses_is_foreign(&r, ID, ANN));
    responses_free(&r);
}

static void the_newest_are_kept_in_whatever_order_they_come(void **state)
{
    enum { MANY = 4 * RESPONSES_MAX, RECENT = RESPONSES_MAX / 4 };
    (void)state;
    for (unsigned backwards = 0; backwards < 2; backwards++) {
        struct responses r = {0};
        char id[32];
        unsigned kept = 0;
        for (unsigned i = 0; i < MANY; i++) {
            unsigned n = backwards ? MANY - 1 - i : i;
            int len = snprintf(id, sizeof id, "resp_%u", n);
            responses_remember(&r, span_of(id, (size_t)len), ANN, n);
        }
        for (unsigned i = MANY - RECENT; i < MANY; i++) {
            int len = snprintf(id, sizeof id, "resp_%u", i);
            kept += responses_is_foreign(&r, span_of(id, (size_t)len), BOB);
        }
        assert_true(kept > RECENT * 99 / 100);
        responses_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_belongs_to_the_key_that_made_it),
        cmocka_unit_test(it_does_not_change_hands),
        cmocka_unit_test(the_newest_are_kept_in_whatever_order_they_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
