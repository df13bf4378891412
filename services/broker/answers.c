/* What workers answer, and what their loss means. */
#include <utlist.h>

#include "common/base/log.h"
#include "proto/api.h"
#include "proto/error_class.h"
#include "services/broker/request.h"

enum { DATA_PER_CANCEL = 64 };

/* ---- frames of workers ---- */

/* The request this frame belongs to; NULL and counted when it is stale. */
static struct broker_request *current(struct requests *rs, const struct broker_worker *from,
                                      const struct bus_message *m)
{
    struct broker_request *request = request_find(rs, &m->header.id);
    if (request && request->worker == from && request->attempt == m->header.attempt)
        return request;
    rs->stale++;
    return NULL;
}

static enum err to_edge(struct requests *rs, const struct broker_request *request,
                        const struct bus_message *m, uint8_t flags)
{
    struct header h = m->header;
    h.flags |= flags;
    enum err e = rs->ops->forward(rs->ctx, request->edge->peer, h, m);
    if (e)
        log_warn("edge_unreachable", LHEX("request", request->id.bytes, sizeof request->id.bytes));
    return e;
}

/* The edge does not get all of it: what nobody gets must not be paid for. */
static void cut_off(struct requests *rs, struct broker_request *request, enum err why,
                    uint64_t now_us)
{
    struct broker_worker *w = request->worker;
    struct header h = {.id = request->id};
    request_send_cancel(rs, w, &h, request->attempt);
    request_detach(rs, request, OUTCOME_CANCELED);
    request_close(rs, request, why, ERROR_INTERNAL, now_us);
    dispatch_waiting(rs, w->pool, now_us);
}

/* Who made it and where, for those who ask for it by id. Reading one later makes nobody its owner.
 */
static void remember_response(struct requests *rs, const struct broker_request *request,
                              struct span id, uint32_t endpoint, uint64_t now_us)
{
    if (request->by_id || !api_info(request->message.api)->stored || endpoint == UINT32_MAX)
        return;
    struct stored_response stored = {request_candidate(request)->target->pool, endpoint + 1};
    stored_responses_remember(&rs->stored, id, request->message.key_id, stored, now_us / 1000);
}

void requests_on_head(struct requests *rs, struct broker_worker *from, const struct bus_message *m,
                      uint64_t now_us)
{
    struct broker_request *request = current(rs, from, m);
    from->stuck = false;
    if (!request) {
        request_send_cancel(rs, from, &m->header, m->header.attempt);
        return;
    }
    if (request->state != REQUEST_DISPATCHED)
        return;
    remember_response(rs, request, m->body->head.upstream_id, m->body->head.endpoint, now_us);
    breaker_success(&request_candidate(request)->target->breaker);
    request->probe = false;
    request_move(rs, request, REQUEST_COMMITTED, request->deadline_us + OVERDUE_US);
    enum err e = to_edge(rs, request, m, 0);
    if (e)
        cut_off(rs, request, e, now_us);
}

void requests_on_data(struct requests *rs, struct broker_worker *from, const struct bus_message *m,
                      uint64_t now_us)
{
    struct broker_request *request = current(rs, from, m);
    if (!request) {
        /* It may take a moment until the worker has heard: don't answer every frame. */
        if (m->header.seq % DATA_PER_CANCEL == 0)
            request_send_cancel(rs, from, &m->header, m->header.attempt);
        return;
    }
    enum err e = request->state == REQUEST_COMMITTED ? to_edge(rs, request, m, 0) : OK;
    if (e)
        cut_off(rs, request, e, now_us);
}

void requests_on_end(struct requests *rs, struct broker_worker *from, const struct bus_message *m,
                     uint64_t now_us)
{
    struct broker_request *request = current(rs, from, m);
    from->stuck = false;
    if (!request)
        return;
    if (m->header.type == MESSAGE_REPLY)
        remember_response(rs, request, m->body->reply.upstream_id, m->body->reply.endpoint, now_us);
    breaker_success(&request_candidate(request)->target->breaker);
    request->probe = false;
    enum err e = to_edge(rs, request, m, HEADER_LAST);
    request_detach(rs, request, OUTCOME_OK);
    request_close(rs, request, e, ERROR_INTERNAL, now_us);
    dispatch_waiting(rs, from->pool, now_us);
}

static void judge_target(struct requests *rs, struct broker_request *request, unsigned error_class,
                         uint64_t now_us)
{
    struct breaker *b = &request_candidate(request)->target->breaker;
    if (retry_blames_target(error_class))
        breaker_failure(b, &rs->rules.breaker, request->probe, now_us);
    else if (retry_is_neutral(error_class))
        breaker_abandon(b, request->probe, now_us);
    else
        breaker_success(b);
    request->probe = false;
}

void requests_on_fail(struct requests *rs, struct broker_worker *from, const struct bus_message *m,
                      uint64_t now_us)
{
    struct broker_request *request = current(rs, from, m);
    if (!request)
        return;
    unsigned error_class = m->body->fail.error_class;
    bool committed = request->state == REQUEST_COMMITTED;
    judge_target(rs, request, error_class, now_us);
    /* It has less room than it offered: send nothing more until a frame of it comes. */
    from->stuck = error_class == ERROR_WORKER_REFUSED;
    request->last_worker = from->serial;
    struct pool *pool = from->pool;
    bool missed = request->by_id && !committed &&
                  (error_class == ERROR_UPSTREAM_NOT_FOUND || error_class == ERROR_NOT_FOUND);
    bool retried = missed       ? dispatch_search_on(rs, request, &m->body->fail, now_us)
                   : !committed ? dispatch_retry(rs, request, &m->body->fail, now_us)
                                : false;
    request_detach(rs, request, retried ? OUTCOME_RETRIED : OUTCOME_FAILED);
    if (missed && !retried) {
        request_fail_stored(rs, request, now_us);
    } else if (!retried) {
        request_close(rs, request, to_edge(rs, request, m, HEADER_LAST), error_class, now_us);
    }
    dispatch_waiting(rs, pool, now_us);
}

/* ---- workers ---- */

static void lose(struct requests *rs, struct broker_request *request, uint64_t now_us)
{
    struct fail f = {.error_class = ERROR_WORKER_LOST, .sent = true, .endpoint = UINT32_MAX};
    bool committed = request->state == REQUEST_COMMITTED;
    request->last_worker = request->worker->serial;
    request_detach(rs, request, OUTCOME_LOST);
    if (!committed && dispatch_retry(rs, request, &f, now_us))
        return;
    struct header h = {
        .id = request->id, .attempt = request->attempt, .flags = request->flags | HEADER_LAST};
    f.message = SPAN("The service lost this request. Try again.");
    f.provider = span_str(request_candidate(request)->target->pool->name);
    enum err e = rs->ops->send(rs->ctx, request->edge->peer, h, MESSAGE_FAIL, &f);
    request_close(rs, request, e, ERROR_WORKER_LOST, now_us);
}

void requests_worker_down(struct requests *rs, struct broker_worker **worker, uint64_t now_us)
{
    struct broker_worker *w = *worker;
    if (!w)
        return;
    /* Not a candidate for its own requests. */
    workers_offer(w, 0, SPAN("gone"), now_us);
    while (w->requests)
        lose(rs, w->requests, now_us);
    workers_remove(worker, now_us);
}

void requests_on_slots(struct requests *rs, struct broker_worker *from, uint32_t offered,
                       struct span why, uint64_t now_us)
{
    workers_offer(from, offered, why, now_us);
    dispatch_waiting(rs, from->pool, now_us);
}
