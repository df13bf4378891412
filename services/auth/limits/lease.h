/* Leases: an edge may admit some requests of one key and model by itself for a while.
 *
 * What is leased is charged to every limit at once, so leases never admit more than the limits do.
 * When a lease ends, what was not used goes back: exactly, when the edge says how much it used
 * (AUTHORIZE.lease_ended); else by counting its RELEASEs until a moment after the expiry, later
 * ones being charged as they come. */
#ifndef SERVICES_AUTH_LIMITS_LEASE_H
#define SERVICES_AUTH_LIMITS_LEASE_H

#include "services/auth/keys/keys.h"

enum {
    LEASE_SHARE = 4,        /* at most remaining / (LEASE_SHARE × edges) */
    LEASE_MAX = 10000,      /* requests, where no limit says less */
    LEASE_SILENCE_MS = 1000 /* after the expiry, before a lease nobody reported on is taken back */
};

struct leases {
    struct table table;
    struct limits *limits;
    uint64_t seed;
    size_t cursor;
};

/* Whose lease: one edge, one key, one model name as asked. */
struct lease_party {
    const void *edge;
    struct key *key;
    struct span model;
};

struct lease_terms {
    uint32_t requests; /* 0 = no lease */
    uint64_t tokens;   /* 0 = not limited */
};

void leases_init(struct leases *l, struct limits *limits);
void leases_free(struct leases *l);
/* Charges and remembers a lease; none while an earlier one of this party runs. `edges` are those
 * connected; tokens_each is what the request at hand needs. */
struct lease_terms lease_grant(struct leases *l, const struct lease_party *who,
                               const struct limit_set *set, uint64_t now_ns, uint64_t lease_ns,
                               size_t edges, uint64_t tokens_each);
/* The edge asked again: its lease is over, `used` of it were used. */
void lease_report(struct leases *l, const struct lease_party *who, uint64_t now_ns, uint64_t used,
                  uint64_t used_tokens);
/* The edge asked again without saying anything about its lease. */
void lease_asked_again(struct leases *l, const struct lease_party *who, uint64_t now_ns);
/* A leased request has ended. */
void lease_release(struct leases *l, const struct lease_party *who, uint64_t now_ns,
                   uint64_t tokens);
/* Some of the table, for expiry; call a few times a second. */
void lease_sweep(struct leases *l, uint64_t now_ns);
/* The edge is gone, or the key: nothing is given back, for nobody knows what was used. */
void lease_forget_edge(struct leases *l, const void *edge);
void lease_forget_key(struct leases *l, const struct key *key);

#endif
