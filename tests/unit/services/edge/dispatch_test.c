/* Who gets a request, and what follows when that goes wrong: the edge between brokers that grant
 * and workers that answer (docs/grants.md). */
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

/* ---- the client and the workers ---- */

static void post(struct suite *s, struct suite_client *c, const char *body)
{
    client_open(s, c);
    edge_request(c, "POST", CHAT, KEY, body);
}

static unsigned count_of(const struct suite_peer pair[SUITE_BROKERS], enum message_type type)
{
    return pair[0].seen[type].count + pair[1].seen[type].count;
}

static unsigned asks_of(const struct suite *s)
{
    return count_of(s->broker, MESSAGE_ASK);
}

static unsigned dispatches_of(const struct suite *s)
{
    return count_of(s->worker, MESSAGE_DISPATCH);
}

static struct suite_peer *other(struct suite_peer pair[SUITE_BROKERS], const struct suite_peer *one)
{
    return one == &pair[0] ? &pair[1] : &pair[0];
}

/* The broker that has got the only ask so far. */
static struct suite_peer *asked(struct suite *s)
{
    SUITE_UNTIL(s, asks_of(s) == 1);
    return &s->broker[s->broker[0].seen[MESSAGE_ASK].count ? 0 : 1];
}

static void to_client(struct suite_peer *worker, uint8_t attempt, enum message_type type,
                      const void *message)
{
    suite_send(worker, MESSAGE_DISPATCH, (struct header){.attempt = attempt}, type, message);
}

static void reply(struct suite_peer *worker, uint8_t attempt, const char *body)
{
    struct reply m = {.status = 200, .provider = SPAN("openai"), .body = span_str(body)};
    to_client(worker, attempt, MESSAGE_REPLY, &m);
}

static void begin(struct suite_peer *worker, uint8_t attempt, const char *bytes)
{
    struct head head = {.status = 200, .provider = SPAN("openai")};
    struct data data = {.bytes = span_str(bytes)};
    to_client(worker, attempt, MESSAGE_HEAD, &head);
    to_client(worker, attempt, MESSAGE_DATA, &data);
}

static void finish(struct suite_peer *worker, uint8_t attempt)
{
    to_client(worker, attempt, MESSAGE_END, &(struct end){0});
}

static void fail_with(struct suite_peer *worker, uint8_t attempt, unsigned error_class)
{
    struct fail m = {.error_class = error_class, .message = SPAN("it broke"), .sent = true};
    to_client(worker, attempt, MESSAGE_FAIL, &m);
}

static bool is_nobodys(const struct suite_seen *seen)
{
    static const struct request_id none;
    return request_id_equals(&seen->header.id, &none);
}

/* ---- standing grants ---- */

/* A request that has ended under a standing grant, which holds; what it says. */
static struct grant hold_standing(struct suite *s, struct suite_client *c,
                                  struct suite_peer **giver)
{
    s->broker_does = BROKER_SILENT;
    s->standing = true;
    post(s, c, ASK);
    struct suite_peer *broker = asked(s);
    struct grant grant = suite_grant_of(s, broker);
    suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    reply(suite_dispatched(s), 1, "first");
    SUITE_UNTIL(s, client_has(c, "first"));
    *giver = broker;
    return grant;
}

static void a_used_standing_grant_is_renewed_and_goes_on(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *broker;
    struct grant grant = hold_standing(s, &c, &broker);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[0], 1);
    for (unsigned i = 2; i <= 5; i++) {
        SUITE_UNTIL(s, asks_of(s) == i);
        assert_true(is_nobodys(&broker->seen[MESSAGE_ASK]));
        assert_string_equal(broker->seen[MESSAGE_ASK].text[0], "gpt-4");
        assert_int_equal(broker->seen[MESSAGE_ASK].number[0], 1);
        /* what runs and ran is told before */
        assert_int_equal(broker->seen[MESSAGE_REPORT].number[1], i - 1);
        assert_int_equal(broker->seen[MESSAGE_REPORT].number[2], i - 1);
        suite_send(broker, MESSAGE_ASK, (struct header){0}, MESSAGE_GRANT, &grant);
        suite_settle(s);
        edge_request(&c, "POST", CHAT, KEY, ASK);
        SUITE_UNTIL(s, dispatches_of(s) == i);
        reply(suite_dispatched(s), 1, "again");
        SUITE_UNTIL(s, client_has(&c, "again"));
        assert_int_equal(asks_of(s), i);
    }
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[5], false);
    client_close(&c);
}

static void an_unused_standing_grant_expires_and_is_told_closed(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *broker;
    struct grant grant = hold_standing(s, &c, &broker);
    SUITE_UNTIL(s, asks_of(s) == 2);
    suite_send(broker, MESSAGE_ASK, (struct header){0}, MESSAGE_GRANT, &grant);
    SUITE_UNTIL(s, grants_stats(s->edge.grants).held == 0);
    assert_int_equal(asks_of(s), 2);
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[0], grant.number);
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[5], true);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, asks_of(s) == 3);
    client_close(&c);
}

static void a_revoked_grant_is_closed_and_not_used(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *broker;
    struct grant grant = hold_standing(s, &c, &broker);
    struct revoke revoke = {.number = grant.number};
    assert_int_equal(bus_send(broker->edge, (struct header){0}, MESSAGE_REVOKE, &revoke), OK);
    SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[5] == true);
    SUITE_UNTIL(s, grants_stats(s->edge.grants).held == 0);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, asks_of(s) == 2);
    assert_int_equal(dispatches_of(s), 1);
    client_close(&c);
}

