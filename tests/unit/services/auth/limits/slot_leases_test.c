#include "unit/services/auth/test_support.h"

#include "services/auth/limits/slot_leases.h"

enum { LEASE_S = 2 };

struct fixture {
    struct slot_leases leases;
    struct key key;
    unsigned asked;
    const void *asked_edge;
    uint64_t asked_given, asked_until;
};

static const char one, two;

static void note(void *ctx, const void *edge, const struct slots_back *m)
{
    struct fixture *f = ctx;
    f->asked++;
    f->asked_edge = edge;
    f->asked_given = m->given;
    f->asked_until = m->until;
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.key = {.is = {.concurrent = 4}}};
    slot_leases_init(&f.leases, note, &f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    slot_leases_free(&f->leases);
    return 0;
}

static struct slot_party party(struct fixture *f, const char *edge)
{
    return (struct slot_party){edge, edge == &one ? 1 : 2, &f->key, SPAN_NONE};
}

static uint64_t give(struct fixture *f, const char *edge, uint32_t slots)
{
    struct slot_party who = party(f, edge);
    uint64_t given;
    assert_int_equal(slot_lease_give(&f->leases, &who, slots, START + LEASE_S * SECOND, &given),
                     OK);
    return given;
}

static void told(struct fixture *f, const char *edge, uint64_t given, uint64_t returned)
{
    struct slot_party who = party(f, edge);
    slot_lease_told(&f->leases, &who, given, returned, START);
}

static void what_edges_hold_counts_as_taken(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(give(f, &one, 2), 2);
    assert_int_equal(give(f, &two, 1), 1);
    assert_int_equal(give(f, &one, 1), 3);
    assert_int_equal(f->key.in_flight, 4);
    told(f, &one, 3, 2);
    assert_int_equal(f->key.in_flight, 2);
    told(f, &two, 1, 1);
    assert_int_equal(f->key.in_flight, 1);
}

static void late_and_doubled_messages_change_nothing(void **state)
{
    struct fixture *f = *state;
    (void)give(f, &one, 3);
    told(f, &one, 3, 2);
    told(f, &one, 3, 2);
    told(f, &one, 2, 1);
    told(f, &one, 0, 0);
    told(f, &one, 1, 2); /* makes no sense */
    assert_int_equal(f->key.in_flight, 1);
}

static void what_an_edge_held_before_is_counted_once_it_says_so(void **state)
{
    struct fixture *f = *state;
    told(f, &one, 9, 6);
    assert_int_equal(f->key.in_flight, 3);
    assert_int_equal(give(f, &one, 1), 10);
    assert_int_equal(f->key.in_flight, 4);
}

static void absurd_counts_are_bounded(void **state)
{
    struct fixture *f = *state;
    told(f, &one, UINT64_MAX, 0);
    assert_int_equal(f->key.in_flight, SLOT_LEASE_MAX);
    told(f, &one, UINT64_MAX, UINT64_MAX - 1);
    assert_int_equal(f->key.in_flight, 1);
}

static void a_slot_is_called_back_from_the_other_edge_that_has_the_most(void **state)
{
    struct fixture *f = *state;
    assert_false(slot_leases_elsewhere(&f->key, 1));
    (void)give(f, &one, 3);
    (void)give(f, &two, 1);
    assert_true(slot_leases_elsewhere(&f->key, 1) && slot_leases_elsewhere(&f->key, 2));
    slot_lease_call_back(&f->leases, &f->key, 2, false);
    assert_ptr_equal(f->asked_edge, &one);
    assert_int_equal(f->asked_given, 3);
    assert_int_equal(f->asked_until, 1);
    slot_lease_call_back(&f->leases, &f->key, 2, false);
    slot_lease_call_back(&f->leases, &f->key, 2, false);
    assert_int_equal(f->asked_until, 3);
    slot_lease_call_back(&f->leases, &f->key, 2, false);
    assert_int_equal(f->asked, 3); /* all of it has been called back */
    slot_lease_call_back(&f->leases, &f->key, 2, true);
    assert_ptr_equal(f->asked_edge, &two);
}

static void a_lost_edge_holds_its_slots_for_a_while(void **state)
{
    struct fixture *f = *state;
    uint64_t gone = START + SECOND;
    (void)give(f, &one, 3);
    (void)give(f, &two, 1);
    slot_leases_edge_gone(&f->leases, 1, gone);
    assert_false(slot_leases_elsewhere(&f->key, 2)); /* nobody to ask */
    slot_leases_sweep(&f->leases, gone + SLOT_OWNER_GRACE_S * SECOND - 1);
    assert_int_equal(f->key.in_flight, 4);
    slot_leases_sweep(&f->leases, gone + SLOT_OWNER_GRACE_S * SECOND);
    assert_int_equal(f->key.in_flight, 1);
    slot_leases_edge_back(&f->leases, &one, 1);
    told(f, &one, 3, 1); /* it was only cut off */
    assert_int_equal(f->key.in_flight, 3);
}

static void an_edge_that_is_back_in_time_keeps_them(void **state)
{
    struct fixture *f = *state;
    (void)give(f, &one, 3);
    slot_leases_edge_gone(&f->leases, 1, START);
    slot_leases_edge_back(&f->leases, &two, 1);
    f->asked_edge = NULL;
    slot_leases_sweep(&f->leases, START + 60 * SECOND);
    assert_int_equal(f->key.in_flight, 3);
    assert_ptr_equal(f->asked_edge, &two); /* at its new link */
}

static void an_expired_lease_is_asked_about_until_it_is_returned(void **state)
{
    struct fixture *f = *state;
    uint64_t due = START + LEASE_S * SECOND + SLOT_SILENCE_MS * SECOND / 1000;
    (void)give(f, &one, 2);
    slot_leases_sweep(&f->leases, due - 1);
    assert_int_equal(f->asked, 0);
    slot_leases_sweep(&f->leases, due);
    slot_leases_sweep(&f->leases, due);
    assert_int_equal(f->asked, 1);
    assert_int_equal(f->asked_given, 2);
    slot_leases_sweep(&f->leases, due + SLOT_ASK_AGAIN_MS * SECOND / 1000);
    assert_int_equal(f->asked, 2);
    told(f, &one, 2, 2);
    slot_leases_sweep(&f->leases, due + 100 * SECOND);
    assert_int_equal(f->asked, 2);
    slot_leases_sweep(&f->leases, due + 1000 * SECOND);
    assert_int_equal(f->leases.table.count, 0);
    assert_null(f->key.slot_leases);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_edges_hold_counts_as_taken),
        TEST(late_and_doubled_messages_change_nothing),
        TEST(what_an_edge_held_before_is_counted_once_it_says_so),
        TEST(absurd_counts_are_bounded),
        TEST(a_slot_is_called_back_from_the_other_edge_that_has_the_most),
        TEST(a_lost_edge_holds_its_slots_for_a_while),
        TEST(an_edge_that_is_back_in_time_keeps_them),
        TEST(an_expired_lease_is_asked_about_until_it_is_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
