#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "services/worker/endpoints/stored_responses.h"

#define KEY SPAN("key_1")

static void an_id_leads_back_to_its_lane(void **state)
{
    (void)state;
    struct stored_responses a = {0};
    unsigned endpoint = 99;
    assert_int_equal(stored_responses_find(&a, SPAN("resp_1"), KEY, &endpoint), RESPONSE_UNKNOWN);
    stored_responses_remember(&a, SPAN("resp_1"), KEY, 3);
    stored_responses_remember(&a, SPAN("resp_2"), KEY, 0);
    stored_responses_remember(&a, SPAN(""), KEY, 5);
    assert_int_equal(stored_responses_find(&a, SPAN("resp_1"), KEY, &endpoint), RESPONSE_OWN);
    assert_int_equal(endpoint, 3);
    assert_int_equal(stored_responses_find(&a, SPAN("resp_2"), KEY, &endpoint), RESPONSE_OWN);
    assert_int_equal(endpoint, 0);
    assert_int_equal(stored_responses_find(&a, SPAN("resp_3"), KEY, &endpoint), RESPONSE_UNKNOWN);
    assert_int_equal(stored_responses_find(&a, SPAN(""), KEY, &endpoint), RESPONSE_UNKNOWN);
    stored_responses_remember(&a, SPAN("resp_1"), KEY, 4);
    assert_int_equal(stored_responses_find(&a, SPAN("resp_1"), KEY, &endpoint), RESPONSE_OWN);
    assert_int_equal(endpoint, 4);
    stored_responses_free(&a);
}

static void the_newest_ones_are_kept(void **state)
{
    enum { MANY = 100000, RECENT = 1000 };
    (void)state;
    struct stored_responses a = {0};
    char id[32];
    unsigned kept = 0;
    for (unsigned i = 0; i < MANY; i++) {
        int n = snprintf(id, sizeof id, "resp_%u", i);
        stored_responses_remember(&a, span_of(id, (size_t)n), KEY, i % 7);
    }
    for (unsigned i = MANY - RECENT; i < MANY; i++) {
        unsigned endpoint = 99;
        int n = snprintf(id, sizeof id, "resp_%u", i);
        if (stored_responses_find(&a, span_of(id, (size_t)n), KEY, &endpoint) == RESPONSE_OWN) {
            assert_int_equal(endpoint, i % 7);
            kept++;
        }
    }
    assert_true(kept > RECENT * 99 / 100);
    stored_responses_free(&a);
}

static void another_key_is_told_apart(void **state)
{
    (void)state;
    struct stored_responses a = {0};
    unsigned endpoint = 99;
    stored_responses_remember(&a, SPAN("resp_1"), SPAN("key_1"), 3);
    assert_int_equal(stored_responses_find(&a, SPAN("resp_1"), SPAN("key_2"), &endpoint),
                     RESPONSE_FOREIGN);
    assert_int_equal(endpoint, 99);
    assert_int_equal(stored_responses_find(&a, SPAN("resp_1"), SPAN("key_1"), &endpoint),
                     RESPONSE_OWN);
    stored_responses_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_leads_back_to_its_lane),
        cmocka_unit_test(the_newest_ones_are_kept),
        cmocka_unit_test(another_key_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
