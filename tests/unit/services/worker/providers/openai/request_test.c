/* Anthropic requests and legacy completions to OpenAI (golden req_a2o_full; H101 to
 * H107). */
#include "unit/services/worker/providers/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define HI "\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TOOL "\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}]"
#define CALL                                                                                       \
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\","   \
    "\"input\":{\"n\": 1.50}}]}"
#define LONG_ID "toolu_0123456789012345678901234567890123456789"

static void the_golden_request_comes_out_as_written(void **state)
{
    (void)state;
    struct rig r;
    struct span in = rig_fixture("golden/req_a2o_full/in.json"),
                out = rig_fixture("golden/req_a2o_full/out.json");
    rig_init(&r, &provider_openai, "gpt-x");
    assert_int_equal(rig_build(&r, API_ANTHROPIC_MESSAGES, in), OK);
    assert_true(span_is(r.pc.next->path, "/chat/completions"));
    assert_true(r.pc.next->expects_stream);
    assert_json_same(r.pc.next->body, out);
    rig_free(&r);
    free((char *)(uintptr_t)in.data);
    free((char *)(uintptr_t)out.data);
}

/* host: o OpenAI itself, c a compatible server, q one with all quirks, s one that wants its system
 * first */
struct member_case {
    const char *name, *model;
    char compat;
    const char *body, *path, *value;
};

