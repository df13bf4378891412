/* The three ways in which tollgate models shows offers: plainly, by where their prices come from,
 * and side by side with what was measured. */
#ifndef SERVICES_CTL_OFFER_VIEWS_H
#define SERVICES_CTL_OFFER_VIEWS_H

#include "services/ctl/offer_print.h"

/* One listing on its way: as JSON, or into a sheet when `json` is NULL. */
struct offer_listing {
    struct sheet *sheet;
    struct json_writer *json;
    struct span metrics; /* of the running suite, as Prometheus text; empty = none answers */
    size_t unpriced;     /* counted by the view of prices */
};

/* `row` takes a struct offer_listing for ctx. */
struct offer_view {
    const char *heads;
    void (*row)(void *ctx, const struct offer *o);
};

extern const struct offer_view offer_list_view, offer_prices_view, offer_compare_view;

#endif
