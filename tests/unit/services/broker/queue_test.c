#include "unit/services/broker/test_core.h"

#include "services/broker/queue.h"

struct item {
    const char *key;
    const char *name;
    struct queue_entry e;
};

static void push(struct queue *q, struct item *i, bool first)
{
    assert_int_equal(queue_push(q, &i->e, span_str(i->key), i, first), OK);
}

static const char *pop(struct queue *q)
{
    struct item *i = queue_pop(q);
    return i ? i->name : "none";
}

static void keys_take_turns(void **state)
{
    (void)state;
    struct queue q = {0};
    struct item items[] = {{.key = "a", .name = "a1"}, {.key = "a", .name = "a2"},
                           {.key = "a", .name = "a3"}, {.key = "b", .name = "b1"},
                           {.key = "c", .name = "c1"}, {.key = "b", .name = "b2"}};
    for (unsigned i = 0; i < 6; i++)
        push(&q, &items[i], false);
    static const char *const order[] = {"a1", "b1", "c1", "a2", "b2", "a3", "none"};
    for (unsigned i = 0; i < 7; i++)
        assert_string_equal(pop(&q), order[i]);
    assert_int_equal(q.count, 0);
}

static void a_new_key_waits_one_round_and_no_longer(void **state)
{
    (void)state;
    struct queue q = {0};
    struct item items[] = {{.key = "a", .name = "a1"},
                           {.key = "a", .name = "a2"},
                           {.key = "b", .name = "b1"},
                           {.key = "b", .name = "b2"},
                           {.key = "late", .name = "late"}};
    for (unsigned i = 0; i < 4; i++)
        push(&q, &items[i], false);
    assert_string_equal(pop(&q), "a1");
    push(&q, &items[4], false);
    static const char *const order[] = {"b1", "late", "a2", "b2", "none"};
    /* The turn was b's: the newcomer goes to the end of this round, behind a. */
    assert_string_equal(pop(&q), order[0]);
    const char *second = pop(&q), *third = pop(&q);
    assert_true(strcmp(second, "late") == 0 || strcmp(third, "late") == 0);
    assert_string_equal(pop(&q), order[3]);
    assert_string_equal(pop(&q), order[4]);
}

static void a_thousand_of_one_key_do_not_hold_up_another(void **state)
{
    (void)state;
    struct queue q = {0};
    static struct item many[1000], one = {.key = "small", .name = "small"};
    for (unsigned i = 0; i < 1000; i++) {
        many[i] = (struct item){.key = "big", .name = "big"};
        push(&q, &many[i], false);
    }
    push(&q, &one, false);
    const char *first = pop(&q), *second = pop(&q);
    assert_true(strcmp(first, "small") == 0 || strcmp(second, "small") == 0);
    queue_free(&q);
    assert_int_equal(q.count, 0);
}

static void a_retry_goes_first_in_its_own_line(void **state)
{
    (void)state;
    struct queue q = {0};
    struct item items[] = {
        {.key = "a", .name = "a1"}, {.key = "b", .name = "b1"}, {.key = "a", .name = "again"}};
    push(&q, &items[0], false);
    push(&q, &items[1], false);
    push(&q, &items[2], true);
    assert_string_equal(pop(&q), "again");
    assert_string_equal(pop(&q), "b1");
    assert_string_equal(pop(&q), "a1");
}

static void removing_leaves_the_others_in_order(void **state)
{
    (void)state;
    struct queue q = {0};
    struct item items[] = {{.key = "a", .name = "a1"},
                           {.key = "", .name = "none1"},
                           {.key = "a", .name = "a2"},
                           {.key = "c", .name = "c1"}};
    for (unsigned i = 0; i < 4; i++)
        push(&q, &items[i], false);
    queue_remove(&items[0].e);
    queue_remove(&items[0].e); /* not queued any more: nothing happens */
    queue_remove(&items[1].e);
    assert_int_equal(q.count, 2);
    assert_string_equal(pop(&q), "a2");
    assert_string_equal(pop(&q), "c1");
    assert_string_equal(pop(&q), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_take_turns),
        cmocka_unit_test(a_new_key_waits_one_round_and_no_longer),
        cmocka_unit_test(a_thousand_of_one_key_do_not_hold_up_another),
        cmocka_unit_test(a_retry_goes_first_in_its_own_line),
        cmocka_unit_test(removing_leaves_the_others_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
