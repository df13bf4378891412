/* The hard cases (tests/fixtures/hard_cases.jsonl) of area replicate: H108 to H117. */
#include "contract/test_support.h"

#define UNARY                                                                                      \
    "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define STREAM                                                                                     \
    "{\"model\":\"m\",\"max_tokens\":100,\"stream\":true,\"messages\":[{\"role\":\"user\","        \
    "\"content\":\"hi\"}]}"
#define SCHEMA                                                                                     \
    "{\"latest_version\":{\"id\":\"v\",\"openapi_schema\":{\"components\":{\"schemas\":{"          \
    "\"Input\":{\"properties\":{"                                                                  \
    "\"prompt\":{\"type\":\"string\"},\"max_new_tokens\":{\"type\":\"integer\",\"minimum\":1},"    \
    "\"temperature\":{\"type\":"                                                                   \
    "\"number\",\"minimum\":0.01,\"maximum\":5},\"stop_sequences\":{\"type\":\"string\"}}},"       \
    "\"Output\":{\"type\":\"array\","                                                              \
    "\"items\":{\"type\":\"string\"},\"x-cog-array-type\":\"iterator\",\"x-cog-array-display\":"   \
    "\"concatenate\"}}}}}}"
#define PREDICTION_URLS(urls, rest)                                                                \
    "{\"id\":\"p1\",\"model\":\"meta/"                                                             \
    "x\",\"version\":\"v\",\"input\":{\"prompt\":\"hi\"},\"logs\":\"\",\"created_at\":\"x\","      \
    "\"urls\":{" urls "}," rest "}"
#define PREDICTION(rest)                                                                           \
    PREDICTION_URLS("\"get\":\"https://api.replicate.com/v1/predictions/p1\",\"cancel\":"          \
                    "\"https://api.replicate.com/v1/predictions/p1/cancel\",\"stream\":"           \
                    "\"https://stream.replicate.com/v1/streams/p1\"",                              \
                    rest)
#define STATUS(status, output)                                                                     \
    PREDICTION("\"status\":\"" status "\",\"error\":null,\"output\":" output)

/* The schema has been answered; sent[1] is the creation. */
static void begin(struct driver *d, const char *request)
{
    contract_init(d, API_OPENAI_CHAT, &provider_replicate, "meta/x");
    contract_start(d, request);
    assert_string_equal(d->sent[0]->method, "GET");
    contract_answer(d, 0, 200, SPAN(SCHEMA));
    assert_int_equal(d->sent_count, 2);
    assert_string_equal(d->sent[1]->method, "POST");
}

/* … and the stream is open: sent[2]. */
static void begin_stream(struct driver *d)
{
    begin(d, STREAM);
    contract_answer(d, 1, 201, SPAN(STATUS("starting", "null")));
    assert_int_equal(d->sent_count, 3);
    assert_true(d->sent[2]->expects_stream);
    assert_true(span_is(d->sent[2]->url, "https://stream.replicate.com/v1/streams/p1"));
    driver_stream_head(d, 2);
}

static void expect_content(struct driver *d, const char *raw)
{
    assert_int_equal(pipeline_state(d->pipeline), PIPELINE_DONE);
    expect_at(contract_output(d), "choices.0.message.content", raw);
}

static void expect_digest(struct driver *d, const char *expected)
{
    struct buf digest = stream_digest(contract_output(d), false);
    assert_string_equal(digest.data, expected);
    buf_free(&digest);
}

static void h108(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, UNARY);
    contract_answer(&d, 1, 201, SPAN(STATUS("processing", "[\"all\",\" of it\"]")));
    for (size_t i = 2; i < 4; i++) {
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
        assert_in_range(d.wait_ms, 1, 2000);
        driver_timer(&d, 1000 * i);
        assert_int_equal(d.sent_count, i + 1);
        assert_string_equal(d.sent[i]->method, "GET");
        assert_true(span_is(d.sent[i]->path, "/predictions/p1"));
        assert_true(d.sent[i]->repeatable);
        contract_answer(&d, i, 200,
                        i == 2 ? SPAN(STATUS("processing", "[\"all\",\" of it\"]"))
                               : SPAN(STATUS("succeeded", "[\"all\",\" of it\",\" now\"]")));
    }
    expect_content(&d, "\"all of it now\"");
    driver_done(&d);
}

