/* Replicate: requests by schema, predictions polled and streamed (H105 to H117; golden
 * replicate_*). */
#include "unit/services/worker/providers/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "services/worker/providers/replicate/schema_cache.h"

#define MODEL "meta/llama-2-70b-chat"
#define LLAMA2                                                                                     \
    "{\"prompt\":{\"type\":\"string\"},\"system_prompt\":{\"type\":\"string\"},\"max_new_"         \
    "tokens\":{\"type\":\"integer\","                                                              \
    "\"minimum\":1,\"default\":128},\"temperature\":{\"type\":\"number\",\"minimum\":0.01,"        \
    "\"maximum\":5},\"top_p\":"                                                                    \
    "{\"type\":\"number\"},\"top_k\":{\"type\":\"integer\",\"minimum\":0},\"stop_sequences\":{"    \
    "\"type\":\"string\"},"                                                                        \
    "\"seed\":{\"type\":\"integer\"}}"
#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TALK                                                                                       \
    "\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"}," \
    "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]"

static struct schema_cache *cache;

static void learn(const char *model, const char *properties)
{
    struct buf schemas = {0};
    buf_printf(&schemas, "{\"Input\":{\"properties\":%s},\"effort\":{\"enum\":[\"low\",\"high\"]}}",
               properties);
    schema_cache_put(cache, span_str(model), 1792567680, buf_span(&schemas));
    buf_free(&schemas);
}

static void begin(struct rig *r, const char *model, const char *properties)
{
    rig_init(r, &provider_replicate, model);
    if (properties)
        learn(model, properties);
    r->pc.schemas = cache;
}

static int enter(void **state)
{
    (void)state;
    cache = schema_cache_create(NULL);
    return cache ? 0 : -1;
}

static int leave(void **state)
{
    (void)state;
    schema_cache_destroy(&cache);
    return 0;
}

static int end(void **state)
{
    (void)state;
    rig_table_free();
    return 0;
}

/* ---- requests ---- */

static void the_golden_request_comes_out_as_written(void **state)
{
    (void)state;
    struct rig r;
    struct span in = rig_fixture("golden/replicate_request/in.json");
    struct span schema = rig_fixture("golden/replicate_request/schema.json");
    char *properties = strndup(schema.data, schema.len);
    begin(&r, MODEL, properties);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, in), OK);
    assert_string_equal(r.pc.next->method, "POST");
    assert_true(span_is(r.pc.next->path, "/models/meta/llama-2-70b-chat/predictions"));
    assert_true(span_is(r.pc.next->headers, "prefer: wait=60\n"));
    assert_json_same(
        r.pc.next->body,
        SPAN("{\"input\":{\"prompt\":\"hi\",\"system_prompt\":\"S\",\"max_new_tokens\":64,"
             "\"temperature\":0.01,\"stop_sequences\":\"END,X\"}}"));
    rig_free(&r);
    free(properties);
    free((char *)(uintptr_t)in.data);
    free((char *)(uintptr_t)schema.data);
}

#define HEX "0123456789012345678901234567890123456789012345678901234567890123"

struct input_case {
    const char *name, *model, *properties, *body, *input;
};

