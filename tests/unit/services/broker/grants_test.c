/* Slots in the hands of edges: one attempt's and standing ones; what is counted, called back and
 * forgotten. */
#include "unit/services/broker/test_core.h"

#include "proto/error_class.h"
#include "services/broker/rules.h"

/* Peers by number. */
enum { EDGE = 1, EDGE2 = 2, W1 = 11, W2 = 12, W3 = 13 };

#define PROVIDERS                                                                                  \
    "providers: { openai: { api_keys: [a] }, anthropic: { api_keys: [c] } }\n"                     \
    "broker: { queue_size: 100, queue_timeout: 10s, worker_grace: 2s, breaker_failures: 3 }\n"
static const char yaml[] =
    PROVIDERS "models:\n"
              "  plain: { targets: [{provider: openai, model: gpt-real}], timeout: 7s }\n"
              "  second: { targets: [{provider: openai}] }\n"
              "  safe: { targets: [{provider: openai}], fallbacks: [other] }\n"
              "  other: { targets: [{provider: anthropic, model: claude}] }\n"
              "  both: { targets: [{provider: openai}, {provider: anthropic}] }\n";

static struct world world;
static struct broker_edge *edge, *edge2;

static int set_up(void **state)
{
    world_open(&world, yaml);
    *state = &world;
    edge = world_edge(&world, EDGE);
    edge2 = NULL;
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

static const struct sent *once(struct world *w, unsigned id, unsigned n)
{
    world_ask(w, edge, id, "k", "plain", 0);
    const struct sent *g = world_expect_grant(w, EDGE, id, n);
    assert_false(g->standing);
    assert_int_equal(g->slots, 1);
    return g;
}

static const struct sent *standing(struct world *w, unsigned id, uint32_t wanted, unsigned n)
{
    world_ask_wanted(w, edge, id, "plain", wanted);
    const struct sent *g = world_expect_grant(w, EDGE, id, n);
    assert_true(g->standing);
    return g;
}

static void say(struct world *w, const struct sent *g, struct grant_report r)
{
    r.number = g->number;
    world_report(w, edge, &r, 1);
}

static uint32_t taken(struct world *w)
{
    uint32_t n = 0;
    for (const struct pool *p = workers_first_pool(w->workers); p; p = p->next)
        n += p->in_flight;
    return n;
}

/* ---- tokens ---- */

static void a_token_is_signed_for_its_worker_by_the_workers_clock(void **state)
{
    struct world *w = *state;
    uint8_t key[GRANT_KEY_BYTES], wrong[GRANT_KEY_BYTES];
    world_worker(w, "openai", W1, 4);
    world_worker_key(W1, key);
    world_worker_key(W2, wrong);
    world_advance(w, 250);
    const struct sent *grants[] = {once(w, 1, W1), standing(w, 2, 1, W1)};
    for (unsigned i = 0; i < 2; i++) {
        const struct sent *g = grants[i];
        struct span token = span_of((const char *)g->token, sizeof g->token);
        uint64_t life_ms = i ? GRANT_LIFE_MS : GRANT_ONCE_MS;
        assert_true(grant_token_is_signed(token, key));
        assert_false(grant_token_is_signed(token, wrong));
        assert_int_equal(g->t.broker_epoch, WORLD_EPOCH);
        assert_int_equal(g->t.worker_epoch, 1000 + W1);
        assert_int_equal(g->t.edge_epoch, EDGE);
        assert_int_equal(g->t.number, g->number);
        assert_int_equal(g->t.expires_ms, W1 * 1000 + 250 + life_ms);
        assert_int_equal(g->valid_ms, life_ms - GRANT_MARGIN_MS);
        assert_int_equal(g->t.slots, g->slots);
        assert_int_equal(g->t.standing, i);
    }
    assert_true(grants[1]->number > grants[0]->number);
}

static void a_worker_without_a_key_is_given_nothing(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    struct slots m = {.offered = 5, .free = 5, .grant_key = SPAN("too short")};
    union message_body body = {.slots = m};
    core_step(w->core, &(struct core_event){.kind = EVENT_SLOTS, .worker = a, .body = &body},
              world_now(w));
    world_ask(w, edge, 1, "k", "plain", 0);
    world_expect_nothing(w);
    world_slots(w, a, 5, 0);
    world_expect_grant(w, EDGE, 1, W1);
}

/* ---- one attempt's ---- */

static void a_grant_takes_its_slot_until_its_end_is_reported(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    const struct sent *g = once(w, 1, W1);
    world_ask(w, edge, 2, "k", "plain", 0);
    say(w, g, (struct grant_report){.started = 1, .closed = true});
    assert_int_equal(taken(w), 1);
    world_advance(w, 5000); /* past its expiry: it runs */
    assert_int_equal(taken(w), 1);
    say(w, g, (struct grant_report){.started = 1, .committed = 1, .closed = true});
    world_expect_nothing(w);
    say(w, g, (struct grant_report){.started = 1, .committed = 1, .ok = 1, .closed = true});
    world_expect_grant(w, EDGE, 2, W1);
}

static void one_that_was_never_reported_is_free_again_after_its_expiry(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    const struct sent *g = once(w, 1, W1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_advance(w, GRANT_ONCE_MS + GRANT_GONE_MS - 1);
    world_expect_nothing(w);
    world_advance(w, 1);
    world_expect_grant(w, EDGE, 2, W1);
    /* What is said of it now is of nothing that is known. */
    say(w, g, (struct grant_report){.started = 1});
    assert_int_equal(core_stats(w->core).stale, 1);
    assert_int_equal(taken(w), 1);
}

static void one_that_runs_at_its_expiry_counts_until_its_end(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 1);
    const struct sent *g = once(w, 1, W1);
    say(w, g, (struct grant_report){.started = 1});
    world_ask(w, edge, 2, "k", "plain", 0);
    world_advance(w, GRANT_ONCE_MS + GRANT_GONE_MS);
    world_expect_nothing(w);
    say(w, g, (struct grant_report){.started = 1, .canceled = 1});
    world_expect_grant(w, EDGE, 2, W1);
}

/* ---- reports ---- */

static void reports_that_are_lost_doubled_or_late_do_no_harm(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 8);
    const struct sent *g = standing(w, 1, 8, W1);
    assert_int_equal(g->slots, 8);
    const struct grant_report reports[] = {
        {g->number, 2, 1, 0, 0, 0, false},
        {g->number, 5, 3, 2, 0, 0, false},
        {g->number, 8, 6, 3, 1, 1, true},
        {g->number, 8, 6, 5, 2, 1, true},
    };
    static const unsigned order[] = {0, 0, 2, 1, 2, 0, 2}; /* 1 comes late */
    for (unsigned i = 0; i < sizeof order / sizeof *order; i++)
        world_report(w, edge, &reports[order[i]], 1);
    assert_int_equal(taken(w), 3);
    const struct pool *pool = workers_first_pool(w->workers);
    for (; strcmp(pool->name, "openai") != 0; pool = pool->next)
        ;
    world_report(w, edge, &reports[3], 1);
    world_report(w, edge, &reports[3], 1);
    world_expect_idle(w);
    assert_int_equal(core_stats(w->core).stale, 1);
    assert_int_equal(pool->outcomes[OUTCOME_OK], 5);
    assert_int_equal(pool->outcomes[OUTCOME_FAILED], 2);
    assert_int_equal(pool->outcomes[OUTCOME_CANCELED], 1);
}

