#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/tariff.h"

static bool read(const char *text, struct tariff *out)
{
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, span_str(text), JSON_DEPTH_CLIENT), OK);
    bool ok = tariff_read(json_root(&doc), out);
    json_doc_free(&doc);
    return ok;
}

static void what_is_not_given_follows_from_what_is(void **state)
{
    (void)state;
    static const struct {
        const char *price;
        enum service_tier tier;
        bool is_long;
        uint64_t pico[TARIFF_RATES]; /* input, output, cached, written, for an hour */
    } cases[] = {
        {"{\"input\":3,\"output\":15}",
         TIER_STANDARD,
         false,
         {3000000, 15000000, 3000000, 3000000, 3000000}},
        {"{\"input\":3,\"output\":15,\"cached\":0.3,\"cache_write\":3.75}",
         TIER_STANDARD,
         false,
         {3000000, 15000000, 300000, 3750000, 6000000}},
        {"{\"input\":3,\"output\":15,\"cached_input\":0.3,\"cache_write\":3.75,"
         "\"cache_write_1h\":7}",
         TIER_STANDARD,
         false,
         {3000000, 15000000, 300000, 3750000, 7000000}},
        {"{\"input\":0.0028,\"output\":0}", TIER_STANDARD, false, {2800, 0, 2800, 2800, 2800}},
        {"{\"input\":2,\"output\":10,\"cached\":0.5,\"long\":{\"over\":9,\"input\":4}}",
         TIER_STANDARD,
         true,
         {4000000, 20000000, 1000000, 4000000, 4000000}},
        {"{\"input\":2,\"output\":10,\"cached\":0.5,\"flex\":{\"input\":1,\"output\":6}}",
         TIER_FLEX,
         false,
         {1000000, 6000000, 250000, 1000000, 1000000}},
        {"{\"input\":2,\"output\":10,\"long\":{\"over\":9,\"input\":4,\"output\":15},"
         "\"priority\":{\"input\":4}}",
         TIER_PRIORITY,
         true,
         {8000000, 30000000, 8000000, 8000000, 8000000}},
        {"{\"input\":0,\"output\":0,\"batch\":{\"input\":5,\"output\":7}}",
         TIER_BATCH,
         false,
         {5000000, 7000000, 0, 0, 0}},
        {"{\"input\":2,\"output\":10,\"flex\":{\"input\":1}}",
         TIER_BATCH,
         false,
         {2000000, 10000000, 2000000, 2000000, 2000000}}, /* has no price: the standard one */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tariff t;
        assert_true(read(cases[i].price, &t));
        const struct tariff_tier *tier = tariff_tier(&t, cases[i].tier);
        const struct tariff_rates *r = cases[i].is_long ? &tier->long_rates : &tier->rates;
        for (size_t k = 0; k < TARIFF_RATES; k++) {
            if (r->pico[k] != cases[i].pico[k])
                fail_msg("case %zu, rate %zu: %llu", i, k, (unsigned long long)r->pico[k]);
        }
    }
}

static void what_is_no_price_is_refused(void **state)
{
    (void)state;
    static const char *const prices[] = {
        "{}",
        "7",
        "null",
        "[1]",
        "{\"input\":1}",
        "{\"output\":1}",
        "{\"input\":-1,\"output\":1}",
        "{\"input\":\"1\",\"output\":1}",
        "{\"input\":1e9,\"output\":1}",
        "{\"input\":1,\"output\":1,\"colour\":1}",
        "{\"input\":1,\"output\":1,\"\":{}}",
        "{\"input\":1,\"output\":1,\"long\":{}}",
        "{\"input\":1,\"output\":1,\"long\":{\"over\":5}}",
        "{\"input\":1,\"output\":1,\"long\":{\"over\":0,\"input\":2}}",
        "{\"input\":1,\"output\":1,\"flex\":{\"output\":2}}",
        "{\"input\":1,\"output\":1,\"flex\":{\"input\":2,\"web_search\":1}}",
        "{\"input\":1,\"output\":1,\"web_search\":-1}"};
    for (size_t i = 0; i < sizeof prices / sizeof *prices; i++) {
        struct tariff t;
        if (read(prices[i], &t))
            fail_msg("%s", prices[i]);
    }
}

