/* The SSE reader and writer: docs/wire.md, Streams; hard cases H001 to H020. Every input is read
 * whole, byte by byte and cut in two at every offset; the events must be the same each time. */
#include "common/base/sse.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Events as text, one a line: name|data|id|d|raw with the line ends escaped. */
struct log {
    struct buf text;
    unsigned events;
    unsigned stop_at; /* return ERR_DENIED at this event; 0 = never */
};

static void put(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c < 0x20 || c == '|' || c == '\\')
            buf_printf(out, "\\%02x", c);
        else
            buf_append_char(out, (char)c);
    }
}

static enum err on_event(void *ctx, const struct sse_event *e)
{
    struct log *log = ctx;
    bool one_line = e->has_data && e->raw.len && span_find(e->data, '\n') == e->data.len;
    assert_int_equal(e->data_at != 0, one_line);
    if (one_line && e->data.len)
        assert_ptr_equal(e->data.data, e->raw.data + e->data_at);
    log->events++;
    put(&log->text, e->name);
    buf_append_char(&log->text, '|');
    put(&log->text, e->data);
    buf_append_char(&log->text, '|');
    put(&log->text, e->id);
    buf_append_str(&log->text, e->has_data ? "|d|" : "|-|");
    put(&log->text, e->raw);
    buf_append_char(&log->text, '\n');
    return log->stop_at && log->events == log->stop_at ? ERR_DENIED : OK;
}

/* Feeds text cut at `cut` (or into single bytes when cut is SIZE_MAX). */
static void read_all(struct span text, size_t cut, struct log *log)
{
    struct sse_reader r = {0};
    *log = (struct log){0};
    if (cut == SIZE_MAX) {
        for (size_t i = 0; i < text.len; i++) {
            /* a byte of its own, so that asan sees a read past it */
            char *one = malloc(1);
            assert_non_null(one);
            *one = text.data[i];
            assert_int_equal(sse_feed(&r, span_of(one, 1), on_event, log), OK);
            free(one);
        }
    } else {
        assert_int_equal(sse_feed(&r, span_first(text, cut), on_event, log), OK);
        assert_int_equal(sse_feed(&r, span_skip(text, cut), on_event, log), OK);
    }
    assert_int_equal(sse_finish(&r, on_event, log), OK);
    sse_reader_free(&r);
}

static void assert_same(const struct log *a, const struct log *b)
{
    assert_int_equal(a->text.len, b->text.len);
    if (a->text.len)
        assert_memory_equal(a->text.data, b->text.data, a->text.len);
}

/* All ways of cutting give the events of the whole; at most `step` apart for big texts. */
static void assert_borders_do_not_matter(struct span text, const struct log *whole)
{
    struct log other;
    read_all(text, SIZE_MAX, &other);
    assert_same(whole, &other);
    buf_free(&other.text);
    size_t step = text.len > 4000 ? text.len / 997 : 1;
    for (size_t cut = 0; cut <= text.len; cut += step) {
        read_all(text, cut, &other);
        assert_same(whole, &other);
        buf_free(&other.text);
    }
}

static void assert_events(struct span text, const char *expected)
{
    struct log log;
    read_all(text, text.len, &log);
    buf_append_char(&log.text, '\0');
    assert_string_equal(log.text.data, expected);
    log.text.len--;
    assert_borders_do_not_matter(text, &log);
    buf_free(&log.text);
}

struct sse_case {
    const char *name;
    struct span in;
    const char *out;
};

/* A span from a literal, NULs inside it too; good for static data, which SPAN is not. */
#define IN(literal)                                                                                \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }

