/* What follows a failed attempt: another one, where and when; breakers; workers that are busy. */
#include "unit/services/broker/test_core.h"

#include "proto/error_class.h"
#include "services/broker/rules.h"

/* Peers by number. */
enum { EDGE = 1, W1 = 11, W2 = 12, W3 = 13 };

static const char yaml[] =
    "providers:\n"
    "  openai: { api_keys: [a] }\n"
    "  twokeys: { type: openai, api_keys: [a, b], endpoints: [\"https://a.example/v1\"] }\n"
    "  anthropic: { api_keys: [c] }\n"
    "  replicate: { api_keys: [d] }\n"
    "models:\n"
    "  plain: { targets: [{provider: openai, model: gpt-real}], deadline: 60s }\n"
    "  keys: { targets: [{provider: twokeys}] }\n"
    "  safe: { targets: [{provider: openai}], fallbacks: [other] }\n"
    "  other: { targets: [{provider: anthropic, model: claude}] }\n"
    "  long: { targets: [{provider: openai}], fallbacks: [other], context_fallbacks: [keys] }\n"
    "  both: { targets: [{provider: openai}, {provider: anthropic}] }\n"
    "  paid: { targets: [{provider: replicate}] }\n"
    "broker: { queue_size: 4, queue_timeout: 10s, worker_grace: 2s, breaker_failures: 3 }\n";

static struct world world;
static struct broker_edge *edge;

static int set_up(void **state)
{
    world_open(&world, yaml);
    *state = &world;
    edge = world_edge(&world, EDGE);
    return 0;
}

/* Whatever a test leaves behind goes with the edge. */
static int tear_down(void **state)
{
    world_edge_down(&world, &edge);
    world.read = world.sent_count;
    world_expect_idle(&world);
    world_close(*state);
    return 0;
}

/* A first attempt's grant, at worker-<n>. */
static const struct sent *begin(struct world *w, unsigned id, const char *model, unsigned n)
{
    world_ask(w, edge, id, "k", model, 0);
    return world_expect_grant(w, EDGE, id, n);
}

static void fail_with(struct world *w, const struct sent *grant, unsigned error_class)
{
    world_fail(w, edge, grant, (struct ask){.failed_class = error_class, .failed_sent = true});
}

/* The failure that was asked about stands. */
static void expect_end(struct world *w, unsigned id, unsigned attempt)
{
    const struct sent *d = world_expect_decline(w, EDGE, id, ERROR_NONE);
    assert_int_equal(d->h.attempt, attempt);
    assert_string_equal(d->message, "");
}

/* ---- retries ---- */

static void a_safe_failure_is_repeated_after_a_backoff_at_another_worker(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    world_worker(w, "openai", W2, 2);
    world_ask(w, edge, 1, "k", "plain", 10000);
    const struct sent *g = world_next(w);
    unsigned other = g->worker_epoch == 1000 + W1 ? W2 : W1;
    fail_with(w, g, ERROR_UPSTREAM_OVERLOADED);
    world_expect_nothing(w);
    assert_int_equal(core_stats(w->core).queued, 0);
    assert_int_equal(core_stats(w->core).grants, 0); /* it waits with the ask, holding no slot */
    world_advance(w, 124);
    world_expect_nothing(w);
    world_advance(w, 2);
    g = world_expect_grant(w, EDGE, 1, other);
    assert_int_equal(g->h.attempt, 2);
    assert_string_equal(g->avoid, "0");
    assert_string_equal(g->target_model, "gpt-real");
    assert_int_equal(w->retried, 1);
    world_done(w, edge, g);
    world_expect_idle(w);
}

