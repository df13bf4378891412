/* How fast models generate, as their answers have shown: what an upstream may have made when
 * nothing of an answer came. Bounded; one model pushes another out. Pure. */
#ifndef SERVICES_WORKER_ATTEMPT_SPEED_H
#define SERVICES_WORKER_ATTEMPT_SPEED_H

#include "common/base/span.h"

enum {
    SPEED_MODELS = 256,
    SPEED_MOST = 2000 /* tokens per second: an answer out of a cache says nothing of the model */
};

/* {0} knows no model. */
struct speeds {
    struct speed {
        uint64_t model; /* hash of its name; 0 = none */
        uint64_t milli; /* tokens per 1000 s */
    } of[SPEED_MODELS];
};

/* An answer of so many tokens took so long from the request on. */
void speeds_learn(struct speeds *s, struct span model, uint64_t tokens, uint64_t ms);
/* What the model generates in that time; API_TOKENS_PER_S when it is not known. */
uint64_t speeds_tokens(const struct speeds *s, struct span model, uint64_t ms);

#endif
