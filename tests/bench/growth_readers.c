/* Readers of bytes: JSON, events, heads, bodies, texts of a configuration. */
#include "bench/growth.h"

#include "common/base/json.h"
#include "common/base/sse.h"
#include "common/fetch/response.h"
#include "common/http/plain_parse.h"
#include "common/runtime/config/config.h"
#include "services/edge/http/headers.h"
#include "services/edge/request/body.h"
#include "services/worker/batch/embeddings.h"

enum { HEAD_BYTES = 1 << 20, CALLERS = 4 };

static struct buf text;

static void prepare(const struct growth_shape *shape, size_t n)
{
    growth_text(shape, n, &text);
}

/* ---- JSON ---- */

static void read_json(const struct growth_shape *shape)
{
    struct json_doc doc = {0};
    (void)shape;
    GROWTH_REQUIRE(json_parse(&doc, buf_span(&text), JSON_DEPTH_MAX) == OK);
    GROWTH_REQUIRE(json_type(json_get(json_root(&doc), "absent")) == JSON_NONE);
    struct buf out = {0};
    json_append_compact(&out, json_root(&doc));
    json_append_text(&out, buf_span(&text));
    json_text_decode(buf_span(&text), &out);
    GROWTH_REQUIRE(buf_check(&out) == OK);
    buf_free(&out);
    json_doc_free(&doc);
}

static void read_body(const struct growth_shape *shape)
{
    struct json_doc doc = {0};
    struct body body;
    struct api_error fault;
    struct arena arena;
    (void)shape;
    arena_init(&arena, 0);
    GROWTH_REQUIRE(body_check(API_OPENAI_CHAT, buf_span(&text), &doc, &arena, &body, &fault) == OK);
    json_doc_free(&doc);
    arena_free(&arena);
}

/* ---- events ---- */

static size_t events;

static enum err count_event(void *ctx, const struct sse_event *e)
{
    (void)ctx;
    events += e->has_data;
    return OK;
}

static void read_events_in(size_t piece)
{
    struct sse_reader reader = {0};
    for (struct span rest = buf_span(&text); rest.len; rest = span_skip(rest, piece))
        GROWTH_REQUIRE(sse_feed(&reader, span_first(rest, piece), count_event, NULL) == OK);
    GROWTH_REQUIRE(sse_finish(&reader, count_event, NULL) == OK && events);
    sse_reader_free(&reader);
}

static void read_events(const struct growth_shape *shape)
{
    (void)shape;
    read_events_in(text.len);
}

static void read_events_by_byte(const struct growth_shape *shape)
{
    (void)shape;
    read_events_in(1);
}

/* ---- heads ---- */

static void count_field(void *ctx, struct span name, struct span value)
{
    head_field(ctx, name, value);
}

/* As it comes: the parser is asked again with every read. */
static void read_request_in(size_t piece)
{
    struct plain_head head;
    struct request_head fields = {0};
    size_t scanned = 0, n = 0;
    enum plain_verdict verdict = PLAIN_MORE;
    while (verdict == PLAIN_MORE && n < text.len) {
        n = n + piece < text.len ? n + piece : text.len;
        verdict = plain_parse(span_of(text.data, n), HEAD_BYTES, &scanned, &head);
    }
    GROWTH_REQUIRE(verdict != PLAIN_MORE);
    for (struct span rest = head.fields; rest.len;) {
        struct span line = span_cut(&rest, '\n');
        struct span name = span_cut(&line, ':');
        count_field(&fields, name, span_trim(line));
    }
}

static void read_request(const struct growth_shape *shape)
{
    (void)shape;
    read_request_in(text.len);
}

static void read_request_by_byte(const struct growth_shape *shape)
{
    (void)shape;
    read_request_in(1);
}

static void read_response_in(size_t piece)
{
    static struct fetch_head head;
    struct fetch_response response = {0};
    struct span rest = buf_span(&text);
    enum response_event event = RESPONSE_MORE;
    fetch_response_begin(&response, false);
    while (rest.len && event != RESPONSE_FAULT && event != RESPONSE_END) {
        struct span in = span_first(rest, piece), body;
        rest = span_skip(rest, in.len);
        do
            event = fetch_response_next(&response, &in, &head, &body);
        while (event == RESPONSE_HEAD || event == RESPONSE_BODY);
    }
    fetch_response_free(&response);
}

static void read_response(const struct growth_shape *shape)
{
    (void)shape;
    read_response_in(text.len);
}

static void read_response_by_byte(const struct growth_shape *shape)
{
    (void)shape;
    read_response_in(1);
}

/* ---- embeddings of several callers ---- */

static void share_embeddings(const struct growth_shape *shape)
{
    static struct embeddings_part parts[CALLERS];
    static struct embeddings_share shares[CALLERS];
    struct buf key = {0}, answer = {0}, joined = {.max = HEAD_BYTES * 16};
    (void)shape;
    for (size_t i = 0; i < CALLERS; i++)
        GROWTH_REQUIRE(embeddings_part_read(&parts[i], buf_span(&text), &key) == OK);
    GROWTH_REQUIRE(embeddings_join(parts, CALLERS, &joined) == OK);
    buf_append_str(&answer, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < CALLERS * parts[0].inputs; i++)
        buf_printf(&answer, "%s{\"index\":%zu,\"embedding\":[0.5,0.25]}", i ? "," : "", i);
    buf_append_str(&answer, "],\"usage\":{\"prompt_tokens\":100,\"total_tokens\":100}}");
    GROWTH_REQUIRE(embeddings_split(parts, CALLERS, buf_span(&answer), shares) == OK);
    for (size_t i = 0; i < CALLERS; i++)
        buf_free(&shares[i].body);
    buf_free(&key);
    buf_free(&answer);
    buf_free(&joined);
}

