/* The hard cases (tests/fixtures/hard_cases.jsonl) about what comes back: areas json, resp a2o,
 * stream a2o, stream o2a, completions, and H132. */
#include "contract/test_support.h"

#include <stdio.h>

enum { MAX_CHECKS = 8 };

struct answer_case {
    const char *name;
    enum api api;
    const struct provider *provider;
    const char *request;
    const char
        *answer; /* what the upstream sends: a stream when it starts with "data:" or "event:" */
    const char *digest; /* of the client's stream … */
    struct {
        const char *path, *raw;
    } checks[MAX_CHECKS]; /* … or places in its unary answer */
    const char *has;      /* bytes that are in the output */
    unsigned status;      /* when it fails before the first content */
};

#define USER_HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define UNARY "{\"model\":\"m\",\"max_tokens\":100," USER_HI "}"
#define STREAM "{\"model\":\"m\",\"max_tokens\":100,\"stream\":true," USER_HI "}"
#define STREAM_USAGE                                                                               \
    "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}," USER_HI "}"
#define STREAM_THINKING                                                                            \
    "{\"model\":\"m\",\"max_tokens\":5000,\"stream\":true,\"thinking\":{\"type\":\"enabled\","     \
    "\"budget_tokens\":1024}," USER_HI "}"
#define A2O API_OPENAI_CHAT, &provider_anthropic
#define O2A API_ANTHROPIC_MESSAGES, &provider_openai

/* ---- Anthropic's words ---- */

#define MESSAGE(content, stop, usage)                                                              \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\","        \
    "\"content\":[" content "],\"stop_reason\":\"" stop                                            \
    "\",\"stop_sequence\":null,\"usage\":" usage "}"
#define USAGE "{\"input_tokens\":11,\"output_tokens\":6}"
#define TEXT(t) "{\"type\":\"text\",\"text\":\"" t "\"}"
#define TOOL_USE(input)                                                                            \
    "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":" input "}"

#define A_START_WITH(usage)                                                                        \
    "event: message_start\ndata: "                                                                 \
    "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"     \
    "\"assistant\",\"content\":[],\"model\":\"claude-x\",\"stop_reason\":null,\"stop_sequence\":"  \
    "null,\"usage\":" usage "}}\n\n"
#define A_START A_START_WITH("{\"input_tokens\":11,\"output_tokens\":1}")
#define A_BLOCK(i, block)                                                                          \
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":" #i            \
    ",\"content_block\":" block "}\n\n"
#define A_TEXT_BLOCK(i) A_BLOCK(i, "{\"type\":\"text\",\"text\":\"\"}")
#define A_TOOL_BLOCK(i, id, name)                                                                  \
    A_BLOCK(i, "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\",\"input\":{}}")
#define A_DELTA(i, delta)                                                                          \
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":" #i            \
    ",\"delta\":{" delta "}}\n\n"
#define A_TEXT(i, t) A_DELTA(i, "\"type\":\"text_delta\",\"text\":\"" t "\"")
#define A_JSON(i, t) A_DELTA(i, "\"type\":\"input_json_delta\",\"partial_json\":\"" t "\"")
#define A_STOP_BLOCK(i)                                                                            \
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":" #i "}\n\n"
#define A_STOP_WITH(reason, usage)                                                                 \
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":" reason   \
    ",\"stop_sequence\":null},"                                                                    \
    "\"usage\":" usage "}\n\n"
#define A_STOP(reason) A_STOP_WITH("\"" reason "\"", "{\"output_tokens\":6}")
#define A_END "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
#define A_PING "event: ping\ndata: {\"type\": \"ping\"}\n\n"
#define A_OVERLOADED                                                                               \
    "event: error\ndata: "                                                                         \
    "{\"type\":\"error\",\"error\":{\"details\":null,\"type\":\"overloaded_error\",\"message\":"   \
    "\"Overloaded\"},\"request_id\":\"req_1\"}\n\n"
#define A_HI A_START A_TEXT_BLOCK(0) A_TEXT(0, "Hi")

/* ---- OpenAI's words ---- */

#define CHUNK(choice)                                                                              \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"gpt-"   \
    "x\",\"choices\":[" choice "]}\n\n"
#define O_DELTA(delta) CHUNK("{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}")
#define O_ROLE O_DELTA("{\"role\":\"assistant\",\"content\":\"\"}")
#define O_TEXT(t) O_DELTA("{\"content\":\"" t "\"}")
#define O_TOOL(calls) O_DELTA("{\"tool_calls\":[" calls "]}")
#define O_ARGS(i, t) "{\"index\":" #i ",\"function\":{\"arguments\":\"" t "\"}}"
#define O_CALL(i, id, name)                                                                        \
    "{\"index\":" #i ",\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name     \
    "\",\"arguments\":\"\"}}"
#define O_FINISH(reason) CHUNK("{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}")
#define O_USAGE                                                                                    \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"gpt-"   \
    "x\",\"choices\":[],"                                                                          \
    "\"usage\":{\"prompt_tokens\":14,\"completion_tokens\":30,\"total_tokens\":44}}\n\n"
#define O_DONE "data: [DONE]\n\n"

