/* A request that does not fit into its memory is refused or ended, wherever that happens; never a
 * crash, never an answer with a hole in it that ends as if it were whole. */
#include "unit/services/worker/providers/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "services/worker/providers/replicate/schema_cache.h"

enum { MOST_BYTES = 40000, STEP = 16 };

static const char chat[] = "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":"
                           "\"assistant\",\"content\":\"a\"},{\"role\":\"user\",\"content\":"
                           "[{\"type\":\"text\",\"text\":\"q\"},{\"type\":\"image_url\",\"image_"
                           "url\":{\"url\":\"https://x.test/a.png\"}}]},"
                           "{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"id\":\"a."
                           "b\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                           "\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":\"a:b\",\"type\":"
                           "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},"
                           "{\"role\":\"tool\",\"tool_call_id\":\"a.b\",\"content\":\"1\"},{"
                           "\"role\":\"user\",\"content\":\"go\"}],"
                           "\"stop\":[\"\\n\",\",\",\"END\"],\"stream\":true,\"seed\":1,"
                           "\"reasoning_effort\":\"high\",\"user\":\"u\"}";
static const char talk[] = "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":"
                           "\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},"
                           "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"},{"
                           "\"type\":\"image_url\",\"image_url\":{\"url\":"
                           "\"https://x.test/"
                           "a.png\"}}]}],\"stop\":[\",\",\"END\"],\"stream\":true,\"response_"
                           "format\":{\"type\":\"json_object\"}}";
static const char messages[] =
    "{\"max_tokens\":99,\"system\":\"S\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{"
    "\"role\":\"assistant\",\"content\":["
    "{\"type\":\"tool_use\",\"id\":\"toolu_01234567890123456789012345678901234567890\",\"name\":"
    "\"f\",\"input\":{}}]},{\"role\":\"user\","
    "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_"
    "01234567890123456789012345678901234567890\",\"content\":\"1\"}]}],"
    "\"top_k\":5,\"stream\":true}";

static const char anthropic_stream[] =
    "data: "
    "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"c\",\"usage\":{\"service_"
    "tier\":\"standard\"}}}\n\n"
    "data: "
    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\","
    "\"thinking\":\"\"}}\n\n"
    "data: "
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\","
    "\"signature\":\"SIGNATURE\"}}\n\n"
    "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
    "data: "
    "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":"
    "\"t\",\"name\":\"f\",\"input\":{\"a\":1}}}\n\n"
    "data: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
    "data: "
    "{\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"text\",\"text\":"
    "\"one\"}}\n\n"
    "data: "
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":\"x\"},"
    "\"usage\":{\"output_tokens\":1}}\n\n"
    "data: {\"type\":\"message_stop\"}\n\n";
static const char openai_stream[] =
    "data: "
    "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
    "\"arguments\":\"{\"}}]}}]}\n\n"
    "data: "
    "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"i\","
    "\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}]}}]}\n\n"
    "data: "
    "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}"
    "\n\ndata: [DONE]\n\n";
static const char *const replicate_steps[] = {
    ("{\"latest_version\":{\"openapi_schema\":{\"components\":{\"schemas\":{\"Input\":{"
     "\"properties\":{\"prompt\":{},\"prompt_template\":{},"
     "\"image\":{},\"stop_sequences\":{\"type\":\"string\"}}}}}}}}"),
    "{\"id\":\"abc\",\"model\":\"m\",\"status\":\"starting\",\"urls\":{\"stream\":\"https://"
    "stream.replicate.com/x\"}}",
    "event: output\ndata: one two\n\nevent: done\ndata: {}\n\n",
    "{\"id\":\"abc\",\"status\":\"succeeded\",\"output\":[\"one two\",\" three\"]}",
};

static void answer(struct rig *r, const char *stream)
{
    if (r->provider != &provider_replicate) {
        (void)rig_stream(r, span_str(stream), 7);
        return;
    }
    for (size_t i = 0; i < 4 && r->ends == 0 && r->pc.next; i++) {
        enum err e = r->pc.next->expects_stream ? rig_stream(r, span_str(replicate_steps[i]), 7)
                                                : rig_answer(r, replicate_steps[i]);
        if (e)
            return;
    }
    provider_replicate.cancel(&r->pc);
}

/* One budget; true when all of it came through. */
static bool run(const struct provider *provider, const char *model, enum api api, const char *body,
                const char *stream, size_t bytes, struct buf *whole)
{
    struct rig r;
    rig_init(&r, provider, model);
    assert_int_equal(json_parse(&r.body_doc, span_str(body), JSON_DEPTH_CLIENT), OK);
    assert_int_equal(
        api_find(api)->read_request(json_root(&r.body_doc), &r.arena, &r.request, &r.fault), OK);
    r.arena.max_bytes = r.arena.used_bytes + bytes;
    bool built = provider->build_request(&r.pc, &r.fault) == OK;
    if (built)
        answer(&r, stream);
    else
        assert_true(r.fault.error_class != ERROR_NONE && r.fault.message.len > 0);
    const char *events = built ? rig_events(&r) : "";
    bool ended = built && strstr(events, "\nEND\n");
    if (bytes == MOST_BYTES)
        buf_append_str(whole, events);
    else if (ended)
        assert_string_equal(events, whole->data);
    rig_free(&r);
    return ended;
}

static void memory_may_end_anywhere(void **state)
{
    (void)state;
    static const struct {
        const struct provider *provider;
        const char *model;
        enum api api;
        const char *body, *stream;
    } cases[] = {
        {&provider_anthropic, "claude-sonnet-4-5", API_OPENAI_CHAT, chat, anthropic_stream},
        {&provider_openai, "gpt-5", API_ANTHROPIC_MESSAGES, messages, openai_stream},
        {&provider_replicate, "meta/meta-llama-3-8b-instruct", API_OPENAI_CHAT, talk, NULL},
        {&provider_replicate, "meta/llama-2-7b-chat", API_OPENAI_CHAT, chat, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf whole = {0};
        bool all = run(cases[i].provider, cases[i].model, cases[i].api, cases[i].body,
                       cases[i].stream, MOST_BYTES, &whole);
        assert_true(all || cases[i].body == chat); /* the last case knows no tools */
        buf_append_char(&whole, '\0');
        for (size_t bytes = 0; bytes < MOST_BYTES; bytes += STEP)
            (void)run(cases[i].provider, cases[i].model, cases[i].api, cases[i].body,
                      cases[i].stream, bytes, &whole);
        buf_free(&whole);
    }
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
        cmocka_unit_test(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
