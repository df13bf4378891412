/* Answers of every kind of provider to clients of every API, whole and as streams. */
#include "bench/growth.h"
#include "proto/provider_info.h"
#include "unit/services/worker/pipeline_driver.h"

enum { PIECE = 4096 };

enum route {
    CHAT_OPENAI,
    CHAT_ANTHROPIC,
    MESSAGES_OPENAI,
    MESSAGES_ANTHROPIC,
    CHAT_REPLICATE,
    RESPONSES_OPENAI,
    STREAMED = 16, /* the client asked for a stream, and */
    EVENTS = 32,   /* the provider sends one */
    STOPPED = 64   /* the client gave stop sequences that only the gateway can look for */
};

static const struct {
    enum api api;
    const struct provider *provider;
    const char *path;
} routes[] = {
    [CHAT_OPENAI] = {API_OPENAI_CHAT, &provider_openai, "/chat/completions"},
    [CHAT_ANTHROPIC] = {API_OPENAI_CHAT, &provider_anthropic, "/chat/completions"},
    [MESSAGES_OPENAI] = {API_ANTHROPIC_MESSAGES, &provider_openai, "/messages"},
    [MESSAGES_ANTHROPIC] = {API_ANTHROPIC_MESSAGES, &provider_anthropic, "/messages"},
    [CHAT_REPLICATE] = {API_OPENAI_CHAT, &provider_replicate, "/chat/completions"},
    [RESPONSES_OPENAI] = {API_OPENAI_RESPONSES, &provider_openai, "/responses"},
};

static struct buf text;

static void prepare(const struct growth_shape *shape, size_t n)
{
    growth_text(shape, n, &text);
}

static void ask(struct driver *d, unsigned route)
{
    driver_init(d, routes[route % STREAMED].provider, routes[route % STREAMED].api,
                routes[route % STREAMED].path);
    buf_append_str(&d->body, "{\"model\":\"m\",\"max_tokens\":9,\"input\":\"hi\","
                             "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024},"
                             "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]");
    if (route & STREAMED)
        buf_append_str(&d->body, ",\"stream\":true");
    if (route & STOPPED)
        buf_append_str(&d->body, ",\"stop\":[\" \\t \",\"  \"]");
    if (routes[route % STREAMED].provider ==
        &provider_replicate) /* a version: nothing to look up */
        d->spec.target_model =
            SPAN("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    GROWTH_REQUIRE(driver_start(d, "}") == OK);
}

static void answer(const struct growth_shape *shape)
{
    struct driver d;
    ask(&d, shape->route);
    driver_head(&d, 0, 200,
                shape->route & EVENTS ? "content-type: text/event-stream\n"
                                      : "content-type: application/json\n");
    for (struct span rest = buf_span(&text); rest.len; rest = span_skip(rest, PIECE))
        driver_bytes(&d, 0, span_first(rest, PIECE));
    driver_end(&d, 0);
    GROWTH_REQUIRE(pipeline_state(d.pipeline) == PIPELINE_DONE);
    GROWTH_REQUIRE(pipeline_result(d.pipeline)->status > 0);
    driver_done(&d);
}

static void refuse(const struct growth_shape *shape)
{
    struct driver d;
    ask(&d, shape->route);
    driver_head(&d, 0, 400, "content-type: application/json\n");
    for (struct span rest = buf_span(&text); rest.len; rest = span_skip(rest, PIECE))
        driver_bytes(&d, 0, span_first(rest, PIECE));
    driver_end(&d, 0);
    GROWTH_REQUIRE(pipeline_state(d.pipeline) == PIPELINE_FAILED);
    driver_done(&d);
}

#define COMPLETION "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"m\""
#define MESSAGE_IS "\"message\":{\"role\":\"assistant\",\"content\":\"hi\""
#define CHOICE "{\"index\":@," MESSAGE_IS "},\"finish_reason\":\"stop\"}"
#define CALL                                                                                       \
    "{\"id\":\"c@\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"
#define CHUNK(delta)                                                                               \
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{" delta              \
    "},\"finish_reason\":null}]}\n\n"
#define CHUNKS_END                                                                                 \
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},"                  \
    "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
#define MESSAGE                                                                                    \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","               \
    "\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}"
#define EVENT_OF(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"
#define MESSAGE_BEGINS EVENT_OF("message_start", ",\"message\":" MESSAGE ",\"content\":[]}")
#define BLOCK_BEGINS(index, block)                                                                 \
    EVENT_OF("content_block_start", ",\"index\":" index ",\"content_block\":{" block "}")
#define DELTA(index, delta)                                                                        \
    EVENT_OF("content_block_delta", ",\"index\":" index ",\"delta\":{" delta "}")
#define BLOCK_ENDS(index) EVENT_OF("content_block_stop", ",\"index\":" index)
#define MESSAGE_ENDS                                                                               \
    EVENT_OF("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"              \
                              "\"output_tokens\":5}")                                              \
    EVENT_OF("message_stop", "")
