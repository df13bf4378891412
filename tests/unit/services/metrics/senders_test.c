#include "unit/services/metrics/test_prometheus.h"

#include "services/metrics/senders.h"

static struct senders *fresh(size_t max_bytes)
{
    struct senders *s;
    assert_int_equal(senders_create(&s, max_bytes), OK);
    return s;
}

static unsigned length(const struct senders *s)
{
    unsigned n = 0;
    for (const struct sender *who = senders_first(s); who; who = who->next)
        n++;
    return n;
}

static void a_total_is_zero_at_first_and_kept(void **state)
{
    (void)state;
    struct senders *s = fresh(1 << 20);
    struct sender_total *t;
    struct sender *who = senders_hear(s, 1, 10);
    assert_int_equal(senders_total(s, who, 40, false, &t), OK);
    assert_int_equal(t->value, 0);
    t->value = 5;
    assert_int_equal(senders_total(s, who, METRIC_SERIES_MAX, true, &t), OK);
    assert_int_equal(t->buckets[METRIC_BUCKETS - 1], 0);
    assert_int_equal(senders_total(s, senders_hear(s, 1, 20), 40, false, &t), OK);
    assert_int_equal(t->value, 5);
    assert_int_equal(senders_total(s, senders_hear(s, 2, 20), 40, false, &t), OK);
    assert_int_equal(t->value, 0);
    senders_destroy(&s);
    assert_null(s);
}

static void numbers_of_no_daemon_of_ours_are_refused(void **state)
{
    (void)state;
    struct senders *s = fresh(1 << 20);
    struct sender_total *t;
    struct sender *who = senders_hear(s, 1, 10);
    assert_int_equal(senders_total(s, who, 0, false, &t), ERR_INVALID);
    assert_int_equal(senders_total(s, who, METRIC_SERIES_MAX + 1, false, &t), ERR_INVALID);
    assert_int_equal(senders_total(s, who, UINT32_MAX, false, &t), ERR_INVALID);
    assert_int_equal(senders_total(s, who, 1, true, &t), OK);
    assert_int_equal(senders_total(s, who, 1, false, &t), ERR_INVALID);
    senders_destroy(&s);
}

static void those_away_make_room_the_longest_silent_first(void **state)
{
    (void)state;
    struct senders *s = fresh(1 << 20);
    for (uint64_t epoch = 1; epoch <= SENDERS_MAX; epoch++)
        assert_non_null(senders_hear(s, epoch, epoch));
    assert_null(senders_hear(s, 9999, 1)); /* all are here */
    senders_away(s, 1);
    senders_away(s, 2);
    assert_non_null(senders_hear(s, 1, 5000));
    senders_away(s, 1);
    assert_non_null(senders_hear(s, 9999, 5001)); /* in place of 2 */
    assert_int_equal(length(s), SENDERS_MAX);
    assert_int_equal(senders_first(s)->epoch, 3);
    senders_destroy(&s);
}

static void totals_are_bounded(void **state)
{
    (void)state;
    struct senders *s = fresh(32 * sizeof(struct sender_total) + 200);
    struct sender_total *t;
    struct sender *one = senders_hear(s, 1, 1), *two = senders_hear(s, 2, 1);
    assert_int_equal(senders_total(s, one, 1, true, &t), OK);
    assert_int_equal(senders_total(s, one, 2, true, &t), ERR_TOO_BIG);
    assert_int_equal(senders_total(s, two, 1, false, &t), ERR_TOO_BIG);
    senders_away(s, 1);
    assert_int_equal(senders_total(s, two, 1, false, &t), OK);
    assert_int_equal(length(s), 1);
    senders_destroy(&s);
}

static void what_has_ended_or_is_silent_for_long_is_forgotten(void **state)
{
    (void)state;
    struct senders *s = fresh(1 << 20);
    for (uint64_t epoch = 1; epoch <= 4; epoch++)
        senders_await(s, senders_hear(s, epoch, 100 * epoch));
    assert_int_equal(senders_awaited(s), 4);
    senders_complete(s, senders_hear(s, 2, 150)); /* here, whatever its age */
    senders_forget(s, 4);
    senders_forget(s, 5);
    assert_int_equal(senders_awaited(s), 2);
    senders_purge(s, 300);
    assert_int_equal(length(s), 2);
    assert_int_equal(senders_awaited(s), 1);
    assert_int_equal(senders_first(s)->epoch, 3);
    senders_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_total_is_zero_at_first_and_kept),
        cmocka_unit_test(numbers_of_no_daemon_of_ours_are_refused),
        cmocka_unit_test(those_away_make_room_the_longest_silent_first),
        cmocka_unit_test(totals_are_bounded),
        cmocka_unit_test(what_has_ended_or_is_silent_for_long_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