static const struct sse_case cases[] = {
    {"H002 CRLF ends events",
     IN("event: ping\r\ndata: {\"type\":\"ping\"}\r\n\r\ndata: {\"a\":1}\r\n\r\n"),
     "ping|{\"type\":\"ping\"}||d|event: ping\\0d\\0adata: {\"type\":\"ping\"}\\0d\\0a\\0d\\0a\n"
     "|{\"a\":1}||d|data: {\"a\":1}\\0d\\0a\\0d\\0a\n"},
    {"H003 CRLF cut by the read border", IN("data: x\r\n\r\n"), "|x||d|data: x\\0d\\0a\\0d\\0a\n"},
    {"H004 lone CR ends lines", IN("data: a\rdata: b\r\r"),
     "|a\\0ab||d|data: a\\0ddata: b\\0d\\0d\n"},
    {"lone CR, then more", IN("data: a\r\rdata: b\r\r"),
     "|a||d|data: a\\0d\\0d\n|b||d|data: b\\0d\\0d\n"},
    {"H005 mixed line ends", IN("event: e\ndata: 1\r\ndata: 2\r\n\n"),
     "e|1\\0a2||d|event: e\\0adata: 1\\0d\\0adata: 2\\0d\\0a\\0a\n"},
    {"LF then CR are two ends", IN("data: 1\n\rdata: 2\n\n"),
     "|1||d|data: 1\\0a\\0d\n|2||d|data: 2\\0a\\0a\n"},
    {"H006 data lines are joined", IN("data: {\ndata: \"foo\":\ndata: \ndata:\ndata: true}\n\n"),
     "|{\\0a\"foo\":\\0a\\0a\\0atrue}||d|data: {\\0adata: \"foo\":\\0adata: \\0adata:\\0adata: "
     "true}\\0a\\0a\n"},
    {"H007 comments and unknown fields",
     IN(": OPENROUTER PROCESSING\n\nfoo: bar\ndata: {\"a\":1}\nretry: 10\nzzz\n\n"),
     "|{\"a\":1}||d|foo: bar\\0adata: {\"a\":1}\\0aretry: 10\\0azzz\\0a\\0a\n"},
    {"comment inside an event stays in its bytes", IN("data: 1\n: ka\ndata: 2\n\n"),
     "|1\\0a2||d|data: 1\\0a: ka\\0adata: 2\\0a\\0a\n"},
    {"H008 no space behind the colon", IN("data:{\"a\":1}\n\nevent:ping\ndata:{}\n\ndata:  x\n\n"),
     "|{\"a\":1}||d|data:{\"a\":1}\\0a\\0a\nping|{}||d|event:ping\\0adata:{}\\0a\\0a\n| x||d|data: "
     " x\\0a\\0a\n"},
    {"H009 one space is eaten, not more", IN("data:   hello\n\n"),
     "|  hello||d|data:   hello\\0a\\0a\n"},
    {"a tab is no space", IN("data:\thello\n\n"), "|\\09hello||d|data:\\09hello\\0a\\0a\n"},
    {"H010 padding behind the JSON is kept", IN("data: {\"type\":\"message_stop\"     }  \t \n\n"),
     "|{\"type\":\"message_stop\"     }  \\09 ||d|data: {\"type\":\"message_stop\"     }  \\09 "
     "\\0a\\0a\n"},
    {"H011 U+2028, U+0085, VT and FF are data",
     IN("data: a\xe2\x80\xa8"
        "b\xc2\x85"
        "c\x0b"
        "d\x0c\n\n"),
     "|a\xe2\x80\xa8"
     "b\xc2\x85"
     "c\\0bd\\0c||d|data: a\xe2\x80\xa8"
     "b\xc2\x85"
     "c\\0bd\\0c\\0a\\0a\n"},
    {"H012 a character over two reads", IN("data: {\"t\":\"\xf0\x9f\x98\x80\"}\n\n"),
     "|{\"t\":\"\xf0\x9f\x98\x80\"}||d|data: {\"t\":\"\xf0\x9f\x98\x80\"}\\0a\\0a\n"},
    {"H013 last event without any line end", IN("data: 1\n\ndata: {\"type\":\"message_stop\"}"),
     "|1||d|data: 1\\0a\\0a\n|{\"type\":\"message_stop\"}||d|\n"},
    {"H013 last event without its blank line", IN("event: e\ndata: 1\n"), "e|1||d|\n"},
    {"last event, CR waiting", IN("data: 1\r"), "|1||d|\n"},
    {"last event, blank line's CR waiting", IN("data: 1\r\r"), "|1||d|data: 1\\0d\\0d\n"},
    {"H014 BOM first",
     IN("\xef\xbb\xbf"
        "data: {\"a\":1}\n\n"),
     "|{\"a\":1}||d|data: {\"a\":1}\\0a\\0a\n"},
    {"only one BOM is eaten",
     IN("\xef\xbb\xbf\xef\xbb\xbf"
        "data: 1\n\ndata: 2\n\n"),
     "|2||d|data: 2\\0a\\0a\n"},
    {"BOM later is part of a field's name",
     IN("\n\xef\xbb\xbf"
        "data: 1\n\ndata: 2\n\n"),
     "|2||d|data: 2\\0a\\0a\n"},
    {"BOM, then blank",
     IN("\xef\xbb\xbf\n"
        "data: 2\n\n"),
     "|2||d|data: 2\\0a\\0a\n"},
    {"part of a BOM",
     IN("\xef\xbb"
        "data: 1\n\ndata: 2\n\n"),
     "|2||d|data: 2\\0a\\0a\n"},
    {"H015 event without data, name reset", IN("event: ping\n\ndata: {\"a\":1}\n\n"),
     "ping|||-|event: ping\\0a\\0a\n|{\"a\":1}||d|data: {\"a\":1}\\0a\\0a\n"},
    {"H016 empty data", IN("data:\n\n"), "|||d|data:\\0a\\0a\n"},
    {"data without a colon", IN("data\n\n"), "|||d|data\\0a\\0a\n"},
    {"H017 [DONE] with spaces and CRLF", IN("data:  [DONE] \r\n\r\n"),
     "| [DONE] ||d|data:  [DONE] \\0d\\0a\\0d\\0a\n"},
    {"H020 id with NUL is ignored", IN("id: a\0b\ndata: x\n\n"),
     "|x||d|id: a\\00b\\0adata: x\\0a\\0a\n"},
    {"H020 the last id stays", IN("id: 7\ndata: x\n\ndata: y\n\nid\ndata: z\n\n"),
     "|x|7|d|id: 7\\0adata: x\\0a\\0a\n|y|7|d|data: y\\0a\\0a\n|z||d|id\\0adata: z\\0a\\0a\n"},
    {"an id alone is no event", IN("id: 7\n\ndata: y\n\n"), "|y|7|d|data: y\\0a\\0a\n"},
    {"the last name counts, an empty one is none",
     IN("event: a\nevent: b\ndata: 1\n\nevent: a\nevent:\ndata: 2\n\n"),
     "b|1||d|event: a\\0aevent: b\\0adata: 1\\0a\\0a\n|2||d|event: a\\0aevent:\\0adata: "
     "2\\0a\\0a\n"},
    {"NUL is data", IN("data: a\0b\n\n"), "|a\\00b||d|data: a\\00b\\0a\\0a\n"},
    {"field names are exact", IN("Data: 1\n data: 2\ndata : 3\n\n"), ""},
    {"blank lines only", IN("\n\r\n\r\r\n\n"), ""},
    {"comments only", IN(": a\n\n:\n\n"), ""},
    {"nothing", IN(""), ""},
};

