#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/simulator/fault.h"

static void words_are_read_with_their_values(void **state)
{
    (void)state;
    struct sim_fault f;
    fault_init(&f);
    assert_int_equal(
        fault_parse(
            &f, SPAN("status=503  delay=20 cut=120 stall gzip message='a b' type=x script=name")),
        OK);
    assert_int_equal(f.status, 503);
    assert_int_equal(f.delay_ms, 20);
    assert_int_equal(f.cut_at, 120);
    assert_true(f.stall_head);
    assert_int_equal(f.stall_at, -1);
    assert_true(f.gzip);
    assert_string_equal(f.message, "a b");
    assert_string_equal(f.type, "x");
    assert_string_equal(f.script, "name");
}

static void unknown_words_and_bad_values_are_errors(void **state)
{
    (void)state;
    struct sim_fault f;
    fault_init(&f);
    assert_int_equal(fault_parse(&f, SPAN("sttus=5")), ERR_NOT_FOUND);
    assert_int_equal(fault_parse(&f, SPAN("status=five")), ERR_INVALID);
    assert_int_equal(fault_parse(&f, SPAN("status=99999999999")), ERR_INVALID);
    assert_int_equal(
        fault_parse(
            &f,
            SPAN("script=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ERR_TOO_BIG);
    assert_int_equal(fault_parse(&f, SPAN("")), OK);
    assert_int_equal(fault_parse(&f, SPAN("message='never closed")), OK);
}

static void the_last_directive_of_a_text_counts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"none", NULL},
        {"a [[sim status=500]] b", "status=500"},
        {"[[sim a]] and [[sim b]]", "b"},
        {"[[sim a]] and [[sim never closed", "a"},
        {"[[simstall]]", "stall"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span words = fault_directive(span_str(cases[i].text));
        if (cases[i].words)
            assert_true(span_is(words, cases[i].words));
        else
            assert_null(words.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_read_with_their_values),
        cmocka_unit_test(unknown_words_and_bad_values_are_errors),
        cmocka_unit_test(the_last_directive_of_a_text_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
