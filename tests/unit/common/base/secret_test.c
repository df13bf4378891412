#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/secret.h"

static void write_file(char *path, const char *text, mode_t mode)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static void a_secret_is_its_prefix_and_text(void **state)
{
    (void)state;
    struct secret *s = NULL;
    assert_int_equal(secret_create(SPAN("x-api-key: "), SPAN("sk-1"), &s), OK);
    assert_true(span_is(secret_reveal(s), "x-api-key: sk-1"));
    assert_int_equal(secret_reveal(s).data[secret_reveal(s).len], '\0');
    secret_destroy(&s);
    assert_null(s);
    secret_destroy(&s);
    assert_int_equal(secret_reveal(NULL).len, 0);
}

static void texts_that_cannot_stand_in_a_header_are_refused(void **state)
{
    static const char *const texts[] = {"", "a\nb", "a\rb", "a\tb", "a\x7f"};
    (void)state;
    struct secret *s = NULL;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(secret_create(SPAN_NONE, span_str(texts[i]), &s), ERR_INVALID);
    assert_int_equal(secret_create(SPAN_NONE, span_of("a\0b", 3), &s), ERR_INVALID);
    char *large = calloc(1, SECRET_MAX_BYTES + 1);
    memset(large, 'x', SECRET_MAX_BYTES + 1);
    assert_int_equal(secret_create(SPAN_NONE, span_of(large, SECRET_MAX_BYTES + 1), &s),
                     ERR_TOO_BIG);
    assert_null(s);
    free(large);
}

static void a_file_only_its_owner_can_read_is_taken_without_its_line_end(void **state)
{
    (void)state;
    char path[] = "/tmp/secret_test.XXXXXX";
    struct secret *s = NULL;
    write_file(path, " sk-from-file\r\n", 0400);
    assert_int_equal(secret_from_file(path, &s), OK);
    assert_true(span_is(secret_reveal(s), "sk-from-file"));
    secret_destroy(&s);
    (void)unlink(path);
}

static void files_others_may_touch_are_refused(void **state)
{
    static const mode_t modes[] = {0440, 0404, 0644, 0420, 0402};
    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char path[] = "/tmp/secret_test.XXXXXX";
        struct secret *s = NULL;
        write_file(path, "sk", modes[i]);
        assert_int_equal(secret_from_file(path, &s), ERR_DENIED);
        assert_null(s);
        (void)unlink(path);
    }
}

static void missing_empty_and_odd_files_are_errors(void **state)
{
    (void)state;
    char path[] = "/tmp/secret_test.XXXXXX";
    struct secret *s = NULL;
    write_file(path, " \n", 0400);
    assert_int_equal(secret_from_file(path, &s), ERR_INVALID);
    (void)unlink(path);
    assert_int_equal(secret_from_file(path, &s), ERR_NOT_FOUND);
    assert_int_equal(secret_from_file("/tmp", &s), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_is_its_prefix_and_text),
        cmocka_unit_test(texts_that_cannot_stand_in_a_header_are_refused),
        cmocka_unit_test(a_file_only_its_owner_can_read_is_taken_without_its_line_end),
        cmocka_unit_test(files_others_may_touch_are_refused),
        cmocka_unit_test(missing_empty_and_odd_files_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