static void every_case_reads_the_same_whole_byte_by_byte_and_cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("  %s\n", cases[i].name);
        assert_events(cases[i].in, cases[i].out);
    }
}

static void a_cr_at_the_end_of_a_read_waits(void **state) /* H003 */
{
    (void)state;
    struct sse_reader r = {0};
    struct log log = {0};
    assert_int_equal(sse_feed(&r, SPAN("data: x\r"), on_event, &log), OK);
    assert_int_equal(log.events, 0);
    assert_int_equal(sse_feed(&r, SPAN("\n\r\n"), on_event, &log), OK);
    assert_int_equal(log.events, 1);
    buf_free(&log.text);
    sse_reader_free(&r);
}

static char *read_file(const char *path, size_t *len_out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    char *text = malloc(1 << 20);
    assert_non_null(text);
    *len_out = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

static void every_golden_stream_reads_the_same_however_it_is_cut(void **state) /* H001 */
{
    (void)state;
    unsigned files = 0;
    DIR *dir = opendir(SOURCE_DIR "/tests/fixtures/golden");
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));) {
        char path[1024];
        (void)snprintf(path, sizeof path, SOURCE_DIR "/tests/fixtures/golden/%s/in.sse", d->d_name);
        size_t len = 0;
        char *text = read_file(path, &len);
        if (!text)
            continue;
        struct log whole;
        read_all(span_of(text, len), len, &whole);
        assert_true(whole.events > 0);
        assert_borders_do_not_matter(span_of(text, len), &whole);
        buf_free(&whole.text);
        free(text);
        files++;
    }
    closedir(dir);
    assert_true(files > 15);
}

static void a_line_over_the_limit_ends_the_stream_in_bounded_memory(void **state) /* H019 */
{
    (void)state;
    static char block[64 << 10];
    memset(block, 'x', sizeof block);
    struct sse_reader r = {0};
    struct log log = {0};
    assert_int_equal(sse_feed(&r, SPAN("data: "), on_event, &log), OK);
    enum err e = OK;
    size_t fed = 0;
    while (!e && fed < (size_t)9 << 20) {
        e = sse_feed(&r, span_of(block, sizeof block), on_event, &log);
        fed += sizeof block;
        assert_true(r.pending.cap + r.data.cap + r.id.cap < (size_t)2 * SSE_MAX_LINE);
    }
    assert_int_equal(e, ERR_TOO_BIG);
    assert_true(fed > (size_t)SSE_MAX_LINE - sizeof block &&
                fed <= (size_t)SSE_MAX_LINE + sizeof block);
    assert_int_equal(sse_feed(&r, SPAN("\n\ndata: 1\n\n"), on_event, &log), ERR_TOO_BIG);
    assert_int_equal(sse_finish(&r, on_event, &log), ERR_TOO_BIG);
    assert_int_equal(log.events, 0);
    sse_reader_free(&r);
}

