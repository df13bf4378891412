#include "proto/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void every_api_is_told_by_its_row(void **state)
{
    (void)state;
    for (unsigned api = 1; api < API_COUNT; api++) {
        const struct api_info *info = api_info(api);
        assert_true(*info->name);
        assert_int_equal(info->family == API_FAMILY_ANTHROPIC, strncmp(info->name, "ANTH", 4) == 0);
        assert_int_equal(info->generates, API_GENERATING >> api & 1);
        assert_int_equal(info->generates, *info->cap != 0);
        assert_true(info->streams || !api_streams_chunks((enum api)api));
    }
    assert_true(api_is_anthropic(API_ANTHROPIC_COUNT_TOKENS));
    assert_true(api_info(API_OPENAI_RESPONSES)->stored);
    assert_true(api_streams_chunks(API_OPENAI_COMPLETIONS));
    assert_false(api_streams_chunks(API_OPENAI_EMBEDDINGS));
}

static void an_unknown_api_does_nothing(void **state)
{
    (void)state;
    const unsigned unknown[] = {0, API_COUNT, API_COUNT + 7};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        const struct api_info *info = api_info(unknown[i]);
        assert_false(info->generates || info->streams || info->stored || *info->cap);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_api_is_told_by_its_row),
        cmocka_unit_test(an_unknown_api_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