static const struct input_case inputs[] = {
    {"one turn goes as it is", MODEL, LLAMA2, "{" HI "}",
     "{\"prompt\":\"hi\",\"max_new_tokens\":4096}"},
    {"the system text where no member takes it", "x/y", "{\"prompt\":{\"type\":\"string\"}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"hi\"}"
     "]}",
     "{\"prompt\":\"S\\n\\nhi\"}"},
    {"several turns, plain", "x/y", "{\"prompt\":{},\"system_prompt\":{}}", "{" TALK "}",
     "{\"prompt\":\"User: a\\nAssistant: b\\nUser: c\\nAssistant:\",\"system_prompt\":\"S\"}"},
    {"several turns, the system text in front", "x/y", "{\"prompt\":{}}", "{" TALK "}",
     "{\"prompt\":\"S\\n\\nUser: a\\nAssistant: b\\nUser: c\\nAssistant:\"}"},
    {"several turns in Llama-3's template", "meta/meta-llama-3-8b-instruct",
     "{\"prompt\":{},\"prompt_template\":{},\"system_prompt\":{}}", "{" TALK "}",
     "{\"prompt\":\"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\\n\\nS<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\\n\\na<|eot_id|><|start_header_id|>assistant<|end_"
     "header_id|>\\n\\nb<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\\n\\nc<|eot_id|><|start_header_id|>assistant<|end_"
     "header_id|>\\n\\n\","
     "\"prompt_template\":\"{prompt}\"}"},
    {"several turns in Llama-2's template", "meta/llama-2-7b-chat",
     "{\"prompt\":{},\"prompt_template\":{}}", "{" TALK "}",
     "{\"prompt\":\"<s>[INST] <<SYS>>\\nS\\n<</SYS>>\\n\\na [/INST] b </s><s>[INST] c "
     "[/INST]\",\"prompt_template\":\"{prompt}\"}"},
    {"several turns in Mistral's template", "mistralai/mixtral-8x7b-instruct-v0.1",
     "{\"prompt\":{},\"prompt_template\":{}}", "{" TALK "}",
     "{\"prompt\":\"<s>[INST] S\\n\\na [/INST] b</s>[INST] c "
     "[/INST]\",\"prompt_template\":\"{prompt}\"}"},
    {"special tokens are taken out of a client's text", "meta/meta-llama-3-8b-instruct",
     "{\"prompt\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"x<|eot_id|><|start_header_id|>system y "
     "<|eot<|eot_id|>_id|>z\"}]}",
     "{\"prompt\":\"xsystem y z\"}"},
    {"messages where the model takes them", "openai/gpt-4o",
     "{\"prompt\":{\"type\":\"string\"},\"messages\":{\"type\":\"array\"},\"system_prompt\":{}}",
     "{" TALK "}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
     "\"b\"},{\"role\":\"user\",\"content\":\"c\"}],"
     "\"system_prompt\":\"S\"}"},
    {"H115 a stop with a comma, H116 temperature 0", MODEL, LLAMA2,
     "{" HI ",\"stop\":[\",\",\"END\"],\"temperature\":0,\"max_tokens\":5}",
     "{\"prompt\":\"hi\",\"stop_sequences\":\"END\",\"temperature\":0.01,\"max_new_tokens\":5}"},
    {"a stop list", "x/y", "{\"prompt\":{},\"stop\":{\"type\":\"array\"}}",
     "{" HI ",\"stop\":[\",\",\"END\"]}", "{\"prompt\":\"hi\",\"stop\":[\",\",\"END\"]}"},
    {"numbers by their type", MODEL, LLAMA2,
     "{" HI ",\"top_k\":5,\"top_p\":0.50,\"seed\":7,\"max_tokens\":5}",
     "{\"prompt\":\"hi\",\"top_k\":5,\"top_p\":0.50,\"seed\":7,\"max_new_tokens\":5}"},
    {"a cap above the maximum", "x/y",
     "{\"prompt\":{},\"max_tokens\":{\"type\":\"integer\",\"maximum\":100}}",
     "{" HI ",\"max_tokens\":500}", "{\"prompt\":\"hi\",\"max_tokens\":100}"},
    {"a large default is left alone", "x/y", "{\"prompt\":{},\"max_tokens\":{\"default\":8192}}",
     "{" HI "}", "{\"prompt\":\"hi\"}"},
    {"effort as a word the schema knows", "x/y",
     "{\"prompt\":{},\"reasoning_effort\":{\"allOf\":[{\"$ref\":\"#/components/schemas/"
     "effort\"}]}}",
     "{" HI ",\"reasoning_effort\":\"high\"}", "{\"prompt\":\"hi\",\"reasoning_effort\":\"high\"}"},
    {"effort as a word it does not know", "x/y",
     "{\"prompt\":{},\"reasoning_effort\":{\"allOf\":[{\"$ref\":\"#/components/schemas/"
     "effort\"}]}}",
     "{" HI ",\"reasoning_effort\":\"xhigh\"}", "{\"prompt\":\"hi\"}"},
    {"effort as extended thinking", "x/y",
     "{\"prompt\":{},\"extended_thinking\":{},\"thinking_budget_tokens\":{\"minimum\":2048}}",
     "{" HI ",\"reasoning_effort\":\"low\"}",
     "{\"prompt\":\"hi\",\"extended_thinking\":true,\"thinking_budget_tokens\":2048}"},
    {"an image", "x/y", "{\"prompt\":{},\"image\":{\"type\":\"string\"}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":"
     "\"image_url\",\"image_url\":"
     "{\"url\":\"data:image/png;base64,AA==\"}}]}]}",
     "{\"prompt\":\"hi\",\"image\":\"data:image/png;base64,AA==\"}"},
    {"images", "x/y", "{\"prompt\":{},\"image_input\":{\"type\":\"array\"}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":"
     "\"image_url\",\"image_url\":"
     "{\"url\":\"https://x.test/a.png\"}}]}]}",
     "{\"prompt\":\"hi\",\"image_input\":[\"https://x.test/a.png\"]}"},
    {"JSON asked for in words", "x/y", "{\"prompt\":{},\"system_prompt\":{}}",
     "{" HI ",\"response_format\":{\"type\":\"json_object\"}}",
     "{\"prompt\":\"hi\",\"system_prompt\":\"Answer with one JSON object only, no other text.\"}"},
    {"several turns as ChatML", "qwen/qwen-7b-chat", "{\"prompt\":{},\"prompt_template\":{}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"prompt\":\"<|im_start|>system\\nS<|im_end|>\\n<|im_start|>user\\na<|im_end|>\\n<|im_start|"
     ">assistant\\nb<|im_end|>\\n<|im_start|>user\\nc<|im_end|>\\n<|im_start|>assistant\\n\","
     "\"prompt_template\":\"{prompt}\"}"},
    {"several turns for Gemma", "google-deepmind/gemma-7b-it",
     "{\"prompt\":{},\"prompt_template\":{}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"prompt\":\"<bos><start_of_turn>user\\nS\\n\\na<end_of_turn>\\n<start_of_turn>model\\nb<"
     "end_of_turn>\\n<start_of_turn>user\\nc<end_of_turn>\\n<start_of_turn>model\\n\",\"prompt_"
     "template\":\"{prompt}\"}"},
    {"several turns for Granite", "ibm-granite/granite-3.3-8b-instruct",
     "{\"prompt\":{},\"prompt_template\":{}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"prompt\":\"<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\\n<|start_of_role|>user<"
     "|end_of_role|>a<|end_of_text|>\\n<|start_of_role|>assistant<|end_of_role|>b<|end_of_text|>"
     "\\n<|start_of_role|>user<|end_of_role|>c<|end_of_text|>\\n<|start_of_role|>assistant<|end_of_"
     "role|>\",\"prompt_template\":\"{prompt}\"}"},
    {"several turns for DeepSeek", "deepseek-ai/deepseek-r1",
     "{\"prompt\":{},\"prompt_template\":{}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"prompt\":\"<｜begin▁of▁sentence｜>S<｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜><"
     "｜User｜>c<｜Assistant｜>\",\"prompt_template\":\"{prompt}\"}"},
    {"a template but no family", "x/y", "{\"prompt\":{},\"prompt_template\":{}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"prompt\":\"S\\n\\nUser: a\\nAssistant: b\\nUser: c\\nAssistant:\"}"},
    {"the assistant's last word is left open", "x/y", "{\"prompt\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
     "\"b\"}]}",
     "{\"prompt\":\"User: a\\nAssistant: b\"}"},
    {"turns of one role are put together", "x/y", "{\"prompt\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"\"},{"
     "\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"b\"}]}]}",
     "{\"prompt\":\"a\\n\\nb\"}"},
    {"an empty turn vanishes", "x/y", "{\"prompt\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"\"},{\"role\":\"assistant\",\"content\":"
     "\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"prompt\":\"Assistant: b\\nUser: c\\nAssistant:\"}"},
    {"a refusal is text, thoughts are none", "x/y", "{\"prompt\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"refusal\",\"refusal\":\"no\"}],\"thinking_blocks\":[{\"type\":\"thinking\","
     "\"thinking\":\"t\",\"signature\":\"s\"}]},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"prompt\":\"User: a\\nAssistant: no\\nUser: c\\nAssistant:\"}"},
    {"several system texts", "x/y", "{\"prompt\":{},\"system\":{}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"A\"},{\"role\":\"user\",\"content\":\"u\"},"
     "{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"B\"},{\"type\":\"text\","
     "\"text\":\"\"}]}]}",
     "{\"prompt\":\"u\",\"system\":\"A\\n\\nB\"}"},
    {"messages without a system member", "openai/gpt-5", "{\"messages\":{\"type\":\"array\"}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"}]}"},
    {"a thinking level", "x/y", "{\"prompt\":{},\"thinking_level\":{\"enum\":[\"low\",\"high\"]}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"low\"}",
     "{\"prompt\":\"hi\",\"thinking_level\":\"low\"}"},
    {"a reference that leads nowhere allows all", "x/y",
     "{\"prompt\":{},\"reasoning_effort\":{\"$ref\":\"#/components/schemas/none\"}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"low\"}",
     "{\"prompt\":\"hi\",\"reasoning_effort\":\"low\"}"},
    {"extended thinking, minimal", "x/y",
     "{\"prompt\":{},\"extended_thinking\":{},\"thinking_budget_tokens\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"minimal\"}",
     "{\"prompt\":\"hi\",\"extended_thinking\":true,\"thinking_budget_tokens\":1024}"},
    {"extended thinking, medium", "x/y",
     "{\"prompt\":{},\"extended_thinking\":{},\"thinking_budget_tokens\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"medium\"}",
     "{\"prompt\":\"hi\",\"extended_thinking\":true,\"thinking_budget_tokens\":4096}"},
    {"extended thinking, high", "x/y",
     "{\"prompt\":{},\"extended_thinking\":{},\"thinking_budget_tokens\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"high\"}",
     "{\"prompt\":\"hi\",\"extended_thinking\":true,\"thinking_budget_tokens\":16384}"},
    {"extended thinking, max", "x/y",
     "{\"prompt\":{},\"extended_thinking\":{},\"thinking_budget_tokens\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"max\"}",
     "{\"prompt\":\"hi\",\"extended_thinking\":true,\"thinking_budget_tokens\":32000}"},
    {"extended thinking off", "x/y", "{\"prompt\":{},\"extended_thinking\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"none\"}",
     "{\"prompt\":\"hi\",\"extended_thinking\":false}"},
    {"no effort member", "x/y", "{\"prompt\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"reasoning_effort\":\"low\","
     "\"temperature\":1,\"max_tokens\":5,\"stop\":\"x\",\"user\":\"u\",\"service_tier\":\"auto\","
     "\"store\":true}",
     "{\"prompt\":\"hi\"}"},
    {"a number rounded to an integer", "x/y",
     "{\"prompt\":{},\"temperature\":{\"type\":\"integer\"},\"top_p\":{\"type\":\"number\","
     "\"maximum\":0.5}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"temperature\":0.7,\"top_p\":0.9}",
     "{\"prompt\":\"hi\",\"temperature\":1,\"top_p\":0.5}"},
    {"a cap below the minimum", "x/y",
     "{\"prompt\":{},\"max_length\":{\"type\":\"integer\",\"minimum\":10}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":5}",
     "{\"prompt\":\"hi\",\"max_length\":10}"},
    {"only stops with commas", "x/y", "{\"prompt\":{},\"stop\":{\"type\":\"string\"}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop\":[\",\",\"\"]}",
     "{\"prompt\":\"hi\"}"},
    {"a response format as text", "x/y",
     "{\"prompt\":{},\"response_format\":{\"type\":\"string\"}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_format\":{\"type\":\"json_"
     "object\"}}",
     "{\"prompt\":\"hi\",\"response_format\":\"{\\\"type\\\":\\\"json_object\\\"}\"}"},
    {"a response format with its schema", "x/y",
     "{\"prompt\":{},\"response_format\":{\"type\":\"object\"}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"response_format\":{\"type\":\"json_"
     "schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":\"object\"}}}}",
     "{\"prompt\":\"hi\",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
     "\"n\",\"schema\":{\"type\":\"object\"}}}}"},
    {"a schema in words", "x/y", "{\"prompt\":{}}",
     "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"hi\"}"
     "],\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{"
     "\"type\":\"object\"}}}}",
     "{\"prompt\":\"S\\n\\nAnswer with one JSON object only, no other text. It must follow this "
     "JSON schema: {\\\"type\\\":\\\"object\\\"}\\n\\nhi\"}"},
    {"an image alone", "x/y", "{\"prompt\":{},\"image\":{}}",
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
     "\"url\":\"https://x.test/a\"}}]}]}",
     "{\"prompt\":\"\",\"image\":\"https://x.test/a\"}"},
    {"effort by the schema's own words", "x/y",
     "{\"prompt\":{},\"reasoning_effort\":{\"enum\":[\"low\",\"high\"]}}",
     "{" HI ",\"reasoning_effort\":\"low\"}", "{\"prompt\":\"hi\",\"reasoning_effort\":\"low\"}"},
    {"effort by a reference without allOf", "x/y",
     "{\"prompt\":{},\"thinking_level\":{\"$ref\":\"#/components/schemas/effort\"}}",
     "{" HI ",\"reasoning_effort\":\"xhigh\"}", "{\"prompt\":\"hi\"}"},
    {"effort by a reference elsewhere", "x/y",
     "{\"prompt\":{},\"thinking_level\":{\"$ref\":\"https://x.test/y\"}}",
     "{" HI ",\"reasoning_effort\":\"low\"}", "{\"prompt\":\"hi\",\"thinking_level\":\"low\"}"},
    {"effort by a reference too long to be a name", "x/y",
     "{\"prompt\":{},\"thinking_level\":{\"$ref\":\"#/components/schemas/" HEX HEX "\"}}",
     "{" HI ",\"reasoning_effort\":\"low\"}", "{\"prompt\":\"hi\",\"thinking_level\":\"low\"}"},
    {"no effort, and no member for it", "x/y", "{\"prompt\":{}}",
     "{" HI ",\"reasoning_effort\":\"none\"}", "{\"prompt\":\"hi\"}"},
    {"extended thinking without a budget", "x/y", "{\"prompt\":{},\"extended_thinking\":{}}",
     "{" HI ",\"reasoning_effort\":\"minimal\"}", "{\"prompt\":\"hi\",\"extended_thinking\":true}"},
    {"a cap below the maximum, a huge integer", "x/y",
     "{\"prompt\":{},\"max_tokens\":{\"maximum\":100},\"seed\":{\"type\":\"integer\"}}",
     "{" HI ",\"max_tokens\":50,\"seed\":9223372036854775807}",
     "{\"prompt\":\"hi\",\"max_tokens\":50,\"seed\":9223372036854775807}"},
    {"a small default and a smaller maximum", "x/y",
     "{\"prompt\":{},\"max_tokens\":{\"default\":128,\"maximum\":1000}}", "{" HI "}",
     "{\"prompt\":\"hi\",\"max_tokens\":1000}"},
    {"a schema without a name of its own", "x/y", "{\"prompt\":{},\"response_format\":{}}",
     "{" HI ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{}}}}",
     "{\"prompt\":\"hi\",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
     "\"output\",\"schema\":{}}}}"},
    {"a schema by its member", "x/y", "{\"prompt\":{},\"json_schema\":{\"type\":\"object\"}}",
     "{" HI ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
     "\"schema\":{\"type\":\"object\"}}}}",
     "{\"prompt\":\"hi\",\"json_schema\":{\"type\":\"object\"}}"},
};

