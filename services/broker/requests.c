#include "services/broker/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/base/log.h"
#include "proto/error_class.h"
#include "proto/message_copy.h"
#include "services/broker/request.h"

enum { MAX_CANCELS = 65536, CANCEL_DEFAULT_MS = 10000 };

/* ---- the table ---- */

enum err requests_create(struct requests **out, const struct requests_ops *ops, void *ctx,
                         const struct requests_rules *rules, struct workers *workers,
                         struct router *router)
{
    struct requests *rs = *out = calloc(1, sizeof *rs);
    if (!rs)
        return ERR_NOMEM;
    if (cancels_create(&rs->cancels, MAX_CANCELS)) {
        free(rs);
        *out = NULL;
        return ERR_NOMEM;
    }
    rs->ops = ops;
    rs->ctx = ctx;
    rs->workers = workers;
    rs->rules = *rules;
    rs->router = router;
    router_ref(router);
    return OK;
}

void requests_destroy(struct requests **requests)
{
    struct requests *rs = *requests;
    if (!rs)
        return;
    while (rs->by_id)
        request_end(rs, rs->by_id);
    struct broker_edge *e, *next;
    DL_FOREACH_SAFE(rs->edges, e, next)
    free(e);
    cancels_destroy(&rs->cancels);
    heap_free(&rs->due);
    stored_responses_free(&rs->stored);
    router_unref(&rs->router);
    free(rs);
    *requests = NULL;
}

void requests_reconfigure(struct requests *rs, const struct requests_rules *rules,
                          struct router *router)
{
    rs->rules = *rules;
    router_ref(router);
    router_unref(&rs->router);
    rs->router = router;
    stored_responses_forget_endpoints(&rs->stored);
}

void requests_close(struct requests *rs, uint64_t from_us)
{
    rs->closed_from_us = from_us;
}

static bool is_closed(const struct requests *rs, uint64_t now_us)
{
    return rs->closed_from_us && now_us >= rs->closed_from_us;
}

bool requests_drained(const struct requests *rs, uint64_t now_us)
{
    return is_closed(rs, now_us) && rs->count == 0;
}

struct requests_stats requests_stats(const struct requests *rs)
{
    return (struct requests_stats){rs->count, rs->queued, rs->body_bytes, rs->stale};
}

/* ---- requests, from their edges ---- */

/* Stops it wherever it is; the edge expects nothing more. */
static void cancel_request(struct requests *rs, struct broker_request *request, uint64_t now_us)
{
    struct pool *pool = request->worker ? request->worker->pool : NULL;
    struct header h = {.id = request->id, .deadline_ms = request_left_ms(request, now_us)};
    if (request->worker)
        request_send_cancel(rs, request->worker, &h, request->attempt);
    request_end(rs, request);
    if (pool)
        dispatch_waiting(rs, pool, now_us);
}

/* A copy of the message, for its attempts. It is accounted by the bytes of its frame. */
static enum err keep_payload(struct requests *rs, struct broker_request *request,
                             const struct bus_message *m)
{
    const struct request *message = &m->body->request;
    request->payload = malloc(message_text_bytes(MESSAGE_REQUEST, message) + 1);
    if (!request->payload)
        return ERR_NOMEM;
    request->message = *message;
    (void)message_own_text(MESSAGE_REQUEST, &request->message, request->payload);
    request->payload_bytes = m->frame.len - HEADER_BYTES;
    rs->body_bytes += request->payload_bytes;
    return OK;
}

