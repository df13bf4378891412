#include "services/edge/leases/leases.h"
#include "common/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t key_a[SHA256_BYTES] = {1};
static const uint8_t key_b[SHA256_BYTES] = {2};

struct fixture {
    struct key_leases *leases;
    struct clock_fake clock;
    struct lease_view view;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    clock_fake_init(&f->clock, 5000000, 0);
    *state = f;
    return leases_create(&f->leases, 3) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    leases_destroy(&f->leases);
    free(f);
    return 0;
}

static uint64_t now(const struct fixture *f)
{
    return clock_mono_ms(&f->clock.clock);
}

static struct lease_grant grant(uint32_t requests, uint64_t tokens)
{
    return (struct lease_grant){
        .key_id = SPAN("key_1"),
        .key_name = SPAN("team"),
        .models = SPAN("gpt-*"),
        .requests = requests,
        .tokens = tokens,
        .lease_ms = 2000,
        .known_ms = 300000,
        .limits = {100, 50, 9000, 1000, 500, 3000},
    };
}

static void put(struct fixture *f, const uint8_t *key, const char *model, struct lease_grant g)
{
    leases_put(f->leases, key, span_str(model), &g, now(f));
}

static enum err take(struct fixture *f, const uint8_t *key, const char *model, uint64_t tokens,
                     bool auth_up)
{
    struct lease_request ask = {span_str(model), tokens, 0, false};
    return leases_take(f->leases, key, &ask, auth_up, now(f), &f->view);
}

static void a_lease_admits_so_many_requests_and_no_more(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f, key_a, "gpt-4", 10, true), ERR_NOT_FOUND);
    put(f, key_a, "gpt-4", grant(2, 0));
    assert_int_equal(take(f, key_a, "gpt-4", 10, true), OK);
    assert_true(span_is(f->view.key_id, "key_1") && span_is(f->view.key_name, "team"));
    assert_true(span_is(f->view.models, "gpt-*"));
    assert_int_equal(f->view.limits.remaining_requests, 49);
    assert_int_equal(f->view.limits.remaining_tokens, 490);
    assert_int_equal(take(f, key_a, "gpt-4", 10, true), OK);
    assert_int_equal(take(f, key_a, "gpt-4", 10, true), ERR_AGAIN);
    assert_int_equal(take(f, key_a, "gpt-3", 10, true), ERR_NOT_FOUND);
    assert_int_equal(take(f, key_b, "gpt-4", 10, true), ERR_NOT_FOUND);
}

static void a_request_that_needs_a_slot_costs_nothing_without(void **state)
{
    struct fixture *f = *state;
    struct lease_grant g = grant(1, 0);
    g.needs_slot = true;
    put(f, key_a, "m", g);
    struct lease_request ask = {SPAN("m"), 1, 0, true};
    assert_int_equal(take(f, key_a, "m", 1, true), ERR_DENIED);
    assert_int_equal(leases_take(f->leases, key_a, &ask, true, now(f), &f->view), OK);
    assert_int_equal(take(f, key_a, "m", 1, true), ERR_AGAIN); /* used up: no slot would help */
}

static void tokens_run_out_too(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", grant(100, 25));
    assert_int_equal(take(f, key_a, "m", 20, true), OK);
    assert_int_equal(take(f, key_a, "m", 6, true), ERR_AGAIN);
    assert_int_equal(take(f, key_a, "m", 5, true), OK);
}

static void answers_without_a_cap_take_what_auth_expects_of_them(void **state)
{
    struct fixture *f = *state;
    struct lease_grant g = grant(9, 1000);
    g.output_tokens = 300;
    put(f, key_a, "gpt-4", g);
    struct lease_request two = {SPAN("gpt-4"), 10, 2, false}, more = {SPAN("gpt-4"), 91, 1, false},
                         one = {SPAN("gpt-4"), 90, 1, false};
    assert_int_equal(leases_take(f->leases, key_a, &two, true, now(f), &f->view), OK);
    assert_int_equal(f->view.reserved_tokens, 610);
    assert_int_equal(leases_take(f->leases, key_a, &more, true, now(f), &f->view), ERR_AGAIN);
    assert_int_equal(leases_take(f->leases, key_a, &one, true, now(f), &f->view), OK);
    assert_int_equal(f->view.reserved_tokens, 390);
}

static void time_ends_a_lease_unless_auth_is_away(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", grant(5, 0));
    clock_fake_advance_ms(&f->clock, 1999);
    assert_int_equal(take(f, key_a, "m", 1, true), OK);
    assert_int_equal(f->view.limits.reset_requests_ms, 9000 - 1999);
    clock_fake_advance_ms(&f->clock, 1);
    assert_int_equal(take(f, key_a, "m", 1, true), ERR_AGAIN);
    assert_int_equal(take(f, key_a, "m", 1, false), OK);
    clock_fake_advance_ms(&f->clock, 300000 - 2001);
    assert_int_equal(take(f, key_a, "m", 1, false), OK);
    assert_int_equal(f->view.limits.reset_requests_ms, 0);
    clock_fake_advance_ms(&f->clock, 1);
    assert_int_equal(take(f, key_a, "m", 1, false), ERR_NOT_FOUND);
}

