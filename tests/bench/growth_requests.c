/* Requests of every API to every kind of provider: read, and written as the provider takes them. */
#include "bench/growth.h"
#include "proto/provider_info.h"
#include "unit/services/worker/pipeline_driver.h"

#define LLAMA "meta/meta-llama-3-8b-instruct"
#define SCHEMAS                                                                                    \
    "{\"latest_version\":{\"openapi_schema\":{\"components\":{\"schemas\":{\"Input\":{"            \
    "\"properties\":{\"prompt\":{\"type\":\"string\"},\"prompt_template\":{\"type\":\"string\"}"   \
    "}}}}}}}"

enum route {
    CHAT_OPENAI,
    CHAT_ANTHROPIC,
    CHAT_REPLICATE,
    MESSAGES_OPENAI,
    MESSAGES_ANTHROPIC,
    MESSAGES_REPLICATE,
    COMPLETIONS_OPENAI,
    COUNT_OPENAI,
    RESPONSES_OPENAI
};

static const struct {
    enum api api;
    const struct provider *provider;
    const char *path, *model;
} routes[] = {
    [CHAT_OPENAI] = {API_OPENAI_CHAT, &provider_openai, "/chat/completions", "gpt-4o"},
    [CHAT_ANTHROPIC] = {API_OPENAI_CHAT, &provider_anthropic, "/chat/completions", "claude"},
    [CHAT_REPLICATE] = {API_OPENAI_CHAT, &provider_replicate, "/chat/completions", LLAMA},
    [MESSAGES_OPENAI] = {API_ANTHROPIC_MESSAGES, &provider_openai, "/messages", "gpt-4o"},
    [MESSAGES_ANTHROPIC] = {API_ANTHROPIC_MESSAGES, &provider_anthropic, "/messages", "claude"},
    [MESSAGES_REPLICATE] = {API_ANTHROPIC_MESSAGES, &provider_replicate, "/messages", LLAMA},
    [COMPLETIONS_OPENAI] = {API_OPENAI_COMPLETIONS, &provider_openai, "/completions", "gpt-4o"},
    [COUNT_OPENAI] = {API_ANTHROPIC_COUNT_TOKENS, &provider_openai, "/messages/count_tokens",
                      "gpt-4o"},
    [RESPONSES_OPENAI] = {API_OPENAI_RESPONSES, &provider_openai, "/responses", "gpt-4o"},
};

static struct buf text;

static void prepare(const struct growth_shape *shape, size_t n)
{
    growth_text(shape, n, &text);
}

static void make(const struct growth_shape *shape)
{
    struct driver d;
    driver_init(&d, routes[shape->route].provider, routes[shape->route].api,
                routes[shape->route].path);
    d.spec.target_model = span_str(routes[shape->route].model);
    buf_append(&d.body, buf_span(&text));
    GROWTH_REQUIRE(driver_start(&d, "") == OK);
    if (routes[shape->route].provider == &provider_replicate) {
        driver_answer(&d, 0, 200, "content-type: application/json\n", SCHEMAS);
        GROWTH_REQUIRE(d.sent_count == 2);
    }
    driver_done(&d);
}

#define MODEL "{\"model\":\"m\",\"max_tokens\":9,"
#define CHAT MODEL "\"messages\":["
#define USER "{\"role\":\"user\",\"content\":\"hi\"}"
#define CALL_OF(id, name)                                                                          \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name                      \
    "\",\"arguments\":\"{\\\"a\\\":1}\"}}"
#define ASKS USER ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
#define RESULT_OF(id) ",{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"ok\"}"
#define USE_OF(id) "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":{\"a\":1}}"
#define ANSWER_OF(id) "{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\",\"content\":\"ok\"}"
#define TEXT_PART "{\"type\":\"text\",\"text\":\"hi\"}"
#define IMAGE_PART "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,aGkh\"}}"
#define SCHEMA_TOOL                                                                                \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"
#define USES_TOOL "\"tools\":[{\"name\":\"f\",\"input_schema\":{"

