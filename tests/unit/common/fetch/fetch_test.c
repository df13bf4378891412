/* Real libcurl against a socket server that the test itself plays, turn by turn, on a clock it
 * turns itself. */
#include "proto/error_class.h"
#include "unit/common/fetch/test_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- tests ---- */

static void a_post_arrives_whole_and_its_answer_comes_back(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{\"model\":\"m\"}"));
    assert_int_equal(fetch_running(w->up), 1);
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{\"model\":\"m\"}");
    const char *const must[] = {world_by_libcurl ? "POST /./v1/chat/completions HTTP/1.1\r\n"
                                                 : "POST /v1/chat/completions HTTP/1.1\r\n",
                                "Authorization: Bearer sk-test\r\n",
                                "Content-Type: application/json\r\n",
                                "Content-Length: 13\r\n",
                                "Accept-Encoding: identity\r\n",
                                "x-extra: 1\r\n",
                                "x-version: 7\r\n"};
    for (size_t i = 0; i < sizeof must / sizeof must[0]; i++)
        assert_true(span_find_span(buf_span(&seen), span_str(must[i])) < seen.len);
    assert_int_equal(span_find_span(buf_span(&seen), SPAN("x-extra: default")), seen.len);
    assert_int_equal(span_find_span(buf_span(&seen), SPAN("Expect")), seen.len);
    test_answer(fd, TEST_OK_JSON);
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.status, 200);
    assert_int_equal(w->heard.heads, 1);
    assert_string_equal(w->heard.type, "application/json");
    assert_true(span_is(buf_span(&w->heard.body), "{\"a\":\"b\"}"));
    assert_int_equal(fetch_running(w->up), 0);
    buf_free(&seen);
    (void)close(fd);
}

static void a_configured_user_agent_replaces_ours(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    struct span agent = SPAN("user-agent: acme/1");
    char base[64];
    (void)snprintf(base, sizeof base, "http://127.0.0.1:%u%s/v1", w->server.port,
                   world_by_libcurl ? "/." : "");
    struct fetch_origin_spec o = {.base_url = span_str(base),
                                  .default_headers = &agent,
                                  .default_header_count = 1,
                                  .private_network = true};
    fetch_origin_destroy(&w->origin);
    assert_int_equal(fetch_origin_create(&o, &w->origin), OK);
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    assert_true(span_find_span(buf_span(&seen), SPAN("user-agent: acme/1\r\n")) < seen.len);
    assert_int_equal(span_find_span(buf_span(&seen), SPAN("User-Agent: ")), seen.len);
    buf_free(&seen);
    (void)close(fd);
}

static void an_answer_without_a_body_still_has_a_head(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    test_answer(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.ends, 1);
    assert_int_equal(w->heard.status, 204);
    buf_free(&seen);
    (void)close(fd);
}

static void a_connection_is_used_again(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    int fd = world_warm_up(w);
    world_start(w, &w->second, world_post(w, &w->second, "{\"again\":1}"));
    test_read_until(&w->server, fd, &seen, "{\"again\":1}");
    test_answer(fd, TEST_OK_JSON);
    world_until_over(w, &w->second);
    assert_int_equal(w->second.ends, 1);
    assert_true(test_nobody_asks(&w->server));
    buf_free(&seen);
    (void)close(fd);
}

static void dies_after(struct world *w, const char *body)
{
    struct buf seen = {0};
    struct heard h = {0};
    buf_clear(&w->heard.body);
    w->heard.ends = w->heard.heads = 0;
    int fd = world_warm_up(w);
    world_start(w, &h, world_post(w, &h, body));
    test_read_until(&w->server, fd, &seen, "\"pay\":1}");
    (void)close(fd);
    world_until_over(w, &h);
    world_assert_failed(&h, ERROR_UPSTREAM_RESET, true);
    assert_true(test_nobody_asks(&w->server));
    buf_free(&seen);
}

