/* Where a request goes next: to which target and worker, into which queues, and what follows a
 * failed attempt. */
#include <stdio.h>
#include <utlist.h>

#include "common/base/log.h"
#include "proto/error_class.h"
#include "services/broker/request.h"

enum { RETRY_AFTER_MS = 1000, MAX_SEARCHED = 64, LOOK_AGAIN_US = 100000 };

static struct route_state state_of(const struct calls *c, const struct call *call, uint64_t now_us)
{
    return (struct route_state){
        .tried = call->tried,
        .barred = call->barred,
        .now_us = now_us,
        .since_us = call->asked_us,
        .grace_us = c->rules.worker_grace_us,
    };
}

/* ---- dispatch ---- */

/* "0,3": the endpoints of this target that have failed the request. */
static struct span avoid_list(const struct call *call, char *out, size_t size)
{
    size_t n = 0;
    if (call->avoid_target != call_choice(call)->target)
        return SPAN_NONE;
    for (unsigned i = 0; i < 64 && n + 4 < size; i++)
        if (call->avoid >> i & 1)
            n += (size_t)snprintf(out + n, size - n, n ? ",%u" : "%u", i);
    return span_of(out, n);
}

static enum err send_dispatch(struct calls *c, struct call *call, struct worker *w, uint64_t now_us)
{
    const struct choice *choice = call_choice(call);
    const struct request *r = &call->request;
    char avoid[200], model[1024];
    struct dispatch d = {
        .api = r->api,
        .model = r->model,
        .target_model = choice_model(choice, r->model, model, sizeof model),
        .key_id = r->key_id,
        .key_name = r->key_name,
        .credit = r->credit,
        .input_tokens = r->input_tokens,
        .output_cap = r->output_cap,
        .timeout_ms = (uint32_t)(choice->timeout_ms < UINT32_MAX ? choice->timeout_ms : UINT32_MAX),
        .avoid = avoid_list(call, avoid, sizeof avoid),
        .method = r->method,
        .path = r->path,
        .headers = r->headers,
        .body = r->body,
        .route = choice->name ? span_str(choice->name) : SPAN_NONE,
        .response_id = r->response_id,
        .place = call->place.pool == choice->target->pool ? call->place.lane : 0,
    };
    struct header h = {
        .id = call->id,
        .attempt = (uint8_t)(call->attempt + 1),
        .flags = call->flags,
        .deadline_ms = call_left_ms(call, now_us),
    };
    return c->ops->send(c->ctx, w->peer, h, MESSAGE_DISPATCH, &d);
}

/* false: no worker of this choice could take it. */
static bool dispatch(struct calls *c, struct call *call, int index, uint64_t now_us)
{
    struct target *target = call->route->choices[index].target;
    struct worker *w;
    call->choice = (uint16_t)index;
    while ((w = workers_pick(target->pool, call->last_worker))) {
        if (send_dispatch(c, call, w, now_us) == OK)
            break;
        w->stuck = true; /* until it says something or calls_unstick */
    }
    if (!w)
        return false;
    place_unqueue(c, call);
    call->attempt++;
    call->state = CALL_DISPATCHED;
    call->worker = w;
    call->probe = breaker_start(&target->breaker, now_us);
    workers_take(w);
    DL_APPEND2(w->calls, call, worker_prev, worker_next);
    c->ops->waited(c->ctx, now_us - call->asked_us);
    /* The worker keeps the deadline and says so best; this is for one that does not. */
    due_set(&c->due, &call->due, call->deadline_us + OVERDUE_US);
    return true;
}

static bool dispatch_any(struct calls *c, struct call *call, uint64_t candidates, uint64_t now_us)
{
    int index;
    while ((index = route_choose(call->route, candidates, true, c->ops->chance(c->ctx))) >= 0) {
        if (dispatch(c, call, index, now_us))
            return true;
        candidates &= ~((uint64_t)1 << index);
    }
    return false;
}

/* ---- queue ---- */

void place_unqueue(struct calls *c, struct call *call)
{
    if (call->state != CALL_QUEUED)
        return;
    for (unsigned i = 0; i < call->wait_count; i++)
        queue_remove(&call->waits[i]);
    if (call->wait_count)
        c->queued--;
    call->wait_count = 0;
}

static bool waits_in(const struct call *call, const struct pool *pool)
{
    for (unsigned i = 0; i < call->wait_count; i++)
        if (call->waits[i].queue == &pool->queue)
            return true;
    return false;
}

