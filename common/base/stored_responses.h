/* Which client key made a stored response, and where it lives: behind one provider's endpoint and
 * key, where alone it can be read, cancelled, deleted or continued. A fixed table in memory: the
 * oldest make room, and what is forgotten must be searched for. Pure. */
#ifndef COMMON_BASE_STORED_RESPONSES_H
#define COMMON_BASE_STORED_RESPONSES_H

#include <stdint.h>

#include "common/base/span.h"

struct stored_response_entry;

enum { STORED_RESPONSES_MAX = 65536 };

/* {0} is an empty one. */
struct stored_responses {
    struct stored_response_entry *entries; /* NULL until the first is remembered */
};

/* Where it lives, as far as the table's owner cares. */
struct stored_response {
    const void *pool;  /* never looked into */
    uint32_t endpoint; /* 1 + index; 0 = not known (any more) */
};

enum response_owner { RESPONSE_UNKNOWN, RESPONSE_OWN, RESPONSE_FOREIGN };

void stored_responses_free(struct stored_responses *s);
/* The first owner stays: a response does not change hands. made_ms: by any clock, the same for the
 * whole table. Forgotten silently without memory. */
void stored_responses_remember(struct stored_responses *s, struct span id, struct span key_id,
                               struct stored_response where, uint64_t made_ms);
/* Whose is it, seen from this key? RESPONSE_OWN fills *where_out, which may be NULL. */
enum response_owner stored_responses_find(const struct stored_responses *s, struct span id,
                                          struct span key_id, struct stored_response *where_out);
/* The endpoints may be numbered otherwise from here on. */
void stored_responses_forget_endpoints(struct stored_responses *s);

#endif
