#include "services/auth/ledger/prices.h"

#include "common/base/log.h"
#include "common/runtime/config/price.h"
#include "services/auth/limits/table.h"

void prices_load(struct prices *p)
{
    struct buf path = {0};
    *p = (struct prices){0};
    enum err e = model_file_path(&path);
    if (!e)
        e = model_file_load(path.data, &p->table);
    if (e)
        log_warn("price_table_missing", LSTR("error", err_name(e)),
                 LSTR("hint", "estimated rows cost 0 unless the configuration gives a price"));
    buf_free(&path);
}

void prices_free(struct prices *p)
{
    model_file_free(&p->table);
}

static const struct config_target *target_of(const struct config_model *m, struct span provider)
{
    for (size_t i = 0; i < m->target_count; i++) {
        if (provider.len == 0 || span_is(provider, m->targets[i].provider->name))
            return &m->targets[i];
    }
    return NULL;
}

static bool is_of(const struct price *p, const struct config_provider *provider, struct span model)
{
    return p->is_known && p->protocol == provider->protocol &&
           strcmp(p->provider, provider->name) == 0 &&
           span_equals(span_of(p->model, p->model_bytes), model);
}

/* A copy of the names; what does not fit is not kept. */
static void remember(struct price *p, const struct config_provider *provider, struct span model)
{
    size_t bytes = strlen(provider->name);
    if (model.len > sizeof p->model || bytes >= sizeof p->provider)
        return;
    memcpy(p->provider, provider->name, bytes + 1);
    if (model.len)
        memcpy(p->model, model.data, model.len);
    p->protocol = provider->protocol;
    p->model_bytes = model.len;
    p->is_known = true;
}

static const struct price *look_up(struct prices *p, const struct config_model *m,
                                   const struct config_target *target, struct span model,
                                   struct price *scratch)
{
    struct price *slot = &p->known[table_hash(0, model) % PRICES_KNOWN];
    if (is_of(slot, target->provider, model))
        return slot;
    *scratch = (struct price){0};
    scratch->priced = price_find(m, target, model, &p->table, &scratch->tariff);
    remember(scratch, target->provider, model);
    if (scratch->is_known)
        *slot = *scratch;
    return scratch;
}

/* `scratch` holds it when it can't be kept. */
static const struct tariff *find(struct prices *p, const struct config *config, struct span model,
                                 struct span provider, struct price *scratch)
{
    const struct config_model *m = config_find_model(config, model);
    if (!m)
        return NULL;
    if (m->price.set)
        return &m->price.tariff;
    const struct config_target *target = target_of(m, provider);
    if (!target)
        return NULL;
    char name[512];
    struct span upstream = config_upstream_model(m->name, target->model, model, name, sizeof name);
    const struct price *price = look_up(p, m, target, upstream, scratch);
    return price->priced ? &price->tariff : NULL;
}

bool prices_know(struct prices *p, const struct config *config, struct span model,
                 struct span provider)
{
    struct price scratch;
    return find(p, config, model, provider, &scratch) != NULL;
}

uint64_t prices_cost_nano(struct prices *p, const struct config *config, struct span model,
                          struct span provider, uint64_t input_tokens, uint64_t output_tokens)
{
    struct price scratch;
    const struct tariff *tariff = find(p, config, model, provider, &scratch);
    const struct tariff_use use = {.input = input_tokens, .output = output_tokens};
    return tariff ? tariff_cost_nano(tariff, &use) : 0;
}

void prices_tell_missing(struct prices *p, struct span provider, struct span model)
{
    uint64_t hash = table_hash(table_hash(0, provider), model);
    for (size_t i = 0; i < p->missing_count; i++) {
        if (p->missing[i] == hash)
            return;
    }
    if (p->missing_count == PRICES_MISSING)
        return;
    p->missing[p->missing_count++] = hash;
    log_warn("model_without_price", LSPAN("provider", provider), LSPAN("model", model),
             LSTR("hint", "booked at no cost; give models.NAME.price in the configuration"));
}
