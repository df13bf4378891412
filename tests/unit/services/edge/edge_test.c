/* The edge as its neighbours see it: HTTP on one side, messages on the other. */
#include "unit/services/edge/test_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/error_class.h"

#define KEY "Authorization: Bearer sk-1\r\n"
#define CHAT "/v1/chat/completions"
#define ASK "{\"model\":\"gpt-4\",\"messages\":[]}"
#define ASK_STREAM "{\"model\":\"claude-3\",\"stream\":true,\"messages\":[]}"

static const struct header first = {.attempt = 1};

static unsigned requests_of(const struct suite *s)
{
    return s->worker[0].seen[MESSAGE_DISPATCH].count + s->worker[1].seen[MESSAGE_DISPATCH].count;
}

static void send_reply(struct suite_peer *worker, const char *body)
{
    struct reply reply = {.status = 200,
                          .content_type = SPAN("application/json"),
                          .headers = SPAN("x-tollgate-dropped: seed\nset-cookie: a=b\n"),
                          .provider = SPAN("openai"),
                          .input_tokens = 3,
                          .output_tokens = 4,
                          .cost_nano = 1500,
                          .body = span_str(body)};
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_REPLY, &reply);
}

static void send_head(struct suite_peer *worker)
{
    struct head head = {.status = 200, .provider = SPAN("anthropic")};
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_HEAD, &head);
}

static void send_data(struct suite_peer *worker, uint32_t seq, const char *bytes)
{
    struct data data = {.bytes = span_str(bytes)};
    struct header h = {.attempt = 1, .seq = seq};
    suite_send(worker, MESSAGE_DISPATCH, h, MESSAGE_DATA, &data);
}

static void send_end(struct suite_peer *worker)
{
    struct end end = {.input_tokens = 5, .output_tokens = 6, .cost_nano = 7};
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_END, &end);
}

static void send_fail(struct suite_peer *worker, unsigned error_class)
{
    struct fail fail = {.error_class = error_class, .message = SPAN("it broke")};
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_FAIL, &fail);
}

/* A streamed request that a worker has; its HEAD is still to come. */
static struct suite_peer *start_stream(struct suite *s, struct suite_client *c, const char *path)
{
    client_open(s, c);
    edge_request(c, "POST", path, KEY, ASK_STREAM);
    return suite_dispatched(s);
}

/* ---- one answer ---- */

static void a_request_goes_through_auth_to_a_worker_and_back(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", "/v1/messages?beta=true",
                 "x-api-key: sk-1\r\nx-request-id: mine\r\nanthropic-beta: b1\r\n", ASK);
    struct suite_peer *worker = suite_dispatched(s);
    const struct suite_seen *asked = &s->auth.seen[MESSAGE_AUTHORIZE];
    assert_string_equal(asked->text[0], "gpt-4");
    assert_string_equal(asked->text[1],
                        "0f2c10bf3d128c719c6bfa4ecbae94b7fceebaea6e4438fef38a90e5acc326f3");
    const struct suite_seen *seen = &worker->seen[MESSAGE_DISPATCH];
    assert_string_equal(seen->text[0], "gpt-4");
    assert_string_equal(seen->text[1], "beta=true");
    assert_string_equal(seen->text[2], "anthropic-beta: b1\n");
    assert_string_equal(seen->text[3], ASK);
    assert_int_equal(seen->number[2], OPERATION_MESSAGE);
    assert_string_equal(seen->text[5], "team");
    assert_int_equal(seen->number[0], API_ANTHROPIC_MESSAGES);
    assert_int_equal(seen->number[1], 65536);
    assert_in_range(seen->header.deadline_ms, 1, 5000);
    send_reply(worker, "{\"ok\":true}");
    SUITE_UNTIL(s, client_has(&c, "{\"ok\":true}"));
    static const char *const fields[] = {"HTTP/1.1 200 OK\r\n",
                                         "x-request-id: mine\r\n",
                                         "request-id: req_",
                                         "x-tollgate-model: gpt-4\r\n",
                                         "x-tollgate-provider: openai\r\n",
                                         "x-tollgate-cost: 0.0000015\r\n",
                                         "x-tollgate-attempts: 1\r\n",
                                         "x-tollgate-overhead-ms: ",
                                         "x-tollgate-dropped: seed\r\n",
                                         "access-control-allow-origin: *\r\n",
                                         "content-type: application/json\r\n"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        assert_true(client_has(&c, fields[i]));
    assert_false(client_has(&c, "set-cookie"));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1 &&
                       releases_pending(s->edge.releases) == 0);
    const struct suite_seen *release = &s->auth.seen[MESSAGE_RELEASE];
    assert_int_equal(release->number[0], 200);
    assert_int_equal(release->number[2], true);
    assert_string_equal(release->text[1], "openai");
    assert_memory_equal(release->text[3], "worker-", 7);
    assert_int_equal(s->edge.request_count, 0);
    client_close(&c);
}

static void estimates_come_from_the_body_or_the_models_defaults(void **state)
{
    static const struct {
        const char *path, *body;
        uint64_t output;
    } cases[] = {
        {CHAT, "{}", 77},
        {CHAT, "{\"max_tokens\":5}", 5},
        {CHAT, "{\"max_completion_tokens\":5,\"n\":3}", 15},
        {CHAT, "{\"model\":\"claude-3\"}", 0},
        {"/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"max_tokens\":5}", 10},
        {"/v1/completions", "{\"prompt\":\"a\",\"max_tokens\":5,\"n\":2,\"best_of\":4}", 20},
        {"/v1/completions", "{\"prompt\":[[1],[2]],\"max_tokens\":5,\"best_of\":3}", 30}};
    struct suite *s = *state;
    s->auth_does = AUTH_DENIES;
    s->deny = (struct deny){.error_class = ERROR_FORBIDDEN};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct suite_client c;
        client_open(s, &c);
        edge_request(&c, "POST", cases[i].path, KEY, cases[i].body);
        SUITE_UNTIL(s, s->auth.seen[MESSAGE_AUTHORIZE].count == i + 1);
        assert_int_equal(s->auth.seen[MESSAGE_AUTHORIZE].number[1], cases[i].output);
        SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 403"));
        client_close(&c);
    }
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].count, 0);
}

