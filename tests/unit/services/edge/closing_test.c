/* Requests that the edge ends by itself: when it stops, and when their key is revoked. */
#include "unit/services/edge/test_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/error_class.h"

#define KEY "Authorization: Bearer sk-1\r\n"
#define CHAT "/v1/chat/completions"
#define MESSAGES "/v1/messages"
#define ASK "{\"model\":\"gpt-4\",\"messages\":[]}"
#define ASK_STREAM "{\"model\":\"claude-3\",\"stream\":true,\"messages\":[]}"

static const struct header first = {.attempt = 1};

/* A stream of which its client has the beginning. */
static struct suite_peer *stream(struct suite *s, struct suite_client *c, const char *path)
{
    struct head head = {.status = 200, .provider = SPAN("anthropic")};
    struct data data = {.bytes = SPAN("data: 1\n\n")};
    client_open(s, c);
    edge_request(c, "POST", path, KEY, ASK_STREAM);
    struct suite_peer *worker = suite_dispatched(s);
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_HEAD, &head);
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_DATA, &data);
    SUITE_UNTIL(s, client_has(c, "data: 1\n\n"));
    return worker;
}

static struct suite_peer *ask(struct suite *s, struct suite_client *c)
{
    client_open(s, c);
    edge_request(c, "POST", CHAT, KEY, ASK);
    return suite_dispatched(s);
}

static void what_an_edge_cuts_short_ends_in_words(void **state)
{
    struct suite *s = *state;
    struct suite_client chat, messages, unary;
    (void)stream(s, &chat, CHAT);
    (void)stream(s, &messages, MESSAGES);
    struct suite_peer *worker = ask(s, &unary);
    s->d.draining = true;
    edge_drain(&s->edge);
    suite_settle(s);
    assert_false(edge_drained(&s->edge));
    edge_cut_short(&s->edge);
    SUITE_UNTIL(s, client_has(&chat, "service_unavailable") && client_has(&chat, "\r\n0\r\n\r\n"));
    assert_false(client_has(&chat, "[DONE]"));
    SUITE_UNTIL(s,
                client_has(&messages, "event: error\n") && client_has(&messages, "\r\n0\r\n\r\n"));
    assert_false(client_has(&messages, "message_stop"));
    SUITE_UNTIL(s, client_has(&unary, "HTTP/1.1 503") && client_has(&unary, "restarting"));
    SUITE_UNTIL(s, worker->seen[MESSAGE_CANCEL].count > 0);
    SUITE_UNTIL(s, edge_drained(&s->edge));
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].count, 3);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], 1); /* a SETTLE may come */
    client_close(&chat);
    client_close(&messages);
    client_close(&unary);
}

static void a_lame_duck_says_no_before_it_closes_its_door(void **state)
{
    struct suite *s = *state;
    struct suite_client probe, late, last;
    s->config->options.edge_lame_duck = 2000;
    assert_int_equal(edge_lame_duck_ms(&s->edge), 2000);
    s->d.draining = true;
    edge_drain(&s->edge);
    client_open(s, &probe);
    edge_request(&probe, "GET", "/health/readiness", "", NULL);
    SUITE_UNTIL(s, client_has(&probe, "HTTP/1.1 503") && client_has(&probe, "draining"));
    struct reply reply = {.status = 200, .body = SPAN("served")};
    suite_send(ask(s, &late), MESSAGE_DISPATCH, first, MESSAGE_REPLY, &reply);
    SUITE_UNTIL(s, client_has(&late, "served"));
    assert_true(client_has(&late, "Connection: close"));
    SUITE_UNTIL(s, s->edge.request_count == 0);
    suite_settle(s);
    assert_false(edge_drained(&s->edge)); /* whatever is there, it waits for those who come */
    client_open(s, &last);
    suite_advance(s, 2100);
    edge_request(&last, "GET", "/health/liveness", "", NULL);
    SUITE_UNTIL(s, client_has(&last, "alive"));
    SUITE_UNTIL(s, edge_drained(&s->edge));
    client_close(&probe);
    client_close(&late);
    client_close(&last);
}

static void a_revoked_keys_requests_end_and_others_go_on(void **state)
{
    struct suite *s = *state;
    struct suite_client own, other, unary;
    s->allow.key_id = SPAN("key_revoked");
    struct suite_peer *worker = stream(s, &own, CHAT);
    (void)ask(s, &unary);
    s->allow.key_id = SPAN("key_other");
    (void)stream(s, &other, CHAT);
    struct revoked revoked = {.key_id = SPAN("key_revoked")};
    suite_send(&s->auth, MESSAGE_AUTHORIZE, first, MESSAGE_REVOKED, &revoked);
    SUITE_UNTIL(s, client_has(&own, "This API key has been revoked.") &&
                       client_has(&own, "\r\n0\r\n\r\n"));
    assert_false(client_has(&own, "[DONE]"));
    SUITE_UNTIL(s, client_has(&unary, "HTTP/1.1 401"));
    SUITE_UNTIL(s, worker->seen[MESSAGE_CANCEL].count > 0);
    suite_settle(s);
    assert_false(client_has(&other, "revoked"));
    assert_int_equal(s->edge.request_count, 1);
    client_close(&own);
    client_close(&other);
    client_close(&unary);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, suite_setup, suite_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_an_edge_cuts_short_ends_in_words),
        TEST(a_lame_duck_says_no_before_it_closes_its_door),
        TEST(a_revoked_keys_requests_end_and_others_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