static void the_input_follows_the_schema(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        const struct input_case *c = &inputs[i];
        struct rig r;
        print_message("  %s\n", c->name);
        begin(&r, c->model, c->properties);
        assert_int_equal(rig_build(&r, API_OPENAI_CHAT, span_str(c->body)), OK);
        assert_json_same(span_str(rig_member(&r, "input")), span_str(c->input));
        rig_free(&r);
    }
}

static void images_have_their_bounds(void **state)
{
    (void)state;
    struct buf body = {0};
    struct rig r;
    buf_append_str(&body, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
                          "\"image_url\":{\"url\":"
                          "\"data:image/png;base64,");
    for (size_t i = 0; i < (257u << 10) / 4; i++)
        buf_append_str(&body, "AAAA");
    buf_append_str(&body, "\"}}]}]}");
    begin(&r, MODEL, "{\"prompt\":{},\"image\":{}}");
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, buf_span(&body)), ERR_INVALID);
    assert_int_equal(r.fault.error_class, ERROR_INVALID_VALUE);
    rig_free(&r);
    buf_free(&body);
    static const char *const bodies[] = {
        /* two, where the model takes one */
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
        "\"url\":\"https://x.test/a\"}},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.test/b\"}}]}]}",
        /* not in the last message */
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
        "\"url\":\"https://x.test/a\"}}]},"
        "{\"role\":\"user\",\"content\":\"x\"}]}",
        /* a document */
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"filename\":"
        "\"a.pdf\",\"file_data\":"
        "\"data:application/pdf;base64,AA==\"}}]}]}",
        /* tools in the history */
        "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_"
        "calls\":[{\"id\":\"a\",\"type\":"
        "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
        "\"tool_call_id\":\"a\",\"content\":\"1\"}]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        begin(&r, MODEL, "{\"prompt\":{},\"image\":{}}");
        rig_build_refused(&r, API_OPENAI_CHAT, bodies[i], ERROR_UNSUPPORTED_PARAMETER);
        rig_free(&r);
    }
}

