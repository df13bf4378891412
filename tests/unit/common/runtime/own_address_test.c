#include "common/runtime/own_address.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state)
{
    static char dir[64];
    (void)snprintf(dir, sizeof dir, "/tmp/tollgate-own-XXXXXX");
    assert_non_null(mkdtemp(dir));
    *state = dir;
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", (char *)*state);
    return system(command);
}

static int make(const char *path)
{
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    return fd;
}

static void an_ipc_path_has_name_and_boot_in_a_folder_that_others_cannot_read(void **state)
{
    char out[OWN_ADDRESS_BYTES], expected[160], folder[80];
    struct stat s;
    assert_int_equal(own_address_below(*state, "worker-1", 0xabc, out), OK);
    (void)snprintf(expected, sizeof expected, "ipc://%s/w/worker-1-0000000000000abc",
                   (char *)*state);
    assert_string_equal(out, expected);
    (void)snprintf(folder, sizeof folder, "%s/w", (char *)*state);
    assert_int_equal(stat(folder, &s), 0);
    assert_int_equal(s.st_mode & 0027, 0);
    assert_int_equal(own_address_below(*state, "worker-1", 0xabc, out), OK); /* is there already */
}

/* sockaddr_un takes 107 bytes and a 0. */
static void a_path_that_the_kernel_would_cut_is_refused(void **state)
{
    char out[OWN_ADDRESS_BYTES], name[120];
    size_t room = 107 - strlen(*state) - strlen("/w/-") - 16;
    memset(name, 'n', sizeof name);
    name[room] = '\0';
    assert_int_equal(own_address_below(*state, name, 1, out), OK);
    assert_int_equal(strlen(out), 107 + strlen("ipc://"));
    name[room] = 'n';
    name[room + 1] = '\0';
    assert_int_equal(own_address_below(*state, name, 1, out), ERR_TOO_BIG);
    assert_int_equal(own_address_below("/nowhere/at/all", "w", 1, out), ERR_IO);
}

static void what_dead_workers_left_is_swept_and_what_a_living_one_holds_stays(void **state)
{
    static const char *const left[] = {"dead-1", "dead-1.lock", "dead-2.lock"};
    static const char *const kept[] = {"alive-1", "alive-1.lock", "other"};
    char out[OWN_ADDRESS_BYTES], path[128];
    int lock = -1;
    assert_int_equal(own_address_below(*state, "w", 1, out), OK);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/w/%s", (char *)*state, left[i]);
        (void)close(make(path));
        (void)snprintf(path, sizeof path, "%s/w/%s", (char *)*state, kept[i]);
        int fd = make(path);
        if (i == 1)
            lock = fd;
        else
            (void)close(fd);
    }
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(own_address_below(*state, "w", 2, out), OK);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/w/%s", (char *)*state, left[i]);
        assert_int_equal(access(path, F_OK), -1);
        (void)snprintf(path, sizeof path, "%s/w/%s", (char *)*state, kept[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
    (void)close(lock);
}

static void an_address_is_any_only_if_it_is_none_to_connect_to(void **state)
{
    (void)state;
    assert_true(own_address_is_any("tcp://0.0.0.0:5570"));
    assert_true(own_address_is_any("tcp://[::]:5570"));
    assert_false(own_address_is_any("tcp://10.0.0.1:5570"));
    assert_false(own_address_is_any("tcp://[::1]:5570"));
    assert_false(own_address_is_any("ipc:///run/tollgate/w/x"));
    assert_false(own_address_is_any(""));
}

static void the_address_to_tell_is_the_one_on_the_way(void **state)
{
    char out[OWN_ADDRESS_BYTES];
    (void)state;
    assert_int_equal(own_address_towards("tcp://0.0.0.0:4444", "tcp://127.0.0.1:5570", out), OK);
    assert_string_equal(out, "tcp://127.0.0.1:4444");
    assert_int_equal(own_address_towards("tcp://[::]:4444", "tcp://127.0.0.1:5570", out), OK);
    assert_string_equal(out, "tcp://127.0.0.1:4444");
    if (own_address_towards("tcp://[::]:4444", "tcp://[::1]:5570", out) == OK) /* there is IPv6 */
        assert_string_equal(out, "tcp://[::1]:4444");
}

static void without_a_way_it_is_an_interfaces(void **state)
{
    static const char *const ways[] = {"ipc:///run/tollgate/broker-1", "", "tcp"};
    char out[OWN_ADDRESS_BYTES];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(own_address_towards("tcp://0.0.0.0:4444", ways[i], out), OK);
        assert_int_equal(strncmp(out, "tcp://", 6), 0);
        assert_string_equal(strrchr(out, ':'), ":4444");
        assert_false(own_address_is_any(out));
    }
    /* names are asked for elsewhere */
    assert_int_equal(own_address_towards("tcp://0.0.0.0:4444", "tcp://a.test:1", out), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        IN_FOLDER(an_ipc_path_has_name_and_boot_in_a_folder_that_others_cannot_read),
        IN_FOLDER(a_path_that_the_kernel_would_cut_is_refused),
        IN_FOLDER(what_dead_workers_left_is_swept_and_what_a_living_one_holds_stays),
        cmocka_unit_test(an_address_is_any_only_if_it_is_none_to_connect_to),
        cmocka_unit_test(the_address_to_tell_is_the_one_on_the_way),
        cmocka_unit_test(without_a_way_it_is_an_interfaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
