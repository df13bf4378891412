#include "services/auth/limits/slot_leases.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/base/crypto.h"

enum { SWEEP_SLOTS = 256 };
#define MS_NS ((uint64_t)1000000)
#define IDLE_NS (600 * GCRA_SECOND)

struct slot_lease {
    struct table_node node;
    struct slot_lease *prev, *next; /* of the same key */
    const void *edge;               /* NULL while its link is lost */
    uint64_t epoch;
    struct key *key;
    uint8_t digest[SHA256_BYTES];
    uint64_t given, returned;
    uint64_t until; /* what `returned` was asked to come to */
    uint64_t expires_ns;
    uint64_t asked_ns; /* what it holds, last */
    uint64_t gone_ns;  /* while its link is lost */
};

void slot_leases_init(struct slot_leases *l, slot_ask ask, void *ctx)
{
    *l = (struct slot_leases){.ask = ask, .ctx = ctx};
    crypto_random(&l->seed, sizeof l->seed);
}

static uint32_t held(const struct slot_lease *lease)
{
    uint64_t n = lease->given - lease->returned;
    return n < SLOT_LEASE_MAX ? (uint32_t)n : SLOT_LEASE_MAX;
}

/* The one place where a lease's counts change. */
static void set_counts(struct slot_lease *lease, uint64_t given, uint64_t returned)
{
    uint32_t before = held(lease);
    lease->given = given;
    lease->returned = returned;
    lease->key->in_flight += held(lease) - before;
}

static void drop(struct slot_leases *l, struct slot_lease *lease)
{
    set_counts(lease, lease->given, lease->given);
    DL_DELETE(lease->key->slot_leases, lease);
    table_remove(&l->table, &lease->node);
    free(lease);
}

static void free_node(void *ctx, struct table_node *node)
{
    (void)ctx; /* the keys may be gone */
    free(TABLE_OWNER(node, struct slot_lease, node));
}

void slot_leases_free(struct slot_leases *l)
{
    size_t cursor = 0;
    table_sweep(&l->table, &cursor, l->table.size, free_node, NULL);
    table_free(&l->table);
}

static uint64_t hash_of(const struct slot_leases *l, const struct slot_party *who)
{
    const uint64_t is[2] = {who->epoch, (uint64_t)(uintptr_t)who->key};
    return table_hash(l->seed, span_of(is, sizeof is));
}

static void copy_digest(const struct slot_party *who, uint8_t out[SHA256_BYTES])
{
    memset(out, 0, SHA256_BYTES);
    if (who->digest.len == SHA256_BYTES)
        memcpy(out, who->digest.data, SHA256_BYTES);
}

static struct slot_lease *find(const struct slot_leases *l, const struct slot_party *who)
{
    uint8_t digest[SHA256_BYTES];
    copy_digest(who, digest);
    for (struct table_node *n = table_first(&l->table, hash_of(l, who)); n; n = table_next(n)) {
        struct slot_lease *lease = TABLE_OWNER(n, struct slot_lease, node);
        if (lease->epoch == who->epoch && lease->key == who->key &&
            memcmp(lease->digest, digest, SHA256_BYTES) == 0)
            return lease;
    }
    return NULL;
}

