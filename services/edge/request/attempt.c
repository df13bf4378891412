#include "services/edge/request/attempt.h"

#include "common/base/log.h"

void attempt_begin(struct edge_request *r, struct held_grant *grant, struct worker_link *link)
{
    r->grant = grant;
    r->link = link;
    link->running++;
}

void attempt_commit(struct edge_request *r)
{
    grants_commit(r->edge->grants, r->grant, edge_now_ms(r->edge));
}

void attempt_end(struct edge_request *r, enum grant_outcome outcome)
{
    uint64_t now = edge_now_ms(r->edge);
    if (!r->grant || !r->link)
        return; /* they come and go together */
    if (--r->link->running == 0)
        r->link->used_ms = now;
    grants_end(r->edge->grants, r->grant, outcome, now);
    r->grant = NULL;
    r->link = NULL;
}

void attempt_stop(struct edge_request *r)
{
    struct cancel cancel = {0};
    struct bus_peer *to = r->state == REQUEST_ASKING ? r->broker : NULL;
    if (r->state == REQUEST_DISPATCHED || r->state == REQUEST_STREAMING)
        to = r->link ? r->link->peer : NULL;
    enum err sent = to ? bus_send(to, request_header(r), MESSAGE_CANCEL, &cancel) : OK;
    if (sent != OK)
        log_debug("cancel_unsent", LSTR("id", r->to.id), LSTR("why", err_name(sent)));
    attempt_end(r, GRANT_CANCELED);
}
