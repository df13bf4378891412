/* Names of models that wildcards have let in and upstreams have answered, for labels in metrics:
 * the first few. Clients choose names, and may invent any number; further ones are counted under
 * the wildcard. */
#ifndef SERVICES_EDGE_REQUEST_MODEL_NAMES_H
#define SERVICES_EDGE_REQUEST_MODEL_NAMES_H

#include <stdint.h>

#include "common/base/span.h"

enum { MODEL_NAMES_MAX = 64, MODEL_NAME_BYTES = 96 };

/* {0} is an empty one. */
struct model_names {
    struct {
        uint64_t hash;
        uint8_t len;
        char text[MODEL_NAME_BYTES];
    } rows[MODEL_NAMES_MAX];
    unsigned count;
};

/* Is it known, or is there room for it? Never for a name that no provider would give a model: too
 * long, or of other characters. */
bool model_names_take(struct model_names *m, struct span name);

#endif