#define TEXT_IS "\"type\":\"text\",\"text\":\"\""
#define TOOL_IS(id) "\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":{}"
#define SAYS "\"type\":\"text_delta\",\"text\":\"ab@\""
#define ARGS "\"type\":\"input_json_delta\",\"partial_json\":\" \""

/* Of openai's answers, whole. */
#define WHOLE_CHAT_SHAPES(name, route)                                                             \
    {name "_long_text",                                                                            \
     20000,                                                                                        \
     prepare,                                                                                      \
     answer,                                                                                       \
     {COMPLETION ",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{"             \
                 "\"role\":\"assistant\",\"content\":\"",                                          \
      "abcd", "\"}}]}"},                                                                           \
     route},                                                                                       \
        {name "_choices",                                                                          \
         200,                                                                                      \
         prepare,                                                                                  \
         answer,                                                                                   \
         {COMPLETION ",\"choices\":[{\"index\":0," MESSAGE_IS "},\"finish_reason\":\"stop\"}",     \
          "," CHOICE, "]}"},                                                                       \
         route},                                                                                   \
        {name "_members",                                                                          \
         1000,                                                                                     \
         prepare,                                                                                  \
         answer,                                                                                   \
         {COMPLETION ",\"choices\":[{\"index\":0," MESSAGE_IS "},\"finish_reason\":\"stop\"}]",    \
          ",\"b@\":1", "}"},                                                                       \
         route},                                                                                   \
        {name "_message_members",                                                                  \
         1000,                                                                                     \
         prepare,                                                                                  \
         answer,                                                                                   \
         {COMPLETION ",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"," MESSAGE_IS,          \
          ",\"b@\":1", "}}]}"},                                                                    \
         route},                                                                                   \
    {                                                                                              \
        name "_calls", 30, prepare, answer,                                                        \
            {COMPLETION ",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"," MESSAGE_IS        \
                        ",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\"}}",           \
             "," CALL, "]}}]}"},                                                                   \
            route                                                                                  \
    }

#define STREAMED_CHAT_SHAPES(name, route)                                                          \
    {name "_events",                                                                               \
     500,                                                                                          \
     prepare,                                                                                      \
     answer,                                                                                       \
     {"", CHUNK("\"content\":\"ab@\""), CHUNKS_END},                                               \
     (route) | STREAMED | EVENTS},                                                                 \
        {name "_thoughts",                                                                         \
         500,                                                                                      \
         prepare,                                                                                  \
         answer,                                                                                   \
         {"", CHUNK("\"reasoning_content\":\"ab@\""), CHUNKS_END},                                 \
         (route) | STREAMED | EVENTS},                                                             \
        {name "_long_event",                                                                       \
         20000,                                                                                    \
         prepare,                                                                                  \
         answer,                                                                                   \
         {"data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", "abcd",       \
          "\"}}]}\n\n" CHUNKS_END},                                                                \
         (route) | STREAMED | EVENTS},                                                             \
        {name "_call_events",                                                                      \
         30,                                                                                       \
         prepare,                                                                                  \
         answer,                                                                                   \
         {"",                                                                                      \
          CHUNK("\"tool_calls\":[{\"index\":@,\"id\":\"c@\",\"function\":{\"name\":\"f\","         \
                "\"arguments\":\"{}\"}}]"),                                                        \
          CHUNKS_END},                                                                             \
         (route) | STREAMED | EVENTS},                                                             \
    {                                                                                              \
        name "_argument_events", 500, prepare, answer,                                             \
            {CHUNK("\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\"}}]"),   \
             CHUNK("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\" \"}}]"),           \
             CHUNKS_END},                                                                          \
            (route) | STREAMED | EVENTS                                                            \
    }

