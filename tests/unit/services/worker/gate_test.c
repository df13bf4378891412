#include "services/worker/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { WORKER = 7, EDGE = 3, BROKER = 100, SLOTS = 4, NOW = 5000 };

static const uint8_t key[GRANT_KEY_BYTES] = {1, 2, 3};
static const uint8_t other_key[GRANT_KEY_BYTES] = {3, 2, 1};

struct world {
    struct gate *gate;
    uint8_t bytes[GRANT_TOKEN_BYTES];
    struct gate_grant *grant; /* of the last one that was let in */
};

static int set_up(void **state)
{
    static struct world w;
    w = (struct world){0};
    assert_int_equal(gate_create(&w.gate, WORKER, SLOTS), OK);
    assert_int_equal(gate_broker_up(w.gate, BROKER, key), OK);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    gate_destroy(&w->gate);
    assert_null(w->gate);
    return 0;
}

static struct grant_token once(uint64_t number)
{
    return (struct grant_token){.broker_epoch = BROKER,
                                .worker_epoch = WORKER,
                                .edge_epoch = EDGE,
                                .number = number,
                                .expires_ms = NOW + GRANT_ONCE_MS,
                                .slots = 1};
}

static struct grant_token standing(uint64_t number, uint32_t slots)
{
    struct grant_token t = once(number);
    t.standing = true;
    t.slots = slots;
    t.expires_ms = NOW + GRANT_LIFE_MS;
    return t;
}

static enum gate_verdict begin_signed(struct world *w, struct grant_token t, const uint8_t *with,
                                      uint64_t now_ms)
{
    struct gate_grant *grant;
    grant_token_write(&t, with, w->bytes);
    enum gate_verdict verdict =
        gate_begin(w->gate, span_of((const char *)w->bytes, sizeof w->bytes), EDGE, now_ms, &grant);
    assert_int_equal(verdict == GATE_OK, grant != NULL);
    if (grant)
        w->grant = grant;
    return verdict;
}

static enum gate_verdict begin_at(struct world *w, struct grant_token t, uint64_t now_ms)
{
    return begin_signed(w, t, key, now_ms);
}

static enum gate_verdict begin(struct world *w, struct grant_token t)
{
    return begin_at(w, t, NOW);
}

static void what_is_granted_is_let_in_and_counted(void **state)
{
    struct world *w = *state;
    assert_int_equal(gate_free(w->gate), SLOTS);
    assert_int_equal(begin(w, once(1)), GATE_OK);
    assert_int_equal(gate_running(w->gate), 1);
    assert_int_equal(gate_free(w->gate), SLOTS - 1);
    assert_false(gate_end(w->gate, w->grant, NOW));
    assert_int_equal(gate_running(w->gate), 0);
}

static void what_is_not_for_here_is_refused(void **state)
{
    struct world *w = *state;
    struct gate_grant *grant;
    struct grant_token t = once(1);
    assert_int_equal(gate_begin(w->gate, SPAN("nonsense"), EDGE, NOW, &grant), GATE_MALFORMED);
    assert_int_equal(gate_begin(w->gate, SPAN_NONE, EDGE, NOW, &grant), GATE_MALFORMED);
    t.worker_epoch++;
    assert_int_equal(begin(w, t), GATE_OTHER_WORKER);
    t = once(1);
    t.edge_epoch++;
    assert_int_equal(begin(w, t), GATE_OTHER_EDGE);
    t = once(1);
    t.broker_epoch++;
    assert_int_equal(begin(w, t), GATE_UNKNOWN_BROKER);
    assert_int_equal(begin_signed(w, once(1), other_key, NOW), GATE_BAD_SIGNATURE);
    assert_int_equal(gate_running(w->gate), 0);
    assert_int_equal(gate_grants(w->gate), 0);
    assert_int_equal(begin(w, once(1)), GATE_OK);
}

