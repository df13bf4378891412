#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "services/worker/affinity.h"

static void an_id_leads_back_to_its_lane(void **state)
{
    (void)state;
    struct affinity a = {0};
    unsigned lane = 99;
    assert_false(affinity_find(&a, SPAN("resp_1"), &lane));
    affinity_remember(&a, SPAN("resp_1"), 3);
    affinity_remember(&a, SPAN("resp_2"), 0);
    affinity_remember(&a, SPAN(""), 5);
    assert_true(affinity_find(&a, SPAN("resp_1"), &lane));
    assert_int_equal(lane, 3);
    assert_true(affinity_find(&a, SPAN("resp_2"), &lane));
    assert_int_equal(lane, 0);
    assert_false(affinity_find(&a, SPAN("resp_3"), &lane));
    assert_false(affinity_find(&a, SPAN(""), &lane));
    affinity_remember(&a, SPAN("resp_1"), 4);
    assert_true(affinity_find(&a, SPAN("resp_1"), &lane));
    assert_int_equal(lane, 4);
    affinity_free(&a);
}

static void the_newest_ones_are_kept(void **state)
{
    enum { MANY = 100000, RECENT = 1000 };
    (void)state;
    struct affinity a = {0};
    char id[32];
    unsigned kept = 0;
    for (unsigned i = 0; i < MANY; i++) {
        int n = snprintf(id, sizeof id, "resp_%u", i);
        affinity_remember(&a, span_of(id, (size_t)n), i % 7);
    }
    for (unsigned i = MANY - RECENT; i < MANY; i++) {
        unsigned lane = 99;
        int n = snprintf(id, sizeof id, "resp_%u", i);
        if (affinity_find(&a, span_of(id, (size_t)n), &lane)) {
            assert_int_equal(lane, i % 7);
            kept++;
        }
    }
    assert_true(kept > RECENT * 99 / 100);
    affinity_free(&a);
}

static void the_id_is_found_in_path_or_body(void **state)
{
    static const struct {
        const char *path, *body, *id;
    } cases[] = {
        {"/responses/resp_1", "", "resp_1"},
        {"/responses/resp_1?include[]=x", "", "resp_1"},
        {"/responses/resp_1/cancel", "", "resp_1"},
        {"/responses/resp_1/input_items?limit=2", "", "resp_1"},
        {"/responses", "{\"previous_response_id\":\"resp_9\",\"input\":\"x\"}", "resp_9"},
        {"/responses", "{\"previous_response_id\":null,\"input\":\"x\"}", ""},
        {"/responses", "{\"input\":\"say \\\"previous_response_id\\\"\"}", ""},
        {"/responses", "{\"input\":{\"previous_response_id\":\"resp_9\"}}", ""},
        {"/responses", "{\"previous_response_id\":", ""},
        {"/responses", "", ""},
        {"/responses/", "", ""},
        {"/chat/completions", "{}", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span id = affinity_response_id(span_str(cases[i].path), span_str(cases[i].body));
        if (!span_is(id, cases[i].id))
            fail_msg("%s %s: %.*s", cases[i].path, cases[i].body, SPAN_ARG(id));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_leads_back_to_its_lane),
        cmocka_unit_test(the_newest_ones_are_kept),
        cmocka_unit_test(the_id_is_found_in_path_or_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
