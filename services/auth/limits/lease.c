#include "services/auth/limits/lease.h"

#include <stdlib.h>

#include "common/base/crypto.h"

enum { SWEEP_SLOTS = 256 };
#define IDLE_NS (600 * GCRA_SECOND)

struct lease {
    struct table_node node;
    const void *edge;
    struct key *key;
    uint64_t model_hash;
    struct limit_set set;
    bool open;              /* granted is charged, and its use unknown */
    uint64_t granted, used; /* of the open one; `used` by the RELEASEs so far */
    uint64_t tokens, tokens_used;
    uint64_t expires_ns; /* of the open one; else when it was last touched */
    uint64_t owed;       /* reported as used, RELEASE still to come: not to be charged again */
    uint64_t late, late_tokens; /* charged at RELEASE since an unreported end */
};

void leases_init(struct leases *l, struct limits *limits)
{
    *l = (struct leases){.limits = limits};
    crypto_random(&l->seed, sizeof l->seed);
}

static void drop(struct leases *l, struct lease *lease)
{
    table_remove(&l->table, &lease->node);
    free(lease);
}

static void drop_node(void *ctx, struct table_node *node)
{
    drop(ctx, TABLE_OWNER(node, struct lease, node));
}

void leases_free(struct leases *l)
{
    size_t cursor = 0;
    table_sweep(&l->table, &cursor, l->table.size, drop_node, l);
    table_free(&l->table);
}

static uint64_t party_hash(const struct leases *l, const struct lease_party *who,
                           uint64_t model_hash)
{
    const void *who_is[2] = {who->edge, who->key};
    return table_hash(l->seed ^ model_hash, span_of(who_is, sizeof who_is));
}

static struct lease *find(const struct leases *l, const struct lease_party *who)
{
    uint64_t model_hash = table_hash(l->seed, who->model);
    for (struct table_node *n = table_first(&l->table, party_hash(l, who, model_hash)); n;
         n = table_next(n)) {
        struct lease *lease = TABLE_OWNER(n, struct lease, node);
        if (lease->edge == who->edge && lease->key == who->key && lease->model_hash == model_hash)
            return lease;
    }
    return NULL;
}

static struct lease *find_or_make(struct leases *l, const struct lease_party *who)
{
    struct lease *lease = find(l, who);
    if (lease)
        return lease;
    lease = calloc(1, sizeof *lease);
    if (!lease)
        return NULL;
    lease->edge = who->edge;
    lease->key = who->key;
    lease->model_hash = table_hash(l->seed, who->model);
    if (table_add(&l->table, &lease->node, party_hash(l, who, lease->model_hash))) {
        free(lease);
        return NULL;
    }
    return lease;
}

static uint64_t share(uint64_t remaining, size_t edges)
{
    return remaining / (LEASE_SHARE * (uint64_t)edges);
}

static struct lease_terms size_lease(const struct limit_set *set, uint64_t now_ns, size_t edges,
                                     uint64_t tokens_each)
{
    struct lease_terms none = {0}, terms = {0};
    if (edges == 0)
        return none;
    uint64_t requests = share(limit_set_remaining(set, now_ns, LIMIT_REQUESTS), edges);
    terms.requests = requests > LEASE_MAX ? LEASE_MAX : (uint32_t)requests;
    uint64_t tokens = limit_set_remaining(set, now_ns, LIMIT_TOKENS);
    if (tokens != UINT64_MAX) {
        terms.tokens = share(tokens, edges);
        if (terms.tokens == 0 || terms.tokens < tokens_each)
            return none;
    }
    return terms.requests ? terms : none;
}