static void a_denial_is_said_in_the_clients_protocol(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->auth_does = AUTH_DENIES;
    s->deny = (struct deny){.error_class = ERROR_RATE_LIMITED,
                            .message = SPAN("Slow down."),
                            .retry_after_ms = 1200,
                            .limit_requests = 10,
                            .reset_requests_ms = 61000};
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, client_has(&c, "\"code\":\"rate_limit_exceeded\"}}"));
    static const char *const fields[] = {"HTTP/1.1 429 ",
                                         "retry-after: 2\r\n",
                                         "retry-after-ms: 1200\r\n",
                                         "x-should-retry: true\r\n",
                                         "x-ratelimit-limit-requests: 10\r\n",
                                         "x-ratelimit-remaining-requests: 0\r\n",
                                         "x-ratelimit-reset-requests: 1m1s\r\n"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        assert_true(client_has(&c, fields[i]));
    edge_request(&c, "POST", "/v1/messages", KEY, ASK);
    SUITE_UNTIL(s, client_has(&c, "\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Slow "
                                  "down.\"},\"request_id\":\"req_"));
    suite_settle(s);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].count, 0);
    client_close(&c);
}

static void an_unknown_model_is_404_for_a_good_key_only(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, "{\"model\":\"nope\"}");
    SUITE_UNTIL(s, client_has(&c, "\"code\":\"model_not_found\""));
    assert_true(client_has(&c, "HTTP/1.1 404"));
    assert_string_equal(s->auth.seen[MESSAGE_AUTHORIZE].text[0], "");
    s->auth_does = AUTH_DENIES;
    s->deny = (struct deny){.error_class = ERROR_BAD_KEY};
    edge_request(&c, "POST", CHAT, "x-api-key: sk-2\r\n", "{\"model\":\"nope\"}");
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 401"));
    suite_settle(s);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].count, 0);
    assert_int_equal(requests_of(s), 0);
    client_close(&c);
}

static void bad_requests_are_refused_in_the_protocol_of_their_path(void **state)
{
    static const struct {
        const char *method, *path, *head, *body, *status, *text;
    } cases[] = {
        {"POST", CHAT, KEY, "{", "400",
         "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"invalid_json\""},
        {"POST", CHAT, KEY, "{\"stream\":1}", "400",
         "\"param\":\"stream\",\"code\":\"invalid_value\""},
        {"POST", "/v1/messages", KEY, "[]", "400",
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\""},
        {"POST", CHAT, "", ASK, "401", "\"code\":\"invalid_api_key\""},
        {"POST", "/v1/messages", "", ASK, "401", "\"type\":\"authentication_error\""},
        {"POST", CHAT, KEY "x-api-key: sk-2\r\n", ASK, "401", "Two different API keys"},
        {"POST", "/v1/nowhere", KEY, ASK, "404", "\"code\":\"not_found\""},
        {"POST", "/v1/nowhere?a=b", KEY, ASK, "404",
         "Unknown request URL: POST /v1/nowhere. Please check the URL for typos."},
        {"GET", CHAT, KEY, NULL, "405", "\"code\":\"method_not_allowed\""},
        {"GET", CHAT, KEY, NULL, "405", "Not allowed to GET on /v1/chat/completions."},
        {"GET", "/v1/messages", KEY, NULL, "405", "\"type\":\"error\""},
        {"POST", CHAT, KEY "Content-Encoding: br\r\n", ASK, "415", "unsupported_encoding"},
        {"GET", "/v1/responses/a%20b", KEY, NULL, "404", "not_found"},
        {"POST", CHAT, KEY, "", "400", "invalid_json"},
    };
    struct suite *s = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct suite_client c;
        client_open(s, &c);
        edge_request(&c, cases[i].method, cases[i].path, cases[i].head, cases[i].body);
        SUITE_UNTIL(s, client_has(&c, cases[i].text));
        assert_true(client_has(&c, cases[i].status));
        assert_true(client_has(&c, "x-should-retry: false\r\n"));
        assert_true(client_has(&c, "request-id: req_"));
        client_close(&c);
    }
    assert_int_equal(s->auth.seen[MESSAGE_AUTHORIZE].count, 0);
    assert_int_equal(requests_of(s), 0);
}

/* ---- leases, and auth away ---- */

static void a_lease_spares_the_trip_to_auth_until_it_is_used_up(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->allow.lease = 7;
    s->allow.lease_charged = 1;
    s->allow.lease_charged_tokens = UINT64_MAX;
    s->allow.lease_ms = 60000;
    client_open(s, &c);
    for (unsigned i = 1; i <= 3; i++) {
        edge_request(&c, "POST", CHAT, KEY, ASK);
        SUITE_UNTIL(s, requests_of(s) == i);
        send_reply(suite_dispatched(s), "done");
        SUITE_UNTIL(s, client_has(&c, "done"));
        SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == i);
        assert_int_equal(s->auth.seen[MESSAGE_AUTHORIZE].count, i == 3 ? 2 : 1);
    }
    assert_int_equal(s->auth.seen[MESSAGE_AUTHORIZE].number[2], true);
    assert_int_equal(s->auth.seen[MESSAGE_AUTHORIZE].number[3], 1);
    client_close(&c);
}

