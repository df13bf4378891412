/* Asks that wait: for whom, how long, in which order; who comes and goes meanwhile. */
#include "unit/services/broker/test_core.h"

#include "proto/error_class.h"
#include "services/broker/rules.h"

/* Peers by number. */
enum { EDGE = 1, EDGE2 = 2, W1 = 11, W2 = 12, W3 = 13 };

static const char yaml[] =
    "providers:\n"
    "  openai: { api_keys: [a] }\n"
    "  anthropic: { api_keys: [c] }\n"
    "  replicate: { api_keys: [d] }\n"
    "models:\n"
    "  plain: { targets: [{provider: openai, model: gpt-real}], deadline: 60s, timeout: 7s }\n"
    "  safe: { targets: [{provider: openai}], fallbacks: [other] }\n"
    "  other: { targets: [{provider: anthropic, model: claude}] }\n"
    "  both: { targets: [{provider: openai}, {provider: anthropic}] }\n"
    "  \"openai/*\": { targets: [{provider: openai, model: \"*\"}] }\n"
    "  \"a/*/b\": { targets: [{provider: openai, model: \"x-*-y\"}] }\n"
    "  \"as-is/*\": { targets: [{provider: openai}] }\n"
    "  starless: { targets: [{provider: openai, model: \"*\"}] }\n"
    "  backed: { targets: [{provider: replicate}], fallbacks: [openai/gpt-z] }\n"
    "broker: { queue_size: 4, queue_timeout: 10s, worker_grace: 2s, breaker_failures: 3 }\n";

static struct world world;
static struct broker_edge *edge, *edge2;

static int set_up(void **state)
{
    world_open(&world, yaml);
    *state = &world;
    edge = world_edge(&world, EDGE);
    edge2 = world_edge(&world, EDGE2);
    return 0;
}

/* Whatever a test leaves behind goes with the edges. */
static int tear_down(void **state)
{
    if (edge)
        world_edge_down(&world, &edge);
    if (edge2)
        world_edge_down(&world, &edge2);
    world.read = world.sent_count;
    world_expect_idle(&world);
    world_close(*state);
    return 0;
}

static struct core_rules rules_of(const struct world *w)
{
    return rules_from(&w->config->options);
}

static void an_ask_gets_all_that_a_dispatch_needs(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    assert_int_equal(g->h.attempt, 1);
    assert_string_equal(g->model, "plain");
    assert_string_equal(g->target_model, "gpt-real");
    assert_string_equal(g->route, "");
    assert_string_equal(g->avoid, "");
    assert_string_equal(g->provider, "openai");
    assert_string_equal(g->worker, "worker-11");
    assert_string_equal(g->address, "tcp://10.0.0.11:4000");
    assert_int_equal(g->timeout_ms, 7000);
    assert_int_equal(g->stored_endpoint, 0);
    world_done(w, edge, g);
    world_expect_idle(w);
}

