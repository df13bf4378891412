/* Bodies that wait for a word, their memory, and how fast they must come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/common/http/test_server.h"

enum { BLOCK = 64 << 10 };
static char block[BLOCK];

static void start_upload(struct test_server *t, int fd, size_t bytes)
{
    char head[128];
    (void)snprintf(head, sizeof head, "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                   bytes);
    client_send_str(t, fd, head);
}

static void send_blocks(struct test_server *t, int fd, unsigned n)
{
    memset(block, 'b', sizeof block);
    while (n--)
        client_send(t, fd, span_of(block, sizeof block));
}

/* ---- held ---- */

static void a_held_body_is_not_read_before_the_word(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\n\r\n",
        "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\nExpect: 100-continue\r\n\r\n",
        "POST /u HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n"};
    for (unsigned i = 0; i < 3; i++) {
        struct test_server t = {.mode = HOLD_HEAD};
        struct http_config config = test_config();
        config.body_timeout_ms = 1000;
        test_server_start(&t, &config);
        struct buf got = {0};
        int fd = client_open(&t);
        client_send_str(&t, fd, heads[i]);
        TURN_UNTIL(&t, t.held_count == 1);
        assert_false(http_is_requested(t.held[0]));
        if (i != 1)
            send_blocks(&t, fd, 1);
        test_pass(&t, 5000); /* nobody is late while he is held */
        assert_false(client_read(fd, &got));
        assert_int_equal(got.len, 0);
        assert_int_equal(http_server_stats(t.http).body_bytes, 0);
        http_read_body(t.held[0]);
        if (i == 1)
            client_expect(&t, fd, &got, "HTTP/1.1 100 Continue\r\n\r\n");
        send_blocks(&t, fd, i == 1 ? 2 : i == 0);
        if (i == 2) {
            client_send_str(&t, fd, "\r\n10000\r\n");
            send_blocks(&t, fd, 1);
            client_send_str(&t, fd, "\r\n0\r\n\r\n");
        }
        client_expect(&t, fd, &got, "POST /u 131072");
        assert_int_equal(t.requests, 1);
        close(fd);
        buf_free(&got);
        test_server_stop(&t);
    }
}

static void a_held_request_may_be_refused_and_the_rest_is_not_read(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n",
        "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\nExpect: 100-continue\r\n\r\n",
        "POST /u HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n"};
    for (unsigned i = 0; i < 3; i++) {
        struct test_server t = {.mode = HOLD_HEAD};
        struct http_config config = test_config();
        test_server_start(&t, &config);
        struct buf got = {0};
        int fd = client_open(&t);
        client_send_str(&t, fd, heads[i]);
        TURN_UNTIL(&t, t.held_count == 1);
        if (i != 1)
            send_blocks(&t, fd, 1);
        http_respond(t.held[0], 401, SPAN("who are you"));
        client_expect(&t, fd, &got, "who are you");
        client_expect_close(&t, fd, &got);
        assert_int_equal(count_of(&got, "HTTP/1.1 401 "), 1);
        assert_int_equal(count_of(&got, "Connection: close"), 1);
        assert_int_equal(count_of(&got, "100 Continue"), 0);
        assert_int_equal(t.requests, 0);
        TURN_UNTIL(&t, t.done == 1);
        assert_int_equal(http_server_stats(t.http).body_bytes, 0);
        close(fd);
        buf_free(&got);
        test_server_stop(&t);
    }
}

static void who_leaves_while_held_is_forgotten_at_the_word(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct test_server t = {.mode = HOLD_HEAD};
        struct http_config config = test_config();
        test_server_start(&t, &config);
        int fd = client_open(&t);
        client_send_str(&t, fd,
                        i ? "POST /u HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                          : "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\n\r\n");
        TURN_UNTIL(&t, t.held_count == 1);
        close(fd);
        test_turns(&t, 5);
        if (t.held[0])
            http_read_body(t.held[0]);
        TURN_UNTIL(&t, t.done == 1 && http_server_stats(t.http).connections == 0);
        assert_int_equal(t.requests, 0);
        test_server_stop(&t);
    }
}

