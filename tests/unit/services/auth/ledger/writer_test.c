#include "unit/services/auth/test_support.h"

#include <pthread.h>
#include <stdio.h>

#include "services/auth/ledger/writer.h"

/* A store that remembers its batches, and can be told to wait or to fail. */
struct fake_store {
    struct store store;
    pthread_mutex_t gate;
    size_t batches[64], batch_count;
    enum err result;
    size_t fail_at; /* this batch fails, counted from 1; 0 = `result` says */
    unsigned *closed;
};

static enum err fake_load(struct store *s, const struct store_visitor *v)
{
    (void)s;
    (void)v;
    return OK;
}

static enum err fake_apply(struct store *s, struct store_op *ops, size_t n)
{
    struct fake_store *f = (struct fake_store *)s;
    (void)pthread_mutex_lock(&f->gate);
    if (f->batch_count < 64)
        f->batches[f->batch_count++] = n;
    for (size_t i = 0; i < n; i++)
        ops[i].outcome = STORE_SETTLED; /* so that the test sees that it was here */
    enum err e = f->batch_count == f->fail_at ? ERR_IO : f->result;
    (void)pthread_mutex_unlock(&f->gate);
    return e;
}

static void fake_close(struct store *s)
{
    struct fake_store *f = (struct fake_store *)s;
    (*f->closed)++;
}

static const struct store_ops fake_ops = {fake_load, fake_apply, fake_close};

struct fixture {
    struct clock_fake clock;
    struct loop *loop;
    struct writer *writer;
    struct fake_store store;
    unsigned closed;
    size_t results, failed;
    uint64_t next; /* result expected */
};

static void on_result(void *ctx, struct store_op *op, enum err result)
{
    struct fixture *f = ctx;
    char expected[32];
    (void)snprintf(expected, sizeof expected, "model %lu", (unsigned long)f->next++);
    assert_true(span_is(op->usage.model, expected)); /* in order, its text still there */
    f->results++;
    f->failed += result != OK;
    if (!result)
        assert_int_equal(op->outcome, STORE_SETTLED);
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    f.store = (struct fake_store){.store.ops = &fake_ops, .closed = &f.closed};
    (void)pthread_mutex_init(&f.store.gate, NULL);
    clock_fake_init(&f.clock, 1000000, 0);
    assert_int_equal(loop_create(&f.loop, &f.clock.clock), OK);
    assert_int_equal(writer_create(&f.writer, f.loop, &f.store.store, on_result, &f), OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    writer_destroy(&f->writer);
    loop_destroy(&f->loop);
    (void)pthread_mutex_destroy(&f->store.gate);
    return 0;
}

static void submit(struct fixture *f, uint64_t from, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        char text[32];
        struct store_op op = {.kind = STORE_SETTLE};
        (void)snprintf(text, sizeof text, "model %lu", (unsigned long)(from + i));
        op.usage.model = span_str(text); /* a view that ends with the call */
        assert_int_equal(writer_submit(f->writer, &op), OK);
    }
}

static void wait_for(struct fixture *f, size_t results)
{
    for (int i = 0; i < 1000 && f->results < results; i++) {
        clock_fake_advance_ms(&f->clock, WRITER_GATHER_MS);
        assert_int_equal(loop_turn(f->loop, 10), OK);
    }
    assert_int_equal(f->results, results);
}

/* As if somebody waited for it: no company is waited for. */
static void hurry(struct fixture *f, uint64_t n)
{
    char text[32];
    struct store_op op = {.kind = STORE_USAGE};
    (void)snprintf(text, sizeof text, "model %lu", (unsigned long)n);
    op.usage.model = span_str(text);
    assert_int_equal(writer_submit(f->writer, &op), OK);
}

static void what_one_turn_gathers_is_one_transaction(void **state)
{
    struct fixture *f = *state;
    submit(f, 0, 50);
    wait_for(f, 50);
    assert_int_equal(f->store.batch_count, 1);
    assert_int_equal(f->store.batches[0], 50);
    assert_int_equal(writer_waiting(f->writer), 0);
}

static void while_the_disk_works_the_next_batch_fills_up(void **state)
{
    struct fixture *f = *state;
    (void)pthread_mutex_lock(&f->store.gate); /* the disk hangs */
    hurry(f, 0);
    assert_int_equal(loop_turn(f->loop, 0), OK);
    for (int i = 0; i < 10; i++) {
        submit(f, 1 + 3 * (uint64_t)i, 3);
        assert_int_equal(loop_turn(f->loop, 0), OK);
    }
    assert_int_equal(f->results, 0);
    assert_int_equal(writer_waiting(f->writer), 31);
    (void)pthread_mutex_unlock(&f->store.gate);
    wait_for(f, 31);
    assert_int_equal(f->store.batch_count, 2);
    assert_int_equal(f->store.batches[1], 30);
}

