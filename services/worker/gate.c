#include "services/worker/gate.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/heap.h"
#include "services/worker/slots.h"

enum {
    BUCKETS = 16384,
    SLAB = 256,
    MAX_BROKERS = GATE_MAX_LIVING + GATE_MAX_LOST,
    /* Beyond the life of any grant, even of one made before its broker saw the loss. */
    KEY_KEPT_MS = 10000
};

struct gate_broker {
    uint64_t epoch;
    uint8_t keys[2][GRANT_KEY_BYTES]; /* this link's and the one's before */
    unsigned key_count;
    bool up;
    uint64_t lost_ms;
    uint32_t offered, running;
};

struct gate_grant {
    struct heap_entry expiry; /* first; in the heap until it has expired */
    struct gate_grant *next;  /* in its bucket, or in the free list */
    uint64_t broker_epoch, number;
    uint8_t token[GRANT_TOKEN_BYTES]; /* the latest one that was verified */
    uint32_t running;
};

struct gate_slab {
    struct gate_slab *next;
    struct gate_grant grants[SLAB];
};

struct gate {
    uint64_t worker_epoch;
    uint32_t slots, running;
    bool shut, refused_full;
    struct gate_broker brokers[MAX_BROKERS];
    unsigned broker_count;
    struct gate_grant *buckets[BUCKETS];
    struct heap expiries;
    struct gate_slab *slabs;
    struct gate_grant *spare;
    uint32_t grant_count;
};

const char *gate_verdict_name(enum gate_verdict verdict)
{
    static const char *const names[GATE_VERDICTS] = {[GATE_OK] = "ok",
                                                     [GATE_MALFORMED] = "malformed",
                                                     [GATE_OTHER_WORKER] = "other_worker",
                                                     [GATE_OTHER_EDGE] = "other_edge",
                                                     [GATE_UNKNOWN_BROKER] = "unknown_broker",
                                                     [GATE_BAD_SIGNATURE] = "bad_signature",
                                                     [GATE_EXPIRED] = "expired",
                                                     [GATE_USED] = "used",
                                                     [GATE_SHUT] = "shut",
                                                     [GATE_FULL] = "full",
                                                     [GATE_TABLE_FULL] = "table_full"};
    return names[verdict];
}

/* ---- grants ---- */

static struct gate_grant **bucket_of(struct gate *gate, uint64_t broker_epoch, uint64_t number)
{
    /* Numbers count up: neighbours get neighbouring buckets, and brokers differ by their epoch. */
    return &gate->buckets[(number + broker_epoch * 0x9e3779b97f4a7c15u) % BUCKETS];
}

static struct gate_grant *find_grant(struct gate *gate, uint64_t broker_epoch, uint64_t number)
{
    struct gate_grant *grant = *bucket_of(gate, broker_epoch, number);
    while (grant && (grant->number != number || grant->broker_epoch != broker_epoch))
        grant = grant->next;
    return grant;
}

static void forget_grant(struct gate *gate, struct gate_grant *grant)
{
    struct gate_grant **at = bucket_of(gate, grant->broker_epoch, grant->number);
    while (*at != grant)
        at = &(*at)->next;
    *at = grant->next;
    heap_remove(&gate->expiries, &grant->expiry);
    grant->next = gate->spare;
    gate->spare = grant;
    gate->grant_count--;
}

static bool has_spare(struct gate *gate)
{
    if (gate->grant_count >= GATE_MAX_GRANTS ||
        heap_reserve(&gate->expiries, gate->grant_count + 1) != OK)
        return false;
    if (gate->spare)
        return true;
    struct gate_slab *slab = calloc(1, sizeof *slab);
    if (!slab)
        return false;
    slab->next = gate->slabs;
    gate->slabs = slab;
    for (unsigned i = 0; i < SLAB; i++) {
        slab->grants[i].next = gate->spare;
        gate->spare = &slab->grants[i];
    }
    return true;
}

/* There is a spare one. */
static struct gate_grant *remember_grant(struct gate *gate, const struct grant_token *t)
{
    struct gate_grant *grant = gate->spare;
    struct gate_grant **bucket = bucket_of(gate, t->broker_epoch, t->number);
    gate->spare = grant->next;
    *grant =
        (struct gate_grant){.next = *bucket, .broker_epoch = t->broker_epoch, .number = t->number};
    *bucket = grant;
    gate->grant_count++;
    return grant;
}

/* ---- brokers ---- */

static struct gate_broker *find_broker(struct gate *gate, uint64_t epoch)
{
    for (unsigned i = 0; i < gate->broker_count; i++)
        if (gate->brokers[i].epoch == epoch)
            return &gate->brokers[i];
    return NULL;
}