static const char price[] =
    "{\"input\":3,\"output\":15,\"cached\":0.3,\"cache_write\":3.75,\"cache_write_1h\":6,"
    "\"long\":{\"over\":200000,\"input\":6,\"output\":22.5,\"cached\":0.6,\"cache_write\":7.5},"
    "\"batch\":{\"input\":1.5,\"output\":7.5},\"web_search\":10,\"file_search\":2.5,"
    "\"request\":25}";

static void answers_cost_what_they_used(void **state)
{
    (void)state;
    static const struct {
        struct tariff_use use;
        uint64_t nano;
    } cases[] = {
        {{.input = 1000, .output = 100}, 3000000 + 1500000},
        {{.input = 1000, .cached = 400, .cache_write = 500, .cache_write_1h = 200, .output = 1},
         100 * 3000 + 400 * 300 + 300 * 3750 + 200 * 6000 + 15000},
        {{.input = 100000, .cache_write = 100000, .cache_write_1h = 100000}, 600000000},
        /* numbers of an upstream that contradict each other */
        {{.input = 10, .cached = 50, .cache_write = 7, .cache_write_1h = 9}, 10 * 300},
        {{.input = 10, .cache_write = 4, .cache_write_1h = 9}, 6 * 3000 + 4 * 6000},
        {{.input = 200000, .output = 1}, 200000ULL * 3000 + 15000},
        {{.input = 200001, .cached = 1, .cache_write = 2, .cache_write_1h = 1, .output = 1},
         199998ULL * 6000 + 600 + 7500 + 12000 + 22500},
        {{.input = 1000, .output = 100, .tier = TIER_BATCH}, 1500000 + 750000},
        {{.input = 200001, .tier = TIER_BATCH}, 200001ULL * 3000},
        {{.input = 1000, .tier = TIER_FLEX}, 3000000},
        {{.input = 1000, .tier = (enum service_tier)77}, 3000000},
        {{.calls = {[FEE_WEB_SEARCH] = 2, [FEE_FILE_SEARCH] = 1, [FEE_REQUEST] = 1}},
         20000000 + 2500000 + 25000000},
        {{.calls = {[FEE_CODE_INTERPRETER] = 5}}, 0},
        {{.input = UINT64_MAX, .output = 1}, UINT64_MAX},
        {{.input = 1, .calls = {[FEE_WEB_SEARCH] = UINT64_MAX}}, UINT64_MAX},
    };
    struct tariff t;
    assert_true(read(price, &t));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t nano = tariff_cost_nano(&t, &cases[i].use);
        if (nano != cases[i].nano)
            fail_msg("case %zu: %llu", i, (unsigned long long)nano);
    }
}

static void a_rate_below_a_nano_dollar_is_not_rounded_away(void **state)
{
    (void)state;
    struct tariff t;
    assert_true(read("{\"input\":0.0004,\"output\":0.0015}", &t));
    assert_int_equal(tariff_cost_nano(&t, &(struct tariff_use){.input = 1000}), 400);
    assert_int_equal(tariff_cost_nano(&t, &(struct tariff_use){.output = 1}), 2);
    assert_int_equal(tariff_cost_nano(&t, &(struct tariff_use){.input = 1}), 0);
}

static void tiers_have_words(void **state)
{
    (void)state;
    for (unsigned i = TIER_STANDARD + 1; i < SERVICE_TIERS; i++)
        assert_int_equal(service_tier_of(span_str(service_tier_word((enum service_tier)i))), i);
    static const char *const plain[] = {"", "default", "standard", "auto", "on_demand", "FLEX"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        assert_int_equal(service_tier_of(span_str(plain[i])), TIER_STANDARD);
    assert_string_equal(service_tier_word(TIER_STANDARD), "");
    assert_string_equal(service_tier_word((enum service_tier)77), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_given_follows_from_what_is),
        cmocka_unit_test(what_is_no_price_is_refused),
        cmocka_unit_test(answers_cost_what_they_used),
        cmocka_unit_test(a_rate_below_a_nano_dollar_is_not_rounded_away),
        cmocka_unit_test(tiers_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