static const struct answer_case cases[] = {
    /* ---- json ---- */
    {.name = "H021 NUL escape in text",
     A2O,
     STREAM,
     A_START A_TEXT_BLOCK(0) A_TEXT(0, "a\\u0000b") A_STOP("end_turn") A_END,
     "role content=a\\u0000b finish=stop DONE"},
    {.name = "H022 surrogate pair split over two deltas",
     A2O,
     STREAM,
     A_START A_TEXT_BLOCK(0) A_TEXT(0, "\\ud83d") A_TEXT(0, "\\ude00") A_STOP("end_turn") A_END,
     "role content=\\ud83d content=\\ude00 finish=stop DONE"},
    {.name = "H023 lone surrogate: stream",
     A2O,
     STREAM,
     A_START A_TEXT_BLOCK(0) A_TEXT(0, "x\\ud800y") A_STOP("end_turn") A_END,
     "role content=x\\ud800y finish=stop DONE"},
    {.name = "H023 lone surrogate: same protocol",
     API_OPENAI_CHAT,
     &provider_openai,
     UNARY,
     "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"x\\ud800y\"},\"finish_reason\":"
     "\"stop\"}]}",
     NULL,
     {{"choices.0.message.content", "\"x\\ud800y\""}}},
    {.name = "H025 big integers in tool input: answer",
     A2O,
     UNARY,
     MESSAGE(TOOL_USE("{\"id\": 12345678901234567890, \"n\": 9007199254740993}"), "tool_use",
             USAGE),
     NULL,
     {{"choices.0.message.tool_calls.0.function.arguments",
       "\"{\\\"id\\\":12345678901234567890,\\\"n\\\":9007199254740993}\""}}},
    {.name = "H026 small and odd floats: answer",
     A2O,
     UNARY,
     MESSAGE(TOOL_USE("{\"a\":1e-7,\"b\":1.0,\"c\":5.50,\"d\":-0,\"e\":1E400}"), "tool_use", USAGE),
     NULL,
     {{"choices.0.message.tool_calls.0.function.arguments",
       "\"{\\\"a\\\":1e-7,\\\"b\\\":1.0,\\\"c\\\":5.50,\\\"d\\\":-0,\\\"e\\\":1E400}\""}}},
    {.name = "H031 not UTF-8 from upstream",
     A2O,
     STREAM,
     A_START A_TEXT_BLOCK(0) A_TEXT(0, "a\xff") A_TEXT(0, "b") A_STOP("end_turn") A_END,
     "role content=a\xef\xbf\xbd content=b finish=stop DONE"},

    /* ---- Anthropic response → OpenAI ---- */
    {.name = "H064 several text blocks",
     A2O,
     UNARY,
     MESSAGE(TEXT("a") ",{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}," TEXT("b"),
             "end_turn", USAGE),
     NULL,
     {{"choices.0.message.content", "\"ab\""}}},
    {.name = "H065 tool use only",
     A2O,
     UNARY,
     MESSAGE(TOOL_USE("{}"), "tool_use", USAGE),
     NULL,
     {{"choices.0.message.content", "null"},
      {"choices.0.message.tool_calls.0.id", "\"toolu_1\""},
      {"choices.0.message.tool_calls.1", NULL},
      {"choices.0.finish_reason", "\"tool_calls\""}}},
    {.name = "H066 usage with cache",
     A2O,
     UNARY,
     MESSAGE(TEXT("a"), "end_turn",
             "{\"input_tokens\":10,\"cache_creation_input_tokens\":100,\"cache_read_input_tokens\":"
             "1000,\"output_tokens\":5}"),
     NULL,
     {{"usage.prompt_tokens", "1110"},
      {"usage.prompt_tokens_details.cached_tokens", "1000"},
      {"usage.prompt_tokens_details.cache_write_tokens", "100"},
      {"usage.completion_tokens", "5"},
      {"usage.total_tokens", "1115"}}},
    {.name = "H067 usage nulls",
     A2O,
     UNARY,
     MESSAGE(TEXT("a"), "end_turn",
             "{\"input_tokens\":10,\"cache_read_input_tokens\":null,\"output_tokens\":5,\"server_"
             "tool_use\":null}"),
     NULL,
     {{"usage.prompt_tokens", "10"},
      {"usage.prompt_tokens_details.cached_tokens", "0"},
      {"usage.prompt_tokens_details.cache_write_tokens", "0"},
      {"usage.completion_tokens_details.reasoning_tokens", "0"}}},
    {.name = "H068 refusal",
     A2O,
     UNARY,
     "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\","
     "\"content\":[" TEXT("") "],\"stop_reason\":"
                              "\"refusal\",\"stop_details\":{\"type\":\"refusal\",\"explanation\":"
                              "\"x\"},\"usage\":" USAGE "}",
     NULL,
     {{"choices.0.finish_reason", "\"content_filter\""},
      {"choices.0.message.content", "\"\""},
      {"choices.0.message.refusal", "\"x\""}}},
    {.name = "H069 unknown stop reason and block",
     A2O,
     UNARY,
     MESSAGE("{\"type\":\"fallback\",\"x\":1}," TEXT("a"), "model_context_window_exceeded", USAGE),
     NULL,
     {{"choices.0.finish_reason", "\"length\""}, {"choices.0.message.content", "\"a\""}}},
    {.name = "H069 a stop reason nobody knows",
     A2O,
     UNARY,
     MESSAGE(TEXT("a"), "tired", USAGE),
     NULL,
     {{"choices.0.finish_reason", "\"stop\""}}},

    /* ---- Anthropic stream → OpenAI ---- */
    {.name = "H070 basic text with usage",
     A2O,
     STREAM_USAGE,
     A_START A_TEXT_BLOCK(0) A_PING A_TEXT(0, "Hi") A_STOP_BLOCK(0) A_STOP("end_turn") A_END,
     "role content=Hi finish=stop usage=11/6 DONE"},
    {.name = "H070 basic text without usage",
     A2O,
     STREAM,
     A_START A_TEXT_BLOCK(0) A_PING A_TEXT(0, "Hi") A_STOP_BLOCK(0) A_STOP("end_turn") A_END,
     "role content=Hi finish=stop DONE"},
    {.name = "H071 tool with no arguments",
     A2O,
     STREAM,
     A_START A_TOOL_BLOCK(0, "t", "now") A_JSON(0, "") A_STOP_BLOCK(0) A_STOP("tool_use") A_END,
     "role tool0(t,now)= tool0={} finish=tool_calls DONE"},
    {.name = "H072 start input plus deltas",
     A2O,
     STREAM,
     A_START A_TOOL_BLOCK(0, "t", "f") A_JSON(0, "{\\\"a\\\":") A_JSON(0, "1}") A_STOP_BLOCK(0)
         A_STOP("tool_use") A_END,
     "role tool0(t,f)= tool0={\\\"a\\\": tool0=1} finish=tool_calls DONE"},
    {.name = "H073 complete input in the start event",
     A2O,
     STREAM,
     A_START A_BLOCK(0, TOOL_USE("{\"a\":1}")) A_STOP_BLOCK(0) A_STOP("tool_use") A_END,
     "role tool0(toolu_1,f)= tool0={\\\"a\\\":1} finish=tool_calls DONE"},
    {.name = "H074 text block before tools: index",
     A2O,
     STREAM,
     A_HI A_STOP_BLOCK(0) A_TOOL_BLOCK(1, "a", "f") A_JSON(1, "{}") A_STOP_BLOCK(1)
         A_TOOL_BLOCK(2, "b", "g") A_JSON(2, "{}") A_STOP_BLOCK(2) A_STOP("tool_use") A_END,
     "role content=Hi tool0(a,f)= tool0={} tool1(b,g)= tool1={} finish=tool_calls DONE"},
    {.name = "H075 overlapping blocks",
     A2O,
     STREAM,
     A_START A_TOOL_BLOCK(1, "a", "f") A_TOOL_BLOCK(2, "b", "g") A_JSON(1, "{1}") A_JSON(2, "{2}")
         A_STOP_BLOCK(1) A_STOP_BLOCK(2) A_STOP("tool_use") A_END,
     "role tool0(a,f)= tool1(b,g)= tool0={1} tool1={2} finish=tool_calls DONE"},
    {.name = "H076 server tool use",
     A2O,
     STREAM,
     A_START A_BLOCK(
         0, "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}}")
         A_JSON(0, "{\\\"q\\\":1}") A_STOP_BLOCK(0) A_BLOCK(
             1, "{\"type\":\"web_search_tool_result\",\"tool_use_id\":\"s\",\"content\":[]}")
             A_STOP_BLOCK(1) A_TEXT_BLOCK(2) A_TEXT(2, "Hi") A_STOP_BLOCK(2) A_STOP("end_turn")
                 A_END,
     "role content=Hi finish=stop DONE"},
    {.name = "H077 max_tokens inside a tool call",
     A2O,
     STREAM_USAGE,
     A_START A_TEXT_BLOCK(0) A_TEXT(0, "I'll write it.") A_STOP_BLOCK(0)
         A_TOOL_BLOCK(1, "toolu_1", "make_file")
             A_JSON(1, "{\\\"filename\\\": \\\"x.txt\\\", \\\"lines\\\": [\\\"a")
                 A_STOP_WITH("\"max_tokens\"", "{\"output_tokens\":124}") A_END,
     "role content=I'll write it. tool0(toolu_1,make_file)= tool0={\\\"filename\\\": "
     "\\\"x.txt\\\", \\\"lines\\\": [\\\"a "
     "finish=length usage=11/124 DONE"},
    {.name = "H078 two message_deltas",
     A2O,
     STREAM_USAGE,
     A_HI A_STOP_BLOCK(0)
         A_STOP_WITH("null", "{\"output_tokens\":3,\"cache_read_input_tokens\":50}")
             A_STOP_WITH("\"end_turn\"", "{\"output_tokens\":9}") A_END,
     "role content=Hi finish=stop usage=61/9 cached=50 DONE"},
    {.name = "H079 cache fields only in message_delta",
     A2O,
     STREAM_USAGE,
     A_START_WITH("{\"input_tokens\":3602,\"output_tokens\":1}") A_TEXT_BLOCK(0) A_TEXT(0, "Hi")
         A_STOP_BLOCK(0) A_STOP_WITH(
             "\"end_turn\"",
             "{\"cache_read_input_tokens\":3604,\"input_tokens\":3602,\"output_tokens\":878}")
             A_END,
     "role content=Hi finish=stop usage=7206/878 cached=3604 DONE"},
    {.name = "H080 overloaded as first event: OpenAI client",
     A2O,
     STREAM,
     A_OVERLOADED,
     .status = 503},
    {.name = "H080 overloaded before content: OpenAI client",
     A2O,
     STREAM,
     A_START A_PING A_OVERLOADED,
     .status = 503},
    {.name = "H080 overloaded as first event: Anthropic client",
     API_ANTHROPIC_MESSAGES,
     &provider_anthropic,
     STREAM,
     A_OVERLOADED,
     .status = 529},
    {.name = "H080 overloaded before content: Anthropic client",
     API_ANTHROPIC_MESSAGES,
     &provider_anthropic,
     STREAM,
     A_START A_PING A_OVERLOADED,
     .status = 529},
    {.name = "H081 error in the middle: OpenAI client",
     A2O,
     STREAM,
     A_HI A_OVERLOADED,
     "role content=Hi error=server_is_overloaded",
     .has = "{\"error\":{\"message\":\"Overloaded\",\"type\":\"server_error\",\"param\":null,"
            "\"code\":\"server_is_overloaded\"}}"},
    {.name = "H081 error in the middle: Anthropic client",
     API_ANTHROPIC_MESSAGES,
     &provider_anthropic,
     STREAM,
     A_HI A_OVERLOADED,
     "start +0text text=Hi error=overloaded_error"},
    {.name = "H082 cut without message_stop",
     A2O,
     STREAM,
     A_HI,
     "role content=Hi error=upstream_closed"},
    {.name = "H082 cut without message_stop: Anthropic client",
     API_ANTHROPIC_MESSAGES,
     &provider_anthropic,
     STREAM,
     A_HI,
     "start +0text text=Hi error=api_error"},
    {.name = "H082 cut behind the stop reason",
     A2O,
     STREAM,
     A_HI A_STOP("end_turn"),
     "role content=Hi finish=stop DONE"},
    {.name = "H083 thinking",
     A2O,
     STREAM,
     A_START A_BLOCK(0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
         A_DELTA(0, "\"type\":\"thinking_delta\",\"thinking\":\"hm\"")
             A_DELTA(0, "\"type\":\"signature_delta\",\"signature\":\"S\"") A_STOP_BLOCK(0)
                 A_TEXT_BLOCK(1) A_TEXT(1, "ok") A_STOP_BLOCK(1) A_STOP("end_turn") A_END,
     "role think=hm blocks=[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"S\"}] "
     "content=ok finish=stop DONE"},
    {.name = "H084 unknown events and deltas",
     A2O,
     STREAM,
     A_HI "event: future_event\ndata: {\"type\":\"future_event\",\"x\":1}\n\n" A_DELTA(
         0, "\"type\":\"compaction_delta\",\"x\":1") A_TEXT(0, "!") A_STOP("end_turn") A_END,
     "role content=Hi content=! finish=stop DONE"},

    /* ---- OpenAI stream → Anthropic ---- */
    {.name = "H085 plain text",
     O2A,
     STREAM,
     O_ROLE O_TEXT("I") O_TEXT(" am") O_FINISH("stop") O_USAGE O_DONE,
     "start ping +0text text=I text= am -0 delta=end_turn(14/30) stop"},
    {.name = "H086 usage chunk with empty choices",
     O2A,
     STREAM,
     O_ROLE O_TEXT("x") O_FINISH("stop") O_USAGE O_DONE,
     "start ping +0text text=x -0 delta=end_turn(14/30) stop"},
    {.name = "H087 usage in the finish chunk, none later",
     O2A,
     STREAM,
     O_ROLE O_TEXT("x") "data: "
                        "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":"
                        "\"stop\"}],\"usage\":{"
                        "\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n" O_DONE,
     "start ping +0text text=x -0 delta=end_turn(3/4) stop"},
    {.name = "H088 parallel tools one after another",
     O2A,
     STREAM,
     O_ROLE O_TOOL(O_CALL(0, "a", "f")) O_TOOL(O_ARGS(0, "{\\\"x\\\"")) O_TOOL(O_ARGS(0, ":1}"))
         O_TOOL(O_CALL(1, "b", "g")) O_TOOL(O_ARGS(1, "{\\\"y\\\":")) O_TOOL(O_ARGS(1, "2}"))
             O_FINISH("tool_calls") O_USAGE O_DONE,
     "start ping +0tool_use(a,f) json={\\\"x\\\":1} -0 +1tool_use(b,g) json={\\\"y\\\":2} -1 "
     "delta=tool_use(14/30) stop"},
    {.name = "H089 parallel tools interleaved",
     O2A,
     STREAM,
     O_ROLE O_TOOL(O_CALL(0, "a", "f") "," O_CALL(1, "b", "g")) O_TOOL(O_ARGS(0, "{\\\"x\\\""))
         O_TOOL(O_ARGS(1, "{\\\"y\\\"")) O_TOOL(O_ARGS(0, ":1}")) O_TOOL(O_ARGS(1, ":2}"))
             O_FINISH("tool_calls") O_USAGE O_DONE,
     "start ping +0tool_use(a,f) json={\\\"x\\\":1} -0 +1tool_use(b,g) json={\\\"y\\\":2} -1 "
     "delta=tool_use(14/30) stop"},
    {.name = "H090 finish says stop with tool calls",
     O2A,
     STREAM,
     O_ROLE O_TOOL(O_CALL(0, "a", "f")) O_TOOL(O_ARGS(0, "{}")) O_FINISH("stop") O_USAGE O_DONE,
     "start ping +0tool_use(a,f) json={} -0 delta=tool_use(14/30) stop"},
    {.name = "H091 tool args in one piece, no index, object type",
     O2A,
     STREAM,
     O_ROLE O_TOOL("{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}")
         O_FINISH("tool_calls") O_USAGE O_DONE,
     "start ping +0tool_use(c,f) json={\\\"a\\\":1} -0 delta=tool_use(14/30) stop"},
    {.name = "H092 name arrives late",
     O2A,
     STREAM,
     O_ROLE O_TOOL("{\"index\":0,\"id\":\"c\"}")
         O_TOOL("{\"index\":0,\"function\":{\"name\":\"f\"}}") O_TOOL(O_ARGS(0, "{}"))
             O_FINISH("tool_calls") O_USAGE O_DONE,
     "start ping +0tool_use(c,f) json={} -0 delta=tool_use(14/30) stop"},
    {.name = "H093 reasoning then text",
     O2A,
     STREAM_THINKING,
     O_ROLE O_DELTA("{\"reasoning_content\":\"r\"}") O_TEXT("t") O_FINISH("stop") O_USAGE O_DONE,
     "start ping +0thinking think=r -0 +1text text=t -1 delta=end_turn(14/30) stop"},
    {.name = "H094 only a finish chunk",
     O2A,
     STREAM,
     O_ROLE O_FINISH("stop") O_USAGE O_DONE,
     "start ping delta=end_turn(14/30) stop"},
    {.name = "H095 EOF without finish",
     O2A,
     STREAM,
     O_ROLE O_TEXT("Hel"),
     "start ping +0text text=Hel error=api_error"},
    {.name = "H095 EOF without finish: OpenAI client",
     API_OPENAI_CHAT,
     &provider_openai,
     STREAM,
     O_ROLE O_TEXT("Hel"),
     "role content=Hel error=upstream_closed"},
    {.name = "H096 EOF after finish, no [DONE]",
     O2A,
     STREAM,
     O_ROLE O_TEXT("x") O_USAGE O_FINISH("stop"),
     "start ping +0text text=x -0 delta=end_turn(14/30) stop"},
    {.name = "H097 error object in a chunk: first",
     O2A,
     STREAM,
     "data: {\"error\":{\"message\":\"x\",\"code\":429}}\n\n",
     .status = 429},
    {.name = "H097 error object in a chunk: first, OpenAI client",
     API_OPENAI_CHAT,
     &provider_openai,
     STREAM,
     "data: {\"error\":{\"message\":\"x\",\"code\":429}}\n\n",
     .status = 429},
    {.name = "H097 error object in a chunk: later",
     O2A,
     STREAM,
     O_ROLE O_TEXT("a") "data: {\"error\":{\"message\":\"x\",\"code\":429}}\n\n",
     "start ping +0text text=a error=rate_limit_error"},
    {.name = "H098 broken JSON chunk",
     O2A,
     STREAM,
     O_ROLE O_TEXT("a") "data: {\"choices\":[{\"del\n\n" O_TEXT("b") O_DONE,
     "start ping +0text text=a error=api_error"},
    {.name = "H099 n>1 upstream",
     O2A,
     STREAM,
     O_ROLE CHUNK("{\"index\":1,\"delta\":{\"content\":\"no\"},\"finish_reason\":null}")
         O_TEXT("yes") CHUNK("{\"index\":1,\"delta\":{},\"finish_reason\":\"length\"}")
             O_FINISH("stop") O_USAGE O_DONE,
     "start ping +0text text=yes -0 delta=end_turn(14/30) stop"},
    {.name = "H100 refusal deltas",
     O2A,
     STREAM,
     O_DELTA("{\"role\":\"assistant\",\"content\":null,\"refusal\":\"\"}")
         O_DELTA("{\"refusal\":\"I'm\"}") O_DELTA("{\"refusal\":\" sorry\"}") O_FINISH("stop")
             O_USAGE O_DONE,
     "start ping +0text text=I'm text= sorry -0 delta=refusal(14/30) stop"},

    /* ---- errors ---- */
    {.name = "H125 200 with error body: translated",
     O2A,
     UNARY,
     "{\"error\":{\"message\":\"m\",\"code\":503}}",
     .status = 529},
    {.name = "H125 200 with error body: same protocol",
     API_OPENAI_CHAT,
     &provider_openai,
     UNARY,
     "{\"error\":{\"message\":\"m\",\"code\":503}}",
     .status = 503},
    {.name = "H126 JSON answer to a stream request: translated",
     O2A,
     STREAM,
     "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"model\":\"gpt-x\",\"choices\":[{"
     "\"index\":0,\"message\":{\"role\":"
     "\"assistant\",\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":"
     "3,\"completion_tokens\":4}}",
     "start ping +0text text=Hi -0 delta=end_turn(3/4) stop"},
    {.name = "H126 JSON answer to a stream request: same protocol",
     API_OPENAI_CHAT,
     &provider_openai,
     STREAM_USAGE,
     "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"model\":\"gpt-x\",\"choices\":[{"
     "\"index\":0,\"message\":{\"role\":"
     "\"assistant\",\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":"
     "3,\"completion_tokens\":4}}",
     "role content=Hi finish=stop usage=3/4 DONE"},
    {.name = "H126 JSON answer to a stream request: Anthropic",
     A2O,
     STREAM,
     MESSAGE(TEXT("Hi"), "end_turn", USAGE),
     "role content=Hi finish=stop DONE"},

    /* ---- http ---- */
    {.name = "H132 usage asked by us, not by the client",
     API_OPENAI_CHAT,
     &provider_openai,
     STREAM,
     "data: "
     "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":null}"
     "],\"usage\":null}\n\n"
     "data: "
     "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":"
     "null}\n\n" O_USAGE O_DONE,
     "content=x finish=stop DONE",
     .has = "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"},
};
enum { CASES = sizeof cases / sizeof *cases };