static void a_revoked_key_is_asked_about_again(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->allow.lease_charged = 100;
    s->allow.lease_ms = 60000;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, requests_of(s) == 1);
    struct revoked revoked = {0};
    suite_send(&s->auth, MESSAGE_AUTHORIZE, first, MESSAGE_REVOKED, &revoked);
    SUITE_UNTIL(s, leases_count(s->edge.leases) == 0);
    client_close(&c);
}

static void while_auth_is_away_known_keys_go_on_and_unknown_ones_get_503(void **state)
{
    struct suite *s = *state;
    struct suite_client c, unknown;
    s->allow.lease_charged = 10;
    s->allow.lease_ms = 100;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, requests_of(s) == 1);
    send_reply(suite_dispatched(s), "one");
    SUITE_UNTIL(s, client_has(&c, "one") && releases_pending(s->edge.releases) == 0);
    suite_stop_peer(s, &s->auth);
    suite_advance(s, 2000);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, requests_of(s) == 2);
    send_reply(suite_dispatched(s), "two");
    SUITE_UNTIL(s, client_has(&c, "two"));
    client_open(s, &unknown);
    edge_request(&unknown, "POST", CHAT, "x-api-key: sk-9\r\n", ASK);
    suite_advance(s, 3500);
    SUITE_UNTIL(s, client_has(&unknown, "HTTP/1.1 503"));
    assert_int_equal(requests_of(s), 2);
    assert_int_equal(releases_pending(s->edge.releases), 1);
    unsigned before = s->auth.seen[MESSAGE_RELEASE].count;
    suite_start_auth(s);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count > before &&
                       releases_pending(s->edge.releases) == 0);
    client_close(&c);
    client_close(&unknown);
}

static void a_request_waits_for_an_auth_that_is_coming_back(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    suite_stop_peer(s, &s->auth);
    SUITE_UNTIL(s, !bus_peer_up(s->d.auth));
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    suite_settle(s);
    suite_start_auth(s);
    SUITE_UNTIL(s, requests_of(s) == 1);
    client_close(&c);
}

static void an_auth_that_does_not_answer_means_503_and_a_release(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->auth_does = AUTH_SILENT;
    client_open(s, &c);
    edge_request(&c, "POST", "/v1/messages", KEY, ASK);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_AUTHORIZE].count == 1);
    suite_advance(s, 3500);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 503"));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count >= 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[0], 503);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], false);
    client_close(&c);
}

static void a_release_is_sent_until_it_is_acknowledged(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->auth_acks = false;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, requests_of(s) == 1);
    send_reply(suite_dispatched(s), "one");
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    suite_advance(s, 1500);
    assert_in_range(s->auth.seen[MESSAGE_RELEASE].count, 2, 3);
    s->auth_acks = true;
    suite_advance(s, 3000);
    assert_int_equal(releases_pending(s->edge.releases), 0);
    client_close(&c);
}

/* ---- whole answers that are larger than their credit ---- */

static struct suite_peer *start_whole(struct suite *s, struct suite_client *c)
{
    struct head head = {.status = 201,
                        .content_type = SPAN("application/json"),
                        .headers = SPAN("x-tollgate-dropped: seed\nset-cookie: a=b\n"),
                        .provider = SPAN("openai"),
                        .whole_bytes = 11,
                        .cost_nano = 1500};
    client_open(s, c);
    edge_request(c, "POST", CHAT, KEY, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_HEAD, &head);
    send_data(worker, 0, "{\"ok\":");
    SUITE_UNTIL(s, client_has(c, "{\"ok\":"));
    return worker;
}

static void a_large_answer_comes_in_pieces_and_looks_like_any(void **state)
{
    static const char *const fields[] = {
        "HTTP/1.1 201 Created\r\n",        "Content-Length: 11\r\n",
        "x-tollgate-provider: openai\r\n", "x-tollgate-cost: 0.0000015\r\n",
        "x-tollgate-attempts: 1\r\n",      "x-tollgate-overhead-ms: ",
        "x-tollgate-dropped: seed\r\n",    "content-type: application/json\r\n"};
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *worker = start_whole(s, &c);
    send_data(worker, 1, "true}");
    send_end(worker);
    SUITE_UNTIL(s, client_has(&c, "{\"ok\":true}"));
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        assert_true(client_has(&c, fields[i]));
    assert_false(client_has(&c, "set-cookie"));
    assert_false(client_has(&c, "cache-control"));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[0], 201);
    client_close(&c);
}

static void a_large_answer_that_breaks_is_cut(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *worker = start_whole(s, &c);
    send_fail(worker, ERROR_WORKER_LOST);
    SUITE_UNTIL(s, c.closed || client_has(&c, "never"));
    assert_false(client_has(&c, "it broke"));
    client_close(&c);
}

/* ---- streams ---- */

static void a_stream_is_passed_event_by_event(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *worker = start_stream(s, &c, CHAT);
    assert_int_equal(worker->seen[MESSAGE_DISPATCH].number[1], 65536);
    assert_true(worker->seen[MESSAGE_DISPATCH].header.flags & HEADER_STREAM);
    send_head(worker);
    send_data(worker, 0, "data: {\"a\":1}\n\n");
    SUITE_UNTIL(s, client_has(&c, "data: {\"a\":1}\n\n"));
    static const char *const fields[] = {"HTTP/1.1 200 OK\r\n",
                                         "content-type: text/event-stream; charset=utf-8\r\n",
                                         "cache-control: no-cache\r\n", "x-accel-buffering: no\r\n",
                                         "x-tollgate-provider: anthropic\r\n"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        assert_true(client_has(&c, fields[i]));
    assert_false(client_has(&c, "x-tollgate-cost"));
    send_data(worker, 1, "data: [DONE]\n\n");
    send_end(worker);
    SUITE_UNTIL(s, client_has(&c, "data: [DONE]\n\n\r\n0\r\n\r\n"));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[3], 6);
    client_close(&c);
}

