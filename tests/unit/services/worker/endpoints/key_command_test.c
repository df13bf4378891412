/* Programs that are asked for a key: scripts in a folder of the test's own. */
#include "services/worker/endpoints/key_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"

struct fixture {
    char folder[64], script[128];
    struct secret *key;
    const char *why;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.folder = "/tmp/tollgate-exec-XXXXXX"};
    assert_non_null(mkdtemp(f.folder));
    (void)snprintf(f.script, sizeof f.script, "%s/key", f.folder);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    secret_destroy(&f->key);
    (void)unlink(f->script);
    assert_int_equal(rmdir(f->folder), 0);
    return 0;
}

static void write_script(struct fixture *f, const char *text)
{
    FILE *file = fopen(f->script, "we");
    assert_non_null(file);
    (void)fprintf(file, "#!/bin/sh\n%s\n", text);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(f->script, 0700), 0);
}

static enum err run(struct fixture *f, const char *argument)
{
    const char *items[] = {f->script, argument};
    const struct config_list command = {items, 2};
    f->why = NULL;
    return key_command_run(&command, &f->key, &f->why);
}

static void its_trimmed_output_is_the_key(void **state)
{
    struct fixture *f = *state;
    write_script(f, "echo noise >&2; echo \" $1 \"");
    assert_int_equal(run(f, "sk-$HOME;id"), OK);
    assert_true(span_is(secret_reveal(f->key), "sk-$HOME;id")); /* no shell has read it */
}

static void it_has_no_environment_and_no_files_of_ours(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(setenv("OPENAI_API_KEY", "sk-environment", 1), 0);
    int fd = dup(2); /* not close-on-exec */
    write_script(f, "echo \"<$OPENAI_API_KEY>$(ls /proc/self/fd | wc -l)\"");
    assert_int_equal(run(f, ""), OK);
    assert_true(span_is(secret_reveal(f->key), "<>4")); /* 0, 1, 2, and the folder being read */
    assert_int_equal(close(fd), 0);
}

static void what_is_no_key_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *script, *why;
        enum err err;
    } cases[] = {{"exit 3", "failed", ERR_IO},
                 {"echo sk-1; exit 1", "failed", ERR_IO},
                 {"kill -9 $$", "failed", ERR_IO},
                 {"true", "wrote no key", ERR_INVALID},
                 {"printf 'a\\nb'", "wrote no key", ERR_INVALID},
                 {"while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
                  "wrote more than a key", ERR_TOO_BIG}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_script(f, cases[i].script);
        assert_int_equal(run(f, "x"), cases[i].err);
        assert_string_equal(f->why, cases[i].why);
        assert_null(f->key);
    }
}

static void one_that_hangs_ends_with_all_it_has_started(void **state)
{
    struct fixture *f = *state;
    uint64_t began_ms = clock_mono_ms(&clock_real);
    write_script(f, "echo sk-1; sleep 1000 & sleep 1000");
    assert_int_equal(run(f, "x"), ERR_TIMEOUT);
    assert_in_range(clock_mono_ms(&clock_real) - began_ms, KEY_COMMAND_MS, KEY_COMMAND_MS * 4);
    assert_null(f->key);
}

static void what_others_could_change_is_not_run(void **state)
{
    struct fixture *f = *state;
    const char *relative[] = {"key"}, *missing[] = {"/nowhere/key"}, *folder[] = {f->folder};
    const struct config_list bad[] = {{relative, 1}, {missing, 1}, {folder, 1}};
    write_script(f, "echo sk-1");
    assert_int_equal(chmod(f->script, 0722), 0);
    assert_int_equal(run(f, "x"), ERR_DENIED);
    assert_int_equal(chmod(f->script, 0720), 0);
    assert_int_equal(run(f, "x"), ERR_DENIED);
    assert_int_equal(chmod(f->script, 0700), 0);
    assert_int_equal(chmod(f->folder, 0777), 0);
    assert_int_equal(run(f, "x"), ERR_DENIED);
    assert_int_equal(chmod(f->folder, 0700), 0);
    assert_int_equal(chmod(f->script, 0600), 0);
    assert_int_equal(run(f, "x"), ERR_NOT_FOUND);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(key_command_run(&bad[i], &f->key, &f->why), ERR_NOT_FOUND);
        assert_non_null(f->why);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(its_trimmed_output_is_the_key),
        TEST(it_has_no_environment_and_no_files_of_ours),
        TEST(what_is_no_key_is_refused),
        TEST(one_that_hangs_ends_with_all_it_has_started),
        TEST(what_others_could_change_is_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