static void check(struct driver *d, const struct answer_case *c)
{
    if (c->status) {
        assert_int_equal(pipeline_state(d->pipeline), PIPELINE_FAILED);
        assert_false(pipeline_committed(d->pipeline));
        assert_int_equal(pipeline_result(d->pipeline)->status, c->status);
        return;
    }
    struct span out = contract_output(d);
    if (c->has && span_find_span(out, span_str(c->has)) == out.len)
        fail_msg("%s is not in %.*s", c->has, SPAN_ARG(out));
    if (c->digest) {
        struct buf digest = stream_digest(out, api_is_anthropic(c->api));
        if (strcmp(digest.data, c->digest) != 0)
            fail_msg("\n  is       %s\n  expected %s\n  in %.*s", digest.data, c->digest,
                     SPAN_ARG(out));
        buf_free(&digest);
    }
    for (size_t i = 0; i < MAX_CHECKS && c->checks[i].path; i++) {
        if (c->checks[i].raw)
            expect_at(out, c->checks[i].path, c->checks[i].raw);
        else
            expect_nothing_at(out, c->checks[i].path);
    }
}

static void run(void **state)
{
    const struct answer_case *c = *state;
    struct span answer = span_str(c->answer);
    bool stream = span_starts(answer, "data:") || span_starts(answer, "event:");
    /* streams also byte by byte: same outcome */
    for (int bytewise = 0; bytewise <= stream; bytewise++) {
        struct driver d;
        contract_init(&d, c->api, c->provider,
                      c->provider == &provider_openai ? "gpt-x" : "claude-x");
        contract_start(&d, c->request);
        if (stream)
            contract_stream(&d, 0, answer, (struct cut){bytewise ? CUT_BYTES : CUT_NONE, 0});
        else
            contract_answer(&d, 0, 200, answer);
        check(&d, c);
        driver_done(&d);
    }
}