static void unknown_numbers_and_those_of_others_are_acknowledged_and_ignored(void **state)
{
    struct world *w = *state;
    edge2 = world_edge(w, EDGE2);
    world_worker(w, "openai", W1, 8);
    const struct sent *g = once(w, 1, W1);
    const struct grant_report reports[] = {
        {12345, 3, 3, 3, 0, 0, true}, /* of the broker's earlier life */
        {g->number, 1, 1, 1, 0, 0, true},
        {0, 0, 0, 0, 0, 0, true},
    };
    world_report(w, edge2, reports, 3);
    assert_int_equal(core_stats(w->core).stale, 3);
    assert_int_equal(taken(w), 1);
    world_report(w, edge, reports, 3); /* the others of one report count */
    assert_int_equal(core_stats(w->core).stale, 5);
    world_expect_idle(w);
    world_report(w, edge, NULL, 0);
    assert_int_equal(w->reported, 3);
}

static void what_contradicts_itself_is_passed_over(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 8);
    const struct sent *g = once(w, 1, W1), *h = once(w, 2, W1);
    const struct grant_report reports[] = {
        {g->number, 1, 0, 2, 0, 0, true},                   /* more ended than started */
        {g->number, 0, 1, 0, 0, 0, true},                   /* an answer of none */
        {g->number, 1, 0, UINT64_MAX, UINT64_MAX, 0, true}, /* … and with it a sum that wraps */
        {h->number, 1, 1, 1, 0, 0, true},
    };
    world_report(w, edge, reports, 4);
    assert_int_equal(taken(w), 1);
    assert_int_equal(core_stats(w->core).grants, 1);
}