/* The recorded answer itself, where it is there. */
static void h108_recorded(void **state)
{
    (void)state;
    struct span in = file_read(
        RECORDED
        "/replicate/recorded/create_official_prefer_wait_processing_with_full_output.0.json");
    if (!in.data)
        skip();
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, in, JSON_DEPTH_MAX), OK);
    struct json body = json_get(json_root(&doc), "response");
    struct driver d;
    begin(&d, UNARY);
    contract_answer(&d, 1, 201, json_raw(body));
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    assert_true(d.wait_ms > 0);
    driver_done(&d);
    json_doc_free(&doc);
    file_free(in);
}

static void h109(void **state)
{
    (void)state;
    static const struct {
        const char *output, *content;
    } shapes[] = {
        {PREDICTION("\"status\":\"succeeded\",\"output\":\"abc\""), "\"abc\""},
        {PREDICTION("\"status\":\"succeeded\",\"output\":[\"a\",\"b\",\"\"]"), "\"ab\""},
        {PREDICTION("\"status\":\"succeeded\",\"output\":null"), "\"\""},
        {PREDICTION("\"status\":\"succeeded\",\"output\":{\"text\": \"x\"}"),
         "\"{\\\"text\\\":\\\"x\\\"}\""},
        {PREDICTION("\"status\":\"succeeded\",\"output\":[1,2]"), "\"[1,2]\""},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct driver d;
        begin(&d, UNARY);
        contract_answer(&d, 1, 201, span_str(shapes[i].output));
        expect_content(&d, shapes[i].content);
        driver_done(&d);
    }
}

static void h110(void **state)
{
    (void)state;
    struct driver d;
    begin_stream(&d);
    driver_text(&d, 2,
                "event: output\nid: 1:0\ndata: a\ndata: \ndata: b\n\nevent: output\ndata:   "
                "c\n\nevent: done\ndata: {}\n\n");
    if (d.sent_count == 4)
        contract_answer(&d, 3, 200, SPAN(STATUS("succeeded", "[\"a\\n\\nb\",\"  c\"]")));
    expect_digest(&d, "role content=a\\n\\nb content=  c finish=stop DONE");
    driver_done(&d);
}

static void h111(void **state)
{
    (void)state;
    struct driver d;
    begin_stream(&d);
    driver_text(&d, 2,
                "event: output\ndata: a\n\nevent: done\ndata: {\"reason\":\"canceled\"}\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    expect_digest(&d, "role content=a error=prediction_canceled");
    driver_done(&d);
}

static void h112(void **state)
{
    (void)state;
    static const char events[] = "event: output\ndata: The\n\nevent: output\ndata:  sky\n\n";
    for (int how = 0; how < 3; how++) {
        struct driver d;
        begin_stream(&d);
        driver_text(&d, 2, events);
        if (how == 1)
            driver_fail(&d, 2, ERROR_UPSTREAM_RESET);
        else
            driver_end(&d, 2);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
        assert_int_equal(d.sent_count, 4);
        assert_true(span_is(d.sent[3]->path, "/predictions/p1"));
        contract_answer(
            &d, 3, 200,
            how < 2 ? SPAN(STATUS("succeeded", "[\"The\",\" sky\",\" is blue\"]"))
                    : SPAN(PREDICTION("\"status\":\"failed\",\"error\":\"bad\",\"output\":null")));
        expect_digest(&d, how < 2
                              ? "role content=The content= sky content= is blue finish=stop DONE"
                              : "role content=The content= sky error=prediction_failed");
        driver_done(&d);
    }
}

static void expect_no_foreign_exchange(const struct driver *d)
{
    for (size_t i = 0; i < d->sent_count; i++) {
        assert_int_equal(d->sent[i]->url.len, 0);
        assert_true(span_starts(d->sent[i]->path, "/"));
    }
}

static void h113(void **state)
{
    (void)state;
    static const char *const poisoned[] = {
        PREDICTION_URLS(
            "\"get\":\"https://evil.example/x\",\"cancel\":\"https://evil.example/c\",\"stream\":"
            "\"http://169.254.169.254/\"",
            "\"status\":\"starting\",\"error\":null,\"output\":null"),
        PREDICTION_URLS(
            "\"get\":\"https://evil.example/x\",\"stream\":\"https://replicate.com.evil.example/\"",
            "\"status\":\"starting\",\"error\":null,\"output\":null"),
        PREDICTION_URLS("\"get\":\"https://evil.example/x\",\"stream\":\"https://a@evil.example/"
                        ".replicate.com\"",
                        "\"status\":\"starting\",\"error\":null,\"output\":null"),
        PREDICTION_URLS(
            "\"get\":\"https://evil.example/x\",\"stream\":\"http://stream.replicate.com/x\"",
            "\"status\":\"starting\",\"error\":null,\"output\":null"),
    };
    for (size_t i = 0; i < sizeof poisoned / sizeof *poisoned; i++) {
        struct driver d;
        begin(&d, STREAM);
        contract_answer(&d, 1, 201, span_str(poisoned[i]));
        if (pipeline_state(d.pipeline) == PIPELINE_RUNNING) {
            driver_timer(&d, 500);
            assert_true(d.sent_count >= 3);
            assert_true(span_is(d.sent[2]->path, "/predictions/p1"));
        }
        pipeline_cancel(d.pipeline);
        driver_pump(&d);
        expect_no_foreign_exchange(&d);
        driver_done(&d);
    }
}

static void h114(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, UNARY);
    contract_answer(&d, 1, 201, SPAN(STATUS("processing", "null")));
    pipeline_cancel(d.pipeline);
    pipeline_cancel(d.pipeline);
    driver_pump(&d);
    assert_int_equal(d.sent_count, 3);
    assert_string_equal(d.sent[2]->method, "POST");
    assert_true(span_is(d.sent[2]->path, "/predictions/p1/cancel"));
    assert_true(d.sent[2]->detached);
    driver_fail(&d, 2, ERROR_UPSTREAM_RESET);
    driver_timer(&d, 5000);
    assert_int_equal(d.sent_count, 3);
    driver_done(&d);
}