/* As many at once as it has slots; the next one asks. */
static void a_full_standing_grant_is_not_overdrawn(void **state)
{
    struct suite *s = *state;
    struct suite_client c[6];
    struct suite_peer *broker;
    (void)hold_standing(s, &c[0], &broker);
    for (unsigned i = 1; i <= 4; i++)
        post(s, &c[i], ASK);
    SUITE_UNTIL(s, dispatches_of(s) == 5);
    assert_int_equal(asks_of(s), 1);
    post(s, &c[5], ASK);
    SUITE_UNTIL(s, asks_of(s) == 2);
    assert_false(is_nobodys(&s->broker[0].seen[MESSAGE_ASK]) &&
                 is_nobodys(&s->broker[1].seen[MESSAGE_ASK]));
    assert_int_equal(dispatches_of(s), 5);
    for (unsigned i = 0; i < 6; i++)
        client_close(&c[i]);
}

static void a_standing_grant_serves_no_other_model(void **state)
{
    struct suite *s = *state;
    struct suite_client c, d;
    struct suite_peer *broker;
    (void)hold_standing(s, &c, &broker);
    post(s, &d, ASK_STREAM);
    SUITE_UNTIL(s, asks_of(s) == 2);
    assert_int_equal(dispatches_of(s), 1);
    client_close(&c);
    client_close(&d);
}

/* ---- which broker ---- */

static void the_broker_with_the_fewest_waiting_is_asked(void **state)
{
    struct suite *s = *state;
    struct suite_client c[4];
    s->broker_does = BROKER_SILENT;
    s->queued[0] = 5;
    SUITE_UNTIL(s, bus_peer_queued(s->brokers[0]) == 5);
    for (unsigned i = 0; i < 4; i++) {
        if (i == 2) {
            s->queued[1] = 6;
            SUITE_UNTIL(s, bus_peer_queued(s->brokers[1]) == 6);
        }
        unsigned before = asks_of(s);
        post(s, &c[i], ASK);
        SUITE_UNTIL(s, asks_of(s) > before);
    }
    assert_int_equal(s->broker[0].seen[MESSAGE_ASK].count, 2);
    assert_int_equal(s->broker[1].seen[MESSAGE_ASK].count, 2);
    for (unsigned i = 0; i < 4; i++)
        client_close(&c[i]);
}

static void equal_brokers_are_asked_in_turn(void **state)
{
    struct suite *s = *state;
    struct suite_client c[4];
    s->broker_does = BROKER_SILENT;
    for (unsigned i = 0; i < 4; i++) {
        post(s, &c[i], ASK);
        SUITE_UNTIL(s, asks_of(s) == i + 1);
    }
    assert_int_equal(s->broker[0].seen[MESSAGE_ASK].count, 2);
    for (unsigned i = 0; i < 4; i++)
        client_close(&c[i]);
}

static void an_ask_is_repeated_each_second_to_the_same_broker(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    struct request_id id = broker->seen[MESSAGE_ASK].header.id;
    suite_advance(s, 3500);
    assert_int_equal(broker->seen[MESSAGE_ASK].count, 4);
    assert_int_equal(other(s->broker, broker)->seen[MESSAGE_ASK].count, 0);
    assert_true(request_id_equals(&broker->seen[MESSAGE_ASK].header.id, &id));
    assert_int_equal(broker->seen[MESSAGE_ASK].header.attempt, 1);
    assert_in_range(broker->seen[MESSAGE_ASK].header.deadline_ms, 1, 2000);
    client_close(&c);
}

static void a_repeated_grant_does_not_start_a_second_attempt(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    struct grant grant = suite_grant_of(s, broker);
    for (int i = 0; i < 3; i++)
        suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    struct suite_peer *worker = suite_dispatched(s);
    suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    suite_settle(s);
    assert_int_equal(dispatches_of(s), 1);
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[1], 1);
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[5], true);
    reply(worker, 1, "once");
    SUITE_UNTIL(s, client_has(&c, "once"));
    client_close(&c);
}

/* Of an earlier attempt, of a request that has gone, or of nobody: it goes back. */
static void a_grant_that_nobody_waits_for_goes_back(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    for (uint8_t attempt = 0; attempt < 4; attempt++) {
        struct grant grant = suite_grant_of(s, broker);
        if (attempt == 1)
            continue;
        suite_send(broker, MESSAGE_ASK, (struct header){.attempt = attempt}, MESSAGE_GRANT, &grant);
        SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[0] == grant.number);
        assert_int_equal(broker->seen[MESSAGE_REPORT].number[1], 0);
        assert_int_equal(broker->seen[MESSAGE_REPORT].number[5], true);
    }
    assert_int_equal(dispatches_of(s), 0);
    client_close(&c);
}

static void asks_wait_for_brokers_that_are_away(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    struct request_id id = broker->seen[MESSAGE_ASK].header.id;
    suite_stop_peer(s, &s->broker[0]);
    suite_stop_peer(s, &s->broker[1]);
    SUITE_UNTIL(s, !bus_peer_up(s->brokers[0]) && !bus_peer_up(s->brokers[1]));
    suite_settle(s);
    assert_false(client_has(&c, "HTTP"));
    s->broker_does = BROKER_GRANTS_ONE;
    s->broker[0].seen[MESSAGE_ASK].count = s->broker[1].seen[MESSAGE_ASK].count = 0;
    suite_start_broker(s, 1);
    SUITE_UNTIL(s, s->broker[1].seen[MESSAGE_ASK].count == 1);
    assert_true(request_id_equals(&s->broker[1].seen[MESSAGE_ASK].header.id, &id));
    assert_int_equal(s->broker[1].seen[MESSAGE_ASK].header.attempt, 1);
    reply(suite_dispatched(s), 1, "late");
    SUITE_UNTIL(s, client_has(&c, "late"));
    client_close(&c);
}

