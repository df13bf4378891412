/* Whose large body is read, and how. */
#include "unit/services/edge/test_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/error_class.h"
#include "services/edge/request/authorize.h"

#define KEY "Authorization: Bearer sk-1\r\n"
#define CHAT "/v1/chat/completions"

enum { LARGE_BYTES = 100000 };

/* {"model":"gpt-4","pad":"   …"} */
static char *large_body(void)
{
    static const char start[] = "{\"model\":\"gpt-4\",\"pad\":\"";
    char *body = malloc(LARGE_BYTES + 1);
    assert_non_null(body);
    memset(body, ' ', LARGE_BYTES);
    memcpy(body, start, sizeof start - 1);
    memcpy(body + LARGE_BYTES - 2, "\"}", 3);
    return body;
}

static void ask_large(struct suite_client *c, const char *path, const char *head)
{
    char *body = large_body();
    edge_request(c, "POST", path, head, body);
    free(body);
}

static void unknown_keys(struct suite *s)
{
    s->auth_does = AUTH_DENIES;
    s->deny =
        (struct deny){.error_class = ERROR_BAD_KEY, .message = SPAN("Incorrect API key provided.")};
}

static uint64_t bodies_held(const struct suite *s)
{
    return http_server_stats(s->edge.http).body_bytes;
}

static unsigned asked(const struct suite *s)
{
    return s->auth.seen[MESSAGE_AUTHORIZE].count;
}

static void an_unknown_key_gets_401_from_the_head_alone(void **state)
{
    static const char *const paths[] = {CHAT, "/v1/messages"};
    static const char *const texts[] = {"\"code\":\"invalid_api_key\"",
                                        "\"type\":\"authentication_error\""};
    struct suite *s = *state;
    unknown_keys(s);
    for (unsigned i = 0; i < 2; i++) {
        struct suite_client c;
        client_open(s, &c);
        /* of a body without an end only the head comes */
        edge_request(&c, "POST", paths[i], KEY "Content-Length: 30000000\r\n", NULL);
        SUITE_UNTIL(s, client_has(&c, texts[i]));
        assert_true(client_has(&c, "HTTP/1.1 401 "));
        assert_true(client_has(&c, "Connection: close"));
        assert_true(client_has(&c, "x-should-retry: false"));
        assert_int_equal(bodies_held(s), 0);
        client_close(&c);
    }
    assert_int_equal(asked(s), 1); /* the answer is kept */
    assert_string_equal(s->auth.seen[MESSAGE_AUTHORIZE].text[0], "");
    assert_int_equal(s->edge.request_count, 0);
}

static void an_unknown_key_is_asked_about_again_before_long(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    unknown_keys(s);
    client_open(s, &c);
    ask_large(&c, CHAT, KEY);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 401 "));
    client_close(&c);
    suite_advance(s, 6000);
    s->auth_does = AUTH_ALLOWS;
    client_open(s, &c);
    ask_large(&c, CHAT, KEY);
    (void)suite_dispatched(s);
    client_close(&c);
}

static void a_known_key_costs_one_question_more_once(void **state)
{
    struct suite *s = *state;
    for (unsigned i = 1; i <= 3; i++) {
        struct suite_client c;
        client_open(s, &c);
        ask_large(&c, CHAT, KEY);
        struct suite_peer *worker = suite_dispatched(s);
        assert_int_equal(asked(s), i + 1);
        struct reply reply = {.status = 200, .body = SPAN("done")};
        suite_send(worker, MESSAGE_DISPATCH, (struct header){.attempt = 1}, MESSAGE_REPLY, &reply);
        SUITE_UNTIL(s, client_has(&c, "done"));
        client_close(&c);
    }
}

static void a_small_body_costs_no_question_more(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, "{\"model\":\"gpt-4\"}");
    (void)suite_dispatched(s);
    assert_int_equal(asked(s), 1);
    client_close(&c);
    client_open(s, &c);
    ask_large(&c, CHAT, KEY); /* nor does the next large one */
    (void)suite_dispatched(s);
    assert_int_equal(asked(s), 2);
    client_close(&c);
}

static void many_bodies_of_one_key_are_one_question(void **state)
{
    struct suite *s = *state;
    struct suite_client c[8];
    s->auth_does = AUTH_SILENT;
    for (unsigned i = 0; i < 8; i++) {
        client_open(s, &c[i]);
        edge_request(&c[i], "POST", CHAT, KEY "Content-Length: 30000000\r\n", NULL);
    }
    SUITE_UNTIL(s, asked(s) == 1 && http_server_stats(s->edge.http).exchanges == 8);
    assert_int_equal(bodies_held(s), 0);
    client_close(&c[0]); /* one of them leaves */
    suite_settle(s);
    unknown_keys(s);
    const struct header none = {0};
    suite_send(&s->auth, MESSAGE_AUTHORIZE, none, MESSAGE_DENY, &s->deny);
    for (unsigned i = 1; i < 8; i++) {
        SUITE_UNTIL(s, client_has(&c[i], "HTTP/1.1 401 "));
        client_close(&c[i]);
    }
    assert_int_equal(asked(s), 1);
}

