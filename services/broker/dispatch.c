/* Where a request goes next: to which target and worker, into which queues, and what follows a
 * failed attempt. */
#include <stdio.h>
#include <utlist.h>

#include "common/base/log.h"
#include "proto/error_class.h"
#include "services/broker/request.h"

enum { RETRY_AFTER_MS = 1000, MAX_SEARCHED = 64, LOOK_AGAIN_US = 100000 };

static struct route_state state_of(const struct requests *rs, const struct broker_request *request,
                                   uint64_t now_us)
{
    return (struct route_state){
        .tried = request->tried,
        .barred = request->barred,
        .now_us = now_us,
        .since_us = request->asked_us,
        .grace_us = rs->rules.worker_grace_us,
    };
}

/* ---- dispatch ---- */

/* "0,3": the endpoints of this target that have failed the request. */
static struct span avoid_list(const struct broker_request *request, char *out, size_t size)
{
    size_t n = 0;
    if (request->avoid_target != request_candidate(request)->target)
        return SPAN_NONE;
    for (unsigned i = 0; i < 64 && n + 4 < size; i++)
        if (request->avoid >> i & 1)
            n += (size_t)snprintf(out + n, size - n, n ? ",%u" : "%u", i);
    return span_of(out, n);
}

static enum err send_dispatch(struct requests *rs, struct broker_request *request,
                              struct broker_worker *w, uint64_t now_us)
{
    const struct candidate *candidate = request_candidate(request);
    const struct request *r = &request->message;
    char avoid[200], model[1024];
    struct dispatch d = {
        .api = r->api,
        .model = r->model,
        .target_model = candidate_model(candidate, r->model, model, sizeof model),
        .key_id = r->key_id,
        .key_name = r->key_name,
        .credit = r->credit,
        .input_tokens = r->input_tokens,
        .output_cap = r->output_cap,
        .timeout_ms =
            (uint32_t)(candidate->timeout_ms < UINT32_MAX ? candidate->timeout_ms : UINT32_MAX),
        .avoid = avoid_list(request, avoid, sizeof avoid),
        .method = r->method,
        .path = r->path,
        .headers = r->headers,
        .body = r->body,
        .route = candidate->name ? span_str(candidate->name) : SPAN_NONE,
        .response_id = r->response_id,
        .stored_endpoint =
            request->stored.pool == candidate->target->pool ? request->stored.endpoint : 0,
    };
    struct header h = {
        .id = request->id,
        .attempt = (uint8_t)(request->attempt + 1),
        .flags = request->flags,
        .deadline_ms = request_left_ms(request, now_us),
    };
    return rs->ops->send(rs->ctx, w->peer, h, MESSAGE_DISPATCH, &d);
}

/* false: no worker of this candidate could take it. */
static bool dispatch(struct requests *rs, struct broker_request *request, int index,
                     uint64_t now_us)
{
    struct target *target = request->route->candidates[index].target;
    struct broker_worker *w;
    request->candidate = (uint16_t)index;
    while ((w = workers_pick(target->pool, request->last_worker))) {
        if (send_dispatch(rs, request, w, now_us) == OK)
            break;
        w->stuck = true; /* until a frame of it comes, or requests_unstick */
    }
    if (!w)
        return false;
    /* The worker keeps the deadline and reports it best; this is for one that does not. */
    request_move(rs, request, REQUEST_DISPATCHED, request->deadline_us + OVERDUE_US);
    request->attempt++;
    request->worker = w;
    request->probe = breaker_start(&target->breaker, now_us);
    workers_take(w);
    DL_APPEND2(w->requests, request, worker_prev, worker_next);
    rs->ops->waited(rs->ctx, now_us - request->asked_us);
    return true;
}

static bool dispatch_any(struct requests *rs, struct broker_request *request, uint64_t eligible,
                         uint64_t now_us)
{
    int index;
    while ((index = route_choose(request->route, eligible, true, rs->ops->chance(rs->ctx))) >= 0) {
        if (dispatch(rs, request, index, now_us))
            return true;
        eligible &= ~((uint64_t)1 << index);
    }
    return false;
}

/* ---- queue ---- */

static bool waits_in(const struct broker_request *request, const struct pool *pool)
{
    for (unsigned i = 0; i < request->wait_count; i++)
        if (request->waits[i].queue == &pool->queue)
            return true;
    return false;
}

