/* What is decided for every request: do the limits allow it, and where may it go. */
#include <stdio.h>
#include <string.h>

#include "bench/micro.h"
#include "services/auth/limits/limits.h"
#include "services/broker/router.h"

/* ---- limits ---- */

static struct limits limits;
static struct limit_set set;
static uint64_t now_ns = 1000 * GCRA_SECOND;

static void prepare_limits(void)
{
    static const struct gcra_rate requests = {600000, GCRA_MINUTE, 600000};
    static const struct gcra_rate tokens = {60000000, GCRA_MINUTE, 60000000};
    limits_init(&limits);
    MICRO_REQUIRE(limit_set_add(&set, limits_get(&limits, SPAN("key:k:requests/minute"),
                                                 "key_requests", LIMIT_REQUESTS, requests, 0)));
    MICRO_REQUIRE(limit_set_add(&set, limits_get(&limits, SPAN("key:k:tokens/minute"), "key_tokens",
                                                 LIMIT_TOKENS, tokens, 0)));
    MICRO_REQUIRE(limit_set_add(
        &set, limits_get(&limits, SPAN("model:gpt-4"), "model", LIMIT_REQUESTS, requests, 0)));
}

static void pass_limits(void)
{
    struct limit_refusal refusal;
    now_ns += 1000000;
    MICRO_REQUIRE(limit_set_check(&set, now_ns, 1, 500, &refusal));
    limit_set_charge(&limits, &set, now_ns, 1, 500);
    limit_set_refund(&limits, &set, 0, 200);
}

/* ---- routes ---- */

enum { MODELS = 50 };

static struct config *config;
static struct workers *workers;
static struct router *router;
static uint32_t chance;

static void prepare_router(void)
{
    static char yaml[16384];
    int n = snprintf(
        yaml, sizeof yaml,
        "providers: {openai: {api_keys: [a]}, anthropic: {api_keys: [b]}}\nmodels:\n"
        "  \"gpt-*\": {targets: [{provider: openai}]}\n"
        "  gpt-4: {targets: [{provider: openai, weight: 3}, {provider: anthropic, model: c}]}\n");
    for (int i = 0; i < MODELS; i++)
        n += snprintf(yaml + n, sizeof yaml - (size_t)n,
                      "  model-%d: {targets: [{provider: openai}]}\n", i);
    struct config_paths paths = {"/tmp", "/tmp"};
    struct buf errors = {0};
    MICRO_REQUIRE(config_read(span_of(yaml, (size_t)n), "micro", &paths, &config, &errors) == OK);
    MICRO_REQUIRE(workers_create(&workers) == OK);
    MICRO_REQUIRE(router_create(&router, config, workers, NULL, 0) == OK);
}

static void choose_target(void)
{
    static const struct route_state state = {.now_us = 1000, .since_us = 1000, .grace_us = 5000000};
    const struct model_route *exact = router_find(router, SPAN("gpt-4"));
    const struct model_route *wild = router_find(router, SPAN("gpt-4o-mini"));
    MICRO_REQUIRE(exact && wild && exact != wild);
    uint64_t eligible = route_eligible(exact, &state);
    MICRO_REQUIRE(route_choose(exact, eligible, false, chance += 0x9e3779b9u) >= 0);
}

const struct micro_stage micro_decision_stages[] = {
    {"limits", prepare_limits, pass_limits},
    {"router", prepare_router, choose_target},
    {0},
};
