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
    const struct tariff_rates *rates = &m->price.tariff.tiers[TIER_STANDARD].rates;
    assert_true(m->price.set);
    assert_int_equal(rates->pico[RATE_INPUT], 30000000);
    assert_int_equal(rates->pico[RATE_OUTPUT], 60000000);
    assert_int_equal(rates->pico[RATE_CACHED], 30000000);
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

static void an_endpoint_is_taken_with_and_without_its_version(void **state)
{
    (void)state;
    static const struct {
        enum protocol protocol;
        const char *text, *url; /* NULL: it is none */
    } cases[] = {
        {PROTOCOL_OPENAI, "http://h:8000", "http://h:8000/v1"},
        {PROTOCOL_OPENAI, "http://h:8000/", "http://h:8000/v1"},
        {PROTOCOL_OPENAI, "http://h:8000/v1", "http://h:8000/v1"},
        {PROTOCOL_OPENAI, "http://h:8000/v1/", "http://h:8000/v1"},
        {PROTOCOL_OPENAI, "http://h/o", "http://h/o/v1"},
        {PROTOCOL_OPENAI, "http://h/o/v1", "http://h/o/v1"},
        {PROTOCOL_OPENAI, "https://h/v1beta/openai/", "https://h/v1beta/openai"},
        {PROTOCOL_OPENAI, "https://h/api/paas/v4", "https://h/api/paas/v4"},
        {PROTOCOL_OPENAI, "https://h/v1/chat/completions", "https://h/v1"},
        {PROTOCOL_OPENAI, "https://h/api/chat/completions", "https://h/api"},
        {PROTOCOL_OPENAI, "https://h/v1/completions", "https://h/v1"},
        {PROTOCOL_OPENAI, "https://h/openai/deployments/d?api-version=2024-10-21",
         "https://h/openai/deployments/d?api-version=2024-10-21"},
        {PROTOCOL_OPENAI, "https://h/openai/deployments/d", "https://h/openai/deployments/d"},
        {PROTOCOL_OPENAI, "https://h/openai/deployments/d/chat/completions?api-version=1",
         "https://h/openai/deployments/d?api-version=1"},
        {PROTOCOL_OPENAI, "https://h?a=b", "https://h/v1?a=b"},
        {PROTOCOL_OPENAI, "https://h/x/v1/?a=b", "https://h/x/v1?a=b"},
        {PROTOCOL_OPENAI, "https://api.deepseek.com", "https://api.deepseek.com"},
        {PROTOCOL_OPENAI, "https://api.groq.com", "https://api.groq.com/openai/v1"},
        {PROTOCOL_OPENAI, "https://api.groq.com/openai", "https://api.groq.com/openai/v1"},
        {PROTOCOL_OPENAI, "https://api.groq.com.evil", "https://api.groq.com.evil/v1"},
        {PROTOCOL_ANTHROPIC, "https://api.anthropic.com", "https://api.anthropic.com/v1"},
        {PROTOCOL_ANTHROPIC, "https://api.deepseek.com/anthropic",
         "https://api.deepseek.com/anthropic/v1"},
        {PROTOCOL_ANTHROPIC, "https://h/v1/messages", "https://h/v1"},
        {PROTOCOL_REPLICATE, "https://h", "https://h/v1"},
        {PROTOCOL_OPENAI, "h/v1", NULL},
        {PROTOCOL_OPENAI, "https://", NULL},
        {PROTOCOL_OPENAI, "https:///v1", NULL},
        {PROTOCOL_OPENAI, "https://u:p@h/v1", NULL},
        {PROTOCOL_OPENAI, "https://h/v1#x", NULL},
        {PROTOCOL_OPENAI, "https://h/a b", NULL},
        {PROTOCOL_OPENAI, "https://h/v1?a b", NULL},
    };
    const struct config_provider p = {.private_network = true};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = {0};
        enum err e = config_endpoint(cases[i].protocol, span_str(cases[i].text), &out);
        const char *fault = config_endpoint_fault(&p, span_str(cases[i].text));
        if ((e == OK) != (cases[i].url != NULL) || (fault == NULL) != (e == OK) ||
            (cases[i].url && !span_is(buf_span(&out), cases[i].url)))
            fail_msg("%s: %.*s (%s)", cases[i].text, SPAN_ARG(buf_span(&out)), fault);
        buf_free(&out);
    }
}

