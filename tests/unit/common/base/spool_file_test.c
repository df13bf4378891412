#include "common/base/spool_file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"

struct place {
    char dir[64];
};

static int setup(void **state)
{
    static struct place p;
    (void)snprintf(p.dir, sizeof p.dir, "/tmp/tollgate-spool-XXXXXX");
    assert_non_null(mkdtemp(p.dir));
    log_setup(LEVEL_ERROR, LINES_TEXT, "test", "test");
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    const struct place *p = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", p->dir);
    return system(command); /* NOLINT: a path of our own */
}

static void path_of(const struct place *p, const char *name, char out[192])
{
    (void)snprintf(out, 192, "%s/%s", p->dir, name);
}

static void leave(const struct place *p, const char *owner, uint64_t number, unsigned records)
{
    struct spool_writer *w;
    char text[32];
    assert_int_equal(spool_writer_open(&w, p->dir, owner, number), OK);
    for (unsigned i = 0; i < records; i++) {
        (void)snprintf(text, sizeof text, "record %u", i);
        assert_int_equal(spool_writer_add(w, span_str(text)), OK);
    }
    assert_int_equal(spool_writer_finish(&w), OK);
    assert_null(w);
}

/* How many whole records there are before the end, or before what can't be read. */
static unsigned count(struct spool_reader *r, enum err *end_out)
{
    unsigned n = 0;
    char text[32];
    struct span record;
    while ((*end_out = spool_reader_next(r, &record)) == OK) {
        (void)snprintf(text, sizeof text, "record %u", n++);
        assert_true(span_is(record, text));
    }
    return n;
}

static bool is_there(const struct place *p, const char *name)
{
    char path[192];
    struct stat s;
    path_of(p, name, path);
    return lstat(path, &s) == 0;
}

#define FILE_1 "edge-0000000000000001.spool"

static void what_was_written_is_read_once_and_goes(void **state)
{
    const struct place *p = *state;
    struct spool_reader *r, *other;
    enum err end;
    leave(p, "edge", 1, 3);
    assert_int_equal(spool_reader_open(&r, p->dir, "edge"), OK);
    assert_int_equal(count(r, &end), 3);
    assert_int_equal(end, ERR_NOT_FOUND);
    assert_int_equal(spool_reader_open(&other, p->dir, "edge"), ERR_NOT_FOUND); /* it is claimed */
    spool_reader_remove(&r);
    assert_null(r);
    assert_false(is_there(p, FILE_1));
}

static void one_that_is_closed_waits_for_the_next(void **state)
{
    const struct place *p = *state;
    struct spool_reader *r;
    enum err end;
    leave(p, "edge", 1, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(spool_reader_open(&r, p->dir, "edge"), OK);
        assert_int_equal(count(r, &end), 2);
        spool_reader_close(&r);
    }
    assert_true(is_there(p, FILE_1));
}

static void a_reader_that_dies_gives_up_its_claim(void **state)
{
    const struct place *p = *state;
    struct spool_reader *r;
    int status;
    leave(p, "edge", 1, 2);
    pid_t child = fork();
    if (child == 0)
        _exit(spool_reader_open(&r, p->dir, "edge") == OK ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(spool_reader_open(&r, p->dir, "edge"), OK);
    spool_reader_close(&r);
}

static void each_owner_has_files_of_its_own(void **state)
{
    const struct place *p = *state;
    struct spool_reader *a, *b, *none;
    leave(p, "worker-a", 1, 1);
    leave(p, "worker-a-b", 1, 1);
    leave(p, "worker-a", 2, 1);
    assert_int_equal(spool_reader_open(&none, p->dir, "worker"), ERR_NOT_FOUND);
    assert_int_equal(spool_reader_open(&a, p->dir, "worker-a"), OK);
    assert_int_equal(spool_reader_open(&b, p->dir, "worker-a"), OK); /* the other file */
    assert_int_equal(spool_reader_open(&none, p->dir, "worker-a"), ERR_NOT_FOUND);
    spool_reader_remove(&a);
    spool_reader_remove(&b);
    assert_true(is_there(p, "worker-a-b-0000000000000001.spool"));
}

static void nothing_to_write_leaves_no_file(void **state)
{
    const struct place *p = *state;
    leave(p, "edge", 1, 0);
    assert_int_equal(rmdir(p->dir), 0);
}

/* Every way in which a file may have been torn, or changed: nothing is read that was not written,
 * and nothing behind the damage. */
static void a_torn_or_changed_file_gives_what_is_whole(void **state)
{
    const struct place *p = *state;
    char path[192], bytes[256];
    struct spool_reader *r;
    enum err end;
    leave(p, "edge", 1, 3);
    path_of(p, FILE_1, path);
    FILE *f = fopen(path, "r");
    size_t size = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f);
    size_t each = (size - 8) / 3;
    for (size_t at = 0; at < size; at++) {
        for (int torn = 0; torn < 2; torn++) {
            char saved = bytes[at];
            f = fopen(path, "w");
            bytes[at] = (char)(torn ? saved : saved ^ 0x21);
            assert_int_equal(fwrite(bytes, 1, torn ? at : size, f), torn ? at : size);
            (void)fclose(f);
            bytes[at] = saved;
            enum err e = spool_reader_open(&r, p->dir, "edge");
            if (e) { /* another version's */
                assert_int_equal(at, 7);
                continue;
            }
            assert_int_equal(count(r, &end), at < 8 ? 0 : (at - 8) / each);
            bool boundary = torn && at >= 8 && (at - 8) % each == 0;
            assert_int_equal(end, boundary ? ERR_NOT_FOUND : ERR_INVALID);
            spool_reader_remove(&r);
            assert_int_equal(is_there(p, "edge.broken"), !boundary);
            if (!boundary) {
                char aside[192];
                path_of(p, "edge.broken", aside);
                assert_int_equal(unlink(aside), 0);
            }
        }
    }
}

