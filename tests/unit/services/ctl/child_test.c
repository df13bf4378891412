#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/runtime/listening.h"
#include "services/ctl/child.h"

static int run(struct child *c)
{
    int status = -1;
    assert_int_equal(child_start(c, SPAN("/no/such/folder/"), 0), OK);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    child_ended(c, status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void shell(struct child *c, const char *script)
{
    child_init(c, "test", "sh", STAGE_WORKER);
    assert_int_equal(child_add_arg(c, "-c"), OK);
    assert_int_equal(child_add_arg(c, script), OK);
}

/* Whatever the environment holds: nobody lists what may be a secret. */
static void a_child_sees_the_usual_variables_and_those_it_keeps(void **state)
{
    (void)state;
    struct child c;
    assert_int_equal(setenv("TEST_SECRET_A", "a", 1), 0);
    assert_int_equal(setenv("TEST_SECRET_B", "b", 1), 0);
    shell(&c, "test \"$TEST_SECRET_A$TEST_SECRET_B\" = b && test -n \"$PATH\"");
    assert_int_equal(child_keep_env(&c, SPAN("TEST_SECRET_B")), OK);
    assert_true(child_keeps_env(&c, "TEST_SECRET_B"));
    assert_int_equal(run(&c), 0);
    assert_string_equal(getenv("TEST_SECRET_A"), "a"); /* ours is untouched */
    child_free(&c);
}

static void a_child_keeps_as_many_variables_as_it_has_keys(void **state)
{
    (void)state;
    struct child c;
    shell(&c, "true");
    for (unsigned i = 0; i < CHILD_ENV_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "KEY_%u", i);
        assert_int_equal(child_keep_env(&c, span_str(name)), OK);
        assert_int_equal(child_keep_env(&c, span_str(name)), OK); /* it has that one */
    }
    assert_int_equal(child_keep_env(&c, SPAN("KEY_MORE")), ERR_TOO_BIG);
    child_free(&c);
}

static void a_socket_is_handed_over_as_systemd_would(void **state)
{
    (void)state;
    struct child c;
    int fd;
    assert_int_equal(listening_open("127.0.0.1", 0, &fd), OK);
    shell(&c, "test \"$LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES\" = \"$$ 1 http\" && "
              "test -S /proc/$$/fd/3");
    c.listen_fd = fd;
    assert_int_equal(run(&c), 0);
    child_free(&c);
    shell(&c, "test -z \"$LISTEN_PID$LISTEN_FDS\" && ! test -S /proc/$$/fd/3");
    assert_int_equal(run(&c), 0);
    child_free(&c);
    (void)close(fd);
}

/* Two may run at once, and daemons' names are unique. */
static void a_successor_gets_a_name_of_its_own(void **state)
{
    (void)state;
    struct child c;
    int status = -1;
    shell(&c, "test \"$1\" = test.2");
    assert_int_equal(child_add_arg(&c, "--name"), OK);
    assert_int_equal(child_add_arg(&c, "test"), OK);
    c.name_arg = c.arg_count - 1;
    assert_int_not_equal(run(&c), 0);
    assert_int_equal(child_start_next(&c, SPAN("/no/such/folder/"), 5), OK);
    assert_int_equal(c.pid, 0);
    assert_int_equal(waitpid(c.next_pid, &status, 0), c.next_pid);
    assert_int_equal(status, 0);
    assert_int_equal(child_take_over(&c), 0);
    assert_int_equal(c.next_pid, 0);
    assert_int_equal(c.restarts, 1);
    assert_int_equal(c.started_ms, 5);
    assert_int_equal(run(&c), 0); /* started again, it keeps the name */
    assert_string_equal(c.args[c.name_arg], "test");
    child_free(&c);
}

static void a_program_that_is_nowhere_ends_with_127(void **state)
{
    (void)state;
    struct child c;
    int quiet = dup(2), nothing = open("/dev/null", O_WRONLY);
    child_init(&c, "test", "tollgate-no-such", STAGE_WORKER);
    (void)dup2(nothing, 2);
    int code = run(&c);
    (void)dup2(quiet, 2);
    assert_int_equal(code, 127);
    child_free(&c);
    (void)close(quiet);
    (void)close(nothing);
}

static void restarts_come_later_each_time_until_one_lives(void **state)
{
    (void)state;
    static const unsigned waits[] = {250, 500, 1000, 2000, 4000, 8000, 10000, 10000};
    struct child c;
    uint64_t now = 1000;
    child_init(&c, "test", "true", STAGE_WORKER);
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        c.state = CHILD_READY;
        c.started_ms = now;
        child_ended(&c, 0, now + 10);
        assert_int_equal(c.state, CHILD_WAITING);
        assert_int_equal(c.due_ms, now + 10 + waits[i]);
        now = c.due_ms;
    }
    c.started_ms = now;
    child_ended(&c, 0, now + BACKOFF_FORGET_MS);
    assert_int_equal(c.due_ms, now + BACKOFF_FORGET_MS + 250);
    c.state = CHILD_STOPPED;
    child_ended(&c, 0, now);
    assert_int_equal(c.state, CHILD_STOPPED);
    child_free(&c);
}

static void the_end_is_told_in_words(void **state)
{
    (void)state;
    struct child c;
    char why[32];
    shell(&c, "exit 78");
    (void)run(&c);
    child_why(&c, why);
    assert_string_equal(why, "exit code 78");
    child_free(&c);
    shell(&c, "kill -9 $$");
    (void)run(&c);
    child_why(&c, why);
    assert_string_equal(why, "signal 9");
    child_free(&c);
}

static void arguments_are_bounded(void **state)
{
    (void)state;
    struct child c;
    child_init(&c, "test", "true", STAGE_WORKER);
    for (int i = 0; i < CHILD_ARGS_MAX; i++)
        assert_int_equal(child_add_arg(&c, "x"), OK);
    assert_int_equal(child_add_arg(&c, "x"), ERR_TOO_BIG);
    child_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_sees_the_usual_variables_and_those_it_keeps),
        cmocka_unit_test(a_child_keeps_as_many_variables_as_it_has_keys),
        cmocka_unit_test(a_socket_is_handed_over_as_systemd_would),
        cmocka_unit_test(a_successor_gets_a_name_of_its_own),
        cmocka_unit_test(a_program_that_is_nowhere_ends_with_127),
        cmocka_unit_test(restarts_come_later_each_time_until_one_lives),
        cmocka_unit_test(the_end_is_told_in_words),
        cmocka_unit_test(arguments_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