static void an_anthropic_clients_thinking_becomes_effort(void **state)
{
    (void)state;
    static const struct {
        const char *thinking, *input;
    } cases[] = {
        {"{\"type\":\"enabled\",\"budget_tokens\":1024}",
         "{\"prompt\":\"hi\",\"reasoning_effort\":\"low\"}"},
        {"{\"type\":\"enabled\",\"budget_tokens\":5000}",
         "{\"prompt\":\"hi\",\"reasoning_effort\":\"medium\"}"},
        {"{\"type\":\"enabled\",\"budget_tokens\":20000}",
         "{\"prompt\":\"hi\",\"reasoning_effort\":\"high\"}"},
        {"{\"type\":\"disabled\"}", "{\"prompt\":\"hi\",\"reasoning_effort\":\"none\"}"},
        {"{\"type\":\"adaptive\"}", "{\"prompt\":\"hi\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        char body[512];
        (void)snprintf(body, sizeof body,
                       "{\"max_tokens\":30000,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
                       ",\"thinking\":%s}",
                       cases[i].thinking);
        begin(&r, MODEL, "{\"prompt\":{},\"reasoning_effort\":{}}");
        assert_int_equal(rig_build(&r, API_ANTHROPIC_MESSAGES, span_str(body)), OK);
        assert_json_same(span_str(rig_member(&r, "input")), span_str(cases[i].input));
        rig_free(&r);
        begin(&r, MODEL, "{\"prompt\":{},\"extended_thinking\":{},\"thinking_budget_tokens\":{}}");
        assert_int_equal(rig_build(&r, API_ANTHROPIC_MESSAGES, span_str(body)), OK);
        rig_free(&r);
    }
}

static void what_the_model_cannot_do_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        unsigned error_class;
    } cases[] = {
        {"{" HI ",\"n\":2}", ERROR_UNSUPPORTED_PARAMETER},
        {"{" HI ",\"logprobs\":true}", ERROR_UNSUPPORTED_PARAMETER},
        {"{" HI ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}",
         ERROR_UNSUPPORTED_PARAMETER},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
         "\"url\":\"https://x.test/a\"}}]}]}",
         ERROR_UNSUPPORTED_PARAMETER},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"S\"}]}", ERROR_INVALID_VALUE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        begin(&r, MODEL, LLAMA2);
        rig_build_refused(&r, API_OPENAI_CHAT, cases[i].body, cases[i].error_class);
        rig_free(&r);
    }
}

