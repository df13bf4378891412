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

static void a_request_is_answered_and_the_connection_lives_on(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/a%2Fb?q=%41"));
    client_expect(&t, fd, &got, "GET /a%2Fb 0");
    assert_int_equal(count_of(&got, "HTTP/1.1 200 OK\r\n"), 1);
    assert_int_equal(count_of(&got, "X-Test: yes\r\n"), 1);
    client_send_str(&t, fd, "POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    client_expect(&t, fd, &got, "POST /two 5");
    assert_int_equal(http_server_stats(t.http).connections, 1);
    close(fd);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 0);
    assert_int_equal(t.done_sent, 2);
    buf_free(&got);
    test_server_stop(&t);
}

static void an_answer_may_come_later(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_LATER};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    for (unsigned i = 0; i < 3; i++) {
        client_send_str(&t, fd, GET("/later"));
        TURN_UNTIL(&t, t.kept_count == i + 1);
        test_turns(&t, 3);
        buf_clear(&got);
        assert_false(client_read(fd, &got));
        assert_int_equal(got.len, 0);
        http_respond(t.kept[i], 200, SPAN("now"));
        client_expect(&t, fd, &got, "now");
        TURN_UNTIL(&t, t.done_sent == i + 1);
    }
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_hundred_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    for (int later = 0; later < 2; later++) {
        struct test_server t = {.mode = later ? ANSWER_LATER : ANSWER_NOW};
        struct http_config config = test_config();
        test_server_start(&t, &config);
        struct buf got = {0}, out = {0};
        int fd = client_open(&t);
        for (int i = 0; i < 100; i++)
            buf_printf(&out, "GET /n%03d HTTP/1.1\r\nHost: x\r\n\r\n", i);
        client_send(&t, fd, buf_span(&out));
        for (unsigned i = 0; later && i < 100; i++) {
            TURN_UNTIL(&t, t.kept_count == i + 1);
            struct buf text = {0};
            buf_append_str(&text, "GET ");
            buf_append(&text, http_path(t.kept[i]));
            buf_append_str(&text, " 0");
            http_respond(t.kept[i], 200, buf_span(&text));
            buf_free(&text);
        }
        client_expect(&t, fd, &got, "GET /n099 0");
        size_t last = 0;
        for (int i = 0; i < 100; i++) {
            char want[16];
            assert_true(snprintf(want, sizeof want, "GET /n%03d 0", i) > 0);
            size_t at = span_find_span(buf_span(&got), span_str(want));
            assert_true(at < got.len && at >= last);
            last = at;
        }
        close(fd);
        buf_free(&got);
        buf_free(&out);
        test_server_stop(&t);
    }
}