static void a_changed_token_of_a_known_grant_is_refused(void **state)
{
    struct world *w = *state;
    struct gate_grant *grant;
    assert_int_equal(begin(w, standing(1, 4)), GATE_OK);
    for (unsigned bit = 24 * 8; bit < 8 * GRANT_TOKEN_BYTES; bit++) { /* behind the epochs */
        w->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(gate_begin(w->gate, span_of((const char *)w->bytes, sizeof w->bytes), EDGE,
                                    NOW, &grant),
                         GATE_BAD_SIGNATURE);
        w->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(begin(w, standing(1, 4)), GATE_OK);
}

static void a_grant_holds_until_it_expires(void **state)
{
    struct world *w = *state;
    assert_int_equal(begin_at(w, once(1), NOW + GRANT_ONCE_MS), GATE_EXPIRED);
    assert_int_equal(begin_at(w, once(2), NOW + GRANT_ONCE_MS - 1), GATE_OK);
    assert_int_equal(begin_at(w, standing(3, 2), NOW + GRANT_LIFE_MS), GATE_EXPIRED);
}

static void a_grant_for_one_attempt_is_used_once(void **state)
{
    struct world *w = *state;
    assert_int_equal(begin(w, once(1)), GATE_OK);
    assert_int_equal(begin(w, once(1)), GATE_USED);
    (void)gate_end(w->gate, w->grant, NOW);
    assert_int_equal(begin(w, once(1)), GATE_USED);
    assert_int_equal(begin(w, once(2)), GATE_OK);
}

static void its_use_is_known_until_it_has_expired_and_nothing_runs(void **state)
{
    struct world *w = *state;
    assert_int_equal(begin(w, once(1)), GATE_OK);
    struct gate_grant *first = w->grant;
    assert_int_equal(begin(w, once(2)), GATE_OK);
    struct gate_grant *second = w->grant;
    (void)gate_end(w->gate, first, NOW);
    gate_sweep(w->gate, NOW + GRANT_ONCE_MS - 1);
    assert_int_equal(gate_grants(w->gate), 2);
    gate_sweep(w->gate, NOW + GRANT_ONCE_MS);
    assert_int_equal(gate_grants(w->gate), 1);
    (void)gate_end(w->gate, second, NOW + 10 * GRANT_ONCE_MS);
    assert_int_equal(gate_grants(w->gate), 0);
}

static void a_standing_grant_serves_so_many_at_once(void **state)
{
    struct world *w = *state;
    assert_int_equal(begin(w, standing(1, 0)), GATE_USED);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(begin(w, standing(1, 2)), GATE_OK);
        assert_int_equal(begin(w, standing(1, 2)), GATE_OK);
        assert_int_equal(begin(w, standing(1, 2)), GATE_USED);
        (void)gate_end(w->gate, w->grant, NOW);
        (void)gate_end(w->gate, w->grant, NOW);
    }
    assert_int_equal(gate_grants(w->gate), 1);
}

static void a_renewed_grant_lives_on_with_other_slots(void **state)
{
    struct world *w = *state;
    struct grant_token renewed = standing(1, 3);
    renewed.expires_ms += 500;
    assert_int_equal(begin(w, standing(1, 1)), GATE_OK);
    assert_int_equal(begin(w, standing(1, 1)), GATE_USED);
    assert_int_equal(begin(w, renewed), GATE_OK);
    assert_int_equal(begin(w, standing(1, 1)), GATE_USED); /* the one before comes late */
    assert_int_equal(begin_at(w, renewed, NOW + GRANT_LIFE_MS), GATE_OK);
    assert_int_equal(gate_grants(w->gate), 1);
    for (unsigned i = 0; i < 3; i++)
        (void)gate_end(w->gate, w->grant, NOW + GRANT_LIFE_MS);
    gate_sweep(w->gate, NOW + GRANT_LIFE_MS + 499);
    assert_int_equal(gate_grants(w->gate), 1);
    gate_sweep(w->gate, NOW + GRANT_LIFE_MS + 500);
    assert_int_equal(gate_grants(w->gate), 0);
}

