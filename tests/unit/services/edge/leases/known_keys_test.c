#include "services/edge/leases/known_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const uint8_t one[SHA256_BYTES] = {1}, two[SHA256_BYTES] = {2};

static struct known_keys *make(size_t max_known, size_t max_unknown)
{
    struct known_keys *k;
    assert_int_equal(known_keys_create(&k, max_known, max_unknown), OK);
    return k;
}

static void what_auth_says_holds_for_its_time(void **state)
{
    (void)state;
    struct known_keys *k = make(8, 8);
    assert_int_equal(known_keys_find(k, one, 0), KEY_NOT_ASKED);
    known_keys_put(k, one, true, 1000, 5000);
    known_keys_put(k, two, false, 1000, 5000);
    assert_int_equal(known_keys_find(k, one, 5999), KEY_IS_KNOWN);
    assert_int_equal(known_keys_find(k, two, 5999), KEY_IS_UNKNOWN);
    assert_int_equal(known_keys_find(k, one, 6000), KEY_NOT_ASKED);
    assert_int_equal(known_keys_find(k, two, 6000), KEY_NOT_ASKED);
    known_keys_put(k, one, true, UINT64_MAX, 7000);
    assert_int_equal(known_keys_find(k, one, UINT64_MAX - 1), KEY_IS_KNOWN);
    known_keys_destroy(&k);
}

static void the_last_word_counts(void **state)
{
    (void)state;
    struct known_keys *k = make(8, 8);
    known_keys_put(k, one, false, 1000, 0);
    known_keys_put(k, one, true, 1000, 0);
    assert_int_equal(known_keys_find(k, one, 1), KEY_IS_KNOWN);
    known_keys_put(k, one, false, 1000, 0);
    assert_int_equal(known_keys_find(k, one, 1), KEY_IS_UNKNOWN);
    known_keys_destroy(&k);
}

static void a_revoked_key_is_forgotten(void **state)
{
    (void)state;
    struct known_keys *k = make(8, 8);
    known_keys_put(k, one, true, 1000, 0);
    known_keys_put(k, two, true, 1000, 0);
    known_keys_forget(k, one);
    assert_int_equal(known_keys_find(k, one, 1), KEY_NOT_ASKED);
    assert_int_equal(known_keys_find(k, two, 1), KEY_IS_KNOWN);
    known_keys_forget_all(k);
    assert_int_equal(known_keys_find(k, two, 1), KEY_NOT_ASKED);
    known_keys_destroy(&k);
}

static void a_flood_of_unknown_keys_drives_out_no_known_one(void **state)
{
    (void)state;
    struct known_keys *k = make(2, 4);
    known_keys_put(k, one, true, 1000, 0);
    for (uint8_t i = 10; i < 30; i++)
        known_keys_put(k, (const uint8_t[SHA256_BYTES]){i}, false, 1000, 0);
    assert_int_equal(known_keys_find(k, one, 1), KEY_IS_KNOWN);
    assert_int_equal(known_keys_find(k, (const uint8_t[SHA256_BYTES]){25}, 1), KEY_NOT_ASKED);
    assert_int_equal(known_keys_find(k, (const uint8_t[SHA256_BYTES]){26}, 1), KEY_IS_UNKNOWN);
    known_keys_put(k, two, true, 1000, 0);
    known_keys_put(k, (const uint8_t[SHA256_BYTES]){3}, true, 1000, 0);
    assert_int_equal(known_keys_find(k, one, 1), KEY_NOT_ASKED);
    assert_int_equal(known_keys_find(k, two, 1), KEY_IS_KNOWN);
    known_keys_destroy(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_auth_says_holds_for_its_time),
        cmocka_unit_test(the_last_word_counts),
        cmocka_unit_test(a_revoked_key_is_forgotten),
        cmocka_unit_test(a_flood_of_unknown_keys_drives_out_no_known_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
