/* Where an ask may go now: it is given a slot, or waits in the queues of those that serve it. */
#include <stdio.h>

#include "proto/error_class.h"
#include "services/broker/core_internal.h"

enum { LOOK_AGAIN_US = 100000 };

/* true: granted, and the ask is gone. */
static bool give(struct core *c, struct broker_ask *ask, uint64_t eligible, uint64_t now_us)
{
    int index;
    if (grants_stand(c, ask, now_us))
        goto given;
    while ((index = route_choose(ask->route, eligible, true, c->ops->chance(c->ctx))) >= 0) {
        const struct target *target = ask->route->candidates[index].target;
        struct broker_worker *w = workers_pick(target->pool, ask->last_worker);
        if (w && grants_give(c, ask, (uint32_t)index, w, now_us) == OK)
            goto given;
        eligible &= ~((uint64_t)1 << index);
    }
    return false;
given:
    c->ops->waited(c->ctx, now_us - ask->asked_us);
    ask_end(c, ask);
    return true;
}

/* ---- queue ---- */

static bool waits_in(const struct broker_ask *ask, const struct pool *pool)
{
    for (unsigned i = 0; i < ask->wait_count; i++)
        if (ask->waits[i].queue == &pool->queue)
            return true;
    return false;
}

static void enqueue_in(struct core *c, struct broker_ask *ask, struct pool *pool)
{
    struct queue_entry *e = &ask->waits[ask->wait_count];
    if (ask->wait_count == ASK_MAX_WAITS || waits_in(ask, pool))
        return;
    /* Slots that are merely kept are wanted now; while somebody waits none are given to keep. */
    if (!pool->queue.count)
        grants_call_back(c, pool, NULL);
    if (queue_push(&pool->queue, e, ask->m.key_id, ask, ask->again) == OK)
        ask->wait_count++;
}

/* Until when a worker for one of its candidates is there, or may still appear. */
static uint64_t hope_until_us(const struct core *c, const struct broker_ask *ask)
{
    uint64_t hope = 0;
    for (uint32_t i = 0; i < ask->route->candidate_count; i++) {
        const struct pool *pool = ask->route->candidates[i].target->pool;
        if (!(ask->eligible >> i & 1))
            continue;
        if (pool->offered)
            return UINT64_MAX;
        uint64_t since =
            pool->empty_since_us > ask->asked_us ? pool->empty_since_us : ask->asked_us;
        if (since + c->rules.worker_grace_us > hope)
            hope = since + c->rules.worker_grace_us;
    }
    return hope;
}

/* When its wait must be looked at again: the workers that are there now may have gone by then. */
static uint64_t look_at_us(const struct core *c, const struct broker_ask *ask, uint64_t now_us)
{
    uint64_t until = ask->asked_us + c->rules.queue_wait_us;
    uint64_t hope = hope_until_us(c, ask);
    if (hope == UINT64_MAX)
        hope = now_us + c->rules.worker_grace_us + LOOK_AGAIN_US;
    until = until < ask->deadline_us ? until : ask->deadline_us;
    return until < hope ? until : hope;
}

static void enqueue(struct core *c, struct broker_ask *ask, uint64_t eligible, uint64_t now_us)
{
    ask_leave_queues(c, ask);
    if (c->stats.queued >= c->rules.queue_max) {
        ask_decline(c, ask, ERROR_OVERLOADED, ask_at_capacity, ASK_RETRY_AFTER_MS);
        return;
    }
    ask->eligible = eligible;
    ask_move(c, ask, ASK_QUEUED, look_at_us(c, ask, now_us));
    for (uint32_t i = 0; i < ask->route->candidate_count; i++)
        if (eligible >> i & 1)
            enqueue_in(c, ask, ask->route->candidates[i].target->pool);
    if (!ask->wait_count) {
        ask_decline(c, ask, ERROR_OVERLOADED, ask_at_capacity, ASK_RETRY_AFTER_MS);
        return;
    }
    c->stats.queued++;
    ask->again = true;
}

static void fail_nowhere(struct core *c, struct broker_ask *ask)
{
    char message[256];
    if (!ask->route->candidate_count) {
        ask_decline(c, ask, ERROR_UNAVAILABLE, "The model has no targets.", 0);
        return;
    }
    /* why, with names of variables and files, is the operator's to know: `tollgate status` */
    (void)snprintf(message, sizeof message, "The service can't reach provider %s now.",
                   ask->route->candidates[0].target->pool->name);
    ask_decline(c, ask, ERROR_OVERLOADED, message, ASK_RETRY_AFTER_MS);
}

void ask_give_or_wait(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    struct route_state s = ask_route_state(c, ask, now_us);
    uint64_t eligible = route_eligible(ask->route, &s);
    if (!eligible)
        fail_nowhere(c, ask);
    else if (!give(c, ask, eligible, now_us))
        enqueue(c, ask, eligible, now_us);
}

void ask_expire(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    if (now_us >= ask->deadline_us) {
        ask_decline(c, ask, ERROR_DEADLINE,
                    "The request's deadline passed while it waited for capacity.", 0);
        return;
    }
    if (now_us >= ask->asked_us + c->rules.queue_wait_us) {
        ask_decline(c, ask, ERROR_OVERLOADED, ask_at_capacity, ASK_RETRY_AFTER_MS);
        return;
    }
    if (now_us < hope_until_us(c, ask)) {
        heap_set(&c->due_asks, &ask->due, look_at_us(c, ask, now_us));
        return;
    }
    /* Nobody has come for these: the next tier gets its chance, or it is over. */
    ask->trail.barred |= ask->eligible;
    ask_give_or_wait(c, ask, now_us);
}

void asks_serve(struct core *c, struct pool *pool, uint64_t now_us)
{
    while (pool->queue.count && workers_pick(pool, 0)) {
        struct broker_ask *ask = queue_pop(&pool->queue);
        uint64_t here = 0;
        for (uint32_t i = 0; i < ask->route->candidate_count; i++)
            if (ask->eligible >> i & 1 && ask->route->candidates[i].target->pool == pool)
                here |= (uint64_t)1 << i;
        if (give(c, ask, here, now_us))
            continue;
        enqueue(c, ask, ask->eligible, now_us); /* without memory: back to where it was */
        return;
    }
}
