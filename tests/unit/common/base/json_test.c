#include "common/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#ifdef HAVE_YYJSON
#include <yyjson.h>
#endif

struct verdict {
    const char *text;
    bool valid;
};

static const struct verdict verdicts[] = {
    {"{}", true},
    {"[]", true},
    {" [ ] ", true},
    {"{\"a\":1,\"a\":2}", true},
    {"\"x\"", true},
    {"0", true},
    {"-0", true},
    {"1e-7", true},
    {"1E400", true},
    {"12345678901234567890", true},
    {"5.50", true},
    {"\"\\u0000\"", true},
    {"\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"", true},
    {"\"\xe2\x80\xa8\"", true},
    {"[1,[2,{\"a\":[]}]]", true},
    {"[true,false,null]", true},
    {"", false},
    {" ", false},
    {"{", false},
    {"[1,]", false},
    {"[,1]", false},
    {"{\"a\"}", false},
    {"{\"a\":}", false},
    {"{\"a\":1,}", false},
    {"{,}", false},
    {"{a:1}", false},
    {"{'a':1}", false},
    {"01", false},
    {"+1", false},
    {"1.", false},
    {".5", false},
    {"1e", false},
    {"-", false},
    {"NaN", false},
    {"tru", false},
    {"truex", false},
    {"\"\\x\"", false},
    {"\"\\u12g4\"", false},
    {"\"\\u12\"", false},
    {"\"a\nb\"", false},
    {"\"\xff\"", false},
    {"\"\xc0\x80\"", false},
    {"\"\xed\xa0\x80\"", false},
    {"\"\xf4\x90\x80\x80\"", false},
    {"\"open", false},
    {"\"open\\", false},
    {"{} {}", false},
    {"{\"model\":\"m\"} xyz", false},
    {"[1 2]", false},
    {"]", false},
    {"[}", false},
    {"\xef\xbb\xbf{}", false},
    {"// no\n1", false},
};

static enum err parse(struct json_doc *doc, const char *text)
{
    return json_parse(doc, span_str(text), JSON_DEPTH_CLIENT);
}

static void valid_and_invalid_texts_are_told_apart(void **state)
{
    (void)state;
    struct json_doc doc = {0};
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        enum err e = parse(&doc, verdicts[i].text);
        if ((e == OK) != verdicts[i].valid)
            fail_msg("%s: %s", verdicts[i].text, doc.error ? doc.error : "accepted");
        assert_true(e == OK || doc.error);
    }
    json_doc_free(&doc);
}