static void a_revoked_key_is_not_known_any_more(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, "{\"model\":\"gpt-4\"}");
    (void)suite_dispatched(s);
    client_close(&c);
    uint8_t digest[SHA256_BYTES];
    crypto_sha256(SPAN("sk-1"), digest);
    struct revoked revoked = {.key_digest = span_of(digest, sizeof digest)};
    assert_int_equal(bus_send(s->auth.edge, (struct header){0}, MESSAGE_REVOKED, &revoked), OK);
    suite_settle(s);
    unknown_keys(s);
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY "Content-Length: 30000000\r\n", NULL);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 401 "));
    assert_int_equal(bodies_held(s), 0);
    client_close(&c);
}

static void while_auth_is_away_known_keys_bodies_are_read_and_others_get_503(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, "{\"model\":\"gpt-4\"}");
    (void)suite_dispatched(s);
    client_close(&c);
    suite_stop_peer(s, &s->auth);
    SUITE_UNTIL(s, !bus_peer_up(s->d.auth));
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, "x-api-key: sk-2\r\nContent-Length: 30000000\r\n", NULL);
    suite_settle(s);
    assert_false(client_has(&c, "HTTP/1.1 "));
    suite_advance(s, EDGE_PATIENCE_MS + 500);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 503 "));
    assert_int_equal(bodies_held(s), 0);
    client_close(&c);
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY "Content-Length: 30000000\r\n", NULL);
    SUITE_UNTIL(s, bodies_held(s) > 0);
    client_close(&c);
}

static void a_question_is_asked_again_when_auth_is_back(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->auth_does = AUTH_SILENT;
    client_open(s, &c);
    ask_large(&c, CHAT, KEY);
    SUITE_UNTIL(s, asked(s) == 1);
    suite_stop_peer(s, &s->auth);
    SUITE_UNTIL(s, !bus_peer_up(s->d.auth));
    s->auth_does = AUTH_ALLOWS;
    suite_start_auth(s);
    (void)suite_dispatched(s);
    client_close(&c);
}

/* ---- small bodies that come slowly ---- */

/* A small body's head and first bytes; its second one comes when nothing more does. */
static void drip(struct suite *s, struct suite_client *c, const char *head)
{
    client_open(s, c);
    edge_request(c, "POST", CHAT, head, NULL);
    client_write(c, "{\"model\":");
    suite_settle(s);
    suite_advance(s, HTTP_SLOW_BODY_MS + 10);
}

static void a_small_body_that_drips_is_refused_when_its_key_is_unknown(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    unknown_keys(s);
    drip(s, &c, KEY "Content-Length: 17\r\n");
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 401 "));
    assert_true(client_has(&c, "Connection: close"));
    assert_int_equal(bodies_held(s), 0);
    assert_int_equal(asked(s), 1);
    client_close(&c);
    drip(s, &c, KEY "Content-Length: 17\r\n"); /* the answer is kept */
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 401 "));
    assert_int_equal(asked(s), 1);
    client_close(&c);
    drip(s, &c, "Content-Length: 17\r\n"); /* and who has no key is not asked about */
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 401 "));
    assert_int_equal(asked(s), 1);
    client_close(&c);
    SUITE_UNTIL(s, http_server_stats(s->edge.http).exchanges == 0);
}

static void a_small_body_that_drips_goes_on_when_its_key_is_known(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    drip(s, &c, KEY "Content-Length: 17\r\n");
    SUITE_UNTIL(s, asked(s) == 1);
    suite_settle(s);
    client_write(&c, "\"gpt-4\"}");
    (void)suite_dispatched(s);
    client_close(&c);
}

static void a_small_body_may_be_whole_before_its_key_is_known(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->auth_does = AUTH_SILENT;
    drip(s, &c, KEY "Content-Length: 17\r\n");
    SUITE_UNTIL(s, asked(s) == 1);
    s->auth_does = AUTH_ALLOWS;
    client_write(&c, "\"gpt-4\"}");
    (void)suite_dispatched(s);
    assert_int_equal(asked(s), 2); /* the question about the key alone, and the request's */
    client_close(&c);
}

static void who_leaves_while_its_small_body_drips_is_forgotten(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->auth_does = AUTH_SILENT;
    drip(s, &c, KEY "Content-Length: 17\r\n");
    SUITE_UNTIL(s, asked(s) == 1);
    client_close(&c);
    SUITE_UNTIL(s, http_server_stats(s->edge.http).connections == 0);
    const struct header none = {0};
    suite_send(&s->auth, MESSAGE_AUTHORIZE, none, MESSAGE_DENY, &s->deny);
    suite_settle(s);
    assert_int_equal(bodies_held(s), 0);
}