static void a_post_on_a_reused_connection_that_dies_is_sent_once(void **state)
{
    enum { LARGE = 100000 };
    struct world *w = *state;
    char *large = malloc(LARGE + 10);
    memset(large, ' ', LARGE);
    memcpy(large + LARGE, "\"pay\":1}", 9);
    large[0] = '{';
    dies_after(w, "{\"pay\":1}");
    dies_after(w, large);
    free(large);
}

static void a_post_whose_idle_connection_was_closed_goes_out_on_a_fresh_one(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    (void)close(world_warm_up(w));
    test_turn(&w->server);
    world_start(w, &w->second, world_post(w, &w->second, "{\"pay\":1}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{\"pay\":1}");
    test_answer(fd, TEST_OK_JSON);
    world_until_over(w, &w->second);
    assert_int_equal(w->second.ends, 1);
    buf_free(&seen);
    (void)close(fd);
}

static void silence_before_the_first_byte_is_a_timeout(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    clock_fake_advance_ms(&w->clock, 999);
    test_turn(&w->server);
    assert_int_equal(w->heard.failures, 0);
    clock_fake_advance_ms(&w->clock, 2);
    test_turn(&w->server);
    test_turn(&w->server);
    world_assert_failed(&w->heard, ERROR_UPSTREAM_TIMEOUT, true);
    assert_true(test_hung_up(&w->server, fd));
    buf_free(&seen);
    (void)close(fd);
}

/* Its memory is not kept then: an address sanitizer sees who looks at it once more. */
static void a_request_may_time_out_when_enough_are_kept_for_reuse(void **state)
{
    enum { ENOUGH = 1024 };
    struct world *w = *state;
    struct fetch_transfer **others = calloc(ENOUGH, sizeof *others);
    struct fetch_spec spec = world_post(w, &w->second, "{}");
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    for (int i = 0; i < ENOUGH; i++)
        assert_int_equal(fetch_start(w->up, &spec, &others[i]), OK);
    for (int i = 0; i < ENOUGH; i++)
        fetch_cancel(&others[i]);
    free(others);
    assert_int_equal(fetch_running(w->up), 1);
    clock_fake_advance_ms(&w->clock, 1001);
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.failures, 1);
    assert_int_equal(fetch_running(w->up), 0);
}

/* A request that has been sent; its connection. */
static int asked(struct world *w, struct fetch_spec spec)
{
    struct buf seen = {0};
    world_start(w, &w->heard, spec);
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    buf_free(&seen);
    return fd;
}

/* So many pieces, each so long after the one before; stops when the request has failed. */
static unsigned drip(struct world *w, int fd, const char *piece, unsigned count, uint64_t ms)
{
    unsigned n = 0;
    while (n < count && !w->heard.failures) {
        size_t before = w->heard.body.len;
        clock_fake_advance_ms(&w->clock, ms);
        test_turn(&w->server);
        if (w->heard.failures)
            break;
        test_answer(fd, piece);
        for (int i = 0; i < TEST_PATIENCE && w->heard.body.len == before; i++)
            test_turn(&w->server);
        n++;
    }
    return n;
}

static void a_stall_after_the_first_byte_is_a_timeout_but_slow_lines_are_not(void **state)
{
    struct world *w = *state;
    int fd = asked(w, world_post(w, &w->heard, "{}"));
    test_answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n.\n");
    world_until_body(w, &w->heard, 2);
    assert_int_equal(drip(w, fd, ".\n", 10, 450), 10);
    clock_fake_advance_ms(&w->clock, 501);
    test_turn(&w->server);
    test_turn(&w->server);
    world_assert_failed(&w->heard, ERROR_UPSTREAM_TIMEOUT, true);
    (void)close(fd);
}

static void a_drip_is_a_stall(void **state)
{
    struct world *w = *state;
    int fd = asked(w, world_post(w, &w->heard, "{}"));
    test_answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n.");
    world_until_body(w, &w->heard, 1);
    assert_int_equal(drip(w, fd, ".", 20, 100), 5); /* 500 ms, and 1 ms for each byte */
    world_assert_failed(&w->heard, ERROR_UPSTREAM_TIMEOUT, true);
    (void)close(fd);
}