static struct slot_lease *find_or_make(struct slot_leases *l, const struct slot_party *who,
                                       uint64_t now_ns)
{
    struct slot_lease *lease = find(l, who);
    if (lease)
        return lease;
    lease = malloc(sizeof *lease);
    if (!lease)
        return NULL;
    *lease = (struct slot_lease){
        .edge = who->edge, .epoch = who->epoch, .key = who->key, .expires_ns = now_ns};
    copy_digest(who, lease->digest);
    if (table_add(&l->table, &lease->node, hash_of(l, who))) {
        free(lease);
        return NULL;
    }
    DL_APPEND(who->key->slot_leases, lease);
    return lease;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void slot_lease_told(struct slot_leases *l, const struct slot_party *who, uint64_t given,
                     uint64_t returned, uint64_t now_ns)
{
    if (given == 0 || returned > given)
        return; /* it knows of nothing */
    struct slot_lease *lease = find_or_make(l, who, now_ns);
    if (lease)
        set_counts(lease, larger(lease->given, given), larger(lease->returned, returned));
}

enum err slot_lease_give(struct slot_leases *l, const struct slot_party *who, uint32_t slots,
                         uint64_t expires_ns, uint64_t *given_out)
{
    struct slot_lease *lease = find_or_make(l, who, expires_ns);
    if (!lease)
        return ERR_NOMEM;
    set_counts(lease, lease->given + slots, lease->returned);
    lease->expires_ns = expires_ns;
    *given_out = lease->given;
    return OK;
}

bool slot_leases_elsewhere(const struct key *key, uint64_t epoch)
{
    const struct slot_lease *lease;
    DL_FOREACH(key->slot_leases, lease)
    {
        if (lease->edge && lease->epoch != epoch && lease->given > lease->returned)
            return true;
    }
    return false;
}

static void ask_back(const struct slot_leases *l, struct slot_lease *lease, uint64_t until)
{
    lease->until = until;
    struct slots_back m = {
        .key_digest = span_of(lease->digest, SHA256_BYTES), .given = lease->given, .until = until};
    l->ask(l->ctx, lease->edge, &m);
}

/* What it has been asked for, as far as it has not come. */
static uint64_t asked_until(const struct slot_lease *lease)
{
    return larger(lease->until, lease->returned);
}

void slot_lease_call_back(struct slot_leases *l, const struct key *key, uint64_t epoch, bool also)
{
    struct slot_lease *lease, *most = NULL;
    DL_FOREACH(key->slot_leases, lease)
    {
        if (!lease->edge || (lease->epoch == epoch && !also))
            continue;
        uint64_t left = lease->given - asked_until(lease);
        if (left && (!most || left > most->given - asked_until(most)))
            most = lease;
    }
    if (most)
        ask_back(l, most, asked_until(most) + 1);
}

void slot_leases_forget_key(struct slot_leases *l, struct key *key)
{
    while (key->slot_leases)
        drop(l, key->slot_leases);
}

struct slot_sweep {
    struct slot_leases *leases;
    uint64_t now_ns;
    const void *edge;
    uint64_t epoch;
};

static void mark_gone(void *ctx, struct table_node *node)
{
    const struct slot_sweep *s = ctx;
    struct slot_lease *lease = TABLE_OWNER(node, struct slot_lease, node);
    if (lease->epoch != s->epoch)
        return;
    lease->edge = NULL;
    lease->gone_ns = s->now_ns;
}

static void mark_back(void *ctx, struct table_node *node)
{
    const struct slot_sweep *s = ctx;
    struct slot_lease *lease = TABLE_OWNER(node, struct slot_lease, node);
    if (lease->epoch == s->epoch)
        lease->edge = s->edge;
}

static void visit_all(struct slot_leases *l, struct slot_sweep *s,
                      void (*fn)(void *ctx, struct table_node *node))
{
    size_t cursor = 0;
    table_sweep(&l->table, &cursor, l->table.size, fn, s);
}

void slot_leases_edge_gone(struct slot_leases *l, uint64_t epoch, uint64_t now_ns)
{
    struct slot_sweep s = {.now_ns = now_ns, .epoch = epoch};
    visit_all(l, &s, mark_gone);
}

void slot_leases_edge_back(struct slot_leases *l, const void *edge, uint64_t epoch)
{
    struct slot_sweep s = {.edge = edge, .epoch = epoch};
    visit_all(l, &s, mark_back);
}

static void look_at(void *ctx, struct table_node *node)
{
    const struct slot_sweep *s = ctx;
    struct slot_lease *lease = TABLE_OWNER(node, struct slot_lease, node);
    bool empty = lease->given == lease->returned;
    if (!lease->edge) {
        if (empty || s->now_ns >= lease->gone_ns + SLOT_OWNER_GRACE_S * GCRA_SECOND)
            drop(s->leases, lease);
    } else if (empty) {
        if (s->now_ns >= lease->expires_ns + IDLE_NS)
            drop(s->leases, lease);
    } else if (s->now_ns >= lease->expires_ns + SLOT_SILENCE_MS * MS_NS &&
               s->now_ns >= lease->asked_ns + SLOT_ASK_AGAIN_MS * MS_NS) {
        lease->asked_ns = s->now_ns;
        ask_back(s->leases, lease, asked_until(lease));
    }
}

void slot_leases_sweep(struct slot_leases *l, uint64_t now_ns)
{
    struct slot_sweep s = {.leases = l, .now_ns = now_ns};
    table_sweep(&l->table, &l->cursor, SWEEP_SLOTS + l->table.size / 8, look_at, &s);
}
