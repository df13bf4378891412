#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/runtime/own_dir.h"

struct place {
    char base[64], dir[128];
};

static int setup(void **state)
{
    static struct place p;
    (void)snprintf(p.base, sizeof p.base, "/tmp/tollgate-dir-XXXXXX");
    assert_non_null(mkdtemp(p.base));
    (void)snprintf(p.dir, sizeof p.dir, "%s/deep/own", p.base);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    const struct place *p = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", p->base);
    return system(command); /* NOLINT: a path of our own */
}

static mode_t mode_of(const char *path)
{
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return s.st_mode & 07777;
}

static void one_that_is_not_there_is_made_for_us_alone(void **state)
{
    const struct place *p = *state;
    const char *why;
    assert_int_equal(own_dir(p->dir, OWN_DIR_STATE, &why), OK);
    assert_int_equal(mode_of(p->dir), 0700);
    assert_int_equal(rmdir(p->dir), 0);
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), OK);
    assert_int_equal(mode_of(p->dir) & 07, 0);
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), OK); /* and is taken again */
}

static void a_symbolic_link_is_not_followed(void **state)
{
    const struct place *p = *state;
    char link[160], slash[164];
    const char *why;
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), OK);
    (void)snprintf(link, sizeof link, "%s/link", p->base);
    (void)snprintf(slash, sizeof slash, "%s/", link);
    assert_int_equal(symlink(p->dir, link), 0);
    assert_int_equal(own_dir(link, OWN_DIR_RUN, &why), ERR_DENIED);
    assert_string_equal(why, "it is a symbolic link");
    assert_int_equal(own_dir(slash, OWN_DIR_RUN, &why), ERR_DENIED);
}

static void one_that_others_may_write_to_is_refused(void **state)
{
    const struct place *p = *state;
    const char *why;
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), OK);
    assert_int_equal(chmod(p->dir, 0777), 0);
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), ERR_DENIED);
    assert_string_equal(why, "everybody may write there");
    assert_int_equal(chmod(p->dir, 0770), 0);
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), OK); /* daemons of one group */
    assert_int_equal(own_dir(p->dir, OWN_DIR_STATE, &why), ERR_DENIED);
    assert_string_equal(why, "others than its owner may write there");
}

static void a_file_is_refused(void **state)
{
    const struct place *p = *state;
    char file[128];
    const char *why;
    (void)snprintf(file, sizeof file, "%s/file", p->base);
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    (void)fclose(f);
    assert_int_equal(own_dir(file, OWN_DIR_RUN, &why), ERR_DENIED);
    assert_string_equal(why, "it is no directory");
}

/* Only root can give a directory away. */
static void another_users_is_refused(void **state)
{
    const struct place *p = *state;
    const char *why;
    if (geteuid() != 0)
        skip();
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), OK);
    assert_int_equal(chown(p->dir, 12345, 12345), 0);
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), ERR_DENIED);
    assert_string_equal(why, "it belongs to another user");
}

/* A container's own tmpfs: root's, sticky, writable for whoever the daemon runs as. */
static void roots_sticky_one_will_do_for_sockets(void **state)
{
    const struct place *p = *state;
    const char *why;
    if (geteuid() != 0)
        skip();
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), OK);
    assert_int_equal(chmod(p->dir, 01777), 0);
    assert_int_equal(own_dir(p->dir, OWN_DIR_RUN, &why), OK);
    assert_int_equal(own_dir(p->dir, OWN_DIR_STATE, &why), ERR_DENIED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_is_not_there_is_made_for_us_alone),
        TEST(a_symbolic_link_is_not_followed),
        TEST(one_that_others_may_write_to_is_refused),
        TEST(a_file_is_refused),
        TEST(another_users_is_refused),
        TEST(roots_sticky_one_will_do_for_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
