#include "common/http/plain_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/common/http/test_corpus.h"

enum { MAX_HEAD = 32 << 10 };

static enum plain_verdict parse(struct span bytes, struct plain_head *head)
{
    size_t scanned = 0;
    return plain_parse(bytes, MAX_HEAD, &scanned, head);
}

static void a_head_is_taken_apart(void **state)
{
    (void)state;
    struct plain_head h;
    static const char text[] =
        "\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    assert_int_equal(parse(span_str(text), &h), PLAIN_SOUND);
    assert_true(span_is(h.method, "POST"));
    assert_true(span_is(h.target, "/a?b"));
    assert_true(span_is(h.fields, "Host: x\r\nContent-Length: 5\r\n"));
    assert_int_equal(h.bytes, strlen(text) - 5);
    assert_int_equal(h.framing.length, 5);
    assert_int_equal(h.framing.fields, 2);
    assert_true(framing_lives_on(&h.framing));
}

static void of_a_refused_head_only_what_is_sound_is_told(void **state)
{
    (void)state;
    struct plain_head h;
    assert_int_equal(parse(SPAN("GET /a HTTP/1.1\r\nHost: x\r\nX-A : b\r\nX-B: c\r\n\r\n"), &h),
                     PLAIN_FAULTY);
    assert_true(span_is(h.target, "/a"));
    assert_true(span_is(h.fields, "Host: x\r\n"));
    assert_int_equal(parse(SPAN("GET a HTTP/1.1\r\nHost: x\r\n\r\n"), &h), PLAIN_FAULTY);
    assert_int_equal(h.method.len + h.target.len + h.fields.len, 0);
    assert_non_null(h.framing.fault);
}

static void other_protocols_are_refused_by_their_first_byte(void **state)
{
    (void)state;
    struct plain_head h;
    assert_int_equal(parse(SPAN("\x16"), &h), PLAIN_FAULTY);
    assert_int_equal(parse(SPAN("{"), &h), PLAIN_FAULTY);
    assert_int_equal(parse(span_of("", 1), &h), PLAIN_FAULTY);
    assert_int_equal(parse(SPAN("\r"), &h), PLAIN_MORE);
    assert_int_equal(parse(SPAN_NONE, &h), PLAIN_MORE);
}

static void what_is_too_big_says_who_asked(void **state)
{
    (void)state;
    struct plain_head h;
    size_t scanned = 0;
    struct span text = SPAN("GET /a HTTP/1.1\r\nHost: x\r\nX: 12345678901234567890\r\n\r\n");
    assert_int_equal(plain_parse(text, text.len, &scanned, &h), PLAIN_SOUND);
    scanned = 0;
    assert_int_equal(plain_parse(text, text.len - 1, &scanned, &h), PLAIN_TOO_BIG);
    assert_true(span_is(h.target, "/a"));
    scanned = 0;
    assert_int_equal(plain_parse(span_first(text, 40), 39, &scanned, &h), PLAIN_TOO_BIG);
    assert_true(span_is(h.method, "GET"));
}

static void a_value_has_no_control_byte_anywhere(void **state)
{
    (void)state;
    char text[21];
    for (size_t len = 1; len < sizeof text; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                memset(text, at % 2 ? 'a' : '\xff', sizeof text);
                text[at] = (char)c;
                bool sound = (c >= 0x20 && c != 0x7f) || c == '\t';
                assert_int_equal(framing_is_field_value(span_of(text, len)), sound);
            }
        }
    }
}

static void a_token_is_of_the_standards_characters(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        const char text[] = {'a', (char)c};
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool sound = letter || (c && c < 128 && strchr("!#$%&'*+-.^_`|~", c));
        assert_int_equal(framing_is_token(span_of(text, 2)), sound);
    }
    assert_false(framing_is_token(SPAN_NONE));
}

static bool is_same(struct span a, struct span b)
{
    return a.data == b.data && a.len == b.len;
}

/* The first request of a form: its verdict stands for every longer piece, no shorter one is judged
 * otherwise, and looking on where the last look ended finds the same as looking at all of it. */
static void judge_piecewise(void *ctx, struct span bytes, enum corpus_end end)
{
    unsigned *forms = ctx;
    struct plain_head whole, head;
    const enum plain_verdict v = parse(bytes, &whole);
    size_t scanned = 0, step = bytes.len > 3000 ? 997 : 1;
    (*forms)++;
    assert_int_not_equal(v, PLAIN_MORE);
    if (end != CORPUS_REFUSED)
        assert_int_equal(v, PLAIN_SOUND);
    else if (v == PLAIN_SOUND) /* its body is at fault */
        assert_true(whole.framing.chunked);
    for (size_t n = 0; n <= bytes.len; n += step) {
        /* a piece of its own, so that reading past its end is seen */
        char *piece = malloc(n ? n : 1);
        memcpy(piece, bytes.data, n);
        enum plain_verdict now = plain_parse(span_of(piece, n), MAX_HEAD, &scanned, &head);
        free(piece);
        if (now == PLAIN_MORE)
            continue;
        assert_int_equal(now, v);
        assert_true(v != PLAIN_SOUND || head.bytes == whole.bytes);
        assert_true(v != PLAIN_SOUND || head.bytes == n || step > 1);
        break;
    }
    size_t again = 0;
    assert_int_equal(plain_parse(bytes, MAX_HEAD, &again, &head), v);
    assert_true(is_same(head.target, whole.target) && is_same(head.fields, whole.fields));
}

static void heads_are_judged_alike_whole_and_byte_by_byte(void **state)
{
    (void)state;
    unsigned forms = 0;
    corpus_each(judge_piecewise, &forms);
    assert_true(forms >= 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_taken_apart),
        cmocka_unit_test(of_a_refused_head_only_what_is_sound_is_told),
        cmocka_unit_test(other_protocols_are_refused_by_their_first_byte),
        cmocka_unit_test(what_is_too_big_says_who_asked),
        cmocka_unit_test(a_value_has_no_control_byte_anywhere),
        cmocka_unit_test(a_token_is_of_the_standards_characters),
        cmocka_unit_test(heads_are_judged_alike_whole_and_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
