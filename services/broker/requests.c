#include "services/broker/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/base/log.h"
#include "proto/error_class.h"
#include "services/broker/request.h"

enum { MAX_CANCELS = 65536, CANCEL_DEFAULT_MS = 10000, OWED_AGAIN_US = 50000 };

/* ---- the table ---- */

enum err calls_create(struct calls **out, const struct calls_ops *ops, void *ctx,
                      const struct calls_rules *rules, struct workers *workers,
                      struct router *router)
{
    struct calls *c = *out = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    if (cancels_create(&c->cancels, MAX_CANCELS)) {
        free(c);
        *out = NULL;
        return ERR_NOMEM;
    }
    c->ops = ops;
    c->ctx = ctx;
    c->workers = workers;
    c->rules = *rules;
    c->router = router;
    router_ref(router);
    return OK;
}

void calls_destroy(struct calls **calls)
{
    struct calls *c = *calls;
    if (!c)
        return;
    while (c->by_id)
        call_end(c, c->by_id);
    struct edge *e, *next;
    DL_FOREACH_SAFE(c->edges, e, next)
    free(e);
    cancels_destroy(&c->cancels);
    due_free(&c->due);
    stored_free(&c->stored);
    router_unref(&c->router);
    free(c);
    *calls = NULL;
}

void calls_reconfigure(struct calls *c, const struct calls_rules *rules, struct router *router)
{
    c->rules = *rules;
    router_ref(router);
    router_unref(&c->router);
    c->router = router;
    stored_forget_lanes(&c->stored);
}

void calls_close(struct calls *c, uint64_t from_us)
{
    c->closed_from_us = from_us;
}

static bool is_closed(const struct calls *c, uint64_t now_us)
{
    return c->closed_from_us && now_us >= c->closed_from_us;
}

bool calls_drained(const struct calls *c, uint64_t now_us)
{
    return is_closed(c, now_us) && c->count == 0;
}

struct calls_stats calls_stats(const struct calls *c)
{
    return (struct calls_stats){c->count, c->queued, c->body_bytes, c->stale};
}

struct call *call_find(struct calls *c, const struct request_id *id)
{
    struct call *call = NULL;
    if (c->by_id)
        HASH_FIND(hh, c->by_id, id, sizeof *id, call);
    return call;
}

/* ---- one request ---- */

void call_drop_payload(struct calls *c, struct call *call)
{
    c->body_bytes -= call->payload_bytes;
    free(call->payload);
    call->payload = NULL;
    call->payload_bytes = 0;
    call->request = (struct request){0};
}

void call_detach(struct calls *c, struct call *call, enum outcome outcome)
{
    struct worker *w = call->worker;
    (void)c;
    if (!w)
        return;
    /* Nobody has reported how its probe went: the next one may go. */
    breaker_abandon(&call_choice(call)->target->breaker, call->probe, 0);
    call->probe = false;
    DL_DELETE2(w->calls, call, worker_prev, worker_next);
    workers_give_back(w);
    w->pool->outcomes[outcome]++;
    call->worker = NULL;
}

void call_end(struct calls *c, struct call *call)
{
    call_detach(c, call, OUTCOME_CANCELED);
    place_unqueue(c, call);
    due_clear(&c->due, &call->due);
    DL_DELETE2(call->edge->calls, call, edge_prev, edge_next);
    HASH_DELETE(hh, c->by_id, call);
    c->count--;
    call_drop_payload(c, call);
    router_unref(&call->router);
    free(call);
}

static enum err send_refusal(struct calls *c, struct edge *edge, struct header h,
                             const struct fail *f)
{
    h.flags |= HEADER_LAST;
    enum err e = c->ops->send(c->ctx, edge->peer, h, MESSAGE_FAIL, f);
    if (e)
        log_debug("edge_unreachable", LHEX("request", h.id.bytes, sizeof h.id.bytes));
    return e;
}

static enum err refuse(struct calls *c, struct edge *edge, struct header h, unsigned error_class,
                       struct span message, uint64_t retry_after_ms)
{
    struct fail f = {
        .error_class = error_class, .message = message, .retry_after_ms = retry_after_ms};
    return send_refusal(c, edge, h, &f);
}

