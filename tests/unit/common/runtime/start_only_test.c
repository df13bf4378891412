#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/runtime/start_only.h"

static char told[256];

static void tell(void *ctx, const char *option, bool waits)
{
    size_t n = strlen(told);
    (void)ctx;
    (void)snprintf(told + n, sizeof told - n, "%c%s ", waits ? '+' : '-', option);
}

static void reload(struct start_only *s, const char *const *options, const char *expected)
{
    told[0] = '\0';
    start_only_begin(s);
    for (; *options; options++)
        start_only_note(s, *options);
    start_only_end(s, tell, NULL);
    assert_string_equal(told, expected);
}

static void what_waits_is_told_once_and_what_was_taken_back_too(void **state)
{
    (void)state;
    struct start_only s = {.count = 0};
    static const char *const none[] = {NULL}, *const both[] = {"edge.port", "bus.auth", NULL},
                             *const one[] = {"bus.auth", NULL};
    reload(&s, none, "");
    reload(&s, both, "+edge.port +bus.auth ");
    reload(&s, both, "");
    reload(&s, one, "-edge.port ");
    reload(&s, none, "-bus.auth ");
    reload(&s, one, "+bus.auth ");
}

static void they_are_bounded(void **state)
{
    (void)state;
    struct start_only s = {.count = 0};
    start_only_begin(&s);
    for (unsigned i = 0; i < START_ONLY_MAX * 2; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "edge.%u", i);
        start_only_note(&s, name);
    }
    assert_int_equal(s.count, START_ONLY_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_is_told_once_and_what_was_taken_back_too),
        cmocka_unit_test(they_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