static void a_stream_comes_in_chunks_and_the_connection_lives_on(void **state)
{
    (void)state;
    struct test_server t = {.mode = STREAM_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    for (unsigned i = 0; i < 2; i++) {
        buf_clear(&got);
        client_send_str(&t, fd, GET("/stream"));
        client_expect(&t, fd, &got, "Transfer-Encoding: chunked");
        client_expect(&t, fd, &got, "\r\n\r\n");
        assert_int_equal(http_stream_write(t.kept[i], SPAN("first")), OK);
        client_expect(&t, fd, &got, "\r\n\r\n5\r\nfirst\r\n");
        assert_int_equal(http_stream_write(t.kept[i], SPAN("second, longer than sixteen bytes")),
                         OK);
        client_expect(&t, fd, &got, "21\r\nsecond, longer than sixteen bytes\r\n");
        http_stream_end(t.kept[i]);
        client_expect(&t, fd, &got, "\r\n0\r\n\r\n");
        TURN_UNTIL(&t, t.done_sent == i + 1);
    }
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_stream_of_known_length_says_it(void **state)
{
    (void)state;
    static const char *const asks[] = {GET("/"),
                                       "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"};
    struct test_server t = {.mode = ANSWER_LATER};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    for (unsigned i = 0; i < 2; i++) {
        buf_clear(&got);
        client_send_str(&t, fd, asks[i]);
        TURN_UNTIL(&t, t.kept_count == i + 1);
        http_stream_begin_whole(t.kept[i], 200, 10);
        assert_int_equal(http_stream_write(t.kept[i], SPAN("four")), OK);
        client_expect(&t, fd, &got, "\r\n\r\nfour");
        assert_int_equal(http_stream_write(t.kept[i], SPAN("and too much")), ERR_TOO_BIG);
        assert_int_equal(http_stream_write(t.kept[i], SPAN("andsix")), OK);
        test_turns(&t, 5);
        assert_int_equal(t.done, i); /* not before its end has been said */
        http_stream_end(t.kept[i]);
        client_expect(&t, fd, &got, "fourandsix");
        assert_int_equal(count_of(&got, "Content-Length: 10\r\n"), 1);
        assert_int_equal(count_of(&got, "chunked"), 0);
        TURN_UNTIL(&t, t.done_sent == i + 1);
    }
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_stream_that_ends_before_its_length_is_cut(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_LATER};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);
    http_stream_begin_whole(t.kept[0], 200, 10);
    assert_int_equal(http_stream_write(t.kept[0], SPAN("four")), OK);
    client_expect(&t, fd, &got, "four");
    http_stream_end(t.kept[0]);
    client_expect_close(&t, fd, &got);
    assert_true(span_ends(buf_span(&got), "four"));
    TURN_UNTIL(&t, t.done == 1);
    assert_int_equal(t.done_sent, 0);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_stream_to_a_1_0_client_ends_with_the_connection(void **state)
{
    (void)state;
    struct test_server t = {.mode = STREAM_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd, "GET / HTTP/1.0\r\n\r\n");
    TURN_UNTIL(&t, t.kept_count == 1);
    assert_int_equal(http_stream_write(t.kept[0], SPAN("plain bytes")), OK);
    http_stream_end(t.kept[0]);
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "\r\n\r\nplain bytes"), 1);
    assert_int_equal(count_of(&got, "chunked"), 0);
    TURN_UNTIL(&t, t.done_sent == 1);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_slow_reader_holds_a_bounded_number_of_bytes(void **state)
{
    (void)state;
    struct test_server t = {.mode = STREAM_NOW};
    struct http_config config = test_config();
    config.send_buffer_bytes = 32 << 10;
    test_server_start(&t, &config);
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);
    static char block[16 << 10];
    memset(block, 'z', sizeof block);
    size_t written = 0;
    while (http_stream_write(t.kept[0], span_of(block, sizeof block)) == OK) {
        written += sizeof block;
        test_turns(&t, 1);
    }
    assert_true(http_stream_pending(t.kept[0]) <= (8 << 20) + 65536);
    unsigned drains = t.drains;
    http_stream_end(t.kept[0]);
    struct buf got = {0};
    for (int i = 0; i < 20000 && !t.done; i++) {
        (void)client_read(fd, &got);
        test_turns(&t, 1);
    }
    (void)client_read(fd, &got);
    assert_int_equal(t.done_sent, 1);
    size_t zs = 0;
    for (size_t i = 0; i < got.len; i++)
        zs += got.data[i] == 'z';
    assert_int_equal(zs, written);
    (void)drains;
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

static void a_departure_is_seen_while_the_exchange_is_suspended(void **state)
{
    (void)state;
    enum { LEAVES, HALF_CLOSES, RESETS, WAYS };
    for (int streaming = 0; streaming < 2; streaming++) {
        for (int way = 0; way < WAYS; way++) {
            struct test_server t = {.mode = streaming ? STREAM_NOW : ANSWER_LATER};
            struct http_config config = test_config();
            test_server_start(&t, &config);
            int fd = client_open(&t);
            client_send_str(&t, fd, GET("/"));
            TURN_UNTIL(&t, t.kept_count == 1);
            if (streaming)
                assert_int_equal(http_stream_write(t.kept[0], SPAN("x")), OK);
            test_turns(&t, 3);
            assert_int_equal(t.gone, 0);
            if (way == HALF_CLOSES) {
                shutdown(fd, SHUT_WR);
            } else {
                struct linger now = {.l_onoff = way == RESETS};
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
                close(fd);
            }
            TURN_UNTIL(&t, t.done == 1);
            assert_int_equal(t.gone, 1);
            assert_int_equal(t.done_sent, 0);
            TURN_UNTIL(&t, http_server_stats(t.http).connections == 0);
            if (way == HALF_CLOSES)
                close(fd);
            test_server_stop(&t);
        }
    }
}

static void writing_to_a_client_that_left_says_so(void **state)
{
    (void)state;
    struct test_server t = {.mode = STREAM_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    int fd = client_open(&t);
    client_send_str(&t, fd, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);
    close(fd);
    for (int i = 0; i < 1000 && t.kept[0]; i++) {
        enum err e = http_stream_write(t.kept[0], SPAN("data"));
        assert_true(e == OK || e == ERR_CLOSED);
        test_turns(&t, 1);
    }
    assert_null(t.kept[0]);
    assert_int_equal(t.gone, 1);
    test_server_stop(&t);
}

static void big_bodies_arrive_whole(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0}, out = {0};
    int fd = client_open(&t);
    size_t n = 8 << 20;
    buf_printf(&out, "POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", n);
    char *to = buf_reserve(&out, n);
    memset(to, 'b', n);
    out.len += n;
    client_send(&t, fd, buf_span(&out));
    client_expect(&t, fd, &got, "POST /big 8388608");
    TURN_UNTIL(&t, http_server_stats(t.http).body_bytes == 0);
    close(fd);
    buf_free(&got);
    buf_free(&out);
    test_server_stop(&t);
}

static void tiny_chunks_and_trailers_arrive_whole_and_end_the_connection(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    struct buf got = {0}, out = {0};
    int fd = client_open(&t);
    buf_append_str(&out, "POST /tiny HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3000; i++)
        buf_append_str(&out, "1\r\nx\r\n");
    buf_append_str(&out, "0\r\nX-Trailer: yes\r\n\r\n");
    client_send(&t, fd, buf_span(&out));
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "POST /tiny 3000"), 1);
    assert_int_equal(count_of(&got, "Connection: close"), 1);
    close(fd);
    buf_free(&got);
    buf_free(&out);
    test_server_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered_and_the_connection_lives_on),
        cmocka_unit_test(an_answer_may_come_later),
        cmocka_unit_test(a_hundred_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_stream_comes_in_chunks_and_the_connection_lives_on),
        cmocka_unit_test(a_stream_of_known_length_says_it),
        cmocka_unit_test(a_stream_that_ends_before_its_length_is_cut),
        cmocka_unit_test(a_stream_to_a_1_0_client_ends_with_the_connection),
        cmocka_unit_test(a_slow_reader_holds_a_bounded_number_of_bytes),
        cmocka_unit_test(a_departure_is_seen_while_the_exchange_is_suspended),
        cmocka_unit_test(writing_to_a_client_that_left_says_so),
        cmocka_unit_test(big_bodies_arrive_whole),
        cmocka_unit_test(tiny_chunks_and_trailers_arrive_whole_and_end_the_connection),
    };
    return RUN_BOTH_WAYS(tests);
}