void call_close(struct calls *c, struct call *call, enum err sent, unsigned error_class,
                uint64_t now_us)
{
    /* An edge that is gone takes its requests along by itself. */
    if (sent == OK || sent == ERR_CLOSED || now_us >= call->deadline_us + OVERDUE_US) {
        call_end(c, call);
        return;
    }
    call_drop_payload(c, call);
    place_unqueue(c, call);
    call->state = CALL_OWING;
    call->owed = error_class;
    due_set(&c->due, &call->due, now_us + OWED_AGAIN_US);
}

static struct header header_of(const struct call *call)
{
    return (struct header){.id = call->id, .attempt = call->attempt, .flags = call->flags};
}

void call_fail(struct calls *c, struct call *call, unsigned error_class, const char *message,
               uint64_t retry_after_ms, uint64_t now_us)
{
    enum err sent =
        refuse(c, call->edge, header_of(call), error_class, span_str(message), retry_after_ms);
    call_close(c, call, sent, error_class, now_us);
}

static enum err refuse_stored(struct calls *c, struct edge *edge, struct header h, struct span id,
                              bool by_id)
{
    char message[256];
    struct fail f = {.error_class = by_id ? ERROR_NOT_FOUND : ERROR_BAD_REQUEST};
    int n = snprintf(message, sizeof message,
                     by_id ? "Response with id '%.*s' not found."
                           : "Previous response with id '%.*s' not found.",
                     SPAN_ARG(span_first(id, 150)));
    f.message = span_of(message, (size_t)n);
    if (!by_id) {
        f.code = SPAN("previous_response_not_found");
        f.param = SPAN("previous_response_id");
    }
    return send_refusal(c, edge, h, &f);
}

void call_fail_stored(struct calls *c, struct call *call, uint64_t now_us)
{
    enum err sent = refuse_stored(c, call->edge, header_of(call), call->request.response_id, true);
    call_close(c, call, sent, ERROR_NOT_FOUND, now_us);
}