/* Whether there is another attempt, a broker says: no standing grant answers that. */
static void a_second_attempt_waits_for_a_broker_however_many_slots_there_are(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    s->standing = true;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    struct grant grant = suite_grant_of(s, broker);
    grant.valid_ms = 60000;
    suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    fail_with(suite_dispatched(s), 1, ERROR_UPSTREAM_ERROR);
    SUITE_UNTIL(s, asks_of(s) == 2);
    suite_stop_peer(s, &s->broker[0]);
    suite_stop_peer(s, &s->broker[1]);
    SUITE_UNTIL(s, !bus_peer_up(s->brokers[0]) && !bus_peer_up(s->brokers[1]));
    suite_start_broker(s, 0);
    suite_settle(s);
    assert_int_equal(dispatches_of(s), 1);
    const struct suite_seen *seen = &s->broker[0].seen[MESSAGE_ASK];
    SUITE_UNTIL(s, seen->header.attempt == 2);
    assert_int_equal(seen->number[1], ERROR_UPSTREAM_ERROR);
    client_close(&c);
}

/* A draining broker knows the target best, but takes no more. */
static void what_fails_after_its_broker_drains_is_asked_of_the_other(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_GRANTS_ALL;
    post(s, &c, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    struct suite_peer *one = &s->broker[worker - s->worker];
    struct suite_peer *two = other(s->broker, one);
    assert_int_equal(bus_send(one->edge, (struct header){0}, MESSAGE_DRAIN, &(struct drain){0}),
                     OK);
    suite_settle(s);
    fail_with(worker, 1, ERROR_UPSTREAM_ERROR);
    SUITE_UNTIL(s, two->seen[MESSAGE_ASK].count == 1);
    assert_int_equal(two->seen[MESSAGE_ASK].header.attempt, 2);
    assert_string_equal(two->seen[MESSAGE_ASK].text[2], "trail");
    assert_int_equal(one->seen[MESSAGE_ASK].count, 1);
    reply(suite_dispatched(s), 2, "two");
    SUITE_UNTIL(s, client_has(&c, "two"));
    assert_true(client_has(&c, "x-tollgate-attempts: 2\r\n"));
    client_close(&c);
}

static void lost_brokers_do_not_touch_what_runs(void **state)
{
    struct suite *s = *state;
    struct suite_client whole, streamed;
    post(s, &whole, ASK);
    struct suite_peer *one = suite_dispatched(s);
    post(s, &streamed, ASK_STREAM);
    struct suite_peer *two = suite_dispatched(s);
    assert_ptr_not_equal(one, two);
    begin(two, 1, "data: 1\n\n");
    SUITE_UNTIL(s, client_has(&streamed, "data: 1\n\n"));
    suite_stop_peer(s, &s->broker[0]);
    suite_stop_peer(s, &s->broker[1]);
    SUITE_UNTIL(s, !bus_peer_up(s->brokers[0]) && !bus_peer_up(s->brokers[1]));
    suite_settle(s);
    reply(one, 1, "still there");
    SUITE_UNTIL(s, client_has(&whole, "still there"));
    struct header second = {.attempt = 1, .seq = 1};
    struct data data = {.bytes = SPAN("data: 2\n\n")};
    suite_send(two, MESSAGE_DISPATCH, second, MESSAGE_DATA, &data);
    SUITE_UNTIL(s, client_has(&streamed, "data: 2\n\n"));
    finish(two, 1);
    SUITE_UNTIL(s, s->edge.request_count == 0);
    assert_int_equal(grants_stats(s->edge.grants).held, 0); /* nobody is left to hear of them */
    client_close(&whole);
    client_close(&streamed);
}

/* The slot has to be free before another one is asked for. */
static void the_end_of_an_attempt_is_reported_before_the_ask_that_follows(void **state)
{
    static const unsigned classes[] = {ERROR_UPSTREAM_ERROR, ERROR_WORKER_REFUSED};
    struct suite *s = *state;
    s->broker_does = BROKER_SILENT;
    suite_stop_peer(s, &s->broker[1]);
    SUITE_UNTIL(s, !bus_peer_up(s->brokers[1]));
    struct suite_peer *broker = &s->broker[0];
    for (unsigned i = 0; i < 2; i++) {
        struct suite_client c;
        unsigned before = asks_of(s);
        post(s, &c, ASK);
        SUITE_UNTIL(s, asks_of(s) == before + 1);
        suite_grant(s, broker);
        struct suite_peer *worker = suite_dispatched(s);
        SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[0] == s->grants);
        suite_settle(s);
        unsigned reports = broker->seen[MESSAGE_REPORT].count;
        fail_with(worker, 1, classes[i]);
        SUITE_UNTIL(s, asks_of(s) == before + 2);
        assert_int_equal(broker->seen[MESSAGE_ASK].number[5], reports + 1);
        client_close(&c);
        SUITE_UNTIL(s, s->edge.request_count == 0);
    }
}

/* The answer to its ask is a renewal of what others have filled. */
static void a_request_that_finds_its_grant_full_asks_for_itself_alone(void **state)
{
    struct suite *s = *state;
    struct suite_client c, d;
    s->broker_does = BROKER_SILENT;
    s->standing = true;
    suite_stop_peer(s, &s->broker[1]);
    SUITE_UNTIL(s, !bus_peer_up(s->brokers[1]));
    struct suite_peer *broker = &s->broker[0];
    post(s, &c, ASK);
    SUITE_UNTIL(s, asks_of(s) == 1);
    struct grant grant = suite_grant_of(s, broker);
    grant.slots = 1;
    suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    (void)suite_dispatched(s);
    post(s, &d, ASK);
    SUITE_UNTIL(s, asks_of(s) == 2);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[0], 2);
    suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    SUITE_UNTIL(s, asks_of(s) == 3);
    assert_false(is_nobodys(&broker->seen[MESSAGE_ASK]));
    assert_int_equal(broker->seen[MESSAGE_ASK].number[0], 0);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[2], 0);
    s->standing = false;
    suite_grant(s, broker);
    SUITE_UNTIL(s, dispatches_of(s) == 2);
    client_close(&c);
    client_close(&d);
}

