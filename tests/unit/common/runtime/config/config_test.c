#include "common/runtime/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/runtime/config/value.h"

static const struct config_paths paths = {"/run/t", "/var/t"};

/* Loads a text as a file called tollgate.yaml in a folder of its own. */
static enum err load(const char *text, struct config **out, struct buf *errors)
{
    char dir[] = "/tmp/tollgate-config-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/tollgate.yaml", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    enum err e = config_load(path, &paths, out, errors);
    (void)unlink(path);
    (void)rmdir(dir);
    return e;
}

static const char design[] =
    "default_model: gpt-4\n"
    "providers:\n"
    "  openai:    { api_keys: [\"${OPENAI_API_KEY}\"] }\n"
    "  anthropic: { api_keys: [\"${ANTHROPIC_API_KEY}\", \"${SECOND}\"] }\n"
    "  replicate: { api_keys: [\"${REPLICATE_API_TOKEN}\"] }\n"
    "  vllm:      { type: openai, endpoints: [http://10.0.0.7:8000/v1, http://10.0.0.8:8000/v1], "
    "private: true }\n"
    "models:\n"
    "  gpt-4:    { targets: [{provider: openai}], rate_limit: 10000/hour, timeout: 60s, fallbacks: "
    "[claude-3],\n"
    "              defaults: {max_tokens: 1000, temperature: 0.7, stop: [\"a\", b], x: \"1\"}, "
    "price: {input: 30, output: 60} }\n"
    "  claude-3: { targets: [{provider: anthropic, model: claude-3-haiku-20240307}], rate_limit: "
    "5000/hour, timeout: 30s }\n"
    "  llama-2:  { targets: [{provider: replicate, model: meta/llama-2-70b-chat}], rate_limit: "
    "1000/hour, timeout: 120s }\n"
    "  \"gpt-*\":  { targets: [{provider: openai, weight: 3}, {provider: vllm}] }\n"
    "  \"gpt-4*\": { targets: [{provider: vllm}] }\n"
    "edge: { port: 8080, max_body: 1MiB, cors_origins: [] , keepalive_interval: 250ms }\n"
    "auth:\n";

static void the_example_of_the_design_is_read_whole(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    if (load(design, &c, &errors) != OK)
        fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
    assert_string_equal(c->default_model, "gpt-4");
    assert_int_equal(c->provider_count, 4);
    assert_int_equal(config_find_provider(c, "anthropic")->api_keys.count, 2);
    assert_string_equal(config_find_provider(c, "vllm")->type, "openai");
    assert_string_equal(config_find_provider(c, "vllm")->endpoints.items[1],
                        "http://10.0.0.8:8000/v1");
    assert_true(config_find_provider(c, "vllm")->private_network);
    const struct config_model *m = config_find_model(c, SPAN("gpt-4"));
    assert_int_equal(m->rate_count, 10000);
    assert_int_equal(m->rate_period_ms, 3600000);
    assert_int_equal(m->rate_burst, 10000);
    assert_int_equal(m->timeout_ms, 60000);
    assert_int_equal(m->deadline_ms, 600000);
    assert_int_equal(m->price.input_nano, 30000);
    assert_int_equal(m->price.output_nano, 60000);
    assert_int_equal(m->default_count, 4);
    assert_string_equal(m->defaults[0].json, "1000");
    assert_string_equal(m->defaults[1].json, "0.7");
    assert_string_equal(m->defaults[2].json, "[\"a\",\"b\"]");
    assert_string_equal(m->defaults[3].json, "\"1\"");
    assert_int_equal(c->options.edge_port, 8080);
    assert_int_equal(c->options.edge_max_body, 1 << 20);
    assert_int_equal(c->options.edge_keepalive_interval, 250);
    assert_int_equal(c->options.edge_cors_origins.count, 0);
    config_destroy(&c);
    assert_null(c);
    buf_free(&errors);
}

static void the_longest_wildcard_wins_and_an_exact_name_beats_it(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    assert_int_equal(load(design, &c, &errors), OK);
    assert_string_equal(config_find_model(c, SPAN("gpt-4"))->name, "gpt-4");
    assert_string_equal(config_find_model(c, SPAN("gpt-4o"))->name, "gpt-4*");
    assert_string_equal(config_find_model(c, SPAN("gpt-5"))->name, "gpt-*");
    assert_null(config_find_model(c, SPAN("gpt")));
    assert_null(config_find_model(c, SPAN("")));
    config_destroy(&c);
    buf_free(&errors);
}