static void reports_that_contradict_each_other_take_no_more_than_there_is(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 8);
    const struct sent *g = standing(w, 1, 5, W1);
    const struct grant_report reports[] = {
        {g->number, 5, 5, 5, 0, 0, false},
        {g->number, 5, 0, 0, 5, 0, false},
        {g->number, 5, 0, 0, 0, 5, true},
        {g->number, UINT64_MAX, 0, 0, 0, 0, true},
    };
    for (unsigned i = 0; i < 4; i++) {
        world_report(w, edge, &reports[i], 1);
        assert_true(a->in_flight <= 1 << 20 && a->in_flight == a->pool->in_flight);
    }
}

static void half_an_entry_at_the_end_is_nothing(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 8);
    const struct sent *g = once(w, 1, W1);
    uint8_t bytes[2 * GRANT_REPORT_BYTES];
    const struct grant_report r = {g->number, 1, 1, 1, 0, 0, true};
    grant_report_write(&r, bytes);
    for (size_t n = 0; n < GRANT_REPORT_BYTES; n++) {
        union message_body body = {.report = {.entries = span_of((const char *)bytes, n)}};
        struct core_event event = {.kind = EVENT_REPORT, .edge = edge, .body = &body};
        core_step(w->core, &event, world_now(w));
    }
    assert_int_equal(taken(w), 1);
}

/* ---- standing ones ---- */

static void an_ask_that_wants_more_gets_a_standing_grant(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 10);
    const struct sent *g = standing(w, 1, 4, W1);
    assert_int_equal(g->slots, 4);
    assert_int_equal(taken(w), 4);
    assert_string_equal(g->model, "plain");
    assert_string_equal(g->target_model, "gpt-real");
    assert_string_equal(g->address, "tcp://10.0.0.11:4000");
    assert_int_equal(g->timeout_ms, 7000);
    /* What it has the edge asks for no more; if it does, it needs more. */
    g = standing(w, 2, 4, W1);
    assert_int_equal(g->slots, 5);
    g = standing(w, 3, 9, W1);
    assert_int_equal(g->slots, 9);
    assert_int_equal(core_stats(w->core).grants, 1);
    assert_int_equal(taken(w), 9);
}