/* ---- what brokers decline ---- */

static void a_brokers_no_is_said_to_the_client(void **state)
{
    const struct {
        struct decline d;
        const char *status, *text;
    } cases[] = {
        {{.error_class = ERROR_OVERLOADED, .message = SPAN("Full."), .retry_after_ms = 4000},
         "HTTP/1.1 503",
         "Full."},
        {{.error_class = ERROR_OVERLOADED, .retry_after_ms = 4000},
         "HTTP/1.1 503",
         "retry-after-ms: 4000"},
        {{.error_class = ERROR_UNAVAILABLE, .message = SPAN("Nobody is there.")},
         "HTTP/1.1 503",
         "Nobody is there."},
        {{.error_class = ERROR_DEADLINE, .message = SPAN("Too late.")},
         "HTTP/1.1 504",
         "Too late."},
        {{.error_class = ERROR_NOT_FOUND,
          .message = SPAN("No such response."),
          .code = SPAN("previous_response_not_found"),
          .param = SPAN("previous_response_id")},
         "HTTP/1.1 404",
         "\"param\":\"previous_response_id\",\"code\":\"previous_response_not_found\""},
        {{0}, "HTTP/1.1 500", "interrupted"},
    };
    struct suite *s = *state;
    s->broker_does = BROKER_SILENT;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct suite_client c;
        s->broker[0].seen[MESSAGE_ASK].count = s->broker[1].seen[MESSAGE_ASK].count = 0;
        post(s, &c, ASK);
        suite_decline(asked(s), &cases[i].d);
        SUITE_UNTIL(s, client_has(&c, "HTTP/1.1"));
        assert_true(client_has(&c, cases[i].status));
        SUITE_UNTIL(s, client_has(&c, cases[i].text));
        client_close(&c);
    }
    SUITE_UNTIL(s, releases_pending(s->edge.releases) == 0);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], false);
    assert_int_equal(count_of(s->broker, MESSAGE_CANCEL), 0);
}

static void what_the_worker_said_is_told_when_the_broker_lets_it_stand(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_GRANTS_ONE;
    post(s, &c, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    struct fail m = {.error_class = ERROR_RATE_LIMITED,
                     .message = SPAN("the upstream's words"),
                     .code = SPAN("their_code"),
                     .param = SPAN("messages"),
                     .retry_after_ms = 7000,
                     .provider = SPAN("openai"),
                     .endpoint = 3,
                     .input_tokens = 5};
    to_client(worker, 1, MESSAGE_FAIL, &m);
    SUITE_UNTIL(s, client_has(&c, "the upstream's words"));
    assert_true(client_has(&c, "HTTP/1.1 429"));
    assert_true(client_has(&c, "\"param\":\"messages\",\"code\":\"their_code\""));
    assert_true(client_has(&c, "retry-after-ms: 7000\r\n"));
    assert_true(client_has(&c, "x-tollgate-provider: openai\r\n"));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], true); /* billed */
    assert_non_null(strstr(s->history, "\"class\":\"RATE_LIMITED\""));
    assert_non_null(strstr(s->history, "\"code\":\"their_code\",\"param\":\"messages\""));
    assert_null(strstr(s->history, "words")); /* they may quote the prompt */
    client_close(&c);
}

static void one_that_is_answered_at_once_has_no_history(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    post(s, &c, ASK);
    reply(suite_dispatched(s), 1, "well");
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_string_equal(s->history, "");
    client_close(&c);
}

static void of_many_attempts_the_first_and_the_last_are_told(void **state)
{
    enum { MANY = 12, KEPT = 8 };
    struct suite *s = *state;
    struct suite_client c;
    struct json_doc doc = {0};
    int64_t number = 0;
    s->broker_does = BROKER_GRANTS_ALL;
    post(s, &c, ASK);
    for (uint8_t i = 1; i <= MANY; i++) {
        struct fail m = {.error_class = ERROR_UPSTREAM_OVERLOADED,
                         .upstream_status = 503,
                         .code = SPAN("not a \"word\""),
                         .provider_request_id = SPAN("req-1")};
        to_client(suite_dispatched(s), i, MESSAGE_FAIL, &m);
        SUITE_UNTIL(s, asks_of(s) == i + 1u);
    }
    reply(suite_dispatched(s), MANY + 1, "at last");
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(json_parse(&doc, span_str(s->history), JSON_DEPTH_CLIENT), OK);
    struct json attempts = json_get(json_root(&doc), "attempts");
    assert_int_equal(json_count(attempts), KEPT);
    assert_true(json_i64(json_get(json_at(attempts, KEPT - 1), "attempt"), &number));
    assert_int_equal(number, MANY + 1);
    assert_true(json_absent(json_get(json_at(attempts, KEPT - 1), "class")));
    assert_true(json_is(json_get(json_at(attempts, 0), "provider_request_id"), "req-1"));
    assert_true(json_absent(json_get(json_at(attempts, 0), "code")));
    json_doc_free(&doc);
    client_close(&c);
}

static void a_broker_that_stops_sends_its_asks_to_the_other(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *one = asked(s);
    struct suite_peer *two = other(s->broker, one);
    assert_int_equal(bus_send(one->edge, (struct header){0}, MESSAGE_DRAIN, &(struct drain){0}),
                     OK);
    SUITE_UNTIL(s, two->seen[MESSAGE_ASK].count == 1);
    /* what the first had said before is not an answer any more */
    suite_decline(one, &(struct decline){.error_class = ERROR_WORKER_REFUSED});
    suite_decline(one, &(struct decline){.error_class = ERROR_OVERLOADED});
    suite_settle(s);
    assert_false(client_has(&c, "HTTP"));
    suite_grant(s, two);
    reply(suite_dispatched(s), 1, "two");
    SUITE_UNTIL(s, client_has(&c, "two"));
    client_close(&c);
}