static void what_is_no_file_of_ours_alone_is_passed_over(void **state)
{
    const struct place *p = *state;
    char path[192], elsewhere[192];
    struct spool_reader *r;
    path_of(p, FILE_1, path);
    path_of(p, "elsewhere", elsewhere);
    leave(p, "edge", 2, 1);
    assert_int_equal(spool_reader_open(&r, p->dir, "edge"), OK);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    struct spool_reader *none;
    assert_int_equal(spool_reader_open(&none, p->dir, "edge"), ERR_NOT_FOUND);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(spool_reader_open(&none, p->dir, "edge"), ERR_NOT_FOUND);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(spool_reader_open(&none, p->dir, "edge"), ERR_NOT_FOUND);
    assert_int_equal(rmdir(path), 0);
    spool_reader_close(&r);
    path_of(p, "edge-0000000000000002.spool", path);
    assert_int_equal(chmod(path, 0620), 0);
    assert_int_equal(spool_reader_open(&none, p->dir, "edge"), ERR_NOT_FOUND);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(link(path, elsewhere), 0);
    assert_int_equal(spool_reader_open(&none, p->dir, "edge"), ERR_NOT_FOUND);
    if (geteuid() == 0) {
        assert_int_equal(unlink(elsewhere), 0);
        assert_int_equal(chown(path, 65534, 65534), 0);
        assert_int_equal(spool_reader_open(&none, p->dir, "edge"), ERR_NOT_FOUND);
    }
    assert_true(is_there(p, "edge-0000000000000002.spool"));
}

static void what_a_killed_writer_left_goes_with_the_next(void **state)
{
    const struct place *p = *state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct spool_writer *w;
        _exit(spool_writer_open(&w, p->dir, "edge", 7) == OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(is_there(p, "edge-0000000000000007.part"));
    struct spool_writer *running;
    assert_int_equal(spool_writer_open(&running, p->dir, "edge", 8), OK);
    leave(p, "edge", 1, 1);
    assert_false(is_there(p, "edge-0000000000000007.part"));
    assert_true(is_there(p, "edge-0000000000000008.part")); /* one that lives */
    assert_int_equal(spool_writer_finish(&running), OK);
}

static void files_and_records_are_bounded(void **state)
{
    const struct place *p = *state;
    struct spool_writer *w;
    static char large[SPOOL_RECORD_MAX + 1];
    for (unsigned i = 0; i < SPOOL_FILES_MAX; i++)
        leave(p, "edge", i, 1);
    assert_int_equal(spool_writer_open(&w, p->dir, "edge", 999), ERR_TOO_BIG);
    assert_int_equal(spool_writer_open(&w, p->dir, "worker-a", 999), OK);
    assert_int_equal(spool_writer_add(w, span_of(large, sizeof large)), ERR_TOO_BIG);
    assert_int_equal(spool_writer_add(w, span_of(large, sizeof large - 1)), OK);
    assert_int_equal(spool_writer_finish(&w), OK);
}

/* A limit of the file's size fails a write in the middle as a full disk does. */
static void a_full_disk_keeps_what_was_written(void **state)
{
    const struct place *p = *state;
    struct spool_writer *w;
    static char large[SPOOL_RECORD_MAX];
    struct rlimit before, small;
    unsigned added = 0, read = 0;
    enum err e;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4 * SPOOL_RECORD_MAX;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(spool_writer_open(&w, p->dir, "edge", 1), OK);
    while ((e = spool_writer_add(w, span_of(large, sizeof large))) == OK)
        added++;
    assert_int_equal(e, ERR_IO);
    assert_int_equal(spool_writer_finish(&w), OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    struct spool_reader *r;
    struct span record;
    assert_int_equal(spool_reader_open(&r, p->dir, "edge"), OK);
    while ((e = spool_reader_next(r, &record)) == OK)
        read++;
    assert_int_equal(e, ERR_NOT_FOUND);
    assert_int_equal(read, added);
    spool_reader_close(&r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_read_once_and_goes),
        TEST(one_that_is_closed_waits_for_the_next),
        TEST(a_reader_that_dies_gives_up_its_claim),
        TEST(each_owner_has_files_of_its_own),
        cmocka_unit_test_setup(nothing_to_write_leaves_no_file, setup),
        TEST(a_torn_or_changed_file_gives_what_is_whole),
        TEST(what_is_no_file_of_ours_alone_is_passed_over),
        TEST(what_a_killed_writer_left_goes_with_the_next),
        TEST(files_and_records_are_bounded),
        TEST(a_full_disk_keeps_what_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