static void an_ask_repeated_during_its_backoff_changes_nothing(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    const struct sent *g = begin(w, 1, "plain", W1);
    struct ask m = {.model = SPAN("plain"),
                    .key_id = SPAN("k"),
                    .trail = span_of((const char *)g->trail, TRAIL_BYTES),
                    .failed_class = ERROR_UPSTREAM_OVERLOADED};
    world_return(w, edge, g);
    for (unsigned i = 0; i < 3; i++)
        world_ask_as(w, edge, 1, 2, &m, 0);
    assert_int_equal(w->retried, 1);
    assert_int_equal(core_stats(w->core).asks, 1);
    world_advance(w, 125);
    uint64_t number = world_expect_grant(w, EDGE, 1, W1)->number;
    world_ask_as(w, edge, 1, 2, &m, 0); /* nor when its grant was lost */
    assert_int_equal(world_expect_grant(w, EDGE, 1, W1)->number, number);
    assert_int_equal(w->retried, 1);
}

static void three_attempts_are_all_there_are(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    const struct sent *g = begin(w, 1, "plain", W1);
    for (unsigned attempt = 1; attempt <= 3; attempt++) {
        assert_int_equal(g->h.attempt, attempt);
        fail_with(w, g, ERROR_UPSTREAM_UNREACHABLE);
        world_advance(w, attempt < 3 ? 1000 : 0);
        if (attempt < 3)
            g = world_expect_grant(w, EDGE, 1, W1);
    }
    expect_end(w, 1, 4);
    world_expect_idle(w);
}

static void what_must_not_be_repeated_is_declined_at_once(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 9);
    world_worker(w, "replicate", W2, 9);
    static const struct {
        const char *model;
        struct ask failed;
    } cases[] = {
        {"plain", {.failed_class = ERROR_UPSTREAM_BAD_REQUEST, .failed_sent = true}},
        {"plain", {.failed_class = ERROR_UPSTREAM_RATE_LIMITED, .failed_final = true}},
        {"plain", {.failed_class = ERROR_UPSTREAM_RATE_LIMITED, .failed_retry_after_ms = 60000}},
        {"plain", {.failed_class = ERROR_CLIENT_GONE, .failed_sent = true}},
        {"plain", {.failed_class = 9999, .failed_sent = true}}, /* a newer neighbour's */
        {"paid", {.failed_class = ERROR_UPSTREAM_RESET, .failed_sent = true}},
        {"paid", {.failed_class = ERROR_UPSTREAM_TIMEOUT, .failed_sent = true}},
        {"paid", {.failed_class = ERROR_WORKER_LOST, .failed_sent = true}},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned n = strcmp(cases[i].model, "paid") == 0 ? W2 : W1;
        world_fail(w, edge, begin(w, i + 1, cases[i].model, n), cases[i].failed);
        expect_end(w, i + 1, 2);
        world_expect_idle(w);
    }
    assert_int_equal(w->retried, 0);
}

static void an_ambiguous_failure_is_repeated_once(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    fail_with(w, begin(w, 1, "plain", W1), ERROR_UPSTREAM_RESET);
    world_advance(w, 500);
    fail_with(w, world_expect_grant(w, EDGE, 1, W1), ERROR_UPSTREAM_RESET);
    expect_end(w, 1, 3);
    world_expect_idle(w);
}

/* Its time is not taken twice, by another of its endpoints neither. */
static void a_target_whose_time_is_over_is_not_asked_again(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    world_worker(w, "twokeys", W2, 2);
    fail_with(w, begin(w, 1, "plain", W1), ERROR_UPSTREAM_TIMEOUT);
    expect_end(w, 1, 2);
    fail_with(w, begin(w, 2, "keys", W2), ERROR_UPSTREAM_TIMEOUT);
    expect_end(w, 2, 2);
    world_fail(w, edge, begin(w, 3, "keys", W2),
               (struct ask){.failed_class = ERROR_UPSTREAM_CONNECT_TIMEOUT});
    expect_end(w, 3, 2);
    assert_int_equal(w->retried, 0);
}

static void a_silent_target_gives_way_to_a_fallback(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    world_worker(w, "anthropic", W2, 2);
    fail_with(w, begin(w, 1, "safe", W1), ERROR_UPSTREAM_TIMEOUT);
    world_advance(w, 250);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W2);
    assert_string_equal(g->route, "other");
    fail_with(w, g, ERROR_UPSTREAM_TIMEOUT); /* ambiguous, and that once */
    expect_end(w, 1, 3);
}

