#include "services/broker/core.h"

#include <stdlib.h>
#include <utlist.h>

#include "proto/error_class.h"
#include "services/broker/core_internal.h"

enum err core_create(struct core **out, const struct core_ops *ops, void *ctx,
                     const struct core_rules *rules, struct workers *workers, struct router *router,
                     uint64_t epoch)
{
    struct core *c = *out = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    c->ops = ops;
    c->ctx = ctx;
    c->workers = workers;
    c->rules = *rules;
    c->router = router;
    c->epoch = epoch;
    router_ref(router);
    return OK;
}

static void edge_down(struct core *c, struct broker_edge *edge, uint64_t now_us)
{
    asks_edge_down(c, edge);
    grants_edge_down(c, edge, now_us);
    DL_DELETE(c->edges, edge);
    c->edge_count--;
    free(edge);
}

void core_destroy(struct core **core)
{
    struct core *c = *core;
    if (!c)
        return;
    while (c->edges)
        edge_down(c, c->edges, 0);
    heap_free(&c->due_asks);
    heap_free(&c->due_grants);
    stored_responses_free(&c->stored);
    router_unref(&c->router);
    free(c);
    *core = NULL;
}

void core_reconfigure(struct core *c, const struct core_rules *rules, struct router *router,
                      uint64_t now_us)
{
    (void)now_us;
    c->rules = *rules;
    router_ref(router);
    router_unref(&c->router);
    c->router = router;
    stored_responses_forget_endpoints(&c->stored);
    grants_call_back(c, NULL, NULL);
}

void core_close(struct core *c, uint64_t from_us)
{
    c->closed_from_us = from_us;
}

struct broker_edge *core_edge_up(struct core *c, struct bus_peer *peer, uint64_t epoch)
{
    struct broker_edge *edge = calloc(1, sizeof *edge);
    if (!edge)
        return NULL;
    edge->peer = peer;
    edge->epoch = epoch;
    DL_APPEND(c->edges, edge);
    c->edge_count++;
    return edge;
}

/* ---- events ---- */

static void on_ask(struct core *c, const struct core_event *e, uint64_t now_us)
{
    static const struct request_id nobody;
    const struct ask *m = &e->body->ask;
    bool closed = c->closed_from_us && now_us >= c->closed_from_us;
    if (request_id_equals(&e->header.id, &nobody)) {
        if (!closed)
            grants_renew(c, e->edge, m->model, m->wanted, now_us);
    } else if (closed) {
        struct header h = {.id = e->header.id, .attempt = e->header.attempt};
        struct decline d = {.error_class = ERROR_WORKER_REFUSED};
        c->ops->send(c->ctx, e->edge->peer, h, MESSAGE_DECLINE, &d);
    } else {
        asks_add(c, e->edge, &e->header, m, now_us);
    }
}

static void on_report(struct core *c, const struct core_event *e, uint64_t now_us)
{
    struct header h = {.seq = e->header.seq};
    grants_hear(c, e->edge, e->body->report.entries, asks_serve, now_us);
    c->ops->send(c->ctx, e->edge->peer, h, MESSAGE_REPORTED, &(struct reported){0});
}

static void on_stored(struct core *c, const struct core_event *e, uint64_t now_us)
{
    const struct stored *m = &e->body->stored;
    struct stored_response where = {workers_pool(c->workers, m->provider, now_us), m->endpoint + 1};
    if (where.pool && m->endpoint != UINT32_MAX)
        stored_responses_remember(&c->stored, m->response_id, m->key_id, where, now_us / 1000);
}

static void on_slots(struct core *c, const struct core_event *e, uint64_t now_us)
{
    const struct slots *m = &e->body->slots;
    struct broker_worker *w = e->worker;
    bool has_key = m->grant_key.len == GRANT_KEY_BYTES;
    if (has_key)
        memcpy(w->key, m->grant_key.data, GRANT_KEY_BYTES);
    w->clock_ms = m->clock_ms;
    w->clock_us = now_us;
    w->running = m->running;
    w->unknown = m->running > w->in_flight ? m->running - w->in_flight : 0;
    workers_offer(w, has_key ? m->offered : 0, m->free, m->why, now_us);
    if (w->offered < w->in_flight)
        grants_call_back(c, NULL, w);
    asks_serve(c, w->pool, now_us);
}

static void on_edge_down(struct core *c, struct broker_edge *edge, uint64_t now_us)
{
    struct pool *pool;
    edge_down(c, edge, now_us);
    LL_FOREACH(workers_first_pool(c->workers), pool)
    asks_serve(c, pool, now_us);
}

static void on_worker_down(struct core *c, struct broker_worker *w, uint64_t now_us)
{
    grants_worker_down(c, w);
    workers_remove(&w, now_us);
}

static void on_tick(struct core *c, uint64_t now_us)
{
    struct pool *pool;
    while ((pool = grants_expire(c, now_us)))
        asks_serve(c, pool, now_us);
    asks_tick(c, now_us);
}

void core_step(struct core *c, const struct core_event *e, uint64_t now_us)
{
    switch (e->kind) {
    case EVENT_ASK:
        on_ask(c, e, now_us);
        break;
    case EVENT_CANCEL:
        asks_cancel(c, e->edge, &e->header.id);
        break;
    case EVENT_REPORT:
        on_report(c, e, now_us);
        break;
    case EVENT_STORED:
        on_stored(c, e, now_us);
        break;
    case EVENT_EDGE_DOWN:
        on_edge_down(c, e->edge, now_us);
        break;
    case EVENT_SLOTS:
        on_slots(c, e, now_us);
        break;
    case EVENT_WORKER_DOWN:
        on_worker_down(c, e->worker, now_us);
        break;
    case EVENT_TICK:
        on_tick(c, now_us);
        break;
    }
}

uint64_t core_next_due_us(const struct core *c)
{
    const struct heap_entry *ask = heap_first(&c->due_asks), *grant = heap_first(&c->due_grants);
    uint64_t due = ask ? ask->key : UINT64_MAX;
    return grant && grant->key < due ? grant->key : due;
}

struct core_stats core_stats(const struct core *c)
{
    return c->stats;
}
