#include "proto/labels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void tags_are_gathered_once_and_bounded(void **state)
{
    (void)state;
    struct tag_list t = {0};
    char text[TAGS_TEXT_MAX], longest[TAG_MAX_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    assert_null(tag_list_add(&t, SPAN(" a ,,b,a, c d "), 4));
    assert_int_equal(t.count, 3);
    assert_true(span_is(span_of(text, tag_list_write(&t, text)), "a,b,c d"));
    assert_null(tag_list_add(&t, span_of(longest, TAG_MAX_BYTES), 4));
    assert_null(tag_list_add(&t, SPAN("a"), 4)); /* is there */
    assert_non_null(tag_list_add(&t, SPAN("e"), 4));
    assert_int_equal(t.count, 4);
    struct tag_list u = {0};
    assert_non_null(tag_list_add(&u, span_of(longest, sizeof longest), 4));
    assert_non_null(tag_list_add(&u, SPAN("a\tb"), 4));
    assert_non_null(tag_list_add(&u, SPAN("a\x7f"), 4));
    assert_non_null(tag_list_add(&u, SPAN("\xff"), 4));
    assert_int_equal(u.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_gathered_once_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
