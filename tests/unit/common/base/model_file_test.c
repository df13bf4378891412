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

static double dollars(struct json row)
{
    double v = -1;
    (void)json_double(json_get(json_get(row, "price"), "input"), &v);
    return v;
}

static void the_longest_match_at_a_words_end_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *provider, *protocol, *model;
        double dollars; /* < 0: no row */
    } cases[] = {{"openai", "openai", "gpt-4", 30},
                 {"openai", "openai", "gpt-4-turbo", 30},
                 {"openai", "openai", "gpt-4o", 2.5},
                 {"openai", "openai", "gpt-4o-mini", 2.5},
                 {"openai", "openai", "gpt-4oh", 1},
                 {"openai", "openai", "gpt-5.1", 0.0005},
                 {"openai", "openai", "", 1},
                 {"openai", "openai", "o1", 1},
                 {"other", "openai", "gpt-4@2", 9},
                 {"other", "openai", "gpt-4o", 2.5}, /* not one of its own: as its protocol's */
                 {"other", "other", "gpt-4o", -1},
                 {"nobody", "no-protocol", "gpt-4", -1}};
    struct model_file f;
    assert_int_equal(load(table, &f), OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json row =
            model_file_find(&f, cases[i].provider, cases[i].protocol, span_str(cases[i].model));
        assert_true(dollars(row) == cases[i].dollars);
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

static void rows_that_are_none_are_passed_over(void **state)
{
    (void)state;
    struct model_file f;
    assert_int_equal(load("{\"models\":[7,null,{\"match\":7},{\"match\":\"a\",\"provider\":\"p\","
                          "\"price\":{\"input\":5}}]}",
                          &f),
                     OK);
    assert_true(dollars(model_file_find(&f, "p", "p", SPAN("a"))) == 5);
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
        cmocka_unit_test(rows_that_are_none_are_passed_over),
        cmocka_unit_test(the_environment_says_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