static enum err count_bytes(void *ctx, const struct sse_event *e)
{
    size_t *bytes = ctx;
    *bytes += e->data.len;
    return OK;
}

static void a_line_at_the_limit_is_fine(void **state)
{
    (void)state;
    size_t n = (size_t)SSE_MAX_LINE - 6;
    char *x = malloc(n);
    assert_non_null(x);
    memset(x, 'x', n);
    struct sse_reader r = {0};
    size_t bytes = 0;
    assert_int_equal(sse_feed(&r, SPAN("data: "), count_bytes, &bytes), OK);
    assert_int_equal(sse_feed(&r, span_of(x, n), count_bytes, &bytes), OK);
    assert_int_equal(sse_feed(&r, SPAN("\r\n\r\n"), count_bytes, &bytes), OK);
    assert_int_equal(bytes, n);
    sse_reader_free(&r);
    free(x);
}

static void an_event_of_many_lines_over_the_limit_ends_the_stream(void **state)
{
    (void)state;
    static char line[64 << 10];
    memset(line, 'x', sizeof line);
    memcpy(line, "data: ", 6);
    line[sizeof line - 1] = '\n';
    struct sse_reader r = {0};
    size_t bytes = 0, fed = 0;
    enum err e = OK;
    while (!e && fed < (size_t)20 << 20) {
        e = sse_feed(&r, span_of(line, sizeof line), count_bytes, &bytes);
        fed += sizeof line;
    }
    assert_int_equal(e, ERR_TOO_BIG);
    assert_true(fed <= (size_t)SSE_MAX_EVENT + 2 * sizeof line);
    assert_int_equal(bytes, 0);
    sse_reader_free(&r);
}

static void many_lone_crs_cost_no_second_scan(void **state)
{
    (void)state;
    size_t n = (size_t)4 << 20;
    char *x = malloc(n);
    assert_non_null(x);
    memset(x, '\r', n);
    struct sse_reader r = {0};
    size_t bytes = 0;
    assert_int_equal(sse_feed(&r, span_of(x, n), count_bytes, &bytes), OK);
    assert_int_equal(sse_finish(&r, count_bytes, &bytes), OK);
    sse_reader_free(&r);
    free(x);
}

static void the_callback_can_stop_the_reader_for_good(void **state)
{
    (void)state;
    struct sse_reader r = {0};
    struct log log = {.stop_at = 2};
    assert_int_equal(sse_feed(&r, SPAN("data: 1\n\ndata: 2\n\ndata: 3\n\n"), on_event, &log),
                     ERR_DENIED);
    assert_int_equal(log.events, 2);
    assert_int_equal(sse_feed(&r, SPAN("data: 4\n\n"), on_event, &log), ERR_DENIED);
    assert_int_equal(sse_finish(&r, on_event, &log), ERR_DENIED);
    assert_int_equal(log.events, 2);
    buf_free(&log.text);
    sse_reader_free(&r);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct buf out = {0};
    sse_write(&out, SPAN("message_stop"), SPAN("{\"type\":\"message_stop\"}"));
    sse_write(&out, SPAN_NONE, SPAN("[DONE]"));
    const char *expected =
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\ndata: [DONE]\n\n";
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.data, expected, out.len);
    struct log log;
    read_all(buf_span(&out), 10, &log);
    assert_int_equal(log.events, 2);
    buf_free(&log.text);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_reads_the_same_whole_byte_by_byte_and_cut_anywhere),
        cmocka_unit_test(a_cr_at_the_end_of_a_read_waits),
        cmocka_unit_test(every_golden_stream_reads_the_same_however_it_is_cut),
        cmocka_unit_test(a_line_over_the_limit_ends_the_stream_in_bounded_memory),
        cmocka_unit_test(a_line_at_the_limit_is_fine),
        cmocka_unit_test(an_event_of_many_lines_over_the_limit_ends_the_stream),
        cmocka_unit_test(many_lone_crs_cost_no_second_scan),
        cmocka_unit_test(the_callback_can_stop_the_reader_for_good),
        cmocka_unit_test(what_is_written_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
