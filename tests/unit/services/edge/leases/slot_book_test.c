#include "services/edge/leases/slot_book.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const uint8_t key_a[SHA256_BYTES] = {1};
static const uint8_t key_b[SHA256_BYTES] = {2};
static const uint8_t key_c[SHA256_BYTES] = {3};

enum { NOW = 5000, VALID = 2000 };

struct fixture {
    struct slot_book *book;
    unsigned told;
    uint8_t key;
    uint64_t given, returned;
};

static void note(void *ctx, const uint8_t key[SHA256_BYTES], uint64_t given, uint64_t returned)
{
    struct fixture *f = ctx;
    f->told++;
    f->key = key[0];
    f->given = given;
    f->returned = returned;
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    *state = &f;
    return slot_book_create(&f.book, 2, note, &f) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    slot_book_destroy(&f->book);
    return 0;
}

static void given(struct fixture *f, const uint8_t *key, uint64_t slots)
{
    assert_true(slot_book_given(f->book, key, slots, VALID, NOW));
}

static struct leased_slots *take(struct fixture *f, uint64_t now_ms)
{
    return slot_book_take(f->book, key_a, false, now_ms);
}

static uint64_t returned(const struct fixture *f)
{
    return slot_book_counts(f->book, key_a).returned;
}

static void so_many_requests_have_a_slot_and_no_more(void **state)
{
    struct fixture *f = *state;
    assert_null(take(f, NOW));
    given(f, key_a, 2);
    struct leased_slots *first = take(f, NOW), *second = take(f, NOW);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(take(f, NOW));
    slot_book_leave(f->book, &first, NOW);
    assert_null(first);
    slot_book_leave(f->book, &first, NOW); /* nothing to leave */
    assert_non_null(take(f, NOW));
    assert_null(take(f, NOW));
    assert_int_equal(f->told, 0);
}

static void the_larger_number_holds(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 3);
    given(f, key_a, 3);
    given(f, key_a, 2);
    assert_int_equal(slot_book_counts(f->book, key_a).given, 3);
}

static void a_free_slot_is_used_until_it_expires_and_then_returned(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 3);
    struct leased_slots *runs = take(f, NOW + VALID - 1);
    assert_null(take(f, NOW + VALID));
    slot_book_tick(f->book, NOW + VALID - 1);
    assert_int_equal(f->told, 0);
    slot_book_tick(f->book, NOW + VALID);
    assert_int_equal(f->told, 1);
    assert_int_equal(f->given, 3);
    assert_int_equal(f->returned, 2); /* one runs */
    slot_book_tick(f->book, NOW + VALID);
    assert_int_equal(f->told, 1);
    slot_book_leave(f->book, &runs, NOW + VALID);
    assert_int_equal(f->returned, 3);
}

static void a_request_that_auth_is_asked_about_may_have_an_expired_one(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 1);
    assert_null(take(f, NOW + VALID));
    assert_non_null(slot_book_take(f->book, key_a, true, NOW + VALID));
    assert_null(slot_book_take(f->book, key_a, true, NOW + VALID));
}

static void what_is_called_back_goes_as_it_falls_free(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 3);
    struct leased_slots *one = take(f, NOW), *two = take(f, NOW);
    slot_book_back(f->book, key_a, 3, 2, NOW);
    assert_int_equal(f->returned, 1);
    assert_null(take(f, NOW));
    slot_book_back(f->book, key_a, 3, 2, NOW); /* answered, though nothing changes */
    assert_int_equal(f->told, 2);
    slot_book_leave(f->book, &one, NOW);
    assert_int_equal(f->returned, 2);
    slot_book_leave(f->book, &two, NOW);
    assert_int_equal(f->told, 3); /* that one stays */
    assert_non_null(take(f, NOW));
}

static void no_more_goes_back_than_was_given(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 2);
    slot_book_back(f->book, key_a, 2, 100, NOW);
    assert_int_equal(f->returned, 2);
    given(f, key_a, 3);
    assert_non_null(take(f, NOW));
}

static void a_lost_answers_slot_is_found_when_auth_asks(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 1);
    slot_book_back(f->book, key_a, 2, 0, NOW);
    assert_int_equal(f->given, 2);
    assert_int_equal(f->returned, 0);
    assert_non_null(take(f, NOW));
    assert_non_null(take(f, NOW));
    slot_book_back(f->book, key_b, 7, 0, NOW); /* of this one it holds nothing */
    assert_int_equal(f->key, 2);
    assert_int_equal(f->given, 7);
    assert_int_equal(f->returned, 7);
}

static void a_revoked_key_returns_what_is_free(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 2);
    given(f, key_b, 2);
    struct leased_slots *runs = take(f, NOW);
    slot_book_end(f->book, key_a);
    assert_int_equal(f->told, 1);
    assert_null(take(f, NOW));
    slot_book_end_all(f->book);
    assert_int_equal(f->told, 2);
    slot_book_leave(f->book, &runs, NOW);
    assert_int_equal(f->told, 3);
    assert_int_equal(returned(f), 2);
}

static void auth_is_told_what_is_held(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 2);
    given(f, key_b, 1);
    slot_book_back(f->book, key_b, 1, 1, NOW);
    f->told = 0;
    slot_book_tell_all(f->book);
    assert_int_equal(f->told, 1);
    assert_int_equal(f->key, 1);
}

static void a_forgotten_keys_counts_never_fall(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 5);
    slot_book_tick(f->book, NOW + VALID);
    assert_int_equal(slot_book_keys(f->book), 1);
    slot_book_tick(f->book, NOW + VALID + 60000);
    assert_int_equal(slot_book_keys(f->book), 0);
    struct slot_counts counts = slot_book_counts(f->book, key_a);
    assert_int_equal(counts.given, 5);
    assert_int_equal(counts.returned, 5);
    given(f, key_a, 5); /* late */
    assert_null(take(f, NOW));
    given(f, key_a, 6);
    assert_non_null(take(f, NOW));
}

static void a_key_without_a_place_holds_nothing(void **state)
{
    struct fixture *f = *state;
    given(f, key_a, 1);
    given(f, key_b, 1);
    assert_false(slot_book_given(f->book, key_c, 4, VALID, NOW));
    assert_int_equal(f->key, 3);
    assert_int_equal(f->returned, 4);
    assert_null(slot_book_take(f->book, key_c, true, NOW));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(so_many_requests_have_a_slot_and_no_more),
        TEST(the_larger_number_holds),
        TEST(a_free_slot_is_used_until_it_expires_and_then_returned),
        TEST(a_request_that_auth_is_asked_about_may_have_an_expired_one),
        TEST(what_is_called_back_goes_as_it_falls_free),
        TEST(no_more_goes_back_than_was_given),
        TEST(a_lost_answers_slot_is_found_when_auth_asks),
        TEST(a_revoked_key_returns_what_is_free),
        TEST(auth_is_told_what_is_held),
        TEST(a_forgotten_keys_counts_never_fall),
        TEST(a_key_without_a_place_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