static void a_fallback_that_the_key_may_not_use_does_not_answer(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    world_worker(w, "anthropic", W2, 2);
    for (unsigned i = 0; i < 3; i++) {
        static const char *const barred[] = {"others,another", "another,other", "*"};
        const struct sent *g = begin(w, i + 1, "safe", W1);
        struct ask m = {.model = SPAN("safe"),
                        .key_id = SPAN("k"),
                        .barred = span_str(barred[i]),
                        .trail = span_of((const char *)g->trail, TRAIL_BYTES),
                        .failed_class = ERROR_UPSTREAM_UNREACHABLE};
        world_return(w, edge, g);
        world_ask_as(w, edge, i + 1, 2, &m, 0);
        world_advance(w, 250);
        g = world_expect_grant(w, EDGE, i + 1, i ? W1 : W2); /* or the model itself once more */
        assert_string_equal(g->route, i ? "" : "other");
        world_return(w, edge, g);
    }
}

static void retry_after_is_obeyed_unless_another_endpoint_is_there(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    world_worker(w, "twokeys", W2, 2);
    struct ask limited = {.failed_class = ERROR_UPSTREAM_RATE_LIMITED,
                          .failed_retry_after_ms = 3000};
    world_fail(w, edge, begin(w, 1, "plain", W1), limited);
    world_advance(w, 2999);
    world_expect_nothing(w);
    world_advance(w, 1);
    world_expect_grant(w, EDGE, 1, W1);
    const struct sent *g = begin(w, 2, "keys", W2);
    limited.failed_endpoint = 1;
    world_fail(w, edge, g, limited);
    world_advance(w, 250);
    g = world_expect_grant(w, EDGE, 2, W2);
    assert_string_equal(g->avoid, "1");
    limited.failed_endpoint = 0;
    world_fail(w, edge, g, limited);
    world_advance(w, 2900);
    world_expect_nothing(w);
    world_advance(w, 100);
    assert_string_equal(world_expect_grant(w, EDGE, 2, W2)->avoid, "0,1");
}

static void no_backoff_goes_beyond_the_deadline(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    const struct sent *g = begin(w, 1, "plain", W1);
    struct ask m = {.model = SPAN("plain"),
                    .key_id = SPAN("k"),
                    .trail = span_of((const char *)g->trail, TRAIL_BYTES),
                    .failed_class = ERROR_UPSTREAM_RATE_LIMITED,
                    .failed_retry_after_ms = 3000};
    world_return(w, edge, g);
    world_ask_as(w, edge, 1, 2, &m, 2999);
    expect_end(w, 1, 2);
    world_expect_idle(w);
}

static void a_failed_target_gives_way_to_the_next_then_to_fallbacks(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    world_worker(w, "anthropic", W2, 2);
    world_fail(
        w, edge, begin(w, 1, "safe", W1),
        (struct ask){.failed_class = ERROR_UPSTREAM_RATE_LIMITED, .failed_retry_after_ms = 60000});
    world_advance(w, 250);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W2);
    assert_string_equal(g->route, "other");
    assert_string_equal(g->avoid, "");
    w->chance = 0; /* the first of the targets */
    fail_with(w, begin(w, 2, "both", W1), ERROR_UPSTREAM_AUTH);
    world_advance(w, 1);
    assert_string_equal(world_expect_grant(w, EDGE, 2, W2)->target_model, "both");
}

static void a_limited_target_is_left_alone_as_long_as_it_said(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    world_worker(w, "anthropic", W2, 2);
    struct ask limited = {.failed_class = ERROR_UPSTREAM_RATE_LIMITED,
                          .failed_sent = true,
                          .failed_retry_after_ms = 14400000};
    world_fail(w, edge, begin(w, 1, "safe", W1), limited);
    world_advance(w, 0); /* nothing ran: the fallback gets it at once */
    world_done(w, edge, world_expect_grant(w, EDGE, 1, W2));
    for (unsigned i = 2; i < 30; i++) {
        world_advance(w, 1000);
        world_done(w, edge, begin(w, i, "safe", W2));
    }
    /* Without others it is asked all the same. */
    world_done(w, edge, begin(w, 90, "plain", W1));
    world_advance(w, 14400000);
    world_done(w, edge, begin(w, 91, "safe", W1));
}