static void keys_of_another_place_are_merged_and_own_ones_stand(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    if (load("x-quick: &quick {timeout: 9s, burst: 3}\n"
             "x-few: &few {rate_limit: 5/s, timeout: 8s}\n"
             "providers: {openai: {api_keys: [a]}}\n"
             "models:\n"
             "  a: {<<: *quick, targets: [{provider: openai}], rate_limit: 7/s}\n"
             "  b: {timeout: 1s, targets: [{provider: openai}], <<: [*few, *quick]}\n"
             "  c: {<<: {timeout: 4s}, targets: [{provider: openai}]}\n",
             &c, &errors) != OK)
        fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
    const struct config_model *m = config_find_model(c, SPAN("a"));
    assert_int_equal(m->timeout_ms, 9000);
    assert_int_equal(m->rate_count, 7);
    assert_int_equal(m->rate_burst, 3);
    m = config_find_model(c, SPAN("b"));
    assert_int_equal(m->timeout_ms, 1000);
    assert_int_equal(m->rate_count, 5);
    assert_int_equal(config_find_model(c, SPAN("c"))->timeout_ms, 4000);
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
         "providers.opnai: needs a type: one of openai, anthropic, replicate"},
        {"providers: {x: {type: opnai}}\n", "providers.x.type: \"opnai\" is none of openai, "
                                            "anthropic, replicate (did you mean openai?)"},
        {"providers: {openai: {api_key: [x]}}\n",
         "providers.openai.api_key: unknown key (did you mean api_keys?)"},
        {"providers: {openai: {endpoints: [http://x/v1]}}\n",
         "plain http is only for hosts of your own"},
        {"providers: {openai: {endpoints: [x/v1]}}\n", "an endpoint is a URL"},
        {"providers: {openai: {private: sure}}\n", "private: expected true or false"},
        {"providers: {openai: {quirks: [max_token]}}\n",
         "providers.openai.quirks: \"max_token\" is none of"},
        {"providers: {openai: {api_keys: [a], headers: {Transfer-Encoding: chunked}}}\n",
         "providers.openai.headers.Transfer-Encoding: belongs to the connection"},
        {PROVIDER "models:\n  gpt-4: {}\n", ":3: models.gpt-4: needs targets"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: opnai}]}\n",
         ":3: models.gpt-4.targets: no provider opnai (did you mean openai?)"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], rate_limt: 1/s}\n",
         ":3: models.gpt-4.rate_limt: unknown key (did you mean rate_limit?)"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], rate_limit: 10}\n",
         "expected a rate such as 10000/hour"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], rate_limit: 0/s}\n",
         "expected a rate such as 10000/hour"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], rate_limit: 5/s, burst: 6}\n",
         "burst: expected"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], timeout: 0}\n",
         "models.gpt-4.timeout: 0 is out of range: 100ms to 24h"},
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
        {"edge: {port: 70000}\n", ":1: edge.port: 70000 is out of range: 1 to 65535"},
        {"edge: {stream_window: 3MiB}\n",
         ":1: edge.stream_window: 3MiB is out of range: 16KiB to 2MiB"},
        {"edge: {keepalive_interval: 50ms}\n", "50ms is out of range: 100ms to 1h, or 0"},
        {"bus: {peer_timeout: 0}\n", "bus.peer_timeout: 0 is out of range: 500ms to 5m"},
        {"bus: {brokers: []}\n", "bus.brokers: 0 entries are out of range: 1 to 16 entries"},
        {"bus: {auth: /run/auth}\n", "\"/run/auth\" is not an address such as"},
        {"bus: {bind: \"tcp://*:70000\"}\n", "is not an address such as"},
        {"worker: {slots: 0}\n", "worker.slots: 0 is out of range: 1 to 100000"},
        {"log: {level: verbose}\n",
         ":1: log.level: \"verbose\" is none of error, warn, info, debug"},
        {"log: {format: xml}\n", "log.format: \"xml\" is none of text, json"},
        {"runtime: {cpu: \"999\"}\n", "\"999\" is not processors of this machine"},
        {"edge: {metrics_allow: [10.0.0.0/33]}\n", "\"10.0.0.0/33\" is not an address or a range"},
        {"edge: {tls_cert: a.pem}\n", "edge: tls_cert and tls_key are needed together"},
        {"providers: {openai: {headers: {\"a b\": c}}}\n", "\"a b\" is no header's name"},
        {"providers: {openai: {compat: [top_k], quirks: [top_k]}}\n", "give one"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], capabilities: [vision]}\n",
         ":3: models.gpt-4.capabilities: expected keys and values"},
        {PROVIDER
         "models:\n  gpt-4: {targets: [{provider: openai}], capabilities: {vison: true}}\n",
         "models.gpt-4.capabilities.vison: unknown key (did you mean vision?)"},
        {PROVIDER
         "models:\n  gpt-4: {targets: [{provider: openai}], capabilities: {vision: yes}}\n",
         "models.gpt-4.capabilities.vision: expected true or false"},
        {PROVIDER
         "models:\n  gpt-4: {targets: [{provider: openai}], capabilities: {effort: [huge]}}\n",
         "models.gpt-4.capabilities.effort: \"huge\" is none of none, minimal"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], defaults: {temperature: 3}}\n",
         "models.gpt-4.defaults.temperature: 3 is out of range: 0 to 2"},
        {PROVIDER
         "models:\n  gpt-4: {targets: [{provider: openai}], defaults: {max_tokens: \"5\"}}\n",
         "models.gpt-4.defaults.max_tokens: expected a whole number"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai, weight: 1000001}]}\n",
         "models.gpt-4.targets.weight: 1000001 is out of range: 1 to 1000000, or 0"},
        {"a: \"x\\0y\"\n", "holds a zero byte"},
        {"a: *b\n", "*b: no &b before it"},
        {"a: &a [*a]\n", "*a: no &a before it"},
        {"edge: {}\n---\nedge: {}\n", "a second document"},
        {"a: [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n", "nested too deeply"},
        {PROVIDER "models:\n  gpt-4: {targets: [{provider: openai}], list: true}\n",
         "models.gpt-4.list: only a name with a *"},
        {"providers: {replicate: {}}\nmodels: {\"*\": {targets: [{provider: replicate}], list: "
         "true}}\n",
         "list: Replicate has no list"},
        {"? [a]\n: 1\n", "a key must be a plain word"},
        {"edge: {<<: 5}\n", ":1: <<: expected keys and values of another place"},
        {"edge: {<<: [5]}\n", ":1: <<: expected keys and values of another place"},
        {"x: {}\n", ":1: x: unknown key"},
        {"edge: {port: \"${PORT}\"}\n", ":1: edge.port: ${PORT}: variables are read in"},
        {"edge: {address: os.environ/HOST}\n", "edge.address: os.environ/HOST: variables are read"},
        {"providers: {openai: {api_keys: [a], endpoints: [\"https://u:p@h/v1\"]}}\n",
         "an endpoint is a URL"},
        {"providers: {openai: {auth: client, api_keys: [a]}}\n", "leave api_keys out"},
        {"providers: {openai: {auth: client, private: true, endpoints: [http://h/v1]}}\n",
         "auth: client needs https"},
        {"providers: {openai: {auth: both}}\n", "\"both\" is none of key, client"},
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

