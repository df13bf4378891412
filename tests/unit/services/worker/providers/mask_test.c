/* Upstream messages on their way to clients (H127). */
#include "services/worker/providers/mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/base/json.h"

static void assert_masked(struct span in, const char *out)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct span got = mask_message(in, &arena);
    if (!span_is(got, out))
        fail_msg("%.*s, not %s", SPAN_ARG(got), out);
    arena_free(&arena);
}

static void secrets_lose_all_but_their_first_letters(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"Incorrect API key provided: sk-abcdefghijklmnop.", "Incorrect API key provided: sk-***."},
        {"Incorrect API key provided: sk-abc...xyz.", "Incorrect API key provided: sk-***."},
        {"key sk-ant-api03-AbCd_ef-gh, and r8_0123456789 too", "key sk-***, and r8_*** too"},
        {"sk-proj-****************WXYZ", "sk-***"},
        {"organization org-AbCdEfGhIjKl hit its limit", "organization org-*** hit its limit"},
        {"Authorization: Bearer abcdef0123456789", "Authorization: Bearer ***"},
        {"\"sk-abcdefghijkl\"", "\"sk-***\""},
        {"task-force and risk-averse; disk-abcdefghij",
         "task-force and risk-averse; disk-abcdefghij"},
        {"sk-a is short", "sk-a is short"},
        {"no secrets", "no secrets"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_masked(span_str(cases[i].in), cases[i].out);
}

static void bytes_that_are_no_text_become_replacement_characters(void **state)
{
    (void)state;
    assert_masked(SPAN("a\xff"
                       "b"),
                  "a\xef\xbf\xbd"
                  "b");
}

static void a_long_message_is_cut_between_characters(void **state)
{
    (void)state;
    char text[3000];
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    memcpy(text, "abc", 3);
    text[3] = 'd';
    for (size_t len = 1000; len < sizeof text; len += 37) {
        struct arena arena;
        arena_init(&arena, 0);
        struct span got = mask_message(span_of(text, len), &arena);
        assert_true(got.len <= MASK_MAX_BYTES && got.len >= 1000);
        assert_true(utf8_valid(got));
        arena_free(&arena);
    }
}

static void a_key_across_the_cut_is_still_masked(void **state)
{
    (void)state;
    char text[1100];
    memset(text, ' ', sizeof text);
    memcpy(text + MASK_MAX_BYTES - 6, "sk-abcdefghijkl", 15);
    struct arena arena;
    arena_init(&arena, 0);
    struct span got = mask_message(span_of(text, sizeof text), &arena);
    assert_int_equal(span_find_span(got, SPAN("abc")), got.len);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_lose_all_but_their_first_letters),
        cmocka_unit_test(bytes_that_are_no_text_become_replacement_characters),
        cmocka_unit_test(a_long_message_is_cut_between_characters),
        cmocka_unit_test(a_key_across_the_cut_is_still_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