static void enqueue_in(struct call *call, struct pool *pool)
{
    struct queue_entry *e = &call->waits[call->wait_count];
    if (call->wait_count == CALL_MAX_WAITS || waits_in(call, pool))
        return;
    if (queue_push(&pool->queue, e, call->request.key_id, call, call->again) == OK)
        call->wait_count++;
}

/* Until when a worker for one of its candidates is there, or may still appear. */
static uint64_t hope_until_us(const struct calls *c, const struct call *call)
{
    uint64_t hope = 0;
    for (uint32_t i = 0; i < call->route->choice_count; i++) {
        const struct pool *pool = call->route->choices[i].target->pool;
        if (!(call->candidates >> i & 1))
            continue;
        if (pool->offered)
            return UINT64_MAX;
        uint64_t since =
            pool->empty_since_us > call->asked_us ? pool->empty_since_us : call->asked_us;
        if (since + c->rules.worker_grace_us > hope)
            hope = since + c->rules.worker_grace_us;
    }
    return hope;
}

/* When its wait must be looked at again: the workers that are there now may have gone by then. */
static uint64_t look_at_us(const struct calls *c, const struct call *call, uint64_t now_us)
{
    uint64_t at = hope_until_us(c, call), grace_us = c->rules.worker_grace_us;
    if (at == UINT64_MAX)
        at = now_us + (grace_us > LOOK_AGAIN_US ? grace_us : LOOK_AGAIN_US);
    if (at > call->asked_us + c->rules.queue_wait_us)
        at = call->asked_us + c->rules.queue_wait_us;
    return at < call->deadline_us ? at : call->deadline_us;
}

static void enqueue(struct calls *c, struct call *call, uint64_t candidates, uint64_t now_us)
{
    if (c->queued >= c->rules.queue_max) {
        call_fail(c, call, ERROR_OVERLOADED, "The gateway's queue is full. Try again shortly.",
                  RETRY_AFTER_MS, now_us);
        return;
    }
    call->state = CALL_QUEUED;
    call->candidates = candidates;
    for (uint32_t i = 0; i < call->route->choice_count; i++)
        if (candidates >> i & 1)
            enqueue_in(call, call->route->choices[i].target->pool);
    if (!call->wait_count) {
        call_fail(c, call, ERROR_OVERLOADED, "The gateway is out of memory. Try again shortly.",
                  RETRY_AFTER_MS, now_us);
        return;
    }
    c->queued++;
    call->again = true;
    due_set(&c->due, &call->due, look_at_us(c, call, now_us));
}

static void fail_nowhere(struct calls *c, struct call *call, uint64_t now_us)
{
    const struct pool *pool = call->route->choices[0].target->pool;
    const char *why = "no worker is connected";
    char message[256];
    if (!call->route->choice_count) {
        call_fail(c, call, ERROR_UNAVAILABLE, "The model has no targets.", 0, now_us);
        return;
    }
    (void)pool_is_unable(pool, &why);
    (void)snprintf(message, sizeof message, "Provider %s can't serve this request now: %s.",
                   pool->name, why);
    call_fail(c, call, ERROR_OVERLOADED, message, RETRY_AFTER_MS, now_us);
}

static void place(struct calls *c, struct call *call, uint64_t now_us)
{
    struct route_state s = state_of(c, call, now_us);
    uint64_t candidates = route_candidates(call->route, &s);
    if (!candidates)
        fail_nowhere(c, call, now_us);
    else if (!dispatch_any(c, call, candidates, now_us))
        enqueue(c, call, candidates, now_us);
}

void place_call(struct calls *c, struct call *call, uint64_t now_us)
{
    call->asked_us = now_us;
    place(c, call, now_us);
}

void place_expired(struct calls *c, struct call *call, uint64_t now_us)
{
    if (now_us >= call->deadline_us) {
        call_fail(c, call, ERROR_DEADLINE,
                  "The request's deadline passed while it waited for a worker.", 0, now_us);
        return;
    }
    if (now_us >= call->asked_us + c->rules.queue_wait_us) {
        call_fail(c, call, ERROR_OVERLOADED, "All workers are busy. Try again shortly.",
                  RETRY_AFTER_MS, now_us);
        return;
    }
    if (now_us < hope_until_us(c, call)) {
        due_set(&c->due, &call->due, look_at_us(c, call, now_us));
        return;
    }
    /* Nobody has come for these: the next tier gets its chance, or it is over. */
    place_unqueue(c, call);
    call->barred |= call->candidates;
    place(c, call, now_us);
}

