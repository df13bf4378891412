/* The hard cases (tests/fixtures/hard_cases.jsonl) about what an upstream is sent: areas json, req
 * o2a, req a2o, completions, and H131. */
#include "contract/test_support.h"

#include <stdio.h>

enum { MAX_CHECKS = 8 };

struct request_case {
    const char *name;
    enum api api;
    const struct provider *provider;
    const char *model;
    const char *body;
    struct {
        const char *path, *raw; /* raw NULL: nothing stands there */
    } checks[MAX_CHECKS];
    const char *dropped;  /* is in x-tollgate-dropped */
    unsigned error_class; /* refused before anything is sent … */
    const char *param;    /* … for this member */
    const char *message;  /* … with these words among others */
    const char *base_url; /* of another endpoint than the provider's own */
    const char *mark;
};

#define USER_HI "{\"role\":\"user\",\"content\":\"hi\"}"
#define O2A API_OPENAI_CHAT, &provider_anthropic
#define A2O API_ANTHROPIC_MESSAGES, &provider_openai
#define COMPATIBLE "http://127.0.0.1:8000/v1"

#define TOOL_USE                                                                                   \
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":"     \
    "\"f\",\"input\":{}}]}"
#define CALL(id, arguments)                                                                        \
    "{\"id\":\"" id                                                                                \
    "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":" arguments "}}"
#define CALLS(calls) "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" calls "]}"
#define RESULT(id, content)                                                                        \
    "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" content "\"}"
#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"     \
    "\"object\"}}}]"
#define IMAGE(url) "{\"type\":\"image_url\",\"image_url\":{\"url\":\"" url "\"}}"

