/* OpenAI requests to Anthropic (golden req_o2a_*; H035 to H063, H118, H119). */
#include "unit/services/worker/providers/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TOOL                                                                                       \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"type\":"   \
    "\"object\"}}}]"

static void the_golden_requests_come_out_as_written(void **state)
{
    (void)state;
    static const struct {
        const char *name, *model;
        enum api api;
    } cases[] = {
        {"req_o2a_tools", "claude-haiku-4-5", API_OPENAI_CHAT},
        {"req_o2a_images", "claude-haiku-4-5", API_OPENAI_CHAT},
        {"req_o2a_schema_effort_47", "claude-opus-4-7", API_OPENAI_CHAT},
        {"req_o2a_effort_budget", "claude-sonnet-4-5", API_OPENAI_CHAT},
        {"req_o2a_nulls_defaults", "claude-haiku-4-5", API_OPENAI_CHAT},
        {"completions_request", "claude-haiku-4-5", API_OPENAI_COMPLETIONS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[200];
        struct rig r;
        print_message("  %s\n", cases[i].name);
        (void)snprintf(path, sizeof path, "golden/%s/in.json", cases[i].name);
        struct span in = rig_fixture(path);
        (void)snprintf(path, sizeof path, "golden/%s/out.json", cases[i].name);
        struct span out = rig_fixture(path);
        rig_init(&r, &provider_anthropic, cases[i].model);
        assert_int_equal(rig_build(&r, cases[i].api, in), OK);
        assert_string_equal(r.pc.next->method, "POST");
        assert_true(span_is(r.pc.next->path, "/messages"));
        assert_json_same(r.pc.next->body, out);
        rig_free(&r);
        free((char *)(uintptr_t)in.data);
        free((char *)(uintptr_t)out.data);
    }
}

/* One request, and what one member of what goes upstream is. */
struct member_case {
    const char *name, *model, *body, *path, *value;
};

static const struct member_case members[] = {
    {"H035 system and developer texts, wherever they stand", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"A\"},{\"role\":\"user\",\"content\":\"u\"},"
     "{\"role\":\"developer\",\"content\":\"B\"},{\"role\":\"assistant\",\"content\":\"x\"},"
     "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"C\"},{\"type\":\"text\","
     "\"text\":\"\"}]},"
     "{\"role\":\"user\",\"content\":\"v\"}]}",
     "system",
     "[{\"type\":\"text\",\"text\":\"A\"},{\"type\":\"text\",\"text\":\"B\"},{\"type\":\"text\","
     "\"text\":\"C\"}]"},
    {"H037 two tool results, then text, in one turn", "claude-haiku-4-5",
     "{" TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
     "\"content\":null,\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}},"
     "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]},"
     "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"},{\"role\":\"tool\",\"tool_call_"
     "id\":\"b\",\"content\":\"2\"},"
     "{\"role\":\"user\",\"content\":\"go\"}]}",
     "messages.2.content",
     "[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"1\"},"
     "{\"type\":\"tool_result\",\"tool_use_id\":\"b\",\"content\":\"2\"},{\"type\":\"text\","
     "\"text\":\"go\"}]"},
    {"H038 null content leaves no empty text block", "claude-haiku-4-5",
     "{" TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
     "\"content\":null,\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]},"
     "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"\"}]}",
     "messages.1.content", "[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]"},
    {"an empty result has no content", "claude-haiku-4-5",
     "{" TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
     "\"content\":null,\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]},"
     "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"\"}]}",
     "messages.2.content", "[{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]"},
    {"H039 empty strings vanish, turns of one role merge", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"hi\"},{"
     "\"role\":\"user\",\"content\":\"ho\"}]}",
     "messages",
     "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":\"text\","
     "\"text\":\"ho\"}]}]"},
    {"H040 an empty assistant vanishes, its neighbours merge", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
     "\"\"},{\"role\":\"user\",\"content\":\"b\"}]}",
     "messages",
     "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
     "\"text\":\"b\"}]}]"},
    {"H042 broken arguments are kept as text", "claude-haiku-4-5",
     "{" TOOL
     ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{"
     "\\\"a\\\": 1\"}},"
     "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"[1]\"}},"
     "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\" \"}}]}]}",
     "messages.1.content",
     "[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{\"_raw\":\"{\\\"a\\\": "
     "1\"}},"
     "{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"get\",\"input\":{\"_raw\":\"[1]\"}},"
     "{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"get\",\"input\":{}}]"},
    {"calls nobody answered get a result", "claude-haiku-4-5",
     "{" TOOL
     ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]},"
     "{\"role\":\"user\",\"content\":\"never mind\"}]}",
     "messages.2.content",
     "[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"no "
     "result\",\"is_error\":true},"
     "{\"type\":\"text\",\"text\":\"never mind\"}]"},
    {"an id used twice is told apart", "claude-haiku-4-5",
     "{" TOOL
     ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"a.b\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}},"
     "{\"id\":\"a:b\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]}"
     ","
     "{\"role\":\"tool\",\"tool_call_id\":\"a:b\",\"content\":\"2\"},{\"role\":\"tool\",\"tool_"
     "call_id\":\"a.b\",\"content\":\"1\"}]}",
     "messages.2.content",
     "[{\"type\":\"tool_result\",\"tool_use_id\":\"a_b_2\",\"content\":\"2\"},"
     "{\"type\":\"tool_result\",\"tool_use_id\":\"a_b\",\"content\":\"1\"}]"},
    {"an assistant first gets a user before it", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"},{\"role\":\"user\",\"content\":"
     "\"y\"}]}",
     "messages.0", "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\".\"}]}"},
    {"a prefill ends without white space", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"assistant\",\"content\":\"x "
     "\\n \"}]}",
     "messages.1.content", "[{\"type\":\"text\",\"text\":\"x\"}]"},
    {"H043 no parallel calls, no choice", "claude-haiku-4-5",
     "{" HI "," TOOL ",\"parallel_tool_calls\":false}", "tool_choice",
     "{\"type\":\"auto\",\"disable_parallel_tool_use\":true}"},
    {"H044 the flag never stands beside none", "claude-haiku-4-5",
     "{" HI "," TOOL ",\"parallel_tool_calls\":false,\"tool_choice\":\"none\"}", "tool_choice",
     "{\"type\":\"none\"}"},
    {"H045 the flag without tools says nothing", "claude-haiku-4-5",
     "{" HI ",\"parallel_tool_calls\":false}", "tool_choice", ""},
    {"parallel calls allowed say nothing", "claude-haiku-4-5",
     "{" HI "," TOOL ",\"parallel_tool_calls\":true}", "tool_choice", ""},
    {"H046 a stop string becomes a list", "claude-haiku-4-5", "{" HI ",\"stop\":\"END\"}",
     "stop_sequences", "[\"END\"]"},
    {"H047 a blank stop is not sent", "claude-haiku-4-5",
     "{" HI ",\"stop\":[\"\\n\",\"END\",\"\"]}", "stop_sequences", "[\"END\"]"},
    {"H048 no cap: the model's own", "claude-opus-4-5", "{" HI ",\"stream\":true}", "max_tokens",
     "64000"},
    {"H048 no cap, unknown model", "claude-unheard-of", "{" HI "}", "max_tokens", "8192"},
    {"a large cap is asked for as a stream", "claude-opus-4-5", "{" HI "}", "stream", "true"},
    {"a small cap is not", "claude-opus-4-5", "{" HI ",\"max_tokens\":21333}", "stream", ""},
    {"H049 the new name wins", "claude-haiku-4-5",
     "{" HI ",\"max_tokens\":10,\"max_completion_tokens\":20}", "max_tokens", "20"},
    {"a cap above the model's maximum is lowered", "claude-3-haiku-20240307",
     "{" HI ",\"max_tokens\":5000}", "max_tokens", "4096"},
    {"H050 a temperature above one is one", "claude-haiku-4-5", "{" HI ",\"temperature\":1.7}",
     "temperature", "1"},
    {"a temperature keeps its digits", "claude-haiku-4-5", "{" HI ",\"temperature\":0.70}",
     "temperature", "0.70"},
    {"H051 sampling is dropped where it is refused", "claude-opus-4-7",
     "{" HI ",\"temperature\":0.2,\"top_p\":0.9}", "temperature", ""},
    {"only one of temperature and top_p", "claude-sonnet-4-5",
     "{" HI ",\"temperature\":0.2,\"top_p\":0.9}", "top_p", ""},
    {"both where the model takes both", "claude-3-haiku-20240307",
     "{" HI ",\"temperature\":0.2,\"top_p\":0.9,\"top_k\":5}", "top_p", "0.9"},
    {"H052 effort as a budget", "claude-sonnet-4-5",
     "{" HI ",\"reasoning_effort\":\"high\",\"max_completion_tokens\":2000,\"temperature\":0.1}",
     "thinking", "{\"type\":\"enabled\",\"budget_tokens\":1999}"},
    {"H052 effort, adaptive", "claude-opus-4-6",
     "{" HI ",\"reasoning_effort\":\"high\",\"max_completion_tokens\":2000,\"temperature\":0.1}",
     "thinking", "{\"type\":\"adaptive\"}"},
    {"H052 effort's word", "claude-opus-4-7",
     "{" HI ",\"reasoning_effort\":\"high\",\"max_completion_tokens\":2000}", "output_config",
     "{\"effort\":\"high\"}"},
    {"H052 temperature is dropped with thinking", "claude-opus-4-6",
     "{" HI ",\"reasoning_effort\":\"high\",\"temperature\":0.1}", "temperature", ""},
    {"top_p stays with thinking when it is nearly one", "claude-opus-4-6",
     "{" HI ",\"reasoning_effort\":\"high\",\"top_p\":0.97}", "top_p", "0.97"},
    {"xhigh where it is unknown", "claude-opus-4-6", "{" HI ",\"reasoning_effort\":\"xhigh\"}",
     "output_config.effort", "\"high\""},
    {"max where it is known", "claude-opus-4-6", "{" HI ",\"reasoning_effort\":\"max\"}",
     "output_config.effort", "\"max\""},
    {"minimal is low", "claude-opus-4-7", "{" HI ",\"reasoning_effort\":\"minimal\"}",
     "output_config.effort", "\"low\""},
    {"none says nothing", "claude-opus-4-7", "{" HI ",\"reasoning_effort\":\"none\"}", "thinking",
     ""},
    {"none where thinking is the default", "claude-opus-5",
     "{" HI ",\"reasoning_effort\":\"none\"}", "thinking", "{\"type\":\"disabled\"}"},
    {"a budget with no room is left off", "claude-sonnet-4-5",
     "{" HI ",\"reasoning_effort\":\"low\",\"max_tokens\":1024}", "thinking", ""},
    {"H053 a forced tool excludes thinking", "claude-sonnet-4-5",
     "{" HI "," TOOL ",\"reasoning_effort\":\"high\",\"tool_choice\":\"required\"}", "thinking",
     ""},
    {"H053 and stays forced", "claude-sonnet-4-5",
     "{" HI "," TOOL ",\"reasoning_effort\":\"high\",\"tool_choice\":\"required\"}", "tool_choice",
     "{\"type\":\"any\"}"},
    {"thoughtless tool history excludes a budget", "claude-sonnet-4-5",
     "{" TOOL ",\"reasoning_effort\":\"high\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{"
     "\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]},"
     "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}]}",
     "thinking", ""},
    {"H057 a tool without parameters", "claude-haiku-4-5",
     "{" HI
     ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"now\",\"description\":\"\"}}]}",
     "tools", "[{\"name\":\"now\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}}]"},
    {"H027 a schema keeps its keys and their order", "claude-haiku-4-5",
     "{" HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"z\":"
     "1,\"$defs\":{},\"anyOf\":[],\"type\":\"object\",\"x-foo\":true}}}]}",
     "tools.0.input_schema",
     "{\"z\":1,\"$defs\":{},\"anyOf\":[],\"type\":\"object\",\"x-foo\":true}"},
    {"a schema without a type gets one", "claude-haiku-4-5",
     "{" HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"
     "\"properties\":{}}}}]}",
     "tools.0.input_schema", "{\"type\":\"object\",\"properties\":{}}"},
    {"an empty schema gets one", "claude-haiku-4-5",
     "{" HI
     ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{ }}}]}",
     "tools.0.input_schema", "{\"type\":\"object\"}"},
    {"H058 tools of the history are declared", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
     "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}},"
     "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
     "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}]}",
     "tools",
     "[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}},{\"name\":\"g\",\"input_schema\":{"
     "\"type\":\"object\"}}]"},
    {"H058 and none may be called", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{"
     "\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}]}",
     "tool_choice", "{\"type\":\"none\"}"},
    {"H060 json_object is asked for in words", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"hi\"}"
     "],\"response_format\":{\"type\":\"json_object\"}}",
     "system.1.text", "\"Answer with one JSON object only, no other text.\""},
    {"a schema on an old model becomes a tool", "claude-3-haiku-20240307",
     "{" HI ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"r\","
     "\"schema\":{\"type\":\"object\"}}}}",
     "tool_choice", "{\"type\":\"tool\",\"name\":\"json_answer\"}"},
    {"a schema beside tools on an old model", "claude-3-haiku-20240307",
     "{" HI "," TOOL ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
     "\"r\",\"schema\":{\"type\":\"object\"}}}}",
     "tool_choice", "{\"type\":\"any\"}"},
    {"H061 an address is hashed", "claude-haiku-4-5", "{" HI ",\"user\":\"a@b.c\"}",
     "metadata.user_id", "\"d648b243a3e817eaa3309e00e183483f2867baadf522099f0c2121770536b25a\""},
    {"H061 a phone number too", "claude-haiku-4-5", "{" HI ",\"user\":\"+49 (30) 1234-567\"}",
     "metadata.user_id", "*64"},
    {"another id goes as it is", "claude-haiku-4-5", "{" HI ",\"user\":\"u-1\"}",
     "metadata.user_id", "\"u-1\""},
    {"H063 stream_options alone are ignored", "claude-haiku-4-5",
     "{" HI ",\"max_tokens\":5,\"stream_options\":{\"include_usage\":true}}", "stream", ""},
    {"priority is auto", "claude-haiku-4-5", "{" HI ",\"service_tier\":\"priority\"}",
     "service_tier", "\"auto\""},
    {"default is standard_only", "claude-haiku-4-5", "{" HI ",\"service_tier\":\"default\"}",
     "service_tier", "\"standard_only\""},
    {"flex is not sent", "claude-haiku-4-5", "{" HI ",\"service_tier\":\"flex\"}", "service_tier",
     ""},
    {"a thought with its signature goes back first", "claude-sonnet-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":"
     "\"a\",\"thinking_blocks\":["
     "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"S\"},{\"type\":\"thinking\","
     "\"thinking\":\"unsigned\"},"
     "{\"type\":\"redacted_thinking\",\"data\":\"D\"}]},{\"role\":\"user\",\"content\":\"b\"}]}",
     "messages.1.content",
     "[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"S\"},{\"type\":\"redacted_"
     "thinking\",\"data\":\"D\"},"
     "{\"type\":\"text\",\"text\":\"a\"}]"},
    {"H054 a data URL's type is cleaned", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"DATA:image/PNG;BASE64,AA==\"}}]}]}",
     "messages.0.content.0.source",
     "{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"AA==\"}"},
    {"H054 percent-encoded data is encoded again", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"data:image/gif,%47%49\"}}]}]}",
     "messages.0.content.0.source",
     "{\"type\":\"base64\",\"media_type\":\"image/gif\",\"data\":\"R0k=\"}"},
    {"a PDF by URL is a document", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"https://x.test/a.PDF?x=1\"}}]}]}",
     "messages.0.content.0",
     "{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a.PDF?x=1\"}}"},
    {"functions are tools", "claude-haiku-4-5",
     "{" HI ",\"functions\":[{\"name\":\"f\"}],\"function_call\":{\"name\":\"f\"}}", "tool_choice",
     "{\"type\":\"tool\",\"name\":\"f\"}"},
    {"a function's result finds its call", "claude-haiku-4-5",
     "{\"functions\":[{\"name\":\"f\"}],\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{"
     "\"role\":\"assistant\",\"content\":null,"
     "\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"role\":\"function\",\"name\":"
     "\"f\",\"content\":\"1\"}]}",
     "messages.2.content",
     "[{\"type\":\"tool_result\",\"tool_use_id\":\"fc_1\",\"content\":\"1\"}]"},
    {"a file with its name", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"filename\":\"a."
     "pdf\",\"file_data\":\"data:application/pdf;base64,AA==\"}}]}]}",
     "messages.0.content.0",
     "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/"
     "pdf\",\"data\":\"AA==\"},\"title\":\"a.pdf\"}"},
    {"plain text as a file", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"data:text/plain;base64,aGk=\"}}]}]}",
     "messages.0.content.0.source",
     "{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"hi\"}"},
    {"an assistant's refusal is text", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"refusal\",\"refusal\":\"no\"}]},{\"role\":\"user\",\"content\":\"r\"}]}",
     "messages.1.content", "[{\"type\":\"text\",\"text\":\"no\"}]"},
    {"two assistants in a row are one turn", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":"
     "\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"r\"}]}",
     "messages.1.content",
     "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]"},
    {"calls of two assistants in a row are all answered", "claude-haiku-4-5",
     "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get\"}}],\"messages\":[{\"role\":"
     "\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":"
     "\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]},{\"role\":\"assistant\","
     "\"tool_calls\":[{\"id\":\"\",\"type\":\"function\",\"function\":{\"name\":\"get\","
     "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}]}",
     "messages.2.content",
     "[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"1\"},{\"type\":\"tool_"
     "result\",\"tool_use_id\":\"call_0\",\"content\":\"no result\",\"is_error\":true}]"},
    {"a result of several texts", "claude-haiku-4-5",
     "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get\"}}],\"messages\":[{\"role\":"
     "\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":"
     "\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
     "\"tool_call_id\":\"a\",\"content\":[{\"type\":\"text\",\"text\":\"1\"},{\"type\":\"text\","
     "\"text\":\"\"},{\"type\":\"text\",\"text\":\"2\"}]}]}",
     "messages.2.content.0.content",
     "[{\"type\":\"text\",\"text\":\"1\"},{\"type\":\"text\",\"text\":\"2\"}]"},
    {"a backslash and an n are no white space", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"assistant\",\"content\":"
     "\"x\\\\n\"}]}",
     "messages.1.content.0.text", "\"x\\\\n\""},
    {"a prefill of tabs and returns", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"assistant\",\"content\":"
     "\"x\\t\\r\"}]}",
     "messages.1.content.0.text", "\"x\""},
    {"effort where there is no thinking", "claude-3-haiku-20240307",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"reasoning_effort\":\"high\"}",
     "thinking", ""},
    {"a forced tool where thinking is the default", "claude-opus-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"reasoning_effort\":\"xhigh\","
     "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":"
     "\"required\"}",
     "thinking", "{\"type\":\"disabled\"}"},
    {"and its effort no higher than high", "claude-opus-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"reasoning_effort\":\"xhigh\","
     "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":"
     "\"required\"}",
     "output_config.effort", "\"high\""},
    {"a forced tool keeps the effort of an adaptive model", "claude-opus-4-7",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"reasoning_effort\":\"max\",\"tools\":"
     "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"required\"}",
     "output_config.effort", "\"max\""},
    {"no effort on a budget model", "claude-sonnet-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"reasoning_effort\":\"none\"}",
     "thinking", ""},
    {"history that shows its thoughts may think", "claude-sonnet-4-5",
     "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get\"}}],\"reasoning_effort\":"
     "\"low\",\"max_tokens\":5000,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
     "\"assistant\",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":"
     "\"s\"}],\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"get\","
     "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}]}",
     "thinking", "{\"type\":\"enabled\",\"budget_tokens\":1024}"},
    {"top_p away from one is dropped with thinking", "claude-opus-4-6",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"reasoning_effort\":\"low\",\"top_p\":"
     "0.5}",
     "top_p", ""},
    {"top_k where it is refused", "claude-opus-4-7",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"top_k\":5}", "top_k", ""},
    {"top_k where it is taken", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"top_k\":5}", "top_k", "5"},
    {"strict and cache marks of tools", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{\"type\":\"function\","
     "\"function\":{\"name\":\"f\",\"strict\":true},\"cache_control\":{\"type\":\"ephemeral\","
     "\"ttl\":\"1h\"}}]}",
     "tools.0",
     "{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"properties\":{}},\"strict\":true,"
     "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}"},
    {"an explicit breakpoint is a mark", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\",\"prompt_"
     "cache_breakpoint\":{\"mode\":\"explicit\"}}]}]}",
     "messages.0.content.0.cache_control", "{\"type\":\"ephemeral\"}"},
    {"a cache mark on the system", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"s\",\"cache_"
     "control\":{\"type\":\"ephemeral\"}}]},{\"role\":\"user\",\"content\":\"q\"}]}",
     "system.0.cache_control", "{\"type\":\"ephemeral\"}"},
    {"json_object without a system", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"response_format\":{\"type\":\"json_"
     "object\"}}",
     "system.0.text", "\"Answer with one JSON object only, no other text.\""},
    {"no parallel calls with a schema's tool", "claude-3-haiku-20240307",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"parallel_tool_calls\":false,"
     "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"r\",\"schema\":{}}}"
     "}",
     "tool_choice", "{\"type\":\"tool\",\"name\":\"json_answer\"}"},
    {"ids of other alphabets", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"aZ09_-/"
     ":@[`{\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]}]}",
     "messages.1.content.0.id", "\"aZ09_-______\""},
    {"an escaped backslash at the end is no newline", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"assistant\",\"content\":"
     "\"x\\\\n\"}]}",
     "messages.1.content.0.text", "\"x\\\\n\""},
    {"a tab and a return at the end go", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"assistant\",\"content\":"
     "\"x\\r\\t\"}]}",
     "messages.1.content.0.text", "\"x\""},
    {"a PDF by a URL with a query", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"https://x.test/A.PDF?x=1#y\"}}]}]}",
     "messages.0.content.0.type", "\"document\""},
    {"a PDF as a data URL", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"data:application/pdf;base64,AA==\"}}]}]}",
     "messages.0.content.0.type", "\"document\""},
    {"a short number is no telephone", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"user\":\"123456\"}",
     "metadata.user_id", "\"123456\""},
    {"a schema without an effort", "claude-opus-4-7",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"response_format\":{\"type\":\"json_"
     "schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\"}}}}",
     "output_config", "{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}}"},
    {"no effort for a model that has none", "claude-3-haiku-20240307",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"reasoning_effort\":\"none\"}",
     "thinking", ""},
    {"no effort and a forced tool", "claude-sonnet-4-5",
     "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get\"}}],\"messages\":[{\"role\":"
     "\"user\",\"content\":\"q\"}],\"tool_choice\":\"required\",\"reasoning_effort\":\"none\"}",
     "thinking", ""},
    {"a control character is no blank stop", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"stop\":[\"\\u0001\",\" "
     "\\u000b\",\"\\u000e\"]}",
     "stop_sequences", "[\"\\u0001\",\"\\u000e\"]"},
    {"an unknown model takes a cap above its guess", "claude-99",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"max_tokens\":500000}", "max_tokens",
     "500000"},
    {"a cap above a known maximum", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"max_tokens\":500000}", "max_tokens",
     "64000"},
    {"parameters that are no object", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{\"type\":\"function\","
     "\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{}}}}]}",
     "tools.0.input_schema.type", "\"object\""},
    {"auto is auto", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{\"type\":\"function\","
     "\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"auto\",\"service_tier\":\"auto\"}",
     "tool_choice", "{\"type\":\"auto\"}"},
    {"H023 a lone surrogate goes as it came", "claude-haiku-4-5",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"x\\ud800y\"}]}", "messages.0.content.0.text",
     "\"x\\ud800y\""},
};

/* Messages pass Anthropic-type upstreams as they are; the neutral form can say them all the same.
 */
static const struct member_case own[] = {
    {"arguments as JSON", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{\"n\": 1.50}}]}]}",
     "messages.1.content.0.input", "{\"n\":1.50}"},
    {"a document with its words", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\","
     "\"title\":\"T\",\"context\":\"C\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
     "plain\",\"data\":\"body\"}}]}]}",
     "messages.0.content.0",
     "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
     "plain\",\"data\":\"body\"},\"title\":\"T\",\"context\":\"C\"}"},
    {"a result of every kind of part", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":\"text\","
     "\"text\":\"t\"},{\"type\":\"text\",\"text\":\"\"},{\"type\":\"image\",\"source\":{\"type\":"
     "\"base64\",\"media_type\":\"image/"
     "webp\",\"data\":\"AA==\"}},{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_"
     "type\":\"application/pdf\",\"data\":\"AA==\"}}]}]}]}",
     "messages.2.content.0.content",
     "[{\"type\":\"text\",\"text\":\"t\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\","
     "\"media_type\":\"image/"
     "webp\",\"data\":\"AA==\"}},{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_"
     "type\":\"application/pdf\",\"data\":\"AA==\"}}]"},
    {"a result of one text part", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":\"text\","
     "\"text\":\"t\"}]}]}]}",
     "messages.2.content.0.content", "[{\"type\":\"text\",\"text\":\"t\"}]"},
    {"a result of one image only", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"
     "\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a\"}}]}]}]}",
     "messages.2.content.0.content",
     "[{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a\"}}]"},
    {"a result with an image nobody reads", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"
     "\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/"
     "tiff\",\"data\":\"AA==\"}},{\"type\":\"text\",\"text\":\"t\"}]}]}]}",
     "", "refused"},
    {"an error of a tool", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"boom\",\"is_"
     "error\":true}]}]}",
     "messages.2.content.0",
     "{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":\"text\",\"text\":"
     "\"boom\"}],\"is_error\":true}"},
    {"a result without content", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]}]}",
     "messages.2.content.0", "{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}"},
    {"a search result", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"search_result\","
     "\"source\":\"https://"
     "x.test\",\"title\":\"T\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]}]}",
     "messages.0.content.0",
     "{\"type\":\"search_result\",\"source\":\"https://"
     "x.test\",\"title\":\"T\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}"},
    {"what only its own upstream knows", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"container_"
     "upload\",\"file_id\":\"f\"}]}]}",
     "", "refused"},
    {"thoughts at the end", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
     "\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"}]}]"
     "}",
     "messages.1.content.0", "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"}"},
    {"thoughts that nobody signed are left out", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},{\"type\":\"redacted_"
     "thinking\",\"data\":\"\"},{\"type\":\"redacted_thinking\",\"data\":\"r\"},{\"type\":\"text\","
     "\"text\":\"t\"}]},{\"role\":\"user\",\"content\":\"go\"}]}",
     "messages.1.content",
     "[{\"type\":\"redacted_thinking\",\"data\":\"r\"},{\"type\":\"text\",\"text\":\"t\"}]"},
    {"a mark of its own words", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
     "\"a\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]}]}",
     "messages.0.content.0.cache_control", "{\"type\":\"ephemeral\",\"ttl\":\"1h\"}"},
    {"a gif", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\","
     "\"source\":{\"type\":\"base64\",\"media_type\":\"image/gif\",\"data\":\"AA==\"}}]}]}",
     "messages.0.content.0.source.media_type", "\"image/gif\""},
    {"a jpeg", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\","
     "\"source\":{\"type\":\"base64\",\"media_type\":\"image/jpeg\",\"data\":\"AA==\"}}]}]}",
     "messages.0.content.0.source.media_type", "\"image/jpeg\""},
    {"a png", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\","
     "\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"AA==\"}}]}]}",
     "messages.0.content.0.source.media_type", "\"image/png\""},
    {"a cap of nothing", "claude-haiku-4-5",
     "{\"max_tokens\":0,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}", "", "refused"},
    {"signed thoughts before the calls let it think on", "claude-sonnet-4-5",
     "{\"max_tokens\":9000,\"output_config\":{\"effort\":\"low\"},\"messages\":[{\"role\":\"user\","
     "\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":"
     "\"hm\",\"signature\":\"s\"},{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}"
     "}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\","
     "\"content\":\"1\"}]}]}",
     "thinking.type", "\"enabled\""},
    {"no thoughts before the calls do not", "claude-sonnet-4-5",
     "{\"max_tokens\":9000,\"output_config\":{\"effort\":\"low\"},\"messages\":[{\"role\":\"user\","
     "\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\","
     "\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
     "\"tool_use_id\":\"a\",\"content\":\"1\"}]}]}",
     "thinking", ""},
    {"two dozen calls in one turn", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
     "\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"i0\",\"name\":\"get\",\"input\":{}"
     "},{\"type\":\"tool_use\",\"id\":\"i1\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\","
     "\"id\":\"i2\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i3\",\"name\":"
     "\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i4\",\"name\":\"get\",\"input\":{}},{"
     "\"type\":\"tool_use\",\"id\":\"i5\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\","
     "\"id\":\"i6\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i7\",\"name\":"
     "\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i8\",\"name\":\"get\",\"input\":{}},{"
     "\"type\":\"tool_use\",\"id\":\"i9\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\","
     "\"id\":\"i10\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i11\",\"name\":"
     "\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i12\",\"name\":\"get\",\"input\":{}},{"
     "\"type\":\"tool_use\",\"id\":\"i13\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\","
     "\"id\":\"i14\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i15\",\"name\":"
     "\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i16\",\"name\":\"get\",\"input\":{}},{"
     "\"type\":\"tool_use\",\"id\":\"i17\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\","
     "\"id\":\"i18\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i19\",\"name\":"
     "\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i20\",\"name\":\"get\",\"input\":{}},{"
     "\"type\":\"tool_use\",\"id\":\"i21\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\","
     "\"id\":\"i22\",\"name\":\"get\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"i23\",\"name\":"
     "\"get\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_"
     "id\":\"i0\",\"content\":\"0\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i1\",\"content\":"
     "\"1\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i2\",\"content\":\"2\"},{\"type\":\"tool_"
     "result\",\"tool_use_id\":\"i3\",\"content\":\"3\"},{\"type\":\"tool_result\",\"tool_use_id\":"
     "\"i4\",\"content\":\"4\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i5\",\"content\":\"5\"}"
     ",{\"type\":\"tool_result\",\"tool_use_id\":\"i6\",\"content\":\"6\"},{\"type\":\"tool_"
     "result\",\"tool_use_id\":\"i7\",\"content\":\"7\"},{\"type\":\"tool_result\",\"tool_use_id\":"
     "\"i8\",\"content\":\"8\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i9\",\"content\":\"9\"}"
     ",{\"type\":\"tool_result\",\"tool_use_id\":\"i10\",\"content\":\"10\"},{\"type\":\"tool_"
     "result\",\"tool_use_id\":\"i11\",\"content\":\"11\"},{\"type\":\"tool_result\",\"tool_use_"
     "id\":\"i12\",\"content\":\"12\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i13\","
     "\"content\":\"13\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i14\",\"content\":\"14\"},{"
     "\"type\":\"tool_result\",\"tool_use_id\":\"i15\",\"content\":\"15\"},{\"type\":\"tool_"
     "result\",\"tool_use_id\":\"i16\",\"content\":\"16\"},{\"type\":\"tool_result\",\"tool_use_"
     "id\":\"i17\",\"content\":\"17\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i18\","
     "\"content\":\"18\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i19\",\"content\":\"19\"},{"
     "\"type\":\"tool_result\",\"tool_use_id\":\"i20\",\"content\":\"20\"},{\"type\":\"tool_"
     "result\",\"tool_use_id\":\"i21\",\"content\":\"21\"},{\"type\":\"tool_result\",\"tool_use_"
     "id\":\"i22\",\"content\":\"22\"},{\"type\":\"tool_result\",\"tool_use_id\":\"i23\","
     "\"content\":\"23\"}]}]}",
     "messages.2.content.23.tool_use_id", "\"i23\""},
    {"forty turns", "claude-haiku-4-5",
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"u0\"},{\"role\":"
     "\"assistant\",\"content\":\"a0\"},{\"role\":\"user\",\"content\":\"u1\"},{\"role\":"
     "\"assistant\",\"content\":\"a1\"},{\"role\":\"user\",\"content\":\"u2\"},{\"role\":"
     "\"assistant\",\"content\":\"a2\"},{\"role\":\"user\",\"content\":\"u3\"},{\"role\":"
     "\"assistant\",\"content\":\"a3\"},{\"role\":\"user\",\"content\":\"u4\"},{\"role\":"
     "\"assistant\",\"content\":\"a4\"},{\"role\":\"user\",\"content\":\"u5\"},{\"role\":"
     "\"assistant\",\"content\":\"a5\"},{\"role\":\"user\",\"content\":\"u6\"},{\"role\":"
     "\"assistant\",\"content\":\"a6\"},{\"role\":\"user\",\"content\":\"u7\"},{\"role\":"
     "\"assistant\",\"content\":\"a7\"},{\"role\":\"user\",\"content\":\"u8\"},{\"role\":"
     "\"assistant\",\"content\":\"a8\"},{\"role\":\"user\",\"content\":\"u9\"},{\"role\":"
     "\"assistant\",\"content\":\"a9\"},{\"role\":\"user\",\"content\":\"u10\"},{\"role\":"
     "\"assistant\",\"content\":\"a10\"},{\"role\":\"user\",\"content\":\"u11\"},{\"role\":"
     "\"assistant\",\"content\":\"a11\"},{\"role\":\"user\",\"content\":\"u12\"},{\"role\":"
     "\"assistant\",\"content\":\"a12\"},{\"role\":\"user\",\"content\":\"u13\"},{\"role\":"
     "\"assistant\",\"content\":\"a13\"},{\"role\":\"user\",\"content\":\"u14\"},{\"role\":"
     "\"assistant\",\"content\":\"a14\"},{\"role\":\"user\",\"content\":\"u15\"},{\"role\":"
     "\"assistant\",\"content\":\"a15\"},{\"role\":\"user\",\"content\":\"u16\"},{\"role\":"
     "\"assistant\",\"content\":\"a16\"},{\"role\":\"user\",\"content\":\"u17\"},{\"role\":"
     "\"assistant\",\"content\":\"a17\"},{\"role\":\"user\",\"content\":\"u18\"},{\"role\":"
     "\"assistant\",\"content\":\"a18\"},{\"role\":\"user\",\"content\":\"u19\"},{\"role\":"
     "\"assistant\",\"content\":\"a19\"}]}",
     "messages.38.content.0.text", "\"u19\""},
};