static void moving_on_from_a_refusal_costs_no_budget(void **state)
{
    struct world *w = *state;
    struct core_rules rules = rules_from(&w->config->options);
    rules.retry.floor = rules.retry.percent = 0;
    world_rules(w, &rules);
    world_worker(w, "openai", W1, 9);
    world_worker(w, "anthropic", W2, 9);
    static const unsigned refusals[] = {ERROR_UPSTREAM_NOT_FOUND, ERROR_UPSTREAM_TLS,
                                        ERROR_UPSTREAM_RATE_LIMITED};
    for (unsigned i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        fail_with(w, begin(w, i + 1, "safe", W1), refusals[i]);
        world_advance(w, 0);
        world_done(w, edge, world_expect_grant(w, EDGE, i + 1, W2));
    }
    world_advance(w, 1000);                                       /* it has had its rest */
    fail_with(w, begin(w, 50, "safe", W1), ERROR_UPSTREAM_ERROR); /* may have run */
    expect_end(w, 50, 2);
}

static void one_targets_storm_spends_no_others_budget(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 100);
    world_worker(w, "anthropic", W2, 100);
    unsigned declined = 0;
    for (unsigned i = 1; i <= 20; i++) {
        fail_with(w, begin(w, i, "plain", W1), ERROR_UPSTREAM_OVERLOADED);
        declined += world_next(w) != NULL;
    }
    assert_int_equal(declined, 10);
    fail_with(w, begin(w, 50, "other", W2), ERROR_UPSTREAM_OVERLOADED);
    world_expect_nothing(w);
    assert_int_equal(w->retried, 11);
}

static void what_is_too_long_goes_to_the_models_for_that_only(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 9);
    world_worker(w, "anthropic", W2, 9);
    world_worker(w, "twokeys", W3, 9);
    fail_with(w, begin(w, 1, "long", W1), ERROR_UPSTREAM_CONTEXT_LENGTH);
    world_advance(w, 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W3);
    assert_string_equal(g->route, "keys");
    fail_with(w, g, ERROR_UPSTREAM_CONTEXT_LENGTH); /* there, too */
    expect_end(w, 1, 3);
    fail_with(w, begin(w, 2, "long", W1), ERROR_UPSTREAM_CONTENT_POLICY);
    world_advance(w, 0);
    world_done(w, edge, world_expect_grant(w, EDGE, 2, W2));
    fail_with(w, begin(w, 3, "plain", W1), ERROR_UPSTREAM_CONTEXT_LENGTH);
    expect_end(w, 3, 2);
}

static void the_retry_budget_ends_a_storm(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 100);
    unsigned declined = 0;
    for (unsigned i = 1; i <= 20; i++) {
        fail_with(w, begin(w, i, "plain", W1), ERROR_UPSTREAM_OVERLOADED);
        const struct sent *s = world_next(w);
        declined += s && s->type == MESSAGE_DECLINE && s->error_class == ERROR_NONE;
    }
    assert_int_equal(w->retried, 10);
    assert_int_equal(declined, 10);
}

static void a_retry_goes_first_among_its_own_key(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    const struct sent *g = begin(w, 1, "plain", W1), *held;
    world_ask(w, edge, 2, "k", "plain", 0);
    world_ask(w, edge, 3, "k", "plain", 0);
    fail_with(w, g, ERROR_UPSTREAM_OVERLOADED);
    held = world_expect_grant(w, EDGE, 2, W1);
    world_advance(w, 500); /* its backoff is over: it queues */
    world_expect_nothing(w);
    world_done(w, edge, held);
    world_expect_grant(w, EDGE, 1, W1);
}

