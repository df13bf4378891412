#include "common/runtime/helper.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

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
        cmocka_unit_test(finishing_waits_for_jobs_and_for_those_they_begin),
        cmocka_unit_test(without_a_helper_the_caller_does_it_himself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