static void every_way_to_name_a_model_is_addressed(void **state)
{
    (void)state;
    static const struct {
        const char *model, *path, *version;
    } cases[] = {
        {"meta/llama-2-70b-chat", "/models/meta/llama-2-70b-chat/predictions", ""},
        {"meta/llama:" HEX, "/predictions", "\"" HEX "\""},
        {HEX, "/predictions", "\"" HEX "\""},
        {"deployments/acme/my-llm", "/deployments/acme/my-llm/predictions", ""},
        {"a b/c?d", "/models/a%20b/c%3Fd/predictions", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        begin(&r, cases[i].model, "{\"prompt\":{}}");
        assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI "}")), OK);
        if (!span_is(r.pc.next->path, cases[i].path))
            fail_msg("%.*s", SPAN_ARG(r.pc.next->path));
        assert_string_equal(rig_member(&r, "version"), cases[i].version);
        assert_false(r.pc.next->repeatable);
        rig_free(&r);
    }
    static const char *const bad[] = {
        "",   "llama", "a/b/c", "a/b:latest", "/",   "deployments/x",   ("deployments/a/b:" HEX),
        "/b", "a/",    "../..", "a/..",       "./b", "deployments/../b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rig r;
        begin(&r, bad[i], NULL);
        rig_build_refused(&r, API_OPENAI_CHAT, "{" HI "}", ERROR_UPSTREAM_NOT_FOUND);
        rig_free(&r);
    }
}

static void the_schema_is_learned_once(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, NULL);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"top_p\":0.5}")), OK);
    assert_string_equal(r.pc.next->method, "GET");
    assert_true(span_is(r.pc.next->path, "/models/meta/llama-2-70b-chat"));
    assert_true(r.pc.next->repeatable);
    assert_int_equal(rig_answer(&r, "{\"latest_version\":{\"openapi_schema\":{\"components\":{"
                                    "\"schemas\":{\"Input\":{\"properties\":" LLAMA2 "}}}}}}"),
                     OK);
    assert_true(span_is(r.pc.next->path, "/models/meta/llama-2-70b-chat/predictions"));
    assert_string_equal(rig_member(&r, "input.top_p"), "0.5");
    rig_free(&r);
    begin(&r, MODEL, NULL);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI "}")), OK);
    assert_string_equal(r.pc.next->method, "POST");
    rig_free(&r);
}

static void a_model_without_a_schema_gets_its_prompt(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, NULL);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"top_p\":0.5}")), OK);
    assert_int_equal(rig_answer(&r, "{\"latest_version\":null}"), OK);
    assert_string_equal(rig_member(&r, "input"), "{\"prompt\":\"hi\"}");
    rig_free(&r);
}

static void a_deployment_is_asked_for_its_release(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, "deployments/acme/x", NULL);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI "}")), OK);
    assert_true(span_is(r.pc.next->path, "/deployments/acme/x"));
    assert_int_equal(
        rig_answer(&r, "{\"current_release\":{\"model\":\"o/n\",\"version\":\"" HEX "\"}}"), OK);
    assert_true(span_is(r.pc.next->path, "/models/o/n/versions/" HEX));
    assert_int_equal(rig_answer(&r, "{\"openapi_schema\":{\"components\":{\"schemas\":{\"Input\":{"
                                    "\"properties\":{\"prompt\":{}}}}}}}"),
                     OK);
    assert_true(span_is(r.pc.next->path, "/deployments/acme/x/predictions"));
    rig_free(&r);
}

static void a_version_is_looked_up_where_its_model_is_known(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, "meta/llama:" HEX, NULL);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI "}")), OK);
    assert_true(span_is(r.pc.next->path, "/models/meta/llama/versions/" HEX));
    rig_free(&r);
    begin(&r, HEX, NULL);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI "}")), OK);
    assert_string_equal(r.pc.next->method, "POST");
    assert_string_equal(rig_member(&r, "input"), "{\"prompt\":\"hi\"}");
    rig_free(&r);
}

static void a_release_that_names_nothing_gets_its_prompt(void **state)
{
    (void)state;
    static const char *const releases[] = {
        "{\"current_release\":{\"model\":\"/n\",\"version\":\"" HEX "\"}}",
        "{\"current_release\":{\"model\":\"o\",\"version\":\"" HEX "\"}}",
        "{\"current_release\":{\"model\":\"o/n\",\"version\":\"v1\"}}",
        "{\"current_release\":{}}",
    };
    for (size_t i = 0; i < sizeof releases / sizeof releases[0]; i++) {
        struct rig r;
        begin(&r, "deployments/acme/x", NULL);
        assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI "}")), OK);
        assert_int_equal(rig_answer(&r, releases[i]), OK);
        assert_true(span_is(r.pc.next->path, "/deployments/acme/x/predictions"));
        rig_free(&r);
    }
}

static void a_request_the_learned_schema_refuses_is_an_error(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, NULL);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"n\":2}")), OK);
    assert_int_equal(rig_answer(&r, "{}"), OK);
    assert_non_null(strstr(rig_events(&r), "ERROR unsupported_parameter"));
    rig_free(&r);
}

/* ---- answers ---- */

#define P(status, rest) "{\"id\":\"abc\",\"model\":\"meta/x\",\"status\":\"" status "\"" rest "}"
#define NO_COUNTS "USAGE in=? cached=? written=? out=? reasoning=?\n"
#define DONE NO_COUNTS "STOP end\nEND\n"
#define START "START abc meta/x\n"

