#include "unit/services/auth/test_support.h"

#include <stdio.h>
#include <stdlib.h>

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
                 {"unpriced", "openai", 0}};
    struct config *config = test_config(
        "providers:\n  openai: { api_keys: [x] }\n  anthropic: { api_keys: [x] }\n"
        "models:\n"
        "  priced: { targets: [{provider: openai}], price: {input: 3, output: 7} }\n"
        "  \"gpt-*\": { targets: [{provider: openai}] }\n"
        "  alias: { targets: [{provider: anthropic, model: claude-3-haiku-20240307}] }\n"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_cost_what_the_configuration_or_the_table_says),
        cmocka_unit_test(a_new_configuration_is_not_priced_by_the_old_one),
        cmocka_unit_test(without_a_table_the_configuration_still_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
