/* What is particular to plain connections: looks at dripping heads, handing over, closing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/common/http/test_server.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define CHUNKED(path)                                                                              \
    "POST " path " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "                                     \
    "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

static void drip(struct test_server *t, int fd, const char *text)
{
    for (; *text; text++) {
        client_send(t, fd, span_of(text, 1));
        test_turns(t, 1);
    }
}

/* Each look copies what has come once more: after the first few, time must pass between two. */
static void a_dripping_head_is_looked_at_now_and_then(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    drip(&t, fd, GET("/drip"));
    test_turns(&t, 20);
    assert_int_equal(t.requests, 0);
    while (!t.requests)
        test_pass(&t, 51);
    client_expect(&t, fd, &got, "GET /drip 0");
    buf_clear(&got);
    client_send_str(&t, fd, GET("/next")); /* a new head, new looks */
    client_expect(&t, fd, &got, "GET /next 0");
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_chunked_upload_is_handed_over_wherever_it_comes(void **state)
{
    (void)state;
    enum { FIRST, LATER, PIPELINED, DRIPPED, WAYS };
    for (int way = 0; way < WAYS; way++) {
        struct test_server t = {.mode = ANSWER_NOW};
        struct http_config config = test_config();
        test_server_start(&t, &config);
        struct buf got = {0};
        int fd = client_open(&t);
        if (way == LATER) {
            client_send_str(&t, fd, GET("/first"));
            client_expect(&t, fd, &got, "GET /first 0");
        }
        if (way == PIPELINED) {
            client_send_str(&t, fd, GET("/first") CHUNKED("/up") GET("/not"));
        } else if (way == DRIPPED) {
            drip(&t, fd, CHUNKED("/up"));
            while (!t.requests)
                test_pass(&t, 51);
        } else {
            client_send_str(&t, fd, CHUNKED("/up"));
        }
        client_expect_close(&t, fd, &got);
        assert_int_equal(count_of(&got, "POST /up 5"), 1);
        assert_int_equal(count_of(&got, "GET /first 0"), way == LATER || way == PIPELINED);
        assert_int_equal(count_of(&got, "/not"), 0);
        TURN_UNTIL(&t, http_server_stats(t.http).connections == 0);
        assert_int_equal(t.done_sent, t.requests);
        close(fd);
        buf_free(&got);
        test_server_stop(&t);
    }
}

static void a_chunked_upload_may_be_answered_later_and_its_client_may_leave(void **state)
{
    (void)state;
    for (int leaves = 0; leaves < 2; leaves++) {
        struct test_server t = {.mode = leaves ? STREAM_NOW : ANSWER_LATER};
        struct http_config config = test_config();
        test_server_start(&t, &config);
        struct buf got = {0};
        int fd = client_open(&t);
        client_send_str(&t, fd, CHUNKED("/up"));
        TURN_UNTIL(&t, t.kept_count == 1);
        test_turns(&t, 3);
        if (leaves) {
            close(fd);
            TURN_UNTIL(&t, t.gone == 1);
        } else {
            http_respond(t.kept[0], 200, SPAN("later"));
            client_expect_close(&t, fd, &got);
            assert_int_equal(count_of(&got, "later"), 1);
            close(fd);
        }
        TURN_UNTIL(&t, http_server_stats(t.http).connections == 0);
        buf_free(&got);
        test_server_stop(&t);
    }
}

static void a_malformed_head_is_refused_in_the_handlers_words(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Any : a\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET /\n",
        "\x16\x03\x01\x02",
    };
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct buf got = {0};
        int fd = client_open(&t);
        client_send_str(&t, fd, heads[i]);
        client_expect_close(&t, fd, &got);
        assert_true(span_starts(buf_span(&got), "HTTP/1.1 400 Bad Request\r\n"));
        assert_int_equal(count_of(&got, "HTTP/1.1"), 1);
        assert_int_equal(count_of(&got, "Connection: close\r\n"), 1);
        assert_int_equal(count_of(&got, "{\"refused\":true}"), 1);
        close(fd);
        buf_free(&got);
    }
    assert_int_equal(t.refusals, 5);
    assert_int_equal(http_server_stats(t.http).refused_framing, 5);
    test_server_stop(&t);
}

/* What the client still sends is read for a while, or its kernel would drop our answer. */
static void an_answer_that_closes_is_not_reset_away(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0}, out = {0};
    int fd = client_open(&t);
    buf_append_str(&out, "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 300; i++)
        buf_append_str(&out, GET("/behind"));
    client_send(&t, fd, buf_span(&out));
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "GET /last 0"), 1);
    client_send_str(&t, fd, GET("/behind"));
    test_turns(&t, 3);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    assert_int_equal(t.requests, 1);
    close(fd);
    buf_free(&got);
    buf_free(&out);
    test_server_stop(&t);
}

static void answers_without_a_body_have_none(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_LATER};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    TURN_UNTIL(&t, t.kept_count == 1);
    http_respond(t.kept[0], 200, SPAN("twelve bytes"));
    client_expect(&t, fd, &got, "\r\n\r\n");
    assert_int_equal(count_of(&got, "Content-Length: 12\r\n"), 1);
    TURN_UNTIL(&t, t.done_sent == 1);
    client_send_str(&t, fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    TURN_UNTIL(&t, t.kept_count == 2);
    http_stream_begin(t.kept[1], 200);
    assert_int_equal(http_stream_write(t.kept[1], SPAN("twelve bytes")), OK);
    http_stream_end(t.kept[1]);
    TURN_UNTIL(&t, t.done_sent == 2);
    client_send_str(&t, fd, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 3);
    http_respond(t.kept[2], 204, SPAN_NONE);
    client_expect(&t, fd, &got, "204 No Content\r\n");
    TURN_UNTIL(&t, t.done_sent == 3);
    assert_false(client_read(fd, &got));
    assert_int_equal(count_of(&got, "twelve"), 0);
    assert_int_equal(count_of(&got, "Content-Length"), 1);
    assert_true(span_ends(buf_span(&got), "\r\n\r\n"));
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void one_clients_pipeline_does_not_hold_others_up(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0}, out = {0};
    int greedy = client_open(&t), other = client_open(&t);
    for (int i = 0; i < 500; i++)
        buf_append_str(&out, GET("/many"));
    assert_int_equal(send(greedy, out.data, out.len, 0), out.len);
    assert_int_equal(send(other, GET("/one"), strlen(GET("/one")), 0), strlen(GET("/one")));
    while (!count_of(&got, "GET /one 0")) {
        test_turns(&t, 1);
        (void)client_read(other, &got);
    }
    assert_true(t.requests < 100);
    close(greedy);
    close(other);
    buf_free(&got);
    buf_free(&out);
    test_server_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dripping_head_is_looked_at_now_and_then),
        cmocka_unit_test(a_chunked_upload_is_handed_over_wherever_it_comes),
        cmocka_unit_test(a_chunked_upload_may_be_answered_later_and_its_client_may_leave),
        cmocka_unit_test(a_malformed_head_is_refused_in_the_handlers_words),
        cmocka_unit_test(an_answer_that_closes_is_not_reset_away),
        cmocka_unit_test(answers_without_a_body_have_none),
        cmocka_unit_test(one_clients_pipeline_does_not_hold_others_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
