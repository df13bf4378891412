#include "services/auth/ledger/prices.h"

#include "common/base/log.h"
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

static uint64_t cost(uint64_t input_nano, uint64_t output_nano, uint64_t input_tokens,
                     uint64_t output_tokens)
{
    uint64_t in, out, sum;
    if (__builtin_mul_overflow(input_nano, input_tokens, &in) ||
        __builtin_mul_overflow(output_nano, output_tokens, &out) ||
        __builtin_add_overflow(in, out, &sum))
        return UINT64_MAX;
    return sum;
}

static struct price look_up(const struct model_file *table, const char *provider_type,
                            struct span model)
{
    struct json row = model_file_find(table, provider_type, model);
    struct price price = {0};
    if (!model_row_price_nano(row, "input", &price.input_nano))
        price.input_nano = 0;
    else if (!model_row_price_nano(row, "output", &price.output_nano))
        price.output_nano = 0; /* embeddings */
    return price;
}

static struct price price_of(struct prices *p, const char *provider_type, struct span model)
{
    struct price *slot = &p->known[table_hash(0, model) % PRICES_KNOWN];
    if (slot->is_known && span_equals(span_of(slot->model, slot->model_bytes), model) &&
        strcmp(slot->provider_type, provider_type) == 0)
        return *slot;
    struct price price = look_up(&p->table, provider_type, model);
    size_t type_bytes = strlen(provider_type);
    if (model.len > sizeof price.model || type_bytes >= sizeof price.provider_type)
        return price;
    if (model.len)
        memcpy(price.model, model.data, model.len);
    memcpy(price.provider_type, provider_type, type_bytes);
    price.model_bytes = model.len;
    price.is_known = true;
    return *slot = price;
}

uint64_t prices_cost_nano(struct prices *p, const struct config *config, struct span model,
                          struct span provider, uint64_t input_tokens, uint64_t output_tokens)
{
    const struct config_model *m = config_find_model(config, model);
    if (!m)
        return 0;
    if (m->price.set)
        return cost(m->price.input_nano, m->price.output_nano, input_tokens, output_tokens);
    const struct config_target *target = target_of(m, provider);
    if (!target)
        return 0;
    struct span upstream = target->model ? span_str(target->model) : model;
    struct price price = price_of(p, target->provider->type, upstream);
    return cost(price.input_nano, price.output_nano, input_tokens, output_tokens);
}
