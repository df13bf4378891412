#include "services/edge/grants/grants.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "common/base/heap.h"
#include "proto/message_copy.h"

enum { MAX_HELD = 65536, FULL_MS = 1000, MODEL_BYTES = 1024, COMPARED = 8 };

/* Where an entry stands with its broker. */
enum news { NEWS_NONE, NEWS_DUE, NEWS_SENT };

struct entry_key {
    uint64_t number;
    uint32_t broker, life; /* numbers begin anew with a broker's link */
};

struct grant_entry {
    struct held_grant grant; /* first: callers have this */
    UT_hash_handle hh;
    struct entry_key key;
    struct model_use *use; /* of a standing one */
    struct grant *text;    /* the copy that grant.m shows */
    struct grant_report counts;
    uint64_t expires_ms;
    bool closed;
    bool resting; /* the worker was busy */
    bool ready;   /* in its use's list: has a free slot */
    bool orphan;  /* the broker's link was lost since */
    enum news news;
    uint32_t sent_seq;
    struct grant_entry *prev, *next;             /* its broker's list by `news` */
    struct grant_entry *ready_prev, *ready_next; /* its use's */
    struct heap_entry due;
};

struct model_use {
    UT_hash_handle hh;
    uint32_t requests;
    uint32_t peak;     /* most of them at once since the last renewal */
    uint32_t standing; /* entries */
    struct grant_entry *ready;
    uint32_t taken_of; /* brokers whose slots were taken since their renewal, bits */
    char name[];
};

struct broker_news {
    struct grant_entry *due, *sent;
    uint64_t since_ms; /* of the oldest that is due */
    bool urgent;
    uint64_t full_ms; /* all of them again */
    uint32_t held;    /* that it can still hear of */
    uint32_t life;    /* counts the losses of its link */
};

struct grants {
    struct grant_entry *by_number;
    struct model_use *uses;
    struct broker_news brokers[GRANTS_MAX_BROKERS];
    struct heap due;
    struct grants_stats stats;
};

static struct grant_entry *entry_of(struct held_grant *grant)
{
    return (struct grant_entry *)grant;
}

static uint64_t running_of(const struct grant_entry *e)
{
    const struct grant_report *c = &e->counts;
    return c->started - c->ok - c->failed - c->canceled;
}

/* ---- what brokers must hear ---- */

static void unlist(struct grants *g, struct grant_entry *e)
{
    struct broker_news *b = &g->brokers[e->grant.broker];
    if (e->news == NEWS_DUE)
        DL_DELETE(b->due, e);
    else if (e->news == NEWS_SENT)
        DL_DELETE(b->sent, e);
    e->news = NEWS_NONE;
}

static void tell(struct grants *g, struct grant_entry *e, bool urgent, uint64_t now_ms)
{
    struct broker_news *b = &g->brokers[e->grant.broker];
    if (e->orphan)
        return;
    b->urgent |= urgent;
    if (e->news == NEWS_DUE)
        return;
    unlist(g, e);
    if (!b->due)
        b->since_ms = now_ms;
    DL_APPEND(b->due, e);
    e->news = NEWS_DUE;
}

/* ---- a model's requests ---- */

static void drop_use(struct grants *g, struct model_use *use)
{
    if (use->requests || use->standing)
        return;
    HASH_DEL(g->uses, use);
    free(use);
}

static struct model_use *find_use(struct grants *g, struct span model)
{
    struct model_use *use = NULL;
    HASH_FIND(hh, g->uses, model.data, model.len, use);
    if (use || model.len > MODEL_BYTES)
        return use;
    use = calloc(1, sizeof *use + model.len + 1);
    if (!use)
        return NULL;
    memcpy(use->name, model.data, model.len);
    HASH_ADD_KEYPTR(hh, g->uses, use->name, model.len, use);
    if (use->hh.tbl)
        return use;
    free(use);
    return NULL;
}

struct model_use *grants_enter(struct grants *g, struct span model)
{
    struct model_use *use = model.data ? find_use(g, model) : find_use(g, SPAN(""));
    if (!use)
        return NULL;
    if (++use->requests > use->peak)
        use->peak = use->requests;
    return use;
}

void grants_leave(struct grants *g, struct model_use **use)
{
    if (*use) {
        (*use)->requests--;
        drop_use(g, *use);
    }
    *use = NULL;
}