static void a_long_line_may_take_long_at_a_fair_rate(void **state)
{
    static char piece[301];
    struct world *w = *state;
    memset(piece, '.', sizeof piece - 1);
    int fd = asked(w, world_post(w, &w->heard, "{}"));
    test_answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n.");
    world_until_body(w, &w->heard, 1);
    assert_int_equal(drip(w, fd, piece, 12, 300), 12);
    (void)close(fd);
}

static struct fetch_spec stream_of(struct world *w, uint64_t first_byte_ms, uint64_t idle_ms)
{
    struct fetch_spec spec = world_post(w, &w->heard, "{}");
    spec.accept_stream = true;
    spec.first_byte_ms = first_byte_ms;
    spec.idle_ms = idle_ms;
    return spec;
}

#define STREAM_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

static void comments_before_the_content_do_not_put_a_streams_time_off(void **state)
{
    struct world *w = *state;
    int fd = asked(w, stream_of(w, 1000, 5000));
    test_answer(fd, STREAM_HEAD ":\n\n");
    world_until_body(w, &w->heard, 3);
    assert_int_equal(drip(w, fd, ":\n\n", 10, 300), 3);
    world_assert_failed(&w->heard, ERROR_UPSTREAM_TIMEOUT, true);
    (void)close(fd);
}

static void after_its_content_has_begun_a_stream_has_its_time_between_pieces(void **state)
{
    struct world *w = *state;
    int fd = asked(w, stream_of(w, 1000, 500));
    test_answer(fd, STREAM_HEAD "data: 1\n\n");
    world_until_body(w, &w->heard, 9);
    fetch_content_began(w->heard.request);
    assert_int_equal(drip(w, fd, ":\n\n", 10, 450), 10);
    clock_fake_advance_ms(&w->clock, 499);
    test_turn(&w->server);
    assert_int_equal(w->heard.failures, 0);
    clock_fake_advance_ms(&w->clock, 2);
    world_until_over(w, &w->heard);
    world_assert_failed(&w->heard, ERROR_UPSTREAM_TIMEOUT, true);
    (void)close(fd);
}

static void a_stream_that_drips_gets_its_own_bound(void **state)
{
    struct world *w = *state;
    int fd = asked(w, stream_of(w, 1000, 60000));
    test_answer(fd, STREAM_HEAD "data: 1\n\n");
    world_until_body(w, &w->heard, 9);
    fetch_content_began(w->heard.request);
    unsigned n = drip(w, fd, "x", 1000, 100);
    assert_in_range(n, FETCH_DRIP_MS / 100 - 1, FETCH_DRIP_MS / 100 + 2);
    world_assert_failed(&w->heard, ERROR_UPSTREAM_TIMEOUT, true);
    (void)close(fd);
}

static void without_limits_only_its_owner_ends_it(void **state)
{
    struct world *w = *state;
    struct fetch_spec spec = world_post(w, &w->heard, "{}");
    spec.first_byte_ms = spec.idle_ms = 0;
    int fd = asked(w, spec);
    clock_fake_advance_ms(&w->clock, 599000);
    for (int i = 0; i < 10; i++)
        test_turn(&w->server);
    assert_int_equal(w->heard.failures, 0);
    test_answer(fd, TEST_OK_JSON);
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.ends, 1);
    (void)close(fd);
}

struct broken {
    const char *answer;
    unsigned error_class;
    size_t body_bytes;
};

static void broken_answers_are_told_apart(void **state)
{
    static const struct broken cases[] = {
        {"", ERROR_UPSTREAM_RESET, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789", ERROR_UPSTREAM_CLOSED, 10},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
         ERROR_UPSTREAM_CLOSED, 5},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Encoding: gzip\r\n\r\nabcd",
         ERROR_UPSTREAM_PROTOCOL, 0},
        {"SSH-2.0-OpenSSH_9.2\r\n", ERROR_UPSTREAM_PROTOCOL, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n0123456789",
         ERROR_UPSTREAM_PROTOCOL, 0},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf seen = {0};
        struct heard h = {0};
        world_start(w, &h, world_post(w, &h, "{}"));
        int fd = test_accept(&w->server);
        test_read_until(&w->server, fd, &seen, "{}");
        test_answer(fd, cases[i].answer);
        (void)close(fd);
        world_until_over(w, &h);
        world_assert_failed(&h, cases[i].error_class, true);
        assert_int_equal(h.body.len, cases[i].body_bytes);
        buf_free(&seen);
        buf_free(&h.body);
    }
}

