/* Values as Python reads them, and what becomes of them. */
#include "services/ctl/import/litellm_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct arena arena;

static struct yaml text(const char *value)
{
    return (struct yaml){.kind = YAML_TEXT, .text = value};
}

static void dollars_per_token_become_dollars_per_million_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *token, *million;
    } cases[] = {
        {"3e-07", "0.3"},    {"0.0000015", "1.5"},
        {"1.25E-6", "1.25"}, {"0", "0"},
        {"0.0", "0"},        {"2e-12", "0.000002"},
        {"0.00003", "30"},   {"+1e-6", "1"},
        {"1", "1000000"},    {"7.5e-08", "0.075"},
        {".5e-6", "0.5"},    {"1_000e-9", "1"},
        {"cheap", NULL},     {"1e999", NULL},
        {"-1e-6", NULL},     {"1e-60", "0.000000000000000000000000000000000000000000000000000001"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct yaml node = text(cases[i].token);
        const char *got = litellm_per_million(&arena, &node);
        if (cases[i].million)
            assert_string_equal(got, cases[i].million);
        else
            assert_null(got);
    }
}

static void scalars_are_what_python_takes_them_for(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *json;
        bool quoted;
    } cases[] = {
        {"20_000", "20000", false},  {"True", "true", false},       {"off", "false", false},
        {"", "null", false},         {"~", "null", false},          {"", "\"\"", true},
        {"yes", "\"yes\"", true},    {"12", "\"12\"", true},        {"1e3", "1e3", false},
        {".5", "0.5", false},        {"1.2.3", "\"1.2.3\"", false}, {"_1", "\"_1\"", false},
        {"a\nb", "\"a\\nb\"", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct yaml node = text(cases[i].yaml);
        node.quoted = cases[i].quoted;
        assert_string_equal(litellm_json(&arena, &node), cases[i].json);
    }
}

static void references_to_the_environment_are_names(void **state)
{
    (void)state;
    struct yaml good = text("os.environ/OPENAI_API_KEY"), none = text("sk-1"),
                bad = text("os.environ/A B"), empty = text("os.environ/"),
                map = {.kind = YAML_MAP, .first = &bad};
    assert_string_equal(litellm_variable(&good), "OPENAI_API_KEY");
    assert_null(litellm_variable(&none));
    assert_null(litellm_variable(&bad));
    assert_null(litellm_variable(&empty));
    assert_true(litellm_has_variable(&map));
    assert_false(litellm_has_variable(&none));
}

int main(void)
{
    arena_init(&arena, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dollars_per_token_become_dollars_per_million_exactly),
        cmocka_unit_test(scalars_are_what_python_takes_them_for),
        cmocka_unit_test(references_to_the_environment_are_names),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&arena);
    return failed;
}
