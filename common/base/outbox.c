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

/* In the table by its key, and in the list of all by the time of its last sending. */
struct outbox_item {
    UT_hash_handle hh;
    struct outbox_item *prev, *next;
    uint64_t sent_ms; /* 0 = due at once */
    struct outbox_key key;
    _Alignas(max_align_t) char payload[];
};

struct outbox {
    struct outbox_spec spec;
    struct outbox_item *by_key;
    struct outbox_item *oldest;
    uint64_t dropped;
};

enum err outbox_create(struct outbox **out, const struct outbox_spec *spec)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->spec = *spec;
    return OK;
}

static void drop(struct outbox *o, struct outbox_item *item)
{
    HASH_DEL(o->by_key, item);
    DL_DELETE(o->oldest, item);
    free(item);
}

void outbox_destroy(struct outbox **outbox)
{
    struct outbox *o = *outbox;
    if (!o)
        return;
    while (o->oldest)
        drop(o, o->oldest);
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

/* false: it could not be sent, and stays due. */
static bool send_one(const struct outbox *o, struct outbox_item *item, uint64_t now_ms)
{
    enum err e = o->spec.send(o->spec.ctx, &item->key, item->payload);
    if (e != OK && o->spec.waits_for_sender)
        return false;
    item->sent_ms = now_ms;
    return true;
}

static enum err lose(struct outbox *o, struct outbox_item *item, enum err why)
{
    free(item);
    o->dropped++;
    return why;
}

enum err outbox_add(struct outbox *o, const struct outbox_key *key, struct outbox_item *item,
                    uint64_t now_ms)
{
    if (find(o, key)) {
        free(item);
        return OK;
    }
    if (!item) /* before anything is given up for it */
        return lose(o, item, ERR_NOMEM);
    if (HASH_COUNT(o->by_key) >= o->spec.max) {
        if (!o->spec.drops_oldest || !o->oldest)
            return lose(o, item, ERR_TOO_BIG);
        drop(o, o->oldest);
        o->dropped++;
    }
    item->key = *key;
    HASH_ADD(hh, o->by_key, key, sizeof item->key, item);
    if (!item->hh.tbl)
        return lose(o, item, ERR_NOMEM);
    DL_APPEND(o->oldest, item);
    (void)send_one(o, item, now_ms);
    return OK;
}

bool outbox_acknowledge(struct outbox *o, const struct outbox_key *key)
{
    struct outbox_item *item = find(o, key);
    if (item)
        drop(o, item);
    return item != NULL;
}

void outbox_tick(struct outbox *o, uint64_t now_ms)
{
    for (unsigned i = 0; i < o->spec.batch && o->oldest; i++) {
        struct outbox_item *item = o->oldest;
        if (item->sent_ms && now_ms - item->sent_ms < o->spec.resend_ms)
            return;
        if (!send_one(o, item, now_ms))
            return;
        DL_DELETE(o->oldest, item);
        DL_APPEND(o->oldest, item);
    }
}

void outbox_due_now(struct outbox *o)
{
    struct outbox_item *item;
    DL_FOREACH(o->oldest, item)
    {
        item->sent_ms = 0;
    }
}

size_t outbox_pending(const struct outbox *o)
{
    return HASH_COUNT(o->by_key);
}

uint64_t outbox_dropped(const struct outbox *o)
{
    return o->dropped;
}
