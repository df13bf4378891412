/* Which endpoint made a stored response, and for which client key: it lives behind that endpoint's
 * endpoint and key, so what asks for it by id must go there again (GET, DELETE, cancel,
 * previous_response_id). The broker knows it too and has the first word; this is for what a broker
 * has forgotten. A fixed table in memory. */
#ifndef SERVICES_WORKER_ENDPOINTS_AFFINITY_H
#define SERVICES_WORKER_ENDPOINTS_AFFINITY_H

#include "common/base/err.h"
#include "common/base/span.h"

enum { AFFINITY_ENTRIES = 8192 };

/* {0} is an empty one. */
struct affinity {
    struct affinity_entry *entries; /* NULL until the first is remembered */
};

void affinity_free(struct affinity *a);
/* A newer id may take an older one's place. Forgotten silently without memory. */
void affinity_remember(struct affinity *a, struct span id, struct span key_id, unsigned endpoint);

enum affinity_owner { AFFINITY_UNKNOWN, AFFINITY_OWN, AFFINITY_FOREIGN };

/* Did this client key make it? AFFINITY_OWN fills *endpoint_out; AFFINITY_UNKNOWN: not known (any
 * more). */
enum affinity_owner affinity_find(const struct affinity *a, struct span id, struct span key_id,
                                  unsigned *endpoint_out);

#endif