/* In bytes the two halves are one character; in JSON text each half keeps its escape. */
static void h022_unary(void **state)
{
    (void)state;
    struct driver d;
    contract_init(&d, API_OPENAI_CHAT, &provider_anthropic, "claude-x");
    contract_start(&d, UNARY);
    contract_stream(&d, 0,
                    SPAN(A_START A_TEXT_BLOCK(0) A_TEXT(0, "\\ud83d") A_TEXT(0, "\\ude00")
                             A_STOP_BLOCK(0) A_STOP("end_turn") A_END),
                    (struct cut){CUT_NONE, 0});
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, contract_output(&d), 64), OK);
    struct arena arena;
    arena_init(&arena, 0);
    struct json message = json_get(json_at(json_get(json_root(&doc), "choices"), 0), "message");
    assert_true(span_is(json_string(json_get(message, "content"), &arena), "\xf0\x9f\x98\x80"));
    arena_free(&arena);
    json_doc_free(&doc);
    driver_done(&d);
}

/* Content and error in one read: the content has made the status. */
static void h081_one_read(void **state)
{
    (void)state;
    struct driver d;
    contract_init(&d, API_OPENAI_CHAT, &provider_anthropic, "claude-x");
    contract_start(&d, STREAM);
    driver_stream_head(&d, 0);
    driver_text(&d, 0, A_HI A_OVERLOADED);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_true(pipeline_committed(d.pipeline));
    assert_int_equal(pipeline_result(d.pipeline)->status, 200);
    driver_done(&d);
}

