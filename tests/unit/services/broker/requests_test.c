#include "unit/services/broker/test_world.h"

#include "proto/error_class.h"
#include "services/broker/rules.h"

/* Peers by number. */
enum { EDGE = 1, EDGE2 = 2, W1 = 11, W2 = 12, W3 = 13 };

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
    "  both: { targets: [{provider: openai}, {provider: anthropic}] }\n"
    "  paid: { targets: [{provider: replicate}] }\n"
    "  \"openai/*\": { targets: [{provider: openai, model: \"*\"}] }\n"
    "  \"a/*/b\": { targets: [{provider: openai, model: \"x-*-y\"}] }\n"
    "  \"as-is/*\": { targets: [{provider: openai}] }\n"
    "  starless: { targets: [{provider: openai, model: \"*\"}] }\n"
    "  backed: { targets: [{provider: replicate}], fallbacks: [openai/gpt-z] }\n"
    "broker: { queue_size: 4, queue_timeout: 10s, worker_grace: 2s, max_body_memory: 4096, "
    "breaker_failures: 3 }\n";

static struct world world;

static int set_up(void **state)
{
    world_open(&world, yaml);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    world_close(*state);
    return 0;
}

/* Every test ends its requests or leaves them to world_close; nothing may be left in the tables. */
static void assert_idle(struct world *w)
{
    struct requests_stats s = requests_stats(w->requests);
    assert_int_equal(s.requests, 0);
    assert_int_equal(s.queued, 0);
    assert_int_equal(s.body_bytes, 0);
    for (const struct pool *p = workers_first_pool(w->workers); p; p = p->next) {
        assert_int_equal(p->in_flight, 0);
        assert_int_equal(p->queue.count, 0);
    }
    world_expect_nothing(w);
}

