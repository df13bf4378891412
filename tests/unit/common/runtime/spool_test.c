#include "common/runtime/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "proto/message_copy.h"

enum { PENDING_MAX = 2000 };

/* One life of a daemon that owes SETTLEs. */
struct life {
    struct outbox *outbox;
    struct spool spool;
    unsigned sent;
    char last_model[32], last_worker[32];
};

struct place {
    char dir[64];
};

static int setup(void **state)
{
    static struct place p;
    (void)snprintf(p.dir, sizeof p.dir, "/tmp/tollgate-owed-XXXXXX");
    assert_non_null(mkdtemp(p.dir));
    log_setup(LEVEL_ERROR, LINES_TEXT, "test", "test");
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    const struct place *p = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", p->dir);
    return system(command); /* NOLINT: a path of our own */
}

static enum err take(void *ctx, const struct outbox_key *key, const void *payload)
{
    struct life *l = ctx;
    const struct settle *m = payload;
    (void)key;
    l->sent++;
    (void)snprintf(l->last_model, sizeof l->last_model, "%.*s", SPAN_ARG(m->model));
    (void)snprintf(l->last_worker, sizeof l->last_worker, "%.*s", SPAN_ARG(m->worker));
    return OK;
}

static void name_worker(void *ctx, void *message)
{
    struct settle *m = message;
    (void)ctx;
    m->worker = SPAN("worker-1");
}

static bool is_ours(void *ctx, const void *message)
{
    const struct settle *m = message;
    (void)ctx;
    return span_is(m->provider, "openai");
}

static void begin(struct life *l, const struct place *p, uint64_t epoch)
{
    *l = (struct life){0};
    struct outbox_spec spec = {
        .max = PENDING_MAX, .resend_ms = 1000, .batch = PENDING_MAX, .send = take, .ctx = l};
    assert_int_equal(outbox_create(&l->outbox, &spec), OK);
    struct spool_spec spool = {.state_dir = p->dir,
                               .role = "worker",
                               .provider = "openai",
                               .epoch = epoch,
                               .type = MESSAGE_SETTLE,
                               .outbox = l->outbox,
                               .most_pending = PENDING_MAX / 2,
                               .on_keep = name_worker,
                               .on_return = is_ours,
                               .ctx = l};
    spool_init(&l->spool, &spool);
}

static struct outbox_key key_of(unsigned n)
{
    struct outbox_key key = {.attempt = 1};
    memcpy(key.id, &n, sizeof n);
    return key;
}

static void owe(struct life *l, unsigned n, const char *provider)
{
    struct settle m = {.key_id = SPAN("key_1"),
                       .model = SPAN("gpt-4o"),
                       .provider = span_str(provider),
                       .input_tokens = n};
    struct outbox_key key = key_of(n);
    assert_int_equal(outbox_add(l->outbox, &key, message_item(MESSAGE_SETTLE, &m), 1), OK);
}

static void end(struct life *l)
{
    spool_keep(&l->spool);
    outbox_destroy(&l->outbox);
}

static unsigned files(const struct place *p)
{
    char command[128];
    unsigned n = 99;
    (void)snprintf(command, sizeof command, "ls %s/spool/*.spool 2>/dev/null | wc -l", p->dir);
    FILE *f = popen(command, "r"); /* NOLINT: a path of our own */
    assert_int_equal(fscanf(f, "%u", &n), 1);
    (void)pclose(f);
    return n;
}

static void acknowledge(struct life *l, unsigned n)
{
    struct outbox_key key = key_of(n);
    assert_true(outbox_acknowledge(l->outbox, &key));
}

static void the_next_life_sends_what_was_owed_until_it_is_acknowledged(void **state)
{
    const struct place *p = *state;
    struct life l;
    begin(&l, p, 1);
    for (unsigned n = 1; n <= 3; n++)
        owe(&l, n, "openai");
    acknowledge(&l, 2);
    end(&l);
    assert_int_equal(files(p), 1);
    for (uint64_t epoch = 2; epoch <= 3; epoch++) { /* the first of these ends too early */
        begin(&l, p, epoch);
        spool_tick(&l.spool);
        outbox_tick(l.outbox, 5);
        assert_int_equal(l.sent, 2);
        assert_string_equal(l.last_model, "gpt-4o");
        assert_string_equal(l.last_worker, "worker-1");
        if (epoch == 2) {
            acknowledge(&l, 1);
            end(&l);
            assert_int_equal(files(p), 1);
        }
    }
    acknowledge(&l, 3);
    spool_tick(&l.spool);
    assert_int_equal(files(p), 1);
    acknowledge(&l, 1);
    spool_tick(&l.spool);
    assert_int_equal(files(p), 0);
    end(&l);
    assert_int_equal(files(p), 0);
}

