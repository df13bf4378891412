#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "services/broker/stored.h"

#define ID SPAN("resp_1")
#define ANN SPAN("key_ann")
#define BOB SPAN("key_bob")

/* Never looked into: two names for nothing. */
static char pools[2];
static const struct pool *pool(unsigned n)
{
    return (const struct pool *)(const void *)&pools[n];
}

static void a_response_leads_back_to_its_place(void **state)
{
    (void)state;
    struct stored s = {0};
    struct stored_response at = {0};
    assert_int_equal(stored_find(&s, ID, ANN, 5, &at), STORED_UNKNOWN);
    stored_remember(&s, ID, ANN, (struct stored_response){pool(1), 4}, 5);
    stored_remember(&s, SPAN(""), ANN, (struct stored_response){pool(1), 4}, 5);
    assert_int_equal(stored_find(&s, ID, ANN, 6, &at), STORED_OWN);
    assert_ptr_equal(at.pool, pool(1));
    assert_int_equal(at.endpoint, 4);
    assert_int_equal(stored_find(&s, SPAN("resp_2"), ANN, 6, &at), STORED_UNKNOWN);
    assert_int_equal(stored_find(&s, SPAN(""), ANN, 6, &at), STORED_UNKNOWN);
    stored_free(&s);
}

static void another_key_does_not_own_it(void **state)
{
    (void)state;
    struct stored s = {0};
    struct stored_response at = {0};
    stored_remember(&s, ID, ANN, (struct stored_response){pool(0), 1}, 5);
    assert_int_equal(stored_find(&s, ID, BOB, 6, &at), STORED_FOREIGN);
    assert_null(at.pool);
    /* … and can't become its owner */
    stored_remember(&s, ID, BOB, (struct stored_response){pool(0), 1}, 6);
    assert_int_equal(stored_find(&s, ID, BOB, 7, &at), STORED_FOREIGN);
    assert_int_equal(stored_find(&s, ID, ANN, 7, &at), STORED_OWN);
    stored_free(&s);
}

static void it_is_forgotten_in_time(void **state)
{
    (void)state;
    struct stored s = {0};
    struct stored_response at = {0};
    stored_remember(&s, ID, ANN, (struct stored_response){pool(0), 1}, 5);
    assert_int_equal(stored_find(&s, ID, ANN, 4 + STORED_KEPT_US, &at), STORED_OWN);
    assert_int_equal(stored_find(&s, ID, ANN, 5 + STORED_KEPT_US, &at), STORED_UNKNOWN);
    stored_free(&s);
}

static void the_oldest_make_room(void **state)
{
    enum { MANY = 4 * STORED_ENTRIES, RECENT = STORED_ENTRIES / 4 };
    (void)state;
    struct stored s = {0};
    struct stored_response at = {0};
    char id[32];
    unsigned kept = 0;
    for (unsigned i = 0; i < MANY; i++) {
        int n = snprintf(id, sizeof id, "resp_%u", i);
        stored_remember(&s, span_of(id, (size_t)n), ANN, (struct stored_response){pool(0), i}, i);
    }
    for (unsigned i = MANY - RECENT; i < MANY; i++) {
        int n = snprintf(id, sizeof id, "resp_%u", i);
        if (stored_find(&s, span_of(id, (size_t)n), ANN, MANY, &at) == STORED_OWN) {
            assert_int_equal(at.endpoint, i);
            kept++;
        }
    }
    assert_true(kept > RECENT * 99 / 100);
    stored_free(&s);
}

static void owners_outlive_endpoints(void **state)
{
    (void)state;
    struct stored s = {0};
    struct stored_response at = {0};
    stored_forget_endpoints(&s);
    stored_remember(&s, ID, ANN, (struct stored_response){pool(1), 3}, 5);
    stored_forget_endpoints(&s);
    assert_int_equal(stored_find(&s, ID, BOB, 6, &at), STORED_FOREIGN);
    assert_int_equal(stored_find(&s, ID, ANN, 6, &at), STORED_OWN);
    assert_ptr_equal(at.pool, pool(1));
    assert_int_equal(at.endpoint, 0);
    stored_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_leads_back_to_its_place),
        cmocka_unit_test(another_key_does_not_own_it),
        cmocka_unit_test(it_is_forgotten_in_time),
        cmocka_unit_test(the_oldest_make_room),
        cmocka_unit_test(owners_outlive_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
