/* Who waits for a slot: to which target and worker an attempt goes, in which queues it waits, and
 * what follows a failed one. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "proto/api.h"
#include "proto/error_class.h"
#include "proto/message_copy.h"
#include "services/broker/core_internal.h"

enum { RETRY_AFTER_MS = 1000, MAX_SEARCHED = 64, MAX_BUSY = 3, LOOK_AGAIN_US = 100000 };

static const char at_capacity[] = "The service is at capacity. Try again shortly.";

/* ---- the table ---- */

static struct broker_ask *find(const struct core *c, const struct request_id *id)
{
    struct broker_ask *ask = NULL;
    HASH_FIND(hh, c->asks, id, sizeof *id, ask);
    return ask;
}

static void leave_queues(struct core *c, struct broker_ask *ask)
{
    for (unsigned i = 0; i < ask->wait_count; i++)
        queue_remove(&ask->waits[i]);
    if (ask->wait_count)
        c->stats.queued--;
    ask->wait_count = 0;
}

/* The one place where an ask's state changes; due_us: when it must be looked at again. */
static void move(struct core *c, struct broker_ask *ask, enum ask_state to, uint64_t due_us)
{
    leave_queues(c, ask);
    ask->state = to;
    heap_set(&c->due_asks, &ask->due, due_us);
}

static void end(struct core *c, struct broker_ask *ask)
{
    leave_queues(c, ask);
    heap_remove(&c->due_asks, &ask->due);
    DL_DELETE(ask->edge->asks, ask);
    HASH_DEL(c->asks, ask);
    c->stats.asks--;
    router_unref(&ask->router);
    free(ask);
}

static void send_decline(struct core *c, const struct broker_edge *edge, const struct header *h,
                         const struct decline *d)
{
    struct header to = {.id = h->id, .attempt = h->attempt};
    c->ops->send(c->ctx, edge->peer, to, MESSAGE_DECLINE, d);
}

/* Tells the edge, then ends it. class 0: the failure that was asked about stands. */
static void decline(struct core *c, struct broker_ask *ask, unsigned error_class,
                    const char *message, uint64_t retry_after_ms)
{
    struct header h = {.id = ask->id, .attempt = ask->attempt};
    struct decline d = {
        .error_class = error_class, .message = span_str(message), .retry_after_ms = retry_after_ms};
    send_decline(c, ask->edge, &h, &d);
    end(c, ask);
}

/* In words that do not tell a response of another client from none. */
static void decline_stored(struct core *c, const struct broker_edge *edge, const struct header *h,
                           struct span id, bool by_id)
{
    char message[256];
    struct decline d = {.error_class = by_id ? ERROR_NOT_FOUND : ERROR_BAD_REQUEST};
    int n = snprintf(message, sizeof message,
                     by_id ? "Response with id '%.*s' not found."
                           : "Previous response with id '%.*s' not found.",
                     SPAN_ARG(span_first(id, 150)));
    d.message = span_of(message, (size_t)n);
    if (!by_id) {
        d.code = SPAN("previous_response_not_found");
        d.param = SPAN("previous_response_id");
    }
    send_decline(c, edge, h, &d);
}

static void decline_model(struct core *c, const struct broker_edge *edge, const struct header *h,
                          struct span model)
{
    char message[256];
    int n = snprintf(message, sizeof message,
                     "The model `%.*s` does not exist or is not configured here.",
                     SPAN_ARG(span_first(model, 150)));
    struct decline d = {.error_class = ERROR_MODEL_NOT_FOUND,
                        .message = span_of(message, (size_t)n)};
    send_decline(c, edge, h, &d);
}

/* ---- where it may go ---- */

static const struct candidate *candidate_of(const struct broker_ask *ask)
{
    return &ask->route->candidates[ask->trail.candidate];
}

