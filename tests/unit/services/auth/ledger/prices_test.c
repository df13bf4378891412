#include "unit/services/auth/test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/log.h"
#include "services/auth/ledger/prices.h"

static void estimates_cost_what_the_configuration_or_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *model, *provider;
        uint64_t cost; /* of 10 tokens in and 2 out */
    } cases[] = {{"priced", "openai", 10 * 3000 + 2 * 7000},
                 {"gpt-4o-mini", "openai", 10 * 150 + 2 * 600},
                 {"gpt-4o-mini", "", 10 * 150 + 2 * 600},
                 {"alias", "anthropic", 10 * 250 + 2 * 1250},
                 {"gpt-4o-mini", "anthropic", 0}, /* not a target of it */
                 {"no-such-model", "openai", 0},
                 {"a/gpt-4o-mini", "openai", 10 * 150 + 2 * 600},
                 {"unpriced", "openai", 0}};
    struct config *config = test_config(
        "providers:\n  openai: { api_keys: [x] }\n  anthropic: { api_keys: [x] }\n"
        "models:\n"
        "  priced: { targets: [{provider: openai}], price: {input: 3, output: 7} }\n"
        "  \"gpt-*\": { targets: [{provider: openai}] }\n"
        "  alias: { targets: [{provider: anthropic, model: claude-3-haiku-20240307}] }\n"
        "  \"a/*\": { targets: [{provider: openai, model: \"*\"}] }\n"
        "  unpriced: { targets: [{provider: openai}] }\n");
    struct prices prices;
    assert_int_equal(setenv("TOLLGATE_SHARE", SOURCE_DIR "/share", 1), 0);
    prices_load(&prices);
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0];
         i++) { /* twice: found, then remembered */
        size_t k = i % (sizeof cases / sizeof cases[0]);
        assert_int_equal(prices_cost_nano(&prices, config, span_str(cases[k].model),
                                          span_str(cases[k].provider), 10, 2),
                         cases[k].cost);
        assert_int_equal(
            prices_know(&prices, config, span_str(cases[k].model), span_str(cases[k].provider)),
            cases[k].cost != 0);
    }
    assert_int_equal(
        prices_cost_nano(&prices, config, SPAN("priced"), SPAN("openai"), UINT64_MAX, 2),
        UINT64_MAX);
    prices_free(&prices);
    config_destroy(&config);
}

static void a_new_configuration_is_not_priced_by_the_old_one(void **state)
{
    (void)state;
    static const char *const texts[] = {"3", "5"};
    struct prices prices = {0};
    for (size_t i = 0; i < 2; i++) {
        char yaml[256];
        (void)snprintf(
            yaml, sizeof yaml,
            "providers:\n  openai: { api_keys: [x] }\n"
            "models:\n  m: { targets: [{provider: openai}], price: {input: %s, output: 1} }\n",
            texts[i]);
        struct config *config = test_config(yaml);
        assert_int_equal(prices_cost_nano(&prices, config, SPAN("m"), SPAN("openai"), 1, 0),
                         i ? 5000 : 3000);
        config_destroy(&config);
    }
}

static void without_a_table_the_configuration_still_holds(void **state)
{
    (void)state;
    struct config *config = test_config("providers:\n  openai: { api_keys: [x] }\n"
                                        "models:\n  m: { targets: [{provider: openai}] }\n");
    struct prices none = {0};
    assert_int_equal(prices_cost_nano(&none, config, SPAN("m"), SPAN("openai"), 10, 2), 0);
    config_destroy(&config);
}

static void a_missing_price_is_told_once_and_of_some_models_only(void **state)
{
    (void)state;
    struct prices prices = {0};
    int fds[2];
    char text[65536] = "";
    assert_int_equal(pipe(fds), 0);
    log_set_fd(fds[1]);
    for (unsigned i = 0; i < 2000; i++) { /* as many names as a client likes */
        char name[32];
        (void)snprintf(name, sizeof name, "made-up-%u", i % 1000);
        prices_tell_missing(&prices, SPAN("vllm"), span_str(name));
    }
    log_set_fd(2);
    (void)close(fds[1]);
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n < sizeof text - 1; n += (size_t)got)
        got = read(fds[0], text + n, sizeof text - 1 - n);
    (void)close(fds[0]);
    size_t lines = 0;
    for (const char *at = text; (at = strstr(at, "model_without_price")); at++)
        lines++;
    assert_int_equal(lines, PRICES_MISSING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_cost_what_the_configuration_or_the_table_says),
        cmocka_unit_test(a_new_configuration_is_not_priced_by_the_old_one),
        cmocka_unit_test(without_a_table_the_configuration_still_holds),
        cmocka_unit_test(a_missing_price_is_told_once_and_of_some_models_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
