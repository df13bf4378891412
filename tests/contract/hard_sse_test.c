/* The hard cases (tests/fixtures/hard_cases.jsonl) of area sse, H001 to H020: on the reader alone
 * and through a pipeline. */
#include "contract/test_support.h"

/* ---- events as text ---- */

static enum err write_down(void *ctx, const struct sse_event *e)
{
    struct buf *out = ctx;
    buf_append_char(out, '(');
    buf_append(out, e->name);
    buf_append_char(out, '|');
    buf_append(out, e->has_data ? e->data : SPAN("none"));
    buf_append_char(out, '|');
    buf_append(out, e->id);
    buf_append_char(out, ')');
    return OK;
}

/* "(name|data|id)…"; data "none" when there was none. */
static struct buf read_in_pieces(struct span in, size_t first, size_t step)
{
    struct buf out = {0};
    struct sse_reader reader = {0};
    enum err e = sse_feed(&reader, span_first(in, first), write_down, &out);
    for (size_t at = first; at < in.len && e == OK; at += step)
        e = sse_feed(&reader, span_first(span_skip(in, at), step), write_down, &out);
    if (e == OK)
        e = sse_finish(&reader, write_down, &out);
    assert_int_equal(e, OK);
    sse_reader_free(&reader);
    return out;
}

static void expect_events(struct span in, const char *events)
{
    for (size_t i = 0; i <= in.len + 1; i++) {
        /* whole, byte by byte, and in two at every offset */
        struct buf out = i == in.len + 1 ? read_in_pieces(in, 0, 1) : read_in_pieces(in, i, in.len);
        if (!span_is(buf_span(&out), events))
            fail_msg("cut %zu: %.*s instead of %s", i, SPAN_ARG(buf_span(&out)), events);
        buf_free(&out);
    }
}

/* ---- through a pipeline ---- */

#define ASK                                                                                        \
    "{\"model\":\"claude-x\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":"    \
    "true}"
#define START                                                                                      \
    "data: "                                                                                       \
    "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"     \
    "\"assistant\","                                                                               \
    "\"content\":[],\"model\":\"claude-x\",\"stop_reason\":null,\"usage\":{\"input_tokens\":11,"   \
    "\"output_tokens\":1}}}\n\n"
#define BLOCK                                                                                      \
    "data: "                                                                                       \
    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":" \
    "\"\"}}\n\n"
#define DELTA(text)                                                                                \
    "data: "                                                                                       \
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":"   \
    "\"" text "\"}}\n\n"
#define END_BLOCK "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
#define STOP                                                                                       \
    "data: "                                                                                       \
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_"    \
    "tokens\":6}}\n\n"

static void run(struct driver *d, struct span stream, struct cut cut)
{
    contract_init(d, API_OPENAI_CHAT, &provider_anthropic, "claude-x");
    contract_start(d, ASK);
    contract_stream(d, 0, stream, cut);
}

static void expect_digest(struct span stream, const char *digest)
{
    for (size_t i = 0; i <= stream.len; i++) {
        struct driver d;
        run(&d, stream, (struct cut){i == stream.len ? CUT_BYTES : CUT_TWO, i});
        struct buf out = stream_digest(contract_output(&d), false);
        assert_string_equal(out.data, digest);
        buf_free(&out);
        driver_done(&d);
    }
}

/* ---- the cases ---- */

/* H001 is the whole of streams_test.c as well. */
static void h001(void **state)
{
    (void)state;
    expect_digest(SPAN("event: ping\r\n" START BLOCK ": c\n\n" DELTA("H\xc3\xa9") DELTA("\\u00e9")
                           END_BLOCK STOP "data: {\"type\":\"message_stop\"}\r\r"),
                  "role content=H\xc3\xa9 content=\\u00e9 finish=stop DONE");
}

static void h002(void **state)
{
    (void)state;
    expect_events(SPAN("event: ping\r\ndata: {\"type\":\"ping\"}\r\n\r\ndata: {\"a\":1}\r\n\r\n"),
                  "(ping|{\"type\":\"ping\"}|)(|{\"a\":1}|)");
}

