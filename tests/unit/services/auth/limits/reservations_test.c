#include "unit/services/auth/test_support.h"

#include "services/auth/limits/reservations.h"

struct fixture {
    struct limits limits;
    struct reservations reservations;
    struct key key;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    limits_init(&f.limits);
    reservations_init(&f.reservations, &f.limits);
    f.key.tokens = limits_get(&f.limits, SPAN("t"), "key_tokens", LIMIT_TOKENS,
                              (struct gcra_rate){1000, GCRA_MINUTE, 1000}, 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    reservations_free(&f->reservations);
    limits_free(&f->limits);
    return 0;
}

static struct request_id id_of(uint8_t n)
{
    return (struct request_id){.bytes = {[0] = 1, [15] = n}};
}

/* 100 tokens set aside and a slot taken. */
static struct reservation *add(struct fixture *f, uint8_t n, uint64_t due_ns)
{
    struct request_id id = id_of(n);
    struct reservation *reservation = reservation_add(&f->reservations, &id, &f->key, due_ns);
    assert_non_null(reservation);
    gcra_charge(&f->key.tokens->gcra, START, 100);
    reservation->charged_tokens = 100;
    reservation_take_slot(&f->reservations, reservation, START, false);
    return reservation;
}

static uint64_t left(const struct fixture *f)
{
    return gcra_remaining(&f->key.tokens->gcra, START);
}

static void finishing_corrects_the_tokens_both_ways(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t actual, left;
    } cases[] = {{0, 1000}, {40, 960}, {100, 900}, {250, 750}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->key.tokens->gcra.full_ns = 0;
        struct reservation *reservation = add(f, 1, START);
        reservation->actual_tokens = cases[i].actual;
        reservation_finish(&f->reservations, reservation, START);
        assert_int_equal(left(f), cases[i].left);
        assert_int_equal(f->key.in_flight, 0);
        struct request_id id = id_of(1);
        assert_null(reservation_find(&f->reservations, &id));
    }
}

static void dropping_leaves_the_tokens_as_charged(void **state)
{
    struct fixture *f = *state;
    reservation_drop(&f->reservations, add(f, 1, START));
    assert_int_equal(left(f), 900);
    assert_int_equal(f->key.in_flight, 0);
}

static void a_slot_is_freed_once(void **state)
{
    struct fixture *f = *state;
    struct reservation *first = add(f, 1, START);
    (void)add(f, 2, START);
    reservation_free_slot(&f->reservations, first);
    reservation_free_slot(&f->reservations, first);
    reservation_drop(&f->reservations, first);
    assert_int_equal(f->key.in_flight, 1);
}

static void those_past_their_deadline_let_go_but_the_held_stay(void **state)
{
    struct fixture *f = *state;
    (void)add(f, 1, START + 10);
    struct reservation *held = add(f, 2, 0);
    struct reservation *settled = add(f, 3, START + 10);
    held->held = true;
    settled->settled = true;
    settled->actual_tokens = 20;
    reservations_sweep(&f->reservations, START + 9);
    assert_int_equal(f->reservations.table.count, 3);
    reservations_sweep(&f->reservations, START + 10);
    assert_int_equal(f->reservations.table.count, 1);
    assert_int_equal(left(f), 1000 - 100 - 100 - 20);
}

static void count_unconfirmed(void *ctx, const struct request_id *id)
{
    (void)id;
    ++*(unsigned *)ctx;
}

static void what_no_release_confirms_costs_no_more_than_was_set_aside(void **state)
{
    struct fixture *f = *state;
    static const struct {
        bool released;
        uint64_t named[2]; /* 0 = nobody */
        uint64_t reported; /* by worker 7 */
        unsigned unconfirmed;
        uint64_t left;
    } cases[] = {{true, {0, 0}, 150, 0, 850}, {true, {7, 0}, 150, 0, 850},
                 {true, {8, 7}, 150, 0, 850}, {true, {8, 0}, 150, 1, 900},
                 {true, {8, 0}, 30, 1, 970},  {false, {0, 0}, 150, 1, 900},
                 {false, {0, 0}, 30, 1, 970}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned unconfirmed = 0;
        f->key.tokens->gcra.full_ns = 0;
        f->reservations.unconfirmed = count_unconfirmed;
        f->reservations.ctx = &unconfirmed;
        struct reservation *r = add(f, 1, START);
        reservation_report(r, 7, cases[i].reported);
        r->released = cases[i].released;
        for (size_t k = 0; k < 2 && cases[i].named[k]; k++)
            reservation_name_worker(r, cases[i].named[k]);
        reservation_finish(&f->reservations, r, START);
        assert_int_equal(unconfirmed, cases[i].unconfirmed);
        assert_int_equal(left(f), cases[i].left);
    }
    f->reservations.unconfirmed = NULL;
}