static void enqueue_in(struct broker_request *request, struct pool *pool)
{
    struct queue_entry *e = &request->waits[request->wait_count];
    if (request->wait_count == REQUEST_MAX_WAITS || waits_in(request, pool))
        return;
    if (queue_push(&pool->queue, e, request->message.key_id, request, request->again) == OK)
        request->wait_count++;
}

/* Until when a worker for one of its candidates is there, or may still appear. */
static uint64_t hope_until_us(const struct requests *rs, const struct broker_request *request)
{
    uint64_t hope = 0;
    for (uint32_t i = 0; i < request->route->candidate_count; i++) {
        const struct pool *pool = request->route->candidates[i].target->pool;
        if (!(request->eligible >> i & 1))
            continue;
        if (pool->offered)
            return UINT64_MAX;
        uint64_t since =
            pool->empty_since_us > request->asked_us ? pool->empty_since_us : request->asked_us;
        if (since + rs->rules.worker_grace_us > hope)
            hope = since + rs->rules.worker_grace_us;
    }
    return hope;
}

/* When its wait must be looked at again: the workers that are there now may have gone by then. */
static uint64_t look_at_us(const struct requests *rs, const struct broker_request *request,
                           uint64_t now_us)
{
    uint64_t at = hope_until_us(rs, request), grace_us = rs->rules.worker_grace_us;
    if (at == UINT64_MAX)
        at = now_us + (grace_us > LOOK_AGAIN_US ? grace_us : LOOK_AGAIN_US);
    if (at > request->asked_us + rs->rules.queue_wait_us)
        at = request->asked_us + rs->rules.queue_wait_us;
    return at < request->deadline_us ? at : request->deadline_us;
}

static void enqueue(struct requests *rs, struct broker_request *request, uint64_t eligible,
                    uint64_t now_us)
{
    request_leave_queues(rs, request);
    if (rs->queued >= rs->rules.queue_max) {
        request_fail(rs, request, ERROR_OVERLOADED,
                     "The service is at capacity. Try again shortly.", RETRY_AFTER_MS, now_us);
        return;
    }
    request->eligible = eligible;
    request_move(rs, request, REQUEST_QUEUED, look_at_us(rs, request, now_us));
    for (uint32_t i = 0; i < request->route->candidate_count; i++)
        if (eligible >> i & 1)
            enqueue_in(request, request->route->candidates[i].target->pool);
    if (!request->wait_count) {
        request_fail(rs, request, ERROR_OVERLOADED,
                     "The service is at capacity. Try again shortly.", RETRY_AFTER_MS, now_us);
        return;
    }
    rs->queued++;
    request->again = true;
}

static void fail_nowhere(struct requests *rs, struct broker_request *request, uint64_t now_us)
{
    const struct pool *pool = request->route->candidates[0].target->pool;
    const char *why = "it is not connected";
    char message[256];
    if (!request->route->candidate_count) {
        request_fail(rs, request, ERROR_UNAVAILABLE, "The model has no targets.", 0, now_us);
        return;
    }
    (void)pool_is_unable(pool, &why);
    (void)snprintf(message, sizeof message, "The service can't reach provider %s now: %s.",
                   pool->name, why);
    request_fail(rs, request, ERROR_OVERLOADED, message, RETRY_AFTER_MS, now_us);
}

static void send_or_wait(struct requests *rs, struct broker_request *request, uint64_t now_us)
{
    struct route_state s = state_of(rs, request, now_us);
    uint64_t eligible = route_eligible(request->route, &s);
    if (!eligible)
        fail_nowhere(rs, request, now_us);
    else if (!dispatch_any(rs, request, eligible, now_us))
        enqueue(rs, request, eligible, now_us);
}

void dispatch_request(struct requests *rs, struct broker_request *request, uint64_t now_us)
{
    request->asked_us = now_us;
    send_or_wait(rs, request, now_us);
}

void dispatch_expired(struct requests *rs, struct broker_request *request, uint64_t now_us)
{
    if (now_us >= request->deadline_us) {
        request_fail(rs, request, ERROR_DEADLINE,
                     "The request's deadline passed while it waited for capacity.", 0, now_us);
        return;
    }
    if (now_us >= request->asked_us + rs->rules.queue_wait_us) {
        request_fail(rs, request, ERROR_OVERLOADED,
                     "The service is at capacity. Try again shortly.", RETRY_AFTER_MS, now_us);
        return;
    }
    if (now_us < hope_until_us(rs, request)) {
        heap_set(&rs->due, &request->due, look_at_us(rs, request, now_us));
        return;
    }
    /* Nobody has come for these: the next tier gets its chance, or it is over. */
    request->barred |= request->eligible;
    send_or_wait(rs, request, now_us);
}