static void every_prediction_becomes_its_events(void **state)
{
    (void)state;
    static const struct {
        const char *name, *in, *events;
    } cases[] = {
        {"counts",
         P("succeeded", ",\"output\":[\"He\",\"llo\",\"\"],\"metrics\":{\"input_token_count\":3,"
                        "\"output_token_count\":2}"),
         START "TEXT Hello\nUSAGE in=3 cached=? written=? out=2 reasoning=?\nSTOP end\nEND\n"},
        {"the cap was reached",
         P("succeeded", ",\"output\":\"x\",\"metrics\":{\"output_token_count\":64}"),
         START "TEXT x\nUSAGE in=? cached=? written=? out=64 reasoning=?\nSTOP length\nEND\n"},
        {"H109 a string", P("succeeded", ",\"output\":\"abc\""), START "TEXT abc\n" DONE},
        {"H109 a list of strings", P("succeeded", ",\"output\":[\"a\",\"b\",\"\"]"),
         START "TEXT ab\n" DONE},
        {"H109 null", P("succeeded", ",\"output\":null"), START DONE},
        {"H109 an object", P("succeeded", ",\"output\":{\"text\": \"x\"}"),
         START "TEXT {\\\"text\\\":\\\"x\\\"}\n" DONE},
        {"H109 numbers", P("succeeded", ",\"output\":[1, 2]"), START "TEXT [1,2]\n" DONE},
        {"H022 halves of a character", P("succeeded", ",\"output\":[\"\\ud83d\",\"\\ude00\"]"),
         START "TEXT \xf0\x9f\x98\x80\n" DONE},
        {"H117 out of memory", P("failed", ",\"error\":\"CUDA out of memory\""),
         "ERROR prediction_out_of_memory CUDA out of memory\n"},
        {"interrupted",
         P("failed", ",\"error\":\"Prediction interrupted; please retry (code: PA)\""),
         "ERROR prediction_interrupted Prediction interrupted; please retry (code: PA)\n"},
        {"bad input", P("failed", ",\"error\":\"Input validation failed\""),
         "ERROR upstream_bad_request Input validation failed\n"},
        {"just failed", P("failed", ",\"error\":null"),
         "ERROR prediction_failed The prediction failed.\n"},
        {"canceled", P("canceled", ""), "ERROR prediction_canceled The prediction was canceled.\n"},
        {"aborted", P("aborted", ""),
         "ERROR upstream_timeout The prediction was aborted: it ran too long.\n"},
        {"H117 too long for the model", P("failed", ",\"error\":\"the context window is full\""),
         "ERROR upstream_context_length the context window is full\n"},
        {"counts that can't be", P("succeeded", ",\"metrics\":{\"input_token_count\":-1}"),
         START DONE},
        {"queued", P("queued", ""), ""},
        {"no status", "{\"id\":\"abc\"}", "INVALID\n"},
        {"no object", "[]", "INVALID\n"},
        {"no JSON", "oops", "INVALID\n"},
        {"no id", "{\"status\":\"succeeded\"}", "INVALID\n"},
        {"an unknown status", P("dreaming", ""), "INVALID\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        print_message("  %s\n", cases[i].name);
        begin(&r, MODEL, LLAMA2);
        assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"max_tokens\":64}")), OK);
        if (rig_answer(&r, cases[i].in))
            buf_append_str(&r.log, "INVALID\n");
        assert_string_equal(rig_events(&r), cases[i].events);
        rig_free(&r);
    }
}

/* What the pipeline does between two functions of the provider. */
static void clear_wishes(struct rig *r)
{
    r->pc.next = NULL;
    r->pc.wait_ms = 0;
}

static void a_running_prediction_is_polled_until_it_is_through(void **state) /* H108 */
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, LLAMA2);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI "}")), OK);
    assert_int_equal(
        rig_answer(
            &r,
            P("processing",
              ",\"output\":[\"all\",\" there\"],\"urls\":{\"get\":\"https://evil.example/x\"}")),
        OK);
    uint64_t waits[12];
    for (size_t i = 0; i < 12; i++) {
        waits[i] = r.pc.wait_ms;
        clear_wishes(&r);
        assert_int_equal(provider_replicate.on_timer(&r.pc), OK);
        assert_true(span_is(r.pc.next->path, "/predictions/abc"));
        assert_int_equal(r.pc.next->url.len, 0);
        assert_true(r.pc.next->repeatable);
        assert_int_equal(r.log.len, 0);
        assert_int_equal(rig_answer(&r, P("processing", ",\"output\":[\"all\",\" there\"]")), OK);
    }
    assert_int_equal(waits[0], 250);
    assert_true(waits[1] > 250 && waits[11] == 2000);
    assert_int_equal(rig_answer(&r, P("succeeded", ",\"output\":[\"all\",\" there\",\"!\"]")), OK);
    assert_string_equal(rig_events(&r), START "TEXT all there!\n" DONE);
    rig_free(&r);
}

static void a_stream_without_an_url_is_polled_too(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, LLAMA2);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"stream\":true}")), OK);
    assert_int_equal(r.pc.next->headers.len, 0);
    assert_int_equal(rig_answer(&r, P("starting", ",\"output\":null")), OK);
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":[\"a\"]")), OK);
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":[\"a\",\"b\"]")), OK);
    assert_int_equal(rig_answer(&r, P("succeeded", ",\"output\":[\"a\",\"b\",\"c\"]")), OK);
    assert_string_equal(rig_events(&r), START "TEXT a\nTEXT b\nTEXT c\n" DONE);
    rig_free(&r);
}

static void half_a_character_waits_for_its_other_half(void **state) /* H022 */
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, LLAMA2);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"stream\":true}")), OK);
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":[\"a\\ud83d\"]")), OK);
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":[\"a\\ud83d\",\"\\ude00\"]")), OK);
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":\"a\\ud83d\\ude00\\\\ud83d\"")),
                     OK);
    assert_int_equal(
        rig_answer(&r, P("succeeded", ",\"output\":\"a\\ud83d\\ude00\\\\ud83d\\ud83d\"")), OK);
    assert_string_equal(rig_events(&r), START "TEXT a\nTEXT \xf0\x9f\x98\x80\nTEXT \\\\ud83d\n"
                                              "TEXT \xef\xbf\xbd\n" DONE);
    rig_free(&r);
}

static void output_that_changes_under_us_is_an_error(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, LLAMA2);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"stream\":true}")), OK);
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":\"abc\"")), OK);
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":\"abX\"")), ERR_INVALID);
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":\"ab\"")), ERR_INVALID);
    rig_free(&r);
}

#define STREAM "https://stream.replicate.com/v1/streams/x"
#define OUTPUT(lines) "event: output\nid: 1:0\n" lines "\n"

static void start_stream(struct rig *r, const char *body)
{
    begin(r, MODEL, LLAMA2);
    assert_int_equal(rig_build(r, API_OPENAI_CHAT, span_str(body)), OK);
    clear_wishes(r); /* the answer is to the create: keep it as x */
}