uint32_t grants_wanted(const struct model_use *use)
{
    return use->requests;
}

/* ---- entries ---- */

static void set_ready(struct grant_entry *e)
{
    bool ready = e->use && !e->closed && !e->resting && running_of(e) < e->grant.m.slots;
    if (ready == e->ready)
        return;
    e->ready = ready;
    if (ready)
        DL_APPEND2(e->use->ready, e, ready_prev, ready_next);
    else
        DL_DELETE2(e->use->ready, e, ready_prev, ready_next);
}

static void forget(struct grants *g, struct grant_entry *e)
{
    struct model_use *use = e->use;
    unlist(g, e);
    heap_remove(&g->due, &e->due);
    HASH_DEL(g->by_number, e);
    g->brokers[e->grant.broker].held -= !e->orphan;
    g->stats.held--;
    free(e->text);
    free(e);
    if (use) {
        use->standing--;
        drop_use(g, use);
    }
}

/* Frees it when nothing depends on it any more: true. */
static bool forget_if_over(struct grants *g, struct grant_entry *e)
{
    bool heard = e->orphan || e->news == NEWS_NONE;
    if (!e->closed || running_of(e) || !heard)
        return false;
    forget(g, e);
    return true;
}

static void close_entry(struct grants *g, struct grant_entry *e, uint64_t now_ms)
{
    if (e->closed)
        return;
    e->closed = true;
    g->stats.slots -= e->grant.m.slots;
    set_ready(e);
    heap_remove(&g->due, &e->due);
    tell(g, e, true, now_ms);
}

static struct grant_entry *find_entry(struct grants *g, unsigned broker, uint64_t number)
{
    struct entry_key key = {number, broker, g->brokers[broker].life};
    struct grant_entry *e = NULL;
    HASH_FIND(hh, g->by_number, &key, sizeof key, e);
    return e;
}

/* ---- requests ---- */

static bool start(struct grants *g, struct grant_entry *e, uint64_t now_ms)
{
    if (e->closed || now_ms >= e->expires_ms || running_of(e) >= e->grant.m.slots)
        return false;
    e->counts.started++;
    g->stats.running++;
    if (e->use)
        e->use->taken_of |= 1u << e->grant.broker;
    tell(g, e, false, now_ms);
    if (!e->grant.m.standing) {
        e->closed = true; /* its one use */
        g->stats.slots -= e->grant.m.slots;
        heap_remove(&g->due, &e->due);
    }
    return true;
}

/* Less of its slots taken? */
static bool less_busy(const struct grant_entry *a, const struct grant_entry *b)
{
    return running_of(a) * b->grant.m.slots < running_of(b) * a->grant.m.slots;
}

/* The least busy of the first few: to take turns alone would leave those full that once had more
 * than the others, for every slot that falls free there would be taken again. */
static struct grant_entry *next_of(const struct model_use *use)
{
    struct grant_entry *best = use->ready, *e = best ? best->ready_next : NULL;
    for (unsigned i = 1; e && i < COMPARED; i++, e = e->ready_next)
        if (less_busy(e, best))
            best = e;
    return best;
}

struct held_grant *grants_take(struct grants *g, struct model_use *use, uint64_t now_ms)
{
    struct grant_entry *e;
    while ((e = next_of(use))) {
        DL_DELETE2(use->ready, e, ready_prev, ready_next); /* the others' turn */
        e->ready = false;
        if (start(g, e, now_ms)) {
            set_ready(e);
            return &e->grant;
        }
        close_entry(g, e, now_ms); /* it has expired */
        (void)forget_if_over(g, e);
    }
    return NULL;
}

bool grants_start(struct grants *g, struct held_grant *grant, uint64_t now_ms)
{
    struct grant_entry *e = entry_of(grant);
    bool started = start(g, e, now_ms);
    set_ready(e);
    return started;
}

void grants_commit(struct grants *g, struct held_grant *grant, uint64_t now_ms)
{
    struct grant_entry *e = entry_of(grant);
    e->counts.committed++;
    tell(g, e, false, now_ms);
}

