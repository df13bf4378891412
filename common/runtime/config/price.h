/* What a target's answers cost, wherever that is said. */
#ifndef COMMON_RUNTIME_CONFIG_PRICE_H
#define COMMON_RUNTIME_CONFIG_PRICE_H

#include "common/base/model_file.h"
#include "common/runtime/config/config.h"

/* The tariff of a target of a model, of which `upstream` is asked for (config_upstream_model): the
 * entry's `price`, else the table's row. False: nobody knows a price. */
bool price_find(const struct config_model *m, const struct config_target *t, struct span upstream,
                const struct model_file *table, struct tariff *out) NODISCARD;
/* The row of the table that speaks of it; JSON_NONE. */
struct json price_row(const struct config_target *t, struct span upstream,
                      const struct model_file *table);

#endif
