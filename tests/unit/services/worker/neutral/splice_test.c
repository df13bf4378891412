#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "services/worker/neutral/splice.h"

static const char *const secret_names[] = {"a", "b"};

struct edited {
    struct json_doc doc;
    struct splice splice;
    struct buf out;
};

static struct json begin(struct edited *e, const char *text)
{
    *e = (struct edited){0};
    assert_int_equal(json_parse(&e->doc, span_str(text), 64), OK);
    splice_init(&e->splice, span_str(text));
    return json_root(&e->doc);
}

static void expect(struct edited *e, const char *text)
{
    assert_int_equal(splice_write(&e->splice, &e->out), OK);
    buf_append_char(&e->out, 0);
    assert_string_equal(e->out.data, text);
    buf_free(&e->out);
    json_doc_free(&e->doc);
}

static void a_replaced_value_leaves_all_other_bytes(void **state)
{
    (void)state;
    struct edited e;
    struct json root = begin(&e, "{ \"x\" : 1.10 ,\t\"model\":\"a\", \"y\":[1e400 ] }\n");
    splice_replace(&e.splice, json_get(root, "model"), SPAN("\"b\""));
    expect(&e, "{ \"x\" : 1.10 ,\t\"model\":\"b\", \"y\":[1e400 ] }\n");
}

static void members_are_added_at_the_end(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"{}", "{\"a\":1,\"b\":2}"},
        {"{ }", "{ \"a\":1,\"b\":2}"},
        {"{\"z\":0}", "{\"z\":0,\"a\":1,\"b\":2}"},
        {"{\"z\":0 }", "{\"z\":0 ,\"a\":1,\"b\":2}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct edited e;
        struct json root = begin(&e, cases[i].before);
        splice_add(&e.splice, root, "a", SPAN("1"));
        splice_add(&e.splice, root, "b", SPAN("2"));
        expect(&e, cases[i].after);
    }
}

static void removed_members_take_one_comma_with_them(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"{\"a\":1}", "{}"},
        {"{\"a\":1,\"z\":0}", "{\"z\":0}"},
        {"{\"z\":0,\"a\":1}", "{\"z\":0}"},
        {"{\"z\":0, \"a\":1 , \"y\":2}", "{\"z\":0, \"y\":2}"},
        {"{\"a\":1,\"b\":2}", "{}"},
        {"{\"z\":0,\"a\":1,\"b\":{\"a\":1}}", "{\"z\":0}"},
        {"{\"a\":1,\"z\":0,\"b\":2}", "{\"z\":0}"},
        {"{\"a\":1,\"z\":0,\"a\":2,\"y\":1}", "{\"z\":0,\"y\":1}"},
        {"{\"\\u0061\":1,\"z\":{\"a\":1}}", "{\"z\":{\"a\":1}}"},
        {"{\"z\":0}", "{\"z\":0}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct edited e;
        struct json root = begin(&e, cases[i].before);
        splice_remove(&e.splice, root, secret_names, 2);
        expect(&e, cases[i].after);
    }
}

static void an_object_emptied_and_filled_again_has_no_stray_comma(void **state)
{
    (void)state;
    struct edited e;
    struct json root = begin(&e, "{\"a\":1,\"b\":2}");
    splice_remove(&e.splice, root, secret_names, 2);
    splice_add(&e.splice, root, "c", SPAN("3"));
    splice_add(&e.splice, root, "d", SPAN("4"));
    expect(&e, "{\"c\":3,\"d\":4}");
}

static void an_inner_object_grows_by_itself(void **state)
{
    (void)state;
    struct edited e;
    struct json root = begin(&e, "{\"o\":{\"x\":1},\"z\":0}");
    splice_add(&e.splice, root, "q", SPAN("9"));
    splice_add(&e.splice, json_get(root, "o"), "y", SPAN("2"));
    expect(&e, "{\"o\":{\"x\":1,\"y\":2},\"z\":0,\"q\":9}");
}

static void a_member_gets_another_name(void **state)
{
    (void)state;
    struct edited e;
    struct json root = begin(&e, "{\"old\" : {\"old\":1}}");
    splice_rename(&e.splice, root, "old", "new");
    expect(&e, "{\"new\" : {\"old\":1}}");
}

static void too_many_edits_are_an_error(void **state)
{
    (void)state;
    struct edited e;
    struct json root = begin(&e, "{}");
    for (int i = 0; i <= SPLICE_MAX_EDITS; i++)
        splice_add(&e.splice, root, "k", SPAN("1"));
    assert_int_equal(splice_write(&e.splice, &e.out), ERR_TOO_BIG);
    json_doc_free(&e.doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replaced_value_leaves_all_other_bytes),
        cmocka_unit_test(members_are_added_at_the_end),
        cmocka_unit_test(removed_members_take_one_comma_with_them),
        cmocka_unit_test(an_object_emptied_and_filled_again_has_no_stray_comma),
        cmocka_unit_test(an_inner_object_grows_by_itself),
        cmocka_unit_test(a_member_gets_another_name),
        cmocka_unit_test(too_many_edits_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