static const struct request_case cases[] = {
    /* ---- json ---- */
    {.name = "H024 escapes kept: same protocol",
     API_OPENAI_CHAT,
     &provider_openai,
     "m",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"caf\\u00e9 \\/ "
     "\\u003ctag\\u003e\"}]}",
     {{"messages.0.content", "\"caf\\u00e9 \\/ \\u003ctag\\u003e\""}}},
    {.name = "H024 escapes kept: other protocol",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"caf\\u00e9 \\/ "
     "\\u003ctag\\u003e\"}]}",
     {{"messages.0.content.0.text", "\"caf\\u00e9 \\/ \\u003ctag\\u003e\""}}},
    {.name = "H025 big integers in tool input: to OpenAI",
     A2O,
     "gpt-x",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI
     ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\","
     "\"id\":\"t\",\"name\":\"f\",\"input\":{\"id\": 12345678901234567890, \"n\": "
     "9007199254740993}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\"}]}]}",
     {{"messages.1.tool_calls.0.function.arguments",
       "\"{\\\"id\\\":12345678901234567890,\\\"n\\\":9007199254740993}\""}}},
    {.name = "H025 big integers in tool input: to Anthropic",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "," CALLS(
         CALL("a", "\"{\\\"id\\\": 12345678901234567890}\"")) "," RESULT("a", "1") "]," TOOLS "}",
     {{"messages.1.content.0.input.id", "12345678901234567890"}}},
    {.name = "H026 small and odd floats",
     A2O,
     "gpt-x",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI
     ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\","
     "\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":1e-7,\"b\":1.0,\"c\":5.50,\"d\":-0,\"e\":"
     "1E400}}"
     "]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\"}]}]}",
     {{"messages.1.tool_calls.0.function.arguments",
       "\"{\\\"a\\\":1e-7,\\\"b\\\":1.0,\\\"c\\\":5.50,\\\"d\\\":-0,\\\"e\\\":1E400}\""}}},
    {.name = "H027 key order and unknown keys in schemas",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":"
     "{\"z\":1,\"$defs\":{},\"anyOf\":[],\"type\":\"object\",\"x-foo\":true}}}]}",
     {{"tools.0.input_schema",
       "{\"z\":1,\"$defs\":{},\"anyOf\":[],\"type\":\"object\",\"x-foo\":true}"}}},
    {.name = "H028 duplicate keys",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"a\",\"model\":\"b\",\"messages\":[" USER_HI "]}",
     .error_class = ERROR_INVALID_VALUE,
     .param = "model"},
    {.name = "H028 duplicate keys: escaped name, same protocol",
     API_OPENAI_CHAT,
     &provider_openai,
     "m",
     "{\"model\":\"a\",\"mod\\u0065l\":\"b\",\"messages\":[" USER_HI "]}",
     .error_class = ERROR_INVALID_VALUE,
     .param = "model"},
    {.name = "H031 not UTF-8 body",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}",
     .error_class = ERROR_INVALID_JSON},
    {.name = "H032 trailing garbage",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[]} xyz",
     .error_class = ERROR_INVALID_JSON},
    {.name = "H032 trailing white space is fine",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "]} \r\n\t ",
     {{"messages.0.role", "\"user\""}}},
    {.name = "H033 explicit nulls",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "],\"temperature\":null,\"tools\":null,\"stop\":null,\"max_tokens\":null,"
     "\"stream\":null}",
     {{"temperature", NULL}, {"tools", NULL}, {"stop_sequences", NULL}, {"max_tokens", "64000"}}},
    {.name = "H034 wrong types: stream",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"stream\":\"true\"}",
     .error_class = ERROR_INVALID_VALUE,
     .param = "stream"},
    {.name = "H034 wrong types: max_tokens",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"max_tokens\":\"100\"}",
     .error_class = ERROR_INVALID_VALUE,
     .param = "max_tokens"},
    {.name = "H034 wrong types: messages",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":{}}",
     .error_class = ERROR_INVALID_VALUE,
     .param = "messages"},

    /* ---- OpenAI → Anthropic ---- */
    {.name = "H035 several system and developer messages",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"A\"},{\"role\":"
     "\"user\","
     "\"content\":\"u\"},"
     "{\"role\":\"developer\",\"content\":\"B\"},{\"role\":\"assistant\",\"content\":\"x\"},{"
     "\"role\":\"system\",\"content\":["
     "{\"type\":\"text\",\"text\":\"C\"},{\"type\":\"text\",\"text\":\"\"}]},{\"role\":"
     "\"user\","
     "\"content\":\"v\"}]}",
     {{"system", "[{\"type\":\"text\",\"text\":\"A\"},{\"type\":\"text\",\"text\":\"B\"},{\"type\":"
                 "\"text\",\"text\":\"C\"}]"},
      {"messages", "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"u\"}]},{"
                   "\"role\":\"assistant\",\"content\":["
                   "{\"type\":\"text\",\"text\":\"x\"}]},{\"role\":\"user\",\"content\":[{\"type\":"
                   "\"text\",\"text\":\"v\"}]}]"}}},
    {.name = "H036 system only",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"A\"}]}",
     .error_class = ERROR_INVALID_VALUE,
     .param = "messages"},
    {.name = "H037 two tool results then user text",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "," CALLS(CALL("a", "\"{}\"") "," CALL("b", "\"{}\"")) "," RESULT("a", "1") "," RESULT(
         "b", "2") ",{\"role\":\"user\",\"content\":\"go\"}]," TOOLS "}",
     {{"messages.2.role", "\"user\""},
      {"messages.2.content.0.tool_use_id", "\"a\""},
      {"messages.2.content.0.content", "\"1\""},
      {"messages.2.content.1.tool_use_id", "\"b\""},
      {"messages.2.content.2.text", "\"go\""},
      {"messages.3", NULL}}},
    {.name = "H038 content null with tool_calls",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "," CALLS(CALL("a", "\"{}\"")) "," RESULT("a", "1") "]," TOOLS "}",
     {{"messages.1.content.0.type", "\"tool_use\""}, {"messages.1.content.1", NULL}}},
    {.name = "H039 empty strings",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\"}," USER_HI "]}",
     {{"messages", "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]"}}},
    {.name = "H040 assistant empty and no calls",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     ",{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"ho\"}]}",
     {{"messages", "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":"
                   "\"text\",\"text\":\"ho\"}]}]"}}},
    {.name = "H041 arguments empty string",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "," CALLS(CALL("a", "\"\"") "," CALL(
         "b", "\" \\n\"")) "," RESULT("a", "1") "," RESULT("b", "1") "]," TOOLS "}",
     {{"messages.1.content.0.input", "{}"}, {"messages.1.content.1.input", "{}"}}},
    {.name = "H042 arguments broken or not an object",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "," CALLS(CALL("a", "\"{\\\"a\\\": 1\"") "," CALL("b", "\"[1]\"") "," CALL(
         "c", "\"null\"")) "," RESULT("a", "1") "," RESULT("b", "1") "," RESULT("c", "1") "]," TOOLS
                                                                                          "}",
     {{"messages.1.content.0.input._raw", "\"{\\\"a\\\": 1\""},
      {"messages.1.content.1.input._raw", "\"[1]\""},
      {"messages.1.content.2.input._raw", "\"null\""}}},
    {.name = "H043 parallel_tool_calls false without tool_choice",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "]," TOOLS ",\"parallel_tool_calls\":false}",
     {{"tool_choice", "{\"type\":\"auto\",\"disable_parallel_tool_use\":true}"}}},
    {.name = "H044 parallel_tool_calls false with none",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "]," TOOLS
     ",\"parallel_tool_calls\":false,\"tool_choice\":\"none\"}",
     {{"tool_choice", "{\"type\":\"none\"}"}}},
    {.name = "H045 parallel_tool_calls without tools",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"parallel_tool_calls\":false}",
     {{"tools", NULL}, {"tool_choice", NULL}}},
    {.name = "H046 stop as string",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"stop\":\"END\"}",
     {{"stop_sequences", "[\"END\"]"}}},
    {.name = "H047 blank stop sequence: the request",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"stop\":[\"\\n\",\"END\"]}",
     {{"stop_sequences", "[\"END\"]"}}},
    {.name = "H048 no max tokens: from the table",
     O2A,
     "claude-opus-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"stream\":true}",
     {{"max_tokens", "64000"}}},
    {.name = "H048 no max tokens: unknown model",
     O2A,
     "no-such-model",
     "{\"model\":\"m\",\"messages\":[" USER_HI "]}",
     {{"max_tokens", "8192"}}},
    {.name = "H049 both max fields",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"max_tokens\":10,\"max_completion_tokens\":20}",
     {{"max_tokens", "20"}}},
    {.name = "H050 temperature above 1",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"temperature\":1.7}",
     {{"temperature", "1"}}},
    {.name = "H051 sampling params on new models",
     O2A,
     "claude-opus-4-7",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"temperature\":0.2,\"top_p\":0.9}",
     {{"temperature", NULL}, {"top_p", NULL}},
     .dropped = "temperature, top_p"},
    {.name = "H052 reasoning_effort: budget",
     O2A,
     "claude-sonnet-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "],\"reasoning_effort\":\"high\",\"max_completion_tokens\":2000,\"temperature\":0.5}",
     {{"thinking.type", "\"enabled\""}, {"thinking.budget_tokens", "1999"}, {"temperature", NULL}}},
    {.name = "H052 reasoning_effort: adaptive",
     O2A,
     "claude-opus-4-6",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "],\"reasoning_effort\":\"high\",\"max_completion_tokens\":2000,\"temperature\":0.5}",
     {{"thinking.type", "\"adaptive\""},
      {"output_config.effort", "\"high\""},
      {"temperature", NULL}}},
    {.name = "H052 reasoning_effort: adaptive only",
     O2A,
     "claude-opus-4-7",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "],\"reasoning_effort\":\"high\",\"max_completion_tokens\":2000,\"temperature\":0.5}",
     {{"thinking.type", "\"adaptive\""},
      {"thinking.budget_tokens", NULL},
      {"output_config.effort", "\"high\""},
      {"temperature", NULL}}},
    {.name = "H053 effort with forced tool",
     O2A,
     "claude-sonnet-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"reasoning_effort\":\"high\"," TOOLS
     ",\"tool_choice\":\"required\"}",
     {{"thinking", NULL}, {"tool_choice", "{\"type\":\"any\"}"}}},
    {.name = "H054 data URL variants: jpg and a parameter",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[" IMAGE(
         "data:image/"
         "jpg;charset=utf-8;"
         "base64,AA==") "," IMAGE("DATA:image/PNG;BASE64,AA==") "," IMAGE("data:image/"
                                                                          "gif,%47%49") "]}]}",
     {{"messages.0.content.0.source",
       "{\"type\":\"base64\",\"media_type\":\"image/jpeg\",\"data\":\"AA==\"}"},
      {"messages.0.content.1.source",
       "{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"AA==\"}"},
      {"messages.0.content.2.source",
       "{\"type\":\"base64\",\"media_type\":\"image/gif\",\"data\":\"R0k=\"}"}}},
    {.name = "H054 data URL variants: a type nobody takes",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[" IMAGE(
         "data:image/svg+xml;base64,AA==") "]}]}",
     .error_class = ERROR_INVALID_VALUE,
     .param = "messages[0].content[0]"},
    {.name = "H055 PDF in image_url",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[" IMAGE(
         "data:application/pdf;base64,JVBERi0=") "]}]}",
     {{"messages.0.content.0.type", "\"document\""},
      {"messages.0.content.0.source",
       "{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBERi0=\"}"}}},
    {.name = "H056 tool id with illegal characters",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "," CALLS(CALL("functions.get:0", "\"{}\"")) "," RESULT("functions.get:0", "1") "]," TOOLS "}",
     {{"messages.1.content.0.id", "\"functions_get_0\""},
      {"messages.2.content.0.tool_use_id", "\"functions_get_0\""}}},
    {.name = "H057 tool without parameters",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"now\"}}]}",
     {{"tools.0.input_schema", "{\"type\":\"object\",\"properties\":{}}"},
      {"tools.0.description", NULL}}},
    {.name = "H058 history with tools, request without",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI
     "," CALLS(CALL("a", "\"{}\"")) "," RESULT("a", "1") "]}",
     {{"tools.0.name", "\"f\""},
      {"tools.0.input_schema.type", "\"object\""},
      {"tool_choice", "{\"type\":\"none\"}"}}},
    {.name = "H059 orphan tool message",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "," RESULT("call_lost", "1") "]}",
     .error_class = ERROR_INVALID_VALUE,
     .message = "call_lost"},
    {.name = "H060 json_object",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"A\"}," USER_HI
     "],\"response_format\":{\"type\":"
     "\"json_object\"}}",
     {{"system.0.text", "\"A\""},
      {"system.1.text", "\"Answer with one JSON object only, no other text.\""},
      {"system.2", NULL},
      {"messages.1", NULL}}},
    {.name = "H061 user is an e-mail",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"user\":\"a@b.c\"}",
     {{"metadata.user_id",
       "\"d648b243a3e817eaa3309e00e183483f2867baadf522099f0c2121770536b25a\""}}},
    {.name = "H062 n",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"n\":2}",
     .error_class = ERROR_UNSUPPORTED_PARAMETER,
     .param = "n"},
    {.name = "H062 logprobs",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"logprobs\":true}",
     .error_class = ERROR_UNSUPPORTED_PARAMETER,
     .param = "logprobs"},
    {.name = "H063 stream_options without stream: OpenAI judges",
     API_OPENAI_CHAT,
     &provider_openai,
     "m",
     "{\"model\":\"m\",\"messages\":[" USER_HI "],\"stream_options\":{\"include_usage\":true}}",
     {{"stream_options", "{\"include_usage\":true}"}, {"stream", NULL}}},
    {.name = "H063 stream_options without stream: ignored for Claude",
     O2A,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI
     "],\"stream_options\":{\"include_usage\":true}}",
     {{"stream_options", NULL}, {"stream", NULL}}},

    /* ---- Anthropic → OpenAI ---- */
    {.name = "H101 tool_result after text in one user turn",
     A2O,
     "gpt-x",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI "," TOOL_USE
     ",{\"role\":\"user\",\"content\":[{\"type\":\"text\","
     "\"text\":\"see\"},{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\",\"content\":"
     "\"1\"},{"
     "\"type\":\"image\",\"source\":{"
     "\"type\":\"url\",\"url\":\"https://x.test/a.png\"}}]}]}",
     {{"messages.2", "{\"role\":\"tool\",\"tool_call_id\":\"toolu_1\",\"content\":\"1\"}"},
      {"messages.3.content.0", "{\"type\":\"text\",\"text\":\"see\"}"},
      {"messages.3.content.1",
       "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.test/a.png\"}}"},
      {"messages.4", NULL}}},
    {.name = "H102 tool_result with image and is_error",
     A2O,
     "gpt-x",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI "," TOOL_USE
     ",{\"role\":\"user\",\"content\":[{\"type\":"
     "\"tool_result\",\"tool_use_id\":\"toolu_1\",\"is_error\":true,\"content\":[{\"type\":"
     "\"text\",\"text\":\"bad\"},{\"type\":"
     "\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a.png\"}}]}]}]}",
     {{"messages.2.content", "\"Error: bad[image]\""},
      {"messages.3.content.0.image_url.url", "\"https://x.test/a.png\""}}},
    {.name = "H103 system blocks",
     A2O,
     "gpt-x",
     "{\"model\":\"m\",\"max_tokens\":9,\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_"
     "control\":{\"type\":\"ephemeral\"}},"
     "{\"type\":\"text\",\"text\":\"b\"}],\"messages\":[" USER_HI "]}",
     {{"messages.0", "{\"role\":\"system\",\"content\":\"a\\n\\nb\"}"}}},
    {.name = "H104 stop_sequences five: OpenAI",
     A2O,
     "gpt-x",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI
     "],\"stop_sequences\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}",
     .error_class = ERROR_INVALID_VALUE,
     .param = "stop_sequences",
     .message = "4"},
    {.name = "H104 stop_sequences five: compatible host",
     A2O,
     "gpt-x",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI
     "],\"stop_sequences\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}",
     {{"stop", "[\"a\",\"b\",\"c\",\"d\",\"e\"]"}},
     .base_url = COMPATIBLE,
     .mark = "many_stops"},
    {.name = "H105 thinking history",
     A2O,
     "gpt-x",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI
     ",{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
     "\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":"
     "\"f\","
     "\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":\"1\"}]}]}",
     {{"messages.1.tool_calls.0.id", "\"t\""},
      {"messages.1.reasoning_content", NULL},
      {"messages.1.thinking_blocks", NULL}}},

    /* ---- completions ---- */
    {.name = "H119 token prompt",
     API_OPENAI_COMPLETIONS,
     &provider_anthropic,
     "claude-haiku-4-5",
     "{\"model\":\"m\",\"prompt\":[1,2,3]}",
     .error_class = ERROR_UNSUPPORTED_PARAMETER,
     .param = "prompt"},

    /* ---- http ---- */
    {.name = "H131 pass-through bytes",
     API_OPENAI_CHAT,
     &provider_openai,
     "m",
     "{ \"foo\":{\"bar\":1.10}, \"model\" : \"m\" ,\"messages\":[" USER_HI "]\n}",
     {{"", "{ \"foo\":{\"bar\":1.10}, \"model\" : \"m\" ,\"messages\":[" USER_HI "]\n}"}}},
};
enum { CASES = sizeof cases / sizeof *cases };