struct lease_terms lease_grant(struct leases *l, const struct lease_party *who,
                               const struct limit_set *set, uint64_t now_ns, uint64_t lease_ns,
                               size_t edges, uint64_t tokens_each)
{
    struct lease_terms none = {0};
    struct lease_terms terms = size_lease(set, now_ns, edges, tokens_each);
    if (terms.requests == 0 || set->count == 0)
        return terms; /* without limits there is nothing to remember */
    struct lease *lease = find_or_make(l, who);
    if (!lease || lease->open)
        return none;
    lease->set = *set;
    lease->open = true;
    lease->granted = terms.requests;
    lease->tokens = terms.tokens;
    lease->used = lease->tokens_used = 0;
    lease->late = lease->late_tokens = 0;
    lease->expires_ns = now_ns + lease_ns;
    limit_set_charge(l->limits, set, now_ns, terms.requests, terms.tokens);
    return terms;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Takes back what was not used, and charges what was used beyond the grant. */
static void settle(struct leases *l, struct lease *lease, uint64_t now_ns, uint64_t used,
                   uint64_t tokens)
{
    limit_set_refund(l->limits, &lease->set, less(lease->granted, used),
                     less(lease->tokens, tokens));
    limit_set_charge(l->limits, &lease->set, now_ns, less(used, lease->granted),
                     lease->tokens ? less(tokens, lease->tokens) : 0);
    lease->open = false;
    lease->expires_ns = now_ns;
}

void lease_report(struct leases *l, const struct lease_party *who, uint64_t now_ns, uint64_t used,
                  uint64_t used_tokens)
{
    struct lease *lease = find(l, who);
    if (!lease)
        return;
    if (lease->open) {
        lease->owed += less(used, lease->used);
        settle(l, lease, now_ns, used, used_tokens);
    } else if (lease->granted) {
        /* Taken back without a word before: what is not yet charged has been used after all. */
        uint64_t known = lease->used + lease->late;
        limit_set_charge(l->limits, &lease->set, now_ns, less(used, known),
                         lease->tokens ? less(used_tokens, lease->tokens_used + lease->late_tokens)
                                       : 0);
        lease->owed += less(used, known);
    }
    lease->granted = 0;
}

static void end_unreported(struct leases *l, struct lease *lease, uint64_t now_ns)
{
    settle(l, lease, now_ns, lease->used, lease->tokens_used);
}

void lease_asked_again(struct leases *l, const struct lease_party *who, uint64_t now_ns)
{
    struct lease *lease = find(l, who);
    if (lease && lease->open && now_ns >= lease->expires_ns)
        end_unreported(l, lease, now_ns);
}

void lease_release(struct leases *l, const struct lease_party *who, uint64_t now_ns,
                   uint64_t tokens)
{
    struct lease *lease = find(l, who);
    if (!lease)
        return; /* no limits, or of an earlier life: charged when it was granted, and never given
                   back */
    if (lease->owed) {
        lease->owed--;
    } else if (lease->open) {
        lease->used++;
        lease->tokens_used += tokens;
    } else {
        lease->late++;
        lease->late_tokens += tokens;
        limit_set_charge(l->limits, &lease->set, now_ns, 1, tokens);
    }
}

struct lease_sweep {
    struct leases *leases;
    uint64_t now_ns;
    const void *edge;
    const struct key *key;
};

static void expire(void *ctx, struct table_node *node)
{
    const struct lease_sweep *s = ctx;
    struct lease *lease = TABLE_OWNER(node, struct lease, node);
    if (lease->open && s->now_ns >= lease->expires_ns + LEASE_SILENCE_MS * (GCRA_SECOND / 1000))
        end_unreported(s->leases, lease, s->now_ns);
    else if (!lease->open && s->now_ns >= lease->expires_ns + IDLE_NS)
        drop(s->leases, lease);
}

void lease_sweep(struct leases *l, uint64_t now_ns)
{
    struct lease_sweep s = {.leases = l, .now_ns = now_ns};
    table_sweep(&l->table, &l->cursor, SWEEP_SLOTS + l->table.size / 8, expire, &s);
}

static void forget(void *ctx, struct table_node *node)
{
    const struct lease_sweep *s = ctx;
    struct lease *lease = TABLE_OWNER(node, struct lease, node);
    if ((s->edge && lease->edge == s->edge) || (s->key && lease->key == s->key))
        drop(s->leases, lease);
}

static void forget_all(struct leases *l, const void *edge, const struct key *key)
{
    struct lease_sweep s = {.leases = l, .edge = edge, .key = key};
    size_t cursor = 0;
    table_sweep(&l->table, &cursor, l->table.size, forget, &s);
}

void lease_forget_edge(struct leases *l, const void *edge)
{
    forget_all(l, edge, NULL);
}

void lease_forget_key(struct leases *l, const struct key *key)
{
    forget_all(l, NULL, key);
}
