#include "services/ctl/offer_print.h"

void offer_price_cell(struct sheet *s, const struct offer *o, enum tariff_rate rate)
{
    char text[32];
    offer_dollars(o, rate, text);
    sheet_str(s, text);
}

void offer_tokens_cell(struct sheet *s, uint64_t tokens)
{
    if (tokens)
        sheet_u64(s, tokens);
    else
        sheet_str(s, "-");
}

void offer_upstream_cell(struct sheet *s, const struct offer *o)
{
    sheet_cell(s, o->target->model ? span_str(o->target->model) : SPAN("(as asked)"));
}

void offer_features_cell(struct sheet *s, const struct offer *o)
{
    struct buf words = {0};
    offer_features(o, &words);
    sheet_cell(s, buf_span(&words));
    buf_free(&words);
}

static void put_dollars(struct json_writer *w, const char *name, uint64_t pico)
{
    jw_key(w, name);
    jw_double(w, (double)pico / 1e6);
}

static void put_rates(struct json_writer *w, const struct tariff_rates *r)
{
    static const char *const names[TARIFF_RATES] = {[RATE_INPUT] = "input",
                                                    [RATE_OUTPUT] = "output",
                                                    [RATE_CACHED] = "cached",
                                                    [RATE_CACHE_WRITE] = "cache_write",
                                                    [RATE_CACHE_WRITE_1H] = "cache_write_1h"};
    for (size_t i = 0; i < TARIFF_RATES; i++)
        put_dollars(w, names[i], r->pico[i]);
}

static void put_tier(struct json_writer *w, const struct tariff_tier *tier)
{
    put_rates(w, &tier->rates);
    if (!tier->long_over)
        return;
    jw_key(w, "long");
    jw_object(w);
    jw_key(w, "over");
    jw_u64(w, tier->long_over);
    put_rates(w, &tier->long_rates);
    jw_object_end(w);
}

void offer_put_price(struct json_writer *w, const struct offer *o)
{
    jw_key(w, "price");
    jw_object(w);
    if (o->priced)
        put_tier(w, &o->tariff.tiers[TIER_STANDARD]);
    for (unsigned i = TIER_STANDARD + 1; o->priced && i < SERVICE_TIERS; i++) {
        if (!o->tariff.tiers[i].set)
            continue;
        jw_key(w, service_tier_word((enum service_tier)i));
        jw_object(w);
        put_tier(w, &o->tariff.tiers[i]);
        jw_object_end(w);
    }
    jw_object_end(w);
}

void offer_put_tokens(struct json_writer *w, const char *name, uint64_t tokens)
{
    jw_key(w, name);
    if (tokens)
        jw_u64(w, tokens);
    else
        jw_null(w);
}

void offer_put_features(struct json_writer *w, const struct offer *o)
{
    struct buf words = {0};
    offer_features(o, &words);
    struct span rest = buf_span(&words);
    jw_key(w, "capabilities");
    jw_array(w);
    while (rest.len)
        jw_string(w, span_cut(&rest, ','));
    jw_array_end(w);
    buf_free(&words);
}

void offer_put_names(struct json_writer *w, const struct offer *o)
{
    jw_object(w);
    jw_key(w, "model");
    jw_str(w, o->model->name);
    jw_key(w, "provider");
    jw_str(w, o->target->provider->name);
    jw_key(w, "type");
    jw_str(w, o->target->provider->type);
    jw_key(w, "upstream_model");
    if (o->target->model)
        jw_str(w, o->target->model);
    else
        jw_null(w);
    jw_key(w, "weight");
    jw_u64(w, o->target->weight);
}