static void a_compressed_error_keeps_its_status(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    test_answer(fd, "HTTP/1.1 503 No\r\nContent-Length: 4\r\nContent-Encoding: gzip\r\n\r\nabcd");
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.ends, 1);
    assert_int_equal(w->heard.status, 503);
    assert_int_equal(w->heard.body.len, 0);
    buf_free(&seen);
    (void)close(fd);
}

/* "{}" by gzip, in chunks of one byte or at once; what it stands for is heard. */
static const char zipped[] = "\x1f\x8b\x08\0\0\0\0\0\x02\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0";

static void a_compressed_answer_is_heard_as_it_was(void **state)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nTransfer-Encoding: "
        "chunked\r\n\r\n",
        "HTTP/1.1 400 No\r\nContent-Encoding: x-gzip\r\nTransfer-Encoding: chunked\r\n\r\n"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct buf seen = {0}, answer = {0};
        struct heard h = {0};
        world_start(w, &h, world_post(w, &h, "{}"));
        int fd = test_accept(&w->server);
        test_read_until(&w->server, fd, &seen, "{}");
        buf_append_str(&answer, heads[i]);
        for (size_t at = 0; at < sizeof zipped; at++)
            buf_printf(&answer, "1\r\n"), buf_append(&answer, span_of(zipped + at, 1)),
                buf_append_str(&answer, "\r\n");
        buf_append_str(&answer, "0\r\n\r\n");
        assert_int_equal(send(fd, answer.data, answer.len, MSG_NOSIGNAL), answer.len);
        world_until_over(w, &h);
        assert_int_equal(h.ends, 1);
        assert_true(span_is(buf_span(&h.body), "{}"));
        (void)close(fd);
        buf_free(&seen);
        buf_free(&answer);
        buf_free(&h.body);
    }
}

/* Not what it says; of a coding that nobody knows. */
static void what_cannot_be_taken_off_is_the_upstreams_fault(void **state)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct buf seen = {0};
        struct heard h = {0};
        world_start(w, &h, world_post(w, &h, "{}"));
        int fd = test_accept(&w->server);
        test_read_until(&w->server, fd, &seen, "{}");
        test_answer(fd, heads[i]);
        world_until_over(w, &h);
        world_assert_failed(&h, ERROR_UPSTREAM_PROTOCOL, true);
        (void)close(fd);
        buf_free(&seen);
        buf_free(&h.body);
    }
}

static void answer_many(int fd, struct world *w, const char *head, size_t bytes)
{
    char block[512];
    memset(block, 'x', sizeof block);
    test_answer(fd, head);
    for (size_t at = 0; at < bytes; at += sizeof block) {
        if (send(fd, block, sizeof block, MSG_NOSIGNAL) < 0)
            return;
        test_turn(&w->server);
    }
}

static void an_answer_past_the_bound_is_cut_but_a_stream_is_not(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    answer_many(fd, w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
                2 * WORLD_MAX_RESPONSE);
    world_until_over(w, &w->heard);
    world_assert_failed(&w->heard, ERROR_UPSTREAM_PROTOCOL, true);
    assert_true(w->heard.body.len <= WORLD_MAX_RESPONSE);
    (void)close(fd);
    buf_clear(&seen);

    world_start(w, &w->second, world_post(w, &w->second, "{}"));
    fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    answer_many(fd, w, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n",
                2 * WORLD_MAX_RESPONSE);
    (void)close(fd);
    world_until_over(w, &w->second);
    assert_int_equal(w->second.ends, 1);
    assert_int_equal(w->second.body.len, 2 * WORLD_MAX_RESPONSE);
    buf_free(&seen);
}

