/* What is read and written of text: JSON bodies, events of a stream, heads of requests, messages
 * between daemons. */
#include <stdlib.h>
#include <string.h>

#include "bench/micro.h"
#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/sse.h"
#include "common/fetch/request_head.h"
#include "common/fetch/response.h"
#include "common/http/framing.h"
#include "common/http/plain_parse.h"
#include "proto/codec.h"
#include "services/edge/http/headers.h"
#include "services/edge/http/routes.h"
#include "services/edge/request/body.h"

static struct span text;
static struct json_doc doc;
static struct arena arena;

/* ---- JSON ---- */

static void prepare_700(void)
{
    text = micro_chat_body(700, false);
}

static void prepare_8k(void)
{
    text = micro_chat_body(8000, false);
}

static void parse_json(void)
{
    MICRO_REQUIRE(json_parse(&doc, text, JSON_DEPTH_CLIENT) == OK);
}

static void check_body(void)
{
    struct body body;
    struct api_error fault;
    MICRO_REQUIRE(body_check(API_OPENAI_CHAT, text, &doc, &arena, &body, &fault) == OK);
    arena_reset(&arena);
}

/* ---- events ---- */

static struct sse_reader reader;
static size_t events;

static enum err count_event(void *ctx, const struct sse_event *e)
{
    (void)ctx;
    events += e->has_data;
    return OK;
}

static void read_event(void)
{
    static const char event[] =
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
        "\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" again\"},"
        "\"finish_reason\":null}]}\n\n";
    MICRO_REQUIRE(sse_feed(&reader, span_of(event, sizeof event - 1), count_event, NULL) == OK);
}

/* ---- an upstream's exchange ---- */

static struct fetch_origin *origin;
static struct fetch_spec spec;
static struct buf head_out;

static void prepare_upstream(void)
{
    struct secret *key = NULL;
    struct fetch_origin_spec o = {.base_url = SPAN("https://api.openai.com/v1")};
    MICRO_REQUIRE(secret_create(SPAN("Authorization: Bearer "),
                                SPAN("sk-0123456789abcdef0123456789abcdef"), &key) == OK);
    o.key_header = key;
    MICRO_REQUIRE(fetch_origin_create(&o, &origin) == OK);
    spec = (struct fetch_spec){.origin = origin,
                               .method = "POST",
                               .path = SPAN("/chat/completions"),
                               .body = micro_chat_body(700, false)};
}

static void write_upstream_head(void)
{
    struct request_target target;
    MICRO_REQUIRE(request_target_of(&spec, &target));
    buf_clear(&head_out);
    request_head_write(&head_out, &spec, &target);
    MICRO_REQUIRE(buf_check(&head_out) == OK);
}

static void read_upstream_answer(void)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 01:00:00 GMT\r\nContent-Type: "
        "application/json\r\nContent-Length: 9\r\nx-request-id: req_0123456789abcdef\r\n"
        "openai-processing-ms: 12\r\nopenai-version: 2020-10-01\r\n"
        "x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n"
        "Server: cloudflare\r\n\r\n{\"a\":\"b\"}";
    static struct fetch_head head;
    static struct fetch_response response;
    struct span in = span_of(answer, sizeof answer - 1), body;
    fetch_response_begin(&response, false);
    MICRO_REQUIRE(fetch_response_next(&response, &in, &head, &body) == RESPONSE_HEAD);
    MICRO_REQUIRE(fetch_head_get(&head, "content-type").len > 0);
    MICRO_REQUIRE(fetch_response_next(&response, &in, &head, &body) == RESPONSE_BODY);
    MICRO_REQUIRE(fetch_response_next(&response, &in, &head, &body) == RESPONSE_END);
}

/* ---- heads ---- */

