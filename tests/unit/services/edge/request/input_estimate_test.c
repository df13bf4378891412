#include "services/edge/request/input_estimate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"

/* Before, n times `fill`, behind. */
static uint64_t estimate(const char *before, size_t n, char fill, const char *behind)
{
    struct json_doc doc = {0};
    struct buf text = {0};
    buf_append_str(&text, before);
    for (size_t i = 0; i < n; i++)
        buf_append_char(&text, fill);
    buf_append_str(&text, behind);
    assert_int_equal(json_parse(&doc, buf_span(&text), JSON_DEPTH_CLIENT), OK);
    uint64_t tokens = input_estimate(&doc);
    json_doc_free(&doc);
    buf_free(&text);
    return tokens;
}

static void text_counts_by_its_bytes_and_numbers_as_tokens(void **state)
{
    (void)state;
    assert_in_range(
        estimate("{\"messages\":[{\"role\":\"user\",\"content\":\"0123456789012345\"}]}", 0, 0, ""),
        4, 14);
    assert_in_range(estimate("{\"input\":[1,2,3,4,5,6,7,8,9,10]}", 0, 0, ""), 10, 14);
    assert_int_equal(estimate("{}", 0, 0, ""), 1);
}

static void pictures_count_where_the_apis_have_them(void **state)
{
    static const struct {
        const char *before, *behind;
    } cases[] = {
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what\"},{"
         "\"type\":"
         "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,",
         "\"}}]}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":\"data:image/"
         "jpeg;base64,",
         "\"}]}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_"
         "type\":"
         "\"image/png\",\"data\":\"",
         "\"}}]}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"tool_result\",\"content\":[{\"type\":\"image\","
         "\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"",
         "\"}}]}]}]}"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":"
         "\"data:image/png;base64,",
         "\"}]}]}"},
        {"{\"input\":[{\"type\":\"computer_call_output\",\"output\":{\"type\":\"computer_"
         "screenshot\","
         "\"image_url\":\"data:image/png;base64,",
         "\"}}]}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_in_range(estimate(cases[i].before, 200000, 'A', cases[i].behind), PICTURE_TOKENS,
                        PICTURE_TOKENS + 100);
}

static void documents_and_sound_cost_by_their_size(void **state)
{
    static const struct {
        const char *before, *behind;
    } cases[] = {
        {"{\"messages\":[{\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"base64\","
         "\"media_type\":\"application/pdf\",\"data\":\"",
         "\"}}]}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":{\"file_data\":"
         "\"data:application/pdf;base64,",
         "\"}}]}]}"},
        {"{\"input\":[{\"content\":[{\"type\":\"input_file\",\"file_data\":"
         "\"data:application/pdf;base64,",
         "\"}]}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"input_audio\",\"input_audio\":{\"format\":"
         "\"wav\","
         "\"data\":\"",
         "\"}}]}]}"},
    };
    enum { BYTES = 320000 };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_in_range(estimate(cases[i].before, BYTES, 'A', cases[i].behind),
                        BYTES / FILE_BYTES_PER_TOKEN, BYTES / FILE_BYTES_PER_TOKEN + 100);
}

static void what_only_looks_like_a_picture_is_text(void **state)
{
    static const struct {
        const char *before;
        char fill;
        const char *behind;
    } cases[] = {
        {"{\"messages\":[{\"content\":\"", 'A', "\"}]}"}, /* no blank in it */
        {"{\"messages\":[{\"content\":\"data:image/png;base64,", 'A', "\"}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"data:image/png;base64,", 'A',
         "\"}]}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
         "\"data:image/png;base64,",
         ' ', "\"}}]}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/",
         'A', "\"}}]}]}"},
        {"{\"messages\":[{\"content\":[{\"type\":\"tool_use\",\"input\":{\"type\":\"image_url\","
         "\"image_url\":{\"url\":\"data:image/png;base64,",
         'A', "\"}}}]}]}"},
        {"{\"tools\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
         "\"data:image/png;base64,",
         'A', "\"}}]}]}"},
        {"{\"url\":\"data:image/png;base64,", 'A', "\"}"},
    };
    enum { BYTES = 1000000 };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true(estimate(cases[i].before, BYTES, cases[i].fill, cases[i].behind) >=
                    BYTES / TEXT_BYTES_PER_TOKEN);
}

static void a_member_given_twice_gains_nothing(void **state)
{
    (void)state;
    assert_true(estimate("{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"type\":\"text\","
                         "\"image_url\":{\"url\":\"x\"},\"text\":\"",
                         100000, 'A', "\"}]}]}") >= 100000 / TEXT_BYTES_PER_TOKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_counts_by_its_bytes_and_numbers_as_tokens),
        cmocka_unit_test(pictures_count_where_the_apis_have_them),
        cmocka_unit_test(documents_and_sound_cost_by_their_size),
        cmocka_unit_test(what_only_looks_like_a_picture_is_text),
        cmocka_unit_test(a_member_given_twice_gains_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
