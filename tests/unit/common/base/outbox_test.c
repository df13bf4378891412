#include "common/base/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct sink {
    enum err answer;
    unsigned count;
    int last;
};

static enum err take(void *ctx, const struct outbox_key *key, const void *payload)
{
    (void)key;
    struct sink *s = ctx;
    s->count++;
    s->last = *(const int *)payload;
    return s->answer;
}

static struct outbox *make(struct sink *sink, bool drops_oldest, bool waits)
{
    struct outbox *o;
    struct outbox_spec spec = {.max = 3,
                               .drops_oldest = drops_oldest,
                               .waits_for_sender = waits,
                               .resend_ms = 100,
                               .batch = 2,
                               .send = take,
                               .ctx = sink};
    assert_int_equal(outbox_create(&o, &spec), OK);
    return o;
}

static enum err add(struct outbox *o, uint8_t n, uint8_t attempt, int value)
{
    struct outbox_key key = {.id = {n}, .attempt = attempt};
    struct outbox_item *item = outbox_item_create(sizeof value);
    assert_non_null(item);
    *(int *)outbox_item_payload(item) = value;
    return outbox_add(o, &key, item, 1000);
}

static void a_key_is_kept_once_and_each_attempt_is_a_key(void **state)
{
    (void)state;
    struct sink sink = {0};
    struct outbox *o = make(&sink, false, false);
    assert_int_equal(add(o, 1, 1, 10), OK);
    assert_int_equal(add(o, 1, 1, 20), OK);
    assert_int_equal(sink.last, 10);
    assert_int_equal(add(o, 1, 2, 30), OK);
    assert_int_equal(outbox_pending(o), 2);
    struct outbox_key key = {.id = {1}, .attempt = 1};
    assert_true(outbox_acknowledge(o, &key));
    assert_false(outbox_acknowledge(o, &key));
    assert_int_equal(outbox_dropped(o), 0);
    outbox_destroy(&o);
    assert_null(o);
}

static void at_the_bound_the_new_or_the_oldest_is_lost_and_counted(void **state)
{
    (void)state;
    for (int drops = 0; drops < 2; drops++) {
        struct sink sink = {0};
        struct outbox *o = make(&sink, drops, false);
        for (uint8_t n = 1; n <= 3; n++)
            assert_int_equal(add(o, n, 0, n), OK);
        assert_int_equal(add(o, 4, 0, 4), drops ? OK : ERR_TOO_BIG);
        assert_int_equal(outbox_pending(o), 3);
        assert_int_equal(outbox_dropped(o), 1);
        struct outbox_key first = {.id = {1}};
        assert_int_equal(outbox_acknowledge(o, &first), !drops);
        outbox_destroy(&o);
    }
}

static void an_outbox_may_wait_for_its_sender(void **state)
{
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        struct sink sink = {.answer = ERR_CLOSED};
        struct outbox *o = make(&sink, false, waits);
        for (uint8_t n = 1; n <= 3; n++)
            assert_int_equal(add(o, n, 0, n), OK);
        outbox_tick(o, 1099);
        assert_int_equal(sink.count, waits ? 4 : 3); /* due still, and the first refusal ends it */
        sink.count = 0;
        outbox_tick(o, 1100);
        assert_int_equal(sink.count, waits ? 1 : 2); /* a batch */
        outbox_destroy(&o);
    }
}

static void no_memory_for_an_item_is_counted(void **state)
{
    (void)state;
    struct sink sink = {0};
    struct outbox *o = make(&sink, true, true);
    struct outbox_key key = {.id = {1}};
    assert_int_equal(outbox_add(o, &key, NULL, 0), ERR_NOMEM);
    assert_int_equal(outbox_dropped(o), 1);
    assert_int_equal(outbox_pending(o), 0);
    outbox_destroy(&o);
}

static void no_memory_at_the_bound_costs_one_not_two(void **state)
{
    (void)state;
    struct sink sink = {0};
    struct outbox *o = make(&sink, true, true);
    struct outbox_key key = {.id = {9}};
    while (outbox_dropped(o) == 0) { /* until it is full */
        key.id[1]++;
        assert_int_equal(outbox_add(o, &key, outbox_item_create(sizeof(uint64_t)), 0), OK);
    }
    size_t pending = outbox_pending(o);
    key.id[1]++;
    assert_int_equal(outbox_add(o, &key, NULL, 0), ERR_NOMEM);
    assert_int_equal(outbox_dropped(o), 2);
    assert_int_equal(outbox_pending(o), pending);
    outbox_destroy(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_kept_once_and_each_attempt_is_a_key),
        cmocka_unit_test(at_the_bound_the_new_or_the_oldest_is_lost_and_counted),
        cmocka_unit_test(an_outbox_may_wait_for_its_sender),
        cmocka_unit_test(no_memory_for_an_item_is_counted),
        cmocka_unit_test(no_memory_at_the_bound_costs_one_not_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
