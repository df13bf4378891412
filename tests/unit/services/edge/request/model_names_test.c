#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "services/edge/request/model_names.h"

static void the_first_names_are_kept_and_known_again(void **state)
{
    static struct model_names m;
    char name[32];
    (void)state;
    for (unsigned i = 0; i < MODEL_NAMES_MAX; i++) {
        (void)snprintf(name, sizeof name, "gpt-%u", i);
        assert_true(model_names_take(&m, span_str(name)));
    }
    assert_false(model_names_take(&m, SPAN("one-more")));
    assert_true(model_names_take(&m, SPAN("gpt-0")));
    assert_true(model_names_take(&m, SPAN("gpt-63")));
}

static void names_that_no_provider_gives_are_none(void **state)
{
    static struct model_names m;
    char longest[MODEL_NAME_BYTES + 1];
    (void)state;
    memset(longest, 'x', sizeof longest);
    const struct span odd[] = {SPAN(""),      SPAN("a b"),  SPAN("a\"b"),
                               SPAN("a\x1f"), SPAN("\xc3"), SPAN("a\0b"),
                               SPAN("a\nb"),  SPAN("{}"),   span_of(longest, sizeof longest)};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_false(model_names_take(&m, odd[i]));
    assert_true(model_names_take(&m, span_of(longest, MODEL_NAME_BYTES)));
    assert_true(model_names_take(&m, SPAN("@cf/meta/llama-3.1:free+x_y")));
    assert_int_equal(m.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_names_are_kept_and_known_again),
        cmocka_unit_test(names_that_no_provider_gives_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
