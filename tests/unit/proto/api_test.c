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

static void ids_of_responses_are_plain_words(void **state)
{
    char longest[257];
    (void)state;
    memset(longest, 'a', sizeof longest);
    assert_true(api_response_id_is_sane(SPAN("resp_68abc-DEF_0")));
    assert_true(api_response_id_is_sane(span_of(longest, 256)));
    assert_false(api_response_id_is_sane(span_of(longest, 257)));
    assert_false(api_response_id_is_sane(SPAN("")));
    assert_false(api_response_id_is_sane(SPAN("..")));
    assert_false(api_response_id_is_sane(SPAN("a%2Fb")));
    assert_false(api_response_id_is_sane(SPAN("a b")));
}

static void a_path_is_made_of_the_table_an_id_and_a_query(void **state)
{
    (void)state;
    static const struct {
        unsigned operation, api;
        const char *id, *query, *path;
    } cases[] = {
        {OPERATION_CHAT, API_OPENAI_CHAT, "", "", "/chat/completions"},
        {OPERATION_CHAT, API_OPENAI_CHAT, "resp_1", "", "/chat/completions"},
        {OPERATION_MESSAGE, API_ANTHROPIC_MESSAGES, "", "beta=true", "/messages?beta=true"},
        {OPERATION_RESPONSE_READ, API_OPENAI_RESPONSES, "resp_1", "stream=true&x=/../y",
         "/responses/resp_1?stream=true&x=/../y"},
        {OPERATION_RESPONSE_CANCEL, API_OPENAI_RESPONSES, "resp-2", "", "/responses/resp-2/cancel"},
        {0, API_OPENAI_CHAT, "", "", NULL},
        {OPERATION_COUNT, API_OPENAI_CHAT, "", "", NULL},
        {OPERATION_CHAT, API_OPENAI_RESPONSES, "", "", NULL},
        {OPERATION_RESPONSE_READ, API_OPENAI_RESPONSES, "", "", NULL},
        {OPERATION_RESPONSE_READ, API_OPENAI_RESPONSES, "../files", "", NULL},
        {OPERATION_RESPONSE_DELETE, API_OPENAI_RESPONSES, "..", "", NULL},
        {OPERATION_RESPONSE_DELETE, API_OPENAI_RESPONSES, "a%2e", "", NULL},
        {OPERATION_RESPONSE_READ, API_OPENAI_RESPONSES, "resp_1?x", "", NULL},
        {OPERATION_CHAT, API_OPENAI_CHAT, "", "a b", NULL},
        {OPERATION_CHAT, API_OPENAI_CHAT, "", "a\r\nHost: x", NULL},
        {OPERATION_CHAT, API_OPENAI_CHAT, "", "a#b", NULL},
        {OPERATION_CHAT, API_OPENAI_CHAT, "", "a\x7f", NULL},
        {OPERATION_CHAT, API_OPENAI_CHAT, "", "a\xc3\xa9", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[API_PATH_BYTES];
        struct span path;
        enum err e = api_upstream_path(cases[i].operation, cases[i].api, span_str(cases[i].id),
                                       span_str(cases[i].query), text, &path);
        assert_int_equal(e, cases[i].path ? OK : ERR_INVALID);
        if (cases[i].path && !span_is(path, cases[i].path))
            fail_msg("case %zu: %.*s", i, SPAN_ARG(path));
    }
}

static void a_query_has_a_bound(void **state)
{
    (void)state;
    char query[API_PATH_BYTES], text[API_PATH_BYTES];
    struct span path;
    memset(query, 'x', sizeof query);
    size_t most = API_PATH_BYTES - sizeof "/embeddings?";
    assert_int_equal(api_upstream_path(OPERATION_EMBEDDINGS, API_OPENAI_EMBEDDINGS, SPAN_NONE,
                                       span_of(query, most), text, &path),
                     OK);
    assert_int_equal(path.len, API_PATH_BYTES - 1);
    assert_int_equal(api_upstream_path(OPERATION_EMBEDDINGS, API_OPENAI_EMBEDDINGS, SPAN_NONE,
                                       span_of(query, most + 1), text, &path),
                     ERR_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_api_is_told_by_its_row),
        cmocka_unit_test(an_unknown_api_does_nothing),
        cmocka_unit_test(ids_of_responses_are_plain_words),
        cmocka_unit_test(a_path_is_made_of_the_table_an_id_and_a_query),
        cmocka_unit_test(a_query_has_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
