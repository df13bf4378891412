#include "unit/services/broker/test_core.h"

#include <stdio.h>

#include "services/broker/workers.h"

static struct broker_worker *add(struct workers *ws, const char *provider, unsigned n,
                                 uint32_t slots)
{
    struct broker_worker *w =
        workers_add(ws, world_peer(n), span_str(provider), SPAN("w"), SPAN("tcp://a:1"), n, 0);
    assert_non_null(w);
    workers_offer(w, slots, slots, slots ? SPAN_NONE : SPAN("no api key"), 0);
    return w;
}

static void the_least_busy_for_its_size_is_picked(void **state)
{
    (void)state;
    struct workers *ws;
    assert_int_equal(workers_create(&ws), OK);
    struct broker_worker *big = add(ws, "openai", 1, 300), *small = add(ws, "openai", 2, 100);
    for (unsigned i = 0; i < 400; i++)
        workers_take(workers_pick(big->pool, 0), 1);
    assert_int_equal(big->in_flight, 300);
    assert_int_equal(small->in_flight, 100);
    assert_null(workers_pick(big->pool, 0));
    for (unsigned i = 0; i < 200; i++)
        workers_give_back(big, 1);
    for (unsigned i = 0; i < 20; i++)
        workers_give_back(small, 1);
    assert_ptr_equal(workers_pick(big->pool, 0), big);
    workers_destroy(&ws);
}

static void equals_share_evenly(void **state)
{
    (void)state;
    struct workers *ws;
    assert_int_equal(workers_create(&ws), OK);
    struct broker_worker *w[4];
    unsigned served[4] = {0};
    for (unsigned i = 0; i < 4; i++)
        w[i] = add(ws, "openai", i + 1, 10);
    /* One at a time: all are idle whenever one is picked. */
    for (unsigned n = 0; n < 400; n++) {
        struct broker_worker *picked = workers_pick(w[0]->pool, 0);
        workers_take(picked, 1);
        for (unsigned i = 0; i < 4; i++)
            served[i] += picked == w[i];
        workers_give_back(picked, 1);
    }
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(served[i], 100);
    workers_destroy(&ws);
}

static void the_one_to_avoid_is_taken_only_when_alone(void **state)
{
    (void)state;
    struct workers *ws;
    assert_int_equal(workers_create(&ws), OK);
    struct broker_worker *a = add(ws, "openai", 1, 10);
    assert_ptr_equal(workers_pick(a->pool, a->serial), a);
    struct broker_worker *b = add(ws, "openai", 2, 1);
    assert_ptr_equal(workers_pick(a->pool, a->serial), b);
    workers_take(b, 1);
    assert_ptr_equal(workers_pick(a->pool, a->serial), a);
    b->in_flight = 0;
    b->stuck = true;
    assert_ptr_equal(workers_pick(a->pool, a->serial), a);
    workers_destroy(&ws);
}

static void slots_are_absolute_and_sums_follow(void **state)
{
    (void)state;
    struct workers *ws;
    assert_int_equal(workers_create(&ws), OK);
    struct broker_worker *a = add(ws, "openai", 1, 10), *b = add(ws, "openai", 2, 20);
    struct pool *pool = a->pool;
    assert_int_equal(pool->offered, 30);
    workers_offer(a, 4, 4, SPAN_NONE, 50);
    assert_int_equal(pool->offered, 24);
    workers_take(b, 1);
    workers_remove(&b, 60);
    assert_null(b);
    assert_int_equal(pool->offered, 4);
    assert_int_equal(pool->in_flight, 0);
    workers_offer(a, 0, 0, SPAN("draining"), 70);
    assert_int_equal(pool->empty_since_us, 70);
    workers_offer(a, 0, 0, SPAN("draining"), 80);
    assert_int_equal(pool->empty_since_us, 70);
    workers_offer(a, UINT32_MAX, 1, SPAN_NONE, 90);
    assert_true(pool->offered < UINT32_MAX);
    workers_destroy(&ws);
}