static void a_cancelled_request_closes_its_connection_and_is_silent(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    assert_true(fetch_sent(w->heard.request));
    fetch_cancel(&w->heard.request);
    assert_null(w->heard.request);
    assert_true(test_hung_up(&w->server, fd));
    assert_int_equal(w->heard.ends + w->heard.failures + w->heard.heads, 0);
    assert_int_equal(fetch_running(w->up), 0);
    buf_free(&seen);
    (void)close(fd);
}

static void handlers_may_cancel_their_own_request(void **state)
{
    struct world *w = *state;
    for (int in_head = 0; in_head < 2; in_head++) {
        struct heard h = {.cancel_in_head = in_head, .cancel_in_bytes = !in_head};
        struct buf seen = {0};
        world_start(w, &h, world_post(w, &h, "{}"));
        int fd = test_accept(&w->server);
        test_read_until(&w->server, fd, &seen, "{}");
        test_answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        assert_true(test_hung_up(&w->server, fd));
        assert_int_equal(h.heads, 1);
        assert_int_equal(h.ends + h.failures, 0);
        assert_int_equal(fetch_running(w->up), 0);
        buf_free(&seen);
        buf_free(&h.body);
        (void)close(fd);
    }
}

static void a_handler_may_start_the_next_request(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    w->heard.start_another = w;
    int fd = world_warm_up(w);
    test_read_until(&w->server, fd, &seen, "{}");
    test_answer(fd, TEST_OK_JSON);
    world_until_over(w, &w->second);
    assert_int_equal(w->second.ends, 1);
    buf_free(&seen);
    (void)close(fd);
}

static void a_paused_request_reads_nothing_until_it_is_resumed(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    test_answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
    world_until_body(w, &w->heard, 3);
    fetch_pause(w->heard.request);
    test_answer(fd, "def");
    for (int i = 0; i < 10; i++)
        test_turn(&w->server);
    assert_int_equal(w->heard.body.len, 3);
    clock_fake_advance_ms(&w->clock, 60000); /* our own doing: no stall of the upstream's */
    test_turn(&w->server);
    assert_int_equal(w->heard.failures, 0);
    fetch_resume(w->heard.request);
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.ends, 1);
    assert_true(span_is(buf_span(&w->heard.body), "abcdef"));
    buf_free(&seen);
    (void)close(fd);
}

/* What waits for libcurl to return is forgotten with the request: those kept for reuse are not lost
 * (a leak sanitizer counts them). */
static void a_request_may_end_before_it_is_resumed(void **state)
{
    struct world *w = *state;
    struct fetch_transfer *others[2];
    struct fetch_spec spec = world_post(w, &w->second, "{}");
    struct buf seen = {0};
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    for (int i = 0; i < 2; i++)
        assert_int_equal(fetch_start(w->up, &spec, &others[i]), OK);
    for (int i = 0; i < 2; i++)
        fetch_cancel(&others[i]);
    w->heard.pause_in_bytes = true;
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    test_answer(fd, TEST_OK_JSON);
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.ends, 1);
    buf_free(&seen);
    (void)close(fd);
}

static void nobody_listening_is_unreachable_and_nothing_was_sent(void **state)
{
    struct world *w = *state;
    struct test_server gone;
    char base[64];
    test_server_open(&gone, w->loop);
    test_server_close(&gone);
    (void)snprintf(base, sizeof base, "http://127.0.0.1:%u/v1", gone.port);
    struct fetch_origin *o = world_make_origin(w, base, true);
    struct fetch_spec spec = world_post(w, &w->heard, "{}");
    spec.origin = o;
    world_start(w, &w->heard, spec);
    world_until_over(w, &w->heard);
    world_assert_failed(&w->heard, ERROR_UPSTREAM_UNREACHABLE, false);
    fetch_origin_destroy(&o);
}

static void a_private_address_is_refused_when_the_socket_is_made(void **state)
{
    struct world *w = *state;
    static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct heard h = {0};
        char base[64];
        (void)snprintf(base, sizeof base, "https://%s:%u/v1", hosts[i], w->server.port);
        struct fetch_origin *o = world_make_origin(w, base, false);
        struct fetch_spec spec = world_post(w, &h, "{}");
        spec.origin = o;
        world_start(w, &h, spec);
        world_until_over(w, &h);
        world_assert_failed(&h, ERROR_UPSTREAM_UNREACHABLE, false);
        assert_true(test_nobody_asks(&w->server));
        fetch_origin_destroy(&o);
    }
}

