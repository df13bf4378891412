#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "services/ctl/command.h"

static int run_first(const struct command *self, int argc, char **argv)
{
    (void)self;
    (void)argv;
    return 10 + argc;
}

static int run_second(const struct command *self, int argc, char **argv)
{
    (void)self;
    (void)argc;
    (void)argv;
    return 7;
}

static const struct command table[] = {{"top first", "first", "", NULL, run_first},
                                       {"top second", "second", "", NULL, run_second},
                                       {0}};

/* What the calls print is not looked at here. */
static int quietly(int argc, char **argv)
{
    int out = dup(1), err = dup(2), nothing = open("/dev/null", O_WRONLY);
    (void)fflush(stdout);
    (void)dup2(nothing, 1);
    (void)dup2(nothing, 2);
    int code = dispatch("top", table, NULL, argc, argv);
    (void)fflush(stdout);
    (void)dup2(out, 1);
    (void)dup2(err, 2);
    (void)close(out);
    (void)close(err);
    (void)close(nothing);
    return code;
}

static void the_named_command_runs(void **state)
{
    (void)state;
    char top[] = "top", first[] = "first", second[] = "second", none[] = "none", help[] = "--help",
         x[] = "x";
    char *a[] = {top, first, x, NULL}, *b[] = {top, second, NULL}, *c[] = {top, none, NULL},
         *d[] = {top, NULL}, *e[] = {top, help, NULL};
    assert_int_equal(quietly(3, a), 12);
    assert_int_equal(quietly(2, b), 7);
    assert_int_equal(quietly(2, c), EXIT_USAGE);
    assert_int_equal(quietly(1, d), EXIT_USAGE);
    assert_int_equal(quietly(2, e), EXIT_DONE);
}

static void options_and_arguments_may_come_in_any_order(void **state)
{
    (void)state;
    const char *name = NULL;
    bool json = false, quiet = false;
    const struct arg args[] = {{"name", "N", "", &name, NULL},
                               {"json", NULL, "", NULL, &json},
                               {"quiet", NULL, "", NULL, &quiet},
                               {0}};
    char c[] = "cmd", p1[] = "one", j[] = "--json", n[] = "--name=x", dash[] = "--", p2[] = "--two";
    char *argv[] = {c, p1, j, n, dash, p2, NULL};
    struct positionals rest;
    assert_int_equal(args_parse(&table[0], args, 6, argv, &rest), -1);
    assert_string_equal(name, "x");
    assert_true(json);
    assert_false(quiet);
    assert_int_equal(rest.count, 2);
    assert_string_equal(rest.items[0], "one");
    assert_string_equal(rest.items[1], "--two");
}

static void wrong_options_are_a_usage_error(void **state)
{
    (void)state;
    const char *name = NULL;
    const struct arg args[] = {{"name", "N", "", &name, NULL}, {0}};
    char c[] = "cmd", bad[] = "--bad", need[] = "--name";
    char *one[] = {c, bad, NULL}, *two[] = {c, need, NULL};
    struct positionals rest;
    int err = dup(2), nothing = open("/dev/null", O_WRONLY);
    (void)dup2(nothing, 2);
    int first = args_parse(&table[0], args, 2, one, &rest),
        second = args_parse(&table[0], args, 2, two, &rest);
    (void)dup2(err, 2);
    (void)close(err);
    (void)close(nothing);
    assert_int_equal(first, EXIT_USAGE);
    assert_int_equal(second, EXIT_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_named_command_runs),
        cmocka_unit_test(options_and_arguments_may_come_in_any_order),
        cmocka_unit_test(wrong_options_are_a_usage_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
