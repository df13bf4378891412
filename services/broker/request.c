#include "services/broker/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/base/log.h"
#include "proto/error_class.h"

enum { OWED_AGAIN_US = 50000 };

struct broker_request *request_find(struct requests *rs, const struct request_id *id)
{
    struct broker_request *request = NULL;
    if (rs->by_id)
        HASH_FIND(hh, rs->by_id, id, sizeof *id, request);
    return request;
}

void request_drop_payload(struct requests *rs, struct broker_request *request)
{
    rs->body_bytes -= request->payload_bytes;
    free(request->payload);
    request->payload = NULL;
    request->payload_bytes = 0;
    request->message = (struct request){0};
}

void request_leave_queues(struct requests *rs, struct broker_request *request)
{
    for (unsigned i = 0; i < request->wait_count; i++)
        queue_remove(&request->waits[i]);
    if (request->wait_count)
        rs->queued--;
    request->wait_count = 0;
}

void request_move(struct requests *rs, struct broker_request *request, enum broker_request_state to,
                  uint64_t due_us)
{
    request_leave_queues(rs, request);
    if (to == REQUEST_COMMITTED || to == REQUEST_OWING)
        request_drop_payload(rs, request);
    request->state = to;
    heap_set(&rs->due, &request->due, due_us);
}

void request_detach(struct requests *rs, struct broker_request *request,
                    enum attempt_outcome outcome)
{
    struct broker_worker *w = request->worker;
    (void)rs;
    if (!w)
        return;
    /* Nobody has reported how its probe went: the next one may go. */
    breaker_abandon(&request_candidate(request)->target->breaker, request->probe, 0);
    request->probe = false;
    DL_DELETE2(w->requests, request, worker_prev, worker_next);
    workers_give_back(w);
    w->pool->outcomes[outcome]++;
    request->worker = NULL;
}

void request_end(struct requests *rs, struct broker_request *request)
{
    request_detach(rs, request, OUTCOME_CANCELED);
    request_leave_queues(rs, request);
    heap_remove(&rs->due, &request->due);
    DL_DELETE2(request->edge->requests, request, edge_prev, edge_next);
    HASH_DELETE(hh, rs->by_id, request);
    rs->count--;
    request_drop_payload(rs, request);
    router_unref(&request->router);
    free(request);
}

static enum err send_refusal(struct requests *rs, struct broker_edge *edge, struct header h,
                             const struct fail *f)
{
    h.flags |= HEADER_LAST;
    enum err e = rs->ops->send(rs->ctx, edge->peer, h, MESSAGE_FAIL, f);
    if (e)
        log_debug("edge_unreachable", LHEX("request", h.id.bytes, sizeof h.id.bytes));
    return e;
}

enum err edge_refuse(struct requests *rs, struct broker_edge *edge, struct header h,
                     unsigned error_class, struct span message, uint64_t retry_after_ms)
{
    struct fail f = {
        .error_class = error_class, .message = message, .retry_after_ms = retry_after_ms};
    return send_refusal(rs, edge, h, &f);
}

void request_close(struct requests *rs, struct broker_request *request, enum err sent,
                   unsigned error_class, uint64_t now_us)
{
    /* An edge that is gone takes its requests along by itself. */
    if (sent == OK || sent == ERR_CLOSED || now_us >= request->deadline_us + OVERDUE_US) {
        request_end(rs, request);
        return;
    }
    request->owed = error_class;
    request_move(rs, request, REQUEST_OWING, now_us + OWED_AGAIN_US);
}

static struct header header_of(const struct broker_request *request)
{
    return (struct header){.id = request->id, .attempt = request->attempt, .flags = request->flags};
}

void request_fail(struct requests *rs, struct broker_request *request, unsigned error_class,
                  const char *message, uint64_t retry_after_ms, uint64_t now_us)
{
    enum err sent = edge_refuse(rs, request->edge, header_of(request), error_class,
                                span_str(message), retry_after_ms);
    request_close(rs, request, sent, error_class, now_us);
}

enum err edge_refuse_stored(struct requests *rs, struct broker_edge *edge, struct header h,
                            struct span id, bool by_id)
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
    return send_refusal(rs, edge, h, &f);
}

void request_fail_stored(struct requests *rs, struct broker_request *request, uint64_t now_us)
{
    enum err sent = edge_refuse_stored(rs, request->edge, header_of(request),
                                       request->message.response_id, true);
    request_close(rs, request, sent, ERROR_NOT_FOUND, now_us);
}

uint32_t request_left_ms(const struct broker_request *request, uint64_t now_us)
{
    uint64_t left = request->deadline_us > now_us ? (request->deadline_us - now_us) / 1000 : 0;
    return left < 1 ? 1 : left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

void request_send_cancel(struct requests *rs, struct broker_worker *w, const struct header *of,
                         uint8_t attempt)
{
    struct header h = {.id = of->id, .attempt = attempt, .deadline_ms = of->deadline_ms};
    if (rs->ops->send(rs->ctx, w->peer, h, MESSAGE_CANCEL, &(struct cancel){0}))
        log_debug("cancel_undelivered", LSTR("worker", w->name));
}