static void expect_refusal(struct driver *d, const struct request_case *c, enum err err)
{
    if (err == OK)
        fail_msg("sent %.*s", SPAN_ARG(contract_sent(d, 0)));
    assert_string_equal(error_info(d->fault.error_class)->name, error_info(c->error_class)->name);
    if (c->param)
        assert_true(span_is(d->fault.param, c->param));
    if (c->message)
        assert_true(span_find_span(d->fault.message, span_str(c->message)) < d->fault.message.len);
}

static void expect_sent(struct driver *d, const struct request_case *c)
{
    struct span sent = contract_sent(d, 0);
    for (size_t i = 0; i < MAX_CHECKS && c->checks[i].path; i++) {
        if (c->checks[i].raw)
            expect_at(sent, c->checks[i].path, c->checks[i].raw);
        else
            expect_nothing_at(sent, c->checks[i].path);
    }
    struct span headers = pipeline_result(d->pipeline)->headers;
    if (c->dropped && span_find_span(headers, span_str(c->dropped)) == headers.len)
        fail_msg("%s is not in %.*s", c->dropped, SPAN_ARG(headers));
}

static void run(void **state)
{
    const struct request_case *c = *state;
    const char *mark = c->mark;
    struct config_provider provider_config = {.compat = {&mark, mark ? 1 : 0}};
    struct driver d;
    contract_init(&d, c->api, c->provider, c->model);
    d.spec.provider_config = &provider_config;
    if (c->base_url)
        d.spec.base_url = span_str(c->base_url);
    enum err err = driver_start(&d, c->body);
    if (c->error_class)
        expect_refusal(&d, c, err);
    else if (err)
        fail_msg("refused: %.*s (%.*s)", SPAN_ARG(d.fault.message), SPAN_ARG(d.fault.param));
    else
        expect_sent(&d, c);
    driver_done(&d);
}

