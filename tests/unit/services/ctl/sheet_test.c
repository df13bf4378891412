#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/ctl/sheet.h"

static void columns_are_as_wide_as_they_need(void **state)
{
    (void)state;
    struct sheet s;
    struct buf out = {0};
    sheet_init(&s, "NAME|>COUNT|>COST|NOTE");
    sheet_str(&s, "a");
    sheet_u64(&s, 12345678);
    sheet_dollars(&s, 1234567890);
    sheet_str(&s, "x");
    sheet_str(&s, "b\x1b[31mc");
    sheet_u64(&s, 7);
    sheet_dollars(&s, 5000);
    sheet_str(&s, "");
    sheet_str(&s, "\xc3\xa4\xc3\xb6");
    sheet_u64(&s, 0);
    sheet_dollars(&s, 999);
    sheet_cell(&s, SPAN_NONE);
    assert_int_equal(sheet_write(&s, &out), OK);
    buf_append_char(&out, '\0');
    assert_string_equal(out.data, "NAME        COUNT         COST  NOTE\n"
                                  "a        12345678  1.234567890  x\n"
                                  "b?[31mc         7  0.000005000  \n"
                                  "\xc3\xa4\xc3\xb6              0  0.000000999  \n");
    buf_free(&out);
    sheet_free(&s);
}

static void only_a_head_is_a_sheet_too(void **state)
{
    (void)state;
    struct sheet s;
    struct buf out = {0};
    sheet_init(&s, "A|B");
    assert_int_equal(sheet_write(&s, &out), OK);
    assert_true(span_is(buf_span(&out), "A  B\n"));
    buf_free(&out);
    sheet_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_they_need),
        cmocka_unit_test(only_a_head_is_a_sheet_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
