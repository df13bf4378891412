/* What a translation leaves out is named, in the client's own words. */
#include "unit/services/worker/providers/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "services/worker/providers/replicate/schema_cache.h"

#define LLAMA "meta/meta-llama-3-8b-instruct"
#define HI "\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define MARK "\"cache_control\":{\"type\":\"ephemeral\"}"

static const struct drop_case {
    const char *name;
    const struct provider *provider;
    const char *model;
    enum api api;
    const char *body;
    const char *dropped; /* joined by a space */
} cases[] = {
    {"a budget, by Replicate", &provider_replicate, LLAMA, API_ANTHROPIC_MESSAGES,
     "{" HI ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}}", "thinking"},
    {"adaptive thinking, by Replicate", &provider_replicate, LLAMA, API_ANTHROPIC_MESSAGES,
     "{" HI ",\"thinking\":{\"type\":\"adaptive\"}}", "thinking"},
    {"an effort, by Replicate", &provider_replicate, LLAMA, API_ANTHROPIC_MESSAGES,
     "{" HI ",\"output_config\":{\"effort\":\"low\"}}", "output_config.effort"},
    {"thinking and effort, by Replicate", &provider_replicate, LLAMA, API_ANTHROPIC_MESSAGES,
     "{" HI ",\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"low\"}}",
     "thinking output_config.effort"},
    {"no thinking, by Replicate", &provider_replicate, LLAMA, API_ANTHROPIC_MESSAGES,
     "{" HI ",\"thinking\":{\"type\":\"disabled\"}}", ""},
    {"a reasoning effort, by Replicate", &provider_replicate, LLAMA, API_OPENAI_CHAT,
     "{" HI ",\"reasoning_effort\":\"low\"}", "reasoning_effort"},
    {"a mark in the system, by Replicate", &provider_replicate, LLAMA, API_ANTHROPIC_MESSAGES,
     "{" HI ",\"system\":[{\"type\":\"text\",\"text\":\"s\"," MARK "}]}", "cache_control"},
    {"a mark in a turn, by Replicate", &provider_replicate, LLAMA, API_ANTHROPIC_MESSAGES,
     "{\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
     "\"hi\"," MARK "}]}]}",
     "cache_control"},
    {"adaptive thinking, by a model that can't", &provider_openai, "gpt-4o", API_ANTHROPIC_MESSAGES,
     "{" HI ",\"thinking\":{\"type\":\"adaptive\"}}", "thinking"},
    {"adaptive thinking, by one that can", &provider_openai, "gpt-5", API_ANTHROPIC_MESSAGES,
     "{" HI ",\"thinking\":{\"type\":\"adaptive\"}}", ""},
    {"an effort of a word to come, by Claude", &provider_anthropic, "claude-haiku-4-5",
     API_OPENAI_CHAT, "{" HI ",\"reasoning_effort\":\"huge\"}", "reasoning_effort"},
    {"an effort of a word to come, by Claude that adapts", &provider_anthropic, "claude-opus-4-7",
     API_OPENAI_CHAT, "{" HI ",\"reasoning_effort\":\"huge\"}", "reasoning_effort"},
    {"an effort of a word to come, by OpenAI", &provider_openai, "gpt-5", API_ANTHROPIC_MESSAGES,
     "{" HI ",\"output_config\":{\"effort\":\"huge\"}}", "output_config.effort"},
    {"a tier of a word to come", &provider_anthropic, "claude-haiku-4-5", API_OPENAI_CHAT,
     "{" HI ",\"service_tier\":\"warp\"}", "service_tier"},
    {"thinking between tools", &provider_openai, "gpt-5", API_ANTHROPIC_MESSAGES,
     "{" HI ",\"thinking\":{\"type\":\"between_tools\"}}", "thinking"},
    {"an effort, by a model that can't", &provider_openai, "gpt-4o", API_ANTHROPIC_MESSAGES,
     "{" HI ",\"output_config\":{\"effort\":\"low\"}}", "output_config.effort"},
    {"a budget, by a model that can't", &provider_openai, "gpt-4o", API_ANTHROPIC_MESSAGES,
     "{" HI ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}}", "thinking"},
};

static void what_is_left_out_is_named(void **state)
{
    (void)state;
    struct schema_cache *schemas = schema_cache_create(NULL);
    schema_cache_put(schemas, SPAN(LLAMA), 1792567680,
                     SPAN("{\"Input\":{\"properties\":{\"prompt\":{\"type\":\"string\"},"
                          "\"max_tokens\":{\"type\":\"integer\"}}}}"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct drop_case *c = &cases[i];
        struct rig r;
        char said[256] = "";
        rig_init(&r, c->provider, c->model);
        r.pc.schemas = schemas;
        if (rig_build(&r, c->api, span_str(c->body)))
            fail_msg("%s: refused", c->name);
        for (size_t k = 0; k < r.request.dropped_count; k++) {
            size_t at = strlen(said);
            (void)snprintf(said + at, sizeof said - at, "%s%s", k ? " " : "", r.request.dropped[k]);
        }
        if (strcmp(said, c->dropped) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", c->name, said, c->dropped);
        rig_free(&r);
    }
    schema_cache_destroy(&schemas);
}

static int end(void **state)
{
    (void)state;
    rig_table_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_out_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
