#include "unit/services/broker/test_core.h"

static const char yaml[] =
    "providers:\n"
    "  openai: { api_keys: [a, b] }\n"
    "  anthropic: { api_keys: [c] }\n"
    "  replicate: { api_keys: [d] }\n"
    "models:\n"
    "  gpt-4:\n"
    "    targets: [{provider: openai, weight: 3}, {provider: anthropic, model: claude, weight: "
    "1}]\n"
    "    fallbacks: [llama]\n"
    "    context_fallbacks: [gpt-4o]\n"
    "    deadline: 90s\n"
    "  llama: { targets: [{provider: replicate, model: meta/llama}], timeout: 120s }\n"
    "  \"gpt-*\": { targets: [{provider: openai}] }\n"
    "  \"gpt-4o*\": { targets: [{provider: openai}], fallbacks: [gpt-4-mini] }\n";

struct fixture {
    struct config *config;
    struct workers *workers;
    struct router *router;
};

static int set_up(void **state)
{
    static struct fixture f;
    f.config = test_config(yaml);
    assert_int_equal(workers_create(&f.workers), OK);
    assert_int_equal(router_create(&f.router, f.config, f.workers, NULL, 0), OK);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    router_unref(&f->router);
    workers_destroy(&f->workers);
    config_destroy(&f->config);
    return 0;
}

static struct broker_worker *offer(struct fixture *f, const char *provider, uint32_t slots)
{
    struct broker_worker *w = workers_add(f->workers, world_peer(1), span_str(provider), SPAN("w"),
                                          SPAN("tcp://a:1"), 7, 0);
    workers_offer(w, slots, slots, SPAN_NONE, 0);
    return w;
}

static const struct route_state at_start = {.now_us = 1000, .since_us = 1000, .grace_us = 5000000};

static void exact_names_win_over_wildcards_and_long_ones_over_short(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *ask, *found;
    } cases[] = {{"gpt-4", "gpt-4"}, {"gpt-4-turbo", "gpt-*"}, {"gpt-4o-mini", "gpt-4o*"},
                 {"llama", "llama"}, {"claude", NULL},         {"", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct model_route *r = router_find(f->router, span_str(cases[i].ask));
        if (!cases[i].found)
            assert_null(r);
        else
            assert_string_equal(r->name, cases[i].found);
    }
}

static void choices_are_own_targets_then_those_of_fallbacks(void **state)
{
    struct fixture *f = *state;
    const struct model_route *r = router_find(f->router, SPAN("gpt-4"));
    assert_int_equal(r->candidate_count, 4);
    assert_int_equal(r->deadline_ms, 90000);
    assert_string_equal(r->candidates[0].target->pool->name, "openai");
    assert_int_equal(r->candidates[0].target->endpoints, 2);
    assert_false(r->candidates[0].target->paid);
    assert_string_equal(r->candidates[1].target->model, "claude");
    assert_int_equal(r->candidates[1].tier, 0);
    assert_int_equal(r->candidates[2].tier, 1);
    assert_string_equal(r->candidates[2].name, "llama");
    assert_int_equal(r->candidates[2].timeout_ms, 120000);
    assert_true(r->candidates[2].target->paid);
    /* A fallback shares its own route's target, and with it the breaker; by wildcard, it is asked
     * for by its name. */
    assert_ptr_equal(r->candidates[2].target, router_find(f->router, SPAN("llama"))->targets);
    r = router_find(f->router, SPAN("gpt-4o"));
    assert_string_equal(r->candidates[1].name, "gpt-4-mini");
    assert_string_equal(r->candidates[1].route, "gpt-*");
}

static void each_cause_has_fallbacks_of_its_own_or_the_general_ones(void **state)
{
    struct fixture *f = *state;
    const struct model_route *r = router_find(f->router, SPAN("gpt-4"));
    assert_string_equal(r->candidates[3].name, "gpt-4o");
    assert_int_equal(r->candidates[3].tier, 2);
    assert_int_equal(r->serves[ROUTE_FAILED], 7);
    assert_int_equal(r->serves[ROUTE_TOO_LONG], 8);
    assert_int_equal(r->serves[ROUTE_POLICY], 4);
    r = router_find(f->router, SPAN("llama"));
    assert_int_equal(r->serves[ROUTE_FAILED], 1);
    assert_int_equal(r->serves[ROUTE_TOO_LONG] | r->serves[ROUTE_POLICY], 0);
}

