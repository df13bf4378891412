#include "common/base/tariff.h"

#include <math.h>

/* US dollars per million tokens (or thousand calls). */
static const double most_dollars = 1e6;
static const double micro = 1e6;

static const char *const rate_names[TARIFF_RATES] = {[RATE_INPUT] = "input",
                                                     [RATE_OUTPUT] = "output",
                                                     [RATE_CACHED] = "cached_input",
                                                     [RATE_CACHE_WRITE] = "cache_write",
                                                     [RATE_CACHE_WRITE_1H] = "cache_write_1h"};

static const char *const fee_names[TARIFF_FEES] = {[FEE_WEB_SEARCH] = "web_search",
                                                   [FEE_FILE_SEARCH] = "file_search",
                                                   [FEE_CODE_INTERPRETER] = "code_interpreter",
                                                   [FEE_REQUEST] = "request"};

static const char *const tier_words[SERVICE_TIERS] = {[TIER_STANDARD] = "",
                                                      [TIER_FLEX] = "flex",
                                                      [TIER_PRIORITY] = "priority",
                                                      [TIER_BATCH] = "batch",
                                                      [TIER_FAST] = "fast"};

enum service_tier service_tier_of(struct span word)
{
    for (unsigned i = TIER_STANDARD + 1; i < SERVICE_TIERS; i++) {
        if (span_is(word, tier_words[i]))
            return (enum service_tier)i;
    }
    return TIER_STANDARD;
}

const char *service_tier_word(enum service_tier tier)
{
    return (unsigned)tier < SERVICE_TIERS ? tier_words[tier] : "";
}

/* ---- reading ---- */

static void unset(struct tariff_rates *r)
{
    for (size_t i = 0; i < TARIFF_RATES; i++)
        r->pico[i] = TARIFF_UNSET;
}

void tariff_init(struct tariff *t)
{
    *t = (struct tariff){0};
    for (size_t i = 0; i < SERVICE_TIERS; i++) {
        unset(&t->tiers[i].rates);
        unset(&t->tiers[i].long_rates);
    }
}

static bool read_micro(struct json v, uint64_t *out)
{
    double dollars;
    if (!json_double(v, &dollars) || !(dollars >= 0 && dollars <= most_dollars))
        return false;
    *out = (uint64_t)llround(dollars * micro);
    return true;
}

/* The place of `key` among the names; `count` when it is none of them. */
static size_t index_of(struct json key, const char *const *names, size_t count)
{
    size_t i = 0;
    while (i < count && !json_is(key, names[i]))
        i++;
    return i;
}

static bool read_rate(struct json key, struct json value, struct tariff_rates *r)
{
    size_t at = json_is(key, "cached") ? RATE_CACHED : index_of(key, rate_names, TARIFF_RATES);
    return at < TARIFF_RATES && read_micro(value, &r->pico[at]);
}

static bool read_long(struct json v, struct tariff_tier *t)
{
    int64_t over = 0;
    for (struct json_iter i = json_iter(v); json_next(&i);) {
        bool ok = json_is(i.key, "over") ? json_i64(i.value, &over) && over > 0
                                         : read_rate(i.key, i.value, &t->long_rates);
        if (!ok)
            return false;
    }
    t->long_over = (uint64_t)over;
    return over > 0 && t->long_rates.pico[RATE_INPUT] != TARIFF_UNSET;
}

static bool read_tier_member(struct json key, struct json value, struct tariff_tier *t)
{
    return json_is(key, "long") ? read_long(value, t) : read_rate(key, value, &t->rates);
}

static bool read_tier(struct json v, struct tariff_tier *t)
{
    t->set = true;
    for (struct json_iter i = json_iter(v); json_next(&i);) {
        if (!read_tier_member(i.key, i.value, t))
            return false;
    }
    return t->rates.pico[RATE_INPUT] != TARIFF_UNSET;
}

static bool read_member(struct json key, struct json value, struct tariff *out)
{
    size_t fee = index_of(key, fee_names, TARIFF_FEES);
    size_t tier = index_of(key, tier_words, SERVICE_TIERS);
    if (fee < TARIFF_FEES)
        return read_micro(value, &out->fee_nano[fee]);
    if (tier != TIER_STANDARD && tier < SERVICE_TIERS)
        return read_tier(value, &out->tiers[tier]);
    return read_tier_member(key, value, &out->tiers[TIER_STANDARD]);
}

bool tariff_read(struct json price, struct tariff *out)
{
    tariff_init(out);
    for (struct json_iter i = json_iter(price); json_next(&i);) {
        if (!read_member(i.key, i.value, out))
            return false;
    }
    struct tariff_tier *standard = &out->tiers[TIER_STANDARD];
    standard->set = true;
    if (standard->rates.pico[RATE_INPUT] == TARIFF_UNSET ||
        standard->rates.pico[RATE_OUTPUT] == TARIFF_UNSET)
        return false;
    tariff_complete(out);
    return true;
}

