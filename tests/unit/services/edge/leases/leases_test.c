#include "services/edge/leases/leases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t key_a[SHA256_BYTES] = {1};
static const uint8_t key_b[SHA256_BYTES] = {2};

enum { MODELS_MAX = 100, LEASE = 7, FREE = 0 };

struct fixture {
    struct key_leases *leases;
    uint64_t now_ms, down_ms;
    bool auth_hears;
    unsigned told;
    struct lease_used last;
    char last_model[32];
    struct lease_view view;
};

static bool note(void *ctx, const struct lease_used *m)
{
    struct fixture *f = ctx;
    if (!f->auth_hears)
        return false;
    f->told++;
    f->last = *m;
    (void)snprintf(f->last_model, sizeof f->last_model, "%.*s", SPAN_ARG(m->model));
    return true;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->now_ms = 1000000;
    f->auth_hears = true;
    *state = f;
    return leases_create(&f->leases, MODELS_MAX, note, f) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    leases_destroy(&f->leases);
    free(f);
    return 0;
}

/* So many requests and tokens (0: not limited) are charged in all. */
static struct allow allow(uint64_t lease, uint64_t requests, uint64_t tokens)
{
    return (struct allow){
        .key_id = SPAN("key_1"),
        .key_name = SPAN("team"),
        .models = SPAN("gpt-*"),
        .lease = lease,
        .lease_charged = requests,
        .lease_charged_tokens = tokens ? tokens : UINT64_MAX,
        .lease_ms = 2000,
        .known_ms = 300000,
        .limit_requests = lease ? 100 : 0,
        .remaining_requests = 50,
        .reset_requests_ms = 9000,
        .limit_tokens = tokens ? 1000 : 0,
        .remaining_tokens = 500,
    };
}

static void put(struct fixture *f, const uint8_t *key, const char *model, struct allow a)
{
    leases_put(f->leases, key, span_str(model), &a, f->now_ms);
}

static enum err take(struct fixture *f, const uint8_t *key, const char *model, uint64_t tokens)
{
    struct lease_request ask = {span_str(model), tokens, 0, false};
    return leases_take(f->leases, key, &ask, (struct lease_moment){f->now_ms, f->down_ms},
                       &f->view);
}

static unsigned take_all(struct fixture *f, const char *model)
{
    unsigned n = 0;
    while (take(f, key_a, model, 1) == OK)
        n++;
    return n;
}

static struct authorize report(struct fixture *f, const char *model)
{
    struct authorize a = {0};
    leases_report(f->leases, key_a, span_str(model), false, &a);
    return a;
}

static void a_lease_admits_so_many_requests_and_no_more(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f, key_a, "gpt-4", 10), ERR_NOT_FOUND);
    put(f, key_a, "gpt-4", allow(LEASE, 2, 0));
    assert_int_equal(take(f, key_a, "gpt-4", 10), OK);
    assert_true(span_is(f->view.key_id, "key_1") && span_is(f->view.key_name, "team"));
    assert_true(span_is(f->view.models, "gpt-*"));
    assert_false(f->view.uncounted);
    assert_int_equal(f->view.limits.remaining_requests, 49);
    assert_int_equal(take(f, key_a, "gpt-4", 10), OK);
    assert_int_equal(take(f, key_a, "gpt-4", 10), ERR_AGAIN);
    assert_int_equal(take(f, key_a, "gpt-3", 10), ERR_NOT_FOUND);
    assert_int_equal(take(f, key_b, "gpt-4", 10), ERR_NOT_FOUND);
}

static void models_under_the_same_limits_share_one_lease(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "gpt-4", allow(LEASE, 3, 0));
    struct allow none = allow(LEASE, 3, 0);
    none.lease_ms = 0; /* auth knows that one runs */
    put(f, key_a, "gpt-5", none);
    assert_int_equal(take(f, key_a, "gpt-4", 1), OK);
    assert_int_equal(take(f, key_a, "gpt-5", 1), OK);
    assert_int_equal(take(f, key_a, "gpt-5", 1), OK);
    assert_int_equal(take(f, key_a, "gpt-4", 1), ERR_AGAIN);
    put(f, key_a, "other", allow(LEASE + 1, 1, 0));
    assert_int_equal(take(f, key_a, "other", 1), OK);
    assert_int_equal(report(f, "gpt-5").lease_used, 3);
    assert_int_equal(report(f, "other").lease_used, 1);
}