static void who_asked_to_be_left_alone_is_while_others_serve(void **state)
{
    struct fixture *f = *state;
    const struct model_route *r = router_find(f->router, SPAN("gpt-4"));
    struct route_state s = at_start;
    s.barred = ~r->serves[ROUTE_FAILED];
    offer(f, "openai", 1);
    offer(f, "anthropic", 1);
    offer(f, "replicate", 1);
    r->candidates[0].target->rest_until_us = s.now_us + 5000;
    assert_int_equal(route_eligible(r, &s), 2);
    r->candidates[1].target->rest_until_us = s.now_us + 9000;
    assert_int_equal(route_eligible(r, &s), 4);
    s.barred |= 4;
    assert_int_equal(route_eligible(r, &s), 3);
    s.barred &= ~(uint64_t)4;
    s.now_us += 5000;
    assert_int_equal(route_eligible(r, &s), 1);
}

static void weights_share_the_load(void **state)
{
    struct fixture *f = *state;
    const struct model_route *r = router_find(f->router, SPAN("gpt-4"));
    offer(f, "openai", 1);
    offer(f, "anthropic", 1);
    unsigned counts[3] = {0};
    for (uint32_t i = 0; i < 1000; i++)
        counts[route_choose(r, 3, true, i * 4294967u)]++;
    assert_in_range(counts[0], 745, 755);
    assert_in_range(counts[1], 245, 255);
    assert_int_equal(route_choose(r, 4, true, 0), -1);
    assert_int_equal(route_choose(r, 4, false, UINT32_MAX), 2);
    assert_int_equal(route_choose(r, 0, false, 0), -1);
}

static void a_target_without_a_free_slot_is_passed_over(void **state)
{
    struct fixture *f = *state;
    const struct model_route *r = router_find(f->router, SPAN("gpt-4"));
    struct broker_worker *w = offer(f, "openai", 1);
    offer(f, "anthropic", 1);
    workers_take(w, 1);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(route_choose(r, 3, true, i * 429496729u), 1);
}

static void fallbacks_come_when_nothing_else_is_left(void **state)
{
    struct fixture *f = *state;
    const struct model_route *r = router_find(f->router, SPAN("gpt-4"));
    struct route_state s = at_start;
    uint64_t others = s.barred = ~r->serves[ROUTE_FAILED];
    offer(f, "openai", 1);
    offer(f, "replicate", 1);
    /* No worker of anthropic yet, but it may come. */
    assert_int_equal(route_eligible(r, &s), 3);
    s.now_us = s.since_us + s.grace_us;
    assert_int_equal(route_eligible(r, &s), 1);
    s.tried = 1;
    assert_int_equal(route_eligible(r, &s), 4);
    s.tried = 7;
    assert_int_equal(route_eligible(r, &s), 1);
    s.barred = others | 1;
    assert_int_equal(route_eligible(r, &s), 4);
    s.barred = others | 5;
    assert_int_equal(route_eligible(r, &s), 0);
}

static void nobody_waits_for_a_worker_that_has_been_away_long(void **state)
{
    struct fixture *f = *state;
    const struct model_route *r = router_find(f->router, SPAN("llama"));
    struct route_state s = at_start;
    assert_int_equal(route_eligible(r, &s), 1);
    s.now_us = s.since_us = 60000000;
    assert_int_equal(route_eligible(r, &s), 0);
    struct broker_worker *w = offer(f, "replicate", 0);
    workers_offer(w, 0, 0, SPAN("no api key for replicate"), 60000000);
    s.now_us = s.since_us = 1000;
    assert_int_equal(route_eligible(r, &s), 0);
}

