/* One lease of a key: its counts, and how it goes on while auth is away. Part of leases.h. */
#ifndef SERVICES_EDGE_LEASES_KEY_LEASE_H
#define SERVICES_EDGE_LEASES_KEY_LEASE_H

#include "proto/message.h"
#include "services/edge/leases/away.h"

struct lease_counts {
    uint64_t requests, tokens;
};

struct key_lease {
    struct key_lease *prev, *next;           /* of the same key */
    struct key_lease *prev_open, *next_open; /* of those that are open, by the time they began */
    const void *owner;                       /* the key's */
    uint64_t name;                           /* auth's; 0 = no limits: nothing is counted */
    struct lease_counts used;                /* in this life of the edge … */
    struct lease_counts charged;             /* … and charged for them, as auth said last */
    bool tokens_limited;
    bool open;           /* auth knows that it may be used … */
    uint64_t expires_ms; /* … until then */
    bool refused;        /* auth has said no since */
    struct away away;
};

/* ALLOW: a grant (true), or how things stand. What auth knows of its use, this edge may have
 * forgotten. */
bool key_lease_allowed(struct key_lease *lease, const struct allow *a, uint64_t now_ms);
/* Is there enough left for one more request of so many tokens? */
bool key_lease_has(const struct key_lease *lease, uint64_t tokens);
void key_lease_use(struct key_lease *lease, uint64_t tokens);
/* Has more been used than auth has charged? */
bool key_lease_is_ahead(const struct key_lease *lease);
struct lease_used key_lease_report(const struct key_lease *lease);

#endif
