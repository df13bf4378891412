/* Which endpoint made a stored response, and for which client key: it lives behind that base URL
 * and that provider key, so what asks for it by id must go there again (GET, DELETE, cancel,
 * previous_response_id). The broker knows it too and its word comes first; this table is for what a
 * broker has forgotten. It lives in memory, is of a fixed size and forgets the oldest. */
#ifndef SERVICES_WORKER_ENDPOINTS_STORED_RESPONSES_H
#define SERVICES_WORKER_ENDPOINTS_STORED_RESPONSES_H

#include "common/base/err.h"
#include "common/base/span.h"

enum { STORED_RESPONSES_MAX = 8192 };

/* {0} is an empty one. */
struct stored_responses {
    struct stored_response_entry *entries; /* NULL until the first is remembered */
};

void stored_responses_free(struct stored_responses *s);
/* A newer id may take an older one's place. Forgotten silently without memory. */
void stored_responses_remember(struct stored_responses *s, struct span id, struct span key_id,
                               unsigned endpoint);

enum response_owner { RESPONSE_UNKNOWN, RESPONSE_OWN, RESPONSE_FOREIGN };

/* Did this client key make it? RESPONSE_OWN fills *endpoint_out; RESPONSE_UNKNOWN: not known (any
 * more). */
enum response_owner stored_responses_find(const struct stored_responses *s, struct span id,
                                          struct span key_id, unsigned *endpoint_out);

#endif