static void a_redirect_is_an_answer_not_a_way_to_go(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    char text[160];
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "{}");
    (void)snprintf(
        text, sizeof text,
        "HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:%u/x\r\nContent-Length: 0\r\n\r\n",
        w->server.port);
    test_answer(fd, text);
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.status, 307);
    assert_true(test_nobody_asks(&w->server));
    buf_free(&seen);
    (void)close(fd);
}

static void the_environments_proxy_is_not_used(void **state)
{
    struct world *w = *state;
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
    (void)close(world_warm_up(w));
    (void)unsetenv("http_proxy");
    (void)unsetenv("ALL_PROXY");
}

static void the_key_does_not_go_to_another_host(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    char base[64], url[64];
    (void)snprintf(base, sizeof base, "http://127.0.0.1:%u/v1", (unsigned)w->server.port ^ 1U);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/stream?x=1", w->server.port);
    struct fetch_origin *elsewhere = world_make_origin(w, base, true);
    for (int own = 0; own < 2; own++) {
        struct heard h = {0};
        struct fetch_spec spec = world_post(w, &h, "");
        spec.origin = own ? w->origin : elsewhere;
        spec.method = "GET";
        spec.url = span_str(url);
        spec.accept_stream = true;
        world_start(w, &h, spec);
        int fd = own ? -1 : test_accept(&w->server);
        static int kept;
        fd = own ? kept : fd;
        kept = fd;
        buf_clear(&seen);
        test_read_until(&w->server, fd, &seen, "\r\n\r\n");
        assert_true(span_starts(buf_span(&seen), "GET /stream?x=1 HTTP/1.1\r\n"));
        assert_true(span_find_span(buf_span(&seen), SPAN("Accept: text/event-stream")) < seen.len);
        assert_int_equal(span_find_span(buf_span(&seen), SPAN("Bearer")) < seen.len, own);
        test_answer(fd, TEST_OK_JSON);
        world_until_over(w, &h);
        buf_free(&h.body);
        if (own)
            (void)close(fd);
    }
    fetch_origin_destroy(&elsewhere);
    buf_free(&seen);
}

static void unusable_base_urls_are_refused(void **state)
{
    static const struct {
        const char *url;
        bool private_network;
        enum err err;
    } cases[] = {
        {"https://api.openai.com/v1", false, OK},
        {"https://api.openai.com", false, OK},
        {"http://10.0.0.7:8000/v1", true, OK},
        {"http://10.0.0.7:8000/v1", false, ERR_DENIED},
        {"https://user:pw@api.openai.com/v1", false, ERR_INVALID},
        {"https:///v1", false, ERR_INVALID},
        {"ftp://x/v1", true, ERR_INVALID},
        {"file:///etc/passwd", true, ERR_INVALID},
        {"https://x/v1?y=1", false, ERR_INVALID},
        {"https://x/v1#y", false, ERR_INVALID},
        {"https://x/v 1", false, ERR_INVALID},
        {"", false, ERR_INVALID},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fetch_origin_spec spec = {.base_url = span_str(cases[i].url),
                                         .private_network = cases[i].private_network};
        struct fetch_origin *o = NULL;
        assert_int_equal(fetch_origin_create(&spec, &o), cases[i].err);
        fetch_origin_destroy(&o);
    }
}

static void http_to_a_public_origins_foreign_url_is_not_started(void **state)
{
    struct world *w = *state;
    struct fetch_origin *o = world_make_origin(w, "https://api.replicate.com/v1", false);
    struct fetch_spec spec = world_post(w, &w->heard, "");
    struct fetch_transfer *r = NULL;
    spec.origin = o;
    spec.url = SPAN("http://stream.replicate.com/x");
    assert_int_equal(fetch_start(w->up, &spec, &r), ERR_DENIED);
    assert_null(r);
    fetch_origin_destroy(&o);
}