static void slots_are_taken_several_at_a_time_and_never_more_than_there_are(void **state)
{
    (void)state;
    struct workers *ws;
    assert_int_equal(workers_create(&ws), OK);
    struct broker_worker *a = add(ws, "openai", 1, 8);
    workers_take(a, 5);
    assert_int_equal(workers_free(a), 3);
    a->unknown = 2; /* attempts there that no grant of ours explains */
    assert_int_equal(workers_free(a), 1);
    a->unknown = 9;
    assert_int_equal(workers_free(a), 0);
    assert_null(workers_pick(a->pool, 0));
    a->unknown = 0;
    a->stuck = true;
    assert_int_equal(workers_free(a), 0);
    workers_offer(a, 8, 0, SPAN_NONE, 0); /* others run in all of them */
    assert_int_equal(workers_free(a), 0);
    workers_offer(a, 4, 4, SPAN_NONE, 0); /* its next word; fewer than are taken */
    assert_int_equal(workers_free(a), 0);
    workers_give_back(a, 2);
    assert_int_equal(workers_free(a), 1);
    assert_int_equal(a->pool->in_flight, 3);
    workers_destroy(&ws);
}

static void a_workers_clock_goes_on_by_ours(void **state)
{
    (void)state;
    struct workers *ws;
    assert_int_equal(workers_create(&ws), OK);
    struct broker_worker *a = add(ws, "openai", 1, 8);
    a->clock_ms = 500;
    a->clock_us = 7000000;
    assert_int_equal(workers_clock_ms(a, 7000000), 500);
    assert_int_equal(workers_clock_ms(a, 7250999), 750);
    assert_int_equal(workers_clock_ms(a, 6000000), 500);
    workers_destroy(&ws);
}

static void names_and_addresses_are_cut_off_and_pools_are_bounded(void **state)
{
    (void)state;
    struct workers *ws;
    char longest[400], provider[32];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(workers_create(&ws), OK);
    struct span name = span_of(longest, sizeof longest);
    struct broker_worker *a = workers_add(ws, world_peer(1), SPAN("p"), name, name, 1, 0);
    assert_non_null(a);
    assert_int_equal(strlen(a->name), WORKERS_NAME - 1);
    assert_int_equal(strlen(a->address), WORKERS_ADDRESS - 1);
    for (unsigned i = 1; i < WORKERS_MAX_POOLS; i++) {
        (void)snprintf(provider, sizeof provider, "p%u", i);
        assert_non_null(workers_pool(ws, span_str(provider), 0));
    }
    assert_null(workers_pool(ws, SPAN("one more"), 0));
    assert_ptr_equal(workers_pool(ws, SPAN("p"), 0), a->pool);
    workers_destroy(&ws);
}

static void a_provider_is_unable_when_all_its_workers_lack_a_key(void **state)
{
    (void)state;
    struct workers *ws;
    const char *why = NULL;
    assert_int_equal(workers_create(&ws), OK);
    struct pool *pool = workers_pool(ws, SPAN("openai"), 0);
    assert_false(pool_is_unable(pool, &why));
    struct broker_worker *a = add(ws, "openai", 1, 0);
    assert_ptr_equal(a->pool, pool);
    assert_true(pool_is_unable(pool, &why));
    assert_string_equal(why, "no api key");
    add(ws, "openai", 2, 5);
    assert_false(pool_is_unable(pool, &why));
    workers_destroy(&ws);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_busy_for_its_size_is_picked),
        cmocka_unit_test(equals_share_evenly),
        cmocka_unit_test(the_one_to_avoid_is_taken_only_when_alone),
        cmocka_unit_test(slots_are_absolute_and_sums_follow),
        cmocka_unit_test(slots_are_taken_several_at_a_time_and_never_more_than_there_are),
        cmocka_unit_test(a_workers_clock_goes_on_by_ours),
        cmocka_unit_test(names_and_addresses_are_cut_off_and_pools_are_bounded),
        cmocka_unit_test(a_provider_is_unable_when_all_its_workers_lack_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