static struct broker_request *create(struct requests *rs, struct broker_edge *edge,
                                     const struct bus_message *m, const struct model_route *route,
                                     uint64_t now_us)
{
    struct broker_request *request = calloc(1, sizeof *request);
    if (!request || heap_reserve(&rs->due, rs->count + 1) || keep_payload(rs, request, m))
        goto out;
    request->id = m->header.id;
    HASH_ADD(hh, rs->by_id, id, sizeof request->id, request);
    if (!request->hh.tbl) {
        request_drop_payload(rs, request);
        goto out;
    }
    rs->count++;
    request->flags = m->header.flags & HEADER_STREAM;
    request->edge = edge;
    DL_APPEND2(edge->requests, request, edge_prev, edge_next);
    request->router = rs->router;
    router_ref(request->router);
    request->route = route;
    uint64_t deadline_ms = m->header.deadline_ms ? m->header.deadline_ms : route->deadline_ms;
    request->deadline_us = now_us + deadline_ms * 1000;
    return request;
out:
    free(request);
    return NULL;
}

static void refuse_model(struct requests *rs, struct broker_edge *from, const struct bus_message *m)
{
    char message[256];
    int n = snprintf(message, sizeof message,
                     "The model `%.*s` does not exist or is not configured here.",
                     SPAN_ARG(span_first(m->body->request.model, 150)));
    (void)edge_refuse(rs, from, m->header, ERROR_MODEL_NOT_FOUND, span_of(message, (size_t)n), 0);
}

/* About a stored response, and no model says who may have it? */
static bool is_by_id(const struct request *r)
{
    return !r->model.len && r->response_id.len;
}

/* NULL: it has been refused. */
static const struct model_route *route_of(struct requests *rs, struct broker_edge *from,
                                          const struct bus_message *m,
                                          struct stored_response *stored_out)
{
    const struct request *r = &m->body->request;
    bool by_id = is_by_id(r);
    const struct model_route *route =
        by_id ? router_find_stored(rs->router) : router_find(rs->router, r->model);
    if (!route && !by_id) {
        refuse_model(rs, from, m);
    } else if (!route || stored_responses_find(&rs->stored, r->response_id, r->key_id,
                                               stored_out) == RESPONSE_FOREIGN) {
        (void)edge_refuse_stored(rs, from, m->header, r->response_id, by_id);
        return NULL;
    }
    return route;
}

/* Nobody else has the response it is about. */
static void keep_to_owner(struct broker_request *request, const struct stored_response *stored)
{
    uint64_t others = 0, here = 0;
    for (uint32_t i = 0; i < request->route->candidate_count; i++) {
        bool same = request->route->candidates[i].target->pool == stored->pool;
        *(same ? &here : &others) |= (uint64_t)1 << i;
    }
    if (here) {
        request->stored = *stored;
        request->barred |= others;
    }
}

void requests_on_request(struct requests *rs, struct broker_edge *from, const struct bus_message *m,
                         uint64_t now_us)
{
    if (request_find(rs, &m->header.id)) {
        log_warn("request_repeated",
                 LHEX("request", m->header.id.bytes, sizeof m->header.id.bytes));
        return;
    }
    if (cancels_take(rs->cancels, &m->header.id, now_us))
        return;
    struct header h = m->header;
    h.attempt = 0;
    if (is_closed(rs, now_us)) {
        (void)edge_refuse(rs, from, h, ERROR_WORKER_REFUSED,
                          SPAN("The service is restarting. Try again shortly."), 1000);
        return;
    }
    retry_budget_request(&rs->budget, now_us);
    struct stored_response stored = {0};
    const struct model_route *route = route_of(rs, from, m, &stored);
    if (!route)
        return;
    struct broker_request *request = NULL;
    /* a reload may have lowered the bound below what is held */
    if (rs->body_bytes <= rs->rules.body_memory_max &&
        m->frame.len <= rs->rules.body_memory_max - rs->body_bytes)
        request = create(rs, from, m, route, now_us);
    if (request) {
        request->by_id = is_by_id(&m->body->request);
        keep_to_owner(request, &stored);
        dispatch_request(rs, request, now_us);
    } else
        (void)edge_refuse(rs, from, h, ERROR_OVERLOADED,
                          SPAN("The service is at capacity. Try again shortly."), 1000);
}

