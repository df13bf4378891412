#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/stored_responses.h"

#define ID SPAN("resp_1")
#define ANN SPAN("key_ann")
#define BOB SPAN("key_bob")

/* Never looked into: two names for nothing. */
static char pools[2];
static const void *pool(unsigned n)
{
    return &pools[n];
}

static void a_response_leads_back_to_its_place(void **state)
{
    (void)state;
    struct stored_responses s = {0};
    struct stored_response at = {0};
    assert_int_equal(stored_responses_find(&s, ID, ANN, &at), RESPONSE_UNKNOWN);
    stored_responses_remember(&s, ID, ANN, (struct stored_response){pool(1), 4}, 5);
    stored_responses_remember(&s, SPAN(""), ANN, (struct stored_response){pool(1), 4}, 5);
    assert_int_equal(stored_responses_find(&s, ID, ANN, &at), RESPONSE_OWN);
    assert_ptr_equal(at.pool, pool(1));
    assert_int_equal(at.endpoint, 4);
    assert_int_equal(stored_responses_find(&s, SPAN("resp_2"), ANN, &at), RESPONSE_UNKNOWN);
    assert_int_equal(stored_responses_find(&s, SPAN(""), ANN, &at), RESPONSE_UNKNOWN);
    stored_responses_free(&s);
}

static void another_key_does_not_own_it(void **state)
{
    (void)state;
    struct stored_responses s = {0};
    struct stored_response at = {0};
    stored_responses_remember(&s, ID, ANN, (struct stored_response){pool(0), 1}, 5);
    assert_int_equal(stored_responses_find(&s, ID, BOB, &at), RESPONSE_FOREIGN);
    assert_null(at.pool);
    /* … and can't become its owner */
    stored_responses_remember(&s, ID, BOB, (struct stored_response){pool(0), 1}, 6);
    assert_int_equal(stored_responses_find(&s, ID, BOB, &at), RESPONSE_FOREIGN);
    assert_int_equal(stored_responses_find(&s, ID, ANN, &at), RESPONSE_OWN);
    stored_responses_free(&s);
}

static void the_oldest_make_room_in_whatever_order_they_come(void **state)
{
    enum { MANY = 4 * STORED_RESPONSES_MAX, RECENT = STORED_RESPONSES_MAX / 4 };
    (void)state;
    for (unsigned backwards = 0; backwards < 2; backwards++) {
        struct stored_responses s = {0};
        struct stored_response at = {0};
        char id[32];
        unsigned kept = 0;
        for (unsigned i = 0; i < MANY; i++) {
            unsigned n = backwards ? MANY - 1 - i : i;
            int len = snprintf(id, sizeof id, "resp_%u", n);
            stored_responses_remember(&s, span_of(id, (size_t)len), ANN,
                                      (struct stored_response){pool(0), n}, n);
        }
        for (unsigned i = MANY - RECENT; i < MANY; i++) {
            int len = snprintf(id, sizeof id, "resp_%u", i);
            if (stored_responses_find(&s, span_of(id, (size_t)len), ANN, &at) != RESPONSE_OWN)
                continue;
            assert_int_equal(at.endpoint, i);
            kept++;
        }
        assert_true(kept > RECENT * 99 / 100);
        stored_responses_free(&s);
    }
}

static void owners_outlive_endpoints(void **state)
{
    (void)state;
    struct stored_responses s = {0};
    struct stored_response at = {0};
    stored_responses_forget_endpoints(&s);
    stored_responses_remember(&s, ID, ANN, (struct stored_response){pool(1), 3}, 5);
    stored_responses_forget_endpoints(&s);
    assert_int_equal(stored_responses_find(&s, ID, BOB, &at), RESPONSE_FOREIGN);
    assert_int_equal(stored_responses_find(&s, ID, ANN, &at), RESPONSE_OWN);
    assert_ptr_equal(at.pool, pool(1));
    assert_int_equal(at.endpoint, 0);
    stored_responses_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_leads_back_to_its_place),
        cmocka_unit_test(another_key_does_not_own_it),
        cmocka_unit_test(the_oldest_make_room_in_whatever_order_they_come),
        cmocka_unit_test(owners_outlive_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