static const struct member_case members[] = {
    {"a search result becomes text", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"search_result\","
     "\"source\":\"https://x.test\","
     "\"title\":\"T\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]},{\"type\":\"text\","
     "\"text\":\"q\"}]}]}",
     "messages.0.content",
     "[{\"type\":\"text\",\"text\":\"T\\nhttps://"
     "x.test\\nx\"},{\"type\":\"text\",\"text\":\"q\"}]"},
    {"documents in a result", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"
     "\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
     "plain\",\"data\":\"body\"}},{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_"
     "type\":\"application/pdf\",\"data\":\"AA==\"}}]}]}]}",
     "messages.2.content", "\"body[document]\""},
    {"and follow", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"
     "\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/"
     "pdf\",\"data\":\"AA==\"}}]}]}]}",
     "messages.3.content.0.file.filename", "\"document.pdf\""},
    {"a small budget", "gpt-5", 'o',
     "{\"max_tokens\":9000,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"thinking\":{"
     "\"type\":\"enabled\",\"budget_tokens\":1024}}",
     "reasoning_effort", "\"low\""},
    {"a large budget", "gpt-5", 'o',
     "{\"max_tokens\":90000,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"thinking\":{"
     "\"type\":\"enabled\",\"budget_tokens\":20000}}",
     "reasoning_effort", "\"high\""},
    {"adaptive without a word", "gpt-5", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"thinking\":{"
     "\"type\":\"adaptive\"}}",
     "reasoning_effort", ""},
    {"a host without parallel_tool_calls", "m", 'q',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{\"name\":"
     "\"get\",\"input_schema\":{\"type\":\"object\"}}],\"tool_choice\":{\"type\":\"auto\","
     "\"disable_parallel_tool_use\":true}}",
     "parallel_tool_calls", ""},
    {"a tool's strictness and words", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{\"name\":"
     "\"get\",\"description\":\"d\",\"strict\":true,\"cache_control\":{\"type\":\"ephemeral\"},"
     "\"input_schema\":{\"type\":\"object\"}}]}",
     "tools.0.function",
     "{\"name\":\"get\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"},\"strict\":"
     "true}"},
    {"a long user id is hashed", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"metadata\":{\"user_"
     "id\":\"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu\"}}",
     "safety_identifier", "*66"},
    {"a tier to a compatible host", "m", 'c',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"service_tier\":"
     "\"auto\"}",
     "service_tier", ""},
    {"auto stays auto", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"service_tier\":"
     "\"auto\",\"tools\":[{\"name\":\"get\",\"input_schema\":{}}],\"tool_choice\":{\"type\":"
     "\"auto\"}}",
     "service_tier", "\"auto\""},
    {"several texts of a user stay parts", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
     "\"a\"},{\"type\":\"text\",\"text\":\"b\",\"cache_control\":{\"type\":\"ephemeral\"}}]}]}",
     "messages.0.content",
     "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]"},
    {"an assistant of thoughts only is left out", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
     "\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}]},{"
     "\"role\":\"user\",\"content\":\"r\"}]}",
     "messages.1.content", "\"r\""},
    {"several texts of an assistant are one", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
     "\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":"
     "\"b\"}]},{\"role\":\"user\",\"content\":\"r\"}]}",
     "messages.1.content", "\"ab\""},
    {"four stops are fine", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"stop_sequences\":["
     "\"1\",\"2\",\"3\",\"4\"]}",
     "stop", "[\"1\",\"2\",\"3\",\"4\"]"},
    {"H101 results first, then the rest in order", "gpt-4o", 'o',
     "{\"max_tokens\":9," TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}," CALL
     ",{\"role\":\"user\",\"content\":["
     "{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"tool_result\",\"tool_use_id\":\"a\","
     "\"content\":\"1\"},"
     "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a.png\"}}]}]}",
     "messages.2", "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}"},
    {"H101 the rest", "gpt-4o", 'o',
     "{\"max_tokens\":9," TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}," CALL
     ",{\"role\":\"user\",\"content\":["
     "{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"tool_result\",\"tool_use_id\":\"a\","
     "\"content\":\"1\"},"
     "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a.png\"}}]}]}",
     "messages.3.content",
     "[{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https:"
     "//x.test/a.png\"}}]"},
    {"arguments are the input's own text", "gpt-4o", 'o',
     "{\"max_tokens\":9," TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}," CALL "]}",
     "messages.1",
     "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
     "\"function\":"
     "{\"name\":\"get\",\"arguments\":\"{\\\"n\\\":1.50}\"}}]}"},
    {"H102 an image in a result leaves a word", "gpt-4o", 'o',
     "{\"max_tokens\":9," TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}," CALL
     ",{\"role\":\"user\",\"content\":["
     "{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"is_error\":true,\"content\":[{\"type\":"
     "\"text\",\"text\":\"bad\"},"
     "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/"
     "png\",\"data\":\"AA==\"}}]}]}]}",
     "messages.2.content", "\"Error: bad[image]\""},
    {"H102 and follows", "gpt-4o", 'o',
     "{\"max_tokens\":9," TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}," CALL
     ",{\"role\":\"user\",\"content\":["
     "{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"is_error\":true,\"content\":[{\"type\":"
     "\"text\",\"text\":\"bad\"},"
     "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/"
     "png\",\"data\":\"AA==\"}}]}]}]}",
     "messages.3",
     "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
     "png;base64,AA==\"}}]}"},
    {"a result without content", "gpt-4o", 'o',
     "{\"max_tokens\":9," TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}," CALL
     ",{\"role\":\"user\",\"content\":["
     "{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]}]}",
     "messages.2.content", "\"\""},
    {"H103 system blocks", "gpt-4o", 'o',
     "{" HI ",\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":"
     "\"ephemeral\"}},{\"type\":\"text\",\"text\":\"b\"}]}",
     "messages.0", "{\"role\":\"system\",\"content\":\"a\\n\\nb\"}"},
    {"cache marks where they are known", "gpt-5.6-sol", 'o',
     "{" HI ",\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":"
     "\"ephemeral\"}},{\"type\":\"text\",\"text\":\"b\"}]}",
     "messages.0.content",
     "[{\"type\":\"text\",\"text\":\"a\",\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}},{"
     "\"type\":\"text\",\"text\":\"b\"}]"},
    {"H104 five stops to a compatible host", "m", 'c',
     "{" HI ",\"stop_sequences\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}", "stop",
     "[\"1\",\"2\",\"3\",\"4\",\"5\"]"},
    {"H105 thinking stays away from history", "gpt-4o", 'o',
     "{\"max_tokens\":9," TOOL
     ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
     "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"tool_use\",\"id\":"
     "\"a\",\"name\":\"get\",\"input\":{}}]}]}",
     "messages.1.content", "null"},
    {"H105 but for hosts that want it", "m", 'q',
     "{\"max_tokens\":9," TOOL
     ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
     "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":"
     "\"x\"}]}]}",
     "messages.1.reasoning_content", "\"t\""},
    {"H107 a long id is hashed", "gpt-4o", 'o',
     "{\"max_tokens\":9," TOOL
     ",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":["
     "{\"type\":\"tool_use\",\"id\":\"" LONG_ID "\",\"name\":\"get\",\"input\":{}}]}]}",
     "messages.1.tool_calls.0.id", "*39"},
    {"the new name for the cap", "gpt-4o", 'o', "{" HI "}", "max_completion_tokens", "9"},
    {"the old name for the cap", "m", 'c', "{" HI "}", "max_tokens", "9"},
    {"sampling where it is refused", "gpt-5", 'o', "{" HI ",\"temperature\":0.5}", "temperature",
     ""},
    {"sampling keeps its digits", "gpt-4o", 'o', "{" HI ",\"temperature\":0.50}", "temperature",
     "0.50"},
    {"top_k stays away", "gpt-4o", 'o', "{" HI ",\"top_k\":5}", "top_k", ""},
    {"top_k for hosts that take it", "m", 'q', "{" HI ",\"top_k\":5}", "top_k", "5"},
    {"no stream options for hosts without", "m", 'q', "{" HI ",\"stream\":true}", "stream_options",
     ""},
    {"a thinking budget becomes an effort", "gpt-5", 'o',
     "{\"max_tokens\":9000,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"thinking\":{"
     "\"type\":\"enabled\",\"budget_tokens\":5000}}",
     "reasoning_effort", "\"medium\""},
    {"not on a model that does not reason", "gpt-4o", 'o',
     "{\"max_tokens\":9000,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"thinking\":{"
     "\"type\":\"enabled\",\"budget_tokens\":5000}}",
     "reasoning_effort", ""},
    {"no thinking where it can be left", "gpt-5.1", 'o',
     "{" HI ",\"thinking\":{\"type\":\"disabled\"}}", "reasoning_effort", "\"none\""},
    {"no thinking where it can't", "gpt-5", 'o', "{" HI ",\"thinking\":{\"type\":\"disabled\"}}",
     "reasoning_effort", ""},
    {"adaptive thinking, clamped", "gpt-5", 'o',
     "{" HI ",\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"max\"}}",
     "reasoning_effort", "\"high\""},
    {"adaptive thinking, as it is", "gpt-5.2", 'o',
     "{" HI ",\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"xhigh\"}}",
     "reasoning_effort", "\"xhigh\""},
    {"structured output", "gpt-4o", 'o',
     "{" HI
     ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}}}",
     "response_format",
     "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"output\",\"schema\":{\"type\":"
     "\"object\"},\"strict\":true}}"},
    {"choices: any", "gpt-4o", 'o', "{" HI "," TOOL ",\"tool_choice\":{\"type\":\"any\"}}",
     "tool_choice", "\"required\""},
    {"choices: none", "gpt-4o", 'o', "{" HI "," TOOL ",\"tool_choice\":{\"type\":\"none\"}}",
     "tool_choice", "\"none\""},
    {"choices: named", "gpt-4o", 'o',
     "{" HI "," TOOL ",\"tool_choice\":{\"type\":\"tool\",\"name\":\"get\"}}", "tool_choice",
     "{\"type\":\"function\",\"function\":{\"name\":\"get\"}}"},
    {"a tool that runs elsewhere", "m", 'c',
     "{" HI ",\"tools\":[{\"type\":\"code_execution_20250825\",\"name\":\"code_execution\"}]}",
     "tools", ""},
    {"beside one of the client's", "m", 'c',
     "{" HI
     ",\"tools\":[{\"name\":\"f\",\"input_schema\":{}},{\"type\":\"web_search_20250305\",\"name\":"
     "\"web_search\"}]}",
     "tools.1", ""},
    {"a search where the model searches", "gpt-4o-search-preview", 'o',
     "{" HI ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}],\"tool_"
     "choice\":{\"type\":\"any\"}}",
     "web_search_options", "{}"},
    {"and no choice of what is no tool there", "gpt-4o-search-preview", 'o',
     "{" HI ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}],\"tool_"
     "choice\":{\"type\":\"any\"}}",
     "tool_choice", ""},
    {"a shell that the client runs", "m", 'c',
     "{" HI ",\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]}", "tools.0.function.name",
     "\"bash\""},
    {"is described", "m", 'c',
     "{" HI ",\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]}",
     "tools.0.function.parameters.properties.command.type", "\"string\""},
    {"an editor that the client runs", "gpt-4o", 'o',
     "{" HI ",\"tools\":[{\"type\":\"text_editor_20250728\",\"name\":\"str_replace_based_edit_"
     "tool\",\"max_characters\":9}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"str_replace_"
     "based_edit_tool\"}}",
     "tool_choice.function.name", "\"str_replace_based_edit_tool\""},
    {"knows its commands", "gpt-4o", 'o',
     "{" HI ",\"tools\":[{\"type\":\"text_editor_20250728\",\"name\":\"str_replace_based_edit_"
     "tool\"}]}",
     "tools.0.function.parameters.properties.command.enum.2", "\"str_replace\""},
    {"notes that the client keeps", "gpt-4o", 'o',
     "{" HI ",\"tools\":[{\"type\":\"memory_20250818\",\"name\":\"memory\"}]}",
     "tools.0.function.name", "\"memory\""},
    {"the user's id", "gpt-4o", 'o', "{" HI ",\"metadata\":{\"user_id\":\"u-1\"}}",
     "safety_identifier", "\"u-1\""},
    {"not to compatible hosts", "m", 'c', "{" HI ",\"metadata\":{\"user_id\":\"u-1\"}}",
     "safety_identifier", ""},
    {"standard_only", "gpt-4o", 'o', "{" HI ",\"service_tier\":\"standard_only\"}", "service_tier",
     "\"default\""},
    {"a PDF", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\","
     "\"title\":\"T\",\"source\":{\"type\":\"base64\","
     "\"media_type\":\"application/pdf\",\"data\":\"AA==\"}}]}]}",
     "messages.0.content.0",
     "{\"type\":\"file\",\"file\":{\"filename\":\"T\",\"file_data\":\"data:application/"
     "pdf;base64,AA==\"}}"},
    {"marks on system texts, where they are known", "gpt-5.6", 'o',
     "{\"system\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\",\"cache_"
     "control\":{\"type\":\"ephemeral\"}}],\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
     "\"content\":\"hi\"}]}",
     "messages.0.content",
     "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\",\"prompt_cache_"
     "breakpoint\":{\"mode\":\"explicit\"}}]"},
    {"system texts without marks, where they are known", "gpt-5.9", 'o',
     "{\"system\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}],\"max_"
     "tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "messages.0.content", "\"a\\n\\nb\""},
    {"no marks before gpt-5.6", "gpt-5.5", 'o',
     "{\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}],"
     "\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "messages.0.content", "\"a\""},
    {"no marks for a name that is cut", "gpt-5.", 'o',
     "{\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}],"
     "\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "messages.0.content", "\"a\""},
    {"no marks for a name that is none", "gpt-5.x", 'o',
     "{\"system\":[{\"type\":\"text\",\"text\":\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}],"
     "\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "messages.0.content", "\"a\""},
    {"a mark on a user's only text", "gpt-5.6", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
     "\"a\",\"cache_control\":{\"type\":\"ephemeral\"}}]}]}",
     "messages.0.content",
     "[{\"type\":\"text\",\"text\":\"a\",\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}}]"},
    {"no mark on a user's only text", "gpt-5.6", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
     "messages.0.content", "\"hi\""},
    {"a user's only image is a part", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\","
     "\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a.png\"}}]}]}",
     "messages.0.content",
     "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.test/a.png\"}}]"},
    {"an assistant with marks", "gpt-5.6", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"text\",\"text\":\"t\",\"cache_control\":{\"type\":\"ephemeral\"}}]}]}",
     "messages.1.content", "\"t\""},
    {"a result without content", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]}]}",
     "messages.2.content", "\"\""},
    {"a result with a mark", "gpt-5.6", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"1\",\"cache_"
     "control\":{\"type\":\"ephemeral\"}}]}]}",
     "messages.2", "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}"},
    {"a search result in a result", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":\"search_"
     "result\",\"source\":\"https://"
     "x.test\",\"title\":\"T\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]}]}]}",
     "messages.2.content", "\"T\\nhttps://x.test\\nx\""},
    {"what nobody knows in a result", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":\"tool_"
     "reference\",\"tool_name\":\"n\"}]}]}]}",
     "messages.2.content", "\"{\\\"type\\\":\\\"tool_reference\\\",\\\"tool_name\\\":\\\"n\\\"}\""},
    {"an image in a result and the words behind it", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"
     "\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/"
     "png\",\"data\":\"AA==\"}}]}]},{\"role\":\"user\",\"content\":\"go\"}]}",
     "messages.3.content.0.image_url.url", "\"data:image/png;base64,AA==\""},
    {"a result and words in one turn", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"1\"},{\"type\":"
     "\"text\",\"text\":\"go\"}]}]}",
     "messages.3.content", "\"go\""},
    {"thoughts to a host that wants them", "m", 'q',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":"
     "\"t\"},{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"s\"}]}]}",
     "messages.1.reasoning_content", "\"hm\""},
    {"no thoughts to a host that does not", "m", 'c',
     "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{\"type\":\"object\"}}],"
     "\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"},{\"type\":\"text\",\"text\":"
     "\"t\"}]}]}",
     "messages.1.reasoning_content", ""},
    {"system messages in between go in front", "m", 's',
     "{\"max_tokens\":9,\"system\":[{\"type\":\"text\",\"text\":\"a\"}],\"messages\":[{\"role\":"
     "\"user\","
     "\"content\":\"q\"},{\"role\":\"system\",\"content\":\"b\"},{\"role\":\"user\",\"content\":[{"
     "\"type\":\"text\",\"text\":\"r\"},{\"type\":\"mid_conv_system\",\"content\":[{\"type\":"
     "\"text\","
     "\"text\":\"c\"}]}]}]}",
     "messages",
     "[{\"role\":\"system\",\"content\":\"a\\n\\nb\\n\\nc\"},{\"role\":\"user\",\"content\":\"q\"},"
     "{"
     "\"role\":\"user\",\"content\":\"r\"}]"},
    {"and stay where they may", "m", 'c',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"system\","
     "\"content\":\"b\"}]}",
     "messages.1", "{\"role\":\"system\",\"content\":\"b\"}"},
    {"many stops to a host that takes them", "m", 'q',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop_sequences\":["
     "\"1\",\"2\",\"3\",\"4\",\"5\"]}",
     "stop", "[\"1\",\"2\",\"3\",\"4\",\"5\"]"},
    {"the old name for the cap at OpenAI itself", "gpt-4o", 'm',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop_sequences\":["
     "\"1\",\"2\",\"3\",\"4\",\"5\"]}",
     "max_tokens", "9"},
    {"a search beside an own tool", "gpt-4o-search-preview", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{\"type\":"
     "\"web_search_20250305\",\"name\":\"web_search\"},{\"name\":\"get\",\"input_schema\":{}}],"
     "\"tool_choice\":{\"type\":\"tool\",\"name\":\"get\"}}",
     "tools", "[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{}}}]"},
    {"a mark on the whole request", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"cache_control\":{"
     "\"type\":\"ephemeral\"}}",
     "cache_control", ""},
    {"a text document", "gpt-4o", 'o',
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\","
     "\"title\":\"T\",\"context\":\"C\","
     "\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"body\"}}]}]}",
     "messages.0.content.0.text", "\"T\\nC\\nbody\""},
};