static void h115(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop\":[\","
              "\",\"END\"]}");
    expect_at(contract_sent(&d, 1), "input.stop_sequences", "\"END\"");
    contract_answer(&d, 1, 201, SPAN(STATUS("succeeded", "[\"one\",\", two\"]")));
    expect_content(&d, "\"one\"");
    driver_done(&d);
}

/* In a stream the rest of the prediction is of no use: it is cancelled. */
static void h115_stream(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop\":[\","
              "\",\"END\"],\"stream\":true}");
    contract_answer(&d, 1, 201, SPAN(STATUS("starting", "null")));
    driver_stream_head(&d, 2);
    driver_text(&d, 2, "event: output\ndata: one\n\nevent: output\ndata: , two\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    expect_digest(&d, "role content=one finish=stop DONE");
    assert_int_equal(d.sent_count, 4);
    assert_true(span_is(d.sent[3]->path, "/predictions/p1/cancel"));
    assert_true(d.sent[3]->detached);
    driver_done(&d);
}

static void h116(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
              "\"temperature\":0}");
    expect_at(contract_sent(&d, 1), "input.temperature", "0.01");
    driver_done(&d);
}

static void h117(void **state)
{
    (void)state;
    struct driver d;
    begin(&d, UNARY);
    contract_answer(
        &d, 1, 201,
        SPAN(PREDICTION("\"status\":\"failed\",\"output\":null,\"error\":\"CUDA out of memory\"")));
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_result(d.pipeline)->status, 503);
    expect_json(contract_output(&d),
                SPAN("{\"error\":{\"message\":\"*\",\"type\":\"server_error\",\"param\":null,"
                     "\"code\":\"prediction_failed\"}}"),
                "H117", 0);
    driver_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"H108 wait answer still processing", h108, NULL, NULL, NULL},
        {"H108 wait answer still processing: recorded", h108_recorded, NULL, NULL, NULL},
        {"H109 output shapes", h109, NULL, NULL, NULL},
        {"H110 multi-line output event", h110, NULL, NULL, NULL},
        {"H111 done with reason", h111, NULL, NULL, NULL},
        {"H112 stream ends without done", h112, NULL, NULL, NULL},
        {"H113 poisoned URLs", h113, NULL, NULL, NULL},
        {"H114 client disconnects", h114, NULL, NULL, NULL},
        {"H115 stop with comma", h115, NULL, NULL, NULL},
        {"H115 stop with comma: stream", h115_stream, NULL, NULL, NULL},
        {"H116 temperature 0 on Llama-2", h116, NULL, NULL, NULL},
        {"H117 failed prediction", h117, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
