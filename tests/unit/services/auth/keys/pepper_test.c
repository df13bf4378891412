#include "unit/services/auth/test_support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log.h"
#include "services/auth/keys/pepper.h"

static void it_is_made_once_and_read_ever_after(void **state)
{
    char folder[64], path[128];
    uint8_t first[PEPPER_BYTES], second[PEPPER_BYTES], zero[PEPPER_BYTES] = {0};
    struct stat st;
    (void)state;
    test_folder(folder);
    (void)snprintf(path, sizeof path, "%s/pepper", folder);
    assert_int_equal(pepper_load(path, first), OK);
    assert_int_equal(pepper_load(path, second), OK);
    assert_memory_equal(first, second, PEPPER_BYTES);
    assert_memory_not_equal(first, zero, PEPPER_BYTES);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    test_folder_remove(folder);
}

static void a_file_that_others_may_read_or_of_another_length_is_refused(void **state)
{
    char folder[64], path[128];
    uint8_t out[PEPPER_BYTES];
    (void)state;
    test_folder(folder);
    (void)snprintf(path, sizeof path, "%s/pepper", folder);
    log_set_fd(-1);
    assert_int_equal(pepper_load(path, out), OK);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(pepper_load(path, out), ERR_DENIED);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 31), 0);
    assert_int_equal(pepper_load(path, out), ERR_INVALID);
    (void)snprintf(path, sizeof path, "%s/no/such/folder/pepper", folder);
    assert_int_equal(pepper_load(path, out), ERR_IO);
    log_set_fd(2);
    test_folder_remove(folder);
}

static void the_check_tells_peppers_apart(void **state)
{
    const uint8_t one[PEPPER_BYTES] = {1}, two[PEPPER_BYTES] = {2};
    uint8_t a[SHA256_BYTES], b[SHA256_BYTES], c[SHA256_BYTES];
    (void)state;
    pepper_check(one, a);
    pepper_check(one, b);
    pepper_check(two, c);
    assert_memory_equal(a, b, SHA256_BYTES);
    assert_memory_not_equal(a, c, SHA256_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_once_and_read_ever_after),
        cmocka_unit_test(a_file_that_others_may_read_or_of_another_length_is_refused),
        cmocka_unit_test(the_check_tells_peppers_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
