/* Prices and capabilities: the file in share/, its reading, the lookup and the sums. */
#include "services/worker/neutral/model_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static struct model_table *table;

static int load(void **state)
{
    (void)state;
    struct buf error = {0};
    enum err e = model_table_load(SOURCE_DIR "/share/models.json", &table, &error);
    if (e)
        print_error("%.*s\n", SPAN_ARG(buf_span(&error)));
    buf_free(&error);
    return e ? -1 : 0;
}

static int unload(void **state)
{
    (void)state;
    model_table_destroy(&table);
    return 0;
}

static const struct model_row *find(const char *provider, const char *model)
{
    struct model_row scratch;
    const struct model_row *row =
        model_table_find(table, provider, "openai", span_str(model), NULL, &scratch);
    assert_ptr_not_equal(row, &scratch);
    return row;
}

static void the_longest_prefix_that_ends_at_a_word_wins(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *model, *pattern;
    } cases[] = {
        {"openai", "gpt-4", "gpt-4"},
        {"openai", "gpt-4-0613", "gpt-4"},
        {"openai", "gpt-4-turbo-2024-04-09", "gpt-4-turbo"},
        {"openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"},
        {"openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"},
        {"openai", "gpt-4.5-preview", ""},
        {"openai", "gpt-5.9", "gpt-5."},
        {"openai", "o30", ""},
        {"openai", "meta-llama/Llama-3-8B", ""},
        {"anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"},
        {"anthropic", "claude-3-haiku-20240307", "claude-3-haiku"},
        {"anthropic", "claude-opus-4-20250514", "claude-opus-4-20250514"},
        {"anthropic", "claude-opus-4-1-20250805", "claude-opus-4-1"},
        {"anthropic", "claude-opus-4-9", "claude-opus-"},
        {"anthropic", "claude-opus-6", "claude-opus-"},
        {"anthropic", "claude-sonnet-7", "claude-sonnet-"},
        {"anthropic", "gpt-4", ""},
        {"anthropic", "", ""},
        {"replicate", "meta/llama-2-70b-chat", "meta/llama-2-70b"},
        {"replicate", "meta/llama-2-70b-chat:0123", "meta/llama-2-70b"},
        {"replicate", "someone/else", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct model_row *row = find(cases[i].provider, cases[i].model);
        assert_string_equal(row->pattern, cases[i].pattern);
        assert_string_equal(row->provider, cases[i].provider);
    }
}

static uint64_t pico(const struct model_row *row, enum tariff_rate which)
{
    return row->tariff->tiers[TIER_STANDARD].rates.pico[which];
}

static void prices_are_pico_dollars_per_token(void **state)
{
    (void)state;
    const struct model_row *gpt4 = find("openai", "gpt-4");
    assert_non_null(gpt4->tariff);
    assert_int_equal(pico(gpt4, RATE_INPUT), 30000000);
    assert_int_equal(pico(gpt4, RATE_OUTPUT), 60000000);
    assert_int_equal(pico(gpt4, RATE_CACHED), 30000000);
    const struct model_row *nano = find("openai", "gpt-5-nano");
    assert_int_equal(pico(nano, RATE_CACHED), 5000);
    const struct model_row *haiku = find("anthropic", "claude-haiku-4-5");
    assert_int_equal(pico(haiku, RATE_CACHED), 100000);
    assert_int_equal(pico(haiku, RATE_CACHE_WRITE), 1250000);
    assert_int_equal(pico(haiku, RATE_CACHE_WRITE_1H), 2000000);
    assert_null(find("openai", "unheard-of")->tariff);
}