static void stopping_ends_what_is_held(void **state)
{
    (void)state;
    struct test_server t = {.mode = HOLD_HEAD};
    struct http_config config = test_config();
    test_server_start(&t, &config);
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = client_open(&t);
        client_send_str(&t, fds[i],
                        i ? "POST /u HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                          : "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\n\r\n");
    }
    TURN_UNTIL(&t, t.held_count == 2);
    http_server_destroy(&t.http);
    assert_int_equal(t.done, 2);
    loop_destroy(&t.loop);
    for (int i = 0; i < 2; i++)
        close(fds[i]);
}

/* ---- memory ---- */

static unsigned status_of(struct test_server *t, int fd)
{
    struct buf got = {0};
    unsigned status = 0;
    for (int i = 0; i < 30 && !status; i++) {
        test_turns(t, 1);
        (void)client_read(fd, &got);
        if (got.len > 12)
            status = (unsigned)strtoul(got.data + 9, NULL, 10);
    }
    buf_free(&got);
    return status;
}

static void one_addresses_bodies_leave_memory_to_others(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.max_body_memory_bytes = 4 << 20;
    config.max_address_body_bytes = 2 << 20;
    config.small_body_reserve_bytes = 256 << 10;
    test_server_start(&t, &config);
    int mine[3], small, other;
    for (int i = 0; i < 3; i++) {
        mine[i] = client_open(&t);
        start_upload(&t, mine[i], 1 << 20);
    }
    assert_int_equal(status_of(&t, mine[0]), 0);
    assert_int_equal(status_of(&t, mine[1]), 0);
    assert_int_equal(status_of(&t, mine[2]), 503);
    small = client_open(&t);
    start_upload(&t, small, BLOCK);
    send_blocks(&t, small, 1);
    assert_int_equal(status_of(&t, small), 200);
    other = client_open_from(&t, "127.0.0.2");
    start_upload(&t, other, 1 << 20);
    send_blocks(&t, other, 16);
    assert_int_equal(status_of(&t, other), 200);
    close(mine[0]);
    TURN_UNTIL(&t, http_server_stats(t.http).body_bytes == 1 << 20);
    close(mine[2]);
    mine[2] = client_open(&t);
    start_upload(&t, mine[2], 1 << 20);
    send_blocks(&t, mine[2], 16);
    assert_int_equal(status_of(&t, mine[2]), 200);
    close(mine[1]);
    close(mine[2]);
    close(small);
    close(other);
    test_server_stop(&t);
}

static void one_owners_bodies_leave_memory_to_others(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.max_owner_body_bytes = 1 << 20;
    test_server_start(&t, &config);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        t.owner = i < 2 ? 1 : 2;
        fds[i] = client_open(&t);
        start_upload(&t, fds[i], 1 << 20);
        assert_int_equal(status_of(&t, fds[i]), i == 1 ? 503 : 0);
    }
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    TURN_UNTIL(&t, http_server_stats(t.http).body_bytes == 0);
    test_server_stop(&t);
}

static void large_bodies_leave_a_reserve_to_small_ones(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.max_body_memory_bytes = 2 << 20;
    config.small_body_reserve_bytes = 512 << 10;
    test_server_start(&t, &config);
    int first = client_open(&t), second = client_open(&t), small = client_open(&t);
    start_upload(&t, first, 1 << 20);
    assert_int_equal(status_of(&t, first), 0);
    start_upload(&t, second, 768 << 10);
    assert_int_equal(status_of(&t, second), 503);
    start_upload(&t, small, BLOCK);
    send_blocks(&t, small, 1);
    assert_int_equal(status_of(&t, small), 200);
    close(first);
    close(second);
    close(small);
    test_server_stop(&t);
}

