/* Fact 11: what msgpack-c's own reader does with five bytes that announce 268 million elements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <msgpack.h>

/* In a child that may have only `limit` bytes of address space more: a reader that reserves by the
 * announced count fails with NOMEM, one that is bounded by what is there asks for more bytes. */
static msgpack_unpack_return unpack_in_child(const char *bytes, size_t len)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {(rlim_t)4 << 30, (rlim_t)4 << 30};
        msgpack_unpacked result;
        size_t at = 0;
        (void)setrlimit(RLIMIT_AS, &limit);
        msgpack_unpacked_init(&result);
        _exit(100 + (int)msgpack_unpack_next(&result, bytes, len, &at));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return (msgpack_unpack_return)(WEXITSTATUS(status) - 100);
}

static void five_bytes_make_the_reader_reserve_gigabytes(void **state)
{
    (void)state;
    msgpack_unpack_return r = unpack_in_child("\xdd\x0f\xff\xff\xff", 5);
    printf("unpack said %d (NOMEM is %d)\n", r, MSGPACK_UNPACK_NOMEM_ERROR);
    assert_int_equal(r, MSGPACK_UNPACK_NOMEM_ERROR);
}

static void the_writer_uses_the_shortest_form(void **state)
{
    (void)state;
    msgpack_sbuffer out;
    msgpack_packer p;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&p, &out, msgpack_sbuffer_write);
    msgpack_pack_uint64(&p, 5);
    msgpack_pack_uint64(&p, 200);
    msgpack_pack_int64(&p, -5);
    msgpack_pack_str(&p, 0);
    msgpack_pack_bin(&p, 0);
    assert_int_equal(out.size, 1 + 2 + 1 + 1 + 2); /* codec_size counts on it */
    msgpack_sbuffer_destroy(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_bytes_make_the_reader_reserve_gigabytes),
        cmocka_unit_test(the_writer_uses_the_shortest_form),
    };
    printf("msgpack-c %s\n", msgpack_version());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
