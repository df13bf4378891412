/* Facts 5, 6 and 7: libmicrohttpd. What it lets through is what common/http/framing.c must refuse.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <microhttpd.h>

static struct MHD_Daemon *daemon_;
static unsigned handled;
static bool suspend;
static struct MHD_Connection *suspended;

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **con_cls)
{
    static int marker;
    (void)cls, (void)url, (void)method, (void)version, (void)data;
    if (!*con_cls) {
        *con_cls = &marker;
        return MHD_YES;
    }
    if (*size) {
        *size = 0;
        return MHD_YES;
    }
    if (suspend) {
        suspend = false;
        suspended = c;
        MHD_suspend_connection(c);
        return MHD_YES;
    }
    handled++;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(2, (void *)(uintptr_t) "ok", MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return result;
}

static void start(unsigned timeout_s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    handled = 0;
    suspended = NULL;
    daemon_ = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle,
                               NULL, MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                               MHD_OPTION_CONNECTION_TIMEOUT, timeout_s, MHD_OPTION_END);
    assert_non_null(daemon_);
}

static int dial(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    at.sin_port = htons(MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT)->port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void run_for_ms(int ms)
{
    int epoll = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    for (int i = 0; i < ms / 5; i++) {
        struct pollfd p = {epoll, POLLIN, 0};
        (void)poll(&p, 1, 5);
        (void)MHD_run(daemon_);
    }
}

/* Sends one request's bytes; was it handled? */
static bool accepts(const char *bytes)
{
    unsigned before = handled;
    int fd = dial();
    assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
    for (int i = 0; i < 40 && handled == before; i++)
        run_for_ms(10);
    (void)close(fd);
    run_for_ms(10);
    return handled > before;
}

/* Fact 5. Each of these is refused by our own check; where libmicrohttpd learns to refuse one,
 * `by_mhd` is told. */
static void ambiguous_framing_gets_through(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\n\n",
    };
    unsigned through = 0;
    start(0);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        bool accepted = accepts(requests[i]);
        printf("%s: %.60s\n", accepted ? "let through" : "refused by libmicrohttpd",
               strchr(requests[i], '\n') + 1);
        through += accepted;
    }
    MHD_stop_daemon(daemon_);
    assert_true(through >= 1); /* none left: common/http/framing.c may go */
}

/* Fact 6: the timeout is one of inactivity. */
static void a_dripping_head_outlives_the_timeout(void **state)
{
    (void)state;
    start(1);
    int fd = dial();
    static const char head[] = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 5; i++) {
        assert_int_equal(write(fd, head + i, 1), 1);
        run_for_ms(500);
    }
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT),
                     -1); /* still open, though 2.5 s have passed */
    (void)close(fd);
    MHD_stop_daemon(daemon_);
}

/* Fact 7: a suspended connection sees neither its timeout nor the client's departure. */
static void a_suspended_connection_does_not_see_its_client_leave(void **state)
{
    (void)state;
    start(1);
    suspend = true;
    int fd = dial();
    assert_int_equal(write(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27), 27);
    for (int i = 0; i < 200 && !suspended; i++)
        run_for_ms(10);
    assert_non_null(suspended);
    (void)close(fd);
    run_for_ms(1500);
    assert_int_equal(
        MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections, 1);
    MHD_resume_connection(suspended);
    run_for_ms(200);
    MHD_stop_daemon(daemon_);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ambiguous_framing_gets_through),
        cmocka_unit_test(a_dripping_head_outlives_the_timeout),
        cmocka_unit_test(a_suspended_connection_does_not_see_its_client_leave),
    };
    printf("libmicrohttpd %s\n", MHD_get_version());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