static void what_breaks_a_stream_is_said_inside_it(void **state)
{
    static const struct {
        const char *path, *event;
        int how;
    } cases[] = {
        {CHAT, "data: {\"error\":{\"message\":\"it broke\",\"type\":\"server_error\"", 0},
        {"/v1/messages", "event: error\ndata: {\"type\":\"error\"", 0},
        {CHAT, "\"code\":\"internal_error\"", 1},
        {CHAT, "\"code\":\"internal_error\"", 2},
        {CHAT, "\"code\":\"deadline\"", 3},
        {"/v1/messages", "\"type\":\"api_error\"", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct suite *s = *state;
        struct suite_client c;
        struct suite_peer *worker = start_stream(s, &c, cases[i].path);
        send_head(worker);
        send_data(worker, 0, "data: 1\n\n");
        SUITE_UNTIL(s, client_has(&c, "data: 1\n\n"));
        if (cases[i].how == 0)
            send_fail(worker, ERROR_UPSTREAM_CLOSED);
        else if (cases[i].how == 1)
            send_data(worker, 2, "data: 3\n\n");
        else if (cases[i].how == 2)
            send_data(worker, 0, "data: 1\n\n");
        else if (cases[i].how == 3)
            suite_advance(s, 8500);
        else
            suite_stop_peer(s, worker);
        SUITE_UNTIL(s, client_has(&c, cases[i].event) && client_has(&c, "\r\n0\r\n\r\n"));
        assert_false(client_has(&c, "[DONE]") || client_has(&c, "message_stop"));
        if (cases[i].how >= 1 && cases[i].how <= 3)
            SUITE_UNTIL(s, worker->seen[MESSAGE_CANCEL].count == 1);
        client_close(&c);
        assert_int_equal(suite_teardown(state), 0);
        assert_int_equal(suite_setup(state), 0);
    }
}

static void an_error_does_not_stand_inside_an_unfinished_event(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *worker = start_stream(s, &c, CHAT);
    send_head(worker);
    send_data(worker, 0, "data: {\"half");
    suite_advance(s, 2500);
    assert_false(client_has(&c, ": ka"));
    send_fail(worker, ERROR_UPSTREAM_CLOSED);
    SUITE_UNTIL(s, client_has(&c, "\n\ndata: {\"error\""));
    client_close(&c);
}

static void a_failure_before_the_first_content_has_its_own_status(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *worker = start_stream(s, &c, "/v1/messages");
    send_fail(worker, ERROR_UPSTREAM_OVERLOADED);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 529"));
    SUITE_UNTIL(s, client_has(&c, "overloaded_error"));
    assert_true(client_has(&c, "x-should-retry: true\r\n"));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], false);
    client_close(&c);
}

static void a_late_first_content_does_not_hold_the_status_for_ever(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *worker = start_stream(s, &c, CHAT);
    suite_advance(s, 900);
    assert_false(client_has(&c, "HTTP"));
    suite_advance(s, 200);
    SUITE_UNTIL(s, client_has(&c, ": ka\n\n"));
    assert_true(client_has(&c, "HTTP/1.1 200"));
    send_head(worker);
    send_data(worker, 0, "data: 1\n\n");
    send_end(worker);
    SUITE_UNTIL(s, client_has(&c, "data: 1\n\n"));
    client_close(&c);
}

static void a_silent_stream_is_kept_alive(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *worker = start_stream(s, &c, "/v1/messages");
    send_head(worker);
    suite_advance(s, 2100);
    SUITE_UNTIL(s, client_has(&c, ": ka\n\n"));
    assert_false(client_has(&c, "ping"));
    send_data(worker, 0, "event: message_start\ndata: {}\n\n");
    suite_advance(s, 2100);
    SUITE_UNTIL(s, client_has(&c, "event: ping\ndata: {\"type\": \"ping\"}\n\n"));
    client_close(&c);
}

static void credit_comes_back_as_the_client_reads(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *worker = start_stream(s, &c, CHAT);
    char event[1025];
    memset(event, 'x', sizeof event);
    memcpy(event + 1022, "\n\n", 3);
    send_head(worker);
    for (uint32_t seq = 0; seq < 64; seq++)
        send_data(worker, seq, event);
    SUITE_UNTIL(s, worker->seen[MESSAGE_CREDIT].number[0] >= 32768);
    client_close(&c);
}

/* One of none would let nothing through; a huge one would lose bytes of a slow reader's stream. */
static void a_window_beyond_all_measure_is_put_right(void **state)
{
    static const struct {
        uint64_t window, credit;
    } cases[] = {{0, 16 << 10}, {(uint64_t)1 << 32, 2 << 20}, {100000, 100000}};
    struct suite *s = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct suite_client c;
        s->config->options.edge_stream_window = cases[i].window;
        struct suite_peer *worker = start_stream(s, &c, CHAT);
        assert_int_equal(worker->seen[MESSAGE_DISPATCH].number[1], cases[i].credit);
        worker->seen[MESSAGE_DISPATCH].count = 0;
        client_close(&c);
        SUITE_UNTIL(s, s->edge.request_count == 0);
    }
}