static void a_grant_that_ran_beyond_its_life_can_be_renewed(void **state)
{
    struct world *w = *state;
    struct grant_token renewed = standing(1, 2);
    renewed.expires_ms += 5000;
    assert_int_equal(begin(w, standing(1, 2)), GATE_OK);
    gate_sweep(w->gate, NOW + 2000);
    assert_int_equal(begin_at(w, renewed, NOW + 2000), GATE_OK);
    (void)gate_end(w->gate, w->grant, NOW + 2000);
    (void)gate_end(w->gate, w->grant, NOW + 2000);
    assert_int_equal(gate_grants(w->gate), 1);
    gate_sweep(w->gate, NOW + 6000);
    assert_int_equal(gate_grants(w->gate), 0);
}

static void never_more_run_than_there_are_slots(void **state)
{
    struct world *w = *state;
    struct gate_grant *grants[SLOTS];
    for (unsigned i = 0; i < SLOTS; i++) {
        assert_int_equal(begin(w, once(i)), GATE_OK);
        grants[i] = w->grant;
    }
    assert_int_equal(begin(w, once(9)), GATE_FULL);
    assert_int_equal(gate_free(w->gate), 0);
    assert_true(gate_end(w->gate, grants[0], NOW)); /* somebody waits for it */
    assert_false(gate_end(w->gate, grants[1], NOW));
    assert_int_equal(begin(w, once(9)), GATE_OK); /* being refused has not used it */
    gate_set_slots(w->gate, 1);
    assert_int_equal(begin(w, once(10)), GATE_FULL);
    assert_false(gate_end(w->gate, w->grant, NOW)); /* there is none yet */
    assert_false(gate_end(w->gate, grants[2], NOW));
    assert_true(gate_end(w->gate, grants[3], NOW));
}

static void nothing_is_let_in_while_shut(void **state)
{
    struct world *w = *state;
    gate_set_shut(w->gate, true);
    assert_int_equal(begin(w, once(1)), GATE_SHUT);
    assert_int_equal(gate_free(w->gate), 0);
    gate_set_shut(w->gate, false);
    assert_int_equal(begin(w, once(1)), GATE_OK);
}

static void the_grants_of_a_lost_broker_hold(void **state)
{
    struct world *w = *state;
    assert_int_equal(begin(w, once(1)), GATE_OK);
    gate_broker_down(w->gate, BROKER, NOW);
    gate_broker_down(w->gate, BROKER + 1, NOW); /* of whom nobody has heard */
    assert_int_equal(begin_at(w, once(2), NOW + 1000), GATE_OK);
    struct grant_token late = once(3);
    late.expires_ms += 60000;
    gate_sweep(w->gate, NOW + 30000);
    assert_int_equal(begin_at(w, late, NOW + 30000), GATE_UNKNOWN_BROKER);
    assert_int_equal(gate_running(w->gate), 2);
}

static void a_new_key_leaves_the_one_before_in_force(void **state)
{
    struct world *w = *state;
    static const uint8_t third_key[GRANT_KEY_BYTES] = {9};
    gate_broker_down(w->gate, BROKER, NOW);
    assert_int_equal(gate_broker_up(w->gate, BROKER, other_key), OK);
    assert_int_equal(begin(w, once(1)), GATE_OK);
    assert_int_equal(begin_signed(w, once(2), other_key, NOW), GATE_OK);
    assert_int_equal(begin_signed(w, once(1), other_key, NOW), GATE_USED); /* one number, one use */
    assert_int_equal(begin_signed(w, once(3), third_key, NOW), GATE_BAD_SIGNATURE);
    assert_int_equal(gate_broker_up(w->gate, BROKER, third_key), OK);
    assert_int_equal(begin(w, once(3)), GATE_BAD_SIGNATURE);
}

static void brokers_that_have_not_shown_a_key_sign_nothing(void **state)
{
    struct world *w = *state;
    static const uint8_t zeroes[GRANT_KEY_BYTES];
    assert_int_equal(begin_signed(w, once(1), zeroes, NOW), GATE_BAD_SIGNATURE);
}

