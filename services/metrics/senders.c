#include "services/metrics/senders.h"

#include <stdlib.h>
#include <utlist.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct known {
    struct sender sender; /* first: list links point here */
    UT_hash_handle hh;
};

struct senders {
    struct known *by_epoch;
    struct sender *list;
    size_t bytes, max_bytes;
    unsigned awaited;
};

enum { BUCKET_BYTES = METRIC_BUCKETS * sizeof(uint64_t) };

enum err senders_create(struct senders **out, size_t max_bytes)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->max_bytes = max_bytes;
    return OK;
}

static void set_awaited(struct senders *s, struct sender *who, bool awaited)
{
    s->awaited += awaited;
    s->awaited -= who->awaited;
    who->awaited = awaited;
}

static void drop(struct senders *s, struct known *k)
{
    struct sender *who = &k->sender;
    set_awaited(s, who, false);
    for (uint32_t i = 0; i < who->count; i++) {
        s->bytes -= who->totals[i].buckets ? BUCKET_BYTES : 0;
        free(who->totals[i].buckets);
    }
    s->bytes -= who->count * sizeof *who->totals;
    free(who->totals);
    HASH_DELETE(hh, s->by_epoch, k);
    DL_DELETE(s->list, who);
    free(k);
}

void senders_destroy(struct senders **senders)
{
    struct senders *s = *senders;
    if (!s)
        return;
    while (s->by_epoch)
        drop(s, s->by_epoch);
    free(s);
    *senders = NULL;
}

static struct known *find(const struct senders *s, uint64_t epoch)
{
    struct known *k = NULL;
    HASH_FIND(hh, s->by_epoch, &epoch, sizeof epoch, k);
    return k;
}

/* Whoever has been silent for longest and is not here; false when all are here. */
static bool make_room(struct senders *s, const struct sender *but)
{
    struct sender *who;
    DL_FOREACH(s->list, who)
    if (!who->here && who != but) {
        drop(s, find(s, who->epoch));
        return true;
    }
    return false;
}

static struct known *add(struct senders *s, uint64_t epoch)
{
    if (HASH_COUNT(s->by_epoch) >= SENDERS_MAX && !make_room(s, NULL))
        return NULL;
    struct known *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->sender.epoch = epoch;
    HASH_ADD(hh, s->by_epoch, sender.epoch, sizeof epoch, k);
    if (!k->hh.tbl) {
        free(k);
        return NULL;
    }
    DL_APPEND(s->list, &k->sender);
    return k;
}

struct sender *senders_hear(struct senders *s, uint64_t epoch, uint64_t now_ms)
{
    struct known *k = find(s, epoch);
    if (!k && !(k = add(s, epoch)))
        return NULL;
    struct sender *who = &k->sender;
    DL_DELETE(s->list, who);
    DL_APPEND(s->list, who);
    who->heard_ms = now_ms;
    who->here = true;
    return who;
}

static enum err take_bytes(struct senders *s, const struct sender *of, size_t bytes)
{
    while (s->bytes + bytes > s->max_bytes) {
        if (!make_room(s, of))
            return ERR_TOO_BIG;
    }
    s->bytes += bytes;
    return OK;
}

/* In steps, since numbers mostly come one after the other. */
static enum err grow(struct senders *s, struct sender *of, uint32_t number)
{
    enum { STEP = 32 };
    uint32_t count = (number + STEP - 1) / STEP * STEP;
    size_t more = (count - of->count) * sizeof *of->totals;
    enum err e = take_bytes(s, of, more);
    if (e)
        return e;
    struct sender_total *totals = realloc(of->totals, count * sizeof *totals);
    if (!totals) {
        s->bytes -= more;
        return ERR_NOMEM;
    }
    memset(totals + of->count, 0, more);
    of->totals = totals;
    of->count = count;
    return OK;
}

enum err senders_total(struct senders *s, struct sender *of, uint32_t number, bool histogram,
                       struct sender_total **out)
{
    enum err e = OK;
    if (!number || number > METRIC_SERIES_MAX)
        return ERR_INVALID;
    if (number > of->count && (e = grow(s, of, number)))
        return e;
    struct sender_total *total = &of->totals[number - 1];
    *out = total;
    if (!histogram)
        return total->buckets ? ERR_INVALID : OK;
    if (total->buckets)
        return OK;
    if ((e = take_bytes(s, of, BUCKET_BYTES)))
        return e;
    total->buckets = calloc(METRIC_BUCKETS, sizeof *total->buckets);
    if (total->buckets)
        return OK;
    s->bytes -= BUCKET_BYTES;
    return ERR_NOMEM;
}

void senders_complete(struct senders *s, struct sender *who)
{
    set_awaited(s, who, false);
}

void senders_away(struct senders *s, uint64_t epoch)
{
    struct known *k = find(s, epoch);
    if (k)
        k->sender.here = false;
}

void senders_forget(struct senders *s, uint64_t epoch)
{
    struct known *k = find(s, epoch);
    if (k)
        drop(s, k);
}

void senders_purge(struct senders *s, uint64_t before_ms)
{
    struct sender *who, *next;
    DL_FOREACH_SAFE(s->list, who, next)
    if (!who->here && who->heard_ms < before_ms)
        drop(s, find(s, who->epoch));
}

void senders_await(struct senders *s, struct sender *who)
{
    set_awaited(s, who, true);
    who->here = false;
}

unsigned senders_awaited(const struct senders *s)
{
    return s->awaited;
}

const struct sender *senders_first(const struct senders *s)
{
    return s->list;
}
