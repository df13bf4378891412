/* Asks as they come and go: a new one, one that is taken back, those whose time has come. */
#include <stdlib.h>
#include <utlist.h>

#include "proto/error_class.h"
#include "proto/message_copy.h"
#include "services/broker/core_internal.h"

enum { MAX_BUSY = 3 };

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
        ask_decline_model(c, from, h, m->model);
    } else if (!route || stored_responses_find(&c->stored, m->response_id, m->key_id, stored_out) ==
                             RESPONSE_FOREIGN) {
        ask_decline_stored(c, from, h, m->response_id, by_id);
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
    struct broker_ask *ask = ask_find(c, &h->id);
    struct stored_response stored = {0};
    if (ask && ask->edge == from && ask->attempt == h->attempt && ask->m.busy == m->busy)
        return; /* it is repeated while it waits */
    if (ask && ask->edge != from)
        return;
    if (ask)
        ask_end(c, ask);
    else if (grants_repeat(c, from, &h->id, h->attempt, m->busy, now_us))
        return;
    const struct model_route *route = route_of(c, from, h, m, &stored);
    if (!route)
        return;
    ask = create(c, from, h, m, route, now_us);
    if (!ask) {
        struct decline d = {.error_class = ERROR_OVERLOADED,
                            .message = span_str(ask_at_capacity),
                            .retry_after_ms = ASK_RETRY_AFTER_MS};
        ask_send_decline(c, from, h, &d);
        return;
    }
    keep_to_owner(ask, &stored);
    bar_listed(ask);
    note_worker(c, ask);
    if (m->failed_class != ERROR_NONE && route->candidate_count && !m->busy)
        ask_after_failure(c, ask, now_us);
    else
        ask_give_or_wait(c, ask, now_us);
}

void asks_cancel(struct core *c, const struct broker_edge *from, const struct request_id *id)
{
    struct broker_ask *ask = ask_find(c, id);
    if (ask && ask->edge == from)
        ask_end(c, ask);
}

void asks_edge_down(struct core *c, struct broker_edge *edge)
{
    while (edge->asks)
        ask_end(c, edge->asks);
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
            ask_expire(c, ask, now_us);
            break;
        case ASK_BACKOFF:
            ask->asked_us = now_us;
            if (now_us < ask->deadline_us)
                ask_give_or_wait(c, ask, now_us);
            else
                ask_decline(c, ask, ERROR_DEADLINE,
                            "The request's deadline passed between two attempts.", 0);
            break;
        }
    }
}