/* ---- busy ---- */

static void a_busy_standing_grant_rests_until_it_is_renewed(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    struct suite_peer *broker;
    struct grant grant = hold_standing(s, &c, &broker);
    edge_request(&c, "POST", CHAT, KEY, ASK);
    SUITE_UNTIL(s, dispatches_of(s) == 2);
    fail_with(suite_dispatched(s), 1, ERROR_WORKER_REFUSED);
    SUITE_UNTIL(s, asks_of(s) == 2);
    SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[4] == 1); /* canceled, not failed */
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[3], 0);
    const struct suite_seen *seen = is_nobodys(&s->broker[0].seen[MESSAGE_ASK])
                                        ? &s->broker[1].seen[MESSAGE_ASK]
                                        : &s->broker[0].seen[MESSAGE_ASK];
    if (s->broker[1].seen[MESSAGE_ASK].number[2] == 1)
        seen = &s->broker[1].seen[MESSAGE_ASK];
    assert_int_equal(seen->header.attempt, 1);
    assert_int_equal(seen->number[0], 0); /* for itself */
    assert_int_equal(seen->number[1], ERROR_NONE);
    assert_int_equal(seen->number[2], 1);
    struct suite_client d;
    unsigned before = asks_of(s);
    post(s, &d, ASK);
    SUITE_UNTIL(s, asks_of(s) > before);
    assert_int_equal(dispatches_of(s), 2);
    suite_send(broker, MESSAGE_ASK, (struct header){0}, MESSAGE_GRANT, &grant);
    suite_settle(s);
    struct suite_client e;
    post(s, &e, ASK);
    SUITE_UNTIL(s, dispatches_of(s) == 3);
    client_close(&c);
    client_close(&d);
    client_close(&e);
}

static void each_busy_worker_is_counted_and_none_is_an_attempt(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_GRANTS_ALL;
    post(s, &c, ASK);
    for (unsigned i = 1; i <= 5; i++) {
        struct fail m = {.error_class = ERROR_WORKER_REFUSED, .free = i};
        to_client(suite_dispatched(s), 1, MESSAGE_FAIL, &m);
        SUITE_UNTIL(s, asks_of(s) == i + 1);
    }
    struct suite_peer *last = suite_dispatched(s);
    const struct suite_seen *seen = &s->broker[last - s->worker].seen[MESSAGE_ASK];
    assert_int_equal(seen->header.attempt, 1);
    assert_int_equal(seen->number[2], 5);
    assert_int_equal(seen->number[3], 5);
    reply(last, 1, "at last");
    SUITE_UNTIL(s, client_has(&c, "at last"));
    assert_true(client_has(&c, "x-tollgate-attempts: 1\r\n"));
    client_close(&c);
}

/* ---- links to workers ---- */

static void a_worker_that_cannot_be_reached_is_busy_after_a_second(void **state)
{
    struct suite *s = *state;
    struct suite_client c, d;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *one = asked(s);
    struct suite_peer *two = other(s->broker, one);
    suite_stop_peer(s, &s->worker[one - s->broker]);
    suite_grant(s, one);
    suite_settle(s);
    /* another request is not held up by it */
    post(s, &d, ASK);
    SUITE_UNTIL(s, two->seen[MESSAGE_ASK].count == 1);
    suite_grant(s, two);
    reply(suite_dispatched(s), 1, "quick");
    SUITE_UNTIL(s, client_has(&d, "quick"));
    assert_int_equal(asks_of(s), 2);
    suite_advance(s, 1100);
    SUITE_UNTIL(s, asks_of(s) == 3);
    struct suite_peer *again = one->seen[MESSAGE_ASK].count == 2 ? one : two;
    assert_int_equal(again->seen[MESSAGE_ASK].number[2], 1);
    assert_string_equal(again->seen[MESSAGE_ASK].text[3],
                        one == &s->broker[0] ? "worker-1" : "worker-2");
    assert_int_equal(again->seen[MESSAGE_ASK].header.attempt, 1);
    SUITE_UNTIL(s, one->seen[MESSAGE_REPORT].number[4] == 1);
    struct grant grant = suite_grant_of(s, two);
    suite_send(again, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    SUITE_UNTIL(s, dispatches_of(s) == 2);
    reply(suite_dispatched(s), 1, "there");
    SUITE_UNTIL(s, client_has(&c, "there"));
    client_close(&c);
    client_close(&d);
}

static void a_worker_without_an_address_is_busy_at_once(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    struct grant grant = suite_grant_of(s, broker);
    grant.address = SPAN_NONE;
    suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    SUITE_UNTIL(s, broker->seen[MESSAGE_ASK].number[2] == 1 ||
                       other(s->broker, broker)->seen[MESSAGE_ASK].number[2] == 1);
    SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[4] == 1);
    client_close(&c);
}

/* Addresses are used again: what is granted is a boot. */
static void nothing_is_sent_to_another_boot_of_a_worker(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    struct grant grant = suite_grant_of(s, broker);
    grant.worker_epoch++;
    suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    SUITE_UNTIL(s, asks_of(s) == 2);
    assert_int_equal(dispatches_of(s), 0);
    struct suite_peer *again =
        broker->seen[MESSAGE_ASK].count == 2 ? broker : other(s->broker, broker);
    assert_int_equal(again->seen[MESSAGE_ASK].number[2], 1);
    suite_grant(s, again);
    reply(suite_dispatched(s), 1, "the right one");
    SUITE_UNTIL(s, client_has(&c, "the right one"));
    client_close(&c);
}