static void asks_beyond_the_slots_wait_and_keys_take_turns(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    world_ask(w, edge, 1, "k", "plain", 0);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_ask(w, edge, 3, "k", "plain", 0);
    world_ask(w, edge2, 4, "other", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_expect_nothing(w);
    assert_int_equal(core_stats(w->core).queued, 3);
    static const struct {
        unsigned id, peer;
    } order[] = {{2, EDGE}, {4, EDGE2}, {3, EDGE}};
    struct broker_edge *holder = edge;
    for (unsigned i = 0; i < 3; i++) {
        world_advance(w, 100);
        world_done(w, holder, g);
        g = world_expect_grant(w, order[i].peer, order[i].id, W1);
        assert_int_equal(w->waited_us, 100000 * (i + 1));
        holder = order[i].peer == EDGE ? edge : edge2;
    }
    world_done(w, holder, g);
    world_expect_idle(w);
}

static void more_slots_take_more_from_the_queue(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    for (unsigned i = 1; i <= 3; i++)
        world_ask(w, edge, i, "k", "plain", 0);
    world_expect_nothing(w);
    world_slots(w, a, 2, 0);
    world_expect_grant(w, EDGE, 1, W1);
    world_expect_grant(w, EDGE, 2, W1);
    world_expect_nothing(w);
    world_worker(w, "openai", W2, 5);
    world_expect_grant(w, EDGE, 3, W2);
}

static void the_least_busy_worker_gets_the_next(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    world_worker(w, "openai", W2, 3);
    unsigned at[2] = {0};
    for (unsigned i = 1; i <= 4; i++) {
        world_ask(w, edge, i, "k", "plain", 0);
        at[world_next(w)->worker_epoch == 1000 + W2]++;
    }
    assert_int_equal(at[0], 1);
    assert_int_equal(at[1], 3);
    world_ask(w, edge, 5, "k", "plain", 0);
    world_expect_nothing(w);
}

static void an_ask_may_wait_for_several_providers_and_leaves_all_queues_at_once(void **state)
{
    struct world *w = *state;
    world_ask(w, edge, 1, "k", "both", 0);
    assert_int_equal(core_stats(w->core).queued, 1);
    world_worker(w, "anthropic", W2, 1);
    world_expect_grant(w, EDGE, 1, W2);
    world_worker(w, "openai", W1, 1);
    world_expect_nothing(w);
    assert_int_equal(core_stats(w->core).queued, 0);
    world_edge_down(w, &edge);
    world_expect_idle(w);
}

static void refusals_say_why(void **state)
{
    struct world *w = *state;
    world_ask(w, edge, 1, "k", "nonsense", 0);
    const struct sent *d = world_expect_decline(w, EDGE, 1, ERROR_MODEL_NOT_FOUND);
    assert_non_null(strstr(d->message, "`nonsense`"));
    assert_int_equal(d->h.attempt, 1);
    /* The queue holds four. */
    world_worker(w, "openai", W1, 0);
    for (unsigned i = 10; i < 14; i++)
        world_ask(w, edge, i, "k", "plain", 0);
    world_expect_nothing(w);
    world_ask(w, edge, 14, "k", "plain", 0);
    assert_int_equal(world_expect_decline(w, EDGE, 14, ERROR_OVERLOADED)->retry_after_ms, 1000);
    world_edge_down(w, &edge);
    world_expect_idle(w);
}

static void a_provider_without_a_key_is_named(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    world_slots_why(w, a, "no api key for openai");
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *d = world_expect_decline(w, EDGE, 1, ERROR_OVERLOADED);
    assert_non_null(strstr(d->message, "openai"));
    assert_null(strstr(d->message, "no api key")); /* that is told to operators */
    world_expect_idle(w);
}

static void a_bound_lowered_below_what_waits_still_bounds(void **state)
{
    struct world *w = *state;
    struct core_rules rules = rules_of(w);
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    for (unsigned i = 1; i <= 3; i++)
        world_ask(w, edge, i, "k", "plain", 0);
    rules.queue_max = 1;
    world_rules(w, &rules);
    world_ask(w, edge, 4, "k", "plain", 0);
    world_expect_decline(w, EDGE, 4, ERROR_OVERLOADED);
    world_slots(w, a, 3, 0);
    for (unsigned i = 1; i <= 3; i++)
        world_expect_grant(w, EDGE, i, W1);
}

static void nobody_coming_is_503_after_the_grace_and_a_worker_in_time_is_none(void **state)
{
    struct world *w = *state;
    world_ask(w, edge, 1, "k", "plain", 0);
    world_advance(w, 1999);
    world_expect_nothing(w);
    world_advance(w, 1);
    assert_int_equal(world_expect_decline(w, EDGE, 1, ERROR_OVERLOADED)->retry_after_ms, 1000);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_advance(w, 1500);
    world_worker(w, "openai", W1, 1);
    world_expect_grant(w, EDGE, 2, W1);
}

static void workers_that_leave_while_one_waits_start_its_grace(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_report(w, edge, &(struct grant_report){.number = g->number, .started = 1}, 1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_advance(w, 5000);
    world_expect_nothing(w);
    world_worker_down(w, &a);
    world.read = world.sent_count; /* a REVOKE */
    world_advance(w, 1900);
    world_expect_nothing(w);
    world_advance(w, 400);
    world_expect_decline(w, EDGE, 2, ERROR_OVERLOADED);
}

static void set_waits(struct world *w, uint64_t grace_us, uint64_t queue_wait_us)
{
    struct core_rules rules = rules_of(w);
    rules.worker_grace_us = grace_us;
    rules.queue_wait_us = queue_wait_us;
    world_rules(w, &rules);
}

static void no_grace_waits_for_a_slot_but_for_no_worker(void **state)
{
    struct world *w = *state;
    set_waits(w, 0, 10000000);
    world_ask(w, edge, 1, "k", "plain", 0);
    world_expect_decline(w, EDGE, 1, ERROR_OVERLOADED);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_ask(w, edge, 3, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 2, W1);
    world_advance(w, 1500);
    world_expect_nothing(w);
    world_done(w, edge, g);
    world_expect_grant(w, EDGE, 3, W1);
    world_ask(w, edge, 4, "k", "plain", 0);
    world_slots_why(w, a, "draining");
    world_advance(w, 200);
    world_expect_decline(w, EDGE, 4, ERROR_OVERLOADED);
}

static void no_queue_wait_refuses_what_finds_no_free_slot(void **state)
{
    struct world *w = *state;
    set_waits(w, 2000000, 0);
    world_worker(w, "openai", W1, 1);
    world_ask(w, edge, 1, "k", "plain", 0);
    world_expect_grant(w, EDGE, 1, W1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_advance(w, 0);
    world_expect_decline(w, EDGE, 2, ERROR_OVERLOADED);
}

static void every_rule_may_be_zero_without_a_loop(void **state)
{
    struct world *w = *state;
    struct config_options zeroes = {0};
    struct core_rules rules = rules_from(&zeroes);
    rules.queue_max = 10;
    world_rules(w, &rules);
    world_worker(w, "openai", W1, 1);
    world_worker(w, "anthropic", W2, 0);
    for (unsigned id = 1; id <= 20; id++) {
        world_ask(w, edge, id, "k", id % 2 ? "both" : "safe", 1000);
        world_advance(w, 1);
        const struct sent *s = world_next(w);
        if (s && s->type == MESSAGE_GRANT)
            world_fail(w, edge, s, (struct ask){.failed_class = ERROR_UPSTREAM_ERROR});
        world_advance(w, 1);
    }
    world_advance(w, 6000);
    world.read = world.sent_count;
    world_expect_idle(w);
}

static void what_a_wildcard_matched_takes_the_place_of_the_targets_star(void **state)
{
    static const struct {
        const char *asked, *upstream;
    } cases[] = {
        {"openai/gpt-x", "gpt-x"},      {"openai/", ""},       {"a/gpt/b", "x-gpt-y"},
        {"as-is/gpt-x", "as-is/gpt-x"}, {"openai/a*b", "a*b"}, {"openai/*", "*"},
        {"openai/org/m:1", "org/m:1"},  {"backed", "gpt-z"},   {"starless", "*"},
    };
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        world_ask(w, edge, i + 1, "k", cases[i].asked, 0);
        if (strcmp(cases[i].asked, "backed") == 0)
            world_advance(w, 2001); /* nobody comes for its first target */
        const struct sent *g = world_expect_grant(w, EDGE, i + 1, W1);
        assert_string_equal(g->target_model, cases[i].upstream);
        assert_string_equal(g->model, cases[i].asked);
        world_done(w, edge, g);
    }
    world_expect_idle(w);
}

static void after_the_grace_a_fallback_answers(void **state)
{
    struct world *w = *state;
    world_worker(w, "anthropic", W2, 1);
    world_ask(w, edge, 1, "k", "safe", 0);
    world_expect_nothing(w);
    world_advance(w, 2000);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W2);
    assert_string_equal(g->target_model, "claude");
    assert_string_equal(g->route, "other");
    assert_int_equal(g->h.attempt, 1);
}

static void a_busy_queue_gives_up_at_its_timeout_and_at_the_deadline(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_report(w, edge, &(struct grant_report){.number = g->number, .started = 1}, 1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_ask(w, edge, 3, "k", "plain", 4000);
    world_advance(w, 4000);
    world_expect_decline(w, EDGE, 3, ERROR_DEADLINE);
    world_advance(w, 5999);
    world_expect_nothing(w);
    world_advance(w, 1);
    world_expect_decline(w, EDGE, 2, ERROR_OVERLOADED);
    world_done(w, edge, g);
    world_expect_idle(w);
}

static void the_models_own_deadline_holds_where_none_is_given(void **state)
{
    struct world *w = *state;
    set_waits(w, 2000000, 100000000);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_report(w, edge, &(struct grant_report){.number = g->number, .started = 1}, 1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_advance(w, 59999);
    world_expect_nothing(w);
    world_slots(w, a, 1, 1);
    world_advance(w, 1);
    world_expect_decline(w, EDGE, 2, ERROR_DEADLINE);
}

/* ---- repeats ---- */

static void a_repeated_ask_waits_once(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    for (unsigned i = 0; i < 5; i++) {
        world_ask(w, edge, 1, "k", "plain", 0);
        world_advance(w, 100);
    }
    assert_int_equal(core_stats(w->core).asks, 1);
    world_slots(w, a, 5, 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_expect_nothing(w);
    world_done(w, edge, g);
    world_expect_idle(w);
}

static void a_grant_that_was_lost_is_repeated_as_it_was(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 5);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_advance(w, 1000);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *again = world_expect_grant(w, EDGE, 1, W1);
    assert_int_equal(again->number, g->number);
    assert_memory_equal(again->token, g->token, sizeof g->token);
    assert_memory_equal(again->trail, g->trail, sizeof g->trail);
    assert_string_equal(again->target_model, "gpt-real");
    assert_int_equal(again->valid_ms, g->valid_ms - 1000);
    assert_int_equal(core_stats(w->core).grants, 1);
    world_done(w, edge, again);
    world_expect_idle(w);
}

static void a_grant_about_to_expire_is_not_repeated_but_replaced(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 5);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_advance(w, GRANT_ONCE_MS - GRANT_MARGIN_MS);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *fresh = world_expect_grant(w, EDGE, 1, W1);
    assert_true(fresh->number > g->number);
    world_advance(w, GRANT_MARGIN_MS + GRANT_GONE_MS);
    assert_int_equal(core_stats(w->core).grants, 1);
    world_done(w, edge, fresh);
    world_expect_idle(w);
}

static void a_grant_that_was_used_is_not_repeated(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 5);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_report(w, edge, &(struct grant_report){.number = g->number, .started = 1, .closed = true},
                 1);
    world_ask(w, edge, 1, "k", "plain", 0);
    assert_true(world_expect_grant(w, EDGE, 1, W1)->number != g->number);
    assert_int_equal(core_stats(w->core).grants, 2);
}

static void the_ask_after_a_busy_worker_is_repeated_too(void **state)
{
    struct world *w = *state;
    struct ask busy = {.model = SPAN("plain"), .key_id = SPAN("k"), .busy = 1, .free = 2};
    world_worker(w, "openai", W1, 5);
    world_ask_as(w, edge, 1, 1, &busy, 0);
    uint64_t number = world_expect_grant(w, EDGE, 1, W1)->number;
    world_ask_as(w, edge, 1, 1, &busy, 0);
    assert_int_equal(world_expect_grant(w, EDGE, 1, W1)->number, number);
    assert_int_equal(core_stats(w->core).grants, 1);
    busy.busy = 2;
    world_ask_as(w, edge, 1, 1, &busy, 0);
    assert_true(world_expect_grant(w, EDGE, 1, W1)->number != number);
}

static void an_ask_of_another_edge_by_the_same_id_changes_nothing(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    world_ask(w, edge, 1, "k", "plain", 0);
    world_ask(w, edge2, 1, "k", "plain", 0);
    world_cancel(w, edge2, 1);
    assert_int_equal(core_stats(w->core).asks, 1);
    world_slots(w, a, 1, 0);
    world_expect_grant(w, EDGE, 1, W1);
    world_ask(w, edge2, 1, "k", "plain", 0); /* nor is it told of the grant */
    world_expect_nothing(w);
}

/* ---- who leaves ---- */

static void a_cancelled_ask_waits_no_longer(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    world_ask(w, edge, 1, "k", "plain", 0);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_cancel(w, edge2, 1); /* not its ask */
    world_cancel(w, edge, 3);  /* no such */
    world_cancel(w, edge, 1);
    world_cancel(w, edge, 1);
    world_slots(w, a, 5, 0);
    world_expect_grant(w, EDGE, 2, W1);
    world_expect_nothing(w);
}

static void a_grant_that_crosses_a_cancel_goes_back(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    world_ask(w, edge, 1, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_cancel(w, edge, 1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_expect_nothing(w);
    world_return(w, edge, g);
    world_expect_grant(w, EDGE, 2, W1);
}

static void an_edge_that_is_gone_takes_its_asks_and_slots_along(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    for (unsigned i = 1; i <= 3; i++)
        world_ask(w, edge, i, "k", "plain", 0);
    world_ask(w, edge2, 4, "k2", "plain", 0);
    world_expect_grant(w, EDGE, 1, W1);
    world_expect_grant(w, EDGE, 2, W1);
    world_edge_down(w, &edge);
    world_expect_grant(w, EDGE2, 4, W1);
    world_expect_nothing(w);
    assert_int_equal(core_stats(w->core).asks, 0);
    assert_int_equal(core_stats(w->core).grants, 1);
}

static void a_closing_broker_sends_edges_elsewhere(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    world_ask(w, edge, 1, "k", "plain", 0);
    world_expect_grant(w, EDGE, 1, W1);
    core_close(w->core, world_now(w) + 1000000);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_expect_grant(w, EDGE, 2, W1);
    world_ask(w, edge, 3, "k", "plain", 0);
    world_advance(w, 1000);
    world_ask(w, edge, 4, "k", "plain", 0);
    assert_int_equal(world_expect_decline(w, EDGE, 4, ERROR_WORKER_REFUSED)->h.attempt, 1);
    world_ask(w, edge, 1, "k", "plain", 0); /* a repeat is sent elsewhere too */
    world_expect_decline(w, EDGE, 1, ERROR_WORKER_REFUSED);
    world_slots(w, a, 5, 2); /* what waits here is still served */
    world_expect_grant(w, EDGE, 3, W1);
}

static void what_waits_survives_a_reload(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    world_ask(w, edge, 1, "k", "plain", 0);
    world_ask(w, edge, 2, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    world_reload(w, "providers: { openai: { api_keys: [a] } }\n"
                    "models: { fresh: { targets: [{provider: openai}] } }\n");
    world_ask(w, edge, 3, "k", "plain", 0);
    world_expect_decline(w, EDGE, 3, ERROR_MODEL_NOT_FOUND);
    world_done(w, edge, g);
    assert_string_equal(world_expect_grant(w, EDGE, 2, W1)->target_model, "gpt-real");
}

static void the_next_due_is_when_something_waits_and_only_then(void **state)
{
    struct world *w = *state;
    assert_true(core_next_due_us(w->core) == UINT64_MAX);
    world_ask(w, edge, 1, "k", "plain", 1500);
    assert_true(core_next_due_us(w->core) == world_now(w) + 1500000);
    world_worker(w, "openai", W1, 1);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    assert_true(core_next_due_us(w->core) == world_now(w) + (GRANT_ONCE_MS + GRANT_GONE_MS) * 1000);
    world_done(w, edge, g);
    assert_true(core_next_due_us(w->core) == UINT64_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_ask_gets_all_that_a_dispatch_needs),
        TEST(asks_beyond_the_slots_wait_and_keys_take_turns),
        TEST(more_slots_take_more_from_the_queue),
        TEST(the_least_busy_worker_gets_the_next),
        TEST(an_ask_may_wait_for_several_providers_and_leaves_all_queues_at_once),
        TEST(refusals_say_why),
        TEST(a_provider_without_a_key_is_named),
        TEST(a_bound_lowered_below_what_waits_still_bounds),
        TEST(nobody_coming_is_503_after_the_grace_and_a_worker_in_time_is_none),
        TEST(workers_that_leave_while_one_waits_start_its_grace),
        TEST(no_grace_waits_for_a_slot_but_for_no_worker),
        TEST(no_queue_wait_refuses_what_finds_no_free_slot),
        TEST(every_rule_may_be_zero_without_a_loop),
        TEST(what_a_wildcard_matched_takes_the_place_of_the_targets_star),
        TEST(after_the_grace_a_fallback_answers),
        TEST(a_busy_queue_gives_up_at_its_timeout_and_at_the_deadline),
        TEST(the_models_own_deadline_holds_where_none_is_given),
        TEST(a_repeated_ask_waits_once),
        TEST(a_grant_that_was_lost_is_repeated_as_it_was),
        TEST(a_grant_about_to_expire_is_not_repeated_but_replaced),
        TEST(a_grant_that_was_used_is_not_repeated),
        TEST(the_ask_after_a_busy_worker_is_repeated_too),
        TEST(an_ask_of_another_edge_by_the_same_id_changes_nothing),
        TEST(a_cancelled_ask_waits_no_longer),
        TEST(a_grant_that_crosses_a_cancel_goes_back),
        TEST(an_edge_that_is_gone_takes_its_asks_and_slots_along),
        TEST(a_closing_broker_sends_edges_elsewhere),
        TEST(what_waits_survives_a_reload),
        TEST(the_next_due_is_when_something_waits_and_only_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
