#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/model_file.h"

static enum err load(const char *text, struct model_file *out)
{
    char path[] = "/tmp/tollgate-models-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    enum err e = model_file_load(path, out);
    (void)unlink(path);
    return e;
}

static const char table[] =
    "{\"models\":["
    "{\"match\":\"\",\"provider\":\"openai\",\"price\":{\"input\":1}},"
    "{\"match\":\"gpt-4\",\"provider\":\"openai\",\"price\":{\"input\":30,\"output\":60}},"
    "{\"match\":\"gpt-4o\",\"provider\":\"openai\",\"price\":{\"input\":2.5}},"
    "{\"match\":\"gpt-5.\",\"provider\":\"openai\",\"price\":{\"input\":0.0005}},"
    "{\"match\":\"gpt-4\",\"provider\":\"other\",\"price\":{\"input\":9}}]}";

static void the_longest_match_at_a_words_end_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *model;
        uint64_t nano; /* UINT64_MAX: no row */
    } cases[] = {{"openai", "gpt-4", 30000},     {"openai", "gpt-4-turbo", 30000},
                 {"openai", "gpt-4o", 2500},     {"openai", "gpt-4o-mini", 2500},
                 {"openai", "gpt-4oh", 1000},    {"openai", "gpt-5.1", 1},
                 {"openai", "", 1000},           {"openai", "o1", 1000},
                 {"other", "gpt-4@2", 9000},     {"other", "gpt-4o", UINT64_MAX},
                 {"nobody", "gpt-4", UINT64_MAX}};
    struct model_file f;
    assert_int_equal(load(table, &f), OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t nano = UINT64_MAX;
        struct json row = model_file_find(&f, cases[i].provider, span_str(cases[i].model));
        assert_int_equal(model_row_price_nano(row, "input", &nano), cases[i].nano != UINT64_MAX);
        assert_int_equal(nano, cases[i].nano);
    }
    model_file_free(&f);
}

static void what_is_no_table_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "[]", "{}", "{\"models\":{}}", "{\"models\":7}"};
    struct model_file f;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(load(texts[i], &f), ERR_INVALID);
    assert_int_equal(model_file_load("/no/such/file", &f), ERR_NOT_FOUND);
}

static void bad_rows_and_prices_are_no_price(void **state)
{
    (void)state;
    struct model_file f;
    uint64_t nano = 5;
    assert_int_equal(load("{\"models\":[7,null,{\"match\":7},{\"match\":\"a\",\"provider\":\"p\","
                          "\"price\":{\"input\":-1,"
                          "\"output\":\"x\",\"cached\":1e300}}]}",
                          &f),
                     OK);
    struct json row = model_file_find(&f, "p", SPAN("a"));
    assert_false(model_row_price_nano(row, "input", &nano));
    assert_false(model_row_price_nano(row, "output", &nano));
    assert_false(model_row_price_nano(row, "cached", &nano));
    assert_false(model_row_price_nano(row, "missing", &nano));
    assert_int_equal(nano, 5);
    model_file_free(&f);
}

static void the_environment_says_where_it_is(void **state)
{
    (void)state;
    struct buf path = {0};
    assert_int_equal(setenv("TOLLGATE_SHARE", SOURCE_DIR "/share", 1), 0);
    assert_int_equal(model_file_path(&path), OK);
    assert_string_equal(path.data, SOURCE_DIR "/share/models.json");
    assert_int_equal(setenv("TOLLGATE_SHARE", "/no/such/folder", 1), 0);
    assert_int_equal(model_file_path(&path), ERR_NOT_FOUND);
    buf_free(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_match_at_a_words_end_is_found),
        cmocka_unit_test(what_is_no_table_is_refused),
        cmocka_unit_test(bad_rows_and_prices_are_no_price),
        cmocka_unit_test(the_environment_says_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
