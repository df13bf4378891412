/* What an upstream's counts can be at most: an upstream may say anything, and its word becomes a
 * bill and a key's debt. Pure. */
#ifndef SERVICES_WORKER_NEUTRAL_USAGE_BOUND_H
#define SERVICES_WORKER_NEUTRAL_USAGE_BOUND_H

#include "services/worker/neutral/neutral.h"

/* Above any count that is meant; sums of several do not overflow. */
#define USAGE_COUNT_MAX ((uint64_t)1 << 40)

/* So many tokens of output may come whatever was asked: some servers do not know the cap. */
enum { USAGE_ALWAYS_POSSIBLE = 64 << 10 };

/* What is known of the exchange. */
struct usage_facts {
    uint64_t asked_bytes;  /* of the request */
    uint64_t context;      /* of the model; 0 = not known */
    uint64_t asked_output; /* tokens that the request allows, all of it; 0 = it does not say */
    uint64_t model_output; /* that the model makes at most; 0 = not known */
    uint64_t answer_bytes; /* of text that came */
};

/* Brings known counts down to what is possible. True when one was above: the rest is an estimate
 * then.
 *
 * Input: a token has a byte at least, and what a request only refers to (pictures, files, earlier
 * responses, what tools of the provider read) fits into some contexts of the model. Output: what
 * was allowed, or as many tokens as bytes came; generously, for it counts thoughts that nobody
 * sees. */
bool usage_bound(struct usage *usage, const struct usage_facts *facts);

#endif
