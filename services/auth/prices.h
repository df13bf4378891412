/* What tokens cost when no worker says so: the configuration's price of the model, else the
 * project's table. */
#ifndef SERVICES_AUTH_PRICES_H
#define SERVICES_AUTH_PRICES_H

#include "common/base/model_file.h"
#include "common/runtime/config.h"

enum { PRICES_REMEMBERED = 64 };

/* Per token, of one model at one provider. */
struct price {
    const struct config *config; /* NULL: not known yet */
    uint64_t hash;               /* of both names */
    uint64_t input_nano, output_nano;
};

struct prices {
    struct model_file table; /* {0}: none found, only the configuration's prices hold */
    struct price remembered[PRICES_REMEMBERED]; /* so that not every request reads JSON */
};

/* Finds and reads the table; a missing one is logged, not fatal. */
void prices_load(struct prices *p);
void prices_free(struct prices *p);
/* Nano-dollars; 0 when the model has no price. `provider` may be empty (the model's first target is
 * meant). */
uint64_t prices_cost_nano(struct prices *p, const struct config *config, struct span model,
                          struct span provider, uint64_t input_tokens, uint64_t output_tokens);

#endif
