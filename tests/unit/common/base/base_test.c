/* span, buf, arena, clock, crypto, log: the small things everything stands on. */
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/json.h"
#include "common/base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void spans_are_cut_trimmed_and_found(void **state)
{
    (void)state;
    struct span rest = SPAN("a,b,,c");
    assert_true(span_is(span_cut(&rest, ','), "a"));
    assert_true(span_is(span_cut(&rest, ','), "b"));
    assert_int_equal(span_cut(&rest, ',').len, 0);
    assert_true(span_is(span_cut(&rest, ','), "c"));
    assert_int_equal(rest.len, 0);
    assert_true(span_is(span_trim(SPAN(" \t x y\r\n")), "x y"));
    assert_int_equal(span_trim(SPAN(" \n")).len, 0);
    assert_int_equal(span_find(SPAN("abc"), 'd'), 3);
    assert_int_equal(span_find_span(SPAN("hello"), SPAN("llo")), 2);
    assert_true(span_is_nocase(SPAN("Content-TYPE"), "content-type"));
    assert_true(span_starts(SPAN("abc"), "ab") && !span_starts(SPAN("a"), "ab"));
    assert_true(span_ends(SPAN("abc"), "bc") && !span_ends(SPAN("c"), "bc"));
    assert_int_equal(span_skip(SPAN("abc"), 5).len, 0);
}