void dispatch_waiting(struct requests *rs, struct pool *pool, uint64_t now_us)
{
    while (pool->queue.count && workers_pick(pool, 0)) {
        struct broker_request *request = queue_pop(&pool->queue);
        uint64_t here = 0;
        for (uint32_t i = 0; i < request->route->candidate_count; i++)
            if (request->eligible >> i & 1 && request->route->candidates[i].target->pool == pool)
                here |= (uint64_t)1 << i;
        if (dispatch_any(rs, request, here, now_us))
            continue;
        /* The bus refused: back to where it was. */
        enqueue(rs, request, request->eligible, now_us);
    }
}

/* ---- retry ---- */

static void remember_endpoint(struct broker_request *request, const struct target *target,
                              uint32_t endpoint)
{
    if (request->avoid_target != target)
        request->avoid = 0;
    request->avoid_target = target;
    if (endpoint < 64)
        request->avoid |= (uint64_t)1 << endpoint;
}

static bool has_spare_endpoint(const struct broker_request *request, const struct target *target)
{
    return request->avoid_target == target &&
           (unsigned)__builtin_popcountll(request->avoid) < target->endpoints;
}

/* How long to wait for the next attempt; UINT64_MAX = too long. */
static uint64_t wait_us(struct requests *rs, const struct broker_request *request,
                        const struct fail *f, uint64_t eligible)
{
    uint64_t wait = retry_backoff_us(&rs->rules.retry, request->attempt, rs->ops->chance(rs->ctx));
    bool same = eligible == (uint64_t)1 << request->candidate;
    /* A Retry-After concerns the endpoint that sent it and no other. */
    if (!same || has_spare_endpoint(request, request_candidate(request)->target) ||
        f->retry_after_ms * 1000 <= wait)
        return wait;
    return f->retry_after_ms * 1000 <= rs->rules.retry.max_wait_us ? f->retry_after_ms * 1000
                                                                   : UINT64_MAX;
}

bool dispatch_retry(struct requests *rs, struct broker_request *request, const struct fail *f,
                    uint64_t now_us)
{
    struct target *target = request_candidate(request)->target;
    uint64_t bit = (uint64_t)1 << request->candidate;
    struct retry_failure failure = {f->error_class,
                                    f->sent,
                                    f->final,
                                    target->paid,
                                    (unsigned)request->attempt - request->missed,
                                    request->ambiguous_used};
    struct retry_decision d = retry_decide(&rs->rules.retry, &failure);
    if (!d.retry)
        return false;
    if (!d.inside) {
        remember_endpoint(request, target, f->endpoint);
        bool spare = has_spare_endpoint(request, target);
        request->tried |= spare ? 0 : bit;
        request->barred |= d.elsewhere && !spare ? bit : 0;
    }
    request->asked_us = now_us;
    struct route_state s = state_of(rs, request, now_us);
    uint64_t eligible = route_eligible(request->route, &s);
    uint64_t wait = d.inside || !eligible ? 0 : wait_us(rs, request, f, eligible);
    if (!eligible || wait >= request->deadline_us -
                                 (now_us < request->deadline_us ? now_us : request->deadline_us))
        return false;
    if (!d.inside && !retry_budget_take(&rs->budget, &rs->rules.retry, now_us))
        return false;
    rs->ops->retried(rs->ctx, target->pool->name, f->error_class);
    request->ambiguous_used |= d.ambiguous;
    request->again = true;
    request_move(rs, request, REQUEST_BACKOFF, now_us + wait);
    return true;
}

bool dispatch_search_on(struct requests *rs, struct broker_request *request, const struct fail *f,
                        uint64_t now_us)
{
    const struct target *target = request_candidate(request)->target;
    /* Where it is known to be from, it was: it has been deleted or has expired. */
    if (request->stored.endpoint || f->error_class == ERROR_NOT_FOUND ||
        request->missed >= MAX_SEARCHED)
        return false;
    request->missed++;
    remember_endpoint(request, target, f->endpoint);
    if (!has_spare_endpoint(request, target))
        request->barred |= (uint64_t)1 << request->candidate;
    request->asked_us = now_us;
    struct route_state s = state_of(rs, request, now_us);
    if (!route_eligible(request->route, &s))
        return false;
    request->again = true;
    request_move(rs, request, REQUEST_BACKOFF, now_us);
    return true;
}