/* Nor does it matter whether the connection ends well behind the finish. A cut within an event says
 * nothing: half an event is none. */
static void h096_cut(void **state)
{
    (void)state;
    static const struct {
        const char *stream, *digest;
    } cuts[] = {
        {O_ROLE O_TEXT("x") O_USAGE O_FINISH("stop"),
         "start ping +0text text=x -0 delta=end_turn(14/30) stop"},
        {O_ROLE O_TEXT("x") O_FINISH("stop") O_USAGE "data: {\"choices\":[],\"usa",
         "start ping +0text text=x -0 delta=end_turn(14/30) stop"},
        {O_ROLE O_TEXT("x") "data: {\"id\":\"chatcmpl-1\",\"cho",
         "start ping +0text text=x error=api_error"},
    };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct driver d;
        contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_openai, "gpt-x");
        contract_start(&d, STREAM);
        driver_stream_head(&d, 0);
        driver_text(&d, 0, cuts[i].stream);
        driver_fail(&d, 0, ERROR_UPSTREAM_CLOSED);
        struct buf digest = stream_digest(contract_output(&d), true);
        assert_string_equal(digest.data, cuts[i].digest);
        if (pipeline_state(d.pipeline) == PIPELINE_FAILED)
            assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_CLOSED);
        buf_free(&digest);
        driver_done(&d);
    }
}