/* ---- a configuration ---- */

static void read_config(const struct growth_shape *shape)
{
    struct config_paths paths = {"/tmp", "/tmp"};
    struct config *config = NULL;
    struct buf errors = {0};
    (void)shape;
    GROWTH_REQUIRE(config_read(buf_span(&text), "growth", &paths, &config, &errors) == OK);
    config_destroy(&config);
    buf_free(&errors);
}

#define HEAD_OF_REQUEST "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
#define HEAD_OF_RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

const struct growth_shape growth_readers[] = {
    {"json_numbers", 4000, prepare, read_json, {"[0", ",1", "]"}, 0},
    {"json_members", 2000, prepare, read_json, {"{\"a\":0", ",\"b@\":1", "}"}, 0},
    {"json_escaped_names", 1000, prepare, read_json, {"{\"a\":0", ",\"\\u0061bsen@\":1", "}"}, 0},
    {"json_long_string", 20000, prepare, read_json, {"[\"", "abcd", "\"]"}, 0},
    {"json_escapes", 10000, prepare, read_json, {"[\"", "\\u00e4\\n", "\"]"}, 0},
    {"json_deep", 100, prepare, read_json, {"[", "[", "0", "]", "]"}, 0},
    {"json_blanks", 20000, prepare, read_json, {"[", " \n", "]"}, 0},
    {"body_members", 2000, prepare, read_body, {"{\"model\":\"m\"", ",\"b@\":1", "}"}, 0},
    {"body_escaped_names",
     1000,
     prepare,
     read_body,
     {"{\"model\":\"m\"", ",\"\\u006d\\u0061x_tokens\\u005f@\":1", "}"},
     0},
    {"body_strings", 2000, prepare, read_body, {"{\"model\":\"m\",\"a\":[0", ",\"abc\"", "]}"}, 0},
    {"sse_events", 2000, prepare, read_events, {"", "data: {\"a\":@}\n\n", ""}, 0},
    {"sse_by_byte", 500, prepare, read_events_by_byte, {"", "data: {\"a\":@}\n\n", ""}, 0},
    {"sse_long_line", 20000, prepare, read_events, {"data: ", "abcd", "\n\n"}, 0},
    {"sse_long_line_by_byte", 5000, prepare, read_events_by_byte, {"data: ", "abcd", "\n\n"}, 0},
    {"sse_many_lines", 2000, prepare, read_events, {"", "data: @\n", "\n"}, 0},
    {"sse_comments", 2000, prepare, read_events, {"data: 1\n", ": ping\n", "\n"}, 0},
    {"sse_carriage_returns", 2000, prepare, read_events, {"data: 1\r\r", "a\r", "data: 1\r\r"}, 0},
    {"request_fields", 20, prepare, read_request, {HEAD_OF_REQUEST, "x-a-@: b\r\n", "\r\n"}, 0},
    {"request_by_byte",
     20,
     prepare,
     read_request_by_byte,
     {HEAD_OF_REQUEST, "x-a-@: b\r\n", "\r\n"},
     0},
    {"request_long_field",
     4000,
     prepare,
     read_request_by_byte,
     {HEAD_OF_REQUEST "a: ", "bcde", "\r\n\r\n"},
     0},
    {"request_blank_lines",
     2000,
     prepare,
     read_request_by_byte,
     {"", "\r\n", HEAD_OF_REQUEST "\r\n"},
     0},
    {"request_forwarded",
     1000,
     prepare,
     read_request,
     {HEAD_OF_REQUEST "x-forwarded-for: ", "1.2.3.4, ", "\r\n\r\n"},
     0},
    {"response_fields",
     30,
     prepare,
     read_response_by_byte,
     {HEAD_OF_RESPONSE, "x-a-@: b\r\n", "\r\nok"},
     0},
    {"response_long_field",
     4000,
     prepare,
     read_response_by_byte,
     {HEAD_OF_RESPONSE "a: ", "bcde", "\r\n\r\nok"},
     0},
    {"response_lengths",
     1000,
     prepare,
     read_response,
     {HEAD_OF_RESPONSE "content-length: 2", ", 2", "\r\n\r\nok"},
     0},
    {"response_chunks", 2000, prepare, read_response, {CHUNKED, "1\r\na\r\n", "0\r\n\r\n"}, 0},
    {"embeddings",
     100,
     prepare,
     share_embeddings,
     {"{\"model\":\"m\",\"input\":[\"a\"", ",\"b@\"", "]}"},
     0},
    {"config_models",
     50,
     prepare,
     read_config,
     {"providers: {openai: {api_keys: [a]}}\nmodels:\n  a: {targets: [{provider: openai}]}\n",
      "  m@: {targets: [{provider: openai}]}\n", ""},
     0},
    {0},
};
