#include "services/worker/attempt/settle.h"

#include <stdlib.h>

#include "proto/message_copy.h"

enum { FIRST_BUCKETS = 256 };

/* In a bucket's chain, and in the list of all by the time of their last sending. */
struct pending_settle {
    struct pending_settle *next_in_bucket;
    struct pending_settle *prev, *next;
    struct request_id id;
    uint8_t attempt;
    uint64_t sent_ms;
    struct settle message; /* its strings stand in `text` */
    char text[];
};

struct settles {
    settle_send send;
    void *ctx;
    uint32_t max, count;
    struct pending_settle **buckets;
    uint32_t bucket_count; /* a power of two */
    struct pending_settle *oldest, *newest;
};

enum err settles_create(struct settles **out, uint32_t max, settle_send send, void *ctx)
{
    *out = NULL;
    struct settles *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->buckets = calloc(FIRST_BUCKETS, sizeof(struct pending_settle *));
    if (!s->buckets) {
        free(s);
        return ERR_NOMEM;
    }
    s->bucket_count = FIRST_BUCKETS;
    s->send = send;
    s->ctx = ctx;
    s->max = max;
    *out = s;
    return OK;
}

void settles_destroy(struct settles **settles)
{
    struct settles *s = *settles;
    if (!s)
        return;
    while (s->oldest) {
        struct pending_settle *p = s->oldest;
        s->oldest = p->next;
        free(p);
    }
    free(s->buckets);
    free(s);
    *settles = NULL;
}

static uint32_t bucket_of(const struct settles *s, const struct request_id *id)
{
    return (uint32_t)request_id_hash(id) & (s->bucket_count - 1);
}

static struct pending_settle **find(const struct settles *s, const struct request_id *id,
                                    uint8_t attempt)
{
    struct pending_settle **at = &s->buckets[bucket_of(s, id)];
    while (*at && !((*at)->attempt == attempt && request_id_equals(&(*at)->id, id)))
        at = &(*at)->next_in_bucket;
    return at;
}

static void link_newest(struct settles *s, struct pending_settle *p)
{
    p->prev = s->newest;
    p->next = NULL;
    if (s->newest)
        s->newest->next = p;
    else
        s->oldest = p;
    s->newest = p;
}

static void unlink_pending(struct settles *s, struct pending_settle *p)
{
    if (p->prev)
        p->prev->next = p->next;
    else
        s->oldest = p->next;
    if (p->next)
        p->next->prev = p->prev;
    else
        s->newest = p->prev;
}

static void grow(struct settles *s)
{
    struct pending_settle **buckets =
        calloc((size_t)s->bucket_count * 2, sizeof(struct pending_settle *));
    if (!buckets)
        return; /* longer chains, nothing worse */
    free(s->buckets);
    s->buckets = buckets;
    s->bucket_count *= 2;
    for (struct pending_settle *p = s->oldest; p; p = p->next) {
        struct pending_settle **bucket = &s->buckets[bucket_of(s, &p->id)];
        p->next_in_bucket = *bucket;
        *bucket = p;
    }
}

static void send_one(struct settles *s, struct pending_settle *p, uint64_t now_ms)
{
    struct header h = {.id = p->id, .attempt = p->attempt};
    p->sent_ms = now_ms;
    /* Whatever becomes of it: SETTLED is the only proof. */
    (void)s->send(s->ctx, h, &p->message);
}

static struct pending_settle *copy_of(const struct settle *m)
{
    struct pending_settle *p = calloc(1, sizeof *p + message_text_bytes(MESSAGE_SETTLE, m));
    if (!p)
        return NULL;
    p->message = *m;
    (void)message_own_text(MESSAGE_SETTLE, &p->message, p->text);
    return p;
}

enum err settles_add(struct settles *s, const struct request_id *id, uint8_t attempt,
                     const struct settle *m, uint64_t now_ms)
{
    if (s->count / 2 >= s->max)
        return ERR_TOO_BIG;
    struct pending_settle **at = find(s, id, attempt);
    if (*at)
        return OK; /* there already; the first one counts */
    struct pending_settle *p = copy_of(m);
    if (!p)
        return ERR_NOMEM;
    p->id = *id;
    p->attempt = attempt;
    *at = p;
    link_newest(s, p);
    if (++s->count > s->bucket_count)
        grow(s);
    send_one(s, p, now_ms);
    return OK;
}

bool settles_done(struct settles *s, const struct request_id *id, uint8_t attempt)
{
    struct pending_settle **at = find(s, id, attempt);
    struct pending_settle *p = *at;
    if (!p)
        return false;
    *at = p->next_in_bucket;
    unlink_pending(s, p);
    s->count--;
    free(p);
    return true;
}

void settles_tick(struct settles *s, uint64_t now_ms)
{
    for (unsigned i = 0; i < SETTLE_BATCH && s->oldest; i++) {
        struct pending_settle *p = s->oldest;
        if (p->sent_ms && now_ms - p->sent_ms < SETTLE_RESEND_MS)
            return;
        unlink_pending(s, p);
        link_newest(s, p);
        send_one(s, p, now_ms);
    }
}

void settles_due_now(struct settles *s)
{
    for (struct pending_settle *p = s->oldest; p; p = p->next)
        p->sent_ms = 0;
}

uint32_t settles_pending(const struct settles *s)
{
    return s->count;
}

bool settles_full(const struct settles *s)
{
    return s->count >= s->max;
}