static void h003(void **state)
{
    (void)state;
    struct buf out = {0};
    struct sse_reader reader = {0};
    assert_int_equal(sse_feed(&reader, SPAN("data: x\r"), write_down, &out), OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(sse_feed(&reader, SPAN("\n\r\n"), write_down, &out), OK);
    assert_true(span_is(buf_span(&out), "(|x|)"));
    sse_reader_free(&reader);
    buf_free(&out);
}

static void h004(void **state)
{
    (void)state;
    expect_events(SPAN("data: a\rdata: b\r\r"), "(|a\nb|)");
}

static void h005(void **state)
{
    (void)state;
    expect_events(SPAN("event: e\ndata: 1\r\ndata: 2\r\n\n"), "(e|1\n2|)");
}

static void h006(void **state)
{
    (void)state;
    expect_events(SPAN("data: {\ndata: \"foo\":\ndata: \ndata:\ndata: true}\n\n"),
                  "(|{\n\"foo\":\n\n\ntrue}|)");
}

static void h007(void **state)
{
    (void)state;
    expect_events(SPAN(": OPENROUTER PROCESSING\n\nfoo: bar\ndata: {\"a\":1}\nretry: 10\nzzz\n\n"),
                  "(|{\"a\":1}|)");
}

static void h008(void **state)
{
    (void)state;
    expect_events(SPAN("data:{\"a\":1}\n\nevent:ping\ndata:{}\n\ndata:  x\n\n"),
                  "(|{\"a\":1}|)(ping|{}|)(| x|)");
}

static void h009(void **state)
{
    (void)state;
    expect_events(SPAN("event: output\ndata:   hello\n\n"), "(output|  hello|)");
}

static void h010(void **state)
{
    (void)state;
    expect_digest(
        SPAN(START BLOCK DELTA("x") STOP "data: {\"type\":\"message_stop\"     }          \n\n"),
        "role content=x finish=stop DONE");
}

static void h011(void **state)
{
    (void)state;
    expect_events(SPAN("data: {\"content\":\"a\xe2\x80\xa8"
                       "b\xc2\x85"
                       "c\"}\n\n"),
                  "(|{\"content\":\"a\xe2\x80\xa8"
                  "b\xc2\x85"
                  "c\"}|)");
}

static void h012(void **state)
{
    (void)state;
    expect_digest(
        SPAN(START BLOCK DELTA("\xf0\x9f\x98\x80") STOP "data: {\"type\":\"message_stop\"}\n\n"),
        "role content=\xf0\x9f\x98\x80 finish=stop DONE");
}

static void h013(void **state)
{
    (void)state;
    expect_digest(
        SPAN(START BLOCK DELTA("x") STOP "event: message_stop\ndata: {\"type\":\"message_stop\"}"),
        "role content=x finish=stop DONE");
}

static void h014(void **state)
{
    (void)state;
    expect_events(SPAN("\xef\xbb\xbf"
                       "data: {\"a\":1}\n\n"),
                  "(|{\"a\":1}|)");
}

static void h015(void **state)
{
    (void)state;
    expect_events(SPAN("event: ping\n\ndata: {\"a\":1}\n\n"), "(ping|none|)(|{\"a\":1}|)");
    expect_digest(
        SPAN("event: ping\n\n" START BLOCK DELTA("x") STOP "data: {\"type\":\"message_stop\"}\n\n"),
        "role content=x finish=stop DONE");
}

static void h016(void **state)
{
    (void)state;
    expect_digest(SPAN("data:\n\n" START "data:\n\n" BLOCK DELTA("x") STOP
                       "data: {\"type\":\"message_stop\"}\n\n"),
                  "role content=x finish=stop DONE");
    struct driver d;
    contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_openai, "gpt-x");
    contract_start(&d, "{\"model\":\"gpt-x\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"hi\"}],\"stream\":true}");
    contract_stream(&d, 0,
                    SPAN("data:\n\ndata: "
                         "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},"
                         "\"finish_reason\":"
                         "\"stop\"}]}\n\ndata:\n\ndata: [DONE]\n\n"),
                    (struct cut){CUT_NONE, 0});
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
}

static void h017(void **state)
{
    (void)state;
    static const enum api apis[] = {API_OPENAI_CHAT, API_ANTHROPIC_MESSAGES};
    for (size_t i = 0; i < 2; i++) {
        struct driver d;
        contract_init(&d, apis[i], &provider_openai, "gpt-x");
        contract_start(&d, "{\"model\":\"gpt-x\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                           "\"content\":\"hi\"}],\"stream\":true}");
        driver_stream_head(&d, 0);
        driver_text(&d, 0,
                    "data: "
                    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":"
                    "\"stop\"}]}\r\n\r\n"
                    "data:  [DONE] \r\n\r\n");
        /* before the connection ends */
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        driver_done(&d);
    }
}