/* ---- workers that are lost ---- */

/* Notices only what pings notice: the worker says no goodbye. */
static void hang_workers(struct suite *s)
{
    s->workers_hang = true;
    suite_advance(s, 1800);
}

static void a_worker_lost_before_the_answer_is_a_failed_attempt(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    suite_part_workers(s);
    s->broker_does = BROKER_GRANTS_ONE;
    post(s, &c, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    struct suite_peer *broker = &s->broker[worker - s->worker];
    hang_workers(s);
    SUITE_UNTIL(s, broker->seen[MESSAGE_ASK].count == 2);
    assert_int_equal(broker->seen[MESSAGE_ASK].header.attempt, 2);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[1], ERROR_WORKER_LOST);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[4], true);
    assert_string_equal(broker->seen[MESSAGE_ASK].text[3],
                        worker == s->worker ? "worker-1" : "worker-2");
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[3], 1);
    SUITE_UNTIL(s, client_has(&c, "interrupted")); /* declined: that failure stands */
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], true);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[1], 1); /* the second never ran */
    client_close(&c);
}

/* A body that is large enough to have done it. */
static void a_worker_lost_under_a_large_body_is_the_last_to_get_it(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    enum { LARGE = 256 << 10 };
    struct buf body = {0};
    suite_part_workers(s);
    s->broker_does = BROKER_GRANTS_ONE;
    buf_append_str(&body, "{\"model\":\"gpt-4\",\"messages\":[]");
    while (body.len < LARGE)
        buf_append_char(&body, ' ');
    buf_append(&body, SPAN("}\0"));
    post(s, &c, body.data);
    struct suite_peer *worker = suite_dispatched(s);
    struct suite_peer *broker = &s->broker[worker - s->worker];
    hang_workers(s);
    SUITE_UNTIL(s, broker->seen[MESSAGE_ASK].count == 2);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[1], ERROR_WORKER_LOST);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[6], true);
    SUITE_UNTIL(s, client_has(&c, "interrupted"));
    assert_true(client_has(&c, "502"));
    assert_true(client_has(&c, "x-should-retry: false"));
    buf_free(&body);
    client_close(&c);
}

/* Whose loop was held says by whom: that one gets no other worker, and no neighbour pays for it. */
static void who_held_the_lost_workers_loop_is_the_last_to_get_one(void **state)
{
    struct suite *s = *state;
    suite_part_workers(s);
    for (unsigned mine = 0; mine < 2; mine++) {
        struct suite_client c;
        s->broker_does = BROKER_GRANTS_ONE;
        s->workers_hang = false;
        suite_advance(s, 1000);
        unsigned before = asks_of(s);
        post(s, &c, ASK);
        struct suite_peer *worker = suite_dispatched(s);
        struct suite_peer *broker = &s->broker[worker - s->worker];
        struct request_id held = worker->seen[MESSAGE_DISPATCH].header.id;
        held.bytes[0] ^= mine ? 0 : 1;
        struct pong pong = {.greeted = true,
                            .busy = span_of((const char *)held.bytes, sizeof held.bytes)};
        suite_send(worker, MESSAGE_DISPATCH, (struct header){0}, MESSAGE_PONG, &pong);
        suite_settle(s);
        hang_workers(s);
        SUITE_UNTIL(s, asks_of(s) == before + 2);
        assert_int_equal(broker->seen[MESSAGE_ASK].number[1], ERROR_WORKER_LOST);
        assert_int_equal(broker->seen[MESSAGE_ASK].number[6], mine);
        client_close(&c);
        suite_settle(s);
    }
}

static void the_second_worker_that_is_lost_is_the_last(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    suite_part_workers(s);
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    suite_grant(s, broker);
    struct suite_peer *worker = suite_dispatched(s);
    hang_workers(s);
    SUITE_UNTIL(s, asks_of(s) == 2);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[6], false);
    s->workers_hang = false;
    suite_advance(s, 1000);
    suite_grant(s, broker);
    SUITE_UNTIL(s, worker->seen[MESSAGE_DISPATCH].header.attempt == 2);
    hang_workers(s);
    SUITE_UNTIL(s, broker->seen[MESSAGE_ASK].header.attempt == 3);
    assert_int_equal(broker->seen[MESSAGE_ASK].number[6], true);
    client_close(&c);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[1], 2); /* whatever the first settled */
}

static void a_worker_lost_within_the_answer_breaks_the_stream(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    suite_part_workers(s);
    post(s, &c, ASK_STREAM);
    struct suite_peer *worker = suite_dispatched(s);
    struct suite_peer *broker = &s->broker[worker - s->worker];
    begin(worker, 1, "data: 1\n\n");
    SUITE_UNTIL(s, client_has(&c, "data: 1\n\n"));
    hang_workers(s);
    SUITE_UNTIL(s, client_has(&c, "interrupted"));
    assert_false(client_has(&c, "[DONE]"));
    SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[3] == 1);
    assert_int_equal(asks_of(s), 1);
    client_close(&c);
}

static void a_worker_that_stops_within_the_answer_breaks_the_stream(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    post(s, &c, ASK_STREAM);
    struct suite_peer *worker = suite_dispatched(s);
    begin(worker, 1, "data: 1\n\n");
    SUITE_UNTIL(s, client_has(&c, "data: 1\n\n"));
    suite_stop_peer(s, worker);
    SUITE_UNTIL(s, client_has(&c, "interrupted"));
    assert_int_equal(asks_of(s), 1);
    client_close(&c);
}