static void so_many_brokers_and_no_more(void **state)
{
    struct world *w = *state;
    for (unsigned i = 1; i < GATE_MAX_LIVING; i++)
        assert_int_equal(gate_broker_up(w->gate, BROKER + i, key), OK);
    assert_int_equal(gate_broker_up(w->gate, BROKER + 16, key), ERR_TOO_BIG);
    assert_int_equal(gate_broker_up(w->gate, BROKER, key), OK);
    assert_int_equal(begin(w, once(1)), GATE_OK);
    struct gate_grant *old = w->grant;
    gate_broker_down(w->gate, BROKER, NOW);
    for (unsigned i = 0; i < GATE_MAX_LOST; i++) {
        assert_int_equal(gate_broker_up(w->gate, 1000 + i, key), OK);
        if (i == GATE_MAX_LOST - 1)
            assert_int_equal(begin_at(w, once(2), NOW + 20), GATE_OK);
        gate_broker_down(w->gate, 1000 + i, NOW + 20 + i);
    }
    /* the longest lost one is forgotten; what runs under its grants still counts */
    assert_int_equal(begin_at(w, once(3), NOW + 60), GATE_UNKNOWN_BROKER);
    assert_int_equal(gate_running(w->gate), 2);
    assert_int_equal(gate_broker_up(w->gate, BROKER, key), OK);
    struct gate_offer offer = {.broker_epoch = BROKER};
    (void)gate_share(w->gate, &offer, 1, NOW + 60);
    assert_int_equal(offer.running, 2);
    (void)gate_end(w->gate, old, NOW + 60);
    (void)gate_end(w->gate, w->grant, NOW + 60);
    (void)gate_share(w->gate, &offer, 1, NOW + 60);
    assert_int_equal(offer.running, 0);
}

static void uses_beyond_the_bound_are_refused_until_some_expire(void **state)
{
    struct world *w = *state;
    for (uint64_t i = 0; i < GATE_MAX_GRANTS; i++) {
        assert_int_equal(begin(w, once(i)), GATE_OK);
        (void)gate_end(w->gate, w->grant, NOW);
    }
    assert_int_equal(gate_grants(w->gate), GATE_MAX_GRANTS);
    assert_int_equal(begin(w, once(GATE_MAX_GRANTS)), GATE_TABLE_FULL);
    struct grant_token later = once(GATE_MAX_GRANTS);
    later.expires_ms++;
    assert_int_equal(begin_at(w, later, NOW + GRANT_ONCE_MS), GATE_OK);
    assert_int_equal(gate_grants(w->gate), 1);
}

/* ---- sharing ---- */

static void slots_go_to_living_brokers(void **state)
{
    struct world *w = *state;
    struct gate_offer offers[3] = {{.broker_epoch = BROKER}, {.broker_epoch = BROKER + 1}, {0}};
    assert_false(gate_share(w->gate, offers, 3, NOW));
    assert_int_equal(offers[0].offered, SLOTS);
    assert_int_equal(offers[1].offered + offers[2].offered, 0);
    assert_int_equal(gate_broker_up(w->gate, BROKER + 1, key), OK);
    assert_false(gate_share(w->gate, offers, 3, NOW));
    assert_int_equal(offers[0].offered, 2);
    assert_int_equal(offers[1].offered, 2);
}

static void an_offer_never_falls_below_what_runs(void **state)
{
    struct world *w = *state;
    struct gate_offer offers[2] = {{.broker_epoch = BROKER, .queued = 9},
                                   {.broker_epoch = BROKER + 1, .queued = 9}};
    assert_int_equal(gate_broker_up(w->gate, BROKER + 1, key), OK);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(begin(w, once(i)), GATE_OK);
    assert_true(gate_share(w->gate, offers, 2, NOW));
    assert_int_equal(offers[0].running, 3);
    assert_int_equal(offers[0].offered, 3);
    assert_int_equal(offers[1].offered, 1);
    (void)gate_end(w->gate, w->grant, NOW);
    assert_false(gate_share(w->gate, offers, 2, NOW));
    assert_int_equal(offers[0].offered, 2);
    assert_int_equal(offers[1].offered, 2);
}

