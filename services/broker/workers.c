#include "services/broker/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

struct workers {
    struct pool *pools;
    uint32_t pool_count;
    uint64_t serial;
};

const char *outcome_name(enum attempt_outcome outcome)
{
    static const char *const names[OUTCOME_COUNT] = {"ok", "failed", "canceled"};
    return names[outcome];
}

enum err workers_create(struct workers **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? OK : ERR_NOMEM;
}

void workers_destroy(struct workers **workers)
{
    struct workers *ws = *workers;
    if (!ws)
        return;
    struct pool *pool, *next_pool;
    LL_FOREACH_SAFE(ws->pools, pool, next_pool)
    {
        struct broker_worker *w, *next_worker;
        DL_FOREACH_SAFE(pool->workers, w, next_worker)
        free(w);
        queue_free(&pool->queue);
        free(pool);
    }
    free(ws);
    *workers = NULL;
}

static void copy_name(char out[WORKERS_NAME], struct span name)
{
    (void)snprintf(out, WORKERS_NAME, "%.*s", SPAN_ARG(span_first(name, WORKERS_NAME - 1)));
}

struct pool *workers_pool(struct workers *ws, struct span provider, uint64_t now_us)
{
    char name[WORKERS_NAME];
    copy_name(name, provider);
    struct pool *pool;
    LL_FOREACH(ws->pools, pool)
    if (strcmp(pool->name, name) == 0)
        return pool;
    if (ws->pool_count >= WORKERS_MAX_POOLS || !(pool = calloc(1, sizeof *pool)))
        return NULL;
    memcpy(pool->name, name, sizeof name);
    pool->empty_since_us = now_us;
    LL_PREPEND(ws->pools, pool);
    ws->pool_count++;
    return pool;
}

struct pool *workers_first_pool(const struct workers *ws)
{
    return ws->pools;
}

struct broker_worker *workers_add(struct workers *ws, struct bus_peer *peer, struct span provider,
                                  struct span name, struct span address, uint64_t epoch,
                                  uint64_t now_us)
{
    struct pool *pool = workers_pool(ws, provider, now_us);
    struct broker_worker *w = pool ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return NULL;
    w->pool = pool;
    w->peer = peer;
    w->serial = ++ws->serial;
    w->epoch = epoch;
    w->public_key = "";
    (void)snprintf(w->address, sizeof w->address, "%.*s", SPAN_ARG(address));
    copy_name(w->name, name);
    DL_APPEND(pool->workers, w);
    pool->worker_count++;
    return w;
}

static void set_offered(struct broker_worker *w, uint32_t slots, uint64_t now_us)
{
    struct pool *pool = w->pool;
    uint32_t before = pool->offered;
    pool->offered = before - w->offered + slots;
    w->offered = slots;
    if (before && !pool->offered)
        pool->empty_since_us = now_us;
}

void workers_remove(struct broker_worker **worker, uint64_t now_us)
{
    struct broker_worker *w = *worker;
    if (!w)
        return;
    set_offered(w, 0, now_us);
    w->pool->in_flight -= w->in_flight;
    DL_DELETE(w->pool->workers, w);
    w->pool->worker_count--;
    free(w);
    *worker = NULL;
}

void workers_offer(struct broker_worker *w, uint32_t slots, uint32_t free, struct span why,
                   uint64_t now_us)
{
    enum { MOST = 1 << 20 }; /* so that sums and products of slots can't overflow */
    set_offered(w, slots < MOST ? slots : MOST, now_us);
    copy_name(w->why, slots ? SPAN_NONE : why);
    w->stuck = !free;
}

uint32_t workers_free(const struct broker_worker *w)
{
    uint32_t taken = w->in_flight + w->unknown;
    return w->stuck || taken >= w->offered ? 0 : w->offered - taken;
}

/* in_flight / offered of a below that of b, without a division. */
static bool less_busy(const struct broker_worker *a, const struct broker_worker *b)
{
    return (uint64_t)a->in_flight * b->offered < (uint64_t)b->in_flight * a->offered;
}

struct broker_worker *workers_pick(const struct pool *pool, uint64_t avoid)
{
    struct broker_worker *best = NULL, *avoided = NULL, *w;
    if (pool->in_flight >= pool->offered && pool->worker_count == 1)
        return NULL;
    DL_FOREACH(pool->workers, w)
    {
        if (!workers_free(w))
            continue;
        if (w->serial == avoid)
            avoided = w;
        else if (!best || less_busy(w, best))
            best = w;
    }
    return best ? best : avoided;
}

void workers_take(struct broker_worker *w, uint32_t slots)
{
    w->in_flight += slots;
    w->pool->in_flight += slots;
    /* To the end of the list: equals take turns, since the first of them is picked. */
    if (w->next) {
        DL_DELETE(w->pool->workers, w);
        DL_APPEND(w->pool->workers, w);
    }
}

void workers_give_back(struct broker_worker *w, uint32_t slots)
{
    w->in_flight -= slots;
    w->pool->in_flight -= slots;
}

uint64_t workers_clock_ms(const struct broker_worker *w, uint64_t now_us)
{
    uint64_t since_us = now_us > w->clock_us ? now_us - w->clock_us : 0;
    return w->clock_ms + since_us / 1000;
}

bool pool_is_unable(const struct pool *pool, const char **why_out)
{
    const struct broker_worker *w;
    DL_FOREACH(pool->workers, w)
    if (w->offered || !span_starts(span_str(w->why), "no api key"))
        return false;
    if (pool->workers)
        *why_out = pool->workers->why;
    return pool->workers != NULL;
}