static void only_a_choice_that_depends_on_nothing_may_stand(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 50);
    world_worker(w, "anthropic", W2, 50);
    w->chance = 0;
    const struct {
        struct ask m;
        unsigned attempt;
        bool stands;
    } cases[] = {
        {{.model = SPAN("plain"), .wanted = 3}, 1, true},
        {{.model = SPAN("safe"), .wanted = 3}, 1, true}, /* a fallback is another tier */
        {{.model = SPAN("both"), .wanted = 3}, 1, false},
        {{.model = SPAN("plain"), .wanted = 0}, 1, false},
        {{.model = SPAN("plain"), .wanted = 3}, 2, false},
        {{.model = SPAN("plain"), .wanted = 3, .busy = 1, .free = 1}, 1, false},
        {{.model = SPAN("plain"), .wanted = 3, .response_id = SPAN("r")}, 1, false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        world_ask_as(w, edge, i + 1, cases[i].attempt, &cases[i].m, 0);
        assert_int_equal(world_expect_grant(w, EDGE, i + 1, W1)->standing, cases[i].stands);
    }
}

static void an_edge_gets_its_share_of_a_pool_and_no_more(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 8);
    edge2 = world_edge(w, EDGE2);
    assert_int_equal(standing(w, 1, 100, W1)->slots, 4);
    /* Over all its models. */
    world_ask_wanted(w, edge, 2, "second", 100);
    assert_false(world_expect_grant(w, EDGE, 2, W1)->standing);
    world_ask_wanted(w, edge2, 3, "plain", 3);
    assert_int_equal(world_expect_grant(w, EDGE2, 3, W1)->slots, 3);
    assert_int_equal(taken(w), 8);
    world_ask_wanted(w, edge2, 4, "plain", 3);
    world_expect_revoke(w, EDGE, 1); /* nothing is free: it queues */
    world_expect_revoke(w, EDGE2, 3);
}

static void a_share_is_one_at_least(void **state)
{
    struct world *w = *state;
    struct broker_edge *more[4];
    world_worker(w, "openai", W1, 2);
    for (unsigned i = 0; i < 4; i++)
        more[i] = world_edge(w, 20 + i);
    assert_int_equal(standing(w, 1, 9, W1)->slots, 1);
    for (unsigned i = 0; i < 4; i++)
        world_edge_down(w, &more[i]);
}

static void a_renewal_keeps_the_numbers_and_goes_on(void **state)
{
    struct world *w = *state;
    uint8_t key[GRANT_KEY_BYTES];
    world_worker(w, "openai", W1, 10);
    world_worker_key(W1, key);
    const struct sent *g = standing(w, 1, 3, W1);
    for (unsigned i = 1; i <= 10; i++) {
        world_advance(w, 500);
        world_renew(w, edge, "plain", 3 + i % 2);
        const struct sent *again = world_expect_grant(w, EDGE, 0, W1);
        assert_true(again->standing);
        assert_int_equal(again->h.attempt, 0);
        assert_int_equal(again->number, g->number);
        assert_int_equal(again->slots, 3 + i % 2);
        assert_int_equal(again->t.slots, 3 + i % 2);
        assert_int_equal(again->t.expires_ms, g->t.expires_ms + 500 * i);
        assert_true(
            grant_token_is_signed(span_of((const char *)again->token, GRANT_TOKEN_BYTES), key));
        assert_int_equal(taken(w), 3 + i % 2);
    }
    assert_int_equal(core_stats(w->core).grants, 1);
}

static void a_renewal_spreads_over_all_workers(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 10);
    const struct sent *g = standing(w, 1, 4, W1);
    world_worker(w, "openai", W2, 10);
    struct broker_worker *full = world_worker(w, "openai", W3, 10);
    world_slots(w, full, 0, 0);
    world_renew(w, edge, "plain", 5);
    uint32_t slots[2] = {0};
    for (unsigned i = 0; i < 2; i++) {
        const struct sent *s = world_expect(w, MESSAGE_GRANT, EDGE, 0);
        assert_true(s->worker_epoch == 1000 + W1 || s->worker_epoch == 1000 + W2);
        bool first = s->worker_epoch == 1000 + W1;
        assert_int_equal(first, s->number == g->number);
        slots[!first] = s->slots;
    }
    world_expect_nothing(w);
    assert_true(slots[0] >= 1 && slots[1] >= 1);
    assert_int_equal(taken(w), slots[0] + slots[1]);
}