/* Create, stream, and the GET behind it. */
static void run_stream(const char *body, const char *stream, const char *final, const char *events)
{
    struct span text = span_str(stream);
    for (size_t cut = 0; cut <= text.len; cut++) {
        struct rig r;
        begin(&r, MODEL, LLAMA2);
        assert_int_equal(rig_build(&r, API_OPENAI_CHAT, span_str(body)), OK);
        assert_int_equal(rig_answer(&r, P("starting", ",\"urls\":{\"stream\":\"" STREAM "\"}")),
                         OK);
        assert_true(span_is(r.pc.next->url, STREAM));
        assert_true(r.pc.next->expects_stream && r.pc.next->repeatable);
        assert_true(span_is(r.pc.next->headers, "cache-control: no-store\n"));
        assert_int_equal(rig_stream(&r, text, cut == text.len ? SIZE_MAX : cut), OK);
        if (final) {
            assert_true(span_is(r.pc.next->path, "/predictions/abc"));
            if (rig_answer(&r, final))
                buf_append_str(&r.log, "INVALID\n");
        }
        assert_string_equal(rig_events(&r), events);
        rig_free(&r);
    }
}

static void a_stream_becomes_text_and_ends_with_the_counts(void **state)
{
    (void)state;
    const char *body = "{" HI ",\"stream\":true}";
    run_stream(
        body,
        OUTPUT("data: The\n") OUTPUT("data:  sky\n") "event: logs\ndata: x\n\n"
                                                     "event: done\ndata: {}\n\n",
        P("succeeded", ",\"output\":[\"The\",\" "
                       "sky\"],\"metrics\":{\"input_token_count\":3,\"output_token_count\":2}"),
        START
        "TEXT The\nTEXT  sky\nUSAGE in=3 cached=? written=? out=2 reasoning=?\nSTOP end\nEND\n");
    /* H110, H009 */
    run_stream(body,
               OUTPUT("data: a\ndata: \ndata:   b\n")
                   OUTPUT("data: \"\\\n") "event: done\ndata: {}\n\n",
               P("succeeded", ""), START "TEXT a\\n\\n  b\nTEXT \\\"\\\\\n" DONE);
    /* H111 */
    run_stream(body, OUTPUT("data: a\n") "event: done\ndata: {\"reason\":\"canceled\"}\n\n", NULL,
               START "TEXT a\nERROR prediction_canceled The prediction was canceled.\n");
    run_stream(body, OUTPUT("data: a\n") "event: done\ndata: {\"reason\":\"error\"}\n\n",
               P("failed", ",\"error\":\"boom\""), START "TEXT a\nERROR prediction_failed boom\n");
    run_stream(body,
               OUTPUT("data: a\n") "event: error\ndata: {\"detail\":\"CUDA out of "
                                   "memory\"}\n\nevent: done\ndata: {}\n\n",
               NULL, START "TEXT a\nERROR prediction_out_of_memory CUDA out of memory\n");
    run_stream(body, OUTPUT("data: a\n") "event: error\ndata: plain words\n\n", NULL,
               START "TEXT a\nERROR prediction_failed plain words\n");
    run_stream(body, OUTPUT("data: a\n") "event: error\ndata: {\"title\":\"x\"}\n\n", NULL,
               START "TEXT a\nERROR prediction_failed {\"title\":\"x\"}\n");
    run_stream(body, OUTPUT("data: a\n") "event: done\ndata: oops\n\n",
               P("succeeded", ",\"output\":\"a\""), START "TEXT a\n" DONE);
    run_stream(body, OUTPUT("data: a\n") "event: done\n\n" OUTPUT("data: late\n"),
               P("succeeded", ",\"output\":null"), START "TEXT a\n" DONE);
    /* H112 */
    run_stream(body, OUTPUT("data: The\n") OUTPUT("data:  sky\n"),
               P("succeeded", ",\"output\":[\"The\",\" sky\",\" is\"]"),
               START "TEXT The\nTEXT  sky\nTEXT  is\n" DONE);
    run_stream(body, OUTPUT("data: The\n"), P("succeeded", ",\"output\":[\"A\",\" sky\"]"),
               START "TEXT The\nINVALID\n");
    run_stream(body, OUTPUT("data: The\n"), P("failed", ",\"error\":\"boom\""),
               START "TEXT The\nERROR prediction_failed boom\n");
}

static void a_stop_with_a_comma_ends_the_stream_and_the_prediction(void **state) /* H115 */
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, LLAMA2);
    assert_int_equal(
        rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"stream\":true,\"stop\":[\",\"]}")), OK);
    assert_int_equal(rig_answer(&r, P("starting", ",\"urls\":{\"stream\":\"" STREAM "\"}")), OK);
    assert_int_equal(rig_stream(&r, SPAN(OUTPUT("data: one, two\n") OUTPUT("data: three\n")), 3),
                     OK);
    assert_string_equal(rig_events(&r), START "TEXT one\n" NO_COUNTS "STOP sequence ,\nEND\n");
    assert_true(r.pc.next->detached);
    assert_true(span_is(r.pc.next->path, "/predictions/abc/cancel"));
    rig_free(&r);
}

