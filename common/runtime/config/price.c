#include "common/runtime/config/price.h"

struct json price_row(const struct config_target *t, struct span upstream,
                      const struct model_file *table)
{
    return model_file_find(table, t->provider->name, t->provider->type, upstream);
}

bool price_find(const struct config_model *m, const struct config_target *t, struct span upstream,
                const struct model_file *table, struct tariff *out)
{
    if (m->price.set) {
        *out = m->price.tariff;
        return true;
    }
    return tariff_read(json_get(price_row(t, upstream, table), "price"), out);
}
