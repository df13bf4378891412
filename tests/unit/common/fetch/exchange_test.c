/* What our own HTTP/1.1 client does beside what fetch_test.c asks of it and of libcurl alike:
 * pooled connections, odd answers, answers before their time. */
#include "unit/common/fetch/test_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/error_class.h"

/* Starts it, and reads it up to `until`; returns its connection: `fd`, or the next one for -1. */
static int ask(struct world *w, struct heard *h, struct fetch_spec spec, int fd, const char *until)
{
    struct buf seen = {0};
    world_start(w, h, spec);
    if (fd < 0)
        fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, until);
    buf_free(&seen);
    return fd;
}

static int ask_post(struct world *w, struct heard *h, int fd)
{
    return ask(w, h, world_post(w, h, "{\"n\":1}"), fd, "{\"n\":1}");
}

static struct fetch_spec get(struct world *w, struct heard *h, const char *method)
{
    struct fetch_spec s = world_post(w, h, "");
    s.method = method;
    return s;
}

static void reset(int fd)
{
    struct linger hard = {1, 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    (void)close(fd);
}

static void answers_and_ends(struct world *w, struct heard *h, int fd, const char *body)
{
    char text[128];
    (void)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                   strlen(body), body);
    test_answer(fd, text);
    world_until_over(w, h);
    assert_int_equal(h->ends, 1);
    assert_true(span_is(buf_span(&h->body), body));
    buf_free(&h->body);
}

/* ---- the pool ---- */

static void an_idle_connection_that_closes_or_talks_is_closed_at_once(void **state)
{
    struct world *w = *state;
    for (int talks = 0; talks < 2; talks++) {
        struct heard h = {0};
        w->heard = (struct heard){0};
        int fd = world_warm_up(w);
        if (talks)
            test_answer(fd, TEST_OK_JSON);
        else
            assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_true(test_hung_up(&w->server, fd));
        (void)close(fd);
        fd = ask_post(w, &h, -1);
        answers_and_ends(w, &h, fd, "fresh");
        (void)close(fd);
        test_turn(&w->server);
        buf_free(&w->heard.body);
    }
}

static void bytes_behind_an_answer_end_its_connection(void **state)
{
    struct world *w = *state;
    int fd = ask_post(w, &w->heard, -1);
    test_answer(fd, TEST_OK_JSON "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nothers");
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.ends, 1);
    assert_true(span_is(buf_span(&w->heard.body), "{\"a\":\"b\"}"));
    assert_true(test_hung_up(&w->server, fd));
    (void)close(fd);
}

static void an_idle_connection_gets_old(void **state)
{
    struct world *w = *state;
    int fd = world_warm_up(w);
    for (int i = 0; i < 14; i++) {
        clock_fake_advance_ms(&w->clock, 5000);
        test_turn(&w->server);
    }
    assert_true(test_hung_up(&w->server, fd));
    (void)close(fd);
}

static void no_more_idle_connections_are_kept_than_allowed(void **state)
{
    enum { MANY = 70, KEPT = 64 };
    struct world *w = *state;
    struct heard h[MANY] = {{0}};
    int fds[MANY];
    unsigned open = 0;
    for (int i = 0; i < MANY; i++)
        fds[i] = ask_post(w, &h[i], -1);
    for (int i = 0; i < MANY; i++)
        answers_and_ends(w, &h[i], fds[i], "x");
    for (int i = 0; i < MANY; i++) {
        char c;
        errno = 0;
        open += recv(fds[i], &c, 1, 0) < 0 && errno == EAGAIN;
        (void)close(fds[i]);
    }
    assert_int_equal(open, KEPT);
}

/* Two idle connections; one turns out dead with a request on it: the other is not used either. */
static void after_a_reset_the_next_request_has_a_fresh_connection(void **state)
{
    struct world *w = *state;
    struct heard h[4] = {{0}};
    int a = ask_post(w, &h[0], -1), b = ask_post(w, &h[1], -1);
    answers_and_ends(w, &h[0], a, "a");
    answers_and_ends(w, &h[1], b, "b");
    (void)ask_post(w, &h[2], b);
    reset(b);
    world_until_over(w, &h[2]);
    world_assert_failed(&h[2], ERROR_UPSTREAM_RESET, true);
    assert_true(test_hung_up(&w->server, a));
    (void)close(a);
    a = ask_post(w, &h[3], -1);
    answers_and_ends(w, &h[3], a, "c");
    (void)close(a);
}