static void a_wildcard_may_hand_on_what_it_matched(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    assert_int_equal(load("providers: { openai: { api_keys: [a] } }\n"
                          "models:\n"
                          "  \"openai/*\": { targets: [{provider: openai, model: \"*\"}] }\n"
                          "  \"a/*/b\": { targets: [{provider: openai, model: \"x-*-y\"}] }\n",
                          &c, &errors),
                     OK);
    assert_string_equal(config_find_model(c, SPAN("openai/gpt-4o"))->targets[0].model, "*");
    assert_string_equal(config_find_model(c, SPAN("a/gpt/b"))->targets[0].model, "x-*-y");
    config_destroy(&c);
    buf_free(&errors);
}

static void without_a_file_the_defaults_stand(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    assert_int_equal(config_load(NULL, &paths, &c, &errors), OK);
    assert_int_equal(c->options.edge_port, 4000);
    assert_string_equal(c->options.bus_auth, "ipc:///run/t/auth");
    assert_string_equal(c->options.bus_brokers.items[0], "ipc:///run/t/broker-1");
    assert_string_equal(c->options.auth_store, "/var/t/tollgate.db");
    assert_int_equal(c->options.edge_max_body, 32 << 20);
    config_destroy(&c);
    buf_free(&errors);
}

#define PROVIDER "providers: {openai: {}}\n"
#define MODELS PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}]}\n"

static void every_mistake_is_told_with_line_place_and_suggestion(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *message;
    } cases[] = {
        {"edge:\n  prt: 1\n", ":2: edge.prt: unknown key (did you mean port?)"},
        {"egde: {}\n", ":1: egde: unknown key (did you mean edge?)"},
        {"edge: {port: many}\n", ":1: edge.port: expected a whole number"},
        {"edge: {body_timeout: 60}\n",
         ":1: edge.body_timeout: expected a duration with its unit, such as 10s or 250ms"},
        {"edge: {max_body: lots}\n", "expected a size such as 32MiB"},
        {"edge: {access_log: maybe}\n", "expected true or false"},
        {"edge: {port: [1]}\n", "edge.port: expected one value"},
        {"edge: 5\n", ":1: edge: expected keys and values"},
        {"providers: {opnai: {api_keys: [x]}}\n",
         "providers.opnai: needs a type: openai, anthropic or replicate"},
        {"providers: {x: {type: opnai}}\n", "unknown type opnai (did you mean openai?)"},
        {"providers: {openai: {api_key: [x]}}\n",
         "providers.openai.api_key: unknown key (did you mean api_keys?)"},
        {"providers: {openai: {endpoints: [http://x/v1]}}\n",
         "plain http is only for hosts of your own"},
        {"providers: {openai: {endpoints: [x/v1]}}\n", "an endpoint is a URL"},
        {"providers: {openai: {private: sure}}\n", "private: expected true or false"},
        {"providers: {openai: {quirks: [max_token]}}\n",
         "unknown quirk max_token (did you mean max_tokens?)"},
        {PROVIDER "models:\n  gpt-4: {}\n", ":3: models.gpt-4: needs targets"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: opnai}]}\n",
         ":3: models.gpt-4: no provider opnai (did you mean openai?)"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], rate_limt: 1/s}\n",
         ":3: models.gpt-4.rate_limt: unknown key (did you mean rate_limit?)"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], rate_limit: 10}\n",
         "expected a rate such as 10000/hour"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], rate_limit: 0/s}\n",
         "expected a rate such as 10000/hour"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], rate_limit: 5/s, burst: 6}\n",
         "burst: expected"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], timeout: 0}\n",
         "timeout: expected a duration"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], price: {input: 1}}\n",
         "a price is {input: 30, output: 60}"},
        {PROVIDER
         "models:\n  gpt-4: {targets: [{provider: openai}], price: {input: -1, output: 2}}\n",
         "not negative"},
        {PROVIDER "models:\n  \"*a*\": {targets: [{provider: openai}]}\n",
         "a name may hold one * at most"},
        {MODELS "default_model: gtp-4\n", "default_model: no model gtp-4 (did you mean gpt-4?)"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], fallbacks: [claude]}\n",
         "no model claude under models:"},
        {"a: 1\na: 2\n", ":2: a: given twice"},
        {"edge: {port: 1\n", "not YAML"},
        {"- 1\n", "expected keys and values"},
        {"? [a]\n: 1\n", "a key must be a plain word"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *c;
        struct buf errors = {0};
        assert_int_equal(load(cases[i].yaml, &c, &errors), ERR_INVALID);
        assert_null(c);
        struct span all = buf_span(&errors);
        if (span_find_span(all, span_str(cases[i].message)) == all.len ||
            span_find_span(all, SPAN("tollgate.yaml:")) == all.len)
            fail_msg("%s\nsaid: %.*s\nnot: %s", cases[i].yaml, SPAN_ARG(all), cases[i].message);
        buf_free(&errors);
    }
}