static void a_lost_brokers_share_is_withheld_for_the_life_of_its_grants(void **state)
{
    struct world *w = *state;
    struct gate_offer offers[2] = {{.broker_epoch = BROKER}, {.broker_epoch = BROKER + 1}};
    assert_int_equal(gate_broker_up(w->gate, BROKER + 1, other_key), OK);
    (void)gate_share(w->gate, offers, 2, NOW);
    gate_broker_down(w->gate, BROKER, NOW);
    (void)gate_share(w->gate, offers, 2, NOW + GATE_WITHHELD_MS - 1);
    assert_int_equal(offers[0].offered, 0);
    assert_int_equal(offers[1].offered, SLOTS - 2);
    struct grant_token t = standing(1, 1);
    t.expires_ms = NOW + GRANT_LIFE_MS;
    assert_int_equal(begin_at(w, t, NOW + GRANT_LIFE_MS - 1), GATE_OK);
    (void)gate_share(w->gate, offers, 2, NOW + GATE_WITHHELD_MS);
    assert_int_equal(offers[1].offered, SLOTS - 1); /* one runs there still */
    (void)gate_end(w->gate, w->grant, NOW + 9000);
    (void)gate_share(w->gate, offers, 2, NOW + 9000);
    assert_int_equal(offers[1].offered, SLOTS);
}

static void each_living_broker_has_at_least_one(void **state)
{
    struct world *w = *state;
    struct gate_offer offers[2] = {{.broker_epoch = BROKER}, {.broker_epoch = BROKER + 1}};
    (void)gate_share(w->gate, offers, 1, NOW);
    gate_broker_down(w->gate, BROKER, NOW);
    assert_int_equal(gate_broker_up(w->gate, BROKER + 1, other_key), OK);
    (void)gate_share(w->gate, offers, 2, NOW);
    assert_int_equal(offers[1].offered, 1);
    gate_set_slots(w->gate, 1);
    assert_int_equal(gate_broker_up(w->gate, BROKER, key), OK);
    (void)gate_share(w->gate, offers, 2, NOW);
    assert_int_equal(offers[0].offered, 1);
    assert_int_equal(offers[1].offered, 1);
}

static void every_verdict_has_a_name(void **state)
{
    (void)state;
    for (unsigned v = 0; v < GATE_VERDICTS; v++)
        assert_true(strlen(gate_verdict_name((enum gate_verdict)v)) > 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(what_is_granted_is_let_in_and_counted),
        CASE(what_is_not_for_here_is_refused),
        CASE(a_changed_token_of_a_known_grant_is_refused),
        CASE(a_grant_holds_until_it_expires),
        CASE(a_grant_for_one_attempt_is_used_once),
        CASE(its_use_is_known_until_it_has_expired_and_nothing_runs),
        CASE(a_standing_grant_serves_so_many_at_once),
        CASE(a_renewed_grant_lives_on_with_other_slots),
        CASE(a_grant_that_ran_beyond_its_life_can_be_renewed),
        CASE(never_more_run_than_there_are_slots),
        CASE(nothing_is_let_in_while_shut),
        CASE(the_grants_of_a_lost_broker_hold),
        CASE(a_new_key_leaves_the_one_before_in_force),
        CASE(brokers_that_have_not_shown_a_key_sign_nothing),
        CASE(so_many_brokers_and_no_more),
        CASE(uses_beyond_the_bound_are_refused_until_some_expire),
        CASE(slots_go_to_living_brokers),
        CASE(an_offer_never_falls_below_what_runs),
        CASE(a_lost_brokers_share_is_withheld_for_the_life_of_its_grants),
        CASE(each_living_broker_has_at_least_one),
        CASE(every_verdict_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
