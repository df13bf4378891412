#include "services/edge/http/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void every_route_is_found_by_its_method_and_path(void **state)
{
    static const struct {
        const char *method, *path;
        enum api api;
        enum route_kind kind;
        const char *rest;
    } cases[] = {
        {"POST", "/v1/chat/completions", API_OPENAI_CHAT, ROUTE_API, ""},
        {"POST", "/v1/completions", API_OPENAI_COMPLETIONS, ROUTE_API, ""},
        {"POST", "/v1/embeddings", API_OPENAI_EMBEDDINGS, ROUTE_API, ""},
        {"POST", "/v1/responses", API_OPENAI_RESPONSES, ROUTE_API, ""},
        {"POST", "/v1/responses/input_tokens", API_OPENAI_RESPONSES, ROUTE_API, ""},
        {"GET", "/v1/responses/resp_1", API_OPENAI_RESPONSES, ROUTE_API, "resp_1"},
        {"DELETE", "/v1/responses/resp_1", API_OPENAI_RESPONSES, ROUTE_API, "resp_1"},
        {"POST", "/v1/responses/resp_1/cancel", API_OPENAI_RESPONSES, ROUTE_API, "resp_1"},
        {"POST", "/v1/messages", API_ANTHROPIC_MESSAGES, ROUTE_API, ""},
        {"POST", "/v1/messages/count_tokens", API_ANTHROPIC_COUNT_TOKENS, ROUTE_API, ""},
        {"GET", "/v1/models", API_OPENAI_CHAT, ROUTE_MODELS, ""},
        {"HEAD", "/v1/models", API_OPENAI_CHAT, ROUTE_MODELS, ""},
        {"GET", "/v1/models/meta/meta-llama-3-8b", API_OPENAI_CHAT, ROUTE_MODEL,
         "meta/meta-llama-3-8b"},
        {"GET", "/v1/models/meta%2Fllama", API_OPENAI_CHAT, ROUTE_MODEL, "meta%2Fllama"},
        {"GET", "/health", API_OPENAI_CHAT, ROUTE_HEALTH, ""},
        {"GET", "/health/liveness", API_OPENAI_CHAT, ROUTE_LIVENESS, ""},
        {"HEAD", "/health/readiness", API_OPENAI_CHAT, ROUTE_READINESS, ""},
        {"GET", "/metrics", API_OPENAI_CHAT, ROUTE_METRICS, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct route_match m = route_match(span_str(cases[i].method), span_str(cases[i].path));
        assert_int_equal(m.found, ROUTE_FOUND);
        assert_int_equal(m.route->api, cases[i].api);
        assert_int_equal(m.route->kind, cases[i].kind);
        assert_true(span_is(m.rest, cases[i].rest));
    }
}

static void what_is_no_route_says_whether_path_or_method_is_wrong(void **state)
{
    static const struct {
        const char *method, *path;
        enum route_found found;
        const char *allow;
    } cases[] = {
        {"GET", "/", ROUTE_NO_PATH, ""},
        {"GET", "/v1", ROUTE_NO_PATH, ""},
        {"POST", "/v1/chat/completions/", ROUTE_NO_PATH, ""},
        {"POST", "/v1/chat/completions/x", ROUTE_NO_PATH, ""},
        {"POST", "/v1//chat/completions", ROUTE_NO_PATH, ""},
        {"GET", "/v1/models/", ROUTE_NO_PATH, ""},
        {"GET", "/v1/responses/", ROUTE_NO_PATH, ""},
        {"POST", "/v1/responses/a/b/cancel", ROUTE_NO_PATH, ""},
        {"GET", "/healthy", ROUTE_NO_PATH, ""},
        {"OPTIONS", "/nowhere", ROUTE_NO_PATH, ""},
        {"GET", "/v1/chat/completions", ROUTE_NO_METHOD, "POST, OPTIONS"},
        {"HEAD", "/v1/messages", ROUTE_NO_METHOD, "POST, OPTIONS"},
        {"PATCH", "/v1/models", ROUTE_NO_METHOD, "GET, HEAD, OPTIONS"},
        {"post", "/v1/messages", ROUTE_NO_METHOD, "POST, OPTIONS"},
        {"PUT", "/v1/responses/input_tokens", ROUTE_NO_METHOD, "GET, HEAD, POST, DELETE, OPTIONS"},
        {"OPTIONS", "/v1/messages", ROUTE_OPTIONS, "POST, OPTIONS"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct route_match m = route_match(span_str(cases[i].method), span_str(cases[i].path));
        char allow[ROUTE_METHODS_TEXT];
        assert_int_equal(m.found, cases[i].found);
        assert_null(m.route);
        assert_int_equal(route_methods_text(m.methods, allow), strlen(cases[i].allow));
        assert_string_equal(allow, cases[i].allow);
    }
}

static void a_path_decides_the_protocol_of_its_errors(void **state)
{
    (void)state;
    assert_int_equal(route_protocol(SPAN("/v1/messages"), false), API_ANTHROPIC_MESSAGES);
    assert_int_equal(route_protocol(SPAN("/v1/messages/batches"), false), API_ANTHROPIC_MESSAGES);
    assert_int_equal(route_protocol(SPAN("/v1/messagesx"), false), API_OPENAI_CHAT);
    assert_int_equal(route_protocol(SPAN("/v1/chat/completions"), true), API_OPENAI_CHAT);
    assert_int_equal(route_protocol(SPAN("/v1/models"), true), API_ANTHROPIC_MESSAGES);
    assert_int_equal(route_protocol(SPAN("/v1/models"), false), API_OPENAI_CHAT);
    assert_int_equal(route_protocol(SPAN("/nowhere"), false), API_OPENAI_CHAT);
}

static void only_what_people_and_probes_read_is_open(void **state)
{
    (void)state;
    for (size_t i = 0; route_at(i); i++) {
        const struct http_route *r = route_at(i);
        assert_int_equal(r->open, strncmp(r->pattern, "/v1/", 4) != 0);
    }
}

static void percent_escapes_are_decoded_once(void **state)
{
    static const struct {
        const char *text, *decoded; /* NULL = refused */
    } cases[] = {
        {"gpt-4", "gpt-4"},
        {"meta%2Fllama", "meta/llama"},
        {"meta%2fllama%3A2", "meta/llama:2"},
        {"a%252Fb", "a%2Fb"},
        {"%", NULL},
        {"%4", NULL},
        {"%zz", NULL},
        {"a%00b", NULL},
        {"a%0Ab", NULL},
        {"%41", "A"},
        {"x%41", "xA"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = strlen(cases[i].text), len = 0;
        char *exact = malloc(n ? n : 1), out[64];
        memcpy(exact, cases[i].text, n);
        bool fine = route_decode(span_of(exact, n), out, &len);
        assert_int_equal(fine, cases[i].decoded != NULL);
        if (fine)
            assert_true(span_is(span_of(out, len), cases[i].decoded));
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_found_by_its_method_and_path),
        cmocka_unit_test(what_is_no_route_says_whether_path_or_method_is_wrong),
        cmocka_unit_test(a_path_decides_the_protocol_of_its_errors),
        cmocka_unit_test(only_what_people_and_probes_read_is_open),
        cmocka_unit_test(percent_escapes_are_decoded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