static void numbers_are_read_without_overflow(void **state)
{
    (void)state;
    uint64_t v;
    assert_true(span_to_u64(SPAN("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "000000000000000000000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(span_to_u64(span_str(bad[i]), &v));
}

static void a_buffer_stops_at_its_bound_and_says_so(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_append_str(&b, "12345");
    assert_int_equal(buf_check(&b), OK);
    buf_append_str(&b, "678901");
    assert_int_equal(buf_check(&b), ERR_TOO_BIG);
    assert_int_equal(b.len, 5);
    buf_append_char(&b, 'x'); /* sticky: nothing after a gap */
    assert_int_equal(b.len, 5);
    buf_clear(&b);
    buf_append_str(&b, "1234567890");
    assert_int_equal(buf_check(&b), OK);
    buf_consume(&b, 4);
    assert_true(span_is(buf_span(&b), "567890"));
    buf_consume(&b, 100);
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void a_buffer_formats(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_u64(&b, 0);
    buf_append_char(&b, ' ');
    buf_append_u64(&b, UINT64_MAX);
    buf_append_char(&b, ' ');
    buf_append_i64(&b, INT64_MIN);
    buf_printf(&b, " %s-%d", "x", 7);
    assert_true(span_is(buf_span(&b), "0 18446744073709551615 -9223372036854775808 x-7"));
    buf_free(&b);
}

static void an_arena_gives_zeroed_aligned_memory_up_to_its_bound(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100000);
    for (size_t n = 0; n < 200; n++) {
        char *at = arena_alloc(&a, n);
        assert_non_null(at);
        assert_int_equal((uintptr_t)at % 16, 0);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(at[i], 0);
            at[i] = 'x';
        }
    }
    assert_null(arena_alloc(&a, 100000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_alloc(&a, 50000));
    arena_reset(&a);
    assert_int_equal(a.used_bytes, 0);
    assert_true(span_is(arena_copy(&a, SPAN("copy")), "copy"));
    assert_string_equal(arena_strdup(&a, SPAN("dup")), "dup");
    assert_true(span_is(arena_printf(&a, "%d/%s", 5, "x"), "5/x"));
    arena_free(&a);
}

static void a_fake_clock_moves_when_told(void **state)
{
    (void)state;
    struct clock_fake f;
    clock_fake_init(&f, 5000, 70);
    assert_int_equal(clock_mono_us(&f.clock), 5000);
    clock_fake_advance_ms(&f, 3);
    assert_int_equal(clock_mono_ms(&f.clock), 8);
    assert_int_equal(clock_wall_ms(&f.clock), 73);
    assert_true(clock_mono_us(&clock_real) > 0 && clock_wall_ms(&clock_real) > 0);
}

static void digests_match_published_vectors(void **state)
{
    (void)state;
    uint8_t digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    crypto_sha256(SPAN("abc"), digest);
    crypto_hex(digest, sizeof digest, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    /* RFC 4231, case 2 */
    crypto_hmac_sha256(SPAN("Jefe"), SPAN("what do ya want for nothing?"), digest);
    crypto_hex(digest, sizeof digest, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    /* RFC 4231, case 6 */
    uint8_t key[131];
    memset(key, 0xaa, sizeof key);
    crypto_hmac_sha256(span_of((const char *)key, sizeof key),
                       SPAN("Test Using Larger Than Block-Size Key - Hash Key First"), digest);
    crypto_hex(digest, sizeof digest, hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_true(crypto_equals("ab", "ab", 2) && !crypto_equals("ab", "ac", 2));
}

/* What the log wrote since the pipe was set. */
static size_t logged(int fds[2], char *out, size_t size)
{
    log_set_fd(2);
    (void)close(fds[1]);
    ssize_t n = read(fds[0], out, size - 1);
    (void)close(fds[0]);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static void log_lines_are_key_value_or_json_and_cannot_be_forged(void **state)
{
    (void)state;
    char line[2048];
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    log_setup(LEVEL_INFO, LINES_TEXT, "tollgate-x", "x-1");
    log_set_fd(fds[1]);
    log_info("hello", LSTR("a", "plain"), LSTR("b", "two words\nlevel=error"), LU64("n", 7),
             LI64("m", -7), LHEX("h", "\x01\xff", 2));
    log_debug("hidden", LSTR("a", "b"));
    assert_true(logged(fds, line, sizeof line) > 0);
    assert_non_null(strstr(line, "level=info event=hello daemon=tollgate-x name=x-1 a=plain "
                                 "b=\"two words\\nlevel=error\" n=7 m=-7 h=01ff\n"));
    assert_null(strstr(line, "hidden"));

    assert_int_equal(pipe(fds), 0);
    log_setup(LEVEL_INFO, LINES_JSON, "tollgate-x", "x-1");
    log_set_fd(fds[1]);
    log_warn("hello", LSTR("quote", "\"\xff"), LU64("n", 7));
    size_t n = logged(fds, line, sizeof line);
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, span_of(line, n), 4), OK);
    assert_true(json_is(json_get(json_root(&doc), "event"), "hello"));
    assert_true(json_is(json_get(json_root(&doc), "level"), "warn"));
    assert_true(span_is(json_raw(json_get(json_root(&doc), "n")), "7"));
    json_doc_free(&doc);
}

static bool next_line_has(struct span *rest, const char *text)
{
    struct span line = span_cut(rest, '\n');
    return span_find_span(line, span_str(text)) < line.len;
}

static void lines_that_may_wait_leave_together_whole_and_in_order(void **state)
{
    (void)state;
    enum { LINES = 100 };
    static char out[64 << 10];
    int fds[2];
    size_t n = 0, reads = 0;
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_DIRECT), 0); /* a read gets what one write wrote */
    log_setup(LEVEL_INFO, LINES_TEXT, "tollgate-x", "x-1");
    log_set_fd(fds[1]);
    for (uint64_t i = 0; i < LINES; i++) {
        log_info_soon("request", LU64("n", i), LSTR("path", "/v1/chat/completions"));
        if (i == LINES / 2)
            log_warn("between", LU64("n", i));
    }
    log_flush();
    log_flush(); /* nothing is left */
    for (ssize_t got; (got = read(fds[0], out + n, PIPE_BUF)) > 0; reads++) {
        n += (size_t)got;
        assert_int_equal(out[n - 1], '\n');
    }
    log_set_fd(2);
    (void)close(fds[0]);
    (void)close(fds[1]);
    assert_true(reads > 2 && reads < 10);
    struct span rest = span_of(out, n);
    for (uint64_t i = 0; i < LINES; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, " event=request daemon=tollgate-x name=x-1 n=%u ",
                       (unsigned)i);
        assert_true(next_line_has(&rest, text));
        if (i == LINES / 2)
            assert_true(next_line_has(&rest, " event=between "));
    }
    assert_int_equal(rest.len, 0);
}

static void every_error_has_a_name(void **state)
{
    (void)state;
    for (int e = 0; e < ERR_COUNT; e++)
        assert_string_not_equal(err_name((enum err)e), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_cut_trimmed_and_found),
        cmocka_unit_test(numbers_are_read_without_overflow),
        cmocka_unit_test(a_buffer_stops_at_its_bound_and_says_so),
        cmocka_unit_test(a_buffer_formats),
        cmocka_unit_test(an_arena_gives_zeroed_aligned_memory_up_to_its_bound),
        cmocka_unit_test(a_fake_clock_moves_when_told),
        cmocka_unit_test(digests_match_published_vectors),
        cmocka_unit_test(log_lines_are_key_value_or_json_and_cannot_be_forged),
        cmocka_unit_test(lines_that_may_wait_leave_together_whole_and_in_order),
        cmocka_unit_test(every_error_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
