#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/ctl/child.h"

static int run(struct child *c, const char *const *secrets)
{
    int status = -1;
    assert_int_equal(child_start(c, SPAN("/no/such/folder/"), secrets, 0), OK);
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

static void a_child_sees_only_the_secrets_it_keeps(void **state)
{
    (void)state;
    static const char *const secrets[] = {"TEST_SECRET_A", "TEST_SECRET_B", NULL};
    struct child c;
    assert_int_equal(setenv("TEST_SECRET_A", "a", 1), 0);
    assert_int_equal(setenv("TEST_SECRET_B", "b", 1), 0);
    shell(&c, "test \"$TEST_SECRET_A$TEST_SECRET_B\" = b && test -n \"$PATH\"");
    assert_int_equal(child_keep_env(&c, SPAN("TEST_SECRET_B")), OK);
    assert_int_equal(run(&c, secrets), 0);
    assert_string_equal(getenv("TEST_SECRET_A"), "a"); /* ours is untouched */
    child_free(&c);
}

static void a_program_that_is_nowhere_ends_with_127(void **state)
{
    (void)state;
    struct child c;
    int quiet = dup(2), nothing = open("/dev/null", O_WRONLY);
    child_init(&c, "test", "tollgate-no-such", STAGE_WORKER);
    (void)dup2(nothing, 2);
    int code = run(&c, NULL);
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
    (void)run(&c, NULL);
    child_why(&c, why);
    assert_string_equal(why, "exit code 78");
    child_free(&c);
    shell(&c, "kill -9 $$");
    (void)run(&c, NULL);
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
        cmocka_unit_test(a_child_sees_only_the_secrets_it_keeps),
        cmocka_unit_test(a_program_that_is_nowhere_ends_with_127),
        cmocka_unit_test(restarts_come_later_each_time_until_one_lives),
        cmocka_unit_test(the_end_is_told_in_words),
        cmocka_unit_test(arguments_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
