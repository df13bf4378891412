/* What tokens cost when no worker says so: the configuration's price of the model, else the
 * project's table. */
#ifndef SERVICES_AUTH_LEDGER_PRICES_H
#define SERVICES_AUTH_LEDGER_PRICES_H

#include "common/base/model_file.h"
#include "common/runtime/config/config.h"

enum { PRICES_KNOWN = 64, PRICE_NAME_BYTES = 96 };

/* What the table says of one model; asked for every request, found in JSON once. */
struct price {
    bool is_known;
    char provider_type[32], model[PRICE_NAME_BYTES];
    size_t model_bytes;
    uint64_t input_nano, output_nano; /* per token; 0 = none */
};

struct prices {
    struct model_file table;          /* {0}: none found, only the configuration's prices hold */
    struct price known[PRICES_KNOWN]; /* by the hash of the model's name: one pushes another out */
};

/* Finds and reads the table; a missing one is logged, not fatal. */
void prices_load(struct prices *p);
void prices_free(struct prices *p);
/* Nano-dollars; 0 when the model has no price. `provider` may be empty (the model's first target is
 * meant). */
uint64_t prices_cost_nano(struct prices *p, const struct config *config, struct span model,
                          struct span provider, uint64_t input_tokens, uint64_t output_tokens);

#endif