static void replicas_take_up_each_file_once(void **state)
{
    const struct place *p = *state;
    struct life a, b;
    begin(&a, p, 1);
    begin(&b, p, 2);
    owe(&a, 1, "openai");
    owe(&b, 2, "openai");
    end(&a);
    end(&b);
    begin(&a, p, 3);
    begin(&b, p, 4);
    spool_tick(&a.spool);
    spool_tick(&b.spool);
    outbox_tick(a.outbox, 5);
    outbox_tick(b.outbox, 5);
    assert_int_equal(a.sent, 1);
    assert_int_equal(b.sent, 1);
    end(&a);
    end(&b);
    assert_int_equal(files(p), 2);
}

static void a_replica_that_runs_on_takes_it_up_when_the_link_is_back(void **state)
{
    const struct place *p = *state;
    struct life a, b;
    begin(&a, p, 1);
    begin(&b, p, 2);
    spool_tick(&b.spool); /* there was nothing */
    owe(&a, 1, "openai");
    end(&a);
    spool_tick(&b.spool);
    assert_int_equal(outbox_pending(b.outbox), 0);
    spool_look_again(&b.spool);
    spool_tick(&b.spool);
    assert_int_equal(outbox_pending(b.outbox), 1);
    end(&b);
}

static void many_are_read_in_turns_and_never_above_the_bound(void **state)
{
    const struct place *p = *state;
    struct life l;
    unsigned done = 0;
    begin(&l, p, 1);
    for (unsigned n = 1; n <= PENDING_MAX; n++)
        owe(&l, n, "openai");
    end(&l);
    begin(&l, p, 2);
    while (done < PENDING_MAX) {
        spool_tick(&l.spool);
        assert_true(outbox_pending(l.outbox) > 0);
        assert_true(outbox_pending(l.outbox) <= PENDING_MAX / 2 + 1);
        while (outbox_pending(l.outbox))
            acknowledge(&l, ++done);
    }
    spool_tick(&l.spool);
    spool_tick(&l.spool);
    assert_int_equal(files(p), 0);
    end(&l);
}

static void what_auth_would_refuse_is_not_sent(void **state)
{
    const struct place *p = *state;
    struct life l;
    begin(&l, p, 1);
    owe(&l, 1, "anthropic");
    owe(&l, 2, "openai");
    end(&l);
    begin(&l, p, 2);
    spool_tick(&l.spool);
    assert_int_equal(outbox_pending(l.outbox), 1);
    acknowledge(&l, 2);
    end(&l);
}

static void records_that_are_no_messages_do_no_harm(void **state)
{
    const struct place *p = *state;
    struct life l;
    struct spool_writer *w;
    char dir[96], record[200];
    (void)snprintf(dir, sizeof dir, "%s/spool", p->dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(spool_writer_open(&w, dir, "worker-openai", 9), OK);
    for (int c = 0; c < 256; c++) {
        memset(record, c, sizeof record);
        record[0] = 2;  /* the version */
        record[1] = 19; /* SETTLE */
        assert_int_equal(
            spool_writer_add(w, span_of(record, c % 2 ? sizeof record : (size_t)c / 2)), OK);
    }
    assert_int_equal(spool_writer_finish(&w), OK);
    begin(&l, p, 2);
    spool_tick(&l.spool);
    assert_int_equal(outbox_pending(l.outbox), 0);
    spool_tick(&l.spool);
    assert_int_equal(files(p), 0);
    end(&l);
}

static void a_directory_that_is_not_ours_alone_is_not_used(void **state)
{
    const struct place *p = *state;
    struct life l;
    char dir[96], other[96];
    (void)snprintf(dir, sizeof dir, "%s/spool", p->dir);
    (void)snprintf(other, sizeof other, "%s/other", p->dir);
    begin(&l, p, 1);
    owe(&l, 1, "openai");
    end(&l);
    assert_int_equal(rename(dir, other), 0);
    assert_int_equal(symlink(other, dir), 0);
    begin(&l, p, 2);
    spool_tick(&l.spool);
    assert_int_equal(outbox_pending(l.outbox), 0);
    owe(&l, 2, "openai");
    end(&l); /* says what is lost, and ends */
    assert_int_equal(unlink(dir), 0);
    assert_int_equal(chmod(other, 0770), 0);
    assert_int_equal(rename(other, dir), 0);
    begin(&l, p, 3);
    spool_tick(&l.spool);
    assert_int_equal(outbox_pending(l.outbox), 0);
    end(&l);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_next_life_sends_what_was_owed_until_it_is_acknowledged),
        TEST(replicas_take_up_each_file_once),
        TEST(a_replica_that_runs_on_takes_it_up_when_the_link_is_back),
        TEST(many_are_read_in_turns_and_never_above_the_bound),
        TEST(what_auth_would_refuse_is_not_sent),
        TEST(records_that_are_no_messages_do_no_harm),
        TEST(a_directory_that_is_not_ours_alone_is_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