/* The gateway's own stop sequence cuts the text; a stream's upstream has nothing more to say to us.
 */
static void h047(void **state)
{
    (void)state;
    static const char request[] =
        "{\"model\":\"m\",\"max_tokens\":9,\"stream\":true,\"stop\":[\"\\n\",\"END\"]," USER_HI "}";
    struct driver d;
    contract_init(&d, API_OPENAI_CHAT, &provider_anthropic, "claude-x");
    contract_start(&d, request);
    expect_at(contract_sent(&d, 0), "stop_sequences", "[\"END\"]");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, A_START A_TEXT_BLOCK(0) A_TEXT(0, "one") A_TEXT(0, " line\\nand more"));
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    struct buf digest = stream_digest(contract_output(&d), false);
    assert_string_equal(digest.data, "role content=one content= line finish=stop DONE");
    buf_free(&digest);
    driver_done(&d);
}

/* H123, H124, H127 and the rest of the errors. */
static void expect_error(enum api api, const struct provider *provider, unsigned status,
                         const char *headers, const char *body, unsigned expected_status,
                         const char *expected_body)
{
    struct driver d;
    contract_init(&d, api, provider, "m");
    contract_start(&d, UNARY);
    driver_answer(&d, 0, status, headers, body);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_result(d.pipeline)->status, expected_status);
    expect_json(contract_output(&d), span_str(expected_body), body, 0);
    driver_done(&d);
}

