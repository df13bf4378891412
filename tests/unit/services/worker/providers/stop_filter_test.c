/* Stop sequences enforced by the gateway (H047, H115). */
#include "services/worker/providers/stop_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct log {
    struct buf text; /* of all TEXT events */
    struct buf order;
    unsigned texts;
};

static void on_event(void *ctx, const struct neutral_event *e)
{
    struct log *log = ctx;
    if (e->kind == EVENT_TEXT) {
        assert_true(e->text.len > 0);
        buf_append(&log->text, e->text);
        log->texts++;
        buf_append_char(&log->order, 't');
    } else if (e->kind == EVENT_STOP) {
        buf_append_char(&log->order, e->stop == STOP_SEQUENCE ? 'S' : 's');
        buf_append(&log->order, e->stop_sequence_text);
    } else if (e->kind == EVENT_USAGE) {
        buf_printf(&log->order, "u%llu", (unsigned long long)e->usage.input);
    } else {
        buf_append_char(&log->order, e->kind == EVENT_END     ? 'E'
                                     : e->kind == EVENT_START ? 'B'
                                                              : 'o');
    }
}

struct filter_case {
    const char *name;
    const char *stops[3];
    const char *text; /* json text */
    const char *out;  /* what gets through */
    bool stopped;
};

static const struct filter_case cases[] = {
    {"a newline", {"\\n"}, "one\\ntwo", "one", true},
    {"nothing to stop", {"\\n"}, "one two", "one two", false},
    {"at the beginning", {"\\n"}, "\\nx", "", true},
    {"the first of two", {"bb", "a"}, "xxabb", "xx", true},
    {"the earlier wins", {"cd", "bcx"}, "abcdx", "ab", true},
    {"a long one over pieces",
     {"STOP HERE"},
     "go on STOP THERE STOP HERE and on",
     "go on STOP THERE ",
     true},
    {"a beginning that comes to nothing", {"ENDING"}, "the END", "the END", false},
    {"overlapping beginnings", {"aab"}, "aaab", "a", true},
    {"an escape in the text, none in the stop", {"\xc3\xa9"}, "caf\\u00e9 x", "caf", true},
    {"an escape in the stop, none in the text", {"\\u00e9"}, "caf\xc3\xa9 x", "caf", true},
    {"a pair of escapes", {"\xf0\x9f\x98\x80"}, "a\\ud83d\\ude00b", "a", true},
    {"an escaped backslash is not a newline", {"\\n"}, "a\\\\nb", "a\\\\nb", false},
    {"a lone surrogate passes", {"\\n"}, "a\\ud83dx", "a\\ud83dx", false},
    {"a quote", {"\\\""}, "say \\\"x", "say ", true},
    {"a later one that comes behind", {"a", "bb"}, "xabb", "x", true},
    {"half a pair and plain letters", {"END"}, "a\\ud83dbcdefgh", "a\\ud83dbcdefgh", false},
    {"half a pair and another escape", {"END"}, "a\\ud83d\\nbcdef", "a\\ud83d\\nbcdef", false},
    {"half a pair and no other half", {"END"}, "a\\ud83d\\u0041b", "a\\ud83d\\u0041b", false},
    {"a pair at the end", {"END"}, "a\\ud83d\\ude00", "a\\ud83d\\ude00", false},
    {"an empty stop is none", {""}, "abc", "abc", false},
};

static struct stop_filter make(struct arena *arena, const struct filter_case *c)
{
    struct stop_filter f;
    assert_int_equal(stop_filter_init(&f, arena, 3), OK);
    for (size_t i = 0; i < 3 && c->stops[i]; i++)
        assert_int_equal(stop_filter_add(&f, span_str(c->stops[i])), OK);
    return f;
}

/* Pieces of json text never cut an escape. */
static size_t piece(struct span rest, size_t want)
{
    size_t n = 0;
    while (n < rest.len && n < want) {
        size_t unit = 1;
        if (rest.data[n] == '\\')
            unit = rest.data[n + 1] == 'u' ? 6 : 2;
        else
            while (n + unit < rest.len && ((unsigned char)rest.data[n + unit] & 0xc0) == 0x80)
                unit++;
        n += unit;
    }
    return n;
}

static void run(const struct filter_case *c, size_t size)
{
    struct arena arena;
    struct log log = {0};
    arena_init(&arena, 0);
    struct stop_filter f = make(&arena, c);
    struct usage usage = USAGE_NONE;
    usage.input = 7;
    stop_filter_feed(&f, &(struct neutral_event){.kind = EVENT_START, .usage = usage}, on_event,
                     &log);
    for (struct span rest = span_str(c->text); rest.len;) {
        size_t n = piece(rest, size);
        struct neutral_event e = {.kind = EVENT_TEXT, .text = span_first(rest, n)};
        stop_filter_feed(&f, &e, on_event, &log);
        rest = span_skip(rest, n);
    }
    stop_filter_feed(&f, &(struct neutral_event){.kind = EVENT_STOP, .stop = STOP_END}, on_event,
                     &log);
    stop_filter_feed(&f, &(struct neutral_event){.kind = EVENT_END}, on_event, &log);
    if (!span_is(buf_span(&log.text), c->out))
        fail_msg("%s, pieces of %zu: %.*s", c->name, size, SPAN_ARG(buf_span(&log.text)));
    assert_int_equal(f.done, c->stopped);
    struct span order = buf_span(&log.order);
    assert_true(span_ends(order, "E") && span_starts(order, "B"));
    assert_true(!c->stopped || span_find_span(order, SPAN("u7S")) < order.len);
    buf_free(&log.text);
    buf_free(&log.order);
    arena_free(&arena);
}