static void capabilities_follow_the_claude_table(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        uint64_t max_out;
        bool sampling, one, json_schema, prefill;
        enum thinking_style thinking;
        unsigned efforts;
    } cases[] = {
        {"claude-3-haiku-20240307", 4096, true, false, false, true, THINKING_STYLE_NONE, 0},
        {"claude-3-opus-20240229", 4096, true, false, false, true, THINKING_STYLE_NONE, 0},
        {"claude-3-7-sonnet-20250219", 64000, true, false, false, true, THINKING_STYLE_BUDGET, 0},
        {"claude-sonnet-4-20250514", 64000, true, false, false, true, THINKING_STYLE_BUDGET, 0},
        {"claude-opus-4-20250514", 32000, true, false, false, true, THINKING_STYLE_BUDGET, 0},
        {"claude-opus-4-1", 32000, true, true, true, true, THINKING_STYLE_BUDGET, 0},
        {"claude-sonnet-4-5", 64000, true, true, true, true, THINKING_STYLE_BUDGET, 0},
        {"claude-opus-4-5", 64000, true, true, true, true, THINKING_STYLE_BUDGET, EFFORT_LOW},
        {"claude-opus-4-6", 128000, true, false, true, false, THINKING_STYLE_ADAPTIVE,
         EFFORT_LOW | EFFORT_MAX},
        {"claude-opus-4-7", 128000, false, false, true, false, THINKING_STYLE_ADAPTIVE,
         EFFORT_LOW | EFFORT_XHIGH | EFFORT_MAX},
        {"claude-sonnet-5", 128000, false, false, true, false, THINKING_STYLE_ADAPTIVE,
         EFFORT_LOW | EFFORT_XHIGH | EFFORT_MAX},
        {"claude-unheard-of", 8192, true, false, false, true, THINKING_STYLE_NONE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct model_row *row = find("anthropic", cases[i].model);
        assert_int_equal(row->max_out, cases[i].max_out);
        assert_int_equal(row->sampling, cases[i].sampling);
        assert_int_equal(row->sampling_one_only, cases[i].one);
        assert_int_equal(row->json_schema, cases[i].json_schema);
        assert_int_equal(row->prefill, cases[i].prefill);
        assert_int_equal(row->thinking, cases[i].thinking);
        assert_int_equal(row->efforts, cases[i].efforts);
    }
    assert_true(find("anthropic", "claude-opus-5")->thinking_default_on);
    assert_true(find("openai", "gpt-5")->reasoning);
    assert_false(find("openai", "gpt-4o")->reasoning);
    assert_string_equal(find("openai", "text-embedding-3-small")->mode, "embedding");
    assert_string_equal(find("openai", "davinci-002")->mode, "completion");
    assert_string_equal(find("openai", "gpt-5-codex")->mode, "responses");
}

static void a_configuration_overrides_price_and_capabilities(void **state)
{
    (void)state;
    struct config_model model = {
        .price = {.set = true},
        .capabilities =
            "{\"sampling\": false, \"max_output\": 123, \"effort\": [\"low\", \"max\"]}",
    };
    struct model_row scratch;
    const struct model_row *row = model_table_find(table, "anthropic", "anthropic",
                                                   SPAN("claude-sonnet-4-5"), &model, &scratch);
    assert_ptr_equal(row, &scratch);
    assert_ptr_equal(row->tariff, &model.price.tariff);
    assert_false(row->sampling);
    assert_true(row->json_schema);
    assert_int_equal(row->max_out, 123);
    assert_int_equal(row->efforts, EFFORT_LOW | EFFORT_MAX);
    model.capabilities = "{\"sampling\": false, \"colour\": true}";
    row = model_table_find(table, "anthropic", "anthropic", SPAN("claude-sonnet-4-5"), &model,
                           &scratch);
    assert_true(row->sampling);
}

static void a_table_that_is_missing_still_answers(void **state)
{
    (void)state;
    struct model_row scratch;
    const struct model_row *row =
        model_table_find(NULL, "openai", "openai", SPAN("gpt-4"), NULL, &scratch);
    assert_non_null(row);
    assert_null(row->tariff);
    assert_true(row->sampling);
}

/* The table is large, has sources and a date, and each of its rows finds itself. */
static void the_table_names_its_sources_and_every_row_is_found(void **state)
{
    (void)state;
    struct buf text = {0};
    FILE *f = fopen(SOURCE_DIR "/share/models.json", "r");
    assert_non_null(f);
    for (size_t n = 1; n > 0;) {
        char *at = buf_reserve(&text, 65536);
        n = fread(at, 1, 65536, f);
        text.len += n;
    }
    (void)fclose(f);
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, buf_span(&text), JSON_DEPTH_CLIENT), OK);
    struct json root = json_root(&doc), models = json_get(root, "models");
    assert_int_equal(json_text(json_get(root, "updated")).len, 10);
    assert_true(json_count(json_get(root, "sources")) > 0);
    for (struct json_iter i = json_iter(json_get(root, "sources")); json_next(&i);) {
        assert_true(json_text(json_get(i.value, "source")).len > 0);
        assert_int_equal(json_text(json_get(i.value, "date")).len, 10);
    }
    size_t providers = 0, priced = 0;
    char last[64] = "";
    for (struct json_iter i = json_iter(models); json_next(&i);) {
        char provider[64], match[128];
        (void)snprintf(provider, sizeof provider, "%.*s",
                       SPAN_ARG(json_text(json_get(i.value, "provider"))));
        (void)snprintf(match, sizeof match, "%.*s",
                       SPAN_ARG(json_text(json_get(i.value, "match"))));
        const struct model_row *row = find(provider, match);
        assert_string_equal(row->pattern, match);
        assert_string_equal(row->provider, provider);
        priced += row->tariff != NULL;
        if (*match && strcmp(last, provider) != 0) {
            providers++;
            (void)snprintf(last, sizeof last, "%s", provider);
        }
    }
    assert_in_range(providers, 15, 100);
    assert_in_range(priced, 400, 5000);
    json_doc_free(&doc);
    buf_free(&text);
}