#define PLAIN_JSON "content-type: application/json\n"

static void h120(void **state)
{
    (void)state;
    expect_error(API_OPENAI_CHAT, &provider_anthropic, 401, PLAIN_JSON,
                 "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":"
                 "\"invalid x-api-key\"}}",
                 502,
                 "{\"error\":{\"message\":\"*\",\"type\":\"server_error\",\"param\":null,\"code\":"
                 "\"upstream_auth\"}}");
    expect_error(API_ANTHROPIC_MESSAGES, &provider_openai, 401, PLAIN_JSON,
                 "{\"error\":{\"message\":\"Incorrect API key provided: "
                 "sk-abcdefghijklmnopqrstuvwxyz\",\"code\":\"invalid_api_key\"}}",
                 502,
                 "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"*\"},"
                 "\"request_id\":\"req_x\"}");
}

static void h121(void **state)
{
    (void)state;
    static const char html[] = "<html><h1>Bad Gateway</h1></html>";
    static const struct provider *const both[] = {&provider_openai, &provider_anthropic};
    for (size_t i = 0; i < 2; i++) {
        struct driver d;
        contract_init(&d, API_OPENAI_CHAT, both[i], "m");
        contract_start(&d, UNARY);
        driver_answer(&d, 0, 502, "content-type: text/html\n", html);
        assert_int_equal(pipeline_result(d.pipeline)->status, 503);
        struct span out = contract_output(&d);
        assert_int_equal(span_find_span(out, SPAN("<h")), out.len);
        driver_done(&d);
    }
}

static void h122(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        uint64_t ms;
    } forms[] = {
        {"retry-after-ms: 1500\n", 1500},
        {"Retry-After: 0.5\n", 500},
        /* now_s of the driver is 2023-11-14 22:13:20 */
        {"Retry-After: Tue, 14 Nov 2023 22:14:00 GMT\n", 40000},
        {"Retry-After: Tue, 14 Nov 2023 22:00:00 GMT\n", 0},
    };
    static const struct provider *const both[] = {&provider_openai, &provider_anthropic};
    for (size_t i = 0; i < 2 * sizeof forms / sizeof *forms; i++) {
        struct driver d;
        contract_init(&d, API_OPENAI_CHAT, both[i % 2], "m");
        contract_start(&d, UNARY);
        driver_answer(&d, 0, 429, forms[i / 2].headers,
                      "{\"error\":{\"message\":\"slow\",\"type\":\"rate_limit_error\"}}");
        uint64_t ms = pipeline_fault(d.pipeline)->retry_after_ms;
        if (forms[i / 2].ms == 0)
            assert_in_range(ms, 0, 1);
        else
            assert_int_equal(ms, forms[i / 2].ms);
        driver_done(&d);
    }
}