static void forget_broker(struct gate *gate, struct gate_broker *broker)
{
    struct gate_broker *last = &gate->brokers[--gate->broker_count];
    if (broker != last)
        *broker = *last;
    crypto_wipe(last, sizeof *last);
}

static unsigned count_brokers(const struct gate *gate, bool up)
{
    unsigned n = 0;
    for (unsigned i = 0; i < gate->broker_count; i++)
        n += gate->brokers[i].up == up;
    return n;
}

/* What runs under grants of a broker that had been forgotten. */
static uint32_t count_running(const struct gate *gate, uint64_t broker_epoch)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        for (const struct gate_grant *grant = gate->buckets[i]; grant; grant = grant->next)
            n += grant->broker_epoch == broker_epoch ? grant->running : 0;
    return n;
}

enum err gate_broker_up(struct gate *gate, uint64_t broker_epoch,
                        const uint8_t key[GRANT_KEY_BYTES])
{
    struct gate_broker *broker = find_broker(gate, broker_epoch);
    if ((!broker || !broker->up) && count_brokers(gate, true) >= GATE_MAX_LIVING)
        return ERR_TOO_BIG;
    if (!broker) {
        broker = &gate->brokers[gate->broker_count++];
        *broker = (struct gate_broker){.epoch = broker_epoch,
                                       .running = count_running(gate, broker_epoch)};
    }
    memcpy(broker->keys[1], broker->keys[0], GRANT_KEY_BYTES);
    memcpy(broker->keys[0], key, GRANT_KEY_BYTES);
    broker->key_count += broker->key_count < 2;
    broker->up = true;
    return OK;
}

static void forget_longest_lost(struct gate *gate)
{
    struct gate_broker *longest = NULL;
    for (unsigned i = 0; i < gate->broker_count; i++) {
        struct gate_broker *broker = &gate->brokers[i];
        if (!broker->up && (!longest || broker->lost_ms < longest->lost_ms))
            longest = broker;
    }
    forget_broker(gate, longest);
}

void gate_broker_down(struct gate *gate, uint64_t broker_epoch, uint64_t now_ms)
{
    struct gate_broker *broker = find_broker(gate, broker_epoch);
    if (!broker || !broker->up)
        return;
    broker->up = false;
    broker->lost_ms = now_ms;
    if (count_brokers(gate, false) > GATE_MAX_LOST)
        forget_longest_lost(gate);
}

/* ---- life ---- */

enum err gate_create(struct gate **out, uint64_t worker_epoch, uint32_t slots)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->worker_epoch = worker_epoch;
    (*out)->slots = slots;
    return OK;
}

void gate_destroy(struct gate **gate)
{
    struct gate *g = *gate;
    *gate = NULL;
    if (!g)
        return;
    while (g->slabs) {
        struct gate_slab *slab = g->slabs;
        g->slabs = slab->next;
        free(slab);
    }
    heap_free(&g->expiries);
    crypto_wipe(g->brokers, sizeof g->brokers);
    free(g);
}

void gate_set_slots(struct gate *gate, uint32_t slots)
{
    gate->slots = slots;
}

void gate_set_shut(struct gate *gate, bool shut)
{
    gate->shut = shut;
}

/* ---- time ---- */

/* What still runs under an expired grant keeps it until that has ended. */
static void sweep_grants(struct gate *gate, uint64_t now_ms)
{
    for (struct heap_entry *e; (e = heap_first(&gate->expiries)) && e->key <= now_ms;) {
        struct gate_grant *grant = (struct gate_grant *)(void *)e;
        if (grant->running)
            heap_remove(&gate->expiries, e);
        else
            forget_grant(gate, grant);
    }
}

void gate_sweep(struct gate *gate, uint64_t now_ms)
{
    sweep_grants(gate, now_ms);
    for (unsigned i = gate->broker_count; i-- > 0;) {
        struct gate_broker *broker = &gate->brokers[i];
        if (!broker->up && now_ms - broker->lost_ms >= KEY_KEPT_MS)
            forget_broker(gate, broker);
    }
}

/* ---- judging ---- */

static bool is_signed(const struct gate_broker *broker, struct span token)
{
    for (unsigned i = 0; i < broker->key_count; i++)
        if (grant_token_is_signed(token, broker->keys[i]))
            return true;
    return false;
}

static bool is_used(const struct gate_grant *grant, const struct grant_token *t)
{
    uint32_t running = grant ? grant->running : 0;
    return t->standing ? running >= t->slots : grant != NULL;
}