static void an_exact_row_is_of_its_name_alone(void **state)
{
    (void)state;
    assert_string_equal(find("groq", "openai/gpt-oss-120b")->pattern, "openai/gpt-oss-120b");
    assert_string_equal(find("groq", "openai/gpt-oss-120b-turbo")->pattern, "");
    assert_string_equal(find("deepseek", "deepseek-chat")->provider, "deepseek");
    assert_string_equal(find("deepseek", "gpt-4o")->provider, "openai"); /* as its protocol's */
}

static void costs_add_up(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *model;
        uint64_t input, cached, written, output, cost;
    } cases[] = {
        {"openai", "gpt-4", 1000, 0, 0, 500, 60000000},
        {"openai", "gpt-4o", 1000, 600, 0, 0, 400 * 2500 + 600 * 1250},
        {"anthropic", "claude-haiku-4-5", 1110, 1000, 100, 5,
         10 * 1000 + 1000 * 100 + 100 * 1250 + 5 * 5000},
        {"anthropic", "claude-sonnet-4-5", 200000, 0, 0, 1, 200000ULL * 3000 + 15000},
        {"anthropic", "claude-sonnet-4-5", 200001, 1, 2, 1,
         199998ULL * 6000 + 600 + 2 * 7500 + 22500},
        {"openai", "gpt-4o", 10, 50, 7, 0, 10 * 1250},
        {"openai", "gpt-4", UINT64_MAX, 0, 0, 1, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct model_row *row = find(cases[i].provider, cases[i].model);
        const struct tariff_use use = {.input = cases[i].input,
                                       .cached = cases[i].cached,
                                       .cache_write = cases[i].written,
                                       .output = cases[i].output};
        uint64_t cost = tariff_cost_nano(row->tariff, &use);
        assert_true(cost == cases[i].cost);
    }
}

static enum err load_text(const char *text, struct buf *error)
{
    char path[] = "/tmp/model_table_test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct model_table *t = NULL;
    enum err e = model_table_load(path, &t, error);
    assert_true((e == OK) == (t != NULL));
    model_table_destroy(&t);
    unlink(path);
    return e;
}

static void a_file_that_is_wrong_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"models\":{}}",
        "{\"models\":[1]}",
        "{\"models\":[{\"match\":\"a\"}]}",
        "{\"models\":[{\"match\":\"a\",\"provider\":\"openai\",\"colour\":1}]}",
        "{\"models\":[{\"match\":\"a\",\"provider\":\"openai\",\"price\":{\"input\":-1,\"output\":"
        "1}}]}",
        "{\"models\":[{\"match\":\"a\",\"provider\":\"openai\",\"price\":{\"input\":1}}]}",
        "{\"models\":[{\"match\":\"a\",\"provider\":\"openai\",\"price\":{\"input\":1,\"output\":1,"
        "\"long\":{}}}]}",
        "{\"models\":[{\"match\":\"a\",\"provider\":\"openai\",\"capabilities\":{\"effort\":["
        "\"huge\"]}}]}",
        "{\"models\":[{\"match\":\"a\",\"provider\":\"openai\",\"capabilities\":{\"thinking\":"
        "\"hard\"}}]}",
        "{\"models\":[{\"match\":\"a\",\"provider\":\"openai\",\"max_output\":1.5}]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct buf error = {0};
        assert_int_equal(load_text(texts[i], &error), ERR_INVALID);
        assert_true(error.len > 0);
        buf_free(&error);
    }
    struct buf error = {0};
    assert_int_equal(load_text("{\"models\":[]}", &error), OK);
    struct model_table *t = NULL;
    assert_int_equal(model_table_load("/nonexistent/models.json", &t, &error), ERR_NOT_FOUND);
    assert_true(error.len > 0);
    buf_free(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_prefix_that_ends_at_a_word_wins),
        cmocka_unit_test(prices_are_pico_dollars_per_token),
        cmocka_unit_test(capabilities_follow_the_claude_table),
        cmocka_unit_test(a_configuration_overrides_price_and_capabilities),
        cmocka_unit_test(a_table_that_is_missing_still_answers),
        cmocka_unit_test(the_table_names_its_sources_and_every_row_is_found),
        cmocka_unit_test(an_exact_row_is_of_its_name_alone),
        cmocka_unit_test(costs_add_up),
        cmocka_unit_test(a_file_that_is_wrong_is_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