static void open_breakers_are_avoided_but_the_last_target_is_never_ejected(void **state)
{
    struct fixture *f = *state;
    const struct model_route *r = router_find(f->router, SPAN("gpt-4"));
    const struct breaker_rules rules = {1, 10000000, 20000000};
    struct route_state s = at_start;
    s.barred = ~r->serves[ROUTE_FAILED];
    offer(f, "openai", 1);
    offer(f, "anthropic", 1);
    breaker_failure(&r->candidates[0].target->breaker, &rules, false, s.now_us);
    assert_int_equal(route_eligible(r, &s), 2);
    breaker_failure(&r->candidates[1].target->breaker, &rules, false, s.now_us);
    assert_int_equal(route_eligible(r, &s), 4);
    breaker_failure(&r->candidates[2].target->breaker, &rules, false, s.now_us);
    assert_int_equal(route_eligible(r, &s), 3);
}

static void breakers_survive_a_reload_and_old_routes_do_too(void **state)
{
    struct fixture *f = *state;
    const struct model_route *old = router_find(f->router, SPAN("gpt-4"));
    const struct breaker_rules rules = {1, 10000000, 20000000};
    breaker_failure(&old->candidates[0].target->breaker, &rules, false, 1000);
    struct router *fresh;
    struct config *config = test_config(yaml);
    assert_int_equal(router_create(&fresh, config, f->workers, f->router, 2000), OK);
    router_ref(f->router);
    struct router *held = f->router;
    router_unref(&f->router);
    f->router = fresh;
    config_destroy(&f->config);
    f->config = config;
    const struct model_route *r = router_find(fresh, SPAN("gpt-4"));
    assert_false(breaker_allows(&r->candidates[0].target->breaker, 3000));
    assert_true(breaker_allows(&r->candidates[1].target->breaker, 3000));
    assert_string_equal(old->name, "gpt-4");
    router_unref(&held);
}

static void a_fingerprint_tells_whether_candidate_numbers_mean_the_same(void **state)
{
    struct fixture *f = *state;
    static const char *const others[] = {
        /* the same again; another order; one key more; another upstream name */
        yaml,
        "providers: { openai: { api_keys: [a, b] }, anthropic: { api_keys: [c] } }\n"
        "models:\n"
        "  gpt-4: { targets: [{provider: anthropic, model: claude}, {provider: openai}] }\n",
        "providers: { openai: { api_keys: [a, b, c] } }\n"
        "models: { gpt-4: { targets: [{provider: openai}] } }\n",
        "providers: { openai: { api_keys: [a, b] } }\n"
        "models: { gpt-4: { targets: [{provider: openai, model: x}] } }\n",
    };
    uint64_t seen[4];
    for (size_t i = 0; i < 4; i++) {
        struct router *r;
        struct config *config = test_config(others[i]);
        assert_int_equal(router_create(&r, config, f->workers, NULL, 0), OK);
        seen[i] = router_find(r, SPAN("gpt-4"))->fingerprint;
        for (size_t k = 0; k < i; k++)
            assert_true(seen[k] != seen[i]);
        router_unref(&r);
        config_destroy(&config);
    }
    assert_true(seen[0] == router_find(f->router, SPAN("gpt-4"))->fingerprint);
    assert_true(seen[0] != router_find(f->router, SPAN("gpt-4o"))->fingerprint);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(exact_names_win_over_wildcards_and_long_ones_over_short),
        TEST(choices_are_own_targets_then_those_of_fallbacks),
        TEST(each_cause_has_fallbacks_of_its_own_or_the_general_ones),
        TEST(who_asked_to_be_left_alone_is_while_others_serve),
        TEST(weights_share_the_load),
        TEST(a_target_without_a_free_slot_is_passed_over),
        TEST(fallbacks_come_when_nothing_else_is_left),
        TEST(nobody_waits_for_a_worker_that_has_been_away_long),
        TEST(open_breakers_are_avoided_but_the_last_target_is_never_ejected),
        TEST(a_fingerprint_tells_whether_candidate_numbers_mean_the_same),
        TEST(breakers_survive_a_reload_and_old_routes_do_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