static void a_request_that_needs_a_slot_costs_nothing_without(void **state)
{
    struct fixture *f = *state;
    struct allow a = allow(LEASE, 1, 0);
    a.slots_key = SPAN("k");
    put(f, key_a, "m", a);
    struct lease_request ask = {SPAN("m"), 1, 0, true};
    assert_int_equal(take(f, key_a, "m", 1), ERR_DENIED);
    assert_int_equal(
        leases_take(f->leases, key_a, &ask, (struct lease_moment){f->now_ms, 0}, &f->view), OK);
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN); /* used up: no slot would help */
}

static void tokens_run_out_too(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(LEASE, 100, 25));
    assert_int_equal(take(f, key_a, "m", 20), OK);
    assert_int_equal(take(f, key_a, "m", 6), ERR_AGAIN);
    assert_int_equal(take(f, key_a, "m", 5), OK);
}

static void answers_without_a_cap_take_what_auth_expects_of_them(void **state)
{
    struct fixture *f = *state;
    struct allow a = allow(LEASE, 9, 1000);
    struct lease_moment now = {f->now_ms, 0};
    a.output_tokens = 300;
    put(f, key_a, "gpt-4", a);
    struct lease_request two = {SPAN("gpt-4"), 10, 2, false}, more = {SPAN("gpt-4"), 91, 1, false},
                         one = {SPAN("gpt-4"), 90, 1, false};
    assert_int_equal(leases_take(f->leases, key_a, &two, now, &f->view), OK);
    assert_int_equal(f->view.reserved_tokens, 610);
    assert_int_equal(leases_take(f->leases, key_a, &more, now, &f->view), ERR_AGAIN);
    assert_int_equal(leases_take(f->leases, key_a, &one, now, &f->view), OK);
    assert_int_equal(f->view.reserved_tokens, 390);
}

static void time_ends_a_lease_unless_auth_is_away(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(LEASE, 5, 0));
    f->now_ms += 1999;
    assert_int_equal(take(f, key_a, "m", 1), OK);
    assert_int_equal(f->view.limits.reset_requests_ms, 9000 - 1999);
    f->down_ms = f->now_ms++;
    assert_int_equal(take(f, key_a, "m", 1), OK);
    f->now_ms += 300000 - 2001;
    assert_int_equal(take(f, key_a, "m", 1), OK);
    assert_int_equal(f->view.limits.reset_requests_ms, 0);
    f->now_ms++;
    assert_int_equal(take(f, key_a, "m", 1), ERR_NOT_FOUND);
}

static void the_rest_of_a_lease_whose_time_is_over_goes_back(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(LEASE, 5, 0));
    assert_int_equal(take(f, key_a, "m", 1), OK);
    f->now_ms += 2000;
    f->auth_hears = false;
    leases_tick(f->leases, f->now_ms);
    f->auth_hears = true;
    leases_tick(f->leases, f->now_ms);
    leases_tick(f->leases, f->now_ms);
    assert_int_equal(f->told, 1);
    assert_int_equal(f->last.lease, LEASE);
    assert_int_equal(f->last.used, 1);
    assert_int_equal(f->last.charged, 5);
    assert_true(f->last.ended);
    assert_string_equal(f->last_model, "m");
    leases_counted(f->leases, key_a, &(struct lease_counted){.lease = LEASE, .charged = 1});
    f->down_ms = f->now_ms;
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN); /* nothing is left of it */
}

static void a_key_without_limits_goes_on_for_as_long_as_it_is_known(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(FREE, UINT64_MAX, 0));
    assert_int_equal(take(f, key_a, "m", 1), OK);
    f->now_ms += 2000;
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN);
    assert_int_equal(report(f, "m").lease, 0); /* there is nothing to count */
    leases_tick(f->leases, f->now_ms);
    assert_int_equal(f->told, 0);
    f->down_ms = f->now_ms;
    for (int i = 0; i < 100; i++)
        assert_int_equal(take(f, key_a, "m", 1), OK);
    assert_false(f->view.uncounted);
    f->now_ms += 300000;
    assert_int_equal(take(f, key_a, "m", 1), ERR_NOT_FOUND);
}

static void a_refusal_ends_what_was_endless(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(FREE, UINT64_MAX, 0));
    leases_close(f->leases, key_a, SPAN("m"));
    f->down_ms = f->now_ms;
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN);
}

/* 600 a minute, of which auth has given this edge two thirds. */
static void give_share(struct fixture *f)
{
    struct allow a = allow(LEASE, 0, 0);
    a.lease_ms = 0;
    a.away_requests = 400 * 1440;
    a.away_tokens = UINT64_MAX;
    a.away_idle_requests = 60 * 1440;
    a.away_idle_tokens = UINT64_MAX;
    put(f, key_a, "m", a);
}