static void load_of_one_still_reaches_every_worker(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 10);
    standing(w, 1, 1, W1);
    world_worker(w, "openai", W2, 10);
    world_worker(w, "openai", W3, 10);
    world_renew(w, edge, "plain", 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_expect(w, MESSAGE_GRANT, EDGE, 0)->slots, 1);
    world_expect_nothing(w);
    assert_int_equal(taken(w), 3);
}

static void a_renewal_brings_what_is_over_the_share_back(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 8);
    assert_int_equal(standing(w, 1, 8, W1)->slots, 8);
    edge2 = world_edge(w, EDGE2);
    world_renew(w, edge, "plain", 8);
    assert_int_equal(world_expect_grant(w, EDGE, 0, W1)->slots, 4);
    assert_int_equal(taken(w), 4);
    world_ask_wanted(w, edge2, 2, "plain", 8);
    assert_int_equal(world_expect_grant(w, EDGE2, 2, W1)->slots, 4);
}

static void a_renewal_below_what_runs_still_counts_what_runs(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 8);
    const struct sent *g = standing(w, 1, 8, W1);
    say(w, g, (struct grant_report){.started = 8});
    edge2 = world_edge(w, EDGE2);
    world_renew(w, edge, "plain", 8);
    assert_int_equal(world_expect_grant(w, EDGE, 0, W1)->slots, 4);
    assert_int_equal(a->in_flight, 8);
    say(w, g, (struct grant_report){.started = 8, .ok = 2});
    assert_int_equal(a->in_flight, 6);
    say(w, g, (struct grant_report){.started = 8, .ok = 6});
    assert_int_equal(a->in_flight, 4);
}

static void what_is_not_standing_is_not_renewed(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 10);
    once(w, 1, W1);
    world_renew(w, edge, "plain", 3);    /* it has none */
    world_renew(w, edge, "nonsense", 3); /* no such model */
    world_renew(w, edge, "", 3);
    world_expect_nothing(w);
    standing(w, 2, 3, W1);
    world_renew(w, edge, "plain", 0); /* it wants none */
    world_expect_nothing(w);
    core_close(w->core, world_now(w));
    world_renew(w, edge, "plain", 3); /* the broker drains */
    world_expect_nothing(w);
}

static void one_that_is_not_renewed_is_over_a_while_after_its_expiry(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 10);
    const struct sent *g = standing(w, 1, 3, W1);
    world_advance(w, GRANT_LIFE_MS + GRANT_GONE_MS - 1);
    assert_int_equal(taken(w), 3);
    world_advance(w, 1);
    assert_int_equal(taken(w), 0);
    world_renew(w, edge, "plain", 3);
    world_expect_nothing(w);
    assert_true(standing(w, 2, 3, W1)->number > g->number);
}

static void one_that_runs_beyond_its_expiry_counts_what_runs(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 10);
    const struct sent *g = standing(w, 1, 5, W1);
    say(w, g, (struct grant_report){.started = 7, .committed = 6, .ok = 5});
    assert_int_equal(taken(w), 5);
    world_advance(w, GRANT_LIFE_MS + GRANT_GONE_MS);
    assert_int_equal(taken(w), 2);
    say(w, g, (struct grant_report){.started = 7, .committed = 6, .ok = 6, .failed = 1});
    world_expect_idle(w);
}

/* ---- called back ---- */