static void h018(void **state)
{
    (void)state;
    static const enum api apis[] = {API_OPENAI_CHAT, API_ANTHROPIC_MESSAGES};
    for (size_t i = 0; i < 2; i++) {
        struct driver d;
        contract_init(&d, apis[i], &provider_openai, "gpt-x");
        contract_start(&d, "{\"model\":\"gpt-x\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                           "\"content\":\"hi\"}],\"stream\":true}");
        contract_stream(&d, 0,
                        SPAN("data: "
                             "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_"
                             "reason\":\"stop\"}]}\n\n"
                             "data: [DONE]\n\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n"),
                        (struct cut){CUT_NONE, 0});
        struct buf out = stream_digest(contract_output(&d), i == 1);
        const char *end = i == 1 ? " stop" : " DONE";
        struct span text = span_of(out.data, out.len - 1);
        assert_true(span_ends(text, end));
        assert_int_equal(span_find_span(text, span_str(end)), text.len - strlen(end));
        buf_free(&out);
        driver_done(&d);
    }
}

static void h019(void **state)
{
    (void)state;
    static const enum api apis[] = {API_OPENAI_CHAT, API_ANTHROPIC_MESSAGES};
    enum { LINE = 9 << 20, PIECE = 64 << 10 };
    char *piece = malloc(PIECE);
    assert_non_null(piece);
    memset(piece, 'x', PIECE);
    for (size_t i = 0; i < 2; i++) {
        struct driver d;
        contract_init(&d, apis[i], &provider_openai, "gpt-x");
        contract_start(&d, "{\"model\":\"gpt-x\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                           "\"content\":\"hi\"}],\"stream\":true}");
        driver_stream_head(&d, 0);
        driver_text(&d, 0, "data: {\"");
        size_t sent = 0;
        for (; sent < LINE && pipeline_state(d.pipeline) == PIPELINE_RUNNING; sent += PIECE)
            driver_bytes(&d, 0, span_of(piece, PIECE));
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
        assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
        assert_in_range(sent, SSE_MAX_LINE - PIECE, SSE_MAX_LINE + PIECE);
        driver_done(&d);
    }
    free(piece);
}

static void h020(void **state)
{
    (void)state;
    expect_events(SPAN("id: a\0b\ndata: x\n\n"), "(|x|)");
    expect_events(SPAN("id: 7\ndata: x\n\ndata: y\n\n"), "(|x|7)(|y|7)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"H001 stream cut at every byte", h001, NULL, NULL, NULL},
        {"H002 CRLF event ends", h002, NULL, NULL, NULL},
        {"H003 CR at the end of a read", h003, NULL, NULL, NULL},
        {"H004 lone CR line ends", h004, NULL, NULL, NULL},
        {"H005 mixed line ends in one event", h005, NULL, NULL, NULL},
        {"H006 multi-line data is joined", h006, NULL, NULL, NULL},
        {"H007 comments and unknown fields", h007, NULL, NULL, NULL},
        {"H008 no space after the colon", h008, NULL, NULL, NULL},
        {"H009 only one leading space is eaten", h009, NULL, NULL, NULL},
        {"H010 padding after the JSON", h010, NULL, NULL, NULL},
        {"H011 U+2028 and U+0085 inside data", h011, NULL, NULL, NULL},
        {"H012 UTF-8 character over two reads", h012, NULL, NULL, NULL},
        {"H013 last event without blank line at EOF", h013, NULL, NULL, NULL},
        {"H014 BOM first", h014, NULL, NULL, NULL},
        {"H015 event without data", h015, NULL, NULL, NULL},
        {"H016 empty data line", h016, NULL, NULL, NULL},
        {"H017 [DONE] with spaces and CRLF", h017, NULL, NULL, NULL},
        {"H018 bytes after [DONE]", h018, NULL, NULL, NULL},
        {"H019 very long line", h019, NULL, NULL, NULL},
        {"H020 id with NUL and last id", h020, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