static unsigned follow(const struct member_case *cases, size_t count, enum api api)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const struct member_case *c = &cases[i];
        struct rig r;
        rig_init(&r, &provider_anthropic, c->model);
        bool built = rig_build(&r, api, span_str(c->body)) == OK;
        const char *got = built ? rig_member(&r, c->path) : "refused";
        if (strcmp(c->value, "*64") == 0 ? strlen(got) != 66 : strcmp(got, c->value) != 0) {
            print_error("%s: %s, not %s\n", c->name, got, c->value);
            wrong++;
        }
        rig_free(&r);
    }
    return wrong;
}

static void every_row_of_the_table_is_followed(void **state)
{
    (void)state;
    assert_int_equal(follow(members, sizeof members / sizeof members[0], API_OPENAI_CHAT), 0);
}

static void what_a_messages_client_says_could_be_said_again(void **state)
{
    (void)state;
    assert_int_equal(follow(own, sizeof own / sizeof own[0], API_ANTHROPIC_MESSAGES), 0);
}

struct sampling_case {
    const char *name;
    bool sampling, one_only, default_on;
    const char *body; /* behind the messages */
    const char *path, *value;
};

#define NOPE "\"tool_choice\":\"required\"," TOOL

static const struct sampling_case samplings[] = {
    {"top_p near 1 may stand beside thinking", true, true, false,
     "\"top_p\":0.97,\"temperature\":1,\"reasoning_effort\":\"low\"", "top_p", "0.97"},
    {"top_p below may not", true, false, false, "\"top_p\":0.9,\"reasoning_effort\":\"low\"",
     "top_p", ""},
    {"top_k may not stand beside thinking", true, false, false,
     "\"top_p\":1,\"top_logprobs\":null,\"reasoning_effort\":\"low\"", "top_p", "1"},
    {"one of temperature and top_p", true, true, false, "\"top_p\":0.9,\"temperature\":0.5",
     "top_p", ""},
    {"top_p alone", true, true, false, "\"top_p\":0.9", "top_p", "0.9"},
    {"both where both are taken", true, false, false, "\"top_p\":0.9,\"temperature\":1.5", "top_p",
     "0.9"},
    {"a temperature above 1", true, false, false, "\"temperature\":1.5", "temperature", "1"},
    {"neither where sampling is fixed", false, false, false, "\"top_p\":0.9", "top_p", ""},
    {"a forced tool leaves thinking out", true, false, false, "\"reasoning_effort\":\"high\"," NOPE,
     "thinking", ""},
    {"and says so where it would think by itself", true, false, true,
     "\"reasoning_effort\":\"xhigh\"," NOPE, "thinking", "{\"type\":\"disabled\"}"},
    {"a low effort beside a forced tool", true, false, true, "\"reasoning_effort\":\"low\"," NOPE,
     "thinking", "{\"type\":\"disabled\"}"},
    {"no effort where it would think by itself", true, false, true, "\"reasoning_effort\":\"none\"",
     "thinking", "{\"type\":\"disabled\"}"},
};

