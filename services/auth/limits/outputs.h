/* How long each model's answers are: what a request that names no cap is taken to need. Bounded;
 * one model pushes another out. Pure. */
#ifndef SERVICES_AUTH_LIMITS_OUTPUTS_H
#define SERVICES_AUTH_LIMITS_OUTPUTS_H

#include "common/base/span.h"

enum {
    OUTPUTS_MODELS = 1024,
    OUTPUTS_SIZES = 72,
    OUTPUTS_LEAST = 20,    /* answers before they say something */
    OUTPUTS_UNKNOWN = 1000 /* tokens of an answer until then */
};

/* {0} knows no model. Sizes by their two leading bits, so that each stands for a quarter of its own
 * more. */
struct outputs {
    struct output_sizes {
        uint64_t model; /* hash of its name; 0 = none */
        uint32_t total;
        uint16_t count[OUTPUTS_SIZES];
    } of[OUTPUTS_MODELS];
};

void outputs_learn(struct outputs *o, struct span model, uint64_t tokens);
/* 95 of 100 of its answers are not longer. */
uint64_t outputs_expected(const struct outputs *o, struct span model);

#endif
