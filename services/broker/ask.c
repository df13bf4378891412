/* One ask: what it is in, how it ends, and what its edge is told. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "proto/error_class.h"
#include "services/broker/core_internal.h"

const char ask_at_capacity[] = "The service is at capacity. Try again shortly.";

struct broker_ask *ask_find(const struct core *c, const struct request_id *id)
{
    struct broker_ask *ask = NULL;
    HASH_FIND(hh, c->asks, id, sizeof *id, ask);
    return ask;
}

void ask_leave_queues(struct core *c, struct broker_ask *ask)
{
    for (unsigned i = 0; i < ask->wait_count; i++)
        queue_remove(&ask->waits[i]);
    if (ask->wait_count)
        c->stats.queued--;
    ask->wait_count = 0;
}

/* The one place where an ask's state changes; due_us: when it must be looked at again. */
void ask_move(struct core *c, struct broker_ask *ask, enum ask_state to, uint64_t due_us)
{
    ask_leave_queues(c, ask);
    ask->state = to;
    heap_set(&c->due_asks, &ask->due, due_us);
}

void ask_end(struct core *c, struct broker_ask *ask)
{
    ask_leave_queues(c, ask);
    heap_remove(&c->due_asks, &ask->due);
    DL_DELETE(ask->edge->asks, ask);
    HASH_DEL(c->asks, ask);
    c->stats.asks--;
    router_unref(&ask->router);
    free(ask);
}

void ask_send_decline(struct core *c, const struct broker_edge *edge, const struct header *h,
                      const struct decline *d)
{
    struct header to = {.id = h->id, .attempt = h->attempt};
    c->ops->send(c->ctx, edge->peer, to, MESSAGE_DECLINE, d);
}

/* Tells the edge, then ends it. class 0: the failure that was asked about stands. */
void ask_decline(struct core *c, struct broker_ask *ask, unsigned error_class, const char *message,
                 uint64_t retry_after_ms)
{
    struct header h = {.id = ask->id, .attempt = ask->attempt};
    struct decline d = {
        .error_class = error_class, .message = span_str(message), .retry_after_ms = retry_after_ms};
    ask_send_decline(c, ask->edge, &h, &d);
    ask_end(c, ask);
}

/* In words that do not tell a response of another client from none. */
void ask_decline_stored(struct core *c, const struct broker_edge *edge, const struct header *h,
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
    ask_send_decline(c, edge, h, &d);
}

void ask_decline_model(struct core *c, const struct broker_edge *edge, const struct header *h,
                       struct span model)
{
    char message[256];
    int n = snprintf(message, sizeof message,
                     "The model `%.*s` does not exist or is not configured here.",
                     SPAN_ARG(span_first(model, 150)));
    struct decline d = {.error_class = ERROR_MODEL_NOT_FOUND,
                        .message = span_of(message, (size_t)n)};
    ask_send_decline(c, edge, h, &d);
}

const struct candidate *ask_candidate(const struct broker_ask *ask)
{
    return &ask->route->candidates[ask->trail.candidate];
}

struct route_state ask_route_state(const struct core *c, const struct broker_ask *ask,
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