void place_waiting(struct calls *c, struct pool *pool, uint64_t now_us)
{
    while (pool->queue.count && workers_pick(pool, 0)) {
        struct call *call = queue_pop(&pool->queue);
        uint64_t here = 0;
        for (uint32_t i = 0; i < call->route->choice_count; i++)
            if (call->candidates >> i & 1 && call->route->choices[i].target->pool == pool)
                here |= (uint64_t)1 << i;
        if (dispatch_any(c, call, here, now_us))
            continue;
        /* The bus refused: back to where it was. */
        place_unqueue(c, call);
        enqueue(c, call, call->candidates, now_us);
    }
}

/* ---- retry ---- */

static void remember_endpoint(struct call *call, const struct target *target, uint32_t endpoint)
{
    if (call->avoid_target != target)
        call->avoid = 0;
    call->avoid_target = target;
    if (endpoint < 64)
        call->avoid |= (uint64_t)1 << endpoint;
}

static bool has_spare_endpoint(const struct call *call, const struct target *target)
{
    return call->avoid_target == target &&
           (unsigned)__builtin_popcountll(call->avoid) < target->endpoints;
}

/* How long to wait for the next attempt; UINT64_MAX = too long. */
static uint64_t wait_us(struct calls *c, const struct call *call, const struct fail *f,
                        uint64_t candidates)
{
    uint64_t wait = retry_backoff_us(&c->rules.retry, call->attempt, c->ops->chance(c->ctx));
    bool same = candidates == (uint64_t)1 << call->choice;
    /* Retry-After binds the endpoint that said it, nobody else. */
    if (!same || has_spare_endpoint(call, call_choice(call)->target) ||
        f->retry_after_ms * 1000 <= wait)
        return wait;
    return f->retry_after_ms * 1000 <= c->rules.retry.max_wait_us ? f->retry_after_ms * 1000
                                                                  : UINT64_MAX;
}

bool place_retry(struct calls *c, struct call *call, const struct fail *f, uint64_t now_us)
{
    struct target *target = call_choice(call)->target;
    uint64_t bit = (uint64_t)1 << call->choice;
    struct retry_failure failure = {f->error_class,
                                    f->sent,
                                    f->final,
                                    target->paid,
                                    (unsigned)call->attempt - call->missed,
                                    call->ambiguous_used};
    struct retry_decision d = retry_decide(&c->rules.retry, &failure);
    if (!d.retry)
        return false;
    if (!d.inside) {
        remember_endpoint(call, target, f->endpoint);
        bool spare = has_spare_endpoint(call, target);
        call->tried |= spare ? 0 : bit;
        call->barred |= d.elsewhere && !spare ? bit : 0;
    }
    call->asked_us = now_us;
    struct route_state s = state_of(c, call, now_us);
    uint64_t candidates = route_candidates(call->route, &s);
    uint64_t wait = d.inside || !candidates ? 0 : wait_us(c, call, f, candidates);
    if (!candidates ||
        wait >= call->deadline_us - (now_us < call->deadline_us ? now_us : call->deadline_us))
        return false;
    if (!d.inside && !retry_budget_take(&c->budget, &c->rules.retry, now_us))
        return false;
    c->ops->retried(c->ctx, target->pool->name, f->error_class);
    call->ambiguous_used |= d.ambiguous;
    call->state = CALL_BACKOFF;
    call->again = true;
    due_set(&c->due, &call->due, now_us + wait);
    return true;
}

bool place_search_on(struct calls *c, struct call *call, const struct fail *f, uint64_t now_us)
{
    const struct target *target = call_choice(call)->target;
    /* Where it is known to be from, it was: it has been deleted or has expired. */
    if (call->place.lane || f->error_class == ERROR_NOT_FOUND || call->missed >= MAX_SEARCHED)
        return false;
    call->missed++;
    remember_endpoint(call, target, f->endpoint);
    if (!has_spare_endpoint(call, target))
        call->barred |= (uint64_t)1 << call->choice;
    call->asked_us = now_us;
    struct route_state s = state_of(c, call, now_us);
    if (!route_candidates(call->route, &s))
        return false;
    call->state = CALL_BACKOFF;
    call->again = true;
    due_set(&c->due, &call->due, now_us);
    return true;
}