/* ---- large ones that nobody takes ---- */

static void a_known_key_may_send_all_of_a_body_that_is_too_large(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY "Content-Length: 34000000\r\n", NULL);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 413 "));
    assert_int_equal(bodies_held(s), 0);
    client_close(&c);
}

static void urls_without_a_body_take_no_large_one(void **state)
{
    static const char *const lines[][2] = {{"GET", "/v1/models"},
                                           {"GET", "/health/liveness"},
                                           {"OPTIONS", CHAT},
                                           {"POST", "/v1/responses/resp_1/cancel"}};
    struct suite *s = *state;
    for (unsigned i = 0; i < 4; i++) {
        struct suite_client c;
        client_open(s, &c);
        edge_request(&c, lines[i][0], lines[i][1], KEY "Content-Length: 30000000\r\n", NULL);
        SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 413 "));
        client_close(&c);
    }
    assert_int_equal(asked(s), 0);
}

/* ---- read beside the loop ---- */

/* So large that the helper gets it; white space, then the text. */
static char *huge_body(const char *text)
{
    size_t n = strlen(text);
    char *body = malloc(HELPER_WORTH_BYTES + n + 1);
    assert_non_null(body);
    memset(body, ' ', HELPER_WORTH_BYTES);
    memcpy(body + HELPER_WORTH_BYTES, text, n + 1);
    return body;
}

static void ask_huge(struct suite_client *c, const char *text)
{
    char *body = huge_body(text);
    edge_request(c, "POST", CHAT, KEY, body);
    free(body);
}

static void a_huge_body_is_read_and_sent(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    for (unsigned i = 0; i < 2; i++) {
        client_open(s, &c);
        ask_huge(&c, "{\"model\":\"gpt-4\",\"max_tokens\":5}");
        struct suite_peer *worker = suite_dispatched(s);
        assert_int_equal(s->auth.seen[MESSAGE_AUTHORIZE].number[1], 5);
        assert_string_equal(worker->seen[MESSAGE_DISPATCH].text[0], "gpt-4");
        struct reply reply = {.status = 200, .body = SPAN("done")};
        suite_send(worker, MESSAGE_DISPATCH, (struct header){.attempt = 1}, MESSAGE_REPLY, &reply);
        SUITE_UNTIL(s, client_has(&c, "done"));
        client_close(&c);
        SUITE_UNTIL(s, bodies_held(s) == 0);
    }
}

static void a_huge_body_that_is_wrong_is_refused(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    ask_huge(&c, "{\"model\":");
    SUITE_UNTIL(s, client_has(&c, "\"code\":\"invalid_json\""));
    assert_int_equal(s->edge.request_count, 0);
    client_close(&c);
}

static void who_leaves_while_its_body_is_read_is_forgotten(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    ask_huge(&c, "{\"model\":\"gpt-4\"}");
    client_close(&c);
    SUITE_UNTIL(s, http_server_stats(s->edge.http).connections == 0);
    suite_settle(s);
    assert_int_equal(s->edge.request_count, 0);
    assert_int_equal(bodies_held(s), 0);
}

static void a_stop_waits_for_bodies_that_are_read(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    ask_huge(&c, "{\"model\":\"gpt-4\"}");
    SUITE_UNTIL(s, s->edge.request_count == 1); /* and the teardown stops the edge */
    client_close(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, suite_setup, suite_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unknown_key_gets_401_from_the_head_alone),
        TEST(an_unknown_key_is_asked_about_again_before_long),
        TEST(a_known_key_costs_one_question_more_once),
        TEST(a_small_body_costs_no_question_more),
        TEST(many_bodies_of_one_key_are_one_question),
        TEST(a_revoked_key_is_not_known_any_more),
        TEST(while_auth_is_away_known_keys_bodies_are_read_and_others_get_503),
        TEST(a_question_is_asked_again_when_auth_is_back),
        TEST(a_small_body_that_drips_is_refused_when_its_key_is_unknown),
        TEST(a_small_body_that_drips_goes_on_when_its_key_is_known),
        TEST(a_small_body_may_be_whole_before_its_key_is_known),
        TEST(who_leaves_while_its_small_body_drips_is_forgotten),
        TEST(a_known_key_may_send_all_of_a_body_that_is_too_large),
        TEST(urls_without_a_body_take_no_large_one),
        TEST(a_huge_body_is_read_and_sent),
        TEST(a_huge_body_that_is_wrong_is_refused),
        TEST(who_leaves_while_its_body_is_read_is_forgotten),
        TEST(a_stop_waits_for_bodies_that_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