#define WHOLE_MESSAGE_SHAPES(name, route)                                                          \
    {name "_blocks",                                                                               \
     500,                                                                                          \
     prepare,                                                                                      \
     answer,                                                                                       \
     {MESSAGE ",\"content\":[{" TEXT_IS "}", ",{\"type\":\"text\",\"text\":\"ab\"}", "]}"},        \
     route},                                                                                       \
        {name "_thoughts",                                                                         \
         300,                                                                                      \
         prepare,                                                                                  \
         answer,                                                                                   \
         {MESSAGE ",\"content\":[{" TEXT_IS "}",                                                   \
          ",{\"type\":\"thinking\",\"thinking\":\"a\",\"signature\":\"s\"}", "]}"},                \
         route},                                                                                   \
        {name "_uses",                                                                             \
         300,                                                                                      \
         prepare,                                                                                  \
         answer,                                                                                   \
         {MESSAGE ",\"content\":[{" TEXT_IS "}", ",{" TOOL_IS("t@") "}", "]}"},                    \
         route},                                                                                   \
        {name "_block_members",                                                                    \
         1000,                                                                                     \
         prepare,                                                                                  \
         answer,                                                                                   \
         {MESSAGE ",\"content\":[{" TEXT_IS, ",\"b@\":1", "}]}"},                                  \
         route},                                                                                   \
    {                                                                                              \
        name "_input_members", 1000, prepare, answer,                                              \
            {MESSAGE ",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":" \
                     "{\"a\":1",                                                                   \
             ",\"b@\":1", "}}]}"},                                                                 \
            route                                                                                  \
    }

#define STREAMED_MESSAGE_SHAPES(name, route)                                                       \
    {name "_events",                                                                               \
     500,                                                                                          \
     prepare,                                                                                      \
     answer,                                                                                       \
     {MESSAGE_BEGINS BLOCK_BEGINS("0", TEXT_IS), DELTA("0", SAYS), BLOCK_ENDS("0") MESSAGE_ENDS},  \
     (route) | STREAMED | EVENTS},                                                                 \
        {name "_block_events",                                                                     \
         300,                                                                                      \
         prepare,                                                                                  \
         answer,                                                                                   \
         {MESSAGE_BEGINS, BLOCK_BEGINS("@", TEXT_IS) DELTA("@", SAYS) BLOCK_ENDS("@"),             \
          MESSAGE_ENDS},                                                                           \
         (route) | STREAMED | EVENTS},                                                             \
        {name "_use_events",                                                                       \
         300,                                                                                      \
         prepare,                                                                                  \
         answer,                                                                                   \
         {MESSAGE_BEGINS, BLOCK_BEGINS("@", TOOL_IS("t@")) DELTA("@", ARGS) BLOCK_ENDS("@"),       \
          MESSAGE_ENDS},                                                                           \
         (route) | STREAMED | EVENTS},                                                             \
        {name "_first_of_many_uses",                                                               \
         1000,                                                                                     \
         prepare,                                                                                  \
         answer,                                                                                   \
         {MESSAGE_BEGINS BLOCK_BEGINS("0", TOOL_IS("t")),                                          \
          BLOCK_BEGINS("1@", TOOL_IS("t@")) BLOCK_ENDS("1@") DELTA("0", ARGS),                     \
          BLOCK_ENDS("0") MESSAGE_ENDS},                                                           \
         (route) | STREAMED | EVENTS},                                                             \
    {                                                                                              \
        name "_open_blocks", 60, prepare, answer,                                                  \
            {MESSAGE_BEGINS, BLOCK_BEGINS("@", TOOL_IS("t@")), MESSAGE_ENDS},                      \
            (route) | STREAMED | EVENTS                                                            \
    }

#define PREDICTION "{\"id\":\"p\",\"model\":\"m\",\"status\":\"succeeded\",\"output\":["

const struct growth_shape growth_answers[] = {
    WHOLE_CHAT_SHAPES("chat_of_openai", CHAT_OPENAI),
    WHOLE_CHAT_SHAPES("chat_of_openai_to_stream", CHAT_OPENAI | STREAMED),
    WHOLE_CHAT_SHAPES("messages_of_openai", MESSAGES_OPENAI),
    STREAMED_CHAT_SHAPES("chat_of_openai", CHAT_OPENAI),
    STREAMED_CHAT_SHAPES("messages_of_openai", MESSAGES_OPENAI),
    WHOLE_MESSAGE_SHAPES("messages_of_anthropic", MESSAGES_ANTHROPIC),
    WHOLE_MESSAGE_SHAPES("messages_of_anthropic_to_stream", MESSAGES_ANTHROPIC | STREAMED),
    WHOLE_MESSAGE_SHAPES("chat_of_anthropic", CHAT_ANTHROPIC),
    STREAMED_MESSAGE_SHAPES("messages_of_anthropic", MESSAGES_ANTHROPIC),
    STREAMED_MESSAGE_SHAPES("chat_of_anthropic", CHAT_ANTHROPIC),
    {"chat_of_anthropic_stops",
     300,
     prepare,
     answer,
     {MESSAGE_BEGINS BLOCK_BEGINS("0", TEXT_IS),
      DELTA("0", "\"type\":\"text_delta\",\"text\":\" a\""), BLOCK_ENDS("0") MESSAGE_ENDS},
     CHAT_ANTHROPIC | STREAMED | EVENTS | STOPPED},
    {"chat_of_replicate",
     2000,
     prepare,
     answer,
     {PREDICTION "\"a\"", ",\"b@\"", "]}"},
     CHAT_REPLICATE},
    {"responses_of_openai",
     500,
     prepare,
     answer,
     {"{\"id\":\"r\",\"object\":\"response\",\"status\":\"completed\",\"output\":[0",
      ",{\"type\":\"message\"}", "]}"},
     RESPONSES_OPENAI},
    {"error_message",
     2000,
     prepare,
     refuse,
     {"{\"error\":{\"message\":\"", "sk-abcdef ", "\"}}"},
     CHAT_OPENAI},
    {"error_details",
     500,
     prepare,
     refuse,
     {"{\"detail\":[{\"loc\":[\"a\"],\"msg\":\"b\"}", ",{\"loc\":[\"a\"],\"msg\":\"b\"}", "]}"},
     CHAT_OPENAI},
    {0},
};