/* ---- those that need more than one look ---- */

static void h029(void **state)
{
    (void)state;
    enum { DEEP = 200000 };
    char *body = malloc(DEEP + 1);
    assert_non_null(body);
    memset(body, '[', DEEP);
    body[DEEP] = 0;
    static const enum api apis[] = {API_OPENAI_CHAT, API_ANTHROPIC_MESSAGES};
    for (size_t i = 0; i < 2; i++) {
        struct driver d;
        contract_init(&d, apis[i], &provider_anthropic, "claude-haiku-4-5");
        assert_int_equal(driver_start(&d, body), ERR_INVALID);
        assert_int_equal(d.fault.error_class, ERROR_INVALID_JSON);
        driver_done(&d);
    }
    free(body);
}

static void h030(void **state)
{
    (void)state;
    struct buf body = {0};
    buf_append_str(&body, "{\"model\":\"m\",\"messages\":[" USER_HI
                          "],\"tools\":[{\"type\":\"function\",\"function\":{"
                          "\"name\":\"f\",\"parameters\":");
    for (int i = 0; i < 100; i++)
        buf_append_str(&body, "{\"type\":\"object\",\"x\":");
    buf_append_str(&body, "1");
    for (int i = 0; i < 100; i++)
        buf_append_str(&body, "}");
    buf_append_str(&body, "}}]}");
    buf_append_char(&body, 0);
    struct driver d;
    contract_init(&d, API_OPENAI_CHAT, &provider_anthropic, "claude-haiku-4-5");
    contract_start(&d, body.data);
    expect_at(contract_sent(&d, 0), "tools.0.input_schema.x.x.type", "\"object\"");
    driver_done(&d);
    buf_free(&body);
}