/* ---- departures, deadlines, brokers ---- */

static void a_client_that_leaves_cancels_its_request(void **state)
{
    struct suite *s = *state;
    for (int streaming = 0; streaming < 2; streaming++) {
        struct suite_client c;
        struct suite_peer *worker = start_stream(s, &c, CHAT);
        if (streaming) {
            send_head(worker);
            send_data(worker, 0, "data: 1\n\n");
            SUITE_UNTIL(s, client_has(&c, "data: 1\n\n"));
        }
        client_close(&c);
        SUITE_UNTIL(s, worker->seen[MESSAGE_CANCEL].count == 1);
        worker->seen[MESSAGE_CANCEL].count = 0;
        assert_true(request_id_equals(&worker->seen[MESSAGE_CANCEL].header.id,
                                      &worker->seen[MESSAGE_DISPATCH].header.id));
        SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1u + (unsigned)streaming);
        assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[0], 499);
        assert_int_equal(s->edge.request_count, 0);
        send_data(worker, 1, "late");
        suite_settle(s);
        worker->seen[MESSAGE_DISPATCH].count = 0;
    }
}

static void a_client_that_leaves_while_auth_thinks_is_released(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->auth_does = AUTH_SILENT;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_AUTHORIZE].count == 1);
    client_close(&c);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[0], 499);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], false);
}

static void the_models_deadline_ends_a_request(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    suite_advance(s, 4500);
    assert_false(client_has(&c, "HTTP"));
    suite_advance(s, 600);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 504"));
    SUITE_UNTIL(s, worker->seen[MESSAGE_CANCEL].count == 1);
    client_close(&c);
}

static void the_clients_own_patience_may_be_shorter(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY "x-stainless-read-timeout: 1\r\n", ASK);
    struct suite_peer *worker = suite_dispatched(s);
    assert_in_range(worker->seen[MESSAGE_DISPATCH].header.deadline_ms, 1000, 3000);
    suite_advance(s, 2500); /* its own end comes first */
    assert_false(client_has(&c, "HTTP"));
    suite_advance(s, 700);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 504"));
    client_close(&c);
}

static void the_first_content_has_a_time_over_all_attempts(void **state)
{
    struct suite *s = *state;
    struct suite_client c, d;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, "{\"model\":\"hasty\",\"messages\":[]}");
    struct suite_peer *worker = suite_dispatched(s);
    suite_advance(s, 1500);
    assert_false(client_has(&c, "HTTP"));
    suite_advance(s, 600);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 504"));
    SUITE_UNTIL(s, worker->seen[MESSAGE_CANCEL].count == 1);
    client_close(&c);
    client_open(s, &d); /* a stream that has begun goes on */
    edge_request(&d, "POST", CHAT, KEY, "{\"model\":\"hasty\",\"stream\":true,\"messages\":[]}");
    worker = suite_dispatched(s);
    send_head(worker);
    send_data(worker, 0, "data: 1\n\n");
    SUITE_UNTIL(s, client_has(&d, "data: 1"));
    suite_advance(s, 3000);
    send_data(worker, 1, "data: 2\n\n");
    SUITE_UNTIL(s, client_has(&d, "data: 2"));
    client_close(&d);
}

/* ---- fallbacks ---- */

static void a_fallback_is_charged_named_and_released_as_such(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->route = "claude-3";
    s->allow.barred = SPAN("gpt-5,other");
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_AUTHORIZE].count == 2);
    assert_string_equal(s->broker[worker - s->worker].seen[MESSAGE_ASK].text[4], "gpt-5,other");
    assert_string_equal(s->auth.seen[MESSAGE_AUTHORIZE].text[0], "claude-3");
    assert_string_equal(s->auth.seen[MESSAGE_AUTHORIZE].text[2], "gpt-4");
    send_reply(worker, "hello");
    SUITE_UNTIL(s, client_has(&c, "hello"));
    assert_true(client_has(&c, "x-tollgate-model: claude-3\r\n"));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_string_equal(s->auth.seen[MESSAGE_RELEASE].text[0], "gpt-4");
    assert_string_equal(s->auth.seen[MESSAGE_RELEASE].text[4], "claude-3");
    client_close(&c);
}

/* ---- how often one call runs ---- */

static void fail_ambiguously(struct suite_peer *worker)
{
    struct fail fail = {.error_class = ERROR_UPSTREAM_TIMEOUT,
                        .message = SPAN("it was silent"),
                        .sent = true,
                        .settles = true};
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_FAIL, &fail);
}

static void who_asks_again_for_what_may_have_run_is_told_to_once(void **state)
{
    static const struct {
        const char *lines, *answer;
    } cases[] = {
        {KEY, "x-should-retry: true\r\n"},
        {KEY "x-stainless-retry-count: 0\r\n", "x-should-retry: true\r\n"},
        {KEY "x-stainless-retry-count: 1\r\n", "x-should-retry: false\r\n"},
        {KEY "x-stainless-retry-count: 2\r\n", "x-should-retry: false\r\n"},
    };
    struct suite *s = *state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct suite_client c;
        client_open(s, &c);
        edge_request(&c, "POST", CHAT, cases[i].lines, ASK);
        fail_ambiguously(suite_dispatched(s));
        SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 504"));
        assert_true(client_has(&c, cases[i].answer));
        client_close(&c);
    }
}