#ifdef HAVE_YYJSON
static bool yyjson_accepts(const char *text, size_t len)
{
    yyjson_doc *doc = yyjson_read(text, len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_doc_free(doc);
    return doc != NULL;
}

/* Every one-byte change of a rich text: both parsers agree (surrogates aside, which yyjson refuses
 * alone). */
static void one_byte_changes_are_judged_as_yyjson_judges_them(void **state)
{
    (void)state;
    static const char rich[] = "{\"a\":[1,-2.5e+3,true,false,null,\"x\\n\\u00e9\xc3\xa9\"],\"b\":{"
                               "\"c\":{}, \"d\" : [ ] },\"e\":\"\xf0\x9f\x98\x80\"}";
    struct json_doc doc = {0};
    char text[sizeof rich];
    unsigned invalid = 0;
    for (size_t i = 0; i + 1 < sizeof rich; i++) {
        for (unsigned c = 0; c < 256; c++) {
            memcpy(text, rich, sizeof rich);
            text[i] = (char)c;
            bool ours = json_parse(&doc, span_of(text, sizeof rich - 1), 128) == OK;
            bool theirs = yyjson_accepts(text, sizeof rich - 1);
            if (ours != theirs && !strstr(text, "\\ud") && !strstr(text, "\\uD"))
                fail_msg("byte %zu = %u: ours %d, yyjson %d: %s", i, c, ours, theirs, text);
            invalid += !ours;
        }
    }
    assert_true(invalid > 1000);
    json_doc_free(&doc);
}
#endif

static void every_truncation_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,2,{\"b\":\"c\\u0041\"}],\"d\":true}";
    struct json_doc doc = {0};
    for (size_t n = 0; n + 1 < sizeof text; n++) {
        char *exact = malloc(n ? n : 1); /* so that asan sees a read behind the end */
        memcpy(exact, text, n);
        assert_int_not_equal(json_parse(&doc, span_of(exact, n), 128), OK);
        free(exact);
    }
    json_doc_free(&doc);
}

static void nesting_is_bounded_without_recursion(void **state)
{
    (void)state;
    struct json_doc doc = {0};
    size_t n = 200000;
    char *bomb = malloc(n);
    memset(bomb, '[', n);
    assert_int_equal(json_parse(&doc, span_of(bomb, n), 128), ERR_TOO_BIG);
    memset(bomb + 100, ']', 100);
    assert_int_equal(json_parse(&doc, span_of(bomb, 200), 128), OK);
    assert_int_equal(json_parse(&doc, span_of(bomb, 200), 99), ERR_TOO_BIG);
    free(bomb);
    json_doc_free(&doc);
}

/* "[1,1,…]": an array of so many. */
static char *ones(size_t count)
{
    char *text = malloc(2 * count + 2);
    assert_non_null(text);
    text[0] = '[';
    for (size_t i = 0; i < count; i++) {
        text[1 + 2 * i] = '1';
        text[2 + 2 * i] = ',';
    }
    memcpy(text + 2 * count, "]", 2);
    return text;
}

static void values_are_bounded(void **state)
{
    (void)state;
    static const struct {
        uint32_t most;
        size_t count;
        enum err expected;
    } cases[] = {{100, 99, OK},
                 {100, 100, ERR_TOO_BIG},
                 {0, JSON_MAX_VALUES - 1, OK},
                 {0, JSON_MAX_VALUES, ERR_TOO_BIG}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_doc doc = {.most = cases[i].most};
        char *text = ones(cases[i].count);
        assert_int_equal(json_parse(&doc, span_str(text), JSON_DEPTH_CLIENT), cases[i].expected);
        if (cases[i].expected) {
            assert_string_equal(doc.error, "too many values");
            assert_int_equal(doc.count, 0);
        }
        assert_int_equal(json_parse(&doc, SPAN("{\"a\":[1]}"), JSON_DEPTH_CLIENT), OK);
        json_doc_free(&doc);
        free(text);
    }
}

static void members_are_found_by_unescaped_name_and_the_last_one_wins(void **state)
{
    (void)state;
    struct json_doc doc = {0};
    assert_int_equal(parse(&doc, "{\"model\":\"a\",\"mod\\u0065l\":\"b\",\"x\":{\"model\":1}}"),
                     OK);
    struct json root = json_root(&doc);
    assert_true(json_is(json_get(root, "model"), "b"));
    assert_int_equal(json_count_named(root, "model"), 2);
    assert_int_equal(json_count_named(root, "x"), 1);
    assert_int_equal(json_type(json_get(root, "nothing")), JSON_NONE);
    assert_int_equal(json_type(json_get(json_get(root, "model"), "deeper")), JSON_NONE);
    json_doc_free(&doc);
}

static void raw_bytes_and_offsets_allow_splicing(void **state)
{
    (void)state;
    static const char text[] = "{ \"n\" : 5.50 , \"s\":\"a\\/b\", \"l\":[1, 2] }";
    struct json_doc doc = {0};
    assert_int_equal(parse(&doc, text), OK);
    struct json n = json_get(json_root(&doc), "n");
    assert_true(span_is(json_raw(n), "5.50"));
    assert_ptr_equal(text + json_offset(n), json_raw(n).data);
    assert_true(span_is(json_text(json_get(json_root(&doc), "s")), "a\\/b"));
    assert_true(span_is(json_raw(json_get(json_root(&doc), "l")), "[1, 2]"));
    assert_int_equal(json_count(json_get(json_root(&doc), "l")), 2);
    assert_true(span_is(json_raw(json_at(json_get(json_root(&doc), "l"), 1)), "2"));
    assert_int_equal(json_type(json_at(json_get(json_root(&doc), "l"), 2)), JSON_NONE);
    json_doc_free(&doc);
}

static void strings_decode(void **state)
{
    (void)state;
    static const struct {
        const char *json, *bytes;
        size_t len;
    } cases[] = {
        {"\"plain\"", "plain", 5},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
        {"\"x\\ud800y\"", "x\xef\xbf\xbdy", 5},
        {"\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd", 6},
        {"\"\\ud83d\\u0041\"",
         "\xef\xbf\xbd"
         "A",
         4},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"caf\\u00e9\"", "caf\xc3\xa9", 5},
    };
    struct json_doc doc = {0};
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(&doc, cases[i].json), OK);
        struct span got = json_string(json_root(&doc), &arena);
        assert_int_equal(got.len, cases[i].len);
        assert_memory_equal(got.data, cases[i].bytes, cases[i].len);
    }
    arena_free(&arena);
    json_doc_free(&doc);
}