void requests_on_cancel(struct requests *rs, struct broker_edge *from, const struct bus_message *m,
                        uint64_t now_us)
{
    struct broker_request *request = request_find(rs, &m->header.id);
    if (request) {
        if (request->edge == from)
            cancel_request(rs, request, now_us);
        return;
    }
    uint64_t left_ms = m->header.deadline_ms ? m->header.deadline_ms : CANCEL_DEFAULT_MS;
    cancels_add(rs->cancels, &m->header.id, now_us + left_ms * 1000, now_us);
}

void requests_on_credit(struct requests *rs, struct broker_edge *from, const struct bus_message *m)
{
    struct broker_request *request = request_find(rs, &m->header.id);
    if (!request || request->edge != from || !request->worker)
        return;
    struct header h = m->header;
    h.attempt = request->attempt;
    if (rs->ops->forward(rs->ctx, request->worker->peer, h, m))
        log_debug("credit_undelivered", LHEX("request", h.id.bytes, sizeof h.id.bytes));
}

/* ---- edges ---- */

struct broker_edge *requests_edge_up(struct requests *rs, struct bus_peer *peer)
{
    struct broker_edge *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->peer = peer;
    DL_APPEND(rs->edges, e);
    return e;
}

void requests_edge_down(struct requests *rs, struct broker_edge **edge, uint64_t now_us)
{
    struct broker_edge *e = *edge;
    *edge = NULL;
    if (!e)
        return;
    /* First those that wait: a slot that falls free must not go to a request of the same edge. */
    struct broker_request *request, *next;
    DL_FOREACH_SAFE2(e->requests, request, next, edge_next)
    if (!request->worker)
        request_end(rs, request);
    while (e->requests)
        cancel_request(rs, e->requests, now_us);
    DL_DELETE(rs->edges, e);
    free(e);
}

/* ---- time ---- */

uint64_t requests_next_due_us(const struct requests *rs)
{
    const struct heap_entry *due = heap_first(&rs->due);
    return due ? due->key : UINT64_MAX;
}

static void overdue(struct requests *rs, struct broker_request *request, uint64_t now_us)
{
    struct broker_worker *w = request->worker;
    struct pool *pool = w->pool;
    struct header h = {.id = request->id};
    request_send_cancel(rs, w, &h, request->attempt);
    log_warn("request_overdue", LHEX("request", request->id.bytes, sizeof request->id.bytes),
             LSTR("worker", w->name));
    request_detach(rs, request, OUTCOME_FAILED);
    request_fail(rs, request, ERROR_DEADLINE, "The request's deadline passed.", 0, now_us);
    dispatch_waiting(rs, pool, now_us);
}

void requests_tick(struct requests *rs, uint64_t now_us)
{
    struct heap_entry *due;
    while ((due = heap_first(&rs->due)) && due->key <= now_us) {
        struct broker_request *request =
            (struct broker_request *)(void *)((char *)due - offsetof(struct broker_request, due));
        heap_remove(&rs->due, due);
        switch (request->state) {
        case REQUEST_QUEUED:
            dispatch_expired(rs, request, now_us);
            break;
        case REQUEST_BACKOFF:
            if (now_us < request->deadline_us)
                dispatch_request(rs, request, now_us);
            else
                request_fail(rs, request, ERROR_DEADLINE,
                             "The request's deadline passed between two attempts.", 0, now_us);
            break;
        case REQUEST_DISPATCHED:
        case REQUEST_COMMITTED:
            overdue(rs, request, now_us);
            break;
        case REQUEST_OWING:
            request_fail(rs, request, request->owed, "The service could not deliver the answer.", 0,
                         now_us);
            break;
        }
    }
}

void requests_unstick(struct requests *rs, uint64_t now_us)
{
    struct pool *pool;
    LL_FOREACH(workers_first_pool(rs->workers), pool)
    {
        struct broker_worker *w;
        DL_FOREACH(pool->workers, w)
        w->stuck = false;
        dispatch_waiting(rs, pool, now_us);
    }
}