static void a_repeated_call_is_not_repeated_by_us_too(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_GRANTS_ALL;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    fail_ambiguously(suite_dispatched(s));
    struct suite_peer *worker = suite_dispatched(s);
    const struct suite_seen *asks = &s->broker[worker - s->worker].seen[MESSAGE_ASK];
    assert_int_equal(asks->header.attempt, 2);
    assert_int_equal(asks->number[6], false); /* final */
    client_close(&c);
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY "x-stainless-retry-count: 1\r\n", ASK);
    fail_ambiguously(suite_dispatched(s));
    worker = suite_dispatched(s);
    asks = &s->broker[worker - s->worker].seen[MESSAGE_ASK];
    assert_int_equal(asks->number[6], true);
    client_close(&c);
}

static void a_failure_that_has_a_settlement_is_released_as_such(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    fail_ambiguously(suite_dispatched(s));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[0], 504);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], true);
    client_close(&c);
}

static unsigned asks_of(const struct suite *s)
{
    return s->broker[0].seen[MESSAGE_ASK].count + s->broker[1].seen[MESSAGE_ASK].count;
}

/* "Busy" is no attempt: another worker is asked for, and told of the first. */
static void a_busy_worker_costs_no_attempt(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    struct suite_peer *one = suite_dispatched(s);
    struct suite_peer *two = one == &s->worker[0] ? &s->worker[1] : &s->worker[0];
    struct fail refused = {.error_class = ERROR_WORKER_REFUSED, .free = 3};
    suite_send(one, MESSAGE_DISPATCH, first, MESSAGE_FAIL, &refused);
    SUITE_UNTIL(s, two->seen[MESSAGE_DISPATCH].count == 1);
    const struct suite_seen *asked = &s->broker[two - s->worker].seen[MESSAGE_ASK];
    assert_int_equal(asked->header.attempt, 1);
    assert_int_equal(asked->number[2], 1);
    assert_int_equal(asked->number[3], 3);
    assert_string_equal(asked->text[3], one == s->worker ? "worker-1" : "worker-2");
    assert_string_equal(two->seen[MESSAGE_DISPATCH].text[3], ASK);
    send_reply(two, "two");
    SUITE_UNTIL(s, client_has(&c, "two"));
    assert_true(client_has(&c, "x-tollgate-attempts: 1\r\n"));
    client_close(&c);
}

/* A broker that is about to stop, or has gone, is not asked; what waits there goes to the other. */
static void another_broker_is_asked_when_one_goes(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, asks_of(s) == 1);
    struct suite_peer *one = s->broker[0].seen[MESSAGE_ASK].count ? &s->broker[0] : &s->broker[1];
    struct suite_peer *two = one == &s->broker[0] ? &s->broker[1] : &s->broker[0];
    s->broker_does = BROKER_GRANTS_ONE;
    assert_int_equal(bus_send(one->edge, (struct header){0}, MESSAGE_DRAIN, &(struct drain){0}),
                     OK);
    SUITE_UNTIL(s, two->seen[MESSAGE_ASK].count == 1);
    assert_true(
        request_id_equals(&one->seen[MESSAGE_ASK].header.id, &two->seen[MESSAGE_ASK].header.id));
    send_reply(suite_dispatched(s), "two");
    SUITE_UNTIL(s, client_has(&c, "two"));
    suite_stop_peer(s, one);
    s->broker_does = BROKER_SILENT;
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, two->seen[MESSAGE_ASK].count == 2);
    suite_start_broker(s, (unsigned)(one - s->broker));
    s->broker_does = BROKER_GRANTS_ONE;
    suite_stop_peer(s, two);
    SUITE_UNTIL(s, one->seen[MESSAGE_ASK].count == 2);
    client_close(&c);
}

/* A grant may be lost with the frame that brought it. */
static void an_ask_without_an_answer_is_repeated(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, asks_of(s) == 1);
    struct suite_peer *asked = s->broker[0].seen[MESSAGE_ASK].count ? &s->broker[0] : &s->broker[1];
    suite_advance(s, 1100);
    SUITE_UNTIL(s, asked->seen[MESSAGE_ASK].count == 2);
    suite_grant(s, asked);
    send_reply(suite_dispatched(s), "done");
    SUITE_UNTIL(s, client_has(&c, "done"));
    client_close(&c);
}

/* A failed attempt: the broker hears what failed, and gives another, or lets the failure stand. */
static void a_broker_decides_about_another_attempt(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_GRANTS_ALL;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    struct suite_peer *broker = &s->broker[worker - s->worker];
    send_fail(worker, ERROR_UPSTREAM_ERROR);
    SUITE_UNTIL(s, worker->seen[MESSAGE_DISPATCH].count == 2);
    assert_int_equal(broker->seen[MESSAGE_ASK].header.attempt, 2);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[1], ERROR_UPSTREAM_ERROR);
    assert_string_equal(broker->seen[MESSAGE_ASK].text[2], "trail");
    assert_true(broker->seen[MESSAGE_REPORT].count > 0);
    s->broker_does = BROKER_GRANTS_ONE;
    struct fail fail = {.error_class = ERROR_UPSTREAM_OVERLOADED, .message = SPAN("the last word")};
    suite_send(worker, MESSAGE_DISPATCH, (struct header){.attempt = 2}, MESSAGE_FAIL, &fail);
    SUITE_UNTIL(s, client_has(&c, "the last word"));
    assert_true(client_has(&c, "x-tollgate-attempts: 2\r\n"));
    client_close(&c);
}

static void a_standing_grant_needs_no_ask(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->standing = true;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    send_reply(suite_dispatched(s), "one");
    SUITE_UNTIL(s, client_has(&c, "one"));
    unsigned asked = asks_of(s);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, requests_of(s) == 2);
    send_reply(suite_dispatched(s), "two");
    SUITE_UNTIL(s, client_has(&c, "two"));
    assert_int_equal(asks_of(s), asked);
    suite_advance(s, 2000);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, requests_of(s) == 3);
    assert_true(asks_of(s) > asked);
    client_close(&c);
}

