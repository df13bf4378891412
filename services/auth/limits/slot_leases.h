/* Leases of concurrency slots: of a key that may run so many requests at once, an edge holds some
 * slots and runs requests in them without asking.
 *
 * Of each edge and key there are two counts that only grow: slots given, which auth alone raises,
 * and slots returned, which the edge alone raises. Each side takes the larger of what it knows and
 * what it is told. So a message that is lost, doubled or late does no harm: auth never believes
 * that an edge holds less than it does, and the next message makes up for any that was lost. What
 * edges hold, in use or free, is part of the key's in_flight: the limit is exact over all edges. */
#ifndef SERVICES_AUTH_LIMITS_SLOT_LEASES_H
#define SERVICES_AUTH_LIMITS_SLOT_LEASES_H

#include "proto/message.h"
#include "services/auth/keys/keys.h"

enum {
    SLOT_SILENCE_MS = 1000,   /* after the expiry, before an edge is asked what it holds … */
    SLOT_ASK_AGAIN_MS = 5000, /* … and before it is asked again */
    SLOT_OWNER_GRACE_S = 10,  /* an edge whose link was lost holds its slots so much longer */
    SLOT_LEASE_MAX = 1 << 20  /* of one edge and key */
};

/* Sends SLOTS_BACK to an edge. */
typedef void (*slot_ask)(void *ctx, const void *edge, const struct slots_back *m);

struct slot_leases {
    struct table table;
    uint64_t seed;
    size_t cursor;
    slot_ask ask;
    void *ctx; /* of ask */
};

/* Whose lease: one life of an edge, one key, by one of its secrets: edges know keys by these. */
struct slot_party {
    const void *edge; /* to be asked there */
    uint64_t epoch;
    struct key *key;
    struct span digest; /* SHA-256 of the secret */
};

void slot_leases_init(struct slot_leases *l, slot_ask ask, void *ctx);
void slot_leases_free(struct slot_leases *l);

/* What the edge says of its counts. */
void slot_lease_told(struct slot_leases *l, const struct slot_party *who, uint64_t given,
                     uint64_t returned, uint64_t now_ns);
/* Gives `slots` more (0: only renews the lease); *given_out is the count to be told. The caller
 * keeps to the key's limit. ERR_NOMEM: nothing is given. */
enum err slot_lease_give(struct slot_leases *l, const struct slot_party *who, uint32_t slots,
                         uint64_t expires_ns, uint64_t *given_out) NODISCARD;
/* Do others than this life of an edge hold slots of the key, and can they be asked for them? */
bool slot_leases_elsewhere(const struct key *key, uint64_t epoch);
/* Asks for one more slot of the key: from the edge that will have the most left, but not from this
 * one, unless `also` (its counts may be ahead of its knowledge). */
void slot_lease_call_back(struct slot_leases *l, const struct key *key, uint64_t epoch, bool also);

/* The key goes: its leases are forgotten. */
void slot_leases_forget_key(struct slot_leases *l, struct key *key);
/* An edge's link is lost: what ran there may still run. It is back: the same life. */
void slot_leases_edge_gone(struct slot_leases *l, uint64_t epoch, uint64_t now_ns);
void slot_leases_edge_back(struct slot_leases *l, const void *edge, uint64_t epoch);
/* Some of the table: frees what lost edges held, asks the silent. Call a few times a second. */
void slot_leases_sweep(struct slot_leases *l, uint64_t now_ns);

#endif