static void while_auth_is_away_a_key_goes_on_at_its_share_of_the_rate(void **state)
{
    struct fixture *f = *state;
    unsigned admitted = 0;
    give_share(f);
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN);
    f->down_ms = f->now_ms += 9000;
    for (int i = 0; i < 60 * 20; i++, f->now_ms += 50)
        admitted += take(f, key_a, "m", 1) == OK;
    assert_in_range(admitted, 396, 400);
    assert_true(f->view.uncounted);
    f->now_ms += 60000; /* what is not used is not saved up for longer than 5 s */
    assert_in_range(take_all(f, "m"), 33, 34);
    f->down_ms = 0;
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN);
}

static void a_key_that_was_idle_gets_less(void **state)
{
    struct fixture *f = *state;
    unsigned admitted = 0;
    give_share(f);
    f->down_ms = f->now_ms += AWAY_FRESH_MS;
    for (int i = 0; i < 60 * 20; i++, f->now_ms += 50)
        admitted += take(f, key_a, "m", 1) == OK;
    assert_in_range(admitted, 58, 60);
}

static void what_was_leased_is_used_before_the_share(void **state)
{
    struct fixture *f = *state;
    give_share(f);
    struct allow a = allow(LEASE, 3, 0);
    put(f, key_a, "m", a); /* and no share any more */
    f->down_ms = f->now_ms;
    assert_int_equal(take_all(f, "m"), 3);
    assert_false(f->view.uncounted);
}

static void tokens_have_a_share_that_one_request_may_overdraw(void **state)
{
    struct fixture *f = *state;
    struct allow a = allow(LEASE, 0, 1);
    a.lease_charged_tokens = 0;
    a.lease_ms = 0;
    a.away_requests = UINT64_MAX;
    a.away_tokens = 6000 * 1440; /* 100 a second */
    put(f, key_a, "m", a);
    f->down_ms = f->now_ms;
    assert_int_equal(take(f, key_a, "m", 1001), ERR_AGAIN); /* more than the limit is at all */
    assert_int_equal(take(f, key_a, "m", 900), OK);
    f->now_ms += 8900;
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN);
    f->now_ms += 200;
    assert_int_equal(take(f, key_a, "m", 1), OK);
}

static void over_a_new_link_auth_is_told_what_it_may_not_have_counted(void **state)
{
    struct fixture *f = *state;
    give_share(f);
    put(f, key_b, "free", allow(FREE, UINT64_MAX, 0));
    leases_tell_all(f->leases);
    assert_int_equal(f->told, 0); /* nothing was used */
    f->down_ms = f->now_ms;
    f->now_ms += 1000;
    assert_int_equal(take(f, key_a, "m", 1), OK);
    leases_tell_all(f->leases);
    assert_int_equal(f->told, 1);
    assert_int_equal(f->last.used, 1);
    assert_int_equal(f->last.charged, 0);
    assert_true(f->last.ended);
    leases_counted(f->leases, key_a, &(struct lease_counted){.lease = LEASE, .charged = 1});
    leases_tell_all(f->leases); /* another auth may be there: it learns the counts */
    assert_int_equal(f->told, 2);
    assert_int_equal(f->last.charged, 1);
}

static void what_was_used_is_reported_when_auth_is_asked_again(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(LEASE, 5, 100));
    assert_int_equal(take(f, key_a, "m", 30), OK);
    assert_int_equal(take(f, key_a, "m", 40), OK);
    assert_int_equal(take(f, key_a, "m", 40), ERR_AGAIN);
    struct authorize a = report(f, "m");
    assert_int_equal(a.lease, LEASE);
    assert_int_equal(a.lease_used, 2);
    assert_int_equal(a.lease_used_tokens, 70);
    assert_int_equal(a.lease_charged, 5);
    assert_true(a.lease_ended);
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN);
    assert_false(report(f, "m").lease_ended); /* said once: another may run by the time it comes */
    struct allow next = allow(LEASE, 4, 120);
    next.lease_used = 2;
    put(f, key_a, "m", next);
    assert_int_equal(take(f, key_a, "m", 10), OK);
    assert_int_equal(take(f, key_a, "m", 10), OK);
    assert_int_equal(take(f, key_a, "m", 10), ERR_AGAIN);
    assert_int_equal(report(f, "m").lease_used, 4);
}

static void a_lease_that_was_forgotten_here_is_not_used_twice(void **state)
{
    struct fixture *f = *state;
    struct allow a = allow(LEASE, 105, 0);
    a.lease_used = 100;
    put(f, key_a, "m", a);
    assert_int_equal(take_all(f, "m"), 5);
}

static void a_lease_that_auth_has_forgotten_begins_anew(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(LEASE, 100, 0));
    assert_int_equal(take_all(f, "m"), 100);
    struct allow a = allow(LEASE, 5, 0);
    a.lease_is_new = true;
    put(f, key_a, "n", a);
    assert_int_equal(take_all(f, "m"), 5);
    assert_int_equal(report(f, "n").lease_used, 5);
}