static void sampling_follows_what_the_model_takes(void **state)
{
    (void)state;
    for (unsigned efforts = 0; efforts < 2; efforts++) {
        for (size_t i = 0; i < sizeof samplings / sizeof samplings[0]; i++) {
            const struct sampling_case *c = &samplings[i];
            struct buf body = {0};
            struct rig r;
            rig_init(&r, &provider_anthropic, "claude-sonnet-4-6");
            struct model_row row = *r.pc.row;
            row.sampling = c->sampling;
            row.sampling_one_only = c->one_only;
            row.thinking = THINKING_STYLE_ADAPTIVE;
            row.thinking_default_on = c->default_on;
            row.efforts = efforts ? EFFORT_LOW | EFFORT_XHIGH : 0;
            r.pc.row = &row;
            buf_printf(&body, "{" HI ",%s}", c->body);
            assert_int_equal(rig_build(&r, API_OPENAI_CHAT, buf_span(&body)), OK);
            if (strcmp(rig_member(&r, c->path), c->value) != 0)
                fail_msg("%s: %s", c->name, rig_member(&r, c->path));
            buf_free(&body);
            rig_free(&r);
        }
    }
}

static void what_anthropic_cannot_do_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *model, *body;
        unsigned error_class;
        const char *param;
    } cases[] = {
        {"claude-haiku-4-5", "{\"messages\":[{\"role\":\"system\",\"content\":\"A\"}]}",
         ERROR_INVALID_VALUE, "messages"}, /* H036 */
        {"claude-haiku-4-5",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"tool\",\"tool_call_id\":"
         "\"zz\",\"content\":\"1\"}]}",
         ERROR_INVALID_VALUE, "messages[1].tool_call_id"},                          /* H059 */
        {"claude-haiku-4-5", "{" HI ",\"n\":2}", ERROR_UNSUPPORTED_PARAMETER, "n"}, /* H062 */
        {"claude-haiku-4-5", "{" HI ",\"logprobs\":true}", ERROR_UNSUPPORTED_PARAMETER, "logprobs"},
        {"claude-haiku-4-5",
         "{" HI ",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"c\"}}]}",
         ERROR_UNSUPPORTED_PARAMETER, "tools"},
        {"claude-opus-4-7",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"assistant\",\"content\":"
         "\"x\"}]}",
         ERROR_INVALID_VALUE, "messages"},
        {"claude-haiku-4-5",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"assistant\",\"content\":"
         "\" \\n\"}]}",
         ERROR_INVALID_VALUE, "messages[1].content"},
        {"claude-haiku-4-5",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"y\"},{\"role\":\"assistant\",\"content\":"
         "\"\\n\"}]}",
         ERROR_INVALID_VALUE, "messages[1].content"},
        {"claude-haiku-4-5",
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
         "\"url\":\"data:image/svg+xml;base64,AA==\"}}]}]}",
         ERROR_INVALID_VALUE, "*"},
        {"claude-haiku-4-5",
         "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get\"}}],\"messages\":[{"
         "\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":"
         "\"a\",\"type\":\"function\",\"function\":{\"name\":\"get\",\"arguments\":\"{}\"}}]},{"
         "\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"},{\"role\":\"tool\",\"tool_"
         "call_id\":\"a\",\"content\":\"2\"}]}",
         ERROR_INVALID_VALUE, "messages[3].tool_call_id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        rig_init(&r, &provider_anthropic, cases[i].model);
        rig_build_refused(&r, API_OPENAI_CHAT, cases[i].body, cases[i].error_class);
        if (strcmp(cases[i].param, "*") != 0 && !span_is(r.fault.param, cases[i].param))
            fail_msg("%.*s, not %s", SPAN_ARG(r.fault.param), cases[i].param);
        rig_free(&r);
    }
}