static void a_key_without_limits_goes_on_for_as_long_as_it_is_known(void **state)
{
    struct fixture *f = *state;
    struct lease_grant free_grant = grant(1, 0);
    free_grant.limits = (struct limit_headers){0};
    put(f, key_a, "m", free_grant);
    assert_int_equal(take(f, key_a, "m", 1, true), OK);
    assert_int_equal(take(f, key_a, "m", 1, true), ERR_AGAIN);
    for (int i = 0; i < 100; i++)
        assert_int_equal(take(f, key_a, "m", 1, false), OK);
    clock_fake_advance_ms(&f->clock, 300000);
    assert_int_equal(take(f, key_a, "m", 1, false), ERR_NOT_FOUND);
}

static void what_was_used_is_reported_once_when_auth_is_asked_again(void **state)
{
    struct fixture *f = *state;
    struct lease_use use;
    put(f, key_a, "m", grant(5, 100));
    assert_int_equal(take(f, key_a, "m", 30, true), OK);
    assert_int_equal(take(f, key_a, "m", 40, true), OK);
    assert_int_equal(take(f, key_a, "m", 40, true), ERR_AGAIN);
    assert_true(leases_end(f->leases, key_a, SPAN("m"), &use));
    assert_int_equal(use.requests, 2);
    assert_int_equal(use.tokens, 70);
    assert_false(leases_end(f->leases, key_a, SPAN("m"), &use));
    assert_int_equal(take(f, key_a, "m", 1, true), ERR_AGAIN);
    put(f, key_a, "m", grant(0, 0));
    assert_int_equal(take(f, key_a, "m", 1, false), ERR_AGAIN);
    assert_false(leases_end(f->leases, key_a, SPAN("m"), &use));
    put(f, key_a, "m", grant(1, 0));
    assert_int_equal(take(f, key_a, "m", 1, true), OK);
    assert_true(leases_end(f->leases, key_a, SPAN("m"), &use));
    assert_int_equal(use.requests, 1);
}

static void a_reported_lease_goes_on_when_auth_dies_before_it_answers(void **state)
{
    struct fixture *f = *state;
    struct lease_use use;
    put(f, key_a, "m", grant(3, 0));
    assert_int_equal(take(f, key_a, "m", 1, true), OK);
    assert_true(leases_end(f->leases, key_a, SPAN("m"), &use));
    assert_int_equal(take(f, key_a, "m", 1, false), OK);
    assert_true(leases_end(f->leases, key_a, SPAN("m"), &use));
    assert_int_equal(use.requests, 2);
}

static void a_refusal_closes_what_was_reported(void **state)
{
    struct fixture *f = *state;
    struct lease_use use;
    put(f, key_a, "m", grant(3, 0));
    leases_close(f->leases, key_a, SPAN("m"));
    assert_int_equal(take(f, key_a, "m", 1, true), OK);
    assert_true(leases_end(f->leases, key_a, SPAN("m"), &use));
    leases_close(f->leases, key_a, SPAN("m"));
    assert_int_equal(take(f, key_a, "m", 1, false), ERR_AGAIN);
}

static void an_answer_without_a_lease_leaves_the_running_one(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", grant(2, 0));
    put(f, key_a, "m", grant(0, 0));
    assert_int_equal(take(f, key_a, "m", 1, true), OK);
    assert_int_equal(take(f, key_a, "m", 1, true), OK);
    assert_int_equal(take(f, key_a, "m", 1, true), ERR_AGAIN);
}

static void a_revoked_key_is_forgotten_with_all_its_models(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", grant(5, 0));
    put(f, key_a, "n", grant(5, 0));
    put(f, key_b, "m", grant(5, 0));
    leases_forget(f->leases, key_a);
    assert_int_equal(take(f, key_a, "m", 1, false), ERR_NOT_FOUND);
    assert_int_equal(take(f, key_a, "n", 1, false), ERR_NOT_FOUND);
    assert_int_equal(take(f, key_b, "m", 1, false), OK);
    leases_forget_all(f->leases);
    assert_int_equal(leases_count(f->leases), 0);
}

static void the_table_is_bounded_and_the_oldest_makes_room(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "1", grant(5, 0));
    put(f, key_a, "2", grant(5, 0));
    put(f, key_a, "3", grant(5, 0));
    put(f, key_a, "1", grant(5, 0));
    put(f, key_a, "4", grant(5, 0));
    assert_int_equal(leases_count(f->leases), 3);
    assert_int_equal(take(f, key_a, "2", 1, true), ERR_NOT_FOUND);
    assert_int_equal(take(f, key_a, "1", 1, true), OK);
    char model[300];
    memset(model, 'x', sizeof model);
    struct lease_grant g = grant(5, 0);
    struct lease_request ask = {span_of(model, sizeof model), 1, 0, false};
    leases_put(f->leases, key_a, ask.model, &g, now(f));
    assert_int_equal(leases_take(f->leases, key_a, &ask, true, now(f), &f->view), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lease_admits_so_many_requests_and_no_more, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_request_that_needs_a_slot_costs_nothing_without, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(tokens_run_out_too, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_without_a_cap_take_what_auth_expects_of_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(time_ends_a_lease_unless_auth_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_without_limits_goes_on_for_as_long_as_it_is_known,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_used_is_reported_once_when_auth_is_asked_again,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_reported_lease_goes_on_when_auth_dies_before_it_answers,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_refusal_closes_what_was_reported, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_without_a_lease_leaves_the_running_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_revoked_key_is_forgotten_with_all_its_models, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_table_is_bounded_and_the_oldest_makes_room, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