static void all_mistakes_are_told_at_once(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    assert_int_equal(load("edge: {prt: 1, max_body: x}\nproviders: {x: {}}\n", &c, &errors),
                     ERR_INVALID);
    unsigned lines = 0;
    for (size_t i = 0; i < errors.len; i++)
        lines += errors.data[i] == '\n';
    assert_int_equal(lines, 3);
    buf_free(&errors);
}

static void a_missing_file_is_an_error_with_its_name(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    assert_int_equal(config_load("/nonexistent/t.yaml", &paths, &c, &errors), ERR_INVALID);
    assert_true(span_starts(buf_span(&errors), "/nonexistent/t.yaml: No such file"));
    buf_free(&errors);
}

static void the_environment_is_expanded_and_what_is_missing_is_named(void **state)
{
    (void)state;
    struct buf out = {0};
    struct span missing;
    (void)setenv("TOLLGATE_TEST_A", "alpha", 1);
    (void)unsetenv("TOLLGATE_TEST_B");
    assert_int_equal(config_expand("x-${TOLLGATE_TEST_A}-y", &out, &missing), OK);
    assert_true(span_is(buf_span(&out), "x-alpha-y"));
    buf_clear(&out);
    assert_int_equal(config_expand("${TOLLGATE_TEST_B}", &out, &missing), ERR_NOT_FOUND);
    assert_true(span_is(missing, "TOLLGATE_TEST_B"));
    buf_clear(&out);
    assert_int_equal(config_expand("no $ here {", &out, &missing), OK);
    assert_true(span_is(buf_span(&out), "no $ here {"));
    assert_int_equal(config_expand("${}", &out, &missing), ERR_NOT_FOUND);
    buf_free(&out);
}

static void work_may_keep_the_configuration_it_began_with(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    assert_int_equal(load(design, &c, &errors), OK);
    struct config *held = config_retain(c);
    config_destroy(&c);
    assert_string_equal(held->default_model, "gpt-4");
    config_destroy(&held);
    buf_free(&errors);
}

/* What --defaults prints is a configuration, and says what holds without one. */
static void the_printed_defaults_are_themselves_a_valid_file(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0}, text = {0};
    config_print_defaults(&text);
    buf_append_char(&text, '\0');
    if (load(text.data, &c, &errors) != OK)
        fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
    assert_int_equal(c->options.edge_port, 4000);
    assert_string_equal(c->options.bus_auth, "ipc:///run/t/auth");
    assert_int_equal(c->options.edge_metrics_allow.count, 7);
    config_destroy(&c);
    buf_free(&errors);
    buf_free(&text);
}

static void every_quirk_the_worker_knows_is_taken(void **state)
{
    (void)state;
    static const char text[] =
        "providers: {p: {type: openai, quirks: [openai, max_tokens, no_stream_options,\n"
        "  echo_reasoning, top_k, many_stops, no_parallel_tool_calls]}}\n";
    struct config *c;
    struct buf errors = {0};
    if (load(text, &c, &errors) != OK)
        fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
    assert_int_equal(config_find_provider(c, "p")->quirks.count, 7);
    config_destroy(&c);
    buf_free(&errors);
}

static void prices_are_nano_dollars_per_token(void **state)
{
    (void)state;
    uint64_t nano;
    assert_true(value_price_nano("0.25", &nano));
    assert_int_equal(nano, 250);
    assert_true(value_price_nano("15", &nano));
    assert_int_equal(nano, 15000);
    assert_true(value_price_nano("0.0001", &nano));
    assert_int_equal(nano, 1);
    assert_false(value_price_nano("1e9", &nano));
    assert_false(value_price_nano("x", &nano));
    assert_false(value_price_nano("nan", &nano));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_design_is_read_whole),
        cmocka_unit_test(the_longest_wildcard_wins_and_an_exact_name_beats_it),
        cmocka_unit_test(a_wildcard_may_hand_on_what_it_matched),
        cmocka_unit_test(without_a_file_the_defaults_stand),
        cmocka_unit_test(every_mistake_is_told_with_line_place_and_suggestion),
        cmocka_unit_test(all_mistakes_are_told_at_once),
        cmocka_unit_test(a_missing_file_is_an_error_with_its_name),
        cmocka_unit_test(the_environment_is_expanded_and_what_is_missing_is_named),
        cmocka_unit_test(work_may_keep_the_configuration_it_began_with),
        cmocka_unit_test(the_printed_defaults_are_themselves_a_valid_file),
        cmocka_unit_test(every_quirk_the_worker_knows_is_taken),
        cmocka_unit_test(prices_are_nano_dollars_per_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
