/* Which client key made a stored response, and where: behind one provider's endpoint and key, where
 * alone it can be read, cancelled, deleted or continued. A fixed table in memory: the oldest make
 * room, all expire; what is forgotten must be searched for. Pure. */
#ifndef SERVICES_BROKER_STORED_H
#define SERVICES_BROKER_STORED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

struct pool;
struct stored_entry;

/* As long as OpenAI keeps them. */
#define STORED_KEPT_US (30ull * 86400 * 1000000)
enum { STORED_ENTRIES = 65536 };

/* {0} is an empty one. */
struct stored {
    struct stored_entry *entries; /* NULL until the first is remembered */
};

struct stored_response {
    const struct pool *pool;
    uint32_t endpoint; /* as DISPATCH's stored_endpoint: 1 + index; 0 = not known (any more) */
};

enum stored_owner { STORED_UNKNOWN, STORED_OWN, STORED_FOREIGN };

void stored_free(struct stored *s);
/* The first word stands: a response does not change hands. Forgotten silently without memory. */
void stored_remember(struct stored *s, struct span id, struct span key_id,
                     struct stored_response stored, uint64_t now_us);
/* STORED_OWN fills *stored_out. */
enum stored_owner stored_find(const struct stored *s, struct span id, struct span key_id,
                              uint64_t now_us, struct stored_response *stored_out);
/* The configuration has been read again: endpoints may be numbered otherwise. */
void stored_forget_endpoints(struct stored *s);

#endif
