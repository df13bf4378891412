#include "services/auth/limits/lease.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/base/crypto.h"

enum { SWEEP_SLOTS = 256 };
/* After so long without a word a lease of which nothing is open is forgotten. */
#define IDLE_NS (600 * GCRA_SECOND)

struct lease {
    struct table_node node;
    struct lease *prev, *next; /* of the same key */
    const void *edge;
    struct key *key;
    uint64_t name;
    struct limit_set set;
    struct lease_count used, charged;
    bool open;        /* more is charged than used, and the edge may use it */
    bool called_back; /* … but was asked not to */
    uint64_t touched_ns;
    struct share share;
};

void leases_init(struct leases *l, struct limits *limits)
{
    *l = (struct leases){.limits = limits};
    crypto_random(&l->seed, sizeof l->seed);
}

static void drop(struct leases *l, struct lease *lease)
{
    share_forget(&lease->share, &lease->set);
    DL_DELETE(lease->key->leases, lease);
    table_remove(&l->table, &lease->node);
    free(lease);
}

static void free_node(void *ctx, struct table_node *node)
{
    (void)ctx; /* the keys may be gone */
    free(TABLE_OWNER(node, struct lease, node));
}

void leases_free(struct leases *l)
{
    size_t cursor = 0;
    table_sweep(&l->table, &cursor, l->table.size, free_node, NULL);
    table_free(&l->table);
}

/* The same for the same limits in every life of auth, for edges come back with it. */
static uint64_t name_of(const struct limit_set *set)
{
    uint64_t name = 1;
    for (size_t i = 0; i < set->count; i++)
        name = name * 0x100000001b3u ^ set->limits[i]->by_name.hash;
    return name ? name : 1;
}

static uint64_t hash_of(const struct leases *l, const struct lease_party *who, uint64_t name)
{
    const uint64_t is[3] = {(uint64_t)(uintptr_t)who->edge, (uint64_t)(uintptr_t)who->key, name};
    return table_hash(l->seed, span_of(is, sizeof is));
}

static struct lease *find(const struct leases *l, const struct lease_party *who, uint64_t name)
{
    for (struct table_node *n = table_first(&l->table, hash_of(l, who, name)); n;
         n = table_next(n)) {
        struct lease *lease = TABLE_OWNER(n, struct lease, node);
        if (lease->edge == who->edge && lease->key == who->key && lease->name == name)
            return lease;
    }
    return NULL;
}