/* Nine lines of aliases that stand for a billion values. */
static const char laughs[] = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
                             "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                             "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                             "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                             "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
                             "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
                             "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n"
                             "h: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g,*g]\n"
                             "edge: [*h,*h,*h,*h,*h,*h,*h,*h,*h,*h]\n";

static void a_text_that_explodes_is_an_error(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    assert_int_equal(load(laughs, &c, &errors), ERR_INVALID);
    assert_null(c);
    assert_true(span_find_span(buf_span(&errors), SPAN("more than 100000 values")) < errors.len);
    buf_free(&errors);
}

static void a_text_that_is_too_large_is_an_error(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0}, text = {0};
    while (text.len <= 4 << 20)
        buf_append_str(&text, "# nothing but comments, again and again\n");
    assert_int_equal(config_read(buf_span(&text), "t.yaml", &paths, &c, &errors), ERR_INVALID);
    assert_true(span_is(buf_span(&errors), "t.yaml: larger than 4 MiB\n"));
    buf_free(&errors);
    buf_clear(&text);
    for (int i = 0; i < 100001; i++)
        buf_append_str(&text, "- 1\n");
    assert_int_equal(config_read(buf_span(&text), "t.yaml", &paths, &c, &errors), ERR_INVALID);
    assert_true(span_find_span(buf_span(&errors), SPAN("more than 100000 values")) < errors.len);
    buf_free(&errors);
    buf_clear(&text);
    for (int i = 0; i < 10001; i++)
        buf_printf(&text, "k%d: 1\n", i);
    assert_int_equal(config_read(buf_span(&text), "t.yaml", &paths, &c, &errors), ERR_INVALID);
    assert_true(span_find_span(buf_span(&errors), SPAN("more than 10000 keys")) < errors.len);
    buf_free(&errors);
    buf_free(&text);
}

