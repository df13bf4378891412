#include "unit/services/broker/test_world.h"

#include "services/broker/cancels.h"

static struct request_id id_of(unsigned n)
{
    struct request_id id = {{0}};
    memcpy(id.bytes, &n, sizeof n);
    return id;
}

static void a_cancellation_is_remembered_once_until_its_deadline(void **state)
{
    (void)state;
    struct cancels *c;
    struct request_id a = id_of(1), b = id_of(2);
    assert_int_equal(cancels_create(&c, 10), OK);
    cancels_add(c, &a, 100, 0);
    cancels_add(c, &b, 100, 0);
    assert_true(cancels_take(c, &a, 99));
    assert_false(cancels_take(c, &a, 99));
    assert_false(cancels_take(c, &b, 100));
    assert_int_equal(cancels_count(c), 0);
    cancels_destroy(&c);
    assert_null(c);
}

static void the_oldest_is_forgotten_at_the_bound(void **state)
{
    (void)state;
    struct cancels *c;
    assert_int_equal(cancels_create(&c, 3), OK);
    for (unsigned i = 0; i < 5; i++) {
        struct request_id id = id_of(i);
        cancels_add(c, &id, 100, 0);
    }
    assert_int_equal(cancels_count(c), 3);
    for (unsigned i = 0; i < 5; i++) {
        struct request_id id = id_of(i);
        assert_int_equal(cancels_take(c, &id, 1), i >= 2);
    }
    cancels_destroy(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancellation_is_remembered_once_until_its_deadline),
        cmocka_unit_test(the_oldest_is_forgotten_at_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
