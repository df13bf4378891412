/* What a configuration offers: each target of each model, with its price and what the table of
 * models says of it. */
#ifndef SERVICES_CTL_OFFERS_H
#define SERVICES_CTL_OFFERS_H

#include "common/base/model_file.h"
#include "common/runtime/config/config.h"

enum { OFFER_NAME_BYTES = 512 };

struct offer {
    const struct config_model *model;
    const struct config_target *target;
    struct span upstream;  /* what the upstream is asked for */
    bool by_name_asked;    /* a wildcard: which model it is, only a request says */
    struct json row;       /* of the table; JSON_NONE */
    struct json overrides; /* the configuration's capabilities; JSON_NONE */
    bool priced;
    struct tariff tariff; /* when priced */
    char name[OFFER_NAME_BYTES];
};

/* The table of models; without one a note on stderr, and no rows. */
void offers_load_table(struct model_file *out);
void offers_each(const struct config *config, const struct model_file *table,
                 void (*each)(void *ctx, const struct offer *o), void *ctx);

/* Dollars per million tokens of the standard tier as text; "-" when there is no price. */
void offer_dollars(const struct offer *o, enum tariff_rate rate, char out[static 32]);
/* A capability: the configuration's, else the table's. */
struct json offer_capability(const struct offer *o, const char *name);
/* Its features, comma-separated. */
void offer_features(const struct offer *o, struct buf *out);
/* Tokens of its window, or of an answer ("context", "max_output"); 0 = not known. */
uint64_t offer_tokens(const struct offer *o, const char *what);

/* "a at p, b at p": the offers whose price nobody knows, wildcards left out. */
void offers_without_price(const struct config *config, const struct model_file *table,
                          struct buf *out);

#endif