static void h123(void **state)
{
    (void)state;
    expect_error(API_ANTHROPIC_MESSAGES, &provider_openai, 429, PLAIN_JSON,
                 "{\"error\":{\"message\":\"You exceeded your current "
                 "quota\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}",
                 503,
                 "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"*\"},"
                 "\"request_id\":\"req_x\"}");
}

static void h124(void **state)
{
    (void)state;
    struct driver d;
    contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_anthropic, "m");
    contract_start(&d, UNARY);
    driver_answer(&d, 0, 429, PLAIN_JSON,
                  "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\","
                  "\"details\":{\"error_code\":"
                  "\"enforced_spend_limit_reached\"}}}");
    assert_true(pipeline_fault(d.pipeline)->final ||
                !error_should_retry(pipeline_fault(d.pipeline)->error_class));
    driver_done(&d);
}

static void h127(void **state)
{
    (void)state;
    static const char *const secrets[] = {"sk-abcdefghijklmnopqrstuvwxyz0123456789",
                                          "sk-ant-api03-abcdefghijklmnopqrstuv",
                                          "r8_abcdefghijklmnopqrstuvwxyz0123456789"};
    for (size_t i = 0; i < 3; i++) {
        char body[256];
        (void)snprintf(
            body, sizeof body,
            "{\"error\":{\"message\":\"Incorrect API key provided: %s.\",\"type\":\"x\"}}",
            secrets[i]);
        struct driver d;
        contract_init(&d, API_OPENAI_CHAT, &provider_openai, "m");
        contract_start(&d, UNARY);
        driver_answer(&d, 0, 400, PLAIN_JSON, body);
        struct span message = pipeline_fault(d.pipeline)->message;
        assert_true(message.len > 0);
        assert_int_equal(span_find_span(message, span_str(secrets[i])), message.len);
        driver_done(&d);
    }
}

/* What Anthropic's SDK decides by reaches it, on its own protocol only. */
static void details(void **state)
{
    (void)state;
    static const char body[] = "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
                               "\"message\":\"m\",\"details\":{\"error_code\":"
                               "\"thread_not_found\",\"n\":1.0}}}";
    expect_error(API_ANTHROPIC_MESSAGES, &provider_anthropic, 400, PLAIN_JSON, body, 400,
                 "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
                 "\"m\",\"details\":{"
                 "\"error_code\":\"thread_not_found\",\"n\":1.0}},\"request_id\":\"req_x\"}");
    expect_error(API_OPENAI_CHAT, &provider_anthropic, 400, PLAIN_JSON, body, 400,
                 "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"param\":null,"
                 "\"code\":\"invalid_value\"}}");
    /* a masked secret leaves nothing of them */
    expect_error(API_ANTHROPIC_MESSAGES, &provider_anthropic, 400, PLAIN_JSON,
                 "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
                 "\"m\",\"details\":{\"key\":"
                 "\"sk-ant-api03-abcdefghijklmnopqrstuv\"}}}",
                 400,
                 "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
                 "\"m\"},\"request_id\":\"req_x\"}");
    /* a conversation kept elsewhere cannot be continued here, and the SDK must hear it in its own
     * words */
    struct driver d;
    contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_openai, "gpt-x");
    assert_int_equal(
        driver_start(
            &d, "{\"model\":\"m\",\"max_tokens\":9,\"thread\":{\"type\":\"create\"}," USER_HI "}"),
        ERR_INVALID);
    assert_int_equal(error_status(d.fault.error_class, API_ANTHROPIC_MESSAGES), 400);
    expect_at(d.fault.details_json, "error_code", "\"thread_unsupported_request\"");
    driver_done(&d);
}

int main(void)
{
    const struct CMUnitTest others[] = {
        {"H022 surrogate pair: whole answer", h022_unary, NULL, NULL, NULL},
        {"H047 blank stop sequence: the answer", h047, NULL, NULL, NULL},
        {"H081 error in the middle: one read", h081_one_read, NULL, NULL, NULL},
        {"H096 connection cut behind the finish", h096_cut, NULL, NULL, NULL},
        {"H120 our provider key is bad", h120, NULL, NULL, NULL},
        {"H121 HTML 502 from a proxy", h121, NULL, NULL, NULL},
        {"H122 Retry-After forms", h122, NULL, NULL, NULL},
        {"H123 error type words", h123, NULL, NULL, NULL},
        {"H124 spend cap 429", h124, NULL, NULL, NULL},
        {"H127 secrets in messages", h127, NULL, NULL, NULL},
        {"error details", details, NULL, NULL, NULL},
    };
    enum { OTHERS = sizeof others / sizeof *others };
    struct CMUnitTest tests[CASES + OTHERS];
    for (size_t i = 0; i < CASES; i++)
        tests[i] =
            (struct CMUnitTest){cases[i].name, run, NULL, NULL, (void *)(uintptr_t)&cases[i]};
    memcpy(tests + CASES, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
