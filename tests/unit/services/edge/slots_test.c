/* A key that may run so many requests at once, at an edge that holds slots of it on lease. */
#include "unit/services/edge/test_suite.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "proto/error_class.h"

#define KEY "x-api-key: sk-1\r\n"
#define ASK "{\"model\":\"gpt-4\",\"messages\":[]}"

static const struct header first = {.attempt = 1};
static uint8_t digest[SHA256_BYTES];

/* auth leases: each request that has no slot gets one. */
static void lease_slots(struct suite *s)
{
    crypto_sha256(SPAN("sk-1"), digest);
    s->allow.lease = 7;
    s->allow.lease_charged = 1000;
    s->allow.lease_charged_tokens = UINT64_MAX;
    s->allow.lease_ms = 60000;
    s->allow.slots_key = span_of(digest, sizeof digest);
    s->allow.slots_ms = 60000;
}

static unsigned asked(const struct suite *s)
{
    return s->auth.seen[MESSAGE_AUTHORIZE].count;
}

/* The worker that has it. */
static struct suite_peer *begin(struct suite *s, struct suite_client *c)
{
    edge_request(c, "POST", "/v1/chat/completions", KEY, ASK);
    return suite_dispatched(s);
}

static void end(struct suite *s, struct suite_client *c, struct suite_peer *worker)
{
    struct reply reply = {.status = 200, .provider = SPAN("openai"), .body = SPAN("done")};
    suite_send(worker, MESSAGE_DISPATCH, first, MESSAGE_REPLY, &reply);
    SUITE_UNTIL(s, client_has(c, "done"));
    buf_clear(&c->got);
}

static struct slot_counts held(const struct suite *s)
{
    return slot_book_counts(s->edge.slots, digest);
}

static void auth_is_asked_for_one_slot_more_and_not_for_each_request(void **state)
{
    struct suite *s = *state;
    struct suite_client one, two;
    lease_slots(s);
    client_open(s, &one);
    client_open(s, &two);
    for (int i = 0; i < 4; i++)
        end(s, &one, begin(s, &one));
    assert_int_equal(asked(s), 1);
    struct suite_peer *worker = begin(s, &one);
    end(s, &two, begin(s, &two));
    assert_int_equal(asked(s), 2);
    assert_int_equal(s->auth.seen[MESSAGE_AUTHORIZE].number[2], false); /* the lease goes on */
    assert_int_equal(held(s).given, 2);
    assert_int_equal(held(s).used, 1);
    end(s, &two, begin(s, &two));
    assert_int_equal(asked(s), 2);
    (void)worker;
    client_close(&one); /* leaves: its slot is free */
    SUITE_UNTIL(s, held(s).used == 0);
    client_close(&two);
}

static void a_slot_that_is_called_back_goes_when_its_request_is_over(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    lease_slots(s);
    client_open(s, &c);
    struct suite_peer *worker = begin(s, &c);
    struct slots_back back = {.key_digest = span_of(digest, sizeof digest), .given = 1, .until = 1};
    const struct suite_seen *seen = &s->auth.seen[MESSAGE_SLOTS_HELD];
    suite_send(&s->auth, MESSAGE_AUTHORIZE, first, MESSAGE_SLOTS_BACK, &back);
    SUITE_UNTIL(s, seen->count == 1);
    assert_int_equal(seen->number[0], 1);
    assert_int_equal(seen->number[1], 0); /* it runs */
    end(s, &c, worker);
    SUITE_UNTIL(s, seen->count == 2);
    assert_int_equal(seen->number[1], 1);
    end(s, &c, begin(s, &c));
    assert_int_equal(asked(s), 2);
    client_close(&c);
}

static void a_request_that_is_denied_or_leaves_keeps_no_slot(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    lease_slots(s);
    s->allow.lease_charged = 0; /* of other limits there is no lease: auth is asked each time */
    client_open(s, &c);
    end(s, &c, begin(s, &c));
    end(s, &c, begin(s, &c));
    assert_int_equal(asked(s), 2);
    assert_int_equal(s->auth.seen[MESSAGE_AUTHORIZE].number[4], true);
    assert_int_equal(held(s).given, 1);
    s->auth_does = AUTH_DENIES;
    s->deny = (struct deny){.error_class = ERROR_RATE_LIMITED, .message = SPAN("no")};
    edge_request(&c, "POST", "/v1/chat/completions", KEY, ASK);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 429"));
    assert_int_equal(held(s).used, 0);
    s->auth_does = AUTH_SILENT;
    edge_request(&c, "POST", "/v1/chat/completions", KEY, ASK);
    SUITE_UNTIL(s, asked(s) == 4);
    assert_int_equal(held(s).used, 1);
    client_close(&c);
    SUITE_UNTIL(s, held(s).used == 0);
}

static void an_allow_for_a_request_that_has_left_leaves_a_free_slot(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    lease_slots(s);
    s->auth_does = AUTH_SILENT;
    client_open(s, &c);
    edge_request(&c, "POST", "/v1/chat/completions", KEY, ASK);
    SUITE_UNTIL(s, asked(s) == 1);
    client_close(&c);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_RELEASE].count == 1);
    s->allow.slots_given = 1;
    suite_send(&s->auth, MESSAGE_AUTHORIZE, first, MESSAGE_ALLOW, &s->allow);
    SUITE_UNTIL(s, held(s).given == 1);
    assert_int_equal(held(s).used, 0);
}

static void auth_that_comes_back_is_told_what_is_held(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    lease_slots(s);
    client_open(s, &c);
    struct suite_peer *worker = begin(s, &c);
    suite_stop_peer(s, &s->auth);
    end(s, &c, worker);
    end(s, &c, begin(s, &c)); /* its lease goes on */
    suite_start_auth(s);
    SUITE_UNTIL(s, s->auth.seen[MESSAGE_SLOTS_HELD].count == 1);
    assert_int_equal(s->auth.seen[MESSAGE_SLOTS_HELD].number[0], 1);
    assert_int_equal(s->auth.seen[MESSAGE_SLOTS_HELD].number[1], 0);
    client_close(&c);
}

static void without_auth_slots_are_used_until_their_lease_ends(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    lease_slots(s);
    s->allow.slots_ms = 1000;
    client_open(s, &c);
    end(s, &c, begin(s, &c));
    suite_stop_peer(s, &s->auth);
    SUITE_UNTIL(s, !bus_peer_up(s->d.auth));
    suite_advance(s, 1500);
    edge_request(&c, "POST", "/v1/chat/completions", KEY, ASK);
    suite_advance(s, 3500);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 503"));
    assert_int_equal(held(s).returned, 1);
    client_close(&c);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, suite_setup, suite_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(auth_is_asked_for_one_slot_more_and_not_for_each_request),
        TEST(a_slot_that_is_called_back_goes_when_its_request_is_over),
        TEST(a_request_that_is_denied_or_leaves_keeps_no_slot),
        TEST(an_allow_for_a_request_that_has_left_leaves_a_free_slot),
        TEST(auth_that_comes_back_is_told_what_is_held),
        TEST(without_auth_slots_are_used_until_their_lease_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