/* ---- completing ---- */

static void complete_standard(struct tariff_rates *r)
{
    uint64_t input = r->pico[RATE_INPUT];
    bool writing_costs = r->pico[RATE_CACHE_WRITE] != TARIFF_UNSET;
    if (r->pico[RATE_CACHED] == TARIFF_UNSET)
        r->pico[RATE_CACHED] = input;
    if (!writing_costs)
        r->pico[RATE_CACHE_WRITE] = input;
    if (r->pico[RATE_CACHE_WRITE_1H] == TARIFF_UNSET)
        r->pico[RATE_CACHE_WRITE_1H] = writing_costs ? 2 * input : input;
}

static double factor_of(const struct tariff_rates *r, const struct tariff_rates *base)
{
    uint64_t base_input = base->pico[RATE_INPUT];
    return base_input ? (double)r->pico[RATE_INPUT] / (double)base_input : 1;
}

static uint64_t scaled(uint64_t pico, double factor)
{
    double product = (double)pico * factor;
    return product < most_dollars * micro ? (uint64_t)llround(product)
                                          : (uint64_t)llround(most_dollars * micro);
}

/* What is not given is as much dearer than in `base` as the input is. */
static void complete_from(struct tariff_rates *r, const struct tariff_rates *base)
{
    double factor = factor_of(r, base);
    for (size_t i = 0; i < TARIFF_RATES; i++) {
        if (r->pico[i] == TARIFF_UNSET)
            r->pico[i] = scaled(base->pico[i], factor);
    }
}

static void complete_tier(struct tariff_tier *t, const struct tariff_tier *standard)
{
    complete_from(&t->rates, &standard->rates);
    if (!t->long_over && standard->long_over) {
        t->long_over = standard->long_over;
        for (size_t i = 0; i < TARIFF_RATES; i++)
            t->long_rates.pico[i] =
                scaled(standard->long_rates.pico[i], factor_of(&t->rates, &standard->rates));
    } else if (t->long_over) {
        complete_from(&t->long_rates, &t->rates);
    }
}

void tariff_complete(struct tariff *t)
{
    struct tariff_tier *standard = &t->tiers[TIER_STANDARD];
    complete_standard(&standard->rates);
    if (standard->long_over)
        complete_from(&standard->long_rates, &standard->rates);
    for (size_t i = TIER_STANDARD + 1; i < SERVICE_TIERS; i++) {
        if (t->tiers[i].set)
            complete_tier(&t->tiers[i], standard);
    }
}

/* ---- money ---- */

const struct tariff_tier *tariff_tier(const struct tariff *t, enum service_tier tier)
{
    bool known = (unsigned)tier < SERVICE_TIERS && t->tiers[tier].set;
    return &t->tiers[known ? tier : TIER_STANDARD];
}

static uint64_t add(uint64_t sum, uint64_t count, uint64_t each)
{
    uint64_t cost;
    if (__builtin_mul_overflow(count, each, &cost) || __builtin_add_overflow(sum, cost, &sum))
        return UINT64_MAX;
    return sum;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t cost_of_tokens(const struct tariff_rates *r, const struct tariff_use *use)
{
    /* an upstream's own numbers may disagree: never bill less than nothing */
    uint64_t cached = least(use->cached, use->input);
    uint64_t written = least(use->cache_write, use->input - cached);
    uint64_t hour = least(use->cache_write_1h, written);
    uint64_t pico = add(0, use->input - cached - written, r->pico[RATE_INPUT]);
    pico = add(pico, cached, r->pico[RATE_CACHED]);
    pico = add(pico, written - hour, r->pico[RATE_CACHE_WRITE]);
    pico = add(pico, hour, r->pico[RATE_CACHE_WRITE_1H]);
    pico = add(pico, use->output, r->pico[RATE_OUTPUT]);
    return pico == UINT64_MAX ? UINT64_MAX : pico / 1000 + (pico % 1000 >= 500);
}

uint64_t tariff_cost_nano(const struct tariff *t, const struct tariff_use *use)
{
    const struct tariff_tier *tier = tariff_tier(t, use->tier);
    bool is_long = tier->long_over && use->input > tier->long_over;
    uint64_t nano = cost_of_tokens(is_long ? &tier->long_rates : &tier->rates, use);
    for (size_t i = 0; i < TARIFF_FEES; i++)
        nano = add(nano, use->calls[i], t->fee_nano[i]);
    return nano;
}
