#include "common/runtime/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct clock_fake clock;
    struct loop *loop;
    int order[64];
    int count;
    struct loop_watch *first, *second;
    int pipes[2][2];
    struct loop_timer timer;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    clock_fake_init(&w->clock, 1000000, 0);
    assert_int_equal(loop_create(&w->loop, &w->clock.clock), OK);
    assert_int_equal(pipe(w->pipes[0]), 0);
    assert_int_equal(pipe(w->pipes[1]), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 4; i++)
        (void)close(w->pipes[i / 2][i % 2]);
    loop_destroy(&w->loop);
    free(w);
    return 0;
}

struct item {
    struct loop_timer timer;
    struct world *w;
    int number;
};

static void note(void *ctx)
{
    struct item *item = ctx;
    item->w->order[item->w->count++] = item->number;
}

static void turn(struct world *w)
{
    assert_int_equal(loop_turn(w->loop, 0), OK);
}

/* ---- long turns ---- */

struct long_turns {
    struct world *w;
    struct loop_timer timer;
    uint64_t work_ms, told_us;
    unsigned told;
    bool again, odd;
};

static void on_long(void *ctx, uint64_t us)
{
    struct long_turns *t = ctx;
    t->told++;
    t->told_us = us;
}

static void do_work(void *ctx)
{
    struct long_turns *t = ctx;
    clock_fake_advance_ms(&t->w->clock, t->work_ms);
    t->odd = loop_turn_mark(t->w->loop) & 1;
    if (t->again)
        loop_again(t->w->loop);
    loop_timer_start(t->w->loop, &t->timer, 1000000, do_work, t);
}

static void a_turn_that_takes_long_is_told_and_a_wait_is_not(void **state)
{
    struct world *w = *state;
    static const struct {
        uint64_t work_ms;
        bool again;
        unsigned told;
    } cases[] = {{9, false, 0}, {10, false, 1}, {70, false, 1}, {70, true, 1}, {9, true, 0}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct long_turns t = {.w = w, .work_ms = cases[i].work_ms, .again = cases[i].again};
        loop_on_long_turn(w->loop, 10000, on_long, &t);
        loop_timer_start(w->loop, &t.timer, 0, do_work, &t);
        assert_int_equal(loop_turn_mark(w->loop) & 1, 0);
        turn(w);
        assert_true(t.odd);
        assert_int_equal(loop_turn_mark(w->loop) & 1, 0);
        turn(w);
        assert_int_equal(t.told, cases[i].told);
        if (t.told)
            assert_int_equal(t.told_us, cases[i].work_ms * 1000);
        loop_timer_stop(w->loop, &t.timer);
        loop_on_long_turn(w->loop, 0, NULL, NULL);
    }
}

static void timers_fire_in_order_of_their_due_times(void **state)
{
    struct world *w = *state;
    struct item items[20] = {0};
    for (int i = 0; i < 20; i++) {
        items[i] = (struct item){.w = w, .number = (i * 7) % 20};
        loop_timer_start(w->loop, &items[i].timer, (uint64_t)items[i].number * 10 + 1, note,
                         &items[i]);
    }
    turn(w);
    assert_int_equal(w->count, 0);
    clock_fake_advance_ms(&w->clock, 101);
    turn(w);
    assert_int_equal(w->count, 11);
    clock_fake_advance_ms(&w->clock, 1000);
    turn(w);
    assert_int_equal(w->count, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(w->order[i], i);
}

static void stopped_and_moved_timers_keep_the_order(void **state)
{
    struct world *w = *state;
    struct item items[10] = {0};
    for (int i = 0; i < 10; i++) {
        items[i] = (struct item){.w = w, .number = i};
        loop_timer_start(w->loop, &items[i].timer, (uint64_t)i + 1, note, &items[i]);
    }
    loop_timer_stop(w->loop, &items[0].timer);
    loop_timer_stop(w->loop, &items[0].timer);
    loop_timer_stop(w->loop, &items[5].timer);
    loop_timer_start(w->loop, &items[1].timer, 100, note, &items[1]);
    assert_false(loop_timer_running(&items[0].timer));
    clock_fake_advance_ms(&w->clock, 200);
    turn(w);
    static const int expected[] = {2, 3, 4, 6, 7, 8, 9, 1};
    assert_int_equal(w->count, 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(w->order[i], expected[i]);
}

static void again_now(void *ctx)
{
    struct item *item = ctx;
    note(ctx);
    loop_timer_start_us(item->w->loop, &item->timer, 0, again_now, item);
}

static void a_timer_that_restarts_itself_does_not_starve_the_loop(void **state)
{
    struct world *w = *state;
    struct item item = {.w = w};
    loop_timer_start_us(w->loop, &item.timer, 0, again_now, &item);
    turn(w);
    assert_int_equal(w->count, 1);
    turn(w);
    assert_int_equal(w->count, 2);
    loop_timer_stop(w->loop, &item.timer);
}

static void remove_both(void *ctx, uint32_t events)
{
    struct world *w = ctx;
    (void)events;
    w->count++;
    loop_watch_remove(&w->first);
    loop_watch_remove(&w->second);
}

/* Both descriptors are ready in one wait; whichever comes first removes the other. */
static void events_for_a_removed_watch_are_not_delivered(void **state)
{
    struct world *w = *state;
    assert_int_equal(loop_watch_add(w->loop, w->pipes[0][0], EPOLLIN, remove_both, w, &w->first),
                     OK);
    assert_int_equal(loop_watch_add(w->loop, w->pipes[1][0], EPOLLIN, remove_both, w, &w->second),
                     OK);
    assert_int_equal(write(w->pipes[0][1], "x", 1), 1);
    assert_int_equal(write(w->pipes[1][1], "x", 1), 1);
    turn(w);
    assert_int_equal(w->count, 1);
    assert_null(w->first);
    assert_null(w->second);
    turn(w);
    assert_int_equal(w->count, 1);
}

static void hooks_run_at_the_end_of_each_turn_until_removed(void **state)
{
    struct world *w = *state;
    struct item a = {.w = w, .number = 1}, b = {.w = w, .number = 2};
    struct loop_hook first = {.fn = note, .ctx = &a}, second = {.fn = note, .ctx = &b};
    loop_hook_turn_end(w->loop, &first);
    loop_hook_turn_end(w->loop, &second);
    turn(w);
    assert_int_equal(w->order[0], 1);
    assert_int_equal(w->order[1], 2);
    loop_hook_remove(w->loop, &first);
    turn(w);
    assert_int_equal(w->count, 3);
    assert_int_equal(w->order[2], 2);
}

static void stop(void *ctx)
{
    struct world *w = ctx;
    loop_stop(w->loop);
}

static void run_ends_when_told(void **state)
{
    struct world *w = *state;
    loop_timer_start_us(w->loop, &w->timer, 0, stop, w);
    assert_int_equal(loop_run(w->loop), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_turn_that_takes_long_is_told_and_a_wait_is_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(timers_fire_in_order_of_their_due_times, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_and_moved_timers_keep_the_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_that_restarts_itself_does_not_starve_the_loop,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(events_for_a_removed_watch_are_not_delivered, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(hooks_run_at_the_end_of_each_turn_until_removed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(run_ends_when_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