/* Dimensions of a chat request, and of a messages request, to each provider that takes them. */
#define CHAT_SHAPES(name, route)                                                                   \
    {name "_messages", 500, prepare, make, {CHAT USER, "," USER, "]}"}, route},                    \
        {name "_turns",                                                                            \
         300,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT USER, ",{\"role\":\"assistant\",\"content\":\"a@\"}," USER, "]}"},                  \
         route},                                                                                   \
        {name "_system",                                                                           \
         300,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT USER, ",{\"role\":\"system\",\"content\":\"s@\"}", "]}"},                           \
         route},                                                                                   \
        {name "_parts",                                                                            \
         500,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT "{\"role\":\"user\",\"content\":[" TEXT_PART, "," TEXT_PART, "]}]}"},               \
         route},                                                                                   \
        {name "_long_text",                                                                        \
         20000,                                                                                    \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT "{\"role\":\"user\",\"content\":\"", "ab> ", "\"}]}"},                              \
         route},                                                                                   \
        {name "_escaped_text",                                                                     \
         5000,                                                                                     \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT "{\"role\":\"user\",\"content\":\"", "\\u00e4\\n", "\"}]}"},                        \
         route},                                                                                   \
        {name "_unknown_members",                                                                  \
         1000,                                                                                     \
         prepare,                                                                                  \
         make,                                                                                     \
         {MODEL "\"messages\":[" USER "]", ",\"b@\":1", "}"},                                      \
         route},                                                                                   \
        {name "_escaped_members",                                                                  \
         500,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {MODEL "\"messages\":[" USER "]", ",\"\\u006d\\u0061x_tokens\\u005f@\":1", "}"},          \
         route},                                                                                   \
        {name "_message_members",                                                                  \
         1000,                                                                                     \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT "{\"role\":\"user\",\"content\":\"a\"", ",\"b@\":1", "}]}"},                        \
         route},                                                                                   \
    {                                                                                              \
        name "_stops", 60, prepare, make,                                                          \
            {MODEL "\"messages\":[" USER "],\"stop\":[\",\"", ",\" ,@\"", "]}"}, route             \
    }

#define CHAT_TOOL_SHAPES(name, route)                                                              \
    {name "_calls_with_one_id",                                                                    \
     300,                                                                                          \
     prepare,                                                                                      \
     make,                                                                                         \
     {CHAT ASKS CALL_OF("a", "f"), "," CALL_OF("a", "f"), "]}" RESULT_OF("a"), RESULT_OF("a"),     \
      "]}"},                                                                                       \
     route},                                                                                       \
        {name "_calls_and_results",                                                                \
         300,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT ASKS CALL_OF("a", "f"), "," CALL_OF("c@", "f@"), "]}" RESULT_OF("a"),               \
          RESULT_OF("c@"), "]}"},                                                                  \
         route},                                                                                   \
        {name "_calls_that_fit_alike",                                                             \
         300,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT ASKS CALL_OF("a", "f"), "," CALL_OF("a.b", "f"), "," CALL_OF("x", "f"),             \
          "," CALL_OF("a_b_@", "f"), "]}," USER "]}"},                                             \
         route},                                                                                   \
        {name "_calls_without_results",                                                            \
         300,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT ASKS CALL_OF("a", "f"), "," CALL_OF("c@", "f"), "]}," USER "]}"},                   \
         route},                                                                                   \
        {name "_assistants_in_a_row",                                                              \
         1000,                                                                                     \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT ASKS CALL_OF("a", "f") "]}",                                                        \
          ",{\"role\":\"assistant\",\"tool_calls\":[" CALL_OF("c@", "f") "]}", "," USER "]}"},     \
         route},                                                                                   \
        {name "_rounds_of_calls",                                                                  \
         300,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT USER,                                                                               \
          ",{\"role\":\"assistant\",\"tool_calls\":[" CALL_OF("c", "f") "]}" RESULT_OF("c"),       \
          "," USER "]}"},                                                                          \
         route},                                                                                   \
        {name "_call_arguments",                                                                   \
         2000,                                                                                     \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT ASKS                                                                                \
          "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{"     \
          "\\\"a\\\":0",                                                                           \
          ",\\\"b@\\\":1", "}\"}}]}," USER "]}"},                                                  \
         route},                                                                                   \
        {name "_tools",                                                                            \
         30,                                                                                       \
         prepare,                                                                                  \
         make,                                                                                     \
         {MODEL "\"messages\":[" USER "]," SCHEMA_TOOL "}}}",                                      \
          ",{\"type\":\"function\",\"function\":{\"name\":\"f@\",\"parameters\":{}}}", "]}"},      \
         route},                                                                                   \
        {name "_wide_schema",                                                                      \
         1000,                                                                                     \
         prepare,                                                                                  \
         make,                                                                                     \
         {MODEL "\"messages\":[" USER "]," SCHEMA_TOOL "\"a\":0", ",\"b@\":1", "}}}]}"},           \
         route},                                                                                   \
        {name "_deep_schema",                                                                      \
         30,                                                                                       \
         prepare,                                                                                  \
         make,                                                                                     \
         {MODEL "\"messages\":[" USER "]," SCHEMA_TOOL "\"a\":", "[", "0", "]", "}}}]}"},          \
         route},                                                                                   \
    {                                                                                              \
        name "_images", 200, prepare, make,                                                        \
            {CHAT "{\"role\":\"user\",\"content\":[" TEXT_PART, "," IMAGE_PART, "]}]}"}, route     \
    }

