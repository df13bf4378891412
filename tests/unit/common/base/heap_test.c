#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/heap.h"

enum { MANY = 500 };

static void entries_come_out_in_order_whatever_was_moved_or_removed(void **state)
{
    (void)state;
    static struct heap_entry entries[MANY];
    struct heap heap = {0};
    uint32_t dice = 12345;
    assert_int_equal(heap_reserve(&heap, MANY), OK);
    for (unsigned round = 0; round < 4 * MANY; round++) {
        dice = dice * 1103515245u + 12345u;
        struct heap_entry *d = &entries[(dice >> 8) % MANY];
        if (dice >> 28 == 0)
            heap_remove(&heap, d);
        else
            heap_set(&heap, d, dice % 10007);
    }
    uint64_t last = 0;
    unsigned n = 0;
    for (struct heap_entry *d; (d = heap_first(&heap)); n++) {
        assert_true(d->key >= last);
        last = d->key;
        heap_remove(&heap, d);
        assert_int_equal(d->index, 0);
    }
    assert_true(n > MANY / 2);
    heap_free(&heap);
}

static void removing_one_that_is_not_in_it_does_nothing(void **state)
{
    (void)state;
    struct heap heap = {0};
    struct heap_entry d = {0};
    heap_remove(&heap, &d);
    assert_null(heap_first(&heap));
    heap_free(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_out_in_order_whatever_was_moved_or_removed),
        cmocka_unit_test(removing_one_that_is_not_in_it_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