static void a_post_of_which_nothing_could_be_sent_moves_to_a_fresh_connection(void **state)
{
    struct world *w = *state;
    reset(world_warm_up(w)); /* and no turn in which it could be noticed */
    int fd = ask_post(w, &w->second, -1);
    answers_and_ends(w, &w->second, fd, "moved");
    (void)close(fd);
}

static void a_get_moves_once_when_its_pooled_connection_dies(void **state)
{
    struct world *w = *state;
    struct buf seen = {0};
    int fd = world_warm_up(w);
    reset(ask(w, &w->second, get(w, &w->second, "GET"), fd, "\r\n\r\n"));
    fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &seen, "\r\n\r\n");
    reset(fd);
    world_until_over(w, &w->second);
    world_assert_failed(&w->second, ERROR_UPSTREAM_RESET, true);
    assert_true(test_nobody_asks(&w->server));
    buf_free(&seen);
}

/* ---- answers ---- */

struct answer {
    const char *method, *text, *body;
    unsigned status;
    bool stays; /* the connection may be used again */
};

static void answers_of_every_kind_are_read(void **state)
{
    static const struct answer answers[] = {
        {"POST",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nA: b\r\n\r\n",
         "hi", 200, true},
        {"POST", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
         "hi", 200, true},
        {"POST", "HTTP/1.1 200 OK\r\n\r\nto the end", "to the end", 200, false},
        {"POST", "HTTP/1.1 200 OK\r\n\r\n", "", 200, false},
        {"POST", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", 200, false},
        {"POST", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", "hi", 200,
         false},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "", 200, true},
        {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", "", 304, true},
        {"DELETE", "HTTP/1.1 204 No Content\r\n\r\n", "", 204, true},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const struct answer *a = &answers[i];
        for (int dripped = 0; dripped < 2; dripped++) {
            struct heard h = {0};
            int fd = strcmp(a->method, "POST") == 0
                         ? ask_post(w, &h, -1)
                         : ask(w, &h, get(w, &h, a->method), -1, "\r\n\r\n");
            for (const char *at = a->text; dripped && *at; at++) {
                assert_int_equal(send(fd, at, 1, MSG_NOSIGNAL), 1);
                test_turn(&w->server);
            }
            if (!dripped)
                test_answer(fd, a->text);
            if (!a->stays)
                assert_int_equal(shutdown(fd, SHUT_WR), 0);
            world_until_over(w, &h);
            assert_int_equal(h.ends, 1);
            assert_int_equal(h.heads, 1);
            assert_int_equal(h.status, a->status);
            assert_true(span_is(buf_span(&h.body), a->body));
            if (a->stays)
                assert_int_equal(shutdown(fd, SHUT_WR), 0); /* noticed while idle */
            assert_true(test_hung_up(&w->server, fd));
            buf_free(&h.body);
            (void)close(fd);
        }
    }
}

static void ambiguous_framing_is_no_answer_and_ends_the_connection(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: "
        "chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "{\"an\":\"answer of HTTP/0.9\"}",
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct heard h = {0};
        int fd = ask_post(w, &h, -1);
        test_answer(fd, answers[i]);
        world_until_over(w, &h);
        world_assert_failed(&h, ERROR_UPSTREAM_PROTOCOL, true);
        assert_int_equal(h.heads, 0);
        assert_true(test_hung_up(&w->server, fd));
        (void)close(fd);
    }
}

/* The head alone is no answer yet: a stream whose first event is late has not begun. */
static void a_head_is_told_with_the_first_byte_of_its_body(void **state)
{
    struct world *w = *state;
    int fd = ask_post(w, &w->heard, -1);
    test_answer(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n");
    for (int i = 0; i < 5; i++)
        test_turn(&w->server);
    assert_int_equal(w->heard.heads, 0);
    test_answer(fd, "5\r\ndata:\r\n");
    world_until_body(w, &w->heard, 5);
    assert_int_equal(w->heard.heads, 1);
    assert_string_equal(w->heard.type, "text/event-stream");
    fetch_cancel(&w->heard.request);
    (void)close(fd);
}

static void an_answer_may_come_before_the_request_is_sent(void **state)
{
    enum { LARGE = 32 << 20 };
    struct world *w = *state;
    char *large = malloc(LARGE + 1);
    memset(large, ' ', LARGE);
    large[LARGE] = '\0';
    int fd = ask(w, &w->heard, world_post(w, &w->heard, large), -1, "\r\n\r\n");
    test_answer(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
    world_until_over(w, &w->heard);
    assert_int_equal(w->heard.ends, 1);
    assert_int_equal(w->heard.status, 413);
    (void)close(fd);
    free(large);
}

static void a_large_request_arrives_whole(void **state)
{
    enum { LARGE = 3000000 };
    struct world *w = *state;
    char *large = malloc(LARGE + 1), *bytes = malloc(LARGE + 4096);
    size_t have = 0;
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)('a' + i % 23);
    large[LARGE] = '\0';
    world_start(w, &w->heard, world_post(w, &w->heard, large));
    int fd = test_accept(&w->server);
    for (int i = 0; i < 10000 && (have < LARGE || memcmp(bytes + have - 6, large + LARGE - 6, 6));
         i++) {
        ssize_t n = recv(fd, bytes + have, LARGE + 4096 - have, 0);
        have += n > 0 ? (size_t)n : 0;
        test_turn(&w->server);
    }
    assert_true(have > LARGE && memcmp(bytes + have - LARGE, large, LARGE) == 0);
    answers_and_ends(w, &w->heard, fd, "all");
    (void)close(fd);
    free(bytes);
    free(large);
}

/* ---- flow and life ---- */

static void what_is_not_read_stays_with_the_upstream(void **state)
{
    enum { MOST = 64 << 20 };
    static char block[65536];
    struct world *w = *state;
    size_t sent = 0, kept;
    w->heard.pause_in_bytes = false;
    int fd = ask_post(w, &w->heard, -1);
    test_answer(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n!");
    world_until_body(w, &w->heard, 1);
    fetch_pause(w->heard.request);
    for (int blocked = 0; sent < MOST && blocked < 20;) {
        ssize_t n = send(fd, block, sizeof block, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        blocked = n > 0 ? 0 : blocked + 1;
        test_turn(&w->server);
    }
    assert_true(sent < MOST);
    kept = w->heard.body.len;
    assert_true(kept <= 65536);
    fetch_resume(w->heard.request);
    world_until_body(w, &w->heard, sent + 1);
    fetch_cancel(&w->heard.request);
    (void)close(fd);
}

static void nothing_was_sent_before_there_is_a_connection(void **state)
{
    struct world *w = *state;
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    assert_false(fetch_sent(w->heard.request));
    fetch_cancel(&w->heard.request);
    assert_int_equal(fetch_running(w->up), 0);
    assert_true(test_nobody_asks(&w->server));
}

static void the_client_may_be_destroyed_with_connections_of_every_state(void **state)
{
    struct world *w = *state;
    struct heard h[3] = {{0}};
    int idle = ask_post(w, &h[0], -1), busy = ask_post(w, &h[1], -1);
    answers_and_ends(w, &h[0], idle, "x");
    test_answer(busy, "HTTP/1.1 200 OK\r\nContent-Le");
    test_turn(&w->server);
    world_start(w, &h[2], world_post(w, &h[2], "{}"));           /* takes the idle one */
    world_start(w, &w->second, world_post(w, &w->second, "{}")); /* connects */
    fetch_destroy(&w->up);
    assert_true(test_hung_up(&w->server, idle));
    assert_true(test_hung_up(&w->server, busy));
    assert_int_equal(h[1].ends + h[1].failures + h[2].failures + w->second.failures, 0);
    (void)close(idle);
    (void)close(busy);
}

static void a_field_that_could_end_its_line_is_refused(void **state)
{
    struct world *w = *state;
    const struct span bad[] = {SPAN("x: a\rb\n"), SPAN("x: a\0b\n"), SPAN("x: a\x7f\n")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fetch_spec spec = world_post(w, &w->heard, "{}");
        spec.headers = bad[i];
        assert_int_equal(fetch_start(w->up, &spec, &w->heard.request), ERR_INVALID);
        assert_null(w->heard.request);
    }
}

/* The head that libcurl writes for the same request (but that ours does not call an empty body a
 * form). */
static void its_heads_are_those_of_libcurl(void **state)
{
    static const struct {
        const char *method, *body, *headers, *path;
    } cases[] = {
        {"POST", "{}", "x-extra: 1\n", "/chat/completions"},
        {"POST", "{}", "content-type: text/plain\nX-Extra: 2\nEmpty:\nA: b, c\n", "/x?y=z"},
        {"GET", "", "x-extra: 1\n", "/models/a%20b"},
        {"DELETE", "", "", "/x"},
    };
    struct world *w = *state;
    char base[64];
    (void)snprintf(base, sizeof base, "http://127.0.0.1:%u/./v1", w->server.port);
    struct fetch_origin *by_libcurl = world_make_origin(w, base, true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf seen[2] = {{0}};
        for (int j = 0; j < 2; j++) {
            struct heard h = {0};
            struct fetch_spec spec = world_post(w, &h, cases[i].body);
            spec.origin = j ? by_libcurl : w->origin;
            spec.method = cases[i].method;
            spec.headers = span_str(cases[i].headers);
            spec.path = span_str(cases[i].path);
            world_start(w, &h, spec);
            int fd = test_accept(&w->server);
            test_read_until(&w->server, fd, &seen[j], "\r\n\r\n");
            fetch_cancel(&h.request);
            (void)close(fd);
        }
        size_t dot = span_find_span(buf_span(&seen[1]), SPAN("/./v1")); /* as it was configured */
        assert_true(dot < seen[1].len);
        memmove(seen[1].data + dot, seen[1].data + dot + 2, seen[1].len - dot - 2);
        seen[1].len -= 2;
        if (!span_equals(buf_span(&seen[0]), buf_span(&seen[1])))
            fail_msg("ours:\n%.*s\nlibcurl's:\n%.*s", (int)seen[0].len, seen[0].data,
                     (int)seen[1].len, seen[1].data);
        buf_free(&seen[0]);
        buf_free(&seen[1]);
    }
    fetch_origin_destroy(&by_libcurl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(an_idle_connection_that_closes_or_talks_is_closed_at_once),
        WORLD_CASE(bytes_behind_an_answer_end_its_connection),
        WORLD_CASE(an_idle_connection_gets_old),
        WORLD_CASE(no_more_idle_connections_are_kept_than_allowed),
        WORLD_CASE(after_a_reset_the_next_request_has_a_fresh_connection),
        WORLD_CASE(a_post_of_which_nothing_could_be_sent_moves_to_a_fresh_connection),
        WORLD_CASE(a_get_moves_once_when_its_pooled_connection_dies),
        WORLD_CASE(answers_of_every_kind_are_read),
        WORLD_CASE(ambiguous_framing_is_no_answer_and_ends_the_connection),
        WORLD_CASE(a_head_is_told_with_the_first_byte_of_its_body),
        WORLD_CASE(an_answer_may_come_before_the_request_is_sent),
        WORLD_CASE(a_large_request_arrives_whole),
        WORLD_CASE(what_is_not_read_stays_with_the_upstream),
        WORLD_CASE(nothing_was_sent_before_there_is_a_connection),
        WORLD_CASE(the_client_may_be_destroyed_with_connections_of_every_state),
        WORLD_CASE(a_field_that_could_end_its_line_is_refused),
        WORLD_CASE(its_heads_are_those_of_libcurl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
