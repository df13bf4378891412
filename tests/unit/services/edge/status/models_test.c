#include "services/edge/status/models.h"
#include "common/base/json.h"

#include <stdio.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char yaml[] = "providers:\n"
                           "  openai: { api_keys: [\"k\"] }\n"
                           "models:\n"
                           "  gpt-4: { targets: [{provider: openai}] }\n"
                           "  meta/llama: { targets: [{provider: openai}] }\n"
                           "  claude-3: { targets: [{provider: openai}] }\n"
                           "  \"o3-*\": { targets: [{provider: openai}] }\n";

struct fixture {
    struct config *config;
    struct buf out;
    struct models_query query;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct config_paths paths = {"/run", "/var"};
    struct buf errors = {0};
    char path[] = "/tmp/models_test.XXXXXX";
    int fd = mkstemp(path);
    bool written = fd >= 0 && write(fd, yaml, sizeof yaml - 1) == (ssize_t)(sizeof yaml - 1);
    enum err e = config_load(path, &paths, &f->config, &errors);
    (void)close(fd);
    (void)unlink(path);
    buf_free(&errors);
    f->query = (struct models_query){.config = f->config, .created_ms = 1700000000123};
    *state = f;
    return written && e == OK ? 0 : -1;
}

/* What a provider lists, as clients ask for it; what leads elsewhere or may not be used is left
 * out.
 */
static void a_wildcard_stands_for_what_its_provider_lists(void **state)
{
    static const char text[] =
        "providers:\n"
        "  o: { type: openai, endpoints: [https://o/v1] }\n"
        "models:\n"
        "  \"o/*\": { targets: [{provider: o, model: \"*\"}], list: true }\n"
        "  o/own: { targets: [{provider: o}] }\n"
        "  \"o/x-*\": { targets: [{provider: o, model: fixed}], list: true }\n"
        "  \"b*\": { targets: [{provider: o}], list: true }\n"
        "  \"quiet-*\": { targets: [{provider: o}] }\n";
    struct config_paths paths = {"/run", "/var"};
    struct buf errors = {0}, out = {0};
    struct catalog catalog = {0};
    struct config *config;
    (void)state;
    assert_int_equal(config_read(span_str(text), "t", &paths, &config, &errors), OK);
    assert_int_equal(catalog_put(&catalog, SPAN("o"), SPAN("a\nown\nx-1\nb2\nquiet-1\n")), OK);
    struct models_query q = {.config = config, .catalog = &catalog, .anthropic = true};
    static const struct {
        const char *allowed, *query, *json;
    } cases[] = {
        {"", "limit=1", "\"has_more\":true,\"first_id\":\"o/a\",\"last_id\":\"o/a\"}"},
        {"", "limit=9&after_id=o/quiet-1", "\"first_id\":\"o/own\",\"last_id\":\"b2\"}"},
        {"b*", "", "\"first_id\":\"b2\",\"last_id\":\"b2\"}"},
        {"o/q*", "", "\"first_id\":\"o/quiet-1\",\"last_id\":\"o/quiet-1\"}"},
        {"quiet-*", "", "\"first_id\":null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        q.allowed = span_str(cases[i].allowed);
        q.query = span_str(cases[i].query);
        buf_clear(&out);
        assert_int_equal(models_write_list(&q, &out), OK);
        if (span_find_span(buf_span(&out), span_str(cases[i].json)) == out.len)
            fail_msg("%s %s: %.*s", cases[i].allowed, cases[i].query, SPAN_ARG(buf_span(&out)));
    }
    q.catalog = NULL;
    buf_clear(&out);
    assert_int_equal(models_write_list(&q, &out), OK);
    catalog_free(&catalog);
    config_destroy(&config);
    buf_free(&out);
    buf_free(&errors);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    config_destroy(&f->config);
    buf_free(&f->out);
    free(f);
    return 0;
}

static const char *list(struct fixture *f)
{
    buf_clear(&f->out);
    assert_int_equal(models_write_list(&f->query, &f->out), OK);
    buf_append_char(&f->out, 0);
    return f->out.data;
}

static void the_list_has_openais_shape_and_no_wildcards(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(
        list(f),
        "{\"object\":\"list\",\"data\":["
        "{\"id\":\"gpt-4\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"openai\"},"
        "{\"id\":\"meta/"
        "llama\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"openai\"},"
        "{\"id\":\"claude-3\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"openai\"}]"
        "}");
}

static void a_key_sees_its_own_models_only(void **state)
{
    struct fixture *f = *state;
    f->query.allowed = SPAN("meta/*");
    assert_string_equal(
        list(f), "{\"object\":\"list\",\"data\":[{\"id\":\"meta/llama\",\"object\":\"model\","
                 "\"created\":1700000000,\"owned_by\":\"openai\"}]}");
    f->query.allowed = SPAN("none");
    assert_string_equal(list(f), "{\"object\":\"list\",\"data\":[]}");
}

static void anthropics_shape_has_pages(void **state)
{
    struct fixture *f = *state;
    f->query.anthropic = true;
    f->query.query = SPAN("limit=1&after_id=gpt-4");
    assert_string_equal(
        list(f),
        "{\"data\":[{\"type\":\"model\",\"id\":\"meta/llama\",\"display_name\":\"meta/llama\","
        "\"created_at\":\"2023-11-14T22:13:20.123Z\",\"lifecycle\":\"active\"}],\"has_more\":true,"
        "\"first_id\":\"meta/llama\",\"last_id\":\"meta/llama\"}");
    f->query.query = SPAN("after_id=claude-3");
    assert_string_equal(list(f),
                        "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}");
    f->query.query = SPAN("before_id=meta/llama");
    assert_non_null(strstr(list(f), "\"last_id\":\"gpt-4\""));
    static const char *const bad[] = {"limit=0", "limit=1001", "limit=x", "after_id=nope",
                                      "before_id=nope"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f->query.query = span_str(bad[i]);
        buf_clear(&f->out);
        assert_int_equal(models_write_list(&f->query, &f->out), ERR_INVALID);
    }
}

static void one_model_is_found_by_name_or_wildcard(void **state)
{
    static const struct {
        const char *id, *allowed;
        enum err e;
    } cases[] = {
        {"gpt-4", "", OK},           {"meta/llama", "", OK},      {"o3-mini", "", OK},
        {"o3-*", "", ERR_NOT_FOUND}, {"nope", "", ERR_NOT_FOUND}, {"gpt-4", "o3-*", ERR_NOT_FOUND},
        {"o3-mini", "o3-*", OK},     {"", "", ERR_NOT_FOUND},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&f->out);
        f->query.allowed = span_str(cases[i].allowed);
        assert_int_equal(models_write_one(&f->query, span_str(cases[i].id), &f->out), cases[i].e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_list_has_openais_shape_and_no_wildcards, setup,
                                        teardown),
        cmocka_unit_test(a_wildcard_stands_for_what_its_provider_lists),
        cmocka_unit_test_setup_teardown(a_key_sees_its_own_models_only, setup, teardown),
        cmocka_unit_test_setup_teardown(anthropics_shape_has_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(one_model_is_found_by_name_or_wildcard, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