/* The id is longer than OpenAI takes: both places get the same shorter one. */
static void h107(void **state)
{
    (void)state;
#define LONG_ID "toolu_0123456789012345678901234567890123456789012345678901234567"
    struct driver d;
    contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_openai, "gpt-x");
    contract_start(&d,
                   "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[" USER_HI
                   ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"" LONG_ID
                   "\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":"
                   "\"tool_result\","
                   "\"tool_use_id\":\"" LONG_ID "\",\"content\":\"1\"}]}]}");
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, contract_sent(&d, 0), 64), OK);
    struct json messages = json_get(json_root(&doc), "messages");
    struct span pipeline =
        json_text(json_get(json_at(json_get(json_at(messages, 1), "tool_calls"), 0), "id"));
    struct span result = json_text(json_get(json_at(messages, 2), "tool_call_id"));
    assert_true(span_starts(pipeline, "call_"));
    assert_int_equal(pipeline.len, strlen("call_") + 32);
    assert_true(span_equals(pipeline, result));
    json_doc_free(&doc);
    driver_done(&d);
}

static void h106(void **state)
{
    (void)state;
    struct driver d;
    contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_openai, "gpt-x");
    d.spec.input_tokens = 1234;
    contract_start(&d, "{\"model\":\"m\",\"max_tokens\":0,\"messages\":[" USER_HI "]}");
    assert_int_equal(d.sent_count, 0);
    struct span out = contract_output(&d);
    expect_at(out, "content", "[]");
    expect_at(out, "stop_reason", "\"max_tokens\"");
    expect_at(out, "usage.input_tokens", "1234");
    driver_done(&d);
}