/* ---- workers that are lost, refuse, or have no room ---- */

static void what_a_lost_worker_had_runs_elsewhere_at_once_or_waits_for_its_return(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    const struct sent *g = begin(w, 1, "plain", W1);
    world_worker_down(w, &a);
    world_expect_revoke(w, EDGE, g->number);
    fail_with(w, g, ERROR_WORKER_LOST);
    world_advance(w, 1500);
    world_expect_nothing(w);
    a = world_worker(w, "openai", W3, 2);
    g = world_expect_grant(w, EDGE, 1, W3);
    assert_int_equal(g->h.attempt, 2);
    /* Once: the second loss ends it. */
    world_worker_down(w, &a);
    world_expect_revoke(w, EDGE, g->number);
    fail_with(w, g, ERROR_WORKER_LOST);
    expect_end(w, 1, 3);
    world_expect_idle(w);
}

static void a_prediction_of_a_lost_worker_is_not_made_twice(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "replicate", W1, 2);
    const struct sent *g = begin(w, 1, "paid", W1);
    world_worker(w, "replicate", W2, 2);
    world_worker_down(w, &a);
    world_expect_revoke(w, EDGE, g->number);
    fail_with(w, g, ERROR_WORKER_LOST);
    expect_end(w, 1, 2);
    world_expect_idle(w);
}

static void a_refused_attempt_goes_to_another_worker_without_a_wait_or_a_budget(void **state)
{
    struct world *w = *state;
    struct core_rules rules = rules_from(&w->config->options);
    rules.retry.floor = rules.retry.percent = 0;
    world_rules(w, &rules);
    world_worker(w, "openai", W1, 2);
    const struct sent *g = begin(w, 1, "plain", W1);
    world_worker(w, "openai", W2, 2);
    world_fail(w, edge, g, (struct ask){.failed_class = ERROR_WORKER_REFUSED});
    world_advance(w, 0);
    g = world_expect_grant(w, EDGE, 1, W2);
    assert_int_equal(g->h.attempt, 2);
    assert_string_equal(g->avoid, ""); /* no endpoint is to blame */
}

static void a_full_worker_is_passed_over_until_it_says_otherwise(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 5);
    const struct sent *g = begin(w, 1, "plain", W1);
    world_busy(w, edge, g, (struct ask){0}, 1, 0);
    world_expect_nothing(w);
    assert_int_equal(core_stats(w->core).queued, 1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_expect_nothing(w);
    world_slots(w, a, 5, 0);
    g = world_expect_grant(w, EDGE, 1, W1);
    assert_int_equal(g->h.attempt, 1); /* no attempt has been made */
    world_expect_grant(w, EDGE, 2, W1);
}

/* This broker's least share is one slot, and another broker's requests run in it. */
static void a_worker_that_says_none_is_free_is_granted_nothing(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_slots_free(w, a, 1, 0, 0);
    for (unsigned id = 1; id <= 3; id++)
        world_ask(w, edge, id, "k", "plain", 0);
    world_expect_nothing(w);
    assert_int_equal(core_stats(w->core).queued, 3);
    world_slots_free(w, a, 1, 0, 0);
    world_expect_nothing(w);
    world_slots_free(w, a, 1, 0, 1);
    world_expect_grant(w, EDGE, 1, W1);
    world_expect_nothing(w);
}

static void an_end_there_makes_room_at_a_full_worker_too(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 5);
    const struct sent *other = begin(w, 9, "plain", W1), *g = begin(w, 1, "plain", W1);
    world_busy(w, edge, g, (struct ask){0}, 1, 0);
    world_expect_nothing(w);
    world_done(w, edge, other);
    world_expect_grant(w, EDGE, 1, W1);
}

