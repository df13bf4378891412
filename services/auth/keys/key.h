/* One client key: who may ask, for which models, within which limits. */
#ifndef SERVICES_AUTH_KEYS_KEY_H
#define SERVICES_AUTH_KEYS_KEY_H

#include "services/auth/keys/attributes.h"
#include "services/auth/limits/limits.h"

struct lease;
struct slot_lease;
struct waiting_authorize;

struct key_rule {
    char *pattern;
    struct limit *limit;
};

/* What opens a key: its present secret, or the one before. */
struct key_secret {
    struct table_node by_stored;
    struct table_node by_digest; /* in its table once an edge has shown the key */
    struct key *key;
    uint8_t stored[SHA256_BYTES];
    bool used, digest_known;
    uint8_t digest[SHA256_BYTES];
};

enum { KEY_SECRETS = 2 };

struct key {
    struct table_node by_id;
    struct key_secret secrets[KEY_SECRETS]; /* the present one first */
    struct key_attributes is;               /* its spans point into text_ */
    struct limit_set limits;                /* those that hold for every model */
    struct limit *tokens;                   /* the one of them in tokens, or NULL */
    struct key_rule *rules;
    size_t rule_count;
    struct lease *leases; /* that edges hold of it … */
    uint64_t
        leases_from_ns; /* … and none of which is from before: edges were told to forget them */
    /* Only when `concurrent` is set: slots taken, those that edges hold on lease included, … */
    uint32_t in_flight;
    struct slot_lease *slot_leases;    /* … these leases, … */
    struct waiting_authorize *waiting; /* … and requests that wait for a slot, oldest first */
    struct key *prev, *next;           /* in order of creation */
    char *text_;
};

/* What follows from its attributes: text of its own, limits, rules. Frees nothing on failure. */
enum err key_make_parts(struct key *key, struct limits *limits, uint64_t now_ns) NODISCARD;
void key_free_parts(struct key *key);
/* It was replaced by another one, and opens its key no more or only for a while. */
static inline bool key_secret_is_old(const struct key_secret *s)
{
    return s != &s->key->secrets[0];
}
/* Until when it opens its key (wall clock); UINT64_MAX = for ever. */
static inline uint64_t key_secret_until_ms(const struct key_secret *s)
{
    const struct key_attributes *a = &s->key->is;
    uint64_t expires_ms = a->expires_ms ? a->expires_ms : UINT64_MAX;
    return key_secret_is_old(s) && a->before_until_ms < expires_ms ? a->before_until_ms
                                                                   : expires_ms;
}
bool key_may_use(const struct key *key, struct span model);
/* The key's own limits and its rules for that model. */
void key_limits(const struct key *key, struct span model, struct limit_set *set);

#endif