static struct route_state state_of(const struct core *c, const struct broker_ask *ask,
                                   uint64_t now_us)
{
    return (struct route_state){
        .tried = ask->trail.tried,
        .barred = ask->trail.barred | ~ask->route->serves[ask->trail.cause],
        .now_us = now_us,
        .since_us = ask->asked_us,
        .grace_us = c->rules.worker_grace_us,
    };
}

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
    end(c, ask);
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
    leave_queues(c, ask);
    if (c->stats.queued >= c->rules.queue_max) {
        decline(c, ask, ERROR_OVERLOADED, at_capacity, RETRY_AFTER_MS);
        return;
    }
    ask->eligible = eligible;
    move(c, ask, ASK_QUEUED, look_at_us(c, ask, now_us));
    for (uint32_t i = 0; i < ask->route->candidate_count; i++)
        if (eligible >> i & 1)
            enqueue_in(c, ask, ask->route->candidates[i].target->pool);
    if (!ask->wait_count) {
        decline(c, ask, ERROR_OVERLOADED, at_capacity, RETRY_AFTER_MS);
        return;
    }
    c->stats.queued++;
    ask->again = true;
}

static void fail_nowhere(struct core *c, struct broker_ask *ask)
{
    const char *why = "it is not connected";
    char message[256];
    if (!ask->route->candidate_count) {
        decline(c, ask, ERROR_UNAVAILABLE, "The model has no targets.", 0);
        return;
    }
    const struct pool *pool = ask->route->candidates[0].target->pool;
    (void)pool_is_unable(pool, &why);
    (void)snprintf(message, sizeof message, "The service can't reach provider %s now: %s.",
                   pool->name, why);
    decline(c, ask, ERROR_OVERLOADED, message, RETRY_AFTER_MS);
}

static void give_or_wait(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    struct route_state s = state_of(c, ask, now_us);
    uint64_t eligible = route_eligible(ask->route, &s);
    if (!eligible)
        fail_nowhere(c, ask);
    else if (!give(c, ask, eligible, now_us))
        enqueue(c, ask, eligible, now_us);
}