static void without_brokers_a_request_waits_a_moment(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    suite_stop_peer(s, &s->broker[0]);
    suite_stop_peer(s, &s->broker[1]);
    SUITE_UNTIL(s, !bus_peer_up(s->brokers[0]) && !bus_peer_up(s->brokers[1]));
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_AUTHORIZE].count == 1);
    suite_settle(s);
    suite_start_broker(s, 1);
    send_reply(suite_dispatched(s), "late");
    SUITE_UNTIL(s, client_has(&c, "late"));
    suite_stop_peer(s, &s->broker[1]);
    suite_advance(s, EDGE_BROKER_PATIENCE_MS + 1000);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 503"));
    SUITE_UNTIL(s, client_has(&c, "server_is_overloaded"));
    edge_request(&c, "GET", "/health/readiness", "", NULL);
    SUITE_UNTIL(s, client_has(&c, "no broker"));
    assert_true(client_has(&c, "HTTP/1.1 503"));
    client_close(&c);
}

/* Its goodbye came after all that it had to say: it has not begun this one. */
static void a_worker_that_stops_before_the_first_byte_is_not_missed(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    struct suite_peer *one = suite_dispatched(s);
    struct suite_peer *two = one == &s->worker[0] ? &s->worker[1] : &s->worker[0];
    suite_stop_peer(s, one);
    SUITE_UNTIL(s, two->seen[MESSAGE_DISPATCH].count == 1);
    assert_int_equal(two->seen[MESSAGE_DISPATCH].header.attempt, 1);
    send_reply(two, "two");
    SUITE_UNTIL(s, client_has(&c, "two"));
    client_close(&c);
}

/* ---- what operators and lists ask ---- */

static void metrics_and_health_come_from_the_aggregator(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct answer answer = {.content_type = SPAN("text/plain; version=0.0.4"),
                            .body = SPAN("tollgate_up 1\n")};
    client_open(s, &c);
    edge_request(&c, "GET", "/metrics", "", NULL);
    SUITE_UNTIL(s, s->metrics.seen[MESSAGE_QUERY].count == 1);
    assert_string_equal(s->metrics.seen[MESSAGE_QUERY].text[0], "metrics");
    suite_send(&s->metrics, MESSAGE_QUERY, first, MESSAGE_ANSWER, &answer);
    SUITE_UNTIL(s, client_has(&c, "tollgate_up 1\n"));
    answer.body = SPAN("{\"daemons\":[{\"name\":\"auth\"}]}");
    edge_request(&c, "GET", "/health", "", NULL);
    SUITE_UNTIL(s, s->metrics.seen[MESSAGE_QUERY].count == 2);
    assert_string_equal(s->metrics.seen[MESSAGE_QUERY].text[0], "status");
    suite_send(&s->metrics, MESSAGE_QUERY, first, MESSAGE_ANSWER, &answer);
    SUITE_UNTIL(s, client_has(&c, ",\"daemons\":[{\"name\":\"auth\"}]}"));
    assert_true(client_has(&c, "{\"status\":\"healthy\",\"timestamp\":\""));
    edge_request(&c, "GET", "/metrics", "", NULL);
    SUITE_UNTIL(s, s->metrics.seen[MESSAGE_QUERY].count == 3);
    suite_advance(s, 2500);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 503"));
    edge_request(&c, "GET", "/health", "", NULL);
    SUITE_UNTIL(s, s->metrics.seen[MESSAGE_QUERY].count == 4);
    suite_stop_peer(s, &s->metrics);
    SUITE_UNTIL(s, client_has(&c, "\"status\":\"healthy\""));
    assert_true(client_has(&c, "HTTP/1.1 200"));
    client_close(&c);
}

static void what_is_given_up_is_counted(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct reply bad = {
        .status = 200, .headers = SPAN("x-tollgate-a: b\001c\n"), .body = SPAN("{}")};
    struct release release = {.key_id = SPAN("key_1")};
    struct request_id id = {{0}};
    assert_int_equal(metric_client_create(&s->d.metrics, s->loop, s->bus, s->d.metrics_peer), OK);
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_REPLY, &bad);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 200"));
    suite_stop_peer(s, &s->auth);
    SUITE_UNTIL(s, !bus_peer_up(s->d.auth));
    for (uint32_t i = 0; i < RELEASE_MAX_PENDING + 2; i++) {
        memcpy(id.bytes, &i, sizeof i);
        releases_add(s->edge.releases, &id, 1, &release, false, 0);
    }
    suite_advance(s, 3000);
    assert_int_equal(s->counted[METRIC_HEADERS_DROPPED], 1);
    assert_true(s->counted[METRIC_RELEASES_DROPPED] >= 2);
    client_close(&c);
    metric_client_destroy(&s->d.metrics);
}

static void unknown_clients_get_less_of_health_and_no_metrics(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    cidr_list_free(&s->edge.metrics_allow);
    client_open(s, &c);
    edge_request(&c, "GET", "/metrics", "", NULL);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 401"));
    edge_request(&c, "GET", "/health", "", NULL);
    SUITE_UNTIL(s, client_has(&c, "\"status\":\"healthy\""));
    assert_int_equal(s->metrics.seen[MESSAGE_QUERY].count, 0);
    edge_request(&c, "GET", "/metrics", KEY, NULL);
    SUITE_UNTIL(s, s->metrics.seen[MESSAGE_QUERY].count == 1);
    client_close(&c);
}