static void aliases_within_the_bounds_are_fine(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    static const char text[] = "providers: {openai: {}}\n"
                               "models:\n"
                               "  a: &a {targets: &t [{provider: openai}], timeout: &s 7s}\n"
                               "  b: *a\n"
                               "  c: {targets: *t, timeout: *s}\n";
    if (config_read(span_str(text), "t.yaml", &paths, &c, &errors) != OK)
        fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
    assert_int_equal(c->model_count, 3);
    assert_string_equal(c->models[1].name, "b");
    assert_int_equal(c->models[1].timeout_ms, 7000);
    assert_int_equal(c->models[2].timeout_ms, 7000);
    assert_int_equal(c->models[2].target_count, 1);
    config_destroy(&c);
}

/* Servers have parameters of their own: a misspelt one is only suspected. */
static void a_parameter_that_looks_misspelt_draws_a_warning(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    static const char text[] = "providers: {openai: {}}\n"
                               "models:\n"
                               "  a: {targets: [{provider: openai}],\n"
                               "      defaults: {temprature: 1, guided_regex: x, top_k: 5}}\n";
    assert_int_equal(config_read(span_str(text), "t.yaml", &paths, &c, &errors), OK);
    assert_string_equal(c->warnings, "t.yaml:4: models.a.defaults.temprature: not a known "
                                     "parameter (did you mean temperature?)\n");
    assert_int_equal(c->models[0].default_count, 3);
    config_destroy(&c);
}

static void note_change(void *ctx, const char *section, const char *name)
{
    buf_printf(ctx, "%s.%s ", section, name);
}

static void a_reload_keeps_what_only_a_start_takes(void **state)
{
    (void)state;
    struct config *old, *fresh;
    struct buf errors = {0}, changed = {0};
    assert_int_equal(
        config_read(SPAN("edge: {port: 4001, deadline: 5s}\n"), "t.yaml", &paths, &old, &errors),
        OK);
    assert_int_equal(config_read(SPAN("edge: {port: 4002, deadline: 6s}\n"
                                      "bus: {brokers: [\"tcp://h:1\"], auth: \"tcp://h:2\"}\n"),
                                 "t.yaml", &paths, &fresh, &errors),
                     OK);
    assert_int_equal(config_keep_start_only(fresh, old, note_change, &changed), OK);
    config_destroy(&old);
    assert_true(span_is(buf_span(&changed), "bus.brokers bus.auth edge.port "));
    assert_int_equal(fresh->options.edge_port, 4001);
    assert_int_equal(fresh->options.edge_deadline, 6000);
    assert_string_equal(fresh->options.bus_auth, "ipc:///run/t/auth");
    assert_string_equal(fresh->options.bus_brokers.items[0], "ipc:///run/t/broker-1");
    config_destroy(&fresh);
    buf_free(&changed);
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
    buf_clear(&out);
    assert_int_equal(config_expand("os.environ/TOLLGATE_TEST_A", &out, &missing), OK);
    assert_true(span_is(buf_span(&out), "alpha"));
    assert_int_equal(config_expand("os.environ/TOLLGATE_TEST_B", &out, &missing), ERR_NOT_FOUND);
    assert_true(span_is(missing, "TOLLGATE_TEST_B"));
    assert_true(config_has_variable("a${B}") && config_has_variable("os.environ/B"));
    assert_false(config_has_variable("no $ here {") || config_has_variable("${open"));
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
    assert_int_equal(c->options.edge_metrics_allow.count, 2);
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
    assert_int_equal(config_find_provider(c, "p")->compat.count, 7);
    config_destroy(&c);
    buf_free(&errors);
}