static void auth_may_end_a_lease(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(LEASE, 5, 0));
    put(f, key_b, "m", allow(LEASE, 5, 0));
    leases_end(f->leases, key_a);
    assert_int_equal(f->told, 1);
    assert_true(f->last.ended);
    assert_int_equal(take(f, key_a, "m", 1), ERR_AGAIN);
    assert_int_equal(take(f, key_b, "m", 1), OK);
    leases_end_all(f->leases);
    assert_int_equal(f->told, 2);
    assert_int_equal(take(f, key_b, "m", 1), ERR_AGAIN);
}

static void an_answer_without_a_lease_leaves_the_running_one(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(LEASE, 2, 0));
    put(f, key_a, "m", (struct allow){.known_ms = 300000});
    assert_int_equal(take_all(f, "m"), 2);
}

static void a_revoked_key_is_forgotten_with_all_its_models(void **state)
{
    struct fixture *f = *state;
    put(f, key_a, "m", allow(LEASE, 5, 0));
    put(f, key_a, "n", allow(LEASE, 5, 0));
    put(f, key_b, "m", allow(LEASE, 5, 0));
    leases_forget(f->leases, key_a);
    assert_int_equal(take(f, key_a, "m", 1), ERR_NOT_FOUND);
    assert_int_equal(take(f, key_a, "n", 1), ERR_NOT_FOUND);
    assert_int_equal(take(f, key_b, "m", 1), OK);
    leases_forget_all(f->leases);
    assert_int_equal(leases_count(f->leases), 0);
}

static void a_key_that_invents_names_drives_out_its_own(void **state)
{
    struct fixture *f = *state;
    char name[32];
    put(f, key_b, "m", allow(LEASE, 5, 0));
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "gpt-%d", i);
        put(f, key_a, name, allow(LEASE, 5, 0));
    }
    assert_int_equal(leases_count(f->leases), LEASE_MODELS_OF_KEY + 1);
    assert_int_equal(take(f, key_b, "m", 1), OK);
    assert_int_equal(take(f, key_a, "gpt-999", 1), OK);
    assert_int_equal(take(f, key_a, "gpt-500", 1), ERR_NOT_FOUND);
}

static void the_table_is_bounded_and_the_key_longest_unused_makes_room(void **state)
{
    struct fixture *f = *state;
    uint8_t key[SHA256_BYTES] = {9};
    for (int i = 0; i < 3 * MODELS_MAX; i++) {
        key[1] = (uint8_t)i;
        key[2] = (uint8_t)(i >> 8);
        put(f, key, "m", allow(LEASE, 5, 0));
    }
    assert_int_equal(leases_count(f->leases), MODELS_MAX);
    assert_int_equal(f->told, 2 * MODELS_MAX); /* what they had comes back */
    assert_int_equal(take(f, key, "m", 1), OK);
    char model[300];
    memset(model, 'x', sizeof model);
    struct allow a = allow(LEASE, 5, 0);
    leases_put(f->leases, key_a, span_of(model, sizeof model), &a, f->now_ms);
    assert_int_equal(take(f, key_a, "m", 1), ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lease_admits_so_many_requests_and_no_more),
        TEST(models_under_the_same_limits_share_one_lease),
        TEST(a_request_that_needs_a_slot_costs_nothing_without),
        TEST(tokens_run_out_too),
        TEST(answers_without_a_cap_take_what_auth_expects_of_them),
        TEST(time_ends_a_lease_unless_auth_is_away),
        TEST(the_rest_of_a_lease_whose_time_is_over_goes_back),
        TEST(a_key_without_limits_goes_on_for_as_long_as_it_is_known),
        TEST(a_refusal_ends_what_was_endless),
        TEST(while_auth_is_away_a_key_goes_on_at_its_share_of_the_rate),
        TEST(a_key_that_was_idle_gets_less),
        TEST(what_was_leased_is_used_before_the_share),
        TEST(tokens_have_a_share_that_one_request_may_overdraw),
        TEST(over_a_new_link_auth_is_told_what_it_may_not_have_counted),
        TEST(what_was_used_is_reported_when_auth_is_asked_again),
        TEST(a_lease_that_was_forgotten_here_is_not_used_twice),
        TEST(a_lease_that_auth_has_forgotten_begins_anew),
        TEST(auth_may_end_a_lease),
        TEST(an_answer_without_a_lease_leaves_the_running_one),
        TEST(a_revoked_key_is_forgotten_with_all_its_models),
        TEST(a_key_that_invents_names_drives_out_its_own),
        TEST(the_table_is_bounded_and_the_key_longest_unused_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
