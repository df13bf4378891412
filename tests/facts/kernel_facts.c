/* Fact 8: what a reader that does not read makes its sender's kernel hold, and how SO_SNDBUF bounds
 * it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* Bytes that go into a connection whose other end never reads. */
static size_t swallowed(int send_buffer)
{
    static const char block[65536];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(connect(client, (const struct sockaddr *)&at, sizeof at), 0);
    int server = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (send_buffer)
        assert_int_equal(
            setsockopt(server, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer), 0);
    size_t total = 0;
    for (ssize_t n; (n = write(server, block, sizeof block)) > 0;)
        total += (size_t)n;
    assert_int_equal(errno, EAGAIN);
    (void)close(server);
    (void)close(client);
    (void)close(listener);
    return total;
}

static void a_small_send_buffer_bounds_what_a_slow_reader_holds(void **state)
{
    (void)state;
    size_t automatic = swallowed(0), bounded = swallowed(64 * 1024);
    printf("taken before back-pressure: %zu by default, %zu with SO_SNDBUF 64 KiB\n", automatic,
           bounded);
    assert_true(automatic > 1024 * 1024);
    assert_true(bounded < automatic / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_send_buffer_bounds_what_a_slow_reader_holds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