static void an_ask_that_queues_calls_standing_grants_back(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 4);
    world_worker(w, "anthropic", W2, 4);
    const struct sent *g = standing(w, 1, 4, W1);
    world_ask_wanted(w, edge, 2, "other", 2);
    world_expect_grant(w, EDGE, 2, W2);
    say(w, g, (struct grant_report){.started = 1, .committed = 1});
    edge2 = world_edge(w, EDGE2);
    world_ask(w, edge2, 3, "k", "plain", 0);
    world_expect_revoke(w, EDGE, g->number); /* of this pool alone */
    world_ask(w, edge2, 4, "k", "plain", 0);
    world_expect_nothing(w); /* once */
    assert_int_equal(taken(w), 6);
    world_renew(w, edge, "plain", 4); /* nor is it renewed */
    world_expect_nothing(w);
    say(w, g, (struct grant_report){.started = 1, .committed = 1, .closed = true});
    world_expect_grant(w, EDGE2, 3, W1);
    world_expect_grant(w, EDGE2, 4, W1);
    assert_int_equal(taken(w), 5);
    say(w, g, (struct grant_report){.started = 1, .committed = 1, .ok = 1, .closed = true});
    assert_int_equal(taken(w), 4);
}

static void nothing_stands_while_somebody_queues(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    const struct sent *g = once(w, 1, W1);
    for (unsigned i = 2; i <= 4; i++)
        world_ask_wanted(w, edge, i, "plain", 5);
    world_expect_nothing(w);
    world_slots(w, a, 3, 0);
    assert_false(world_expect_grant(w, EDGE, 2, W1)->standing);
    assert_false(world_expect_grant(w, EDGE, 3, W1)->standing);
    world_expect_nothing(w);
    world_done(w, edge, g);
    world_expect_grant(w, EDGE, 4, W1);
}

static void a_revoked_grant_that_nobody_closes_is_free_after_its_expiry(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 2);
    const struct sent *g = standing(w, 1, 2, W1);
    world_ask(w, edge, 2, "k", "second", 0);
    world_expect_revoke(w, EDGE, g->number);
    world_advance(w, GRANT_LIFE_MS + GRANT_GONE_MS);
    world_expect_grant(w, EDGE, 2, W1);
}

static void withdrawn_slots_call_back_what_stands_at_that_worker(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 4), *b;
    const struct sent *g = standing(w, 1, 3, W1);
    b = world_worker(w, "openai", W2, 4);
    world_renew(w, edge, "plain", 4);
    const struct sent *h = world_next(w);
    h = h->number == g->number ? world_next(w) : h;
    assert_int_equal(h->worker_epoch, 1000 + W2);
    w->read = w->sent_count;
    world_slots(w, a, 3, 0); /* enough for what is out */
    world_expect_nothing(w);
    world_slots_why(w, a, "draining");
    world_expect_revoke(w, EDGE, g->number);
    world_expect_nothing(w);
    assert_true(a->in_flight > 0); /* it counts until it is closed */
    say(w, g, (struct grant_report){.closed = true});
    assert_int_equal(a->in_flight, 0);
    assert_true(b->in_flight > 0);
}

static void an_offer_below_what_is_out_calls_back_what_stands(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 4);
    const struct sent *g = standing(w, 1, 3, W1);
    say(w, g, (struct grant_report){.started = 2});
    world_slots(w, a, 2, 2);
    world_expect_revoke(w, EDGE, g->number);
    world_ask(w, edge, 2, "k", "plain", 0);
    say(w, g, (struct grant_report){.started = 2, .closed = true});
    world_expect_nothing(w);
    say(w, g, (struct grant_report){.started = 2, .ok = 1, .closed = true});
    world_expect_grant(w, EDGE, 2, W1);
}

static void an_opening_breaker_calls_back_what_stands(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 20);
    world_worker(w, "anthropic", W2, 20);
    world_ask_wanted(w, edge, 1, "safe", 5);
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    assert_true(g->standing);
    for (unsigned i = 1; i <= 3; i++) {
        struct ask m = {.model = SPAN("safe"),
                        .key_id = SPAN("k"),
                        .trail = span_of((const char *)g->trail, TRAIL_BYTES),
                        .failed_class = ERROR_UPSTREAM_ERROR,
                        .failed_final = true};
        say(w, g, (struct grant_report){.started = i, .failed = i});
        world_ask_as(w, edge, i, 2, &m, 0);
        if (i == 3)
            world_expect_revoke(w, EDGE, g->number);
        world_expect_decline(w, EDGE, i, ERROR_NONE);
    }
    world_renew(w, edge, "safe", 5);
    world_expect_nothing(w);
    world_ask_wanted(w, edge, 9, "safe", 5);
    assert_false(world_expect_grant(w, EDGE, 9, W2)->standing);
}

