#include "unit/services/metrics/test_prometheus.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/metrics/web.h"

static struct loop *loop;
static struct aggregate aggregate;
static struct http_server *server;

static int set_up(void **state)
{
    (void)state;
    struct daemon_seen who = {.role = "edge", .name = "edge-1", .version = "0.1.0", .epoch = 1};
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(aggregate_init(&aggregate, &clock_real, 100), OK);
    aggregate_up(&aggregate, &who);
    assert_int_equal(web_create(&server, loop, "127.0.0.1", 0, &aggregate), OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_server_destroy(&server);
    aggregate_reset(&aggregate);
    loop_destroy(&loop);
    return 0;
}

/* Sends one request and turns the loop until the server has closed the connection. */
static void ask(const char *request, char *out, size_t size)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(http_server_port(server))};
    size_t n = 0;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    for (unsigned turns = 0; turns < 2000; turns++) {
        assert_int_equal(loop_turn(loop, 5), OK);
        ssize_t got = read(fd, out + n, size - 1 - n);
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    out[n] = '\0';
    assert_int_equal(close(fd), 0);
    /* The server sees the end of the connection too. */
    for (unsigned turns = 0; turns < 3; turns++)
        assert_int_equal(loop_turn(loop, 1), OK);
}

static void documents_and_refusals_have_their_status_and_type(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *status, *holds;
    } cases[] = {
        {"GET", "/metrics", "HTTP/1.1 200", "tollgate_up{daemon=\"edge\",instance=\"edge-1\"} 1\n"},
        {"GET", "/metrics?x=1", "HTTP/1.1 200", "text/plain; version=0.0.4"},
        {"GET", "/status", "HTTP/1.1 200", "\"name\":\"edge-1\""},
        {"GET", "/health", "HTTP/1.1 200", "application/json"},
        {"HEAD", "/metrics", "HTTP/1.1 200", "text/plain; version=0.0.4"},
        {"GET", "/", "HTTP/1.1 404", "/metrics"},
        {"GET", "/metrics/x", "HTTP/1.1 404", "/metrics"},
        {"POST", "/metrics", "HTTP/1.1 405", "allow: GET, HEAD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[256], answer[8192];
        (void)snprintf(
            request, sizeof request,
            "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            cases[i].method, cases[i].path);
        ask(request, answer, sizeof answer);
        if (strncmp(answer, cases[i].status, strlen(cases[i].status)) != 0 ||
            !strstr(answer, cases[i].holds))
            fail_msg("%s %s: %s", cases[i].method, cases[i].path, answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(documents_and_refusals_have_their_status_and_type, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