/* Chat requests pass OpenAI-type upstreams as they are; the neutral form can say them all the same.
 */
static const struct member_case chats[] = {
    {"no cap at all", "gpt-4o", 'o', "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "",
     "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"},
    {"a custom tool", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{\"type\":\"custom\","
     "\"custom\":{\"name\":\"c\"}}]}",
     "tools", "[{\"type\":\"custom\",\"custom\":{\"name\":\"c\"}}]"},
    {"a tool without a schema", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{\"type\":\"function\","
     "\"function\":{\"name\":\"f\"}}]}",
     "tools", "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"},
    {"arguments as text", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{ \"}}]}]}",
     "messages.1.tool_calls.0.function.arguments", "\"{ \""},
    {"a refusal in the history", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"refusal\":"
     "\"no\"}]}",
     "messages.1", "{\"role\":\"assistant\",\"content\":\"no\"}"},
    {"a developer in the middle", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"developer\",\"content\":"
     "\"d\"},{\"role\":\"system\",\"content\":\"s\"}]}",
     "messages.1", "{\"role\":\"system\",\"content\":\"d\"}"},
    {"a JSON object", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_format\":{\"type\":\"json_"
     "object\"}}",
     "response_format", "{\"type\":\"json_object\"}"},
    {"a schema with its name and strictness", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_format\":{\"type\":\"json_"
     "schema\",\"json_schema\":{\"name\":\"n\",\"strict\":false,\"schema\":{}}}}",
     "response_format.json_schema", "{\"name\":\"n\",\"schema\":{},\"strict\":false}"},
    {"an image's detail", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"https://x.test/a\",\"detail\":\"low\"}}]}]}",
     "messages.0.content.0.image_url", "{\"url\":\"https://x.test/a\",\"detail\":\"low\"}"},
    {"a text in a tool message of parts", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{"
     "\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":[{\"type\":\"text\",\"text\":\"1\"},{"
     "\"type\":\"text\",\"text\":\"2\"}]}]}",
     "messages.2.content", "\"12\""},
    {"an effort nobody knows", "gpt-5", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"huge\"}",
     "reasoning_effort", ""},
    {"an effort below the lowest", "o3", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"minimal\"}",
     "reasoning_effort", "\"low\""},
    {"an effort to a model that does not reason", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"low\"}",
     "reasoning_effort", ""},
    {"no effort", "gpt-5.1", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"none\"}",
     "reasoning_effort", "\"none\""},
    {"the user stays away from compatible hosts", "m", 'c',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"user\":\"u\"}", "safety_identifier",
     ""},
    {"logit_bias is left to chat itself", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"logit_bias\":{\"1\":2}}",
     "logit_bias", ""},
    {"several choices", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"n\":2}", "", "refused"},
    {"logprobs", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"logprobs\":true}", "", "refused"},
    {"many stops at OpenAI itself", "gpt-4o", 'o',
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop\":[\"1\",\"2\",\"3\",\"4\"]}",
     "stop", "[\"1\",\"2\",\"3\",\"4\"]"},
};

static unsigned follow(const struct member_case *cases, size_t count, enum api api)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const struct member_case *c = &cases[i];
        struct rig r;
        rig_init(&r, &provider_openai, c->model);
        if (c->compat == 'm')
            r.pc.compat =
                (struct compat){.is_openai = true, .max_tokens_only = true, .many_stops = true};
        else if (c->compat != 'o')
            r.pc.compat = (struct compat){.echo_reasoning = c->compat == 'q',
                                          .no_stream_options = c->compat == 'q',
                                          .top_k = c->compat == 'q',
                                          .system_first = c->compat == 's',
                                          .no_parallel_tool_calls = c->compat == 'q'};
        bool built = rig_build(&r, api, span_str(c->body)) == OK;
        const char *got = built ? rig_member(&r, c->path) : "refused";
        if (c->value[0] == '*' ? strlen(got) != (size_t)atol(c->value + 1)
                               : strcmp(got, c->value) != 0) {
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
    assert_int_equal(follow(members, sizeof members / sizeof members[0], API_ANTHROPIC_MESSAGES),
                     0);
}

static void what_a_chat_client_says_could_be_said_again(void **state)
{
    (void)state;
    assert_int_equal(follow(chats, sizeof chats / sizeof chats[0], API_OPENAI_CHAT), 0);
}

static void a_hashed_id_is_the_same_in_call_and_result(void **state) /* H107 */
{
    (void)state;
    struct rig r;
    rig_init(&r, &provider_openai, "gpt-4o");
    assert_int_equal(rig_build(&r, API_ANTHROPIC_MESSAGES,
                               SPAN("{\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
                                    "\"content\":\"q\"},{\"role\":\"assistant\","
                                    "\"content\":[{\"type\":\"tool_use\",\"id\":\"" LONG_ID
                                    "\",\"name\":\"f\",\"input\":{}}]},"
                                    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
                                    "\"tool_use_id\":\"" LONG_ID "\",\"content\":\"1\"}]}]}")),
                     OK);
    char call[64];
    (void)snprintf(call, sizeof call, "%s", rig_member(&r, "messages.1.tool_calls.0.id"));
    assert_string_equal(rig_member(&r, "messages.2.tool_call_id"), call);
    rig_free(&r);
}

static void what_openai_cannot_do_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        char compat;
        enum api api;
        const char *body;
        unsigned error_class;
        const char *param;
    } cases[] = {
        {'o', API_ANTHROPIC_MESSAGES,
         "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"container_"
         "upload\",\"file_id\":\"f\"}]}]}",
         ERROR_UNSUPPORTED_PARAMETER, "*"},
        {'o', API_ANTHROPIC_MESSAGES,
         "{\"max_tokens\":9,\"tools\":[{\"name\":\"get\",\"input_schema\":{}}],\"messages\":[{"
         "\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":[{\"type\":"
         "\"tool_use\",\"id\":\"a\",\"name\":\"get\",\"input\":{}}]},{\"role\":\"user\","
         "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"
         "\"document\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a\"}}]}]}]}",
         ERROR_UNSUPPORTED_PARAMETER, "messages[2].content"},
        {'o', API_OPENAI_COMPLETIONS, "{\"prompt\":\"p\",\"n\":2}", ERROR_UNSUPPORTED_PARAMETER,
         "n"},
        {'o', API_ANTHROPIC_MESSAGES, "{" HI ",\"stop_sequences\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}",
         ERROR_INVALID_VALUE, "stop_sequences"}, /* H104 */
        {'o', API_ANTHROPIC_MESSAGES,
         "{" HI ",\"tools\":[{\"name\":\"f\",\"input_schema\":{}},{\"type\":\"web_search_20250305"
         "\",\"name\":\"web_search\"}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"web_search\"}"
         "}",
         ERROR_UNSUPPORTED_PARAMETER, "tool_choice"},
        {'o', API_OPENAI_RESPONSES, "{\"input\":\"hi\",\"tools\":[{\"type\":\"web_search\"}]}",
         ERROR_UNSUPPORTED_PARAMETER, "tools[0].type"},
        {'c', API_ANTHROPIC_MESSAGES,
         "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\","
         "\"source\":{\"type\":\"base64\","
         "\"media_type\":\"application/pdf\",\"data\":\"AA==\"}}]}]}",
         ERROR_UNSUPPORTED_PARAMETER, "messages[0].content"},
        {'o', API_ANTHROPIC_MESSAGES,
         "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\","
         "\"source\":{\"type\":\"url\","
         "\"url\":\"https://x.test/a.pdf\"}}]}]}",
         ERROR_UNSUPPORTED_PARAMETER, "messages[0].content"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        rig_init(&r, &provider_openai, "gpt-4o");
        r.pc.compat.is_openai = cases[i].compat == 'o';
        rig_build_refused(&r, cases[i].api, cases[i].body, cases[i].error_class);
        if (strcmp(cases[i].param, "*") != 0 && !span_is(r.fault.param, cases[i].param))
            fail_msg("%.*s, not %s", SPAN_ARG(r.fault.param), cases[i].param);
        rig_free(&r);
    }
}

static void a_legacy_completion_becomes_a_chat(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, &provider_openai, "gpt-4o");
    assert_int_equal(
        rig_build(
            &r, API_OPENAI_COMPLETIONS,
            SPAN("{\"prompt\":\"Say "
                 "hi\",\"max_tokens\":5,\"logit_bias\":{\"1\":2},\"seed\":7,\"stop\":\"E\"}")),
        OK);
    assert_json_same(
        r.pc.next->body,
        SPAN("{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Say hi\"}],"
             "\"max_completion_tokens\":5,\"logit_bias\":{\"1\":2},\"seed\":7,\"stop\":[\"E\"]}"));
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
        cmocka_unit_test(the_golden_request_comes_out_as_written),
        cmocka_unit_test(every_row_of_the_table_is_followed),
        cmocka_unit_test(what_a_chat_client_says_could_be_said_again),
        cmocka_unit_test(a_hashed_id_is_the_same_in_call_and_result),
        cmocka_unit_test(what_openai_cannot_do_is_refused_by_name),
        cmocka_unit_test(a_legacy_completion_becomes_a_chat),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
