#include "services/ctl/offers.h"

#include <stdio.h>

#include "common/runtime/config/price.h"

void offers_load_table(struct model_file *out)
{
    struct buf path = {0};
    *out = (struct model_file){0};
    enum err e = model_file_path(&path);
    if (!e)
        e = model_file_load(path.data, out);
    if (e)
        (void)fprintf(stderr, "note: no table of prices (models.json: %s)\n", err_name(e));
    buf_free(&path);
}

static void describe(struct offer *o, const struct model_file *table)
{
    const char *entry = o->model->name;
    o->upstream =
        config_upstream_model(entry, o->target->model, span_str(entry), o->name, sizeof o->name);
    o->by_name_asked = o->upstream.len && memchr(o->upstream.data, '*', o->upstream.len);
    o->row = price_row(o->target, o->upstream, table);
    o->priced = price_find(o->model, o->target, o->upstream, table, &o->tariff);
}

void offers_each(const struct config *config, const struct model_file *table,
                 void (*each)(void *ctx, const struct offer *o), void *ctx)
{
    for (size_t i = 0; i < config->model_count; i++) {
        const struct config_model *m = &config->models[i];
        struct json_doc overrides = {0};
        bool has_overrides = m->capabilities && json_parse(&overrides, span_str(m->capabilities),
                                                           JSON_DEPTH_CLIENT) == OK;
        for (size_t k = 0; k < m->target_count; k++) {
            struct offer o = {.model = m, .target = &m->targets[k]};
            o.overrides = has_overrides ? json_root(&overrides) : JSON_NOTHING;
            describe(&o, table);
            each(ctx, &o);
        }
        json_doc_free(&overrides);
    }
}

void offer_dollars(const struct offer *o, enum tariff_rate rate, char out[static 32])
{
    enum { DECIMALS_MIN = 3 };
    uint64_t pico = o->priced ? tariff_tier(&o->tariff, TIER_STANDARD)->rates.pico[rate] : 0;
    int n = snprintf(out, 32, "%llu.%06llu", (unsigned long long)(pico / 1000000),
                     (unsigned long long)(pico % 1000000));
    for (int i = 0; i < 6 - DECIMALS_MIN && n > 0 && out[n - 1] == '0'; i++)
        out[--n] = '\0';
    if (!o->priced)
        (void)snprintf(out, 32, "-");
}

struct json offer_capability(const struct offer *o, const char *name)
{
    struct json v = json_get(o->overrides, name);
    return json_type(v) != JSON_NONE ? v : json_get(json_get(o->row, "capabilities"), name);
}

void offer_features(const struct offer *o, struct buf *out)
{
    static const char *const flags[] = {"vision",      "pdf",       "tools",
                                        "json_schema", "reasoning", "prefill"};
    bool first = true, on;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (!json_bool(offer_capability(o, flags[i]), &on) || !on)
            continue;
        buf_printf(out, "%s%s", first ? "" : ",", flags[i]);
        first = false;
    }
}

uint64_t offer_tokens(const struct offer *o, const char *what)
{
    int64_t n = 0;
    struct json own = json_get(o->overrides, what);
    struct json v = json_type(own) != JSON_NONE ? own : json_get(o->row, what);
    return json_i64(v, &n) && n > 0 ? (uint64_t)n : 0;
}

static void add_without_price(void *ctx, const struct offer *o)
{
    struct buf *out = ctx;
    if (!o->priced && !o->by_name_asked)
        buf_printf(out, "%s%s at %s", out->len ? ", " : "", o->model->name,
                   o->target->provider->name);
}

void offers_without_price(const struct config *config, const struct model_file *table,
                          struct buf *out)
{
    offers_each(config, table, add_without_price, out);
}
