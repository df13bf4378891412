#include "services/ctl/offer_views.h"

#include <stdio.h>

#include "services/ctl/measured.h"

/* ---- the plain list ---- */

static void offer_row(void *ctx, const struct offer *o)
{
    const struct offer_listing *l = ctx;
    struct sheet *s = l->sheet;
    if (l->json) {
        offer_put_names(l->json, o);
        offer_put_price(l->json, o);
        offer_put_tokens(l->json, "context", offer_tokens(o, "context"));
        offer_put_features(l->json, o);
        jw_object_end(l->json);
        return;
    }
    sheet_str(s, o->model->name);
    sheet_str(s, o->target->provider->name);
    offer_upstream_cell(s, o);
    offer_price_cell(s, o, RATE_INPUT);
    offer_price_cell(s, o, RATE_CACHED);
    offer_price_cell(s, o, RATE_OUTPUT);
    offer_tokens_cell(s, offer_tokens(o, "context"));
    offer_features_cell(s, o);
}

/* ---- prices: where each price comes from, and whether it still may be right ---- */

/* The table's own price, whatever the configuration says; false when it has none. */
static bool price_of_table(const struct offer *o, struct tariff *out)
{
    return tariff_read(json_get(o->row, "price"), out);
}

static bool is_same(const struct tariff *a, const struct tariff *b)
{
    return memcmp(&a->tiers[TIER_STANDARD].rates, &b->tiers[TIER_STANDARD].rates,
                  sizeof a->tiers[TIER_STANDARD].rates) == 0;
}

/* A word for scripts. */
static const char *judge(const struct offer *o)
{
    struct tariff table;
    if (!o->priced)
        return o->by_name_asked ? "by the name asked" : "no price";
    if (!o->model->price.set)
        return "ok";
    if (!price_of_table(o, &table))
        return "not in the table";
    return is_same(&o->tariff, &table) ? "ok" : "differs from the table";
}

static void check_row(void *ctx, const struct offer *o)
{
    struct offer_listing *l = ctx;
    const char *verdict = judge(o);
    const char *source = o->model->price.set ? "configuration" : o->priced ? "table" : "-";
    struct offer of_table = *o;
    of_table.priced = price_of_table(o, &of_table.tariff);
    l->unpriced += strcmp(verdict, "no price") == 0;
    if (l->json) {
        offer_put_names(l->json, o);
        offer_put_price(l->json, o);
        jw_key(l->json, "source");
        jw_str(l->json, source);
        jw_key(l->json, "verdict");
        jw_str(l->json, verdict);
        jw_object_end(l->json);
        return;
    }
    sheet_str(l->sheet, o->model->name);
    sheet_str(l->sheet, o->target->provider->name);
    offer_upstream_cell(l->sheet, o);
    offer_price_cell(l->sheet, o, RATE_INPUT);
    offer_price_cell(l->sheet, o, RATE_OUTPUT);
    sheet_str(l->sheet, source);
    offer_price_cell(l->sheet, &of_table, RATE_INPUT);
    offer_price_cell(l->sheet, &of_table, RATE_OUTPUT);
    sheet_str(l->sheet, verdict);
}

/* ---- side by side: price, what was measured, limits, features ---- */

static void seconds_cell(struct sheet *s, double seconds)
{
    char text[32] = "-";
    if (seconds >= 0)
        (void)snprintf(text, sizeof text, "%.2f", seconds);
    sheet_str(s, text);
}

static void failed_cell(struct sheet *s, const struct measured *m)
{
    char text[32] = "-";
    if (m->requests)
        (void)snprintf(text, sizeof text, "%.1f", 100 * (double)m->failed / (double)m->requests);
    sheet_str(s, text);
}

static void rate_cell(struct sheet *s, const struct config_model *m)
{
    char text[48] = "-";
    if (m->rate_count)
        (void)snprintf(text, sizeof text, "%llu/%llus", (unsigned long long)m->rate_count,
                       (unsigned long long)(m->rate_period_ms / 1000));
    sheet_str(s, text);
}

static void put_seconds(struct json_writer *w, const char *name, double seconds)
{
    jw_key(w, name);
    if (seconds >= 0)
        jw_double(w, seconds);
    else
        jw_null(w);
}

static void compare_json(struct json_writer *w, const struct offer *o, const struct measured *m)
{
    offer_put_names(w, o);
    offer_put_price(w, o);
    offer_put_tokens(w, "context", offer_tokens(o, "context"));
    offer_put_tokens(w, "max_output", offer_tokens(o, "max_output"));
    offer_put_tokens(w, "rate_count", o->model->rate_count);
    offer_put_tokens(w, "rate_period_ms", o->model->rate_period_ms);
    jw_key(w, "requests");
    jw_u64(w, m->requests);
    jw_key(w, "failed");
    jw_u64(w, m->failed);
    put_seconds(w, "first_content_p50_s", measured_s(&m->first, 0.5));
    put_seconds(w, "first_content_p95_s", measured_s(&m->first, 0.95));
    put_seconds(w, "duration_p50_s", measured_s(&m->whole, 0.5));
    put_seconds(w, "duration_p95_s", measured_s(&m->whole, 0.95));
    offer_put_features(w, o);
    jw_object_end(w);
}

static void compare_row(void *ctx, const struct offer *o)
{
    const struct offer_listing *l = ctx;
    struct sheet *s = l->sheet;
    struct measured m;
    measured_read(l->metrics, o->model->name, o->target->provider->name, &m);
    if (l->json) {
        compare_json(l->json, o, &m);
        return;
    }
    sheet_str(s, o->model->name);
    sheet_str(s, o->target->provider->name);
    offer_price_cell(s, o, RATE_INPUT);
    offer_price_cell(s, o, RATE_CACHED);
    offer_price_cell(s, o, RATE_OUTPUT);
    sheet_u64(s, m.requests);
    failed_cell(s, &m);
    seconds_cell(s, measured_s(&m.first, 0.5));
    seconds_cell(s, measured_s(&m.first, 0.95));
    seconds_cell(s, measured_s(&m.whole, 0.5));
    seconds_cell(s, measured_s(&m.whole, 0.95));
    offer_tokens_cell(s, offer_tokens(o, "context"));
    offer_tokens_cell(s, offer_tokens(o, "max_output"));
    rate_cell(s, o->model);
    offer_features_cell(s, o);
}

const struct offer_view offer_list_view = {
    "MODEL|PROVIDER|UPSTREAM|>IN $/M|>CACHED|>OUT $/M|>CONTEXT|CAPABILITIES", offer_row};
const struct offer_view offer_prices_view = {
    "MODEL|PROVIDER|UPSTREAM|>IN $/M|>OUT $/M|SOURCE|>TABLE IN|>TABLE OUT|VERDICT", check_row};
const struct offer_view offer_compare_view = {
    "MODEL|PROVIDER|>IN $/M|>CACHED|>OUT $/M|>REQUESTS|>FAILED %|>FIRST S P50|>P95|>WHOLE S "
    "P50|>P95|>CONTEXT|"
    ">MAX OUT|RATE LIMIT|FEATURES",
    compare_row};