/* The edge gives the refused grant back after its ask: that says nothing about room. */
static void what_was_refused_makes_no_room_at_a_full_worker(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 5);
    const struct sent *g = begin(w, 1, "plain", W1);
    struct ask busy = {
        .model = SPAN("plain"), .key_id = SPAN("k"), .failed_worker = SPAN("worker-11"), .busy = 1};
    struct grant_report r = {.number = g->number, .started = 1, .canceled = 1, .closed = true};
    world_ask_as(w, edge, 1, 1, &busy, 0);
    world_report(w, edge, &r, 1);
    world_expect_nothing(w);
    world_advance(w, 900);
    world_expect_nothing(w);
    world_slots(w, a, 5, 0);
    world_expect_grant(w, EDGE, 1, W1);
}

static void a_busy_worker_sends_the_ask_to_another_and_blames_nobody(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 5);
    const struct sent *g = begin(w, 1, "plain", W1);
    world_worker(w, "openai", W2, 1);
    world_busy(w, edge, g, (struct ask){0}, 1, 3);
    world_expect_grant(w, EDGE, 1, W2);
    assert_int_equal(w->retried, 0);
    begin(w, 2, "plain", W1); /* it has three free by its own word */
}

/* Some worker that refuses for other reasons than room must not be asked at the network's speed. */
static void after_three_busy_workers_an_ask_waits_for_news(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 5);
    const struct sent *g = begin(w, 1, "plain", W1);
    unsigned grants = 1;
    for (unsigned busy = 1; busy <= 20; busy++) {
        world_busy(w, edge, g, (struct ask){0}, busy, 5);
        const struct sent *next = world_next(w);
        if (!next)
            break;
        g = next;
        grants++;
    }
    assert_in_range(grants, 2, 4);
    assert_int_equal(core_stats(w->core).queued, 1);
    world_slots(w, a, 5, 0);
    world_expect_grant(w, EDGE, 1, W1);
}

/* ---- breakers ---- */

/* Three failures that nobody repeats open the first target's breaker. */
static void break_first(struct world *w)
{
    w->chance = 0; /* the first of the targets, as long as it is allowed */
    for (unsigned i = 101; i <= 103; i++) {
        world_fail(w, edge, begin(w, i, "both", W1),
                   (struct ask){.failed_class = ERROR_UPSTREAM_ERROR,
                                .failed_sent = true,
                                .failed_final = true});
        expect_end(w, i, 2);
    }
}

static void failures_open_the_targets_breaker_and_a_probe_closes_it(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 9);
    world_worker(w, "anthropic", W2, 9);
    break_first(w);
    begin(w, 4, "both", W2);
    world_advance(w, 10000);
    const struct sent *probe = begin(w, 5, "both", W1);
    begin(w, 6, "both", W2);
    world_done(w, edge, probe);
    begin(w, 7, "both", W1);
}

static void a_probe_that_fails_opens_it_for_longer(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 9);
    world_worker(w, "anthropic", W2, 9);
    break_first(w);
    world_advance(w, 10000);
    world_fail(w, edge, begin(w, 1, "both", W1),
               (struct ask){.failed_class = ERROR_UPSTREAM_ERROR,
                            .failed_sent = true,
                            .failed_final = true});
    expect_end(w, 1, 2);
    world_advance(w, 19000);
    begin(w, 2, "both", W2);
    world_advance(w, 1000);
    begin(w, 3, "both", W1);
}

