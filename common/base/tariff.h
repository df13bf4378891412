/* What a model costs: rates per token by service tier and length of the input, fees per call of a
 * tool that runs at the provider. Rates are pico-dollars per token (dollars per million tokens ×
 * 1,000,000), fees nano-dollars per call (dollars per thousand calls × 1,000,000), sums
 * nano-dollars. */
#ifndef COMMON_BASE_TARIFF_H
#define COMMON_BASE_TARIFF_H

#include "common/base/json.h"

enum tariff_rate {
    RATE_INPUT,
    RATE_OUTPUT,
    RATE_CACHED,         /* read from the prompt cache */
    RATE_CACHE_WRITE,    /* written to it, for five minutes or however long it is kept */
    RATE_CACHE_WRITE_1H, /* … for an hour */
    TARIFF_RATES
};

enum tariff_fee {
    FEE_WEB_SEARCH,
    FEE_FILE_SEARCH,
    FEE_CODE_INTERPRETER, /* per container */
    FEE_REQUEST,          /* per answer, of models that always search */
    TARIFF_FEES
};

/* How a request was served. A tier without prices of its own costs what the standard one does. */
enum service_tier {
    TIER_STANDARD,
    TIER_FLEX,
    TIER_PRIORITY,
    TIER_BATCH,
    TIER_FAST, /* Anthropic's speed "fast" */
    SERVICE_TIERS
};

struct tariff_rates {
    uint64_t pico[TARIFF_RATES]; /* TARIFF_UNSET = not given */
};
#define TARIFF_UNSET UINT64_MAX

struct tariff_tier {
    bool set;
    struct tariff_rates rates;
    uint64_t long_over; /* the whole request costs long_rates when its input is over so many tokens;
                           0 = never */
    struct tariff_rates long_rates;
};

struct tariff {
    struct tariff_tier tiers[SERVICE_TIERS];
    uint64_t fee_nano[TARIFF_FEES];
};

/* What one answer used. Input is all of it, cached and cache-written tokens included. */
struct tariff_use {
    uint64_t input, cached, cache_write, output;
    uint64_t cache_write_1h; /* of cache_write */
    enum service_tier tier;
    uint64_t calls[TARIFF_FEES];
};

/* Where a booked cost comes from. Travels on the bus and into the store: numbers never change. */
enum cost_source {
    COST_COMPUTED, /* tokens × a price of the configuration or the table */
    COST_STATED,   /* the provider said it */
    COST_UNPRICED  /* nobody knows a price: booked as 0 */
};

/* Nothing given yet. */
void tariff_init(struct tariff *t);
/* The `price` of a row of share/models.json, into *out, completed. False when it is not right. */
bool tariff_read(struct json price, struct tariff *out) NODISCARD;
/* Fills what was not given. Standard: cached and cache_write are the input's rate; an hour's cache
 * write is twice the input where writing has a price, else as cache_write. Long prices and other
 * tiers: in the proportion of their input to the standard's. */
void tariff_complete(struct tariff *t);
/* The rates of a tier, and of inputs over its threshold; never NULL. */
const struct tariff_tier *tariff_tier(const struct tariff *t, enum service_tier tier);
/* UINT64_MAX instead of an overflow. */
uint64_t tariff_cost_nano(const struct tariff *t, const struct tariff_use *use);

/* TIER_STANDARD for every word that names no other ("default", "standard", "auto", …). */
enum service_tier service_tier_of(struct span word);
/* "flex"; "" for the standard one. Static. */
const char *service_tier_word(enum service_tier tier);

#endif
