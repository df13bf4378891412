#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "services/ctl/supervisor.h"

/* Children are shells; what they do is written into a file, a word each, in order. */
struct fixture {
    char folder[64], trace[128];
    struct supervisor *supervisor;
    int listener; /* its port stands for "ready" */
    unsigned port, readies;
    bool stop_when_ready;
};

static void on_ready(void *ctx)
{
    struct fixture *f = ctx;
    f->readies++;
    if (f->stop_when_ready)
        supervisor_stop(f->supervisor);
}

static int setup(void **state)
{
    static struct fixture f;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    f = (struct fixture){.stop_when_ready = true};
    (void)snprintf(f.folder, sizeof f.folder, "/tmp/tollgate-sup-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    (void)snprintf(f.trace, sizeof f.trace, "%s/trace", f.folder);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(f.listener, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(f.listener, 64), 0);
    assert_int_equal(getsockname(f.listener, (struct sockaddr *)&at, &len), 0);
    f.port = ntohs(at.sin_port);
    const struct supervisor_spec spec = {
        .run_dir = f.folder, .stop_timeout_ms = 3000, .on_ready = on_ready, .ctx = &f};
    assert_int_equal(supervisor_create(&f.supervisor, &spec), OK);
    log_set_fd(-1);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    log_set_fd(2);
    supervisor_destroy(&f->supervisor);
    (void)close(f->listener);
    (void)unlink(f->trace);
    (void)rmdir(f->folder);
    return 0;
}

static void add(struct fixture *f, const char *name, enum child_stage stage, const char *script)
{
    char text[512];
    struct child *c = supervisor_add(f->supervisor, name, "sh", stage);
    assert_non_null(c);
    (void)snprintf(text, sizeof text, "say() { echo -n \"$1 \" >> %s; }; %s", f->trace, script);
    assert_int_equal(child_add_arg(c, "-c"), OK);
    assert_int_equal(child_add_arg(c, text), OK);
    c->ready_port = f->port;
}

static void assert_trace(const struct fixture *f, const char *expected)
{
    char text[256] = "";
    int fd = open(f->trace, O_RDONLY);
    if (fd >= 0) {
        assert_true(read(fd, text, sizeof text - 1) >= 0);
        (void)close(fd);
    }
    assert_string_equal(text, expected);
}

/* A shell is "ready" before it has read its script. */
static void await_trace(const struct fixture *f, const char *expected)
{
    const struct timespec pause = {0, 10000000};
    char text[256] = "";
    for (int i = 0; i < 3000 && strcmp(text, expected) != 0; i++) {
        int fd = open(f->trace, O_RDONLY);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
        text[n > 0 ? n : 0] = '\0';
        if (fd >= 0)
            (void)close(fd);
        (void)nanosleep(&pause, NULL);
    }
    assert_string_equal(text, expected);
}

/* Says its name when told to end. */
#define GOOD(name) "trap 'say " name "; exit 0' TERM; while :; do sleep 0.05; done"

static void children_are_stopped_in_the_order_of_their_stages(void **state)
{
    struct fixture *f = *state;
    char script[256];
    f->stop_when_ready = false;
    add(f, "m", STAGE_METRICS, GOOD("metrics"));
    add(f, "a", STAGE_AUTH, GOOD("auth"));
    (void)snprintf(script, sizeof script,
                   "trap 'sleep 0.3; say edge; exit 0' TERM; sleep 0.5; kill -TERM %d; while :; do "
                   "sleep 0.05; done",
                   (int)getpid());
    add(f, "e", STAGE_EDGE, script);
    add(f, "w", STAGE_WORKER, GOOD("worker"));
    assert_int_equal(supervisor_run(f->supervisor), OK);
    assert_int_equal(f->readies, 1);
    assert_trace(f, "edge worker auth metrics ");
}

static void one_that_cannot_start_ends_all(void **state)
{
    struct fixture *f = *state;
    int quiet = dup(2), nothing = open("/dev/null", O_WRONLY);
    f->stop_when_ready = false;
    add(f, "good", STAGE_AUTH, GOOD("good"));
    add(f, "bad", STAGE_EDGE, "exit 1");
    supervisor_child(f->supervisor, 1)->ready_port = 0;
    (void)dup2(nothing, 2);
    enum err e = supervisor_run(f->supervisor);
    (void)dup2(quiet, 2);
    assert_int_equal(e, ERR_CLOSED);
    assert_int_equal(f->readies, 0);
    (void)close(quiet);
    (void)close(nothing);
}

static void a_bad_configuration_is_told_apart(void **state)
{
    struct fixture *f = *state;
    int quiet = dup(2), nothing = open("/dev/null", O_WRONLY);
    add(f, "bad", STAGE_EDGE, "exit 78");
    supervisor_child(f->supervisor, 0)->ready_port = 0;
    (void)dup2(nothing, 2);
    enum err e = supervisor_run(f->supervisor);
    (void)dup2(quiet, 2);
    assert_int_equal(e, ERR_INVALID);
    (void)close(quiet);
    (void)close(nothing);
}

/* A child that ends itself after a moment, and when it is started a second time ends us. */
static void one_that_dies_is_started_again(void **state)
{
    struct fixture *f = *state;
    char script[320];
    f->stop_when_ready = false;
    (void)snprintf(
        script, sizeof script,
        "trap 'say end; exit 0' TERM; say start; if [ $(wc -w < %s) = 2 ]; then kill -TERM %d; "
        "while :; do sleep 0.05; done; fi; sleep 0.3; exit 3",
        f->trace, (int)getpid());
    add(f, "dying", STAGE_EDGE, script);
    assert_int_equal(supervisor_run(f->supervisor), OK);
    assert_int_equal(f->readies, 1);
    assert_trace(f, "start start end ");
}

/* ---- restarting ---- */

/* Restarts the child `name` once all are ready. */
struct restarter {
    struct fixture *f;
    const char *name, *after; /* once it has said so */
    struct loop_timer timer;
    enum err result;
};

static struct restarter restarter;

static void on_restart_time(void *ctx)
{
    struct restarter *r = ctx;
    await_trace(r->f, r->after);
    r->result =
        supervisor_restart(r->f->supervisor, supervisor_find(r->f->supervisor, span_str(r->name)));
}

static void on_ready_restart(void *ctx)
{
    struct fixture *f = ctx;
    f->readies++;
    loop_timer_start(supervisor_loop(f->supervisor), &restarter.timer, 1, on_restart_time,
                     &restarter);
}

static void restarting(struct fixture *f, const char *name, const char *after)
{
    supervisor_destroy(&f->supervisor);
    const struct supervisor_spec spec = {
        .run_dir = f->folder, .stop_timeout_ms = 3000, .on_ready = on_ready_restart, .ctx = f};
    assert_int_equal(supervisor_create(&f->supervisor, &spec), OK);
    restarter = (struct restarter){.f = f, .name = name, .after = after};
}

/* Says "NAME", and when told to end "NAME-ends"; the second to start ends us when the first has. */
#define GENERATION                                                                                 \
    "trap 'say $1-ends; exit 0' TERM; say $1; "                                                    \
    "if [ $1 = e.2 ]; then while ! grep -q 'e-ends' %s; do sleep 0.05; done; kill -TERM %d; fi; "  \
    "while :; do sleep 0.05; done"

static void one_that_overlaps_is_ready_before_the_old_one_ends(void **state)
{
    struct fixture *f = *state;
    char script[400];
    restarting(f, "e", "e ");
    (void)snprintf(script, sizeof script, GENERATION, f->trace, (int)getpid());
    add(f, "e", STAGE_EDGE, script);
    struct child *c = supervisor_child(f->supervisor, 0);
    c->overlaps = true;
    assert_int_equal(child_add_arg(c, "sh"), OK);
    assert_int_equal(child_add_arg(c, "e"), OK);
    c->name_arg = c->arg_count - 1;
    assert_int_equal(supervisor_run(f->supervisor), OK);
    assert_int_equal(restarter.result, OK);
    assert_trace(f, "e e.2 e-ends e.2-ends ");
}

static void one_that_does_not_overlap_ends_first(void **state)
{
    struct fixture *f = *state;
    char script[320];
    restarting(f, "b", "start ");
    (void)snprintf(
        script, sizeof script,
        "trap 'say end; exit 0' TERM; say start; if [ $(wc -w < %s) = 3 ]; then kill -TERM %d; fi; "
        "while :; do sleep 0.05; done",
        f->trace, (int)getpid());
    add(f, "b", STAGE_BROKER, script);
    assert_int_equal(supervisor_run(f->supervisor), OK);
    assert_int_equal(restarter.result, OK);
    assert_trace(f, "start end start end ");
}

static void a_successor_that_fails_leaves_the_old_one(void **state)
{
    struct fixture *f = *state;
    char script[400];
    restarting(f, "e", "e ");
    (void)snprintf(
        script, sizeof script,
        "trap 'say $1-ends; exit 0' TERM; say $1; if [ $1 = e.2 ]; then (sleep 0.3; kill "
        "-TERM %d) & exit 3; fi; while :; do sleep 0.05; done",
        (int)getpid());
    add(f, "e", STAGE_EDGE, script);
    struct child *c = supervisor_child(f->supervisor, 0);
    c->overlaps = true;
    c->ready_port = 0;
    c->state = CHILD_READY; /* READY=1 is not for shells to say */
    assert_int_equal(child_add_arg(c, "sh"), OK);
    assert_int_equal(child_add_arg(c, "e"), OK);
    c->name_arg = c->arg_count - 1;
    assert_int_equal(child_start(c, SPAN("/no/such/folder/"), 1), OK);
    c->state = CHILD_READY;
    assert_int_equal(supervisor_run(f->supervisor), OK);
    assert_int_equal(restarter.result, OK);
    assert_int_equal(c->failed_restarts, 1);
    assert_int_equal(c->restarts, 0);
    assert_trace(f, "e e.2 e-ends ");
}

static void on_ready_remove(void *ctx)
{
    struct fixture *f = ctx;
    struct supervisor *s = f->supervisor;
    f->readies++;
    await_trace(f, "up up ");
    assert_int_equal(supervisor_remove(s, supervisor_find(s, SPAN("gone"))), OK);
    assert_null(supervisor_find(s, SPAN("gone")));
}

static void one_that_is_removed_ends_and_is_not_started_again(void **state)
{
    struct fixture *f = *state;
    char script[256];
    supervisor_destroy(&f->supervisor);
    const struct supervisor_spec spec = {
        .run_dir = f->folder, .stop_timeout_ms = 3000, .on_ready = on_ready_remove, .ctx = f};
    assert_int_equal(supervisor_create(&f->supervisor, &spec), OK);
    (void)snprintf(script, sizeof script, "trap 'say gone; kill -TERM %d; exit 0' TERM; say up; %s",
                   (int)getpid(), "while :; do sleep 0.05; done");
    add(f, "gone", STAGE_WORKER, script);
    add(f, "stays", STAGE_AUTH,
        "trap 'say stays; exit 0' TERM; say up; while :; do sleep 0.05; done");
    assert_int_equal(supervisor_run(f->supervisor), OK);
    assert_trace(f, "up up gone stays ");
}

/* One that takes its time is asked again, and may end in order. */
static void asked_twice_those_that_take_their_time_are_told_again(void **state)
{
    struct fixture *f = *state;
    char script[320];
    f->stop_when_ready = false;
    (void)snprintf(
        script, sizeof script,
        "n=0; trap 'n=$((n+1)); say t$n; if [ $n = 1 ]; then kill -TERM %d; else exit 0; "
        "fi' TERM; sleep 0.5; kill -TERM %d; while :; do sleep 0.05; done",
        (int)getpid(), (int)getpid());
    add(f, "slow", STAGE_EDGE, script);
    assert_int_equal(supervisor_run(f->supervisor), OK);
    assert_trace(f, "t1 t2 ");
}

static void one_that_does_not_listen_is_killed(void **state)
{
    struct fixture *f = *state;
    supervisor_destroy(&f->supervisor);
    const struct supervisor_spec spec = {
        .run_dir = f->folder, .stop_timeout_ms = 200, .on_ready = on_ready, .ctx = f};
    assert_int_equal(supervisor_create(&f->supervisor, &spec), OK);
    add(f, "deaf", STAGE_EDGE, "trap '' TERM; while :; do sleep 0.05; done");
    assert_int_equal(supervisor_run(f->supervisor), OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(children_are_stopped_in_the_order_of_their_stages),
        TEST(one_that_cannot_start_ends_all),
        TEST(a_bad_configuration_is_told_apart),
        TEST(one_that_dies_is_started_again),
        TEST(one_that_overlaps_is_ready_before_the_old_one_ends),
        TEST(one_that_does_not_overlap_ends_first),
        TEST(a_successor_that_fails_leaves_the_old_one),
        TEST(one_that_is_removed_ends_and_is_not_started_again),
        TEST(asked_twice_those_that_take_their_time_are_told_again),
        TEST(one_that_does_not_listen_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