static void a_success_under_a_standing_grant_feeds_the_breaker(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 20);
    const struct sent *g = standing(w, 1, 5, W1);
    for (unsigned i = 1; i <= 9; i++) {
        struct ask m = {.model = SPAN("plain"),
                        .key_id = SPAN("k"),
                        .trail = span_of((const char *)g->trail, TRAIL_BYTES),
                        .failed_class = ERROR_UPSTREAM_ERROR,
                        .failed_final = true};
        world_ask_as(w, edge, i, 2, &m, 0);
        world_expect_decline(w, EDGE, i, ERROR_NONE); /* no REVOKE: never three in a row */
        if (i % 2 == 0)
            say(w, g, (struct grant_report){.started = i, .committed = i, .ok = i});
    }
}

static void a_reload_calls_all_back_and_new_ones_are_of_the_new_configuration(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 20);
    world_worker(w, "anthropic", W2, 20);
    const struct sent *g = standing(w, 1, 5, W1);
    world_ask_wanted(w, edge, 2, "other", 5);
    const struct sent *h = world_expect_grant(w, EDGE, 2, W2);
    world_reload(w, PROVIDERS "models: { plain: { targets: [{provider: openai, model: new}] } }\n");
    uint64_t first = world_next(w)->number, second = world_next(w)->number;
    assert_true(first + second == g->number + h->number && first != second);
    world_expect_nothing(w);
    world_renew(w, edge, "plain", 5);
    world_expect_nothing(w);
    const struct sent *fresh = standing(w, 3, 5, W1);
    assert_string_equal(fresh->target_model, "new");
    assert_true(fresh->number > h->number);
}

static void what_queued_before_a_reload_gets_nothing_standing_after_it(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    world_ask_wanted(w, edge, 1, "plain", 5);
    world_expect_nothing(w);
    world_reload(w, PROVIDERS "models: { plain: { targets: [{provider: openai, model: new}] } }\n");
    world_slots(w, a, 20, 0);
    const struct sent *old = world_expect_grant(w, EDGE, 1, W1);
    assert_string_equal(old->target_model, "gpt-real");
    assert_false(old->standing);
    assert_string_equal(standing(w, 2, 5, W1)->target_model, "new");
}

/* ---- who goes ---- */

static void a_worker_that_is_gone_takes_its_slots_along(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 4);
    const struct sent *g = once(w, 1, W1), *h = standing(w, 2, 2, W1);
    say(w, h, (struct grant_report){.started = 2, .committed = 2});
    world_worker_down(w, &a);
    uint64_t first = world_next(w)->number, second = world_next(w)->number;
    assert_true(first + second == g->number + h->number && first != second);
    assert_int_equal(taken(w), 0);
    assert_int_equal(core_stats(w->core).grants, 2);
    /* Its edge reports what became of them; nothing is freed twice. */
    world_worker(w, "openai", W2, 4);
    world_return(w, edge, g);
    say(w, h, (struct grant_report){.started = 2, .committed = 2, .failed = 2, .closed = true});
    world_expect_idle(w);
}

