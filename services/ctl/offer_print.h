/* Offers as cells of a table, and as members of JSON objects. */
#ifndef SERVICES_CTL_OFFER_PRINT_H
#define SERVICES_CTL_OFFER_PRINT_H

#include "services/ctl/offers.h"
#include "services/ctl/sheet.h"

void offer_price_cell(struct sheet *s, const struct offer *o, enum tariff_rate rate);
/* A dash for 0. */
void offer_tokens_cell(struct sheet *s, uint64_t tokens);
void offer_upstream_cell(struct sheet *s, const struct offer *o);
void offer_features_cell(struct sheet *s, const struct offer *o);

/* Begins the object: model, provider, type, upstream_model, weight. */
void offer_put_names(struct json_writer *w, const struct offer *o);
/* Dollars per million tokens; nothing inside when nobody knows a price. */
void offer_put_price(struct json_writer *w, const struct offer *o);
/* null for 0. */
void offer_put_tokens(struct json_writer *w, const char *name, uint64_t tokens);
void offer_put_features(struct json_writer *w, const struct offer *o);

#endif
