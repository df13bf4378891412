#include "unit/services/broker/test_world.h"

#include "services/broker/due.h"

enum { MANY = 500 };

static void moments_come_out_in_order_whatever_was_moved_or_cleared(void **state)
{
    (void)state;
    static struct due dues[MANY];
    struct due_heap heap = {0};
    uint32_t dice = 12345;
    assert_int_equal(due_reserve(&heap, MANY), OK);
    for (unsigned round = 0; round < 4 * MANY; round++) {
        dice = dice * 1103515245u + 12345u;
        struct due *d = &dues[(dice >> 8) % MANY];
        if (dice >> 28 == 0)
            due_clear(&heap, d);
        else
            due_set(&heap, d, dice % 10007);
    }
    uint64_t last = 0;
    unsigned n = 0;
    for (struct due *d; (d = due_first(&heap)); n++) {
        assert_true(d->at_us >= last);
        last = d->at_us;
        due_clear(&heap, d);
        assert_int_equal(d->index, 0);
    }
    assert_true(n > MANY / 2);
    due_free(&heap);
}

static void clearing_one_that_is_not_set_does_nothing(void **state)
{
    (void)state;
    struct due_heap heap = {0};
    struct due d = {0};
    due_clear(&heap, &d);
    assert_null(due_first(&heap));
    due_free(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_come_out_in_order_whatever_was_moved_or_cleared),
        cmocka_unit_test(clearing_one_that_is_not_set_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