static void an_edge_that_is_gone_gives_everything_back(void **state)
{
    struct world *w = *state;
    world_worker(w, "openai", W1, 3);
    const struct sent *g = standing(w, 1, 2, W1);
    once(w, 2, W1);
    say(w, g, (struct grant_report){.started = 2});
    edge2 = world_edge(w, EDGE2);
    world_ask(w, edge2, 3, "k", "plain", 0);
    world_expect_revoke(w, EDGE, g->number);
    world_edge_down(w, &edge);
    world_expect_grant(w, EDGE2, 3, W1);
    assert_int_equal(taken(w), 1);
    /* It comes back on another link: its numbers are of its earlier life. */
    edge = world_edge(w, EDGE);
    say(w, g, (struct grant_report){.started = 2, .ok = 1});
    assert_int_equal(core_stats(w->core).stale, 1);
    assert_int_equal(taken(w), 1);
}

static void what_runs_at_a_worker_under_no_known_grant_takes_slots_too(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 0);
    world_slots(w, a, 4, 3); /* after a link was lost */
    once(w, 1, W1);
    world_ask(w, edge, 2, "k", "plain", 0);
    world_expect_nothing(w);
    world_slots(w, a, 4, 2);
    world_expect_grant(w, EDGE, 2, W1);
}

static void a_restarted_worker_is_another_one(void **state)
{
    struct world *w = *state;
    struct broker_worker *a = world_worker(w, "openai", W1, 1);
    const struct sent *g = once(w, 1, W1);
    world_worker_down(w, &a);
    world_expect_revoke(w, EDGE, g->number);
    a = world_worker(w, "openai", W1, 1);
    const struct sent *h = once(w, 2, W1);
    world_done(w, edge, g);
    assert_int_equal(a->in_flight, 1);
    world_done(w, edge, h);
    world_expect_idle(w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_signed_for_its_worker_by_the_workers_clock),
        TEST(a_worker_without_a_key_is_given_nothing),
        TEST(a_grant_takes_its_slot_until_its_end_is_reported),
        TEST(one_that_was_never_reported_is_free_again_after_its_expiry),
        TEST(one_that_runs_at_its_expiry_counts_until_its_end),
        TEST(reports_that_are_lost_doubled_or_late_do_no_harm),
        TEST(unknown_numbers_and_those_of_others_are_acknowledged_and_ignored),
        TEST(what_contradicts_itself_is_passed_over),
        TEST(reports_that_contradict_each_other_take_no_more_than_there_is),
        TEST(half_an_entry_at_the_end_is_nothing),
        TEST(an_ask_that_wants_more_gets_a_standing_grant),
        TEST(only_a_choice_that_depends_on_nothing_may_stand),
        TEST(an_edge_gets_its_share_of_a_pool_and_no_more),
        TEST(a_share_is_one_at_least),
        TEST(a_renewal_keeps_the_numbers_and_goes_on),
        TEST(a_renewal_spreads_over_all_workers),
        TEST(load_of_one_still_reaches_every_worker),
        TEST(a_renewal_brings_what_is_over_the_share_back),
        TEST(a_renewal_below_what_runs_still_counts_what_runs),
        TEST(what_is_not_standing_is_not_renewed),
        TEST(one_that_is_not_renewed_is_over_a_while_after_its_expiry),
        TEST(one_that_runs_beyond_its_expiry_counts_what_runs),
        TEST(an_ask_that_queues_calls_standing_grants_back),
        TEST(nothing_stands_while_somebody_queues),
        TEST(a_revoked_grant_that_nobody_closes_is_free_after_its_expiry),
        TEST(withdrawn_slots_call_back_what_stands_at_that_worker),
        TEST(an_offer_below_what_is_out_calls_back_what_stands),
        TEST(an_opening_breaker_calls_back_what_stands),
        TEST(a_success_under_a_standing_grant_feeds_the_breaker),
        TEST(a_reload_calls_all_back_and_new_ones_are_of_the_new_configuration),
        TEST(what_queued_before_a_reload_gets_nothing_standing_after_it),
        TEST(a_worker_that_is_gone_takes_its_slots_along),
        TEST(an_edge_that_is_gone_gives_everything_back),
        TEST(what_runs_at_a_worker_under_no_known_grant_takes_slots_too),
        TEST(a_restarted_worker_is_another_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