static void models_need_a_key_and_show_what_it_may_use(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "GET", "/v1/models", "", NULL);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 401"));
    s->allow.models = SPAN("claude-*");
    edge_request(&c, "GET", "/v1/models", KEY, NULL);
    SUITE_UNTIL(s, client_has(&c, "{\"object\":\"list\",\"data\":[{\"id\":\"claude-3\""));
    assert_string_equal(s->auth.seen[MESSAGE_AUTHORIZE].text[0], "");
    assert_false(client_has(&c, "gpt-4"));
    edge_request(&c, "GET", "/v1/models/claude%2D3", KEY "anthropic-version: 2023-06-01\r\n", NULL);
    SUITE_UNTIL(s, client_has(&c, "{\"type\":\"model\",\"id\":\"claude-3\""));
    edge_request(&c, "GET", "/v1/models/gpt-4", KEY, NULL);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 404"));
    suite_settle(s);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].count, 0);
    client_close(&c);
}

static void preflight_and_probes_need_no_key(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "OPTIONS", CHAT,
                 "Origin: https://a\r\nAccess-Control-Request-Headers: authorization\r\n", NULL);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 204"));
    assert_true(client_has(&c, "access-control-allow-origin: *\r\n"));
    assert_true(client_has(&c, "access-control-allow-headers: authorization\r\n"));
    assert_true(client_has(&c, "access-control-allow-methods: POST, OPTIONS\r\n"));
    edge_request(&c, "HEAD", "/health/liveness", "", NULL);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 200") && client_has(&c, "\r\n\r\n"));
    assert_false(client_has(&c, "alive"));
    edge_request(&c, "GET", "/health/readiness", "", NULL);
    SUITE_UNTIL(s, client_has(&c, "ready"));
    client_close(&c);
}

static void a_draining_edge_serves_who_is_there_and_takes_no_more(void **state)
{
    struct suite *s = *state;
    struct suite_client running, idle;
    client_open(s, &idle);
    edge_request(&idle, "GET", "/health/readiness", "", NULL);
    SUITE_UNTIL(s, client_has(&idle, "HTTP/1.1 200"));
    struct suite_peer *worker = start_stream(s, &running, CHAT);
    s->d.draining = true;
    edge_drain(&s->edge);
    assert_false(edge_drained(&s->edge));
    edge_request(&idle, "POST", CHAT, KEY, ASK); /* no client is turned away who is there */
    send_reply(suite_dispatched(s), "the last one here");
    SUITE_UNTIL(s, client_has(&idle, "the last one here"));
    assert_true(client_has(&idle, "Connection: close"));
    send_head(worker);
    send_data(worker, 0, "data: [DONE]\n\n");
    send_end(worker);
    SUITE_UNTIL(s, client_has(&running, "[DONE]"));
    SUITE_UNTIL(s, edge_drained(&s->edge));
    client_close(&running);
    client_close(&idle);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, suite_setup, suite_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_goes_through_auth_to_a_worker_and_back),
        TEST(estimates_come_from_the_body_or_the_models_defaults),
        TEST(a_denial_is_said_in_the_clients_protocol),
        TEST(an_unknown_model_is_404_for_a_good_key_only),
        TEST(bad_requests_are_refused_in_the_protocol_of_their_path),
        TEST(a_lease_spares_the_trip_to_auth_until_it_is_used_up),
        TEST(a_revoked_key_is_asked_about_again),
        TEST(while_auth_is_away_known_keys_go_on_and_unknown_ones_get_503),
        TEST(a_request_waits_for_an_auth_that_is_coming_back),
        TEST(an_auth_that_does_not_answer_means_503_and_a_release),
        TEST(a_release_is_sent_until_it_is_acknowledged),
        TEST(a_large_answer_comes_in_pieces_and_looks_like_any),
        TEST(a_large_answer_that_breaks_is_cut),
        TEST(a_stream_is_passed_event_by_event),
        TEST(what_breaks_a_stream_is_said_inside_it),
        TEST(an_error_does_not_stand_inside_an_unfinished_event),
        TEST(a_failure_before_the_first_content_has_its_own_status),
        TEST(a_late_first_content_does_not_hold_the_status_for_ever),
        TEST(a_silent_stream_is_kept_alive),
        TEST(credit_comes_back_as_the_client_reads),
        TEST(a_window_beyond_all_measure_is_put_right),
        TEST(a_client_that_leaves_cancels_its_request),
        TEST(a_client_that_leaves_while_auth_thinks_is_released),
        TEST(the_models_deadline_ends_a_request),
        TEST(the_clients_own_patience_may_be_shorter),
        TEST(the_first_content_has_a_time_over_all_attempts),
        TEST(a_fallback_is_charged_named_and_released_as_such),
        TEST(who_asks_again_for_what_may_have_run_is_told_to_once),
        TEST(a_repeated_call_is_not_repeated_by_us_too),
        TEST(a_failure_that_has_a_settlement_is_released_as_such),
        TEST(a_busy_worker_costs_no_attempt),
        TEST(another_broker_is_asked_when_one_goes),
        TEST(an_ask_without_an_answer_is_repeated),
        TEST(a_broker_decides_about_another_attempt),
        TEST(a_standing_grant_needs_no_ask),
        TEST(without_brokers_a_request_waits_a_moment),
        TEST(a_worker_that_stops_before_the_first_byte_is_not_missed),
        TEST(metrics_and_health_come_from_the_aggregator),
        TEST(what_is_given_up_is_counted),
        TEST(unknown_clients_get_less_of_health_and_no_metrics),
        TEST(models_need_a_key_and_show_what_it_may_use),
        TEST(preflight_and_probes_need_no_key),
        TEST(a_draining_edge_serves_who_is_there_and_takes_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