static void a_unary_request_goes_to_a_worker_and_its_reply_to_the_edge(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    world_request(w, e, 1, "k", "plain", 0);
    const struct sent *d = world_expect(w, MESSAGE_DISPATCH, W1, 1);
    assert_int_equal(d->h.attempt, 1);
    assert_int_equal(d->h.deadline_ms, 60000);
    assert_string_equal(d->target_model, "gpt-real");
    assert_string_equal(d->route, "");
    assert_string_equal(d->body, "body of 1");
    world_from_worker(w, a, 1, 1, MESSAGE_REPLY, 0);
    const struct sent *r = world_expect(w, MESSAGE_REPLY, EDGE, 1);
    assert_true(r->forwarded);
    assert_true(r->h.flags & HEADER_LAST);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_stream_passes_with_its_sequence_numbers_and_credit_goes_back(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    world_request(w, e, 1, "k", "plain", 5000);
    assert_int_equal(world_expect(w, MESSAGE_DISPATCH, W1, 1)->h.deadline_ms, 5000);
    assert_true(requests_stats(w->requests).body_bytes > 0);
    world_from_worker(w, a, 1, 1, MESSAGE_HEAD, 0);
    world_expect(w, MESSAGE_HEAD, EDGE, 1);
    assert_int_equal(requests_stats(w->requests).body_bytes, 0);
    for (uint32_t i = 0; i < 3; i++) {
        world_from_worker(w, a, 1, 1, MESSAGE_DATA, i);
        assert_int_equal(world_expect(w, MESSAGE_DATA, EDGE, 1)->h.seq, i);
    }
    world_from_edge(w, e, 1, MESSAGE_CREDIT, 0);
    assert_int_equal(world_expect(w, MESSAGE_CREDIT, W1, 1)->h.attempt, 1);
    world_from_worker(w, a, 1, 1, MESSAGE_END, 0);
    world_expect(w, MESSAGE_END, EDGE, 1);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void requests_beyond_the_slots_wait_and_keys_take_turns(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_request(w, e, 1, "k", "plain", 0);
    world_request(w, e, 2, "k", "plain", 0);
    world_request(w, e, 3, "k", "plain", 0);
    world_request(w, e, 4, "other", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_expect_nothing(w);
    assert_int_equal(requests_stats(w->requests).queued, 3);
    static const unsigned order[] = {2, 4, 3};
    unsigned running = 1;
    for (unsigned i = 0; i < 3; i++) {
        world_from_worker(w, a, running, 1, MESSAGE_REPLY, 0);
        world_expect(w, MESSAGE_REPLY, EDGE, running);
        world_expect(w, MESSAGE_DISPATCH, W1, order[i]);
        running = order[i];
    }
    world_from_worker(w, a, running, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, running);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void more_slots_take_more_from_the_queue(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    for (unsigned i = 1; i <= 3; i++)
        world_request(w, e, i, "k", "plain", 0);
    world_expect_nothing(w);
    requests_on_slots(w->requests, a, 2, SPAN_NONE, world_now(w));
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    world_expect_nothing(w);
    world_worker(w, "openai", W2, 5);
    world_expect(w, MESSAGE_DISPATCH, W2, 3);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_request_may_wait_for_several_providers_and_leaves_all_queues_at_once(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_request(w, e, 1, "k", "both", 0);
    assert_int_equal(requests_stats(w->requests).queued, 1);
    world_worker(w, "anthropic", W2, 1);
    world_expect(w, MESSAGE_DISPATCH, W2, 1);
    world_worker(w, "openai", W1, 1);
    world_expect_nothing(w);
    assert_int_equal(requests_stats(w->requests).queued, 0);
    requests_edge_down(w->requests, &e, world_now(w));
    world_expect(w, MESSAGE_CANCEL, W2, 1);
    assert_idle(w);
}

static const struct sent *expect_fail(struct world *w, unsigned peer, unsigned id,
                                      unsigned error_class)
{
    const struct sent *s = world_expect(w, MESSAGE_FAIL, peer, id);
    assert_int_equal(s->error_class, error_class);
    assert_true(s->h.flags & HEADER_LAST);
    return s;
}

static void refusals_say_why(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_request(w, e, 1, "k", "nonsense", 0);
    assert_non_null(strstr(expect_fail(w, EDGE, 1, ERROR_MODEL_NOT_FOUND)->message, "`nonsense`"));
    /* The queue holds four. */
    world_worker(w, "openai", W1, 0);
    for (unsigned i = 10; i < 14; i++)
        world_request(w, e, i, "k", "plain", 0);
    world_expect_nothing(w);
    world_request(w, e, 14, "k", "plain", 0);
    assert_int_equal(expect_fail(w, EDGE, 14, ERROR_OVERLOADED)->retry_after_ms, 1000);
    requests_edge_down(w->requests, &e, world_now(w));
    assert_idle(w);
}

static void bodies_beyond_the_memory_bound_are_refused(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_worker(w, "openai", W1, 1000);
    unsigned refused = 0;
    for (unsigned i = 1; i <= 100; i++) {
        world_request(w, e, i, "k", "plain", 0);
        const struct sent *s = world_next(w);
        refused += s->type == MESSAGE_FAIL && s->error_class == ERROR_OVERLOADED;
    }
    assert_in_range(refused, 10, 90);
    assert_true(requests_stats(w->requests).body_bytes <= 4096);
    requests_edge_down(w->requests, &e, world_now(w));
    assert_int_equal(requests_stats(w->requests).body_bytes, 0);
}

static void nobody_coming_is_503_after_the_grace_and_a_worker_in_time_is_none(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_request(w, e, 1, "k", "plain", 0);
    world_advance(w, 1999);
    world_expect_nothing(w);
    world_advance(w, 1);
    assert_int_equal(expect_fail(w, EDGE, 1, ERROR_OVERLOADED)->retry_after_ms, 1000);
    world_request(w, e, 2, "k", "plain", 0);
    world_advance(w, 1500);
    world_worker(w, "openai", W1, 1);
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    requests_edge_down(w->requests, &e, world_now(w));
}

/* The rules of the world, but for the waits. */
static void set_waits(struct world *w, uint64_t grace_us, uint64_t queue_wait_us)
{
    struct requests_rules rules = rules_from(&w->config->options);
    rules.worker_grace_us = grace_us;
    rules.queue_wait_us = queue_wait_us;
    requests_reconfigure(w->requests, &rules, w->router);
}

static void no_grace_waits_for_a_slot_but_for_no_worker(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    set_waits(w, 0, 10000000);
    world_request(w, e, 1, "k", "plain", 0);
    expect_fail(w, EDGE, 1, ERROR_OVERLOADED);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_request(w, e, 2, "k", "plain", 0);
    world_request(w, e, 3, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    world_advance(w, 5000);
    world_expect_nothing(w);
    world_from_worker(w, a, 2, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 2);
    world_expect(w, MESSAGE_DISPATCH, W1, 3);
    world_request(w, e, 4, "k", "plain", 0);
    requests_on_slots(w->requests, a, 0, SPAN("draining"), world_now(w));
    world_advance(w, 200);
    expect_fail(w, EDGE, 4, ERROR_OVERLOADED);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void no_queue_wait_refuses_what_finds_no_free_slot(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    set_waits(w, 2000000, 0);
    world_worker(w, "openai", W1, 1);
    world_request(w, e, 1, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_request(w, e, 2, "k", "plain", 0);
    world_advance(w, 0);
    expect_fail(w, EDGE, 2, ERROR_OVERLOADED);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void every_rule_may_be_zero_without_a_loop(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct config_options zeroes = {0};
    struct requests_rules rules = rules_from(&zeroes);
    rules.queue_max = 10;
    rules.body_memory_max = 4096;
    requests_reconfigure(w->requests, &rules, w->router);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_worker(w, "anthropic", W2, 0);
    for (unsigned id = 1; id <= 20; id++) {
        world_request(w, e, id, "k", id % 2 ? "both" : "safe", 1000);
        world_advance(w, 1);
        world_fail(w, a, id, 1, (struct fail){.error_class = ERROR_UPSTREAM_ERROR});
        world_advance(w, 1);
    }
    world_advance(w, 3000);
    assert_int_equal(requests_stats(w->requests).requests, 0);
    requests_edge_down(w->requests, &e, world_now(w));
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
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        world_request(w, e, i + 1, "k", cases[i].asked, 0);
        world_advance(w, 2001); /* nobody comes for the first target of `backed` */
        const struct sent *d = world_expect(w, MESSAGE_DISPATCH, W1, i + 1);
        assert_string_equal(d->target_model, cases[i].upstream);
        world_from_worker(w, a, i + 1, 1, MESSAGE_REPLY, 0);
        world_expect(w, MESSAGE_REPLY, EDGE, i + 1);
    }
    requests_edge_down(w->requests, &e, world_now(w));
}

static void after_the_grace_a_fallback_answers(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_worker(w, "anthropic", W2, 1);
    world_request(w, e, 1, "k", "safe", 0);
    world_expect_nothing(w);
    world_advance(w, 2000);
    const struct sent *d = world_expect(w, MESSAGE_DISPATCH, W2, 1);
    assert_string_equal(d->target_model, "claude");
    assert_string_equal(d->route, "other");
    assert_int_equal(d->h.attempt, 1);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_busy_queue_gives_up_at_its_timeout_and_at_the_deadline(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_request(w, e, 1, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_request(w, e, 2, "k", "plain", 0);
    world_request(w, e, 3, "k", "plain", 4000);
    world_advance(w, 4000);
    expect_fail(w, EDGE, 3, ERROR_DEADLINE);
    world_advance(w, 5999);
    world_expect_nothing(w);
    world_advance(w, 1);
    expect_fail(w, EDGE, 2, ERROR_OVERLOADED);
    world_from_worker(w, a, 1, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 1);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_safe_failure_is_repeated_after_a_backoff_with_the_same_body(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2),
                         *b = world_worker(w, "openai", W2, 2);
    world_request(w, e, 1, "k", "plain", 10000);
    bool first = world_next(w)->to == world_peer(W1);
    world_fail(w, first ? a : b, 1, 1,
               (struct fail){.error_class = ERROR_UPSTREAM_OVERLOADED, .sent = true});
    world_expect_nothing(w);
    world_advance(w, 124);
    world_expect_nothing(w);
    world_advance(w, 2);
    const struct sent *d = world_expect(w, MESSAGE_DISPATCH, first ? W2 : W1, 1);
    assert_int_equal(d->h.attempt, 2);
    assert_int_equal(d->h.deadline_ms, 10000 - 125);
    assert_string_equal(d->body, "body of 1");
    assert_string_equal(d->avoid, "0");
    world_from_worker(w, first ? b : a, 1, 2, MESSAGE_REPLY, 0);
    assert_int_equal(world_expect(w, MESSAGE_REPLY, EDGE, 1)->h.attempt, 2);
    assert_int_equal(w->retried, 1);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void three_attempts_are_all_there_are(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    world_request(w, e, 1, "k", "plain", 0);
    for (unsigned attempt = 1; attempt <= 3; attempt++) {
        assert_int_equal(world_expect(w, MESSAGE_DISPATCH, W1, 1)->h.attempt, attempt);
        world_fail(w, a, 1, attempt, (struct fail){.error_class = ERROR_UPSTREAM_UNREACHABLE});
        world_advance(w, attempt < 3 ? 1000 : 0);
    }
    assert_true(expect_fail(w, EDGE, 1, ERROR_UPSTREAM_UNREACHABLE)->forwarded);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void what_must_not_be_repeated_goes_to_the_edge_at_once(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 9),
                         *r = world_worker(w, "replicate", W2, 9);
    static const struct {
        const char *model;
        struct fail f;
        bool committed;
    } cases[] = {
        {"plain", {.error_class = ERROR_UPSTREAM_BAD_REQUEST, .sent = true}, false},
        {"plain", {.error_class = ERROR_UPSTREAM_RATE_LIMITED, .final = true}, false},
        {"plain", {.error_class = ERROR_UPSTREAM_RATE_LIMITED, .retry_after_ms = 60000}, false},
        {"plain", {.error_class = ERROR_UPSTREAM_CLOSED, .sent = true}, true},
        {"plain", {.error_class = ERROR_UPSTREAM_OVERLOADED, .sent = true}, true},
        {"paid", {.error_class = ERROR_UPSTREAM_RESET, .sent = true}, false},
        {"paid", {.error_class = ERROR_UPSTREAM_TIMEOUT, .sent = true}, false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct broker_worker *at = strcmp(cases[i].model, "paid") == 0 ? r : a;
        world_request(w, e, i, "k", cases[i].model, 0);
        assert_int_equal(world_next(w)->type, MESSAGE_DISPATCH);
        if (cases[i].committed) {
            world_from_worker(w, at, i, 1, MESSAGE_HEAD, 0);
            world_expect(w, MESSAGE_HEAD, EDGE, i);
        }
        world_fail(w, at, i, 1, cases[i].f);
        expect_fail(w, EDGE, i, cases[i].f.error_class);
        assert_idle(w);
    }
    requests_edge_down(w->requests, &e, world_now(w));
}

static void an_ambiguous_failure_is_repeated_once(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    struct fail reset = {.error_class = ERROR_UPSTREAM_RESET, .sent = true};
    world_request(w, e, 1, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_fail(w, a, 1, 1, reset);
    world_advance(w, 500);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_fail(w, a, 1, 2, reset);
    expect_fail(w, EDGE, 1, ERROR_UPSTREAM_RESET);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void retry_after_is_obeyed_unless_another_endpoint_is_there(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2),
                         *b = world_worker(w, "twokeys", W2, 2);
    struct fail limited = {
        .error_class = ERROR_UPSTREAM_RATE_LIMITED, .retry_after_ms = 3000, .endpoint = 0};
    world_request(w, e, 1, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_fail(w, a, 1, 1, limited);
    world_advance(w, 2999);
    world_expect_nothing(w);
    world_advance(w, 1);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_request(w, e, 2, "k", "keys", 0);
    world_expect(w, MESSAGE_DISPATCH, W2, 2);
    limited.endpoint = 1;
    world_fail(w, b, 2, 1, limited);
    world_advance(w, 250);
    assert_string_equal(world_expect(w, MESSAGE_DISPATCH, W2, 2)->avoid, "1");
    limited.endpoint = 0;
    world_fail(w, b, 2, 2, limited);
    world_advance(w, 2900);
    world_expect_nothing(w);
    world_advance(w, 100);
    assert_string_equal(world_expect(w, MESSAGE_DISPATCH, W2, 2)->avoid, "0,1");
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_failed_target_gives_way_to_the_next_then_to_fallbacks(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    world_worker(w, "anthropic", W2, 2);
    world_request(w, e, 1, "k", "safe", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_fail(w, a, 1, 1,
               (struct fail){.error_class = ERROR_UPSTREAM_RATE_LIMITED, .retry_after_ms = 60000});
    world_advance(w, 250);
    const struct sent *d = world_expect(w, MESSAGE_DISPATCH, W2, 1);
    assert_string_equal(d->route, "other");
    assert_string_equal(d->avoid, "");
    w->chance = 0; /* the first of the targets */
    world_request(w, e, 2, "k", "both", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    world_fail(w, a, 2, 1, (struct fail){.error_class = ERROR_UPSTREAM_AUTH, .sent = true});
    world_advance(w, 1);
    assert_string_equal(world_expect(w, MESSAGE_DISPATCH, W2, 2)->target_model, "both");
    requests_edge_down(w->requests, &e, world_now(w));
}

static void the_retry_budget_ends_a_storm(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 100);
    unsigned failed = 0;
    for (unsigned i = 1; i <= 20; i++) {
        world_request(w, e, i, "k", "plain", 0);
        while (world_next(w)->type != MESSAGE_DISPATCH)
            ;
        world_fail(w, a, i, 1,
                   (struct fail){.error_class = ERROR_UPSTREAM_OVERLOADED, .sent = true});
        const struct sent *s = world_next(w);
        failed += s && s->type == MESSAGE_FAIL;
    }
    assert_int_equal(w->retried, 10);
    assert_int_equal(failed, 10);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void requests_of_a_lost_worker_run_elsewhere_at_once_or_wait_for_its_return(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    world_request(w, e, 1, "k", "plain", 0);
    world_request(w, e, 2, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    world_from_worker(w, a, 2, 1, MESSAGE_HEAD, 0);
    world_expect(w, MESSAGE_HEAD, EDGE, 2);
    requests_worker_down(w->requests, &a, world_now(w));
    assert_null(a);
    expect_fail(w, EDGE, 2, ERROR_WORKER_LOST);
    world_advance(w, 1500);
    world_expect_nothing(w);
    a = world_worker(w, "openai", W3, 2);
    assert_int_equal(world_expect(w, MESSAGE_DISPATCH, W3, 1)->h.attempt, 2);
    /* Once: the second loss ends it. */
    requests_worker_down(w->requests, &a, world_now(w));
    expect_fail(w, EDGE, 1, ERROR_WORKER_LOST);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_prediction_of_a_lost_worker_is_not_made_twice(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "replicate", W1, 2);
    world_worker(w, "replicate", W2, 2);
    world_request(w, e, 1, "k", "paid", 0);
    bool first = world_next(w)->to == world_peer(W1);
    if (first) {
        requests_worker_down(w->requests, &a, world_now(w));
        expect_fail(w, EDGE, 1, ERROR_WORKER_LOST);
        assert_idle(w);
    }
    assert_true(first);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void stale_frames_go_nowhere_and_their_attempt_is_stopped(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_request(w, e, 1, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    requests_worker_down(w->requests, &a, world_now(w)); /* stopped, not dead */
    struct broker_worker *b = world_worker(w, "openai", W2, 1);
    world_advance(w, 1);
    assert_int_equal(world_expect(w, MESSAGE_DISPATCH, W2, 1)->h.attempt, 2);
    a = world_worker(w, "openai", W1, 1);
    world_from_worker(w, a, 1, 1, MESSAGE_HEAD, 0);
    assert_int_equal(world_expect(w, MESSAGE_CANCEL, W1, 1)->h.attempt, 1);
    for (uint32_t seq = 0; seq < 128; seq++)
        world_from_worker(w, a, 1, 1, MESSAGE_DATA, seq);
    world_expect(w, MESSAGE_CANCEL, W1, 1);
    world_expect(w, MESSAGE_CANCEL, W1, 1);
    world_from_worker(w, a, 1, 1, MESSAGE_END, 0);
    world_fail(w, a, 1, 1, (struct fail){.error_class = ERROR_UPSTREAM_ERROR});
    world_from_worker(w, a, 1, 2, MESSAGE_REPLY, 0); /* right attempt, wrong worker */
    world_expect_nothing(w);
    assert_int_equal(requests_stats(w->requests).stale, 132);
    world_from_worker(w, b, 1, 2, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 1);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void cancel_reaches_the_worker_and_frees_its_slot(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE), *other = world_edge(w, EDGE2);
    world_worker(w, "openai", W1, 1);
    world_request(w, e, 1, "k", "plain", 0);
    world_request(w, e, 2, "k", "plain", 0);
    world_request(w, e, 3, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_from_edge(w, other, 1, MESSAGE_CANCEL, 0); /* not its request */
    world_from_edge(w, e, 2, MESSAGE_CANCEL, 0);     /* still queued */
    world_expect_nothing(w);
    world_from_edge(w, e, 1, MESSAGE_CANCEL, 0);
    assert_int_equal(world_expect(w, MESSAGE_CANCEL, W1, 1)->h.attempt, 1);
    world_expect(w, MESSAGE_DISPATCH, W1, 3);
    requests_edge_down(w->requests, &e, world_now(w));
    world_expect(w, MESSAGE_CANCEL, W1, 3);
    assert_idle(w);
    requests_edge_down(w->requests, &other, world_now(w));
}

static void a_cancel_that_overtakes_its_request_is_remembered(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_worker(w, "openai", W1, 1);
    world_from_edge(w, e, 1, MESSAGE_CANCEL, 1000);
    world_request(w, e, 1, "k", "plain", 0);
    assert_idle(w);
    world_from_edge(w, e, 2, MESSAGE_CANCEL, 1000);
    world_advance(w, 1000);
    world_request(w, e, 2, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void an_edge_that_is_gone_takes_its_requests_along(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE), *other = world_edge(w, EDGE2);
    world_worker(w, "openai", W1, 2);
    world_request(w, e, 1, "k", "plain", 0);
    world_request(w, e, 2, "k", "plain", 0);
    world_request(w, e, 3, "k", "plain", 0);
    world_request(w, other, 4, "k2", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    requests_edge_down(w->requests, &e, world_now(w));
    world_expect(w, MESSAGE_CANCEL, W1, 1);
    world_expect(w, MESSAGE_DISPATCH, W1, 4);
    world_expect(w, MESSAGE_CANCEL, W1, 2);
    world_expect_nothing(w);
    requests_edge_down(w->requests, &other, world_now(w));
}

static void an_unreachable_worker_is_passed_over_and_tried_again(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_worker(w, "openai", W1, 2);
    w->unreachable = world_peer(W1);
    world_request(w, e, 1, "k", "plain", 0);
    world_expect_nothing(w);
    assert_int_equal(requests_stats(w->requests).queued, 1);
    w->unreachable = NULL;
    requests_unstick(w->requests, world_now(w));
    assert_int_equal(world_expect(w, MESSAGE_DISPATCH, W1, 1)->h.attempt, 1);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_stream_whose_edge_is_gone_is_stopped_and_its_slot_goes_to_the_next(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE), *other = world_edge(w, EDGE2);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_request(w, e, 1, "k", "plain", 0);
    world_request(w, other, 2, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_from_worker(w, a, 1, 1, MESSAGE_HEAD, 0);
    world_expect(w, MESSAGE_HEAD, EDGE, 1);
    w->unreachable = world_peer(EDGE);
    w->unreachable_with = ERR_CLOSED;
    world_from_worker(w, a, 1, 1, MESSAGE_DATA, 0);
    world_expect(w, MESSAGE_CANCEL, W1, 1);
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    world_from_worker(w, a, 2, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE2, 2);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
    requests_edge_down(w->requests, &other, world_now(w));
}

static void what_a_crowded_edge_does_not_get_ends_in_a_fail_once_it_has_room(void **state)
{
    static const unsigned types[] = {MESSAGE_HEAD, MESSAGE_DATA, MESSAGE_END, MESSAGE_REPLY,
                                     MESSAGE_FAIL};
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        unsigned id = i + 1;
        world_request(w, e, id, "k", "plain", 0);
        world_expect(w, MESSAGE_DISPATCH, W1, id);
        if (types[i] == MESSAGE_DATA || types[i] == MESSAGE_END) {
            world_from_worker(w, a, id, 1, MESSAGE_HEAD, 0);
            world_expect(w, MESSAGE_HEAD, EDGE, id);
        }
        w->unreachable = world_peer(EDGE);
        if (types[i] == MESSAGE_FAIL)
            world_fail(w, a, id, 1, (struct fail){.error_class = ERROR_UPSTREAM_BAD_REQUEST});
        else
            world_from_worker(w, a, id, 1, types[i], 0);
        if (types[i] == MESSAGE_HEAD || types[i] == MESSAGE_DATA)
            world_expect(w, MESSAGE_CANCEL, W1, id);
        world_advance(w, 200);
        world_expect_nothing(w);
        w->unreachable = NULL;
        world_advance(w, 100);
        expect_fail(w, EDGE, id,
                    types[i] == MESSAGE_FAIL ? ERROR_UPSTREAM_BAD_REQUEST : ERROR_INTERNAL);
        assert_idle(w);
    }
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_fail_that_finds_no_room_until_the_deadline_is_given_up(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    w->unreachable = world_peer(EDGE);
    world_request(w, e, 1, "k", "plain", 3000);
    world_advance(w, 3900);
    assert_int_equal(requests_stats(w->requests).requests, 1);
    world_advance(w, 200);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_refused_dispatch_goes_to_another_worker_without_a_wait(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 2);
    world_request(w, e, 1, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_worker(w, "openai", W2, 2);
    world_fail(w, a, 1, 1, (struct fail){.error_class = ERROR_WORKER_REFUSED});
    world_advance(w, 0);
    world_expect(w, MESSAGE_DISPATCH, W2, 1);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void an_overdue_worker_is_cancelled_a_second_after_the_deadline(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_worker(w, "openai", W1, 2);
    world_request(w, e, 1, "k", "plain", 3000);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_advance(w, 3999);
    world_expect_nothing(w);
    world_advance(w, 1);
    world_expect(w, MESSAGE_CANCEL, W1, 1);
    expect_fail(w, EDGE, 1, ERROR_DEADLINE);
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void failures_open_the_targets_breaker_and_a_probe_closes_it(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 9),
                         *b = world_worker(w, "anthropic", W2, 9);
    struct fail broken = {.error_class = ERROR_UPSTREAM_ERROR, .sent = true, .final = true};
    w->chance = 0; /* the first of the targets, as long as it is allowed */
    for (unsigned i = 1; i <= 3; i++) {
        world_request(w, e, i, "k", "both", 0);
        world_expect(w, MESSAGE_DISPATCH, W1, i);
        world_fail(w, a, i, 1, broken);
        expect_fail(w, EDGE, i, ERROR_UPSTREAM_ERROR);
    }
    world_request(w, e, 4, "k", "both", 0);
    world_expect(w, MESSAGE_DISPATCH, W2, 4);
    world_advance(w, 10000);
    world_request(w, e, 5, "k", "both", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 5); /* the probe */
    world_request(w, e, 6, "k", "both", 0);
    world_expect(w, MESSAGE_DISPATCH, W2, 6);
    world_from_worker(w, a, 5, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 5);
    world_request(w, e, 7, "k", "both", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 7);
    world_from_worker(w, b, 4, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 4);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void an_overdue_probe_gives_its_breaker_back(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 9);
    struct fail broken = {.error_class = ERROR_UPSTREAM_ERROR, .sent = true, .final = true};
    world_worker(w, "anthropic", W2, 9);
    w->chance = 0; /* the first of the targets, as long as it is allowed */
    for (unsigned i = 1; i <= 3; i++) {
        world_request(w, e, i, "k", "both", 0);
        world_expect(w, MESSAGE_DISPATCH, W1, i);
        world_fail(w, a, i, 1, broken);
        expect_fail(w, EDGE, i, ERROR_UPSTREAM_ERROR);
    }
    world_advance(w, 10000);
    world_request(w, e, 4, "k", "both", 1000);
    world_expect(w, MESSAGE_DISPATCH, W1, 4); /* the probe */
    world_advance(w, 2000);
    world_expect(w, MESSAGE_CANCEL, W1, 4);
    expect_fail(w, EDGE, 4, ERROR_DEADLINE);
    world_request(w, e, 5, "k", "both", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 5); /* the next probe */
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_closing_broker_sends_edges_elsewhere(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 9);
    world_request(w, e, 1, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    requests_close(w->requests, world_now(w) + 1000);
    world_request(w, e, 3, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 3);
    world_advance(w, 1000);
    world_request(w, e, 2, "k", "plain", 0);
    assert_int_equal(expect_fail(w, EDGE, 2, ERROR_WORKER_REFUSED)->h.attempt, 0);
    world_from_worker(w, a, 1, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 1);
    assert_false(requests_drained(w->requests, world_now(w)));
    world_from_worker(w, a, 3, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 3);
    assert_true(requests_drained(w->requests, world_now(w)));
    assert_idle(w);
    requests_edge_down(w->requests, &e, world_now(w));
}

static void running_requests_survive_a_reload(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    world_request(w, e, 1, "k", "plain", 0);
    world_request(w, e, 2, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    struct config *config = test_config("providers: { openai: { api_keys: [a] } }\n"
                                        "models: { fresh: { targets: [{provider: openai}] } }\n");
    struct router *router;
    struct requests_rules rules = {
        .retry = {.max_attempts = 1}, .queue_max = 10, .body_memory_max = 65536};
    assert_int_equal(router_create(&router, config, w->workers, w->router, world_now(w)), OK);
    requests_reconfigure(w->requests, &rules, router);
    router_unref(&w->router);
    w->router = router;
    config_destroy(&w->config);
    w->config = config;
    world_request(w, e, 3, "k", "plain", 0);
    expect_fail(w, EDGE, 3, ERROR_MODEL_NOT_FOUND);
    world_from_worker(w, a, 1, 1, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 1);
    assert_string_equal(world_expect(w, MESSAGE_DISPATCH, W1, 2)->target_model, "gpt-real");
    requests_edge_down(w->requests, &e, world_now(w));
}

static void a_memory_bound_lowered_below_what_is_held_still_bounds(void **state)
{
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    world_worker(w, "openai", W1, 1000);
    world_request(w, e, 1, "k", "plain", 0);
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    struct requests_rules rules = {
        .retry = {.max_attempts = 1}, .queue_max = 10, .body_memory_max = 1};
    requests_reconfigure(w->requests, &rules, w->router);
    world_request(w, e, 2, "k", "plain", 0);
    expect_fail(w, EDGE, 2, ERROR_OVERLOADED);
    requests_edge_down(w->requests, &e, world_now(w));
}

/* Whatever happens in whatever order: every request that was not cancelled gets exactly one
 * terminal frame. */
static void every_request_ends_exactly_once_in_a_storm_of_everything(void **state)
{
    enum { REQUESTS = 600 };
    struct world *w = *state;
    struct broker_edge *e = world_edge(w, EDGE);
    struct broker_worker *workers[3] = {NULL};
    static const char *const models[] = {"plain", "keys", "safe", "both", "paid", "other"};
    static const char *const providers[] = {"openai", "anthropic", "replicate"};
    static const unsigned classes[] = {ERROR_UPSTREAM_RESET, ERROR_UPSTREAM_OVERLOADED,
                                       ERROR_UPSTREAM_BAD_REQUEST};
    bool cancelled[REQUESTS + 1] = {false};
    unsigned ended[REQUESTS + 1] = {0}, sent_at = 0;
    uint32_t dice = 7;
    for (unsigned step = 1; step <= REQUESTS; step++) {
        dice = dice * 1664525u + 1013904223u;
        unsigned i = dice >> 30 < 3 ? dice >> 30 : 0;
        w->chance = dice;
        if (workers[i] && (dice >> 20 & 31) == 0)
            requests_worker_down(w->requests, &workers[i], world_now(w));
        else if (!workers[i])
            workers[i] = world_worker(w, providers[i], W1 + i, 3);
        world_request(w, e, step, dice & 64 ? "k1" : "k2", models[step % 6], 3000);
        if ((dice >> 9 & 15) == 0) {
            cancelled[step] = requests_stats(w->requests).requests > 0;
            world_from_edge(w, e, step, MESSAGE_CANCEL, 100);
        }
        world_advance(w, dice >> 5 & 63);
        for (; sent_at < w->sent_count; sent_at++) {
            const struct sent s = w->sent[sent_at];
            unsigned id;
            memcpy(&id, s.h.id.bytes, sizeof id);
            if (s.type == MESSAGE_END || s.type == MESSAGE_REPLY || s.type == MESSAGE_FAIL)
                ended[id]++;
            if (s.type != MESSAGE_DISPATCH)
                continue;
            struct broker_worker *at = workers[s.to == world_peer(W1)   ? 0
                                               : s.to == world_peer(W2) ? 1
                                                                        : 2];
            unsigned what = (dice >> 12 ^ id) % 5;
            if (!at || what == 4)
                continue; /* never answers */
            if (what == 0)
                world_from_worker(w, at, id, s.h.attempt, MESSAGE_HEAD, 0);
            if (what <= 1)
                world_from_worker(w, at, id, s.h.attempt, what ? MESSAGE_REPLY : MESSAGE_END, 0);
            else
                world_fail(w, at, id, s.h.attempt,
                           (struct fail){.error_class = classes[id % 3], .sent = id & 8});
        }
    }
    world_advance(w, 5000);
    for (; sent_at < w->sent_count; sent_at++) {
        unsigned id, type = w->sent[sent_at].type;
        memcpy(&id, w->sent[sent_at].h.id.bytes, sizeof id);
        ended[id] += type == MESSAGE_END || type == MESSAGE_REPLY || type == MESSAGE_FAIL;
    }
    assert_int_equal(requests_stats(w->requests).requests, 0);
    assert_int_equal(requests_stats(w->requests).queued, 0);
    assert_int_equal(requests_stats(w->requests).body_bytes, 0);
    for (unsigned id = 1; id <= REQUESTS; id++)
        if (ended[id] > 1 || (ended[id] == 0 && !cancelled[id]))
            fail_msg("request %u ended %u times", id, ended[id]);
    requests_edge_down(w->requests, &e, world_now(w));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_unary_request_goes_to_a_worker_and_its_reply_to_the_edge),
        TEST(a_stream_passes_with_its_sequence_numbers_and_credit_goes_back),
        TEST(requests_beyond_the_slots_wait_and_keys_take_turns),
        TEST(more_slots_take_more_from_the_queue),
        TEST(a_request_may_wait_for_several_providers_and_leaves_all_queues_at_once),
        TEST(refusals_say_why),
        TEST(bodies_beyond_the_memory_bound_are_refused),
        TEST(a_memory_bound_lowered_below_what_is_held_still_bounds),
        TEST(nobody_coming_is_503_after_the_grace_and_a_worker_in_time_is_none),
        TEST(no_grace_waits_for_a_slot_but_for_no_worker),
        TEST(no_queue_wait_refuses_what_finds_no_free_slot),
        TEST(every_rule_may_be_zero_without_a_loop),
        TEST(what_a_wildcard_matched_takes_the_place_of_the_targets_star),
        TEST(after_the_grace_a_fallback_answers),
        TEST(a_busy_queue_gives_up_at_its_timeout_and_at_the_deadline),
        TEST(a_safe_failure_is_repeated_after_a_backoff_with_the_same_body),
        TEST(three_attempts_are_all_there_are),
        TEST(what_must_not_be_repeated_goes_to_the_edge_at_once),
        TEST(an_ambiguous_failure_is_repeated_once),
        TEST(retry_after_is_obeyed_unless_another_endpoint_is_there),
        TEST(a_failed_target_gives_way_to_the_next_then_to_fallbacks),
        TEST(the_retry_budget_ends_a_storm),
        TEST(requests_of_a_lost_worker_run_elsewhere_at_once_or_wait_for_its_return),
        TEST(a_prediction_of_a_lost_worker_is_not_made_twice),
        TEST(stale_frames_go_nowhere_and_their_attempt_is_stopped),
        TEST(cancel_reaches_the_worker_and_frees_its_slot),
        TEST(a_cancel_that_overtakes_its_request_is_remembered),
        TEST(an_edge_that_is_gone_takes_its_requests_along),
        TEST(an_unreachable_worker_is_passed_over_and_tried_again),
        TEST(a_stream_whose_edge_is_gone_is_stopped_and_its_slot_goes_to_the_next),
        TEST(what_a_crowded_edge_does_not_get_ends_in_a_fail_once_it_has_room),
        TEST(a_fail_that_finds_no_room_until_the_deadline_is_given_up),
        TEST(a_refused_dispatch_goes_to_another_worker_without_a_wait),
        TEST(an_overdue_worker_is_cancelled_a_second_after_the_deadline),
        TEST(failures_open_the_targets_breaker_and_a_probe_closes_it),
        TEST(an_overdue_probe_gives_its_breaker_back),
        TEST(a_closing_broker_sends_edges_elsewhere),
        TEST(running_requests_survive_a_reload),
        TEST(every_request_ends_exactly_once_in_a_storm_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