static void an_attempt_that_is_confirmed_counts_in_full_beside_one_that_is_not(void **state)
{
    struct fixture *f = *state;
    struct reservation *r = add(f, 1, START);
    r->released = true;
    reservation_name_worker(r, 8);
    reservation_report(r, 7, 500);
    reservation_report(r, 8, 120);
    reservation_finish(&f->reservations, r, START);
    assert_int_equal(left(f), 880);
}

struct forgotten {
    unsigned count;
    struct request_id last;
};

static void on_forget(void *ctx, const struct request_id *id)
{
    struct forgotten *f = ctx;
    f->count++;
    f->last = *id;
}

static void slots_that_last_are_stored_and_forgotten_at_their_end(void **state)
{
    struct fixture *f = *state;
    struct forgotten forgotten = {0};
    const uint64_t ripe = START + RESERVATION_STORE_AGE_MS * (SECOND / 1000);
    f->reservations.forget = on_forget;
    f->reservations.ctx = &forgotten;
    struct reservation *shortly = add(f, 1, UINT64_MAX), *lasting = add(f, 2, UINT64_MAX),
                       *other = add(f, 3, UINT64_MAX);
    assert_null(reservation_next_to_store(&f->reservations, ripe - 1));
    reservation_finish(&f->reservations, shortly, START); /* never written, so nothing to forget */
    assert_int_equal(forgotten.count, 0);
    assert_ptr_equal(reservation_next_to_store(&f->reservations, ripe), lasting);
    assert_ptr_equal(reservation_next_to_store(&f->reservations, ripe), other);
    assert_null(reservation_next_to_store(&f->reservations, ripe));
    reservation_not_stored(&f->reservations, &other->id); /* the disk was full */
    assert_ptr_equal(reservation_next_to_store(&f->reservations, ripe), other);
    reservation_free_slot(&f->reservations, lasting);
    reservation_drop(&f->reservations, lasting);
    assert_int_equal(forgotten.count, 1);
    assert_int_equal(forgotten.last.bytes[15], 2);
}

static void a_gone_edges_slots_are_free_after_a_while_unless_it_comes_back(void **state)
{
    struct fixture *f = *state;
    const uint64_t later = START + RESERVATION_OWNER_GRACE_S * SECOND;
    for (uint8_t n = 1; n <= 4; n++)
        add(f, n, UINT64_MAX)->owner = n <= 2 ? 71 : 72;
    reservations_owner_gone(&f->reservations, 71, START);
    reservations_owner_gone(&f->reservations, 72, START);
    reservations_owner_back(&f->reservations, 72); /* only its link was lost */
    reservations_sweep(&f->reservations, later - 1);
    assert_int_equal(f->key.in_flight, 4);
    reservations_sweep(&f->reservations, later);
    assert_int_equal(f->key.in_flight, 2);
}

static void more_edges_may_go_than_are_remembered(void **state)
{
    struct fixture *f = *state;
    for (uint64_t owner = 1; owner <= 3 * RESERVATION_OWNERS_GONE; owner++)
        reservations_owner_gone(&f->reservations, owner, START + owner);
    add(f, 1, UINT64_MAX)->owner = 3 * RESERVATION_OWNERS_GONE;
    add(f, 2, UINT64_MAX)->owner = 1; /* forgotten: its deadline frees it */
    reservations_sweep(&f->reservations, START + 60 * SECOND);
    assert_int_equal(f->key.in_flight, 1);
}

static void many_come_and_go(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 5000 };
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < MANY; i++) {
            struct request_id id = {0};
            memcpy(id.bytes + 12, &i, sizeof i);
            assert_non_null(reservation_add(&f->reservations, &id, &f->key, START));
        }
        for (uint32_t i = 0; i < MANY; i++) {
            struct request_id id = {0};
            memcpy(id.bytes + 12, &i, sizeof i);
            reservation_drop(&f->reservations, reservation_find(&f->reservations, &id));
        }
        assert_int_equal(f->reservations.table.count, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(finishing_corrects_the_tokens_both_ways),
        TEST(dropping_leaves_the_tokens_as_charged),
        TEST(a_slot_is_freed_once),
        TEST(those_past_their_deadline_let_go_but_the_held_stay),
        TEST(what_no_release_confirms_costs_no_more_than_was_set_aside),
        TEST(an_attempt_that_is_confirmed_counts_in_full_beside_one_that_is_not),
        TEST(slots_that_last_are_stored_and_forgotten_at_their_end),
        TEST(a_gone_edges_slots_are_free_after_a_while_unless_it_comes_back),
        TEST(more_edges_may_go_than_are_remembered),
        TEST(many_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
