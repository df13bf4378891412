#include "common/base/outbox.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static unsigned hash_of(const struct outbox_key *key)
{
    uint64_t a, b;
    memcpy(&a, key->id, sizeof a);
    memcpy(&b, key->id + sizeof a, sizeof b);
    uint64_t h = (a ^ b ^ key->attempt) * 0x9e3779b97f4a7c15u;
    return (unsigned)(h >> 32);
}

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, hash_out)                                                          \
    ((hash_out) = hash_of((const struct outbox_key *)(const void *)(key)))
#include <uthash.h>

/* In the table by its key, and in one of the two lists. */
struct outbox_item {
    UT_hash_handle hh;
    struct outbox_item *prev, *next;
    bool is_due, is_restored;
    uint64_t sent_ms;
    struct outbox_key key;
    _Alignas(max_align_t) char payload[];
};

struct outbox {
    struct outbox_spec spec;
    struct outbox_item *by_key;
    struct outbox_item *due;  /* to be sent at once, in the order they came */
    struct outbox_item *sent; /* by the time of the last sending */
    uint32_t wait_ms;         /* before what was sent is sent again */
    uint64_t silent_since_ms; /* nothing acknowledged, and wait_ms not changed since */
    uint64_t dropped;
    size_t restored; /* items that are */
};

enum err outbox_create(struct outbox **out, const struct outbox_spec *spec)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->spec = *spec;
    (*out)->wait_ms = spec->resend_ms;
    return OK;
}

static struct outbox_item **list_of(struct outbox *o, const struct outbox_item *item)
{
    return item->is_due ? &o->due : &o->sent;
}

static void drop(struct outbox *o, struct outbox_item *item)
{
    struct outbox_item **list = list_of(o, item);
    HASH_DEL(o->by_key, item);
    DL_DELETE(*list, item);
    o->restored -= item->is_restored;
    free(item);
}

void outbox_destroy(struct outbox **outbox)
{
    struct outbox *o = *outbox;
    if (!o)
        return;
    while (o->by_key)
        drop(o, o->by_key);
    free(o);
    *outbox = NULL;
}

struct outbox_item *outbox_item_create(size_t payload_bytes)
{
    return calloc(1, sizeof(struct outbox_item) + payload_bytes);
}

void *outbox_item_payload(struct outbox_item *item)
{
    return item->payload;
}

static struct outbox_item *find(const struct outbox *o, const struct outbox_key *key)
{
    struct outbox_item *item = NULL;
    HASH_FIND(hh, o->by_key, key, sizeof *key, item);
    return item;
}

/* false: nothing can be sent now; it stays where it is, or becomes due. */
static bool send_one(struct outbox *o, struct outbox_item *item, uint64_t now_ms)
{
    enum err e = o->spec.send(o->spec.ctx, &item->key, item->payload);
    if (e == ERR_CLOSED || e == ERR_AGAIN)
        return false;
    struct outbox_item **list = list_of(o, item);
    DL_DELETE(*list, item);
    item->is_due = false;
    item->sent_ms = now_ms;
    DL_APPEND(o->sent, item);
    return true;
}

static enum err lose(struct outbox *o, struct outbox_item *item, enum err why)
{
    free(item);
    o->dropped++;
    return why;
}

/* *kept_out is NULL when the key is pending already. */
static enum err keep(struct outbox *o, const struct outbox_key *key, struct outbox_item *item,
                     struct outbox_item **kept_out)
{
    *kept_out = NULL;
    if (find(o, key)) {
        free(item);
        return OK;
    }
    if (!item) /* before anything is given up for it */
        return lose(o, item, ERR_NOMEM);
    if (HASH_COUNT(o->by_key) >= o->spec.max) {
        if (!o->spec.drops_oldest || !o->by_key)
            return lose(o, item, ERR_TOO_BIG);
        drop(o, o->by_key); /* the table keeps the order in which they came */
        o->dropped++;
    }
    item->key = *key;
    HASH_ADD(hh, o->by_key, key, sizeof item->key, item);
    if (!item->hh.tbl)
        return lose(o, item, ERR_NOMEM);
    item->is_due = true;
    DL_APPEND(o->due, item);
    *kept_out = item;
    return OK;
}

enum err outbox_add(struct outbox *o, const struct outbox_key *key, struct outbox_item *item,
                    uint64_t now_ms)
{
    struct outbox_item *kept;
    enum err e = keep(o, key, item, &kept);
    if (kept)
        (void)send_one(o, kept, now_ms);
    return e;
}

enum err outbox_add_later(struct outbox *o, const struct outbox_key *key, struct outbox_item *item)
{
    struct outbox_item *kept;
    return keep(o, key, item, &kept);
}

enum err outbox_restore(struct outbox *o, const struct outbox_key *key, struct outbox_item *item)
{
    struct outbox_item *kept;
    enum err e = keep(o, key, item, &kept);
    if (kept) {
        kept->is_restored = true;
        o->restored++;
    }
    return e;
}

size_t outbox_restored(const struct outbox *o)
{
    return o->restored;
}

void outbox_each_own(const struct outbox *o,
                     bool (*fn)(void *ctx, const struct outbox_key *key, const void *payload),
                     void *ctx)
{
    const struct outbox_item *item, *next;
    HASH_ITER(hh, o->by_key, item, next)
    {
        if (!item->is_restored && !fn(ctx, &item->key, item->payload))
            return;
    }
}

static void start_over(struct outbox *o)
{
    o->wait_ms = o->spec.resend_ms;
    o->silent_since_ms = 0;
}

bool outbox_acknowledge(struct outbox *o, const struct outbox_key *key)
{
    struct outbox_item *item = find(o, key);
    if (!item)
        return false;
    drop(o, item);
    start_over(o);
    return true;
}

/* Something was sent again. Those of one round may take several ticks. */
static void wait_longer(struct outbox *o, uint64_t now_ms)
{
    if (o->silent_since_ms && now_ms - o->silent_since_ms < o->wait_ms)
        return;
    o->silent_since_ms = now_ms;
    o->wait_ms =
        o->wait_ms < OUTBOX_LONGEST_RESEND_MS / 2 ? o->wait_ms * 2 : OUTBOX_LONGEST_RESEND_MS;
}

void outbox_tick(struct outbox *o, uint64_t now_ms)
{
    unsigned left = o->spec.batch;
    bool again = false;
    while (left && o->due && send_one(o, o->due, now_ms))
        left--;
    if (o->due)
        return;
    while (left && o->sent && now_ms - o->sent->sent_ms >= o->wait_ms &&
           send_one(o, o->sent, now_ms)) {
        left--;
        again = true;
    }
    if (again)
        wait_longer(o, now_ms);
}

void outbox_due_now(struct outbox *o)
{
    struct outbox_item *item;
    DL_FOREACH(o->sent, item)
    {
        item->is_due = true;
    }
    DL_CONCAT(o->sent, o->due); /* those sent before first */
    o->due = o->sent;
    o->sent = NULL;
    start_over(o);
}

size_t outbox_pending(const struct outbox *o)
{
    return HASH_COUNT(o->by_key);
}

uint64_t outbox_dropped(const struct outbox *o)
{
    return o->dropped;
}
