/* Leases: an edge may admit some requests of one key by itself for a while. A key has one at each
 * edge for all models that the same limits hold for, however many names its client asks for.
 *
 * What is leased is charged to every limit at once, so leases never admit more than the limits do.
 * Of each lease there are two counts of requests (and of tokens) that only grow: what its edge has
 * used of it in all, which the edge alone raises, and what is charged for that, granted ones
 * included, which auth alone sets. The edge tells both: so a message that is lost, doubled or late
 * does no harm, and auth that starts again, or has had no link to the edge, charges and gives back
 * what it would have.
 *
 * While auth is away an edge goes on at a share of the rate of the limits: by what the key has used
 * there lately. What it uses so is charged when auth hears of it. The shares of all edges together
 * are no more than the rate. */
#ifndef SERVICES_AUTH_LIMITS_LEASE_H
#define SERVICES_AUTH_LIMITS_LEASE_H

#include "services/auth/keys/keys.h"
#include "services/auth/limits/share.h"

enum {
    LEASE_SHARE = 4,  /* at most remaining / (LEASE_SHARE × edges) */
    LEASE_MAX = 10000 /* requests, where no limit says less */
};

struct leases {
    struct table table;
    struct limits *limits;
    uint64_t seed;
    size_t cursor;
};

/* Whose lease: one edge, one key, the limits of the model that is asked for. */
struct lease_party {
    const void *edge;
    struct key *key;
    const struct limit_set *set;
};

struct lease_count {
    uint64_t requests, tokens;
};

/* What an edge says of one: see LEASE_USED. */
struct lease_report {
    uint64_t lease;
    struct lease_count used, charged;
    bool ended;
};

struct lease_terms {
    bool granted;
    bool is_new;                /* the counts begin with this */
    uint64_t lease;             /* its name; 0 = there are no limits */
    struct lease_count charged; /* so many may be used in all; UINT64_MAX = not limited */
    struct lease_count used;    /* as far as its edge has said */
    struct away_share away, idle;
};

void leases_init(struct leases *l, struct limits *limits);
void leases_free(struct leases *l);
/* Another request of the party, of so many tokens, is admitted and charged: charges a lease for
 * further ones, unless there is not enough left, or an earlier one still runs. `edges` are those
 * connected. */
void lease_grant(struct leases *l, const struct lease_party *who, uint64_t now_ns, size_t edges,
                 uint64_t tokens, struct lease_terms *out);
/* What is charged from here on; NULL: nothing is, without memory. who->set are the limits of a
 * model that the lease is for. */
const struct lease_count *lease_told(struct leases *l, const struct lease_party *who,
                                     const struct lease_report *report, uint64_t now_ns);
/* Does the key owe a limit more than it gives, while edges run leases of it? Each edge that does
 * is visited; it will tell what it has used. */
void lease_call_back(const struct key *key, uint64_t now_ns,
                     void (*fn)(void *ctx, const void *edge, const struct key *key), void *ctx);
/* Some of the table; call a few times a second. */
void lease_sweep(struct leases *l, uint64_t now_ns);
/* The edge is gone, or the key: nothing is given back, for nobody knows what was used. */
void lease_forget_edge(struct leases *l, const void *edge);
void lease_forget_key(struct leases *l, const struct key *key);

#endif