static void expire(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    if (now_us >= ask->deadline_us) {
        decline(c, ask, ERROR_DEADLINE,
                "The request's deadline passed while it waited for capacity.", 0);
        return;
    }
    if (now_us >= ask->asked_us + c->rules.queue_wait_us) {
        decline(c, ask, ERROR_OVERLOADED, at_capacity, RETRY_AFTER_MS);
        return;
    }
    if (now_us < hope_until_us(c, ask)) {
        heap_set(&c->due_asks, &ask->due, look_at_us(c, ask, now_us));
        return;
    }
    /* Nobody has come for these: the next tier gets its chance, or it is over. */
    ask->trail.barred |= ask->eligible;
    give_or_wait(c, ask, now_us);
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

/* ---- what follows a failed attempt ---- */

static void remember_endpoint(struct broker_ask *ask, uint32_t endpoint)
{
    struct trail *t = &ask->trail;
    const struct candidate *all = ask->route->candidates;
    if (!t->known)
        return;
    if (!t->has_avoid || all[t->avoid_of].target != all[t->candidate].target)
        t->avoid = 0;
    t->has_avoid = true;
    t->avoid_of = t->candidate;
    if (endpoint < 64)
        t->avoid |= (uint64_t)1 << endpoint;
}

static bool has_spare_endpoint(const struct broker_ask *ask)
{
    const struct trail *t = &ask->trail;
    const struct candidate *all = ask->route->candidates;
    const struct target *target = all[t->candidate].target;
    return t->has_avoid && all[t->avoid_of].target == target &&
           (unsigned)__builtin_popcountll(t->avoid) < target->endpoints;
}

/* Does it move on, to another target or another endpoint of the same? */
static bool moves_on(const struct broker_ask *ask, uint64_t eligible)
{
    return !(eligible >> ask->trail.candidate & 1) || has_spare_endpoint(ask);
}

/* How long to wait for the next attempt; UINT64_MAX = too long. */
static uint64_t wait_us(struct core *c, const struct broker_ask *ask, uint64_t eligible)
{
    uint64_t wait = retry_backoff_us(&c->rules.retry, ask->attempt - 1u, c->ops->chance(c->ctx));
    uint64_t after_ms = ask->m.failed_retry_after_ms;
    bool same = eligible == (uint64_t)1 << ask->trail.candidate;
    /* A Retry-After concerns the endpoint that sent it and no other. */
    if (!same || has_spare_endpoint(ask) || after_ms <= wait / 1000)
        return wait;
    return after_ms <= c->rules.retry.max_wait_us / 1000 ? after_ms * 1000 : UINT64_MAX;
}

static enum route_cause cause_of(unsigned error_class)
{
    switch (error_class) {
    case ERROR_UPSTREAM_CONTEXT_LENGTH:
        return ROUTE_TOO_LONG;
    case ERROR_UPSTREAM_CONTENT_POLICY:
        return ROUTE_POLICY;
    default:
        return ROUTE_FAILED;
    }
}

/* false: no other attempt. Else it waits in BACKOFF. */
static bool retry(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    struct target *target = candidate_of(ask)->target;
    uint64_t bit = ask->trail.known ? (uint64_t)1 << ask->trail.candidate : 0;
    unsigned attempts = ask->attempt - 1u;
    struct retry_failure failure = {ask->m.failed_class,
                                    ask->m.failed_sent,
                                    ask->m.failed_final,
                                    target->paid,
                                    attempts > ask->trail.missed ? attempts - ask->trail.missed : 0,
                                    ask->trail.ambiguous_used};
    struct retry_decision d = retry_decide(&c->rules.retry, &failure);
    enum route_cause cause = cause_of(ask->m.failed_class);
    if (!d.retry)
        return false;
    if (cause)
        ask->trail.cause = (uint8_t)cause;
    if (!d.inside) {
        bool spare = !cause && has_spare_endpoint(ask);
        ask->trail.tried |= spare ? 0 : bit;
        ask->trail.barred |= d.timed_out || (d.elsewhere && !spare) ? bit : 0;
    }
    struct route_state s = state_of(c, ask, now_us);
    uint64_t eligible = route_eligible(ask->route, &s);
    bool free = d.inside || (d.refused && moves_on(ask, eligible));
    uint64_t wait = free || !eligible ? 0 : wait_us(c, ask, eligible);
    uint64_t left = now_us < ask->deadline_us ? ask->deadline_us - now_us : 0;
    if (!eligible || wait >= left)
        return false;
    if (!free && !retry_budget_take(&target->budget, &c->rules.retry, now_us))
        return false;
    c->ops->retried(c->ctx, target->pool->name, ask->m.failed_class);
    ask->trail.ambiguous_used |= d.ambiguous;
    ask->again = true;
    move(c, ask, ASK_BACKOFF, now_us + wait);
    return true;
}

/* The stored response it is about is not where it was looked for. true: it is looked for at the
 * next one. */
static bool search_on(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    /* Where it is known to be from, it was: it has been deleted or has expired. */
    if (ask->stored.endpoint || ask->m.failed_class == ERROR_NOT_FOUND ||
        ask->trail.missed >= MAX_SEARCHED)
        return false;
    ask->trail.missed++;
    if (ask->trail.known && !has_spare_endpoint(ask))
        ask->trail.barred |= (uint64_t)1 << ask->trail.candidate;
    struct route_state s = state_of(c, ask, now_us);
    if (!route_eligible(ask->route, &s))
        return false;
    ask->again = true;
    move(c, ask, ASK_BACKOFF, now_us);
    return true;
}

static void judge_target(struct core *c, const struct broker_ask *ask, uint64_t now_us)
{
    struct breaker *b = &candidate_of(ask)->target->breaker;
    if (!ask->trail.known)
        return; /* whose failure it was is not known here */
    bool was_open = b->state == BREAKER_OPEN;
    /* Another broker's probe is an attempt like others here. */
    bool probe = ask->trail.probe && b->state == BREAKER_PROBING;
    if (retry_blames_target(ask->m.failed_class))
        breaker_failure(b, &c->rules.breaker, probe, now_us);
    else if (retry_is_neutral(ask->m.failed_class))
        breaker_abandon(b, probe, now_us);
    else
        breaker_success(b);
    if (b->state == BREAKER_OPEN && !was_open)
        grants_call_back(c, candidate_of(ask)->target->pool, NULL);
}

/* It asked to be left alone; one with another endpoint to try is not meant as a whole. */
static void rest_target(struct core *c, const struct broker_ask *ask, uint64_t now_us)
{
    struct target *t = candidate_of(ask)->target;
    uint64_t rest_ms = retry_rest_ms(ask->m.failed_class, ask->m.failed_retry_after_ms);
    uint64_t until_us = now_us + rest_ms * 1000;
    if (!ask->trail.known || !rest_ms || has_spare_endpoint(ask) || until_us <= t->rest_until_us)
        return;
    t->rest_until_us = until_us;
    grants_call_back(c, t->pool, NULL);
}

static void after_failure(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    unsigned class = ask->m.failed_class;
    judge_target(c, ask, now_us);
    if (!retry_is_inside(class))
        remember_endpoint(ask, ask->m.failed_endpoint);
    rest_target(c, ask, now_us);
    bool missed = ask->by_id && (class == ERROR_UPSTREAM_NOT_FOUND || class == ERROR_NOT_FOUND);
    bool goes_on = missed ? search_on(c, ask, now_us) : retry(c, ask, now_us);
    if (goes_on)
        return;
    if (missed) {
        struct header h = {.id = ask->id, .attempt = ask->attempt};
        decline_stored(c, ask->edge, &h, ask->m.response_id, true);
        end(c, ask);
        return;
    }
    decline(c, ask, ERROR_NONE, "", 0);
}

/* ---- a new one ---- */

/* About a stored response, and no model says who may have it? */
static bool is_by_id(const struct ask *m)
{
    return !m->model.len && m->response_id.len;
}

/* NULL: it has been declined. */
static const struct model_route *route_of(struct core *c, const struct broker_edge *from,
                                          const struct header *h, const struct ask *m,
                                          struct stored_response *stored_out)
{
    bool by_id = is_by_id(m);
    const struct model_route *route =
        by_id ? router_find_stored(c->router) : router_find(c->router, m->model);
    if (!route && !by_id) {
        decline_model(c, from, h, m->model);
    } else if (!route || stored_responses_find(&c->stored, m->response_id, m->key_id, stored_out) ==
                             RESPONSE_FOREIGN) {
        decline_stored(c, from, h, m->response_id, by_id);
        return NULL;
    }
    return route;
}

/* Nobody else has the response it is about. */
static void keep_to_owner(struct broker_ask *ask, const struct stored_response *stored)
{
    uint64_t others = 0, here = 0;
    for (uint32_t i = 0; i < ask->route->candidate_count; i++) {
        bool same = ask->route->candidates[i].target->pool == stored->pool;
        *(same ? &here : &others) |= (uint64_t)1 << i;
    }
    if (here) {
        ask->stored = *stored;
        ask->trail.barred |= others;
    }
}

/* Fallbacks that the request's key may not use, or whose limits have no room. */
static void bar_listed(struct broker_ask *ask)
{
    struct span list = ask->m.barred;
    while (list.len) {
        struct span name = span_cut(&list, ',');
        for (uint32_t i = 0; i < ask->route->candidate_count; i++) {
            const char *fallback = ask->route->candidates[i].name;
            if (fallback && (span_is(name, "*") || span_is(name, fallback)))
                ask->trail.barred |= (uint64_t)1 << i;
        }
    }
}

static struct broker_ask *create(struct core *c, struct broker_edge *from, const struct header *h,
                                 const struct ask *m, const struct model_route *route,
                                 uint64_t now_us)
{
    struct broker_ask *ask = calloc(1, sizeof *ask + message_text_bytes(MESSAGE_ASK, m) + 1);
    if (!ask || heap_reserve(&c->due_asks, c->stats.asks + 1))
        goto failed;
    ask->id = h->id;
    HASH_ADD(hh, c->asks, id, sizeof ask->id, ask);
    if (!ask->hh.tbl)
        goto failed;
    c->stats.asks++;
    ask->attempt = h->attempt ? h->attempt : 1;
    ask->m = *m;
    (void)message_own_text(MESSAGE_ASK, &ask->m, ask->text);
    ask->edge = from;
    DL_APPEND(from->asks, ask);
    ask->router = c->router;
    router_ref(ask->router);
    ask->route = route;
    ask->by_id = is_by_id(m);
    ask->trail = trail_read(m->trail, route->fingerprint);
    if (ask->trail.candidate >= route->candidate_count ||
        ask->trail.avoid_of >= route->candidate_count || ask->trail.cause >= ROUTE_CAUSE_COUNT)
        ask->trail = trail_read(SPAN_NONE, route->fingerprint);
    uint64_t deadline_ms = h->deadline_ms ? h->deadline_ms : route->deadline_ms;
    ask->deadline_us = now_us + deadline_ms * 1000;
    ask->asked_us = now_us;
    return ask;
failed:
    free(ask);
    return NULL;
}

/* The worker that failed it, or had no room, in the pool of its last candidate or of any. */
static void note_worker(struct core *c, struct broker_ask *ask)
{
    struct pool *pool;
    for (uint32_t i = 0; i < ask->route->candidate_count && ask->m.failed_worker.len; i++) {
        struct broker_worker *w;
        pool = ask->route->candidates[i].target->pool;
        DL_FOREACH(pool->workers, w)
        {
            if (!span_is(ask->m.failed_worker, w->name))
                continue;
            ask->last_worker = w->serial;
            /* Until its next word, or until something ends there. */
            w->stuck |= ask->m.busy && (!ask->m.free || ask->m.busy >= MAX_BUSY);
            return;
        }
    }
    (void)c;
}

void asks_add(struct core *c, struct broker_edge *from, const struct header *h, const struct ask *m,
              uint64_t now_us)
{
    struct broker_ask *ask = find(c, &h->id);
    struct stored_response stored = {0};
    if (ask && ask->edge == from && ask->attempt == h->attempt && ask->m.busy == m->busy)
        return; /* it is repeated while it waits */
    if (ask && ask->edge != from)
        return;
    if (ask)
        end(c, ask);
    else if (grants_repeat(c, from, &h->id, h->attempt, m->busy, now_us))
        return;
    const struct model_route *route = route_of(c, from, h, m, &stored);
    if (!route)
        return;
    ask = create(c, from, h, m, route, now_us);
    if (!ask) {
        struct decline d = {.error_class = ERROR_OVERLOADED,
                            .message = span_str(at_capacity),
                            .retry_after_ms = RETRY_AFTER_MS};
        send_decline(c, from, h, &d);
        return;
    }
    keep_to_owner(ask, &stored);
    bar_listed(ask);
    note_worker(c, ask);
    if (m->failed_class != ERROR_NONE && route->candidate_count && !m->busy)
        after_failure(c, ask, now_us);
    else
        give_or_wait(c, ask, now_us);
}

void asks_cancel(struct core *c, const struct broker_edge *from, const struct request_id *id)
{
    struct broker_ask *ask = find(c, id);
    if (ask && ask->edge == from)
        end(c, ask);
}

void asks_edge_down(struct core *c, struct broker_edge *edge)
{
    while (edge->asks)
        end(c, edge->asks);
}

void asks_tick(struct core *c, uint64_t now_us)
{
    struct heap_entry *due;
    while ((due = heap_first(&c->due_asks)) && due->key <= now_us) {
        struct broker_ask *ask =
            (struct broker_ask *)(void *)((char *)due - offsetof(struct broker_ask, due));
        heap_remove(&c->due_asks, due);
        switch (ask->state) {
        case ASK_QUEUED:
            expire(c, ask, now_us);
            break;
        case ASK_BACKOFF:
            ask->asked_us = now_us;
            if (now_us < ask->deadline_us)
                give_or_wait(c, ask, now_us);
            else
                decline(c, ask, ERROR_DEADLINE,
                        "The request's deadline passed between two attempts.", 0);
            break;
        }
    }
}