void grants_end(struct grants *g, struct held_grant *grant, enum grant_outcome outcome,
                uint64_t now_ms)
{
    struct grant_entry *e = entry_of(grant);
    e->counts.ok += outcome == GRANT_OK;
    e->counts.failed += outcome == GRANT_FAILED;
    e->counts.canceled += outcome == GRANT_CANCELED;
    g->stats.running--;
    tell(g, e, outcome != GRANT_OK, now_ms);
    set_ready(e);
    (void)forget_if_over(g, e);
}

void grants_rest(struct grants *g, struct held_grant *grant)
{
    struct grant_entry *e = entry_of(grant);
    (void)g;
    e->resting = true;
    set_ready(e);
}

void grants_return(struct grants *g, struct held_grant *grant, uint64_t now_ms)
{
    struct grant_entry *e = entry_of(grant);
    close_entry(g, e, now_ms);
    (void)forget_if_over(g, e);
}

/* ---- brokers ---- */

/* Takes over what the message says, of a new one or of a renewal. */
static enum err fill(struct grants *g, struct grant_entry *e, const struct grant *m,
                     uint64_t now_ms)
{
    struct grant *text = message_copy(MESSAGE_GRANT, m);
    if (!text)
        return ERR_NOMEM;
    free(e->text);
    e->text = text;
    g->stats.slots += text->slots - e->grant.m.slots;
    e->grant.m = *text;
    e->expires_ms = now_ms + m->valid_ms;
    e->resting = false;
    heap_set(&g->due, &e->due, e->use ? now_ms + m->valid_ms / 2 : e->expires_ms);
    set_ready(e);
    return OK;
}

static struct grant_entry *add(struct grants *g, unsigned broker, const struct grant *m)
{
    struct model_use *use = m->standing ? find_use(g, m->model) : NULL;
    struct grant_entry *e = calloc(1, sizeof *e);
    if (!e || (m->standing && !use) || heap_reserve(&g->due, g->stats.held + 1))
        goto failed;
    e->key = (struct entry_key){m->number, broker, g->brokers[broker].life};
    e->grant.broker = broker;
    e->counts.number = m->number;
    e->use = use;
    HASH_ADD(hh, g->by_number, key, sizeof e->key, e);
    if (!e->hh.tbl)
        goto failed;
    if (use)
        use->standing++;
    g->stats.held++;
    g->brokers[broker].held++;
    return e;
failed:
    free(e);
    if (use)
        drop_use(g, use);
    return NULL;
}

struct held_grant *grants_put(struct grants *g, unsigned broker, const struct grant *m,
                              uint64_t now_ms)
{
    bool makes_sense = m->slots && m->worker_epoch && m->token.len == GRANT_TOKEN_BYTES &&
                       (m->model.len || !m->standing) && broker < GRANTS_MAX_BROKERS;
    struct grant_entry *e = makes_sense ? find_entry(g, broker, m->number) : NULL;
    if (e && (e->closed || e->grant.m.worker_epoch != m->worker_epoch)) {
        tell(g, e, true, now_ms); /* it crossed the end of it */
        return NULL;
    }
    if (!makes_sense || (!e && g->stats.held >= MAX_HELD))
        return NULL;
    if (!e)
        e = add(g, broker, m);
    if (!e)
        return NULL;
    if (fill(g, e, m, now_ms)) {
        close_entry(g, e, now_ms);
        return NULL;
    }
    return &e->grant;
}

void grants_revoke(struct grants *g, unsigned broker, uint64_t number, uint64_t now_ms)
{
    struct grant_entry *e = find_entry(g, broker, number);
    if (!e)
        return;
    close_entry(g, e, now_ms);
    tell(g, e, true, now_ms);
}

void grants_broker_down(struct grants *g, unsigned broker)
{
    struct grant_entry *e, *next;
    HASH_ITER(hh, g->by_number, e, next)
    {
        if (e->grant.broker != broker || e->orphan)
            continue;
        unlist(g, e);
        e->orphan = true;
        g->brokers[broker].held--;
        (void)forget_if_over(g, e);
    }
    g->brokers[broker].urgent = false;
    g->brokers[broker].life++;
}

void grants_worker_down(struct grants *g, uint64_t worker_epoch, uint64_t now_ms)
{
    struct grant_entry *e, *next;
    HASH_ITER(hh, g->by_number, e, next)
    {
        if (e->grant.m.worker_epoch != worker_epoch)
            continue;
        close_entry(g, e, now_ms);
        (void)forget_if_over(g, e);
    }
}