static void poisoned_urls_are_not_asked(void **state) /* H113 */
{
    (void)state;
    static const struct {
        const char *url;
        bool private_network, ok;
    } cases[] = {
        {"https://stream.replicate.com/v1/x", false, true},
        {"https://streaming-api.svc.rno2.c.replicate.net/v1/x?y=1", false, true},
        {"https://stream.replicate.com", false, true},
        {"http://stream.replicate.com/v1/x", false, false},
        {"http://169.254.169.254/", false, false},
        {"https://evil.example/x", false, false},
        {"https://evil.example/.replicate.com", false, false},
        {"https://evil.example?.replicate.com", false, false},
        {"https://evil.example#.replicate.com", false, false},
        {"https://evilreplicate.com/x", false, false},
        {"https://user@stream.replicate.com/x", false, false},
        {"https://stream.replicate.com@evil.example/x", false, false},
        {"https://evil.example\\\\@x.replicate.com/", false, false},
        {"https://stream.replicate.com:8443/x", false, false},
        {"https://stream.replicate.com.evil.example/x", false, false},
        {"//stream.replicate.com/x", false, false},
        {"file:///etc/passwd", false, false},
        {"http://127.0.0.1:9000/stream/x", true, true},
        {"http://127.0.0.1:9000/stream/x", false, false},
        {"http://127.0.0.1:9001/stream/x", true, false},
        {"http://127.0.0.1:9000@evil.example/", true, false},
        {"https://127.0.0.1:9000/stream/x", true, false},
        {"https://STREAM-09.replicate.com/x", false, true},
        {"https://a!b.replicate.com/x", false, false},
        {"https://a[b.replicate.com/x", false, false},
        {"https://a{b.replicate.com/x", false, false},
        {"https:///x.replicate.com", false, false},
        {"https://x.replicate.com/a b", false, false},
        {"https://x.replicate.com/a\\u007fb", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig r;
        char answer[512];
        begin(&r, MODEL, LLAMA2);
        r.pc.compat = (struct compat){.private_network = cases[i].private_network,
                                      .base_url = SPAN("http://127.0.0.1:9000/v1")};
        assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI ",\"stream\":true}")), OK);
        struct transfer *create = r.pc.next;
        (void)snprintf(
            answer, sizeof answer,
            P("starting", ",\"urls\":{\"stream\":\"%s\",\"get\":\"https://evil.example/x\"}"),
            cases[i].url);
        clear_wishes(&r);
        assert_int_equal(provider_replicate.parse_response(&r.pc, create, span_str(answer)), OK);
        if ((r.pc.next != NULL) != cases[i].ok)
            fail_msg("%s", cases[i].url);
        assert_int_equal(r.pc.wait_ms > 0, !cases[i].ok);
        rig_free(&r);
    }
}

static void an_id_is_escaped_where_it_is_asked_for(void **state)
{
    (void)state;
    struct rig r;
    begin(&r, MODEL, LLAMA2);
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN("{" HI "}")), OK);
    assert_int_equal(provider_replicate.on_timer(&r.pc), OK); /* no id to ask for yet */
    assert_string_equal(r.pc.next->method, "POST");
    assert_int_equal(
        rig_answer(&r, "{\"id\":\"aZ09-_~.:/@[`{?\",\"model\":\"m\",\"status\":\"starting\"}"), OK);
    assert_int_equal(provider_replicate.on_timer(&r.pc), OK);
    assert_true(span_is(r.pc.next->path, "/predictions/aZ09-_~.%3A%2F%40%5B%60%7B%3F"));
    rig_free(&r);
}

static void nothing_is_heard_behind_the_end(void **state)
{
    (void)state;
    struct rig r;
    start_stream(&r, "{" HI ",\"stream\":true,\"stop\":[\",\"]}");
    assert_int_equal(rig_answer(&r, P("processing", ",\"output\":\"a,b\"")), OK);
    assert_string_equal(rig_events(&r), START "TEXT a\n" NO_COUNTS "STOP sequence ,\nEND\n");
    assert_true(r.pc.next->detached);
    clear_wishes(&r);
    assert_int_equal(rig_answer(&r, P("failed", ",\"error\":\"late\"")), OK);
    assert_int_equal(provider_replicate.on_timer(&r.pc), OK);
    assert_int_equal(rig_stream(&r, SPAN(OUTPUT("data: late\n")), 3), OK);
    assert_null(r.pc.next);
    rig_free(&r);
}

static void a_client_that_leaves_cancels_once(void **state) /* H114 */
{
    (void)state;
    struct rig r;
    start_stream(&r, "{" HI "}");
    provider_replicate.cancel(&r.pc);
    assert_null(r.pc.next); /* nothing is created yet that we know of */
    assert_int_equal(rig_answer(&r, P("processing", "")), OK);
    clear_wishes(&r);
    provider_replicate.cancel(&r.pc);
    assert_string_equal(r.pc.next->method, "POST");
    assert_true(span_is(r.pc.next->path, "/predictions/abc/cancel"));
    assert_true(r.pc.next->detached);
    assert_false(r.pc.next->repeatable);
    clear_wishes(&r);
    provider_replicate.cancel(&r.pc);
    assert_null(r.pc.next);
    rig_free(&r);
}

static void nothing_is_cancelled_that_is_through(void **state)
{
    (void)state;
    struct rig r;
    start_stream(&r, "{" HI "}");
    assert_int_equal(rig_answer(&r, P("succeeded", ",\"output\":\"x\"")), OK);
    clear_wishes(&r);
    provider_replicate.cancel(&r.pc);
    assert_null(r.pc.next);
    rig_free(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(the_golden_request_comes_out_as_written),
        TEST(the_input_follows_the_schema),
        TEST(images_have_their_bounds),
        TEST(an_anthropic_clients_thinking_becomes_effort),
        TEST(what_the_model_cannot_do_is_refused),
        TEST(every_way_to_name_a_model_is_addressed),
        TEST(the_schema_is_learned_once),
        TEST(a_model_without_a_schema_gets_its_prompt),
        TEST(a_deployment_is_asked_for_its_release),
        TEST(a_version_is_looked_up_where_its_model_is_known),
        TEST(a_release_that_names_nothing_gets_its_prompt),
        TEST(a_request_the_learned_schema_refuses_is_an_error),
        TEST(every_prediction_becomes_its_events),
        TEST(a_running_prediction_is_polled_until_it_is_through),
        TEST(a_stream_without_an_url_is_polled_too),
        TEST(half_a_character_waits_for_its_other_half),
        TEST(output_that_changes_under_us_is_an_error),
        TEST(a_stream_becomes_text_and_ends_with_the_counts),
        TEST(a_stop_with_a_comma_ends_the_stream_and_the_prediction),
        TEST(poisoned_urls_are_not_asked),
        TEST(an_id_is_escaped_where_it_is_asked_for),
        TEST(nothing_is_heard_behind_the_end),
        TEST(a_client_that_leaves_cancels_once),
        TEST(nothing_is_cancelled_that_is_through),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
