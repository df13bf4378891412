#include "unit/common/fetch/test_upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

void test_server_open(struct test_server *s, struct loop *loop)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    s->loop = loop;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->listener, 512), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &len), 0);
    s->port = ntohs(a.sin_port);
}

void test_server_close(struct test_server *s)
{
    (void)close(s->listener);
    s->listener = -1;
}

void test_turn(const struct test_server *s)
{
    assert_int_equal(loop_turn(s->loop, 5), OK);
}

int test_accept(const struct test_server *s)
{
    for (int i = 0; i < TEST_PATIENCE; i++) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            return fd;
        test_turn(s);
    }
    fail_msg("no connection came");
    return -1;
}

bool test_nobody_asks(const struct test_server *s)
{
    bool asked = false;
    for (int i = 0; i < 10; i++) {
        char c;
        test_turn(s);
        int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        test_turn(s);
        asked = recv(fd, &c, 1, 0) > 0 || asked;
        (void)close(fd);
    }
    return !asked;
}

void test_read_until(const struct test_server *s, int fd, struct buf *text, const char *until)
{
    for (int i = 0; i < TEST_PATIENCE; i++) {
        char *at = buf_reserve(text, 4096);
        ssize_t n = recv(fd, at, 4096, 0);
        if (n > 0)
            text->len += (size_t)n;
        if (span_find_span(buf_span(text), span_str(until)) < text->len)
            return;
        if (n == 0)
            break;
        test_turn(s);
    }
    fail_msg("%s did not come: %.*s", until, (int)text->len, text->data);
}

bool test_hung_up(const struct test_server *s, int fd)
{
    char c[512];
    for (int i = 0; i < TEST_PATIENCE; i++) {
        ssize_t n = recv(fd, c, sizeof c, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return true;
        test_turn(s);
    }
    return false;
}

void test_answer(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}
