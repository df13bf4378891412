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

static struct outbox *make(struct sink *sink, bool drops_oldest)
{
    struct outbox *o;
    struct outbox_spec spec = {.max = 3,
                               .drops_oldest = drops_oldest,
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
    struct outbox *o = make(&sink, false);
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
        struct outbox *o = make(&sink, drops);
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

static void what_cannot_be_sent_stays_due_and_ends_the_tick(void **state)
{
    (void)state;
    struct sink sink = {.answer = ERR_CLOSED};
    struct outbox *o = make(&sink, false);
    for (uint8_t n = 1; n <= 3; n++)
        assert_int_equal(add(o, n, 0, n), OK);
    sink.count = 0;
    outbox_tick(o, 1001);
    assert_int_equal(sink.count, 1); /* the first refusal ends it */
    assert_int_equal(sink.last, 1);
    sink.answer = OK;
    outbox_tick(o, 1002);
    assert_int_equal(sink.count, 3); /* a batch */
    outbox_tick(o, 1003);
    assert_int_equal(sink.count, 4);
    assert_int_equal(sink.last, 3);
    outbox_destroy(&o);
}

static void what_could_not_be_sent_waits_for_no_newer_one(void **state)
{
    (void)state;
    struct sink sink = {.answer = OK};
    struct outbox *o = make(&sink, false);
    assert_int_equal(add(o, 1, 0, 1), OK);
    sink.answer = ERR_AGAIN;
    assert_int_equal(add(o, 2, 0, 2), OK);
    sink.answer = OK;
    assert_int_equal(add(o, 3, 0, 3), OK);
    outbox_tick(o, 1001);
    assert_int_equal(sink.last, 2);
    assert_int_equal(sink.count, 4);
    outbox_destroy(&o);
}

static void one_may_wait_for_the_next_tick(void **state)
{
    (void)state;
    struct sink sink = {.answer = OK};
    struct outbox *o = make(&sink, false);
    struct outbox_key key = {.id = {1}};
    struct outbox_item *item = outbox_item_create(sizeof(int));
    assert_non_null(item);
    assert_int_equal(outbox_add_later(o, &key, item), OK);
    assert_int_equal(sink.count, 0);
    assert_int_equal(outbox_pending(o), 1);
    outbox_tick(o, 1001);
    outbox_tick(o, 1002);
    assert_int_equal(sink.count, 1);
    outbox_destroy(&o);
}

static void one_that_can_never_be_sent_holds_up_no_other(void **state)
{
    (void)state;
    struct sink sink = {.answer = ERR_TOO_BIG};
    struct outbox *o = make(&sink, false);
    assert_int_equal(add(o, 1, 0, 1), OK);
    sink.answer = OK;
    assert_int_equal(add(o, 2, 0, 2), OK);
    assert_int_equal(sink.last, 2);
    sink.answer = ERR_TOO_BIG;
    outbox_tick(o, 1100);
    assert_int_equal(sink.last, 2); /* both were tried */
    assert_int_equal(sink.count, 4);
    outbox_destroy(&o);
}

/* How often one item is sent from now on, ticks being 10 ms apart. */
static unsigned sendings(struct outbox *o, struct sink *sink, uint64_t from_ms, uint64_t to_ms)
{
    sink->count = 0;
    for (uint64_t at = from_ms; at < to_ms; at += 10)
        outbox_tick(o, at);
    return sink->count;
}

static void it_is_sent_again_more_and_more_seldom_while_nothing_is_acknowledged(void **state)
{
    (void)state;
    struct sink sink = {0};
    struct outbox *o = make(&sink, false);
    assert_int_equal(add(o, 1, 0, 1), OK);
    assert_int_equal(sendings(o, &sink, 1000, 1100), 0);
    assert_int_equal(sendings(o, &sink, 1100, 1300), 1);
    assert_int_equal(sendings(o, &sink, 1300, 1700), 1);
    assert_int_equal(sendings(o, &sink, 1700, 2500), 1);
    assert_int_equal(sendings(o, &sink, 2500, 100000), 7); /* in the end every 30 s */
    assert_int_equal(sendings(o, &sink, 100000, 400000), 10);
    outbox_destroy(&o);
}

static void an_acknowledgement_or_the_link_makes_it_often_again(void **state)
{
    (void)state;
    for (int link = 0; link < 2; link++) {
        struct sink sink = {0};
        struct outbox_key second = {.id = {2}};
        struct outbox *o = make(&sink, false);
        assert_int_equal(add(o, 1, 0, 1), OK);
        assert_int_equal(add(o, 2, 0, 2), OK);
        (void)sendings(o, &sink, 1000, 100000);
        if (link)
            outbox_due_now(o);
        else
            assert_true(outbox_acknowledge(o, &second));
        unsigned at_once = sendings(o, &sink, 100000, 100100);
        assert_int_equal(at_once, link ? 2 : 1);
        assert_int_equal(sendings(o, &sink, 100100, 100200), link ? 2 : 0);
        outbox_destroy(&o);
    }
}

static void no_memory_for_an_item_is_counted(void **state)
{
    (void)state;
    struct sink sink = {0};
    struct outbox *o = make(&sink, true);
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
    struct outbox *o = make(&sink, true);
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
        cmocka_unit_test(what_cannot_be_sent_stays_due_and_ends_the_tick),
        cmocka_unit_test(what_could_not_be_sent_waits_for_no_newer_one),
        cmocka_unit_test(one_may_wait_for_the_next_tick),
        cmocka_unit_test(one_that_can_never_be_sent_holds_up_no_other),
        cmocka_unit_test(it_is_sent_again_more_and_more_seldom_while_nothing_is_acknowledged),
        cmocka_unit_test(an_acknowledgement_or_the_link_makes_it_often_again),
        cmocka_unit_test(no_memory_for_an_item_is_counted),
        cmocka_unit_test(no_memory_at_the_bound_costs_one_not_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