static void h118(void **state)
{
    (void)state;
    struct driver d;
    static const struct config_model native = {.completions = "native"};
    contract_init(&d, API_OPENAI_COMPLETIONS, &provider_openai, "gpt-3.5-turbo-instruct");
    d.spec.model_config = &native;
    static const char body[] =
        "{\"model\":\"gpt-3.5-turbo-instruct\",\"prompt\":[\"a\",\"b\"],\"n\":2}";
    contract_start(&d, body);
    assert_true(span_is(contract_sent(&d, 0), body));
    driver_done(&d);

    contract_init(&d, API_OPENAI_COMPLETIONS, &provider_anthropic, "claude-haiku-4-5");
    contract_start(&d, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"n\":1}");
    assert_int_equal(d.sent_count, 2);
    for (size_t i = 2; i-- > 0;) {
        contract_answer(&d, i, 200,
                        i ? SPAN("{\"id\":\"msg_2\",\"type\":\"message\",\"role\":\"assistant\","
                                 "\"model\":\"x\",\"content\":[{"
                                 "\"type\":\"text\",\"text\":\"B\"}],\"stop_reason\":\"end_turn\","
                                 "\"usage\":{\"input_tokens\":1,"
                                 "\"output_tokens\":2}}")
                          : SPAN("{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
                                 "\"model\":\"x\",\"content\":[{"
                                 "\"type\":\"text\",\"text\":\"A\"}],\"stop_reason\":\"end_turn\","
                                 "\"usage\":{\"input_tokens\":3,"
                                 "\"output_tokens\":4}}"));
    }
    struct span out = contract_output(&d);
    expect_at(out, "choices.0.index", "0");
    expect_at(out, "choices.0.text", "\"A\"");
    expect_at(out, "choices.1.index", "1");
    expect_at(out, "choices.1.text", "\"B\"");
    expect_nothing_at(out, "choices.2");
    expect_at(out, "usage.total_tokens", "10");
    driver_done(&d);
}

int main(void)
{
    const struct CMUnitTest others[] = {
        {"H029 deep nesting bomb", h029, NULL, NULL, NULL},
        {"H030 deep but legal schema", h030, NULL, NULL, NULL},
        {"H106 max_tokens 0", h106, NULL, NULL, NULL},
        {"H107 long tool id", h107, NULL, NULL, NULL},
        {"H118 prompt list with n", h118, NULL, NULL, NULL},
    };
    enum { OTHERS = sizeof others / sizeof *others };
    struct CMUnitTest tests[CASES + OTHERS];
    for (size_t i = 0; i < CASES; i++)
        tests[i] =
            (struct CMUnitTest){cases[i].name, run, NULL, NULL, (void *)(uintptr_t)&cases[i]};
    memcpy(tests + CASES, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