static void a_known_name_gives_protocol_and_key(void **state)
{
    (void)state;
    static const char text[] = "providers:\n"
                               "  groq: {}\n"
                               "  mistral: { endpoints: [https://mine.example/v1] }\n"
                               "  xai: { type: anthropic }\n"
                               "  anthropic: { api_key_files: [/k] }\n";
    static const struct {
        const char *name;
        enum protocol protocol;
        const char *key, *defaults_of;
    } cases[] = {
        {"groq", PROTOCOL_OPENAI, "${GROQ_API_KEY}", "groq"},
        {"mistral", PROTOCOL_OPENAI, NULL, "mistral"},
        {"xai", PROTOCOL_ANTHROPIC, NULL, "anthropic"},
        {"anthropic", PROTOCOL_ANTHROPIC, NULL, "anthropic"},
    };
    struct config *c;
    struct buf errors = {0};
    if (load(text, &c, &errors) != OK)
        fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct config_provider *p = config_find_provider(c, cases[i].name);
        assert_int_equal(p->protocol, cases[i].protocol);
        assert_string_equal(p->type, protocol_info(p->protocol)->name);
        assert_string_equal(p->info->name, cases[i].defaults_of);
        assert_int_equal(p->api_keys.count, cases[i].key != NULL);
        if (cases[i].key)
            assert_string_equal(p->api_keys.items[0], cases[i].key);
    }
    config_destroy(&c);
    buf_free(&errors);
}

static void prices_are_pico_dollars_per_token(void **state)
{
    (void)state;
    uint64_t pico;
    assert_true(value_price_pico("0.25", &pico));
    assert_int_equal(pico, 250000);
    assert_true(value_price_pico("15", &pico));
    assert_int_equal(pico, 15000000);
    assert_true(value_price_pico("0.0001", &pico));
    assert_int_equal(pico, 100);
    assert_false(value_price_pico("1e9", &pico));
    assert_false(value_price_pico("x", &pico));
    assert_false(value_price_pico("nan", &pico));
}

#define PRICED(price)                                                                              \
    "providers: {openai: {api_keys: [a]}}\nmodels:\n  m: {targets: [{provider: openai}], price: "  \
    "{" price "}}\n"

