#include "proto/grant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[GRANT_KEY_BYTES] = {1, 2, 3};
static const struct grant_token sample = {.broker_epoch = UINT64_MAX,
                                          .worker_epoch = 2,
                                          .edge_epoch = 3,
                                          .number = 1ull << 40,
                                          .expires_ms = 123456789,
                                          .slots = 7,
                                          .standing = true};

static struct span written(uint8_t out[GRANT_TOKEN_BYTES])
{
    grant_token_write(&sample, key, out);
    return span_of((const char *)out, GRANT_TOKEN_BYTES);
}

static void test_token_reads_as_written(void **state)
{
    (void)state;
    uint8_t bytes[GRANT_TOKEN_BYTES];
    struct grant_token t = {0};
    struct span token = written(bytes);
    assert_int_equal(grant_token_read(token, &t), OK);
    assert_true(t.broker_epoch == sample.broker_epoch && t.worker_epoch == sample.worker_epoch);
    assert_true(t.edge_epoch == sample.edge_epoch && t.number == sample.number);
    assert_true(t.expires_ms == sample.expires_ms && t.slots == sample.slots && t.standing);
    assert_true(grant_token_is_signed(token, key));
}

static void test_every_changed_bit_breaks_the_signature(void **state)
{
    (void)state;
    uint8_t bytes[GRANT_TOKEN_BYTES];
    struct span token = written(bytes);
    for (unsigned bit = 0; bit < 8 * GRANT_TOKEN_BYTES; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(grant_token_is_signed(token, key));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    uint8_t other[GRANT_KEY_BYTES] = {1, 2, 4};
    assert_false(grant_token_is_signed(token, other));
}

static void test_token_of_another_length_is_none(void **state)
{
    (void)state;
    uint8_t bytes[GRANT_TOKEN_BYTES + 1] = {0};
    struct grant_token t;
    for (size_t n = 0; n <= sizeof bytes; n++) {
        if (n == GRANT_TOKEN_BYTES)
            continue;
        assert_int_equal(grant_token_read(span_of((const char *)bytes, n), &t), ERR_INVALID);
        assert_false(grant_token_is_signed(span_of((const char *)bytes, n), key));
    }
}

static void test_reports_follow_each_other(void **state)
{
    (void)state;
    uint8_t bytes[2 * GRANT_REPORT_BYTES];
    struct grant_report a = {9, 5, 4, 1, 1, 1, true}, b = {10, 1, 0, 0, 0, 0, false}, r;
    grant_report_write(&a, bytes);
    grant_report_write(&b, bytes + GRANT_REPORT_BYTES);
    struct span entries = span_of((const char *)bytes, sizeof bytes);
    assert_int_equal(grant_report_next(&entries, &r), OK);
    assert_true(r.number == 9 && r.started == 5 && r.committed == 4 && r.ok == 1 && r.failed == 1 &&
                r.canceled == 1 && r.closed);
    assert_int_equal(grant_report_next(&entries, &r), OK);
    assert_true(r.number == 10 && !r.closed);
    assert_int_equal(grant_report_next(&entries, &r), ERR_TRUNCATED);
}

static void test_a_report_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[GRANT_REPORT_BYTES];
    struct grant_report bad[] = {
        {1, 1, 0, 1, 1, 0, false}, {1, 0, 1, 0, 0, 0, false}, {1, 5, 0, UINT64_MAX, 1, 1, false}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        grant_report_write(&bad[i], bytes);
        struct span entries = span_of((const char *)bytes, sizeof bytes);
        struct grant_report r;
        assert_int_equal(grant_report_next(&entries, &r), ERR_INVALID);
        assert_int_equal(entries.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_reads_as_written),
        cmocka_unit_test(test_every_changed_bit_breaks_the_signature),
        cmocka_unit_test(test_token_of_another_length_is_none),
        cmocka_unit_test(test_reports_follow_each_other),
        cmocka_unit_test(test_a_report_that_contradicts_itself_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