/* However the probe's grant ends: somebody else may try soon. */
static void no_end_of_a_probe_keeps_its_breaker_shut(void **state)
{
    enum { UNREPORTED, RETURNED, BUSY, CANCELED, ELSEWHERE, WORKER_GONE, ENDS };
    struct world *w = *state;
    for (unsigned how = 0; how < ENDS; how++) {
        if (how)
            (void)tear_down(state), (void)set_up(state);
        struct broker_worker *a = world_worker(w, "openai", W1, 9);
        world_worker(w, "anthropic", W2, 9);
        break_first(w);
        world_advance(w, 10000);
        const struct sent *probe = begin(w, 1, "both", W1);
        struct grant_report r = {.number = probe->number, .started = 1, .closed = true};
        if (how == RETURNED) {
            world_return(w, edge, probe);
        } else if (how == BUSY || how == CANCELED || how == ELSEWHERE) {
            /* ELSEWHERE: the ask that follows the failure goes to another broker. */
            *(how == ELSEWHERE ? &r.failed : &r.canceled) = 1;
            world_report(w, edge, &r, 1);
        } else if (how == WORKER_GONE) {
            world_worker_down(w, &a);
            world_expect_revoke(w, EDGE, probe->number);
            world_return(w, edge, probe);
            world_worker(w, "openai", W1, 9);
        }
        uint64_t later_ms = how == UNREPORTED  ? GRANT_ONCE_MS + GRANT_GONE_MS
                            : how == ELSEWHERE ? 20000 /* a failure until somebody says more */
                                               : 0;
        world_advance(w, later_ms);
        world_ask(w, edge, 2, "k", "both", 0);
        if (world_next(w)->worker_epoch != 1000 + W1)
            fail_msg("a probe's end %u keeps its breaker shut", how);
    }
}

static void an_edge_that_goes_gives_its_probe_back(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 9);
    world_worker(w, "anthropic", W2, 9);
    break_first(w);
    world_advance(w, 10000);
    begin(w, 1, "both", W1);
    world_edge_down(w, &edge);
    edge = world_edge(w, EDGE);
    begin(w, 2, "both", W1);
}

static void the_failed_probe_of_another_broker_counts_as_one_failure(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 9);
    world_worker(w, "anthropic", W2, 9);
    w->chance = 0;
    struct trail t = {.config = router_find(w->router, SPAN("both"))->fingerprint, .probe = true};
    uint8_t trail[TRAIL_BYTES];
    trail_write(&t, trail);
    struct ask m = {.model = SPAN("both"),
                    .key_id = SPAN("k"),
                    .trail = span_of((const char *)trail, sizeof trail),
                    .failed_class = ERROR_UPSTREAM_ERROR,
                    .failed_final = true};
    world_ask_as(w, edge, 1, 2, &m, 0);
    expect_end(w, 1, 2);
    begin(w, 2, "both", W1);
}

static void an_open_breaker_yields_when_nothing_else_is_there(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 9);
    for (unsigned i = 1; i <= 3; i++) {
        world_fail(w, edge, begin(w, i, "plain", W1),
                   (struct ask){.failed_class = ERROR_UPSTREAM_ERROR, .failed_final = true});
        expect_end(w, i, 2);
    }
    begin(w, 4, "plain", W1);
}

/* ---- trails of others ---- */

static void any_broker_may_decide_about_the_next_attempt(void **state)
{
    struct world *w = *state;
    world_worker(w, "twokeys", W1, 2);
    const struct sent *g = begin(w, 1, "keys", W1);
    static struct world other;
    world_open(&other, yaml);
    struct broker_edge *there = world_edge(&other, EDGE);
    world_worker(&other, "twokeys", W1, 2);
    world_fail(&other, there, g,
               (struct ask){.failed_class = ERROR_UPSTREAM_RESET,
                            .failed_sent = true,
                            .failed_endpoint = 1});
    world_advance(&other, 250);
    g = world_expect_grant(&other, EDGE, 1, W1);
    assert_string_equal(g->avoid, "1");
    /* … and back again: the one ambiguous repeat is spent. */
    fail_with(w, g, ERROR_UPSTREAM_RESET);
    expect_end(w, 1, 3);
    world_edge_down(&other, &there);
    world_close(&other);
}

static void a_trail_of_another_configuration_blames_no_target(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 9);
    world_worker(w, "anthropic", W2, 9);
    w->chance = 0;
    for (unsigned i = 1; i <= 6; i++) {
        struct trail t = {.config = 12345, .candidate = 1};
        uint8_t trail[TRAIL_BYTES];
        trail_write(&t, trail);
        struct ask m = {.model = SPAN("both"),
                        .key_id = SPAN("k"),
                        .trail = span_of((const char *)trail, sizeof trail),
                        .failed_class = ERROR_UPSTREAM_ERROR,
                        .failed_final = true};
        world_ask_as(w, edge, i, 2, &m, 0);
        expect_end(w, i, 2);
    }
    begin(w, 100, "both", W1);
}

