#include "common/runtime/helper.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/hash.h"

struct work {
    struct helper_job job;
    struct helper *helper;
    struct work *follower; /* begun when this one is done */
    pthread_t ran_in;
    bool ran, done;
    unsigned order;
};

static unsigned orders;

static void run(struct helper_job *job)
{
    struct work *w = (struct work *)job;
    w->ran_in = pthread_self();
    w->order = ++orders;
    w->ran = true;
}

static void done(struct helper_job *job)
{
    struct work *w = (struct work *)job;
    assert_true(w->ran);
    w->done = true;
    if (w->follower)
        assert_int_equal(helper_do(w->helper, &w->follower->job), OK);
}

static struct work make(struct helper *helper)
{
    return (struct work){.job = {.run = run, .done = done}, .helper = helper};
}

static void jobs_run_elsewhere_in_order_and_end_on_the_loop(void **state)
{
    (void)state;
    struct loop *loop;
    struct helper *helper;
    struct work works[20];
    orders = 0;
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(helper_create(&helper, loop), OK);
    for (unsigned i = 0; i < 20; i++) {
        works[i] = make(helper);
        assert_int_equal(helper_do(helper, &works[i].job), OK);
    }
    while (!works[19].done)
        assert_int_equal(loop_turn(loop, 1000), OK);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(works[i].done);
        assert_int_equal(works[i].order, i + 1);
        assert_false(pthread_equal(works[i].ran_in, pthread_self()));
    }
    helper_destroy(&helper);
    loop_destroy(&loop);
}

struct gate {
    struct helper_job job;
    pthread_mutex_t open;
};

static void wait_for_gate(struct helper_job *job)
{
    struct gate *g = (struct gate *)job;
    (void)pthread_mutex_lock(&g->open);
    (void)pthread_mutex_unlock(&g->open);
}

static void nothing(struct helper_job *job)
{
    (void)job;
}

/* Five of one owner are there before the others' come. */
static void owners_take_turns(void **state)
{
    (void)state;
    static const char *const owners[] = {"a", "a", "a", "a", "a", "b", "c", "b"};
    static const unsigned order[] = {1, 4, 6, 7, 8, 2, 3, 5};
    struct loop *loop;
    struct helper *helper;
    struct work works[8];
    struct gate gate = {.job = {.run = wait_for_gate, .done = nothing, .owner = 7},
                        .open = PTHREAD_MUTEX_INITIALIZER};
    orders = 0;
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(helper_create(&helper, loop), OK);
    (void)pthread_mutex_lock(&gate.open);
    assert_int_equal(helper_do(helper, &gate.job), OK);
    for (unsigned i = 0; i < 8; i++) {
        works[i] = make(helper);
        works[i].job.owner = hash_bytes(HASH_NOTHING, span_str(owners[i]));
        assert_int_equal(helper_do(helper, &works[i].job), OK);
    }
    (void)pthread_mutex_unlock(&gate.open);
    helper_finish(helper);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(works[i].order, order[i]);
    helper_destroy(&helper);
    loop_destroy(&loop);
}

/* What follows each may take time: others come between. */
static void a_turn_of_the_loop_ends_one_job(void **state)
{
    (void)state;
    struct loop *loop;
    struct helper *helper;
    struct work works[4];
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(helper_create(&helper, loop), OK);
    for (unsigned i = 0; i < 4; i++) {
        works[i] = make(helper);
        assert_int_equal(helper_do(helper, &works[i].job), OK);
    }
    for (unsigned i = 0, ended = 0; i < 4; i++, ended = 0) {
        while (!works[i].done)
            assert_int_equal(loop_turn(loop, 1000), OK);
        for (unsigned k = 0; k < 4; k++)
            ended += works[k].done;
        assert_int_equal(ended, i + 1);
    }
    helper_destroy(&helper);
    loop_destroy(&loop);
}

static void finishing_waits_for_jobs_and_for_those_they_begin(void **state)
{
    (void)state;
    struct loop *loop;
    struct helper *helper;
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(helper_create(&helper, loop), OK);
    helper_finish(helper); /* of nothing */
    struct work first = make(helper), second = make(helper), third = make(helper);
    first.follower = &second;
    assert_int_equal(helper_do(helper, &first.job), OK);
    helper_finish(helper);
    assert_true(first.done && second.done);
    assert_int_equal(helper_do(helper, &third.job), OK);
    helper_destroy(&helper);
    assert_true(third.done);
    assert_null(helper);
    helper_destroy(&helper);
    loop_destroy(&loop);
}

static void without_a_helper_the_caller_does_it_himself(void **state)
{
    (void)state;
    struct work w = make(NULL);
    assert_int_equal(helper_do(NULL, &w.job), ERR_IO);
    helper_finish(NULL);
    assert_false(w.ran);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_run_elsewhere_in_order_and_end_on_the_loop),
        cmocka_unit_test(owners_take_turns),
        cmocka_unit_test(a_turn_of_the_loop_ends_one_job),
        cmocka_unit_test(finishing_waits_for_jobs_and_for_those_they_begin),
        cmocka_unit_test(without_a_helper_the_caller_does_it_himself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