#define MESSAGES_SHAPES(name, route)                                                               \
    {name "_messages", 500, prepare, make, {CHAT USER, "," USER, "]}"}, route},                    \
        {name "_blocks",                                                                           \
         500,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT "{\"role\":\"user\",\"content\":[" TEXT_PART, "," TEXT_PART, "]}]}"},               \
         route},                                                                                   \
        {name "_system",                                                                           \
         500,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {MODEL "\"system\":[" TEXT_PART, "," TEXT_PART, "],\"messages\":[" USER "]}"},            \
         route},                                                                                   \
        {name "_long_text",                                                                        \
         20000,                                                                                    \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT "{\"role\":\"user\",\"content\":\"", "ab> ", "\"}]}"},                              \
         route},                                                                                   \
    {                                                                                              \
        name "_block_members", 1000, prepare, make,                                                \
            {CHAT "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"",             \
             ",\"b@\":1", "}]}]}"},                                                                \
            route                                                                                  \
    }

#define MESSAGES_TOOL_SHAPES(name, route)                                                          \
    {name "_uses_and_results",                                                                     \
     300,                                                                                          \
     prepare,                                                                                      \
     make,                                                                                         \
     {CHAT USER ",{\"role\":\"assistant\",\"content\":[" USE_OF("a"), "," USE_OF("c@"),            \
      "]},{\"role\":\"user\",\"content\":[" ANSWER_OF("a"), "," ANSWER_OF("c@"), "]}]}"},          \
     route},                                                                                       \
        {name "_uses_with_one_id",                                                                 \
         300,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT USER ",{\"role\":\"assistant\",\"content\":[" USE_OF("a"), "," USE_OF("a"),         \
          "]},{\"role\":\"user\",\"content\":[" ANSWER_OF("a"), "," ANSWER_OF("a"), "]}]}"},       \
         route},                                                                                   \
        {name "_result_parts",                                                                     \
         300,                                                                                      \
         prepare,                                                                                  \
         make,                                                                                     \
         {CHAT USER ",{\"role\":\"assistant\",\"content\":[" USE_OF(                               \
              "a") "]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":" \
                   "\"a\",\"content\":[" TEXT_PART,                                                \
          "," TEXT_PART, "]}]}]}"},                                                                \
         route},                                                                                   \
        {name "_wide_schema",                                                                      \
         1000,                                                                                     \
         prepare,                                                                                  \
         make,                                                                                     \
         {MODEL "\"messages\":[" USER "]," USES_TOOL "\"a\":0", ",\"b@\":1", "}}]}"},              \
         route},                                                                                   \
    {                                                                                              \
        name "_stops", 60, prepare, make,                                                          \
            {MODEL "\"messages\":[" USER "],\"stop_sequences\":[\"a\"", ",\"b@\"", "]}"}, route    \
    }

const struct growth_shape growth_requests[] = {
    CHAT_SHAPES("chat_openai", CHAT_OPENAI),
    CHAT_SHAPES("chat_anthropic", CHAT_ANTHROPIC),
    CHAT_SHAPES("chat_replicate", CHAT_REPLICATE),
    CHAT_TOOL_SHAPES("chat_anthropic", CHAT_ANTHROPIC),
    MESSAGES_SHAPES("messages_openai", MESSAGES_OPENAI),
    MESSAGES_SHAPES("messages_anthropic", MESSAGES_ANTHROPIC),
    MESSAGES_SHAPES("messages_replicate", MESSAGES_REPLICATE),
    MESSAGES_SHAPES("count_openai", COUNT_OPENAI),
    MESSAGES_TOOL_SHAPES("messages_openai", MESSAGES_OPENAI),
    MESSAGES_TOOL_SHAPES("messages_anthropic", MESSAGES_ANTHROPIC),
    {"completions_prompts",
     30,
     prepare,
     make,
     {"{\"model\":\"m\",\"prompt\":[\"a\"", ",\"b@\"", "]}"},
     COMPLETIONS_OPENAI},
    {"responses_items",
     500,
     prepare,
     make,
     {"{\"model\":\"m\",\"input\":[" USER, "," USER, "]}"},
     RESPONSES_OPENAI},
    {0},
};