static void integers_accept_whole_floats_and_refuse_the_rest(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool good;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-5", true, -5},
        {"1.0", true, 1},
        {"1e2", true, 100},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"1.5", false, 0},
        {"1e300", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
    };
    struct json_doc doc = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t v = 0;
        assert_int_equal(parse(&doc, cases[i].json), OK);
        if (json_i64(json_root(&doc), &v) != cases[i].good ||
            (cases[i].good && v != cases[i].value))
            fail_msg("%s gave %lld", cases[i].json, (long long)v);
    }
    json_doc_free(&doc);
}

static void the_writer_puts_commas_and_escapes(void **state)
{
    (void)state;
    struct buf out = {0};
    struct json_writer w = {.out = &out};
    jw_object(&w);
    jw_key(&w, "a");
    jw_array(&w);
    jw_u64(&w, 1);
    jw_i64(&w, -2);
    jw_double(&w, 0.1);
    jw_bool(&w, true);
    jw_null(&w);
    jw_object(&w);
    jw_object_end(&w);
    jw_array_end(&w);
    jw_key(&w, "b");
    jw_string(&w, span_of("\"\\\n\x01\xff\xc3\xa9", 7));
    jw_key(&w, "c");
    jw_string_begin(&w);
    jw_string_part(&w, SPAN("x\t"));
    jw_string_text(&w, SPAN("\\u0041"));
    jw_string_end(&w);
    jw_key(&w, "d");
    jw_raw(&w, SPAN("1.10"));
    jw_object_end(&w);
    assert_int_equal(buf_check(&out), OK);
    static const char expected[] =
        "{\"a\":[1,-2,0.1,true,null,{}],\"b\":\"\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc3\xa9\","
        "\"c\":\"x\\t\\u0041\",\"d\":1.10}";
    assert_int_equal(out.len, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.len);
    buf_free(&out);
}

static void compact_removes_white_space_outside_strings_only(void **state)
{
    (void)state;
    struct json_doc doc = {0};
    struct buf out = {0};
    assert_int_equal(parse(&doc, " { \"a b\" : [ 1 , \" x \\\" \" ] } "), OK);
    json_append_compact(&out, json_root(&doc));
    assert_true(span_is(buf_span(&out), "{\"a b\":[1,\" x \\\" \"]}"));
    buf_free(&out);
    json_doc_free(&doc);
}

static void invalid_utf8_is_repaired_byte_by_byte(void **state)
{
    (void)state;
    struct buf out = {0};
    utf8_repair(&out, span_of("a\xff\xc3\xa9\xe2\x80", 6));
    assert_true(span_is(buf_span(&out), "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd"));
    assert_true(utf8_valid(buf_span(&out)));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_and_invalid_texts_are_told_apart),
#ifdef HAVE_YYJSON
        cmocka_unit_test(one_byte_changes_are_judged_as_yyjson_judges_them),
#endif
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(nesting_is_bounded_without_recursion),
        cmocka_unit_test(values_are_bounded),
        cmocka_unit_test(members_are_found_by_unescaped_name_and_the_last_one_wins),
        cmocka_unit_test(raw_bytes_and_offsets_allow_splicing),
        cmocka_unit_test(strings_decode),
        cmocka_unit_test(integers_accept_whole_floats_and_refuse_the_rest),
        cmocka_unit_test(the_writer_puts_commas_and_escapes),
        cmocka_unit_test(compact_removes_white_space_outside_strings_only),
        cmocka_unit_test(invalid_utf8_is_repaired_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