uint32_t call_left_ms(const struct call *call, uint64_t now_us)
{
    uint64_t left = call->deadline_us > now_us ? (call->deadline_us - now_us) / 1000 : 0;
    return left < 1 ? 1 : left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

void call_send_cancel(struct calls *c, struct worker *w, const struct header *of, uint8_t attempt)
{
    struct header h = {.id = of->id, .attempt = attempt, .deadline_ms = of->deadline_ms};
    if (c->ops->send(c->ctx, w->peer, h, MESSAGE_CANCEL, &(struct cancel){0}))
        log_debug("cancel_undelivered", LSTR("worker", w->name));
}

/* Stops it wherever it is; the edge expects nothing more. */
static void cancel_call(struct calls *c, struct call *call, uint64_t now_us)
{
    struct pool *pool = call->worker ? call->worker->pool : NULL;
    struct header h = {.id = call->id, .deadline_ms = call_left_ms(call, now_us)};
    if (call->worker)
        call_send_cancel(c, call->worker, &h, call->attempt);
    call_end(c, call);
    if (pool)
        place_waiting(c, pool, now_us);
}

/* ---- a new request ---- */

static void move_span(struct span *s, const char *from, char *to)
{
    if (s->data)
        s->data = to + (s->data - from);
}

/* The request's views, moved from the frame into the copy kept for retries. */
static enum err keep_payload(struct calls *c, struct call *call, const struct bus_message *m)
{
    const struct message_info *info = message_info(MESSAGE_REQUEST);
    struct span bytes = span_skip(m->frame, HEADER_BYTES);
    call->payload = malloc(bytes.len + 1);
    if (!call->payload)
        return ERR_NOMEM;
    memcpy(call->payload, bytes.data, bytes.len);
    call->payload_bytes = bytes.len;
    c->body_bytes += bytes.len;
    call->request = m->body->request;
    for (unsigned i = 0; i < info->field_count; i++)
        if (info->fields[i].type == FIELD_STR || info->fields[i].type == FIELD_BIN)
            move_span((struct span *)(void *)((char *)&call->request + info->fields[i].offset),
                      bytes.data, call->payload);
    return OK;
}

static struct call *create(struct calls *c, struct edge *edge, const struct bus_message *m,
                           const struct route *route, uint64_t now_us)
{
    struct call *call = calloc(1, sizeof *call);
    if (!call || due_reserve(&c->due, c->count + 1) || keep_payload(c, call, m))
        goto out;
    call->id = m->header.id;
    HASH_ADD(hh, c->by_id, id, sizeof call->id, call);
    if (!call->hh.tbl) {
        call_drop_payload(c, call);
        goto out;
    }
    c->count++;
    call->state = CALL_BACKOFF;
    call->flags = m->header.flags & HEADER_STREAM;
    call->edge = edge;
    DL_APPEND2(edge->calls, call, edge_prev, edge_next);
    call->router = c->router;
    router_ref(call->router);
    call->route = route;
    uint64_t deadline_ms = m->header.deadline_ms ? m->header.deadline_ms : route->deadline_ms;
    call->deadline_us = now_us + deadline_ms * 1000;
    return call;
out:
    free(call);
    return NULL;
}

static void refuse_model(struct calls *c, struct edge *from, const struct bus_message *m)
{
    char message[256];
    int n = snprintf(message, sizeof message,
                     "The model `%.*s` does not exist or is not configured here.",
                     SPAN_ARG(span_first(m->body->request.model, 150)));
    (void)refuse(c, from, m->header, ERROR_MODEL_NOT_FOUND, span_of(message, (size_t)n), 0);
}

/* About a stored response, and no model says who may have it? */
static bool is_by_id(const struct request *r)
{
    return !r->model.len && r->response_id.len;
}

/* NULL: it has been refused. */
static const struct route *route_of(struct calls *c, struct edge *from, const struct bus_message *m,
                                    uint64_t now_us, struct stored_place *place_out)
{
    const struct request *r = &m->body->request;
    bool by_id = is_by_id(r);
    const struct route *route =
        by_id ? router_find_stored(c->router) : router_find(c->router, r->model);
    if (!route && !by_id) {
        refuse_model(c, from, m);
    } else if (!route || stored_find(&c->stored, r->response_id, r->key_id, now_us, place_out) ==
                             STORED_FOREIGN) {
        (void)refuse_stored(c, from, m->header, r->response_id, by_id);
        return NULL;
    }
    return route;
}

/* Nobody else has the response it is about. */
static void keep_to_place(struct call *call, const struct stored_place *place)
{
    uint64_t others = 0, here = 0;
    for (uint32_t i = 0; i < call->route->choice_count; i++) {
        bool same = call->route->choices[i].target->pool == place->pool;
        *(same ? &here : &others) |= (uint64_t)1 << i;
    }
    if (here) {
        call->place = *place;
        call->barred |= others;
    }
}

void calls_on_request(struct calls *c, struct edge *from, const struct bus_message *m,
                      uint64_t now_us)
{
    if (call_find(c, &m->header.id)) {
        log_warn("request_repeated",
                 LHEX("request", m->header.id.bytes, sizeof m->header.id.bytes));
        return;
    }
    if (cancels_take(c->cancels, &m->header.id, now_us))
        return;
    struct header h = m->header;
    h.attempt = 0;
    if (is_closed(c, now_us)) {
        (void)refuse(c, from, h, ERROR_WORKER_REFUSED, SPAN("The broker is shutting down."), 1000);
        return;
    }
    retry_budget_request(&c->budget, now_us);
    struct stored_place place = {0};
    const struct route *route = route_of(c, from, m, now_us, &place);
    if (!route)
        return;
    struct call *call = NULL;
    /* a reload may have lowered the bound below what is held */
    if (c->body_bytes <= c->rules.body_memory_max &&
        m->frame.len <= c->rules.body_memory_max - c->body_bytes)
        call = create(c, from, m, route, now_us);
    if (call) {
        call->by_id = is_by_id(&m->body->request);
        keep_to_place(call, &place);
        place_call(c, call, now_us);
    } else
        (void)refuse(c, from, h, ERROR_OVERLOADED,
                     SPAN("The gateway holds too many request bytes. Try again shortly."), 1000);
}

void calls_on_cancel(struct calls *c, struct edge *from, const struct bus_message *m,
                     uint64_t now_us)
{
    struct call *call = call_find(c, &m->header.id);
    if (call) {
        if (call->edge == from)
            cancel_call(c, call, now_us);
        return;
    }
    uint64_t left_ms = m->header.deadline_ms ? m->header.deadline_ms : CANCEL_DEFAULT_MS;
    cancels_add(c->cancels, &m->header.id, now_us + left_ms * 1000, now_us);
}

void calls_on_credit(struct calls *c, struct edge *from, const struct bus_message *m)
{
    struct call *call = call_find(c, &m->header.id);
    if (!call || call->edge != from || !call->worker)
        return;
    struct header h = m->header;
    h.attempt = call->attempt;
    if (c->ops->forward(c->ctx, call->worker->peer, h, m))
        log_debug("credit_undelivered", LHEX("request", h.id.bytes, sizeof h.id.bytes));
}

/* ---- edges ---- */

struct edge *calls_edge_up(struct calls *c, struct bus_peer *peer)
{
    struct edge *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->peer = peer;
    DL_APPEND(c->edges, e);
    return e;
}

void calls_edge_down(struct calls *c, struct edge **edge, uint64_t now_us)
{
    struct edge *e = *edge;
    *edge = NULL;
    if (!e)
        return;
    /* First those that wait: a slot that falls free must not go to a call of the same edge. */
    struct call *call, *next;
    DL_FOREACH_SAFE2(e->calls, call, next, edge_next)
    if (!call->worker)
        call_end(c, call);
    while (e->calls)
        cancel_call(c, e->calls, now_us);
    DL_DELETE(c->edges, e);
    free(e);
}

/* ---- time ---- */

uint64_t calls_next_due_us(const struct calls *c)
{
    const struct due *due = due_first(&c->due);
    return due ? due->at_us : UINT64_MAX;
}

static void overdue(struct calls *c, struct call *call, uint64_t now_us)
{
    struct worker *w = call->worker;
    struct pool *pool = w->pool;
    struct header h = {.id = call->id};
    call_send_cancel(c, w, &h, call->attempt);
    log_warn("call_overdue", LHEX("request", call->id.bytes, sizeof call->id.bytes),
             LSTR("worker", w->name));
    call_detach(c, call, OUTCOME_FAILED);
    call_fail(c, call, ERROR_DEADLINE, "The request's deadline passed.", 0, now_us);
    place_waiting(c, pool, now_us);
}

void calls_tick(struct calls *c, uint64_t now_us)
{
    struct due *due;
    while ((due = due_first(&c->due)) && due->at_us <= now_us) {
        struct call *call = (struct call *)(void *)((char *)due - offsetof(struct call, due));
        due_clear(&c->due, due);
        switch (call->state) {
        case CALL_QUEUED:
            place_expired(c, call, now_us);
            break;
        case CALL_BACKOFF:
            if (now_us < call->deadline_us)
                place_call(c, call, now_us);
            else
                call_fail(c, call, ERROR_DEADLINE,
                          "The request's deadline passed between two attempts.", 0, now_us);
            break;
        case CALL_DISPATCHED:
        case CALL_COMMITTED:
            overdue(c, call, now_us);
            break;
        case CALL_OWING:
            call_fail(c, call, call->owed, "The service could not deliver the answer.", 0, now_us);
            break;
        }
    }
}

void calls_unstick(struct calls *c, uint64_t now_us)
{
    struct pool *pool;
    LL_FOREACH(workers_first_pool(c->workers), pool)
    {
        struct worker *w;
        DL_FOREACH(pool->workers, w)
        w->stuck = false;
        place_waiting(c, pool, now_us);
    }
}