/* ---- reports, renewals, time ---- */

static void tell_all(struct grants *g, unsigned broker, uint64_t now_ms)
{
    struct grant_entry *e, *next;
    HASH_ITER(hh, g->by_number, e, next)
    {
        if (e->grant.broker == broker)
            tell(g, e, false, now_ms);
    }
    g->brokers[broker].full_ms = now_ms + FULL_MS;
}

bool grants_report(struct grants *g, unsigned broker, uint32_t seq, uint64_t now_ms,
                   struct buf *out)
{
    struct broker_news *b = &g->brokers[broker];
    if (b->held && now_ms >= b->full_ms)
        tell_all(g, broker, now_ms);
    if (!b->due || (!b->urgent && now_ms < b->since_ms + GRANTS_REPORT_MS))
        return false;
    for (unsigned n = 0; b->due && n < GRANTS_PER_REPORT; n++) {
        struct grant_entry *e = b->due;
        uint8_t bytes[GRANT_REPORT_BYTES];
        e->counts.closed = e->closed;
        grant_report_write(&e->counts, bytes);
        buf_append(out, span_of((const char *)bytes, sizeof bytes));
        DL_DELETE(b->due, e);
        DL_APPEND(b->sent, e);
        e->news = NEWS_SENT;
        e->sent_seq = seq;
    }
    b->urgent = b->urgent && b->due;
    return true;
}

void grants_reported(struct grants *g, unsigned broker, uint32_t seq)
{
    struct broker_news *b = &g->brokers[broker];
    struct grant_entry *e, *next;
    /* Those of a report before this one were not heard: they go again with all the others. */
    DL_FOREACH_SAFE(b->sent, e, next)
    {
        if ((int32_t)(seq - e->sent_seq) < 0)
            break;
        if (e->sent_seq != seq)
            continue;
        unlist(g, e);
        (void)forget_if_over(g, e);
    }
}

bool grants_renewal(struct grants *g, uint64_t now_ms, unsigned *broker_out, struct span *model_out,
                    uint32_t *wanted_out)
{
    struct heap_entry *first;
    while ((first = heap_first(&g->due)) && first->key <= now_ms) {
        struct grant_entry *e =
            (struct grant_entry *)(void *)((char *)first - offsetof(struct grant_entry, due));
        struct model_use *use = e->use;
        unsigned broker = e->grant.broker;
        if (now_ms >= e->expires_ms) {
            close_entry(g, e, now_ms);
            (void)forget_if_over(g, e);
            continue;
        }
        heap_set(&g->due, first, e->expires_ms);
        if (e->orphan || !use || !(use->taken_of >> broker & 1))
            continue;
        /* One ask renews all that this broker gave for the model. */
        use->taken_of &= ~(1u << broker);
        g->brokers[broker].urgent |= g->brokers[broker].due != NULL; /* it must know what runs */
        *broker_out = broker;
        *model_out = span_of(use->name, use->hh.keylen);
        *wanted_out = use->peak;
        use->peak = use->requests;
        return true;
    }
    return false;
}

uint64_t grants_next_due_ms(const struct grants *g)
{
    const struct heap_entry *first = heap_first(&g->due);
    uint64_t due = first ? first->key : UINT64_MAX;
    for (unsigned i = 0; i < GRANTS_MAX_BROKERS; i++) {
        const struct broker_news *b = &g->brokers[i];
        uint64_t at = b->held ? b->full_ms : UINT64_MAX;
        if (b->due)
            at = b->urgent                             ? 0
                 : b->since_ms + GRANTS_REPORT_MS < at ? b->since_ms + GRANTS_REPORT_MS
                                                       : at;
        due = at < due ? at : due;
    }
    return due;
}

struct grants_stats grants_stats(const struct grants *g)
{
    return g->stats;
}

enum err grants_create(struct grants **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? OK : ERR_NOMEM;
}

void grants_destroy(struct grants **grants)
{
    struct grants *g = *grants;
    struct grant_entry *e, *next;
    if (!g)
        return;
    HASH_ITER(hh, g->by_number, e, next)
    {
        forget(g, e);
    }
    heap_free(&g->due);
    free(g);
    *grants = NULL;
}