static void a_goodbye_before_the_answer_is_busy(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    post(s, &c, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    struct suite_peer *broker = &s->broker[worker - s->worker];
    s->broker_does = BROKER_SILENT;
    suite_stop_peer(s, worker);
    SUITE_UNTIL(s, asks_of(s) == 2);
    struct suite_peer *again =
        broker->seen[MESSAGE_ASK].count == 2 ? broker : other(s->broker, broker);
    assert_int_equal(again->seen[MESSAGE_ASK].header.attempt, 1);
    assert_int_equal(again->seen[MESSAGE_ASK].number[1], ERROR_NONE);
    assert_int_equal(again->seen[MESSAGE_ASK].number[2], 1);
    SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[4] == 1);
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[3], 0);
    client_close(&c);
}

/* ---- clients that leave, and time ---- */

static void a_client_that_leaves_takes_its_ask_back(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    client_close(&c);
    SUITE_UNTIL(s, broker->seen[MESSAGE_CANCEL].count == 1);
    assert_true(request_id_equals(&broker->seen[MESSAGE_CANCEL].header.id,
                                  &broker->seen[MESSAGE_ASK].header.id));
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[0], 499);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], false);
    suite_grant(s, broker); /* it crosses */
    SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[5] == true);
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[1], 0);
    suite_decline(broker, &(struct decline){.error_class = ERROR_OVERLOADED});
    suite_settle(s);
    assert_int_equal(dispatches_of(s), 0);
    assert_int_equal(s->edge.request_count, 0);
}

static void a_client_that_leaves_while_a_link_comes_up(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    suite_part_workers(s);
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    s->workers_hang = true;
    suite_grant(s, broker);
    suite_settle(s);
    client_close(&c);
    SUITE_UNTIL(s, broker->seen[MESSAGE_REPORT].number[4] == 1);
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[1], 1);
    assert_int_equal(broker->seen[MESSAGE_REPORT].number[5], true);
    assert_int_equal(broker->seen[MESSAGE_CANCEL].count, 0);
    s->workers_hang = false;
    suite_settle(s);
    assert_int_equal(dispatches_of(s), 0);
    assert_int_equal(count_of(s->worker, MESSAGE_CANCEL), 0);
}

static void a_deadline_while_asking_is_504_and_takes_the_ask_back(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK);
    struct suite_peer *broker = asked(s);
    suite_advance(s, 4800);
    assert_false(client_has(&c, "HTTP"));
    suite_advance(s, 400);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 504"));
    SUITE_UNTIL(s, broker->seen[MESSAGE_CANCEL].count == 1);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_RELEASE].number[2], false);
    client_close(&c);
}

static void early_headers_go_out_while_a_worker_is_asked_for(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK_STREAM);
    struct suite_peer *broker = asked(s);
    suite_advance(s, 1200);
    SUITE_UNTIL(s, client_has(&c, ": ka\n\n"));
    assert_true(client_has(&c, "HTTP/1.1 200"));
    suite_grant(s, broker);
    struct suite_peer *worker = suite_dispatched(s);
    assert_string_equal(worker->seen[MESSAGE_DISPATCH].text[3], ASK_STREAM);
    fail_with(worker, 1, ERROR_UPSTREAM_ERROR);
    SUITE_UNTIL(s, broker->seen[MESSAGE_ASK].header.attempt == 2);
    buf_clear(&c.got);
    suite_advance(s, 2200);
    SUITE_UNTIL(s, client_has(&c, ": ka\n\n"));
    suite_grant(s, broker);
    SUITE_UNTIL(s, dispatches_of(s) == 2);
    assert_string_equal(worker->seen[MESSAGE_DISPATCH].text[3], ASK_STREAM);
    begin(worker, 2, "data: 1\n\n");
    finish(worker, 2);
    SUITE_UNTIL(s, client_has(&c, "data: 1\n\n"));
    assert_false(client_has(&c, "HTTP/1.1"));
    client_close(&c);
}

static void a_no_after_early_headers_is_said_inside_the_stream(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_does = BROKER_SILENT;
    post(s, &c, ASK_STREAM);
    struct suite_peer *broker = asked(s);
    suite_advance(s, 1200);
    SUITE_UNTIL(s, client_has(&c, ": ka\n\n"));
    suite_decline(broker,
                  &(struct decline){.error_class = ERROR_OVERLOADED, .message = SPAN("Full.")});
    SUITE_UNTIL(s, client_has(&c, "data: {\"error\""));
    assert_true(client_has(&c, "Full."));
    assert_false(client_has(&c, "HTTP/1.1 503"));
    client_close(&c);
}

/* ---- reports, and stored responses ---- */

static void a_report_is_repeated_until_it_is_heard(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    s->broker_hears_nothing = true;
    post(s, &c, ASK);
    struct suite_peer *worker = suite_dispatched(s);
    struct suite_peer *broker = &s->broker[worker - s->worker];
    struct suite_seen *seen = &broker->seen[MESSAGE_REPORT];
    reply(worker, 1, "done");
    SUITE_UNTIL(s, client_has(&c, "done"));
    SUITE_UNTIL(s, seen->number[2] == 1);
    unsigned before = seen->count;
    suite_advance(s, 2500);
    assert_in_range(seen->count, before + 2, before + 3);
    assert_int_equal(seen->number[2], 1);
    assert_int_equal(seen->number[5], true);
    assert_int_equal(grants_stats(s->edge.grants).held, 1);
    s->broker_hears_nothing = false;
    suite_advance(s, 1200);
    SUITE_UNTIL(s, grants_stats(s->edge.grants).held == 0);
    before = seen->count;
    suite_advance(s, 2500);
    assert_int_equal(seen->count, before);
    client_close(&c);
}