static bool is_dropped(const struct rig *r, const char *name)
{
    for (size_t i = 0; i < r->request.dropped_count; i++) {
        if (strcmp(r->request.dropped[i], name) == 0)
            return true;
    }
    return false;
}

static void what_is_not_sent_is_named(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, &provider_anthropic, "claude-opus-4-7");
    assert_int_equal(
        rig_build(
            &r, API_OPENAI_CHAT,
            SPAN("{" HI
                 ",\"temperature\":0.2,\"top_p\":0.9,\"seed\":3,\"logit_bias\":{},\"store\":true,"
                 "\"frequency_penalty\":1,\"service_tier\":\"flex\",\"metadata\":{}}")),
        OK);
    static const char *const names[] = {"temperature",  "top_p",   "seed",
                                        "logit_bias",   "store",   "frequency_penalty",
                                        "service_tier", "metadata"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!is_dropped(&r, names[i]))
            fail_msg("%s is not named", names[i]);
    }
    rig_free(&r);
}

static void at_most_four_cache_marks_go_out(void **state)
{
    (void)state;
    struct buf body = {0};
    struct rig r;
    buf_append_str(&body, "{\"messages\":[{\"role\":\"user\",\"content\":[");
    for (int i = 0; i < 6; i++)
        buf_printf(
            &body,
            "%s{\"type\":\"text\",\"text\":\"%d\",\"cache_control\":{\"type\":\"ephemeral\"}}",
            i ? "," : "", i);
    buf_append_str(&body, "]}]}");
    rig_init(&r, &provider_anthropic, "claude-haiku-4-5");
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, buf_span(&body)), OK);
    assert_string_equal(rig_member(&r, "messages.0.content.3.cache_control"),
                        "{\"type\":\"ephemeral\"}");
    assert_string_equal(rig_member(&r, "messages.0.content.4.cache_control"), "");
    assert_true(is_dropped(&r, "cache_control"));
    buf_free(&body);
    rig_free(&r);
}

static int leave(void **state)
{
    (void)state;
    rig_table_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_requests_come_out_as_written),
        cmocka_unit_test(every_row_of_the_table_is_followed),
        cmocka_unit_test(what_a_messages_client_says_could_be_said_again),
        cmocka_unit_test(sampling_follows_what_the_model_takes),
        cmocka_unit_test(what_anthropic_cannot_do_is_refused_by_name),
        cmocka_unit_test(what_is_not_sent_is_named),
        cmocka_unit_test(at_most_four_cache_marks_go_out),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