static struct lease *find_or_make(struct leases *l, const struct lease_party *who, uint64_t name)
{
    struct lease *lease = find(l, who, name);
    if (lease)
        return lease;
    lease = calloc(1, sizeof *lease);
    if (!lease)
        return NULL;
    lease->edge = who->edge;
    lease->key = who->key;
    lease->name = name;
    lease->set = *who->set;
    if (table_add(&l->table, &lease->node, hash_of(l, who, name))) {
        free(lease);
        return NULL;
    }
    DL_APPEND(who->key->leases, lease);
    return lease;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The one place where what is charged changes: the limits get the difference. */
static void set_charged(struct leases *l, struct lease *lease, struct lease_count to,
                        uint64_t now_ns)
{
    limit_set_refund(l->limits, &lease->set, less(lease->charged.requests, to.requests),
                     less(lease->charged.tokens, to.tokens));
    limit_set_charge(l->limits, &lease->set, now_ns, less(to.requests, lease->charged.requests),
                     less(to.tokens, lease->charged.tokens));
    lease->charged = to;
}

/* What was used is charged in any case; what was not, while it still may be. */
static void level(struct leases *l, struct lease *lease, uint64_t now_ns)
{
    struct lease_count to = lease->used;
    if (lease->open) {
        to.requests = more(to.requests, lease->charged.requests);
        to.tokens = more(to.tokens, lease->charged.tokens);
    }
    set_charged(l, lease, to, now_ns);
}

const struct lease_count *lease_told(struct leases *l, const struct lease_party *who,
                                     const struct lease_report *report, uint64_t now_ns)
{
    struct lease *lease = find(l, who, report->lease);
    if (!lease && now_ns < who->key->leases_from_ns)
        return NULL; /* said before the edge was told to forget it */
    if (!lease) {    /* of an earlier life, or link: it runs on, as the edge has it */
        lease = find_or_make(l, who, report->lease);
        if (!lease)
            return NULL;
        lease->used = report->used;
        lease->charged = report->charged;
        /* one with nothing unspent has ended: taken for open, it would never be said to end, and
         * the edge would get no other */
        lease->open = report->charged.requests > report->used.requests ||
                      report->charged.tokens > report->used.tokens;
    }
    struct lease_count used = {more(lease->used.requests, report->used.requests),
                               more(lease->used.tokens, report->used.tokens)};
    share_use(&lease->share, &lease->set, used.requests - lease->used.requests,
              used.tokens - lease->used.tokens, now_ns);
    lease->used = used;
    lease->open = lease->open && !report->ended;
    lease->touched_ns = now_ns;
    level(l, lease, now_ns);
    return &lease->charged;
}

static uint64_t part(uint64_t remaining, size_t edges)
{
    return remaining / (LEASE_SHARE * (uint64_t)edges);
}

/* false: not enough is left for one. UINT64_MAX tokens: not limited. */
static bool size_lease(const struct limit_set *set, uint64_t now_ns, size_t edges,
                       uint64_t tokens_each, struct lease_count *out)
{
    if (edges == 0)
        return false;
    uint64_t requests = part(limit_set_remaining(set, now_ns, LIMIT_REQUESTS), edges);
    uint64_t tokens = limit_set_remaining(set, now_ns, LIMIT_TOKENS);
    out->requests = requests > LEASE_MAX ? LEASE_MAX : requests;
    out->tokens = tokens == UINT64_MAX ? tokens : part(tokens, edges);
    return out->requests && out->tokens && out->tokens >= tokens_each;
}

static void tell(struct lease *lease, const struct lease_party *who, uint64_t now_ns, size_t edges,
                 uint64_t tokens, struct lease_terms *out)
{
    share_use(&lease->share, who->set, 1, tokens, now_ns);
    share_tell(&lease->share, who->set, edges, now_ns, &out->away, &out->idle);
}

void lease_grant(struct leases *l, const struct lease_party *who, uint64_t now_ns, size_t edges,
                 uint64_t tokens, struct lease_terms *out)
{
    struct lease_count terms;
    *out = (struct lease_terms){0};
    if (who->set->count == 0) { /* there is nothing to remember */
        const struct away_share all = {UINT64_MAX, UINT64_MAX};
        *out = (struct lease_terms){
            .granted = true, .charged = {UINT64_MAX, UINT64_MAX}, .away = all, .idle = all};
        return;
    }
    size_t before = l->table.count;
    struct lease *lease = find_or_make(l, who, name_of(who->set));
    if (!lease)
        return;
    out->is_new = l->table.count > before;
    lease->touched_ns = now_ns;
    tell(lease, who, now_ns, edges, tokens, out);
    out->lease = lease->name;
    out->granted = !lease->open && size_lease(who->set, now_ns, edges, tokens, &terms);
    if (out->granted) {
        bool all_tokens = terms.tokens == UINT64_MAX;
        struct lease_count to = {lease->charged.requests + terms.requests,
                                 lease->charged.tokens + (all_tokens ? 0 : terms.tokens)};
        lease->open = true;
        lease->called_back = false;
        set_charged(l, lease, to, now_ns);
    }
    out->used = lease->used;
    out->charged = lease->charged;
    if (limit_set_remaining(who->set, now_ns, LIMIT_TOKENS) == UINT64_MAX)
        out->charged.tokens = UINT64_MAX;
}

void lease_call_back(const struct key *key, uint64_t now_ns,
                     void (*fn)(void *ctx, const void *edge, const struct key *key), void *ctx)
{
    struct lease *lease;
    DL_FOREACH(key->leases, lease)
    {
        if (!lease->open || lease->called_back || !limit_set_owes(&lease->set, now_ns))
            continue;
        lease->called_back = true;
        fn(ctx, lease->edge, key);
    }
}

struct lease_sweep {
    struct leases *leases;
    uint64_t now_ns;
    const void *edge;
    const struct key *key;
};

static void look_at(void *ctx, struct table_node *node)
{
    const struct lease_sweep *s = ctx;
    struct lease *lease = TABLE_OWNER(node, struct lease, node);
    share_expire(&lease->share, &lease->set, s->now_ns);
    bool counted = lease->used.requests == lease->charged.requests &&
                   lease->used.tokens == lease->charged.tokens;
    if (!lease->open && counted && s->now_ns >= lease->touched_ns + IDLE_NS)
        drop(s->leases, lease);
}

void lease_sweep(struct leases *l, uint64_t now_ns)
{
    struct lease_sweep s = {.leases = l, .now_ns = now_ns};
    table_sweep(&l->table, &l->cursor, SWEEP_SLOTS + l->table.size / 8, look_at, &s);
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