/* Announced is not sent. */
static void small_bodies_take_room_as_they_come(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    int fds[40];
    config.max_body_memory_bytes = 1 << 20;
    test_server_start(&t, &config);
    for (int i = 0; i < 40; i++) {
        fds[i] = client_open(&t);
        client_send_str(&t, fds[i],
                        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nabc");
    }
    test_turns(&t, 5);
    assert_in_range(http_server_stats(t.http).body_bytes, 1, 40 * 2048);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(status_of(&t, fds[i]), 0);
        close(fds[i]);
    }
    TURN_UNTIL(&t, http_server_stats(t.http).body_bytes == 0);
    test_server_stop(&t);
}

static void a_chunked_body_that_outgrows_its_bound_is_refused(void **state)
{
    (void)state;
    struct test_server t = {.mode = ANSWER_NOW};
    struct http_config config = test_config();
    config.max_address_body_bytes = 1 << 20;
    test_server_start(&t, &config);
    struct buf got = {0};
    int fd = client_open(&t);
    client_send_str(&t, fd,
                    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n");
    send_blocks(&t, fd, 17);
    client_expect_close(&t, fd, &got);
    assert_int_equal(count_of(&got, "HTTP/1.1 503 "), 1);
    close(fd);
    buf_free(&got);
    test_server_stop(&t);
}

/* ---- rate ---- */

enum { RATE = 1 << 10, BEHIND_MS = 5000 };

static void start_slow(struct test_server *t, enum test_mode mode)
{
    struct http_config config = test_config();
    config.body_timeout_ms = BEHIND_MS;
    config.body_min_rate = RATE;
    t->mode = mode;
    test_server_start(t, &config);
}

static const char *const slow_heads[] = {
    "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\n\r\n",
    "POST /u HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n"};

static void a_steady_upload_is_never_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct test_server t = {0};
        start_slow(&t, ANSWER_NOW);
        struct buf got = {0};
        int fd = client_open(&t);
        client_send_str(&t, fd, slow_heads[i]);
        for (int second = 0; second < 128; second++) {
            test_pass(&t, 1000);
            client_send(&t, fd, span_of(block, RATE));
            test_turns(&t, 3);
            assert_false(client_read(fd, &got));
        }
        if (i)
            client_send_str(&t, fd, "\r\n0\r\n\r\n");
        client_expect(&t, fd, &got, "POST /u 131072");
        close(fd);
        buf_free(&got);
        test_server_stop(&t);
    }
}

static void a_drip_is_cut_however_fast_its_first_half_was(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct test_server t = {0};
        start_slow(&t, ANSWER_NOW);
        struct buf got = {0};
        int fd = client_open(&t);
        client_send_str(&t, fd, slow_heads[i]);
        send_blocks(&t, fd, 1);
        test_turns(&t, 5);
        bool closed = false;
        for (int second = 0; second < 7 && !closed; second++) {
            assert_true(second < 5 || !closed);
            client_send(&t, fd, span_of(block, 1));
            test_pass(&t, 1000);
            closed = client_read(fd, &got);
            assert_true(!closed || second >= 4);
        }
        client_expect_close(&t, fd, &got);
        assert_int_equal(count_of(&got, "HTTP/1.1 408 "), 1);
        assert_int_equal(t.requests, 0);
        close(fd);
        buf_free(&got);
        test_server_stop(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_body_is_not_read_before_the_word),
        cmocka_unit_test(a_held_request_may_be_refused_and_the_rest_is_not_read),
        cmocka_unit_test(who_leaves_while_held_is_forgotten_at_the_word),
        cmocka_unit_test(stopping_ends_what_is_held),
        cmocka_unit_test(one_addresses_bodies_leave_memory_to_others),
        cmocka_unit_test(one_owners_bodies_leave_memory_to_others),
        cmocka_unit_test(large_bodies_leave_a_reserve_to_small_ones),
        cmocka_unit_test(small_bodies_take_room_as_they_come),
        cmocka_unit_test(a_chunked_body_that_outgrows_its_bound_is_refused),
        cmocka_unit_test(a_steady_upload_is_never_cut),
        cmocka_unit_test(a_drip_is_cut_however_fast_its_first_half_was),
    };
    return RUN_BOTH_WAYS(tests);
}
