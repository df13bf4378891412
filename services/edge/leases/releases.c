#include "services/edge/leases/releases.h"

#include <stdlib.h>

#include "proto/message_copy.h"

#define HASH_FUNCTION(key, len, hash_out)                                                          \
    ((hash_out) = (unsigned)request_id_hash((const struct request_id *)(const void *)(key)))
#include <uthash.h>

struct pending_release {
    UT_hash_handle hh;
    struct request_id id;
    struct release release; /* strings behind it, in the same block */
    uint64_t sent_ms;       /* 0 = due at once */
    char strings[];
};

/* uthash keeps insertion order, and a re-sent one goes to the end: the first is always the longest
 * unsent. */
struct releases {
    struct pending_release *by_id;
    size_t max_pending;
    release_send send;
    void *ctx;
    uint64_t dropped;
};

enum err releases_create(struct releases **out, size_t max_pending, release_send send, void *ctx)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    **out = (struct releases){.max_pending = max_pending, .send = send, .ctx = ctx};
    return OK;
}

static void drop(struct releases *l, struct pending_release *p)
{
    HASH_DEL(l->by_id, p);
    free(p);
}

void releases_destroy(struct releases **releases)
{
    struct releases *l = *releases;
    if (!l)
        return;
    struct pending_release *p, *next;
    HASH_ITER(hh, l->by_id, p, next)
    {
        drop(l, p);
    }
    free(l);
    *releases = NULL;
}

static struct pending_release *find(struct releases *l, const struct request_id *id)
{
    struct pending_release *p = NULL;
    HASH_FIND(hh, l->by_id, id->bytes, sizeof id->bytes, p);
    return p;
}

static struct pending_release *make(const struct request_id *id, const struct release *r)
{
    struct pending_release *p = malloc(sizeof *p + message_text_bytes(MESSAGE_RELEASE, r));
    if (!p)
        return NULL;
    p->id = *id;
    p->release = *r;
    p->sent_ms = 0;
    (void)message_own_text(MESSAGE_RELEASE, &p->release, p->strings);
    return p;
}

static void send_one(struct releases *l, struct pending_release *p, uint64_t now_ms)
{
    if (l->send(l->ctx, &p->id, &p->release) == OK)
        p->sent_ms = now_ms;
}

void releases_add(struct releases *l, const struct request_id *id, const struct release *r,
                  uint64_t now_ms)
{
    if (HASH_COUNT(l->by_id) >= l->max_pending) {
        drop(l, l->by_id);
        l->dropped++;
    }
    struct pending_release *p = make(id, r);
    if (!p) {
        l->dropped++;
        return;
    }
    HASH_ADD(hh, l->by_id, id.bytes, sizeof p->id.bytes, p);
    send_one(l, p, now_ms);
}

void releases_ack(struct releases *l, const struct request_id *id)
{
    struct pending_release *p = find(l, id);
    if (p)
        drop(l, p);
}

void releases_tick(struct releases *l, uint64_t now_ms)
{
    for (int i = 0; i < RELEASE_BATCH && l->by_id; i++) {
        struct pending_release *p = l->by_id;
        if (p->sent_ms != 0 && now_ms - p->sent_ms < RELEASE_RESEND_MS)
            return;
        if (l->send(l->ctx, &p->id, &p->release) != OK)
            return;
        p->sent_ms = now_ms;
        HASH_DEL(l->by_id, p);
        HASH_ADD(hh, l->by_id, id.bytes, sizeof p->id.bytes, p);
    }
}

void releases_due_now(struct releases *l)
{
    struct pending_release *p, *next;
    HASH_ITER(hh, l->by_id, p, next)
    {
        p->sent_ms = 0;
    }
}

size_t releases_pending(const struct releases *l)
{
    return HASH_COUNT(l->by_id);
}

uint64_t releases_dropped(const struct releases *l)
{
    return l->dropped;
}