static enum gate_verdict judge(struct gate *gate, struct span token, const struct grant_token *t,
                               const struct gate_grant *grant, uint64_t now_ms)
{
    const struct gate_broker *broker = find_broker(gate, t->broker_epoch);
    if (!broker)
        return GATE_UNKNOWN_BROKER;
    /* A standing grant's token comes with every request: signed once is signed for good. */
    bool known = grant && crypto_equals(grant->token, token.data, GRANT_TOKEN_BYTES);
    if (!known && !is_signed(broker, token))
        return GATE_BAD_SIGNATURE;
    if (t->expires_ms <= now_ms)
        return GATE_EXPIRED;
    if (is_used(grant, t))
        return GATE_USED;
    if (gate->shut)
        return GATE_SHUT;
    if (gate->running >= gate->slots)
        return GATE_FULL;
    return grant || has_spare(gate) ? GATE_OK : GATE_TABLE_FULL;
}

static void take_slot(struct gate *gate, struct gate_grant *grant, struct span token,
                      const struct grant_token *t)
{
    /* A renewal expires later; the token before it may still come. */
    if (t->expires_ms > grant->expiry.key) {
        memcpy(grant->token, token.data, GRANT_TOKEN_BYTES);
        heap_set(&gate->expiries, &grant->expiry, t->expires_ms);
    }
    grant->running++;
    gate->running++;
    find_broker(gate, t->broker_epoch)->running++;
}

enum gate_verdict gate_begin(struct gate *gate, struct span token, uint64_t edge_epoch,
                             uint64_t now_ms, struct gate_grant **out)
{
    struct grant_token t;
    *out = NULL;
    if (grant_token_read(token, &t) != OK)
        return GATE_MALFORMED;
    if (t.worker_epoch != gate->worker_epoch)
        return GATE_OTHER_WORKER;
    if (t.edge_epoch != edge_epoch)
        return GATE_OTHER_EDGE;
    sweep_grants(gate, now_ms);
    struct gate_grant *grant = find_grant(gate, t.broker_epoch, t.number);
    enum gate_verdict verdict = judge(gate, token, &t, grant, now_ms);
    gate->refused_full = gate->refused_full || verdict == GATE_FULL;
    if (verdict != GATE_OK)
        return verdict;
    if (!grant)
        grant = remember_grant(gate, &t);
    take_slot(gate, grant, token, &t);
    *out = grant;
    return GATE_OK;
}

bool gate_end(struct gate *gate, struct gate_grant *grant, uint64_t now_ms)
{
    struct gate_broker *broker = find_broker(gate, grant->broker_epoch);
    gate->running--;
    grant->running--;
    if (broker)
        broker->running--;
    if (grant->running == 0 && grant->expiry.key <= now_ms)
        forget_grant(gate, grant);
    bool tell = gate->refused_full && gate_free(gate) > 0;
    gate->refused_full = gate->refused_full && !tell;
    return tell;
}

/* ---- sharing ---- */

/* Slots that living brokers must leave alone: what runs under other grants, and what lost brokers'
 * grants may still claim. */
static uint64_t elsewhere(const struct gate *gate, uint64_t now_ms)
{
    uint64_t n = gate->running;
    for (unsigned i = 0; i < gate->broker_count; i++) {
        const struct gate_broker *broker = &gate->brokers[i];
        if (broker->up)
            n -= broker->running;
        else if (now_ms - broker->lost_ms < GATE_WITHHELD_MS && broker->offered > broker->running)
            n += broker->offered - broker->running;
    }
    return n;
}

bool gate_share(struct gate *gate, struct gate_offer *offers, size_t count, uint64_t now_ms)
{
    struct slot_share shares[GATE_MAX_LIVING] = {0};
    struct gate_broker *brokers[GATE_MAX_LIVING] = {0};
    uint64_t kept = elsewhere(gate, now_ms);
    size_t n = count < GATE_MAX_LIVING ? count : GATE_MAX_LIVING;
    for (size_t i = 0; i < n; i++) {
        struct gate_broker *broker = find_broker(gate, offers[i].broker_epoch);
        if (!broker || !broker->up)
            continue;
        brokers[i] = broker;
        shares[i] =
            (struct slot_share){.up = true, .running = broker->running, .queued = offers[i].queued};
    }
    bool uneven = slots_share(shares, n, gate->slots > kept ? gate->slots - (uint32_t)kept : 0);
    for (size_t i = 0; i < n; i++) {
        offers[i].running = shares[i].running;
        offers[i].offered = shares[i].offered;
        if (brokers[i])
            brokers[i]->offered = shares[i].offered;
    }
    return uneven;
}

uint32_t gate_running(const struct gate *gate)
{
    return gate->running;
}

uint32_t gate_free(const struct gate *gate)
{
    return gate->shut || gate->running >= gate->slots ? 0 : gate->slots - gate->running;
}

uint32_t gate_grants(const struct gate *gate)
{
    return gate->grant_count;
}