static void text_is_cut_at_the_first_sequence_however_it_comes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t size = 1; size <= strlen(cases[i].text) + 1; size++)
            run(&cases[i], size);
    }
}

static void what_is_held_back_goes_before_the_next_event(void **state)
{
    (void)state;
    struct arena arena;
    struct log log = {0};
    arena_init(&arena, 0);
    struct stop_filter f = make(&arena, &(struct filter_case){.stops = {"END"}});
    struct neutral_event text = {.kind = EVENT_TEXT, .text = SPAN("xEN")};
    stop_filter_feed(&f, &text, on_event, &log);
    assert_true(span_is(buf_span(&log.text), "x"));
    stop_filter_feed(&f, &(struct neutral_event){.kind = EVENT_PING}, on_event, &log);
    assert_true(span_is(buf_span(&log.text), "x"));
    stop_filter_feed(&f, &(struct neutral_event){.kind = EVENT_TOOL_BEGIN}, on_event, &log);
    assert_true(span_is(buf_span(&log.text), "xEN"));
    assert_true(span_is(buf_span(&log.order), "toto"));
    text.text = SPAN("D");
    stop_filter_feed(&f, &text, on_event, &log);
    assert_false(f.done);
    buf_free(&log.text);
    buf_free(&log.order);
    arena_free(&arena);
}

static void what_is_cut_within_an_escape_does_no_harm(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "\\", "a\\", "\\u", "\\u00e", "a\\ud83d", "\\ud83d\\", "\\ud83d\\ude0", "\\ud83d\\u"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct arena arena;
        struct log log = {0};
        arena_init(&arena, 0);
        struct stop_filter f = make(&arena, &(struct filter_case){.stops = {"END"}});
        struct neutral_event text = {.kind = EVENT_TEXT, .text = span_str(texts[i])};
        stop_filter_feed(&f, &text, on_event, &log);
        stop_filter_feed(&f, &(struct neutral_event){.kind = EVENT_END}, on_event, &log);
        assert_true(span_is(buf_span(&log.text), texts[i]));
        buf_free(&log.text);
        buf_free(&log.order);
        arena_free(&arena);
    }
}

static void without_memory_text_passes_rather_than_none(void **state)
{
    (void)state;
    unsigned refused = 0;
    for (size_t bytes = 16; bytes < 1024; bytes += 16) {
        struct arena arena;
        struct log log = {0};
        struct stop_filter f;
        arena_init(&arena, bytes);
        bool ready =
            stop_filter_init(&f, &arena, 2) == OK && stop_filter_add(&f, SPAN("END")) == OK;
        refused += !ready;
        if (ready) {
            struct neutral_event text = {.kind = EVENT_TEXT, .text = SPAN("one EN")};
            stop_filter_feed(&f, &text, on_event, &log);
            stop_filter_feed(&f, &(struct neutral_event){.kind = EVENT_END}, on_event, &log);
            assert_true(span_is(buf_span(&log.text), "one EN"));
        }
        buf_free(&log.text);
        buf_free(&log.order);
        arena_free(&arena);
    }
    assert_true(refused > 0);
}

static void a_sequence_may_be_long_but_not_endless(void **state)
{
    (void)state;
    char text[STOP_FILTER_MAX_BYTES + 1];
    struct stop_filter f;
    struct arena arena;
    arena_init(&arena, 0);
    memset(text, 'a', sizeof text);
    assert_int_equal(stop_filter_init(&f, &arena, 2), OK);
    assert_int_equal(stop_filter_add(&f, span_of(text, STOP_FILTER_MAX_BYTES)), OK);
    assert_int_equal(stop_filter_add(&f, span_of(text, sizeof text)), ERR_TOO_BIG);
    arena_free(&arena);
}

static void nothing_passes_behind_the_stop(void **state)
{
    (void)state;
    struct arena arena;
    struct log log = {0};
    arena_init(&arena, 0);
    struct stop_filter f = make(&arena, &(struct filter_case){.stops = {","}});
    struct neutral_event text = {.kind = EVENT_TEXT, .text = SPAN("a,b")};
    stop_filter_feed(&f, &text, on_event, &log);
    size_t len = log.order.len;
    stop_filter_feed(&f, &text, on_event, &log);
    stop_filter_feed(&f, &(struct neutral_event){.kind = EVENT_END}, on_event, &log);
    assert_int_equal(log.order.len, len);
    assert_true(span_ends(buf_span(&log.order), "S,E"));
    buf_free(&log.text);
    buf_free(&log.order);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_cut_at_the_first_sequence_however_it_comes),
        cmocka_unit_test(what_is_held_back_goes_before_the_next_event),
        cmocka_unit_test(what_is_cut_within_an_escape_does_no_harm),
        cmocka_unit_test(without_memory_text_passes_rather_than_none),
        cmocka_unit_test(a_sequence_may_be_long_but_not_endless),
        cmocka_unit_test(nothing_passes_behind_the_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