static void many_requests_at_once_each_get_their_own_answer(void **state)
{
    enum { MANY = 150 };
    struct world *w = *state;
    struct heard *heard = calloc(MANY, sizeof *heard);
    char bodies[MANY][32];
    int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(bodies[i], sizeof bodies[i], "{\"n\":%d}", i);
        world_start(w, &heard[i], world_post(w, &heard[i], bodies[i]));
    }
    for (int i = 0; i < MANY; i++)
        fds[i] = test_accept(&w->server);
    for (int i = 0; i < MANY; i++) {
        struct buf seen = {0};
        char text[128];
        test_read_until(&w->server, fds[i], &seen, "}");
        size_t at = span_find_span(buf_span(&seen), SPAN("{\"n\""));
        (void)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%.*s",
                       seen.len - at, (int)(seen.len - at), seen.data + at);
        test_answer(fds[i], text);
        buf_free(&seen);
    }
    for (int i = 0; i < MANY; i++) {
        world_until_over(w, &heard[i]);
        assert_true(span_is(buf_span(&heard[i].body), bodies[i]));
        buf_free(&heard[i].body);
        (void)close(fds[i]);
    }
    free(heard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(a_post_arrives_whole_and_its_answer_comes_back),
        WORLD_CASE(a_configured_user_agent_replaces_ours),
        WORLD_CASE(an_answer_without_a_body_still_has_a_head),
        WORLD_CASE(a_connection_is_used_again),
        WORLD_CASE(a_post_on_a_reused_connection_that_dies_is_sent_once),
        WORLD_CASE(a_post_whose_idle_connection_was_closed_goes_out_on_a_fresh_one),
        WORLD_CASE(silence_before_the_first_byte_is_a_timeout),
        WORLD_CASE(a_request_may_time_out_when_enough_are_kept_for_reuse),
        WORLD_CASE(a_stall_after_the_first_byte_is_a_timeout_but_slow_lines_are_not),
        WORLD_CASE(a_drip_is_a_stall),
        WORLD_CASE(a_long_line_may_take_long_at_a_fair_rate),
        WORLD_CASE(comments_before_the_content_do_not_put_a_streams_time_off),
        WORLD_CASE(after_its_content_has_begun_a_stream_has_its_time_between_pieces),
        WORLD_CASE(a_stream_that_drips_gets_its_own_bound),
        WORLD_CASE(without_limits_only_its_owner_ends_it),
        WORLD_CASE(broken_answers_are_told_apart),
        WORLD_CASE(a_compressed_error_keeps_its_status),
        WORLD_CASE(a_compressed_answer_is_heard_as_it_was),
        WORLD_CASE(what_cannot_be_taken_off_is_the_upstreams_fault),
        WORLD_CASE(an_answer_past_the_bound_is_cut_but_a_stream_is_not),
        WORLD_CASE(a_cancelled_request_closes_its_connection_and_is_silent),
        WORLD_CASE(handlers_may_cancel_their_own_request),
        WORLD_CASE(a_handler_may_start_the_next_request),
        WORLD_CASE(a_paused_request_reads_nothing_until_it_is_resumed),
        WORLD_CASE(a_request_may_end_before_it_is_resumed),
        WORLD_CASE(nobody_listening_is_unreachable_and_nothing_was_sent),
        WORLD_CASE(a_private_address_is_refused_when_the_socket_is_made),
        WORLD_CASE(a_redirect_is_an_answer_not_a_way_to_go),
        WORLD_CASE(the_environments_proxy_is_not_used),
        WORLD_CASE(the_key_does_not_go_to_another_host),
        WORLD_CASE(unusable_base_urls_are_refused),
        WORLD_CASE(http_to_a_public_origins_foreign_url_is_not_started),
        WORLD_CASE(many_requests_at_once_each_get_their_own_answer),
    };
    int failed = cmocka_run_group_tests_name("by our own client", tests, NULL, NULL);
    world_by_libcurl = true;
    return failed + cmocka_run_group_tests_name("by libcurl", tests, NULL, NULL);
}
