/* Which lane made a stored response: it lives behind that lane's endpoint and key, so what asks for
 * it by id must go there again (GET, DELETE, cancel, previous_response_id). A fixed table in
 * memory; what it has forgotten goes to any lane. */
#ifndef SERVICES_WORKER_AFFINITY_H
#define SERVICES_WORKER_AFFINITY_H

#include "common/base/err.h"
#include "common/base/span.h"

enum { AFFINITY_ENTRIES = 8192 };

/* {0} is an empty one. */
struct affinity {
    struct affinity_entry *entries; /* NULL until the first is remembered */
};

void affinity_free(struct affinity *a);
/* A newer id may take an older one's place. Forgotten silently without memory. */
void affinity_remember(struct affinity *a, struct span id, unsigned lane);
/* false when it is not known (any more). */
bool affinity_find(const struct affinity *a, struct span id, unsigned *lane_out);

/* The id a request to /responses is about: in its path ("/responses/resp_1/cancel?x"), else its
 * body's previous_response_id; SPAN_NONE when it is about none. A view of path or body. */
struct span affinity_response_id(struct span path, struct span body);

#endif
