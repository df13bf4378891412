/* Which key made which stored response, as the ledger tells, so that no other key gets it: not from
 * another broker, not after a restart. A fixed table in memory: the oldest make room. What it does
 * not know is for broker and worker to judge. Pure. */
#ifndef SERVICES_AUTH_KEYS_RESPONSES_H
#define SERVICES_AUTH_KEYS_RESPONSES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

struct response_entry;

enum { RESPONSES_MAX = 65536 };

/* {0} is an empty one. */
struct responses {
    struct response_entry *entries; /* NULL until the first is remembered */
};

void responses_free(struct responses *r);
/* The first owner stays. Forgotten silently without memory. */
void responses_remember(struct responses *r, struct span id, struct span key_id, uint64_t made_ms);
/* Known to be another key's? */
bool responses_is_foreign(const struct responses *r, struct span id, struct span key_id);

#endif
