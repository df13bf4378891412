#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "services/worker/neutral/args_scan.h"
#include "services/worker/api/data_url.h"
#include "services/worker/api/rope.h"
#include "services/worker/neutral/api_ops.h"

static void only_translated_apis_have_a_reader_and_a_writer(void **state)
{
    (void)state;
    assert_ptr_equal(api_find(API_OPENAI_CHAT), &api_openai_chat);
    assert_ptr_equal(api_find(API_OPENAI_COMPLETIONS), &api_openai_completions);
    assert_ptr_equal(api_find(API_ANTHROPIC_MESSAGES), &api_anthropic_messages);
    assert_ptr_equal(api_find(API_OPENAI_RESPONSES), &api_openai_responses);
    assert_null(api_find(API_OPENAI_EMBEDDINGS));
    assert_null(api_find(API_ANTHROPIC_COUNT_TOKENS));
    assert_null(api_find(API_COUNT));
    assert_null(api_find((enum api)0));
}

static void a_rope_holds_what_was_put_in(void **state)
{
    (void)state;
    struct arena arena;
    struct rope rope = {0};
    struct buf out = {0};
    arena_init(&arena, 0);
    assert_true(span_equals(rope_join(&rope, &arena), SPAN("")));
    for (unsigned i = 0; i < 3000; i++)
        rope_append(&rope, &arena, span_of("abcdefghij", i % 11));
    rope_write(&rope, &out);
    assert_int_equal(out.len, rope.len);
    assert_true(span_equals(rope_join(&rope, &arena), buf_span(&out)));
    rope_reset(&rope);
    rope_append(&rope, &arena, SPAN("x"));
    assert_true(span_equals(rope_join(&rope, &arena), SPAN("x")));
    buf_free(&out);
    arena_free(&arena);
}

static void a_rope_past_the_arenas_bound_says_so(void **state)
{
    (void)state;
    struct arena arena;
    struct rope rope = {0};
    struct buf out = {0};
    arena_init(&arena, 2048);
    for (unsigned i = 0; i < 1000; i++)
        rope_append(&rope, &arena, SPAN("0123456789"));
    assert_true(rope.failed);
    assert_null(rope_join(&rope, &arena).data);
    rope_write(&rope, &out);
    assert_int_equal(buf_check(&out), ERR_TOO_BIG);
    buf_free(&out);
    arena_free(&arena);
}

/* However the pieces are cut (between escapes), the end is found at the same byte. */
static void arguments_are_complete_at_the_same_place_however_they_are_cut(void **state)
{
    (void)state;
    static const char *const pieces[] = {"{",    "\\\"",    "a",    "\\\"", ":",    "[",
                                         "{",    "\\u007d", "]",    ",",    "\\\"", "\\\\",
                                         "\\\"", "}",       "\\\"", ":",    "1",    "}"};
    size_t n = sizeof pieces / sizeof pieces[0];
    struct args_scan whole = {0}, one_by_one = {0};
    struct buf text = {0};
    for (size_t i = 0; i < n; i++) {
        assert_false(one_by_one.complete);
        args_scan_feed(&one_by_one, span_str(pieces[i]));
        buf_append_str(&text, pieces[i]);
    }
    args_scan_feed(&whole, buf_span(&text));
    for (size_t i = 0; i < text.len; i++) { /* truncated anywhere: never read past the end */
        struct args_scan cut = {0};
        args_scan_feed(&cut, span_first(buf_span(&text), i));
        assert_false(cut.complete);
    }
    assert_true(whole.complete);
    assert_true(one_by_one.complete);
    assert_true(args_is_blank(SPAN(" \\n\\t\\u0020")));
    assert_true(args_is_blank(SPAN("\\r")));
    assert_false(args_is_blank(SPAN(" \\u0041")));
    assert_false(args_is_blank(SPAN("\\ud83d")));
    assert_false(args_is_blank(SPAN("\\q"))); /* no JSON escape: never comes from a parsed string */
    struct args_scan stray = {0};
    args_scan_feed(&stray, SPAN("]}"));
    assert_false(stray.complete);
    args_scan_feed(&stray, SPAN("{\\u00C4}{"));
    assert_true(stray.complete);
    buf_free(&text);
}

static void check_url(const char *url, enum err expect, const char *media_type, const char *base64)
{
    struct arena arena;
    struct data_url parsed = {0};
    arena_init(&arena, 0);
    assert_int_equal(data_url_parse(span_str(url), &arena, &parsed), expect);
    if (expect == OK) {
        assert_true(span_is(parsed.media_type, media_type));
        assert_true(span_is(parsed.base64, base64));
    }
    arena_free(&arena);
}

static void data_urls_are_read_as_rfc_2397_says(void **state)
{
    (void)state;
    check_url("data:image/png;base64,AAAA", OK, "image/png", "AAAA");
    check_url("dAtA:IMAGE/JPG ; charset=x ;BASE64,AA==", OK, "image/jpeg", "AA==");
    check_url("data:,a", OK, "text/plain", "YQ==");
    check_url("data:;base64,YQ", OK, "text/plain", "YQ");
    check_url("data:a/b,%00%ff%", OK, "a/b", "AP8l");
    check_url("data:a/b;base64,%2B%2b%zz", ERR_INVALID, NULL, NULL);
    check_url("data:a/b,%2G%", OK, "a/b", "JTJHJQ==");
    check_url("data:a/b;base64,+-\r_/", OK, "a/b", "+-_/");
    check_url("data:a/b,", OK, "a/b", "");
    check_url("data:a/b;base64,A%41A=", OK, "a/b", "AAA=");
    check_url("data:a/b;base64,A\n A\tA=", OK, "a/b", "AAA=");
    check_url("data:a/b;base64,A*", ERR_INVALID, NULL, NULL);
    check_url("data:a/b;base64", ERR_INVALID, NULL, NULL);
    check_url("data:", ERR_INVALID, NULL, NULL);
    check_url("data", ERR_NOT_FOUND, NULL, NULL);
    check_url("", ERR_NOT_FOUND, NULL, NULL);
    check_url("https://x/,", ERR_NOT_FOUND, NULL, NULL);
}

static void base64_decodes_with_or_without_padding(void **state)
{
    (void)state;
    struct arena arena;
    struct span out;
    arena_init(&arena, 0);
    assert_int_equal(data_url_decode_base64(SPAN("YWI="), &arena, &out), OK);
    assert_true(span_is(out, "ab"));
    assert_int_equal(data_url_decode_base64(SPAN("YWI"), &arena, &out), OK);
    assert_true(span_is(out, "ab"));
    assert_int_equal(data_url_decode_base64(SPAN("-_8"), &arena, &out), OK);
    assert_true(span_is(out, "\xfb\xff"));
    assert_int_equal(data_url_decode_base64(SPAN("Y!"), &arena, &out), ERR_INVALID);
    assert_int_equal(data_url_decode_base64(SPAN(""), &arena, &out), OK);
    assert_int_equal(out.len, 0);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_translated_apis_have_a_reader_and_a_writer),
        cmocka_unit_test(a_rope_holds_what_was_put_in),
        cmocka_unit_test(a_rope_past_the_arenas_bound_says_so),
        cmocka_unit_test(arguments_are_complete_at_the_same_place_however_they_are_cut),
        cmocka_unit_test(data_urls_are_read_as_rfc_2397_says),
        cmocka_unit_test(base64_decodes_with_or_without_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
