/* What tokens cost when no worker says so: the configuration's price of the model, else the
 * project's table. */
#ifndef SERVICES_AUTH_LEDGER_PRICES_H
#define SERVICES_AUTH_LEDGER_PRICES_H

#include "common/base/model_file.h"
#include "common/runtime/config/config.h"

enum { PRICES_KNOWN = 64, PRICE_NAME_BYTES = 96, PRICE_PROVIDER_BYTES = 48 };

/* What the table says of one model; asked for every request, found in JSON once. */
struct price {
    bool is_known;
    char provider[PRICE_PROVIDER_BYTES]; /* its name in the configuration */
    enum protocol protocol;
    char model[PRICE_NAME_BYTES];
    size_t model_bytes;
    bool priced;
    struct tariff tariff; /* when priced */
};

/* Models without a price that have been told of; so many at most, for names come from clients. */
enum { PRICES_MISSING = 64 };

struct prices {
    struct model_file table;          /* {0}: none found, only the configuration's prices hold */
    struct price known[PRICES_KNOWN]; /* by the hash of the model's name: one pushes another out */
    uint64_t missing[PRICES_MISSING]; /* hashes of provider and model */
    size_t missing_count;
};

/* Finds and reads the table; a missing one is logged, not fatal. */
void prices_load(struct prices *p);
void prices_free(struct prices *p);
/* Has the model a price at that provider, which may be empty (the model's first target is meant)?
 */
bool prices_know(struct prices *p, const struct config *config, struct span model,
                 struct span provider);
/* Nano-dollars; 0 when the model has no price. As prices_know. */
uint64_t prices_cost_nano(struct prices *p, const struct config *config, struct span model,
                          struct span provider, uint64_t input_tokens, uint64_t output_tokens);
/* Says in the log, once, that what this provider's model uses is booked at no cost. */
void prices_tell_missing(struct prices *p, struct span provider, struct span model);

#endif