static void a_garbled_trail_of_a_well_formed_message_harms_nobody(void **state)
{
    struct world *w = *state;
    struct core_rules rules = rules_from(&w->config->options);
    rules.retry.floor = 100000;
    world_rules(w, &rules);
    world_worker(w, "openai", W1, 9);
    world_worker(w, "anthropic", W2, 9);
    const struct sent *g = begin(w, 1, "both", W1);
    for (unsigned i = 0; i < 2 * TRAIL_BYTES; i++) {
        uint8_t trail[TRAIL_BYTES];
        memcpy(trail, g->trail, sizeof trail);
        trail[i / 2] = i % 2 ? UINT8_MAX : (uint8_t)~trail[i / 2];
        struct ask m = {.model = SPAN("both"),
                        .key_id = SPAN("k"),
                        .trail = span_of((const char *)trail, sizeof trail),
                        .failed_class = ERROR_UPSTREAM_OVERLOADED};
        world_ask_as(w, edge, 100 + i, 2, &m, 0);
        world_advance(w, 300);
        const struct sent *s = world_next(w);
        assert_non_null(s);
        if (s->type == MESSAGE_GRANT)
            world_return(w, edge, s);
    }
    world_return(w, edge, g);
    world_expect_idle(w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_safe_failure_is_repeated_after_a_backoff_at_another_worker),
        TEST(an_ask_repeated_during_its_backoff_changes_nothing),
        TEST(three_attempts_are_all_there_are),
        TEST(what_must_not_be_repeated_is_declined_at_once),
        TEST(an_ambiguous_failure_is_repeated_once),
        TEST(a_target_whose_time_is_over_is_not_asked_again),
        TEST(a_silent_target_gives_way_to_a_fallback),
        TEST(a_fallback_that_the_key_may_not_use_does_not_answer),
        TEST(retry_after_is_obeyed_unless_another_endpoint_is_there),
        TEST(no_backoff_goes_beyond_the_deadline),
        TEST(a_failed_target_gives_way_to_the_next_then_to_fallbacks),
        TEST(a_limited_target_is_left_alone_as_long_as_it_said),
        TEST(moving_on_from_a_refusal_costs_no_budget),
        TEST(one_targets_storm_spends_no_others_budget),
        TEST(what_is_too_long_goes_to_the_models_for_that_only),
        TEST(the_retry_budget_ends_a_storm),
        TEST(a_retry_goes_first_among_its_own_key),
        TEST(what_a_lost_worker_had_runs_elsewhere_at_once_or_waits_for_its_return),
        TEST(a_prediction_of_a_lost_worker_is_not_made_twice),
        TEST(a_refused_attempt_goes_to_another_worker_without_a_wait_or_a_budget),
        TEST(a_full_worker_is_passed_over_until_it_says_otherwise),
        TEST(an_end_there_makes_room_at_a_full_worker_too),
        TEST(what_was_refused_makes_no_room_at_a_full_worker),
        TEST(a_worker_that_says_none_is_free_is_granted_nothing),
        TEST(a_busy_worker_sends_the_ask_to_another_and_blames_nobody),
        TEST(after_three_busy_workers_an_ask_waits_for_news),
        TEST(failures_open_the_targets_breaker_and_a_probe_closes_it),
        TEST(a_probe_that_fails_opens_it_for_longer),
        TEST(no_end_of_a_probe_keeps_its_breaker_shut),
        TEST(an_edge_that_goes_gives_its_probe_back),
        TEST(the_failed_probe_of_another_broker_counts_as_one_failure),
        TEST(an_open_breaker_yields_when_nothing_else_is_there),
        TEST(any_broker_may_decide_about_the_next_attempt),
        TEST(a_trail_of_another_configuration_blames_no_target),
        TEST(a_garbled_trail_of_a_well_formed_message_harms_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