static void a_price_has_tiers_thresholds_and_fees(void **state)
{
    (void)state;
    struct config *c;
    struct buf errors = {0};
    if (load(
            PRICED("input: 3, output: 15, cached_input: 0.3, cache_write: 3.75, cache_write_1h: 6, "
                   "long: {over: 200000, input: 6, output: 22.5}, flex: {input: 1.5, long: {over: "
                   "1000, input: 2}}, web_search: 10"),
            &c, &errors) != OK)
        fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
    const struct tariff *t = &config_find_model(c, SPAN("m"))->price.tariff;
    static const struct {
        struct tariff_use use;
        uint64_t nano;
    } cases[] = {
        {{.input = 10, .cached = 2, .cache_write = 5, .cache_write_1h = 1, .output = 1},
         3 * 3000 + 2 * 300 + 4 * 3750 + 6000 + 15000},
        {{.input = 200001, .output = 2}, 200001ULL * 6000 + 2 * 22500},
        {{.input = 10, .output = 2, .tier = TIER_FLEX}, 10 * 1500 + 2 * 7500},
        {{.input = 1001, .tier = TIER_FLEX}, 1001 * 2000},
        {{.calls = {[FEE_WEB_SEARCH] = 2}}, 20000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(tariff_cost_nano(t, &cases[i].use), cases[i].nano);
    config_destroy(&c);
    buf_free(&errors);
}

static void what_is_wrong_with_a_price_is_said_by_its_path(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {PRICED("input_cost_per_token: 1, output: 2"),
         "models.m.price.input_cost_per_token: unknown key"},
        {PRICED("input_cost_per_token: 1, output: 2"),
         "models.m.price: a price is {input: 30, output: 60}, in dollars per million tokens"},
        {PRICED("input: 1, output: 2, cached_imput: 1"),
         "models.m.price.cached_imput: unknown key (did you mean cached_input?)"},
        {PRICED("input: 1, output: 2, long: {over: 5}"),
         "models.m.price.long: a price of long requests is {over: 200000"},
        {PRICED("input: 1, output: 2, long: {over: 5, input: 1, outptu: 3}"),
         "models.m.price.long.outptu: unknown key (did you mean output?)"},
        {PRICED("input: 1, output: 2, long: 7"), "models.m.price.long: expected keys and values"},
        {PRICED("input: 1, output: 2, long: {over: 0, input: 1}"),
         "models.m.price.long.over: 0 is out of range"},
        {PRICED("input: 1, output: 2, flex: {output: 1}"),
         "models.m.price.flex: a tier's price is {input: 15, output: 30}"},
        {PRICED("input: 1, output: 2, batch: {input: -1}"), "models.m.price.batch.input: expected"},
        {PRICED("input: 1, output: 2, web_search: x"), "models.m.price.web_search: expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config *c;
        struct buf errors = {0};
        assert_int_equal(load(cases[i].text, &c, &errors), ERR_INVALID);
        buf_append_char(&errors, '\0');
        if (!strstr(errors.data, cases[i].error))
            fail_msg("%s: %s", cases[i].error, errors.data);
        buf_free(&errors);
    }
}

static void a_clients_fields_travel_where_they_may_and_credentials_never(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool travels;
    } cases[] = {{"x-corp-id", true},       {"X-CORP-Id", true},   {"x-corp-", true},
                 {"x-corp", false},         {"x-title", true},     {"x-titles", false},
                 {"authorization", false},  {"cookie", false},     {"x-api-key", false},
                 {"x-tollgate-key", false}, {"user-agent", false}, {"", false}};
    const char *items[] = {"x-corp-*", "X-Title", "a*", "c*", "x-a*", "x-tol*", "u*"};
    const struct config_list patterns = {items, sizeof items / sizeof *items};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(config_forwards(&patterns, span_str(cases[i].name)), cases[i].travels);
    static const char *const bad[] = {"cookie", "*",   "Authorization",
                                      "x y",    "a*b", "content-length"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config *c;
        struct buf errors = {0};
        char text[128];
        (void)snprintf(text, sizeof text,
                       "providers: {openai: {api_keys: [a], forward_headers: [\"%s\"]}}\n", bad[i]);
        assert_int_equal(load(text, &c, &errors), ERR_INVALID);
        buf_append_char(&errors, '\0');
        assert_non_null(strstr(errors.data, "providers.openai.forward_headers"));
        buf_free(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_design_is_read_whole),
        cmocka_unit_test(the_longest_wildcard_wins_and_an_exact_name_beats_it),
        cmocka_unit_test(a_wildcard_may_hand_on_what_it_matched),
        cmocka_unit_test(an_endpoint_is_taken_with_and_without_its_version),
        cmocka_unit_test(keys_of_another_place_are_merged_and_own_ones_stand),
        cmocka_unit_test(without_a_file_the_defaults_stand),
        cmocka_unit_test(every_mistake_is_told_with_line_place_and_suggestion),
        cmocka_unit_test(a_text_that_explodes_is_an_error),
        cmocka_unit_test(a_text_that_is_too_large_is_an_error),
        cmocka_unit_test(aliases_within_the_bounds_are_fine),
        cmocka_unit_test(a_parameter_that_looks_misspelt_draws_a_warning),
        cmocka_unit_test(a_reload_keeps_what_only_a_start_takes),
        cmocka_unit_test(all_mistakes_are_told_at_once),
        cmocka_unit_test(a_missing_file_is_an_error_with_its_name),
        cmocka_unit_test(the_environment_is_expanded_and_what_is_missing_is_named),
        cmocka_unit_test(work_may_keep_the_configuration_it_began_with),
        cmocka_unit_test(the_printed_defaults_are_themselves_a_valid_file),
        cmocka_unit_test(every_quirk_the_worker_knows_is_taken),
        cmocka_unit_test(a_known_name_gives_protocol_and_key),
        cmocka_unit_test(prices_are_pico_dollars_per_token),
        cmocka_unit_test(a_price_has_tiers_thresholds_and_fees),
        cmocka_unit_test(what_is_wrong_with_a_price_is_said_by_its_path),
        cmocka_unit_test(a_clients_fields_travel_where_they_may_and_credentials_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