static const struct {
    const char *name, *value;
} fields[] = {
    {"Host", "127.0.0.1:4000"},
    {"Accept-Encoding", "identity"},
    {"Connection", "keep-alive"},
    {"Accept", "application/json"},
    {"Content-Type", "application/json"},
    {"User-Agent", "OpenAI/Python 3.54.0"},
    {"X-Stainless-Read-Timeout", "600"},
    {"Authorization", "Bearer sk-tg-0123456789abcdef0123456789abcdef"},
    {"Content-Length", "700"},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static void judge_framing(void)
{
    struct framing f;
    framing_begin(&f, SPAN("POST"), SPAN("/v1/chat/completions"), SPAN("HTTP/1.1"));
    for (size_t i = 0; i < FIELDS; i++)
        framing_field(&f, span_str(fields[i].name), span_str(fields[i].value));
    framing_end(&f);
    MICRO_REQUIRE(!f.fault);
}

static void prepare_head(void)
{
    static struct buf head;
    buf_append_str(&head, "POST /v1/chat/completions HTTP/1.1\r\n");
    for (size_t i = 0; i < FIELDS; i++)
        buf_printf(&head, "%s: %s\r\n", fields[i].name, fields[i].value);
    buf_append_str(&head, "\r\n");
    text = buf_span(&head);
}

static void parse_head(void)
{
    struct plain_head head;
    size_t scanned = 0;
    MICRO_REQUIRE(plain_parse(text, 32 << 10, &scanned, &head) == PLAIN_SOUND);
}

static void read_head(void)
{
    struct request_head h = {0};
    struct span key;
    for (size_t i = 0; i < FIELDS; i++)
        head_field(&h, span_str(fields[i].name), span_str(fields[i].value));
    MICRO_REQUIRE(head_key(&h, &key) == KEY_FOUND);
    MICRO_REQUIRE(route_match(SPAN("POST"), SPAN("/v1/chat/completions")).found == ROUTE_FOUND);
}

/* ---- messages between daemons ---- */

static union message_body message;
static unsigned message_type;
static char *frame;
static size_t frame_bytes;

static void prepare_frame(unsigned type)
{
    message_type = type;
    frame_bytes = codec_size(type, &message);
    frame = malloc(frame_bytes);
    MICRO_REQUIRE(frame_bytes && frame);
    codec_encode(&(struct header){.version = PROTO_MAJOR, .type = (uint8_t)type}, &message, frame);
}

static void prepare_dispatch(void)
{
    message.dispatch = (struct dispatch){.model = SPAN("gpt-4o-mini"),
                                         .target_model = SPAN("gpt-4o-mini"),
                                         .key_id = SPAN("key_0123456789ab"),
                                         .key_name = SPAN("bench"),
                                         .credit = 262144,
                                         .input_tokens = 150,
                                         .timeout_ms = 60000,
                                         .api = API_OPENAI_CHAT,
                                         .operation = OPERATION_CHAT,
                                         .body = micro_chat_body(700, false)};
    prepare_frame(MESSAGE_DISPATCH);
}

static void prepare_reply(void)
{
    message.reply = (struct reply){.status = 200,
                                   .content_type = SPAN("application/json"),
                                   .provider = SPAN("openai"),
                                   .upstream_model = SPAN("gpt-4o-mini"),
                                   .input_tokens = 150,
                                   .output_tokens = 100,
                                   .cost_nano = 82500,
                                   .upstream_ms = 12,
                                   .body = micro_chat_body(700, false)};
    prepare_frame(MESSAGE_REPLY);
}

static void prepare_settle(void)
{
    message.settle = (struct settle){.key_id = SPAN("key_0123456789ab"),
                                     .key_name = SPAN("bench"),
                                     .model = SPAN("gpt-4o-mini"),
                                     .provider = SPAN("openai"),
                                     .upstream_model = SPAN("gpt-4o-mini"),
                                     .status = 200,
                                     .input_tokens = 150,
                                     .output_tokens = 100,
                                     .cost_nano = 82500,
                                     .started_ms = 1700000000000,
                                     .first_ms = 11,
                                     .duration_ms = 12,
                                     .upstream_id = SPAN("chatcmpl-0123456789")};
    prepare_frame(MESSAGE_SETTLE);
}

static void prepare_data(void)
{
    message.data = (struct data){.bytes = span_first(micro_chat_body(700, false), 200)};
    prepare_frame(MESSAGE_DATA);
}

static void encode(void)
{
    MICRO_REQUIRE(codec_size(message_type, &message) == frame_bytes);
    codec_encode(&(struct header){.version = PROTO_MAJOR, .type = (uint8_t)message_type}, &message,
                 frame);
}

static void decode(void)
{
    static union message_body out;
    struct header h;
    MICRO_REQUIRE(header_read(span_of(frame, HEADER_BYTES), &h) == OK);
    MICRO_REQUIRE(codec_decode(message_type,
                               span_of(frame + HEADER_BYTES, frame_bytes - HEADER_BYTES),
                               &out) == OK);
}

const struct micro_stage micro_text_stages[] = {
    {"json_700", prepare_700, parse_json},
    {"json_8k", prepare_8k, parse_json},
    {"edge_body_700", prepare_700, check_body},
    {"edge_body_8k", prepare_8k, check_body},
    {"sse_event", NULL, read_event},
    {"framing", NULL, judge_framing},
    {"plain_head", prepare_head, parse_head},
    {"edge_head", NULL, read_head},
    {"upstream_head", prepare_upstream, write_upstream_head},
    {"upstream_answer", NULL, read_upstream_answer},
    {"encode_dispatch_700", prepare_dispatch, encode},
    {"decode_dispatch_700", prepare_dispatch, decode},
    {"encode_reply_700", prepare_reply, encode},
    {"decode_reply_700", prepare_reply, decode},
    {"encode_settle", prepare_settle, encode},
    {"decode_settle", prepare_settle, decode},
    {"encode_data_200", prepare_data, encode},
    {"decode_data_200", prepare_data, decode},
    {0},
};