static void what_comes_within_a_moment_is_one_transaction_too(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 5; i++) {
        submit(f, i, 1);
        assert_int_equal(loop_turn(f->loop, 0), OK);
    }
    assert_int_equal(f->store.batch_count, 0);
    wait_for(f, 5);
    assert_int_equal(f->store.batch_count, 1);
    assert_int_equal(f->store.batches[0], 5);
}

static void what_somebody_waits_for_goes_at_once(void **state)
{
    struct fixture *f = *state;
    submit(f, 0, 1);
    hurry(f, 1);
    for (int i = 0; i < 1000 && f->results < 2; i++)
        assert_int_equal(loop_turn(f->loop, 10), OK); /* time stands still */
    assert_int_equal(f->results, 2);
}

static void a_large_batch_is_several_transactions(void **state)
{
    struct fixture *f = *state;
    submit(f, 0, WRITER_BATCH_MAX * 2 + 10);
    wait_for(f, WRITER_BATCH_MAX * 2 + 10);
    assert_int_equal(f->store.batch_count, 3);
    assert_int_equal(f->store.batches[2], 10);
}

static void submit_kind(struct fixture *f, enum store_op_kind kind, uint64_t n)
{
    char text[32];
    struct store_op op = {.kind = kind};
    (void)snprintf(text, sizeof text, "model %lu", (unsigned long)n);
    op.usage.model = span_str(text);
    assert_int_equal(writer_submit(f->writer, &op), OK);
}

/* As they are applied: a RELEASE finds its report. */
static void of_a_transaction_the_settles_are_told_first(void **state)
{
    struct fixture *f = *state;
    submit_kind(f, STORE_RELEASE, 2);
    submit_kind(f, STORE_SETTLE, 0);
    submit_kind(f, STORE_RELEASE, 3);
    submit_kind(f, STORE_SETTLE, 1);
    wait_for(f, 4);
    assert_int_equal(f->store.batch_count, 1);
}

static void a_failure_is_told_for_every_operation(void **state)
{
    struct fixture *f = *state;
    f->store.result = ERR_IO;
    submit(f, 0, 5);
    wait_for(f, 5);
    assert_int_equal(f->failed, 5);
    f->store.result = OK;
    submit(f, 5, 5);
    wait_for(f, 10);
    assert_int_equal(f->failed, 5);
}

/* What is durable must not be called lost: it would be taken for a repeat when it is sent again,
 * and its tokens would never be corrected. */
static void a_failed_transaction_takes_only_itself_and_what_follows(void **state)
{
    struct fixture *f = *state;
    f->store.fail_at = 2;
    submit(f, 0, WRITER_BATCH_MAX * 2 + 10);
    wait_for(f, WRITER_BATCH_MAX * 2 + 10);
    assert_int_equal(f->store.batch_count, 2);
    assert_int_equal(f->failed, WRITER_BATCH_MAX + 10);
}

static void the_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    submit(f, 0, WRITER_QUEUE_MAX);
    struct store_op op = {.kind = STORE_PROBE};
    assert_int_equal(writer_submit(f->writer, &op), ERR_AGAIN);
    wait_for(f, WRITER_QUEUE_MAX);
}

static void destroying_finishes_what_was_submitted(void **state)
{
    struct fixture *f = *state;
    submit(f, 0, 7);
    writer_destroy(&f->writer);
    assert_int_equal(f->results, 7);
    assert_int_equal(f->closed, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

struct keep_busy {
    struct loop_hook hook;
    struct loop *loop;
    struct fixture *f;
    unsigned turns;
};

/* Turns take no time: somebody always has more to do. The disk answers after many of them. */
static void on_busy_turn(void *ctx)
{
    struct keep_busy *k = ctx;
    loop_again(k->loop);
    if (++k->turns == 1000)
        (void)pthread_mutex_unlock(&k->f->store.gate);
}

static void in_a_busy_loop_the_end_waits_for_the_disk_all_the_same(void **state)
{
    struct fixture *f = *state;
    struct keep_busy k = {.loop = f->loop, .f = f};
    (void)pthread_mutex_lock(&f->store.gate);
    submit(f, 0, 3);
    k.hook = (struct loop_hook){.fn = on_busy_turn, .ctx = &k};
    loop_hook_turn_end(f->loop, &k.hook);
    writer_destroy(&f->writer);
    loop_hook_remove(f->loop, &k.hook);
    assert_int_equal(f->results, 3);
    assert_int_equal(f->failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_one_turn_gathers_is_one_transaction),
        TEST(while_the_disk_works_the_next_batch_fills_up),
        TEST(what_comes_within_a_moment_is_one_transaction_too),
        TEST(what_somebody_waits_for_goes_at_once),
        TEST(a_large_batch_is_several_transactions),
        TEST(of_a_transaction_the_settles_are_told_first),
        TEST(a_failure_is_told_for_every_operation),
        TEST(a_failed_transaction_takes_only_itself_and_what_follows),
        TEST(the_queue_is_bounded),
        TEST(destroying_finishes_what_was_submitted),
        TEST(in_a_busy_loop_the_end_waits_for_the_disk_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
