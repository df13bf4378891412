/* What workers answer, and what their loss means. */
#include <utlist.h>

#include "common/base/log.h"
#include "proto/api.h"
#include "proto/error_class.h"
#include "services/broker/request.h"

enum { DATA_PER_CANCEL = 64 };

/* ---- frames of workers ---- */

/* The call this frame belongs to; NULL and counted when it is stale. */
static struct call *current(struct calls *c, const struct worker *from, const struct bus_message *m)
{
    struct call *call = call_find(c, &m->header.id);
    if (call && call->worker == from && call->attempt == m->header.attempt)
        return call;
    c->stale++;
    return NULL;
}

static enum err to_edge(struct calls *c, const struct call *call, const struct bus_message *m,
                        uint8_t flags)
{
    struct header h = m->header;
    h.flags |= flags;
    enum err e = c->ops->forward(c->ctx, call->edge->peer, h, m);
    if (e)
        log_warn("edge_unreachable", LHEX("request", call->id.bytes, sizeof call->id.bytes));
    return e;
}

/* The edge does not get all of it: what nobody gets must not be paid for. */
static void cut_off(struct calls *c, struct call *call, enum err why, uint64_t now_us)
{
    struct worker *w = call->worker;
    struct header h = {.id = call->id};
    call_send_cancel(c, w, &h, call->attempt);
    call_detach(c, call, OUTCOME_CANCELED);
    call_close(c, call, why, ERROR_INTERNAL, now_us);
    place_waiting(c, w->pool, now_us);
}

/* Who made it and where, for those who ask for it by id. Reading one later makes nobody its owner.
 */
static void remember_response(struct calls *c, const struct call *call, struct span id,
                              uint32_t lane, uint64_t now_us)
{
    if (call->by_id || call->request.api != API_OPENAI_RESPONSES || lane == UINT32_MAX)
        return;
    struct stored_place place = {call_choice(call)->target->pool, lane + 1};
    stored_remember(&c->stored, id, call->request.key_id, place, now_us);
}

void calls_on_head(struct calls *c, struct worker *from, const struct bus_message *m,
                   uint64_t now_us)
{
    struct call *call = current(c, from, m);
    from->stuck = false;
    if (!call) {
        call_send_cancel(c, from, &m->header, m->header.attempt);
        return;
    }
    if (call->state != CALL_DISPATCHED)
        return;
    call->state = CALL_COMMITTED;
    remember_response(c, call, m->body->head.upstream_id, m->body->head.endpoint, now_us);
    breaker_success(&call_choice(call)->target->breaker);
    call->probe = false;
    call_drop_payload(c, call);
    enum err e = to_edge(c, call, m, 0);
    if (e)
        cut_off(c, call, e, now_us);
}

void calls_on_data(struct calls *c, struct worker *from, const struct bus_message *m,
                   uint64_t now_us)
{
    struct call *call = current(c, from, m);
    if (!call) {
        /* It may take a moment until the worker has heard: don't answer every frame. */
        if (m->header.seq % DATA_PER_CANCEL == 0)
            call_send_cancel(c, from, &m->header, m->header.attempt);
        return;
    }
    enum err e = call->state == CALL_COMMITTED ? to_edge(c, call, m, 0) : OK;
    if (e)
        cut_off(c, call, e, now_us);
}

void calls_on_end(struct calls *c, struct worker *from, const struct bus_message *m,
                  uint64_t now_us)
{
    struct call *call = current(c, from, m);
    from->stuck = false;
    if (!call)
        return;
    if (m->header.type == MESSAGE_REPLY)
        remember_response(c, call, m->body->reply.upstream_id, m->body->reply.endpoint, now_us);
    breaker_success(&call_choice(call)->target->breaker);
    call->probe = false;
    enum err e = to_edge(c, call, m, HEADER_LAST);
    call_detach(c, call, OUTCOME_OK);
    call_close(c, call, e, ERROR_INTERNAL, now_us);
    place_waiting(c, from->pool, now_us);
}

static void judge_target(struct calls *c, struct call *call, unsigned error_class, uint64_t now_us)
{
    struct breaker *b = &call_choice(call)->target->breaker;
    if (retry_blames_target(error_class))
        breaker_failure(b, &c->rules.breaker, call->probe, now_us);
    else if (retry_tells_nothing(error_class))
        breaker_abandon(b, call->probe, now_us);
    else
        breaker_success(b);
    call->probe = false;
}

void calls_on_fail(struct calls *c, struct worker *from, const struct bus_message *m,
                   uint64_t now_us)
{
    struct call *call = current(c, from, m);
    if (!call)
        return;
    unsigned error_class = m->body->fail.error_class;
    bool committed = call->state == CALL_COMMITTED;
    judge_target(c, call, error_class, now_us);
    /* It has less room than we thought: nothing more until it has said or done something. */
    from->stuck = error_class == ERROR_WORKER_REFUSED;
    call->last_worker = from->serial;
    struct pool *pool = from->pool;
    bool missed = call->by_id && !committed &&
                  (error_class == ERROR_UPSTREAM_NOT_FOUND || error_class == ERROR_NOT_FOUND);
    bool retried = missed       ? place_search_on(c, call, &m->body->fail, now_us)
                   : !committed ? place_retry(c, call, &m->body->fail, now_us)
                                : false;
    call_detach(c, call, retried ? OUTCOME_RETRIED : OUTCOME_FAILED);
    if (missed && !retried) {
        call_fail_stored(c, call, now_us);
    } else if (!retried) {
        call_close(c, call, to_edge(c, call, m, HEADER_LAST), error_class, now_us);
    }
    place_waiting(c, pool, now_us);
}

/* ---- workers ---- */

static void lose(struct calls *c, struct call *call, uint64_t now_us)
{
    struct fail f = {.error_class = ERROR_WORKER_LOST, .sent = true, .endpoint = UINT32_MAX};
    bool committed = call->state == CALL_COMMITTED;
    call->last_worker = call->worker->serial;
    call_detach(c, call, OUTCOME_LOST);
    if (!committed && place_retry(c, call, &f, now_us))
        return;
    struct header h = {
        .id = call->id, .attempt = call->attempt, .flags = call->flags | HEADER_LAST};
    f.message = SPAN("The worker that ran this request is gone.");
    f.provider = span_str(call_choice(call)->target->pool->name);
    enum err e = c->ops->send(c->ctx, call->edge->peer, h, MESSAGE_FAIL, &f);
    call_close(c, call, e, ERROR_WORKER_LOST, now_us);
}

void calls_worker_down(struct calls *c, struct worker **worker, uint64_t now_us)
{
    struct worker *w = *worker;
    if (!w)
        return;
    /* Not a candidate for its own calls. */
    workers_offer(w, 0, SPAN("gone"), now_us);
    while (w->calls)
        lose(c, w->calls, now_us);
    workers_remove(worker, now_us);
}

void calls_on_slots(struct calls *c, struct worker *from, uint32_t offered, struct span why,
                    uint64_t now_us)
{
    workers_offer(from, offered, why, now_us);
    place_waiting(c, from->pool, now_us);
}
