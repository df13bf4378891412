#include "services/worker/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/runtime/catalog.h"

static void names_are_read_in_every_shape_that_servers_give_them(void **state)
{
    (void)state;
    static const struct {
        const char *body, *names; /* NULL: no list */
    } cases[] = {
        {"{\"object\":\"list\",\"data\":[{\"id\":\"a\"},{\"id\":\"b/c:d\",\"x\":1}]}",
         "a\nb/c:d\n"},
        {"{\"data\":[],\"has_more\":false}", ""},
        {"[{\"id\":\"a\"}]", "a\n"},
        {"{\"models\":[{\"id\":\"a\"}]}", "a\n"},
        {"{\"data\":[{\"id\":\"\"},{\"id\":7},{\"name\":\"b\"},3,{\"id\":\"a "
         "b\"},{\"id\":\"a\\nb\"},"
         "{\"id\":\"ok\"}]}",
         "ok\n"},
        {"{\"data\":{}}", NULL},
        {"{}", NULL},
        {"<html>", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = {0};
        enum err e = listing_read(span_str(cases[i].body), &out);
        if ((e == OK) != (cases[i].names != NULL) ||
            (e == OK && !span_is(buf_span(&out), cases[i].names)))
            fail_msg("%s: %d %.*s", cases[i].body, e, SPAN_ARG(buf_span(&out)));
        buf_free(&out);
    }
}

static void a_list_without_end_is_bounded(void **state)
{
    (void)state;
    struct buf body = {0}, out = {0};
    buf_append_char(&body, '[');
    for (unsigned i = 0; i < 20000; i++)
        buf_printf(&body, "%s{\"id\":\"model-%05u\"}", i ? "," : "", i);
    buf_append_char(&body, ']');
    assert_int_equal(listing_read(buf_span(&body), &out), OK);
    assert_true(out.len <= CATALOG_MAX_BYTES && out.len > CATALOG_MAX_BYTES - 20);
    assert_true(span_ends(buf_span(&out), "\n"));
    buf_free(&body);
    buf_free(&out);
}

static void a_catalog_keeps_what_each_told_last(void **state)
{
    (void)state;
    struct catalog c = {0};
    char name[16];
    assert_int_equal(catalog_put(&c, SPAN("a"), SPAN("x\n")), OK);
    assert_int_equal(catalog_put(&c, SPAN("b"), SPAN("y\n")), OK);
    assert_int_equal(catalog_put(&c, SPAN("a"), SPAN("z\n")), OK);
    assert_true(span_is(catalog_names(&c, "a"), "z\n") && span_is(catalog_names(&c, "b"), "y\n"));
    assert_int_equal(catalog_names(&c, "c").len, 0);
    assert_int_equal(catalog_put(&c, SPAN_NONE, SPAN("z\n")), ERR_TOO_BIG);
    for (unsigned i = 0; i < CATALOG_MAX_PROVIDERS - 2; i++) {
        (void)snprintf(name, sizeof name, "p%u", i);
        assert_int_equal(catalog_put(&c, span_str(name), SPAN("n\n")), OK);
    }
    assert_int_equal(catalog_put(&c, SPAN("more"), SPAN("n\n")), ERR_TOO_BIG);
    catalog_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_in_every_shape_that_servers_give_them),
        cmocka_unit_test(a_list_without_end_is_bounded),
        cmocka_unit_test(a_catalog_keeps_what_each_told_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