static void every_broker_and_auth_hear_of_a_stored_response(void **state)
{
    struct suite *s = *state;
    for (unsigned streamed = 0; streamed < 2; streamed++) {
        struct suite_client c;
        struct head head = {.status = 200,
                            .provider = SPAN("openai"),
                            .upstream_id = SPAN("resp_1"),
                            .endpoint = 2};
        struct reply whole = {.status = 200,
                              .provider = SPAN("openai"),
                              .upstream_id = SPAN("resp_2"),
                              .endpoint = 3};
        post(s, &c, streamed ? ASK_STREAM : ASK);
        SUITE_UNTIL(s, dispatches_of(s) == 1);
        struct suite_peer *worker = suite_dispatched(s);
        if (streamed)
            to_client(worker, 1, MESSAGE_HEAD, &head);
        else
            to_client(worker, 1, MESSAGE_REPLY, &whole);
        for (unsigned b = 0; b <= SUITE_BROKERS; b++) {
            const struct suite_peer *taker = b < SUITE_BROKERS ? &s->broker[b] : &s->auth;
            const struct suite_seen *seen = &taker->seen[MESSAGE_STORED];
            SUITE_UNTIL(s, seen->count == streamed + 1);
            assert_string_equal(seen->text[0], streamed ? "resp_1" : "resp_2");
            assert_string_equal(seen->text[1], "key_1");
            assert_string_equal(seen->text[2], "openai");
            assert_int_equal(seen->number[0], streamed ? 2 : 3);
        }
        client_close(&c);
        SUITE_UNTIL(s, s->edge.request_count == 0);
        worker->seen[MESSAGE_DISPATCH].count = 0;
    }
}

/* An edge that stops with requests in every state leaves nothing behind. */
static void a_stop_ends_what_asks_links_and_streams(void **state)
{
    struct suite *s = *state;
    struct suite_client streaming, linking, asking;
    post(s, &streaming, ASK_STREAM);
    struct suite_peer *worker = suite_dispatched(s);
    begin(worker, 1, "data: 1\n\n");
    SUITE_UNTIL(s, client_has(&streaming, "data: 1\n\n"));
    s->broker_does = BROKER_SILENT;
    post(s, &asking, ASK);
    SUITE_UNTIL(s, asks_of(s) == 2);
    post(s, &linking, ASK);
    SUITE_UNTIL(s, asks_of(s) == 3);
    struct suite_peer *broker = &s->broker[worker - s->worker];
    struct grant grant = suite_grant_of(s, broker);
    grant.address = SPAN("ipc:///nowhere/at/all");
    grant.worker_epoch = 9;
    suite_send(broker, MESSAGE_ASK, (struct header){.attempt = 1}, MESSAGE_GRANT, &grant);
    suite_settle(s);
    assert_int_equal(s->edge.request_count, 3);
    client_close(&streaming);
    client_close(&linking);
    client_close(&asking);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, suite_setup, suite_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_used_standing_grant_is_renewed_and_goes_on),
        TEST(an_unused_standing_grant_expires_and_is_told_closed),
        TEST(a_revoked_grant_is_closed_and_not_used),
        TEST(a_full_standing_grant_is_not_overdrawn),
        TEST(a_standing_grant_serves_no_other_model),
        TEST(the_broker_with_the_fewest_waiting_is_asked),
        TEST(equal_brokers_are_asked_in_turn),
        TEST(an_ask_is_repeated_each_second_to_the_same_broker),
        TEST(a_repeated_grant_does_not_start_a_second_attempt),
        TEST(a_grant_that_nobody_waits_for_goes_back),
        TEST(asks_wait_for_brokers_that_are_away),
        TEST(a_second_attempt_waits_for_a_broker_however_many_slots_there_are),
        TEST(what_fails_after_its_broker_drains_is_asked_of_the_other),
        TEST(lost_brokers_do_not_touch_what_runs),
        TEST(the_end_of_an_attempt_is_reported_before_the_ask_that_follows),
        TEST(a_request_that_finds_its_grant_full_asks_for_itself_alone),
        TEST(a_brokers_no_is_said_to_the_client),
        TEST(one_that_is_answered_at_once_has_no_history),
        TEST(of_many_attempts_the_first_and_the_last_are_told),
        TEST(what_the_worker_said_is_told_when_the_broker_lets_it_stand),
        TEST(a_broker_that_stops_sends_its_asks_to_the_other),
        TEST(a_busy_standing_grant_rests_until_it_is_renewed),
        TEST(each_busy_worker_is_counted_and_none_is_an_attempt),
        TEST(a_worker_that_cannot_be_reached_is_busy_after_a_second),
        TEST(a_worker_without_an_address_is_busy_at_once),
        TEST(nothing_is_sent_to_another_boot_of_a_worker),
        TEST(a_worker_lost_before_the_answer_is_a_failed_attempt),
        TEST(a_worker_lost_under_a_large_body_is_the_last_to_get_it),
        TEST(who_held_the_lost_workers_loop_is_the_last_to_get_one),
        TEST(the_second_worker_that_is_lost_is_the_last),
        TEST(a_worker_lost_within_the_answer_breaks_the_stream),
        TEST(a_worker_that_stops_within_the_answer_breaks_the_stream),
        TEST(a_goodbye_before_the_answer_is_busy),
        TEST(a_client_that_leaves_takes_its_ask_back),
        TEST(a_client_that_leaves_while_a_link_comes_up),
        TEST(a_deadline_while_asking_is_504_and_takes_the_ask_back),
        TEST(early_headers_go_out_while_a_worker_is_asked_for),
        TEST(a_no_after_early_headers_is_said_inside_the_stream),
        TEST(a_report_is_repeated_until_it_is_heard),
        TEST(every_broker_and_auth_hear_of_a_stored_response),
        TEST(a_stop_ends_what_asks_links_and_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
