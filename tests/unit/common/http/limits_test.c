#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/runtime/listening.h"
#include "unit/common/http/test_server.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void a_head_has_a_total_deadline_however_it_drips(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.header_timeout_ms = 10000;
    test_server_start(&t, &config);
    struct buf got = {0};
    int silent = client_open(&t), drips = client_open(&t);
    client_send_str(&t, drips, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    for (int i = 0; i < 13; i++) {
        client_send_str(&t, drips, "x");
        test_pass(&t, 700);
        assert_false(client_read(drips, &got));
    }
    test_pass(&t, 2000);
    client_expect_close(&t, drips, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 408 "), 1);
    assert_int_equal(t.refused_status, 408);
    buf_clear(&got);
    client_expect_close(&t, silent, &got);
    assert_int_equal(got.len, 0);
    assert_int_equal(t.requests, 0);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 0);
    close(silent);
    close(drips);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_body_has_a_total_deadline_however_it_drips(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.body_timeout_ms = 5000;
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
    test_turns(&t, 3);
    for (int i = 0; i < 6; i++) {
        client_send_str(&t, fd, "x");
        test_pass(&t, 700);
        assert_false(client_read(fd, &got));
    }
    test_pass(&t, 1000);
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 408 "), 1);
    assert_int_equal(t.requests, 0);
    TURN_UNTIL(&t, t.done == 1);
    assert_int_equal(http_server_stats(t.http).body_bytes, 0);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void an_idle_connection_is_closed(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.idle_timeout_ms = 75000;
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    client_expect(&t, fd, &got, "GET / 0");
    test_pass(&t, 74000);
    assert_false(client_read(fd, &got));
    test_pass(&t, 2000);
    client_expect_close(&t, fd, &got);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_client_that_takes_nothing_is_cut(void **state)
{
    (void)state;
    struct test_server t = {.mode = STREAM_NOW};
    struct http_config config = test_config();
    config.send_timeout_ms = 60000;
    config.send_buffer_bytes = 16 << 10;
    test_server_start(&t, &config);
    int fd = client_open(&t);
    const int little = 4096; /* and it does not grow */
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    client_send_str(&t, fd, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);
    static char block[1 << 20];
    for (int i = 0; i < 7; i++) {
        assert_int_equal(http_stream_write(t.kept[0], span_of(block, sizeof block)), OK);
        test_turns(&t, 2);
    }
    unsigned seconds = 0;
    for (; seconds < 200 && !t.gone; seconds++)
        test_pass(&t, 1000);
    assert_in_range(seconds, 60, 62); /* and not twice that */
    TURN_UNTIL(&t, t.done == 1);
    assert_int_equal(t.gone, 1);
    assert_int_equal(t.done_sent, 0);
    close(fd);
    test_server_stop(&t);
}

struct refusal_case {
    const char *what, *head;
    unsigned status;
};

static void what_is_refused_by_its_head_is_refused_early(void **state)
{
    (void)state;
    static const struct refusal_case cases[] = {
        {"length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n", 413},
        {"length with Expect",
         "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n",
         413},
        {"coding",
         "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n",
         415},
        {"memory", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7000000\r\n\r\n", 503},
    };
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.max_body_memory_bytes = 1 << 20;
    test_server_start(&t, &config);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf got = {0};
        char status[32];
        int fd = client_open(&t);
        client_send_str(&t, fd, cases[i].head);
        client_expect_close(&t, fd, &got);
        (void)snprintf(status, sizeof status, "HTTP/1.1 %u ", cases[i].status);
        if (!count_of(&got, status) || !count_of(&got, "{\"refused\":true}") ||
            !count_of(&got, "Connection: close"))
            fail_msg("%s: %.*s", cases[i].what, SPAN_ARG(buf_span(&got)));
        assert_int_equal(count_of(&got, "100 Continue"), 0);
        assert_int_equal(t.refused_status, cases[i].status);
        close(fd);
        buf_free(&got);
    }
    assert_int_equal(t.requests, 0);
    test_server_stop(&t);
}

static void a_refused_upload_can_read_its_answer(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n");
    static char block[16 << 10];
    client_send(&t, fd,
                span_of(block, sizeof block)); /* unread bytes must not reset the answer away */
    client_expect(&t, fd, &got, "{\"refused\":true}");
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 413 "), 1);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

/* How many of `bytes` are taken before the connection breaks; they are not counted twice. */
static size_t upload(struct test_server *t, int fd, size_t bytes)
{
    static char block[64 << 10];
    size_t sent = 0;
    for (unsigned quiet = 0; sent < bytes && quiet < 200;) {
        size_t left = bytes - sent;
        ssize_t n =
            send(fd, block, left < sizeof block ? left : sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            break;
        quiet = n > 0 ? 0 : quiet + 1;
        sent += n > 0 ? (size_t)n : 0;
        test_turns(t, 1);
    }
    return sent;
}

/* Many clients read nothing before they have sent all. */
static void who_may_send_a_body_may_send_all_of_one_that_is_too_large(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12000000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb71b00\r\n"};
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    t.owner = 1;
    for (unsigned i = 0; i < 2; i++) {
        struct buf got = {0};
        int fd = client_open(&t);
        client_send_str(&t, fd, heads[i]);
        assert_int_equal(upload(&t, fd, 12000000), 12000000);
        client_expect(&t, fd, &got, "{\"refused\":true}");
        assert_int_equal(count_of(&got, "HTTP/1.1 413 "), 1);
        close(fd);
        buf_free(&got);
    }
    assert_int_equal(t.requests, 0);
    test_server_stop(&t);
}

static void of_others_and_of_the_endless_little_is_dropped(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12000000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n"};
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    const int little = 64 << 10;
    test_server_start(&t, &config);
    for (unsigned i = 0; i < 2; i++) {
        t.owner = (uint8_t)i; /* the first is nobody's */
        int fd = client_open(&t);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little), 0);
        client_send_str(&t, fd, heads[i]);
        /* what the kernel holds is not read */
        assert_in_range(upload(&t, fd, 12000000), 0, 8 << 20);
        close(fd);
    }
    test_server_stop(&t);
}

/* However it goes on: it does not live on what it drops. */
static void dropping_has_an_end(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    struct buf got = {0};
    test_server_start(&t, &config);
    t.owner = 1;
    int fd = client_open(&t);
    client_send_str(&t, fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12000000\r\n\r\n");
    client_expect_close(&t, fd, &got);
    bool reset = false;
    for (unsigned seconds = 0; seconds < 40 && !reset; seconds++) {
        reset = send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0;
        test_pass(&t, 1000);
    }
    assert_true(reset);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_chunked_body_is_refused_when_it_grows_too_big(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.max_body_bytes = 100000;
    test_server_start(&t, &config);
    struct buf got = {0}, out = {0};
    int fd = client_open(&t);
    buf_append_str(&out, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 11; i++)
        buf_printf(&out, "2710\r\n%010000d\r\n", 0);
    client_send(&t, fd, buf_span(&out));
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 413 "), 1);
    assert_int_equal(count_of(&got, "{\"refused\":true}"), 1);
    assert_int_equal(t.requests, 0);
    test_pass(&t, 1100);
    TURN_UNTIL(&t, t.done == 1);
    assert_int_equal(http_server_stats(t.http).body_bytes, 0);
    close(fd);
    buf_free(&got);
    buf_free(&out);
    test_server_stop(&t);
}

static void a_head_that_is_too_big_gets_431(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    static const size_t sizes[] = {33000, 36000, 60000};
    for (size_t i = 0; i < 3; i++) {
        struct buf got = {0}, out = {0};
        int fd = client_open(&t);
        buf_append_str(&out, "GET / HTTP/1.1\r\nHost: x\r\nX-Big: ");
        for (size_t n = 0; n < sizes[i]; n++)
            buf_append_char(&out, 'a');
        buf_append_str(&out, "\r\n\r\n");
        client_send(&t, fd, buf_span(&out));
        client_expect_close(&t, fd, &got);
        assert_int_equal(count_of(&got, "HTTP/1.1 431 "), 1);
        assert_int_equal(t.requests, 0);
        close(fd);
        buf_free(&got);
        buf_free(&out);
    }
    test_server_stop(&t);
}

static void expect_continue_is_answered_and_the_body_taken(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(
        &t, fd, "POST /c HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    client_expect(&t, fd, &got, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send_str(&t, fd, "hello");
    client_expect(&t, fd, &got, "POST /c 5");
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_handler_may_refuse_by_the_head_and_keep_the_connection(void **state)
{
    (void)state;
    struct test_server t = {.mode = REFUSE_HEAD};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    client_expect(&t, fd, &got, "who are you");
    TURN_UNTIL(&t, t.done_sent == 1);
    client_send_str(&t, fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    TURN_UNTIL(&t, t.done_sent == 2);
    assert_false(client_read(fd, &got));
    assert_int_equal(count_of(&got, "HTTP/1.1 401 "), 2);
    assert_int_equal(count_of(&got, "close"), 0);
    client_send_str(&t, fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n");
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 401 "), 3);
    assert_int_equal(t.requests, 0);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void one_address_has_its_cap_and_others_theirs(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.max_connections_per_address = 3;
    test_server_start(&t, &config);
    int fds[3];
    struct buf got = {0};
    for (int i = 0; i < 3; i++)
        fds[i] = client_open(&t);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 3);
    int fourth = client_open(&t), other = client_open_from(&t, "127.0.0.2");
    client_expect_close(&t, fourth, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 503 "), 1);
    assert_int_equal(count_of(&got, "{\"refused\":true}"), 1);
    assert_int_equal(http_server_stats(t.http).refused_address, 1);
    buf_clear(&got);
    client_send_str(&t, other, GET("/"));
    client_expect(&t, other, &got, "200 OK");
    close(fds[0]);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 3);
    int again = client_open(&t);
    buf_clear(&got);
    client_send_str(&t, again, GET("/"));
    client_expect(&t, again, &got, "200 OK");
    close(fds[1]);
    close(fds[2]);
    close(fourth);
    close(other);
    close(again);
    buf_free(&got);
    test_server_stop(&t);
}

static void beyond_the_limit_a_client_gets_503_at_once(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.max_connections = 2;
    test_server_start(&t, &config);
    int fds[2];
    struct buf got = {0};
    for (int i = 0; i < 2; i++)
        fds[i] = client_open(&t);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 2);
    int third = client_open(&t);
    client_send_str(&t, third, GET("/"));
    client_expect_close(&t, third, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 503 "), 1);
    assert_int_equal(http_server_stats(t.http).refused_limit, 1);
    buf_clear(&got);
    client_send_str(&t, fds[0], GET("/"));
    client_expect(&t, fds[0], &got, "200 OK");
    for (int i = 0; i < 2; i++)
        close(fds[i]);
    close(third);
    buf_free(&got);
    test_server_stop(&t);
}

static void out_of_descriptors_a_client_gets_503_and_the_loop_does_not_spin(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    struct rlimit before, few;
    int fd = client_open(&t), probe = dup(fd);
    assert_true(probe >= 0);
    close(probe);
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)probe;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 503 "), 1);
    setrlimit(RLIMIT_NOFILE, &before);
    close(fd);
    fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    buf_clear(&got);
    test_pass(&t, 200);
    client_expect(&t, fd, &got, "200 OK");
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void while_draining_answers_close_and_no_client_comes_in(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    client_expect(&t, fd, &got, "200 OK");
    http_server_drain(t.http);
    client_send_str(&t, fd, GET("/last"));
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "GET /last 0"), 1);
    assert_int_equal(count_of(&got, "Connection: close"), 1);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

/* A client that has just come, or is between two requests, may be about to ask. */
static void while_draining_a_quiet_client_has_a_moment_for_its_request(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0}, none = {0};
    int fresh = client_open(&t), kept = client_open(&t), silent = client_open(&t);
    client_send_str(&t, kept, GET("/"));
    client_expect(&t, kept, &got, "200 OK");
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 3);
    http_server_drain(t.http);
    test_pass(&t, HTTP_DRAIN_QUIET_MS - 100);
    assert_int_equal(http_server_stats(t.http).connections, 3);
    buf_clear(&got);
    client_send_str(&t, kept, GET("/kept"));
    client_expect_close(&t, kept, &got);
    assert_int_equal(count_of(&got, "GET /kept 0"), 1);
    buf_clear(&got);
    client_send_str(&t, fresh, GET("/fresh"));
    client_expect_close(&t, fresh, &got);
    assert_int_equal(count_of(&got, "GET /fresh 0"), 1);
    test_pass(&t, 200);
    client_expect_close(&t, silent, &none);
    assert_int_equal(none.len, 0);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 0);
    close(fresh);
    close(kept);
    close(silent);
    buf_free(&got);
    buf_free(&none);
    test_server_stop(&t);
}

static void a_server_that_retires_takes_clients_and_closes_behind_answers(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    http_server_retire(t.http);
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/late"));
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "GET /late 0"), 1);
    assert_int_equal(count_of(&got, "Connection: close"), 1);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

/* Handed over: clients that come while nobody serves wait in the socket's queue. */
static void a_socket_that_listens_already_is_served(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    struct buf got = {0};
    int held;
    assert_int_equal(listening_open("127.0.0.1", 0, &held), OK);
    for (int life = 0; life < 3; life++) {
        config.listen_fd = dup(held);
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(listening_port(held))};
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
        test_server_start(&t, &config);
        assert_int_equal(http_server_port(t.http), listening_port(held));
        client_send_str(&t, fd, GET("/"));
        buf_clear(&got);
        client_expect(&t, fd, &got, "200 OK");
        close(fd);
        test_server_stop(&t);
    }
    close(held);
    buf_free(&got);
}

static void stopping_ends_whatever_is_under_way(void **state)
{
    (void)state;
    for (int mode = ANSWER_NOW; mode <= STREAM_NOW; mode++) {
        struct test_server t = {.mode = (enum test_mode)mode};
        struct http_config config = test_config();
        test_server_start(&t, &config);
        int fds[4];
        for (int i = 0; i < 4; i++) {
            fds[i] = client_open(&t);
            client_send_str(&t, fds[i],
                            i < 3 ? GET("/")
                                  : "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
        }
        TURN_UNTIL(&t, t.requests == 3);
        test_turns(&t, 3);
        http_server_destroy(&t.http);
        assert_int_equal(t.done, 4); /* the half one too: on_head has seen it */
        loop_destroy(&t.loop);
        for (int i = 0; i < 4; i++)
            close(fds[i]);
    }
}

static void bad_answer_fields_are_left_out_and_counted(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_LATER};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);
    http_add_header(t.kept[0], "X-Split", SPAN("a\r\nSet-Cookie: b"));
    http_add_header(t.kept[0], "X Bad", SPAN("a"));
    http_add_header(t.kept[0], "Content-Length", SPAN("77"));
    http_add_header(t.kept[0], "X-Good", SPAN("good"));
    http_respond(t.kept[0], 200, SPAN("body"));
    client_expect(&t, fd, &got, "body");
    assert_int_equal(count_of(&got, "Set-Cookie"), 0);
    assert_int_equal(count_of(&got, "77"), 0);
    assert_int_equal(count_of(&got, "X-Good: good"), 1);
    assert_int_equal(http_server_stats(t.http).bad_headers, 2);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void raw_bytes_and_resets_are_for_stand_ins(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_LATER};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);
    assert_int_equal(http_raw_begin(t.kept[0]), !config.library_only);
    if (config.library_only) {
        http_respond(t.kept[0], 200, SPAN("not here"));
        client_expect(&t, fd, &got, "not here");
    } else {
        assert_int_equal(http_stream_write(t.kept[0], SPAN("no HTTP at all")), OK);
        http_stream_end(t.kept[0]);
        client_expect_close(&t, fd, &got);
        assert_int_equal(got.len, strlen("no HTTP at all"));
    }
    TURN_UNTIL(&t, t.done_sent == 1);
    close(fd);
    fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 2);
    http_reset(t.kept[1]);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    TURN_UNTIL(&t, t.done == 2);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_a_total_deadline_however_it_drips),
        cmocka_unit_test(a_body_has_a_total_deadline_however_it_drips),
        cmocka_unit_test(an_idle_connection_is_closed),
        cmocka_unit_test(a_client_that_takes_nothing_is_cut),
        cmocka_unit_test(what_is_refused_by_its_head_is_refused_early),
        cmocka_unit_test(a_refused_upload_can_read_its_answer),
        cmocka_unit_test(who_may_send_a_body_may_send_all_of_one_that_is_too_large),
        cmocka_unit_test(of_others_and_of_the_endless_little_is_dropped),
        cmocka_unit_test(dropping_has_an_end),
        cmocka_unit_test(a_chunked_body_is_refused_when_it_grows_too_big),
        cmocka_unit_test(a_head_that_is_too_big_gets_431),
        cmocka_unit_test(expect_continue_is_answered_and_the_body_taken),
        cmocka_unit_test(a_handler_may_refuse_by_the_head_and_keep_the_connection),
        cmocka_unit_test(one_address_has_its_cap_and_others_theirs),
        cmocka_unit_test(beyond_the_limit_a_client_gets_503_at_once),
        cmocka_unit_test(out_of_descriptors_a_client_gets_503_and_the_loop_does_not_spin),
        cmocka_unit_test(while_draining_answers_close_and_no_client_comes_in),
        cmocka_unit_test(while_draining_a_quiet_client_has_a_moment_for_its_request),
        cmocka_unit_test(a_server_that_retires_takes_clients_and_closes_behind_answers),
        cmocka_unit_test(a_socket_that_listens_already_is_served),
        cmocka_unit_test(stopping_ends_whatever_is_under_way),
        cmocka_unit_test(bad_answer_fields_are_left_out_and_counted),
        cmocka_unit_test(raw_bytes_and_resets_are_for_stand_ins),
    };
    return RUN_BOTH_WAYS(tests);
}
