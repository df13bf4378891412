/* What follows a failed attempt: another one, when and where, or its failure stands. */
#include "proto/error_class.h"
#include "services/broker/core_internal.h"

enum { MAX_SEARCHED = 64 };

static void remember_endpoint(struct broker_ask *ask, uint32_t endpoint)
{
    struct trail *t = &ask->trail;
    const struct candidate *all = ask->route->candidates;
    if (!t->known)
        return;
    if (!t->has_avoid || all[t->avoid_of].target != all[t->candidate].target)
        t->avoid = 0;
    t->has_avoid = true;
    t->avoid_of = t->candidate;
    if (endpoint < 64)
        t->avoid |= (uint64_t)1 << endpoint;
}

static bool has_spare_endpoint(const struct broker_ask *ask)
{
    const struct trail *t = &ask->trail;
    const struct candidate *all = ask->route->candidates;
    const struct target *target = all[t->candidate].target;
    return t->has_avoid && all[t->avoid_of].target == target &&
           (unsigned)__builtin_popcountll(t->avoid) < target->endpoints;
}

/* Does it move on, to another target or another endpoint of the same? */
static bool moves_on(const struct broker_ask *ask, uint64_t eligible)
{
    return !(eligible >> ask->trail.candidate & 1) || has_spare_endpoint(ask);
}

/* How long to wait for the next attempt; UINT64_MAX = too long. */
static uint64_t wait_us(struct core *c, const struct broker_ask *ask, uint64_t eligible)
{
    uint64_t wait = retry_backoff_us(&c->rules.retry, ask->attempt - 1u, c->ops->chance(c->ctx));
    uint64_t after_ms = ask->m.failed_retry_after_ms;
    bool same = eligible == (uint64_t)1 << ask->trail.candidate;
    /* A Retry-After concerns the endpoint that sent it and no other. */
    if (!same || has_spare_endpoint(ask) || after_ms <= wait / 1000)
        return wait;
    return after_ms <= c->rules.retry.max_wait_us / 1000 ? after_ms * 1000 : UINT64_MAX;
}

static enum route_cause cause_of(unsigned error_class)
{
    switch (error_class) {
    case ERROR_UPSTREAM_CONTEXT_LENGTH:
        return ROUTE_TOO_LONG;
    case ERROR_UPSTREAM_CONTENT_POLICY:
        return ROUTE_POLICY;
    default:
        return ROUTE_FAILED;
    }
}

/* false: no other attempt. Else it waits in BACKOFF. */
static bool retry(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    struct target *target = ask_candidate(ask)->target;
    uint64_t bit = ask->trail.known ? (uint64_t)1 << ask->trail.candidate : 0;
    unsigned attempts = ask->attempt - 1u;
    struct retry_failure failure = {ask->m.failed_class,
                                    ask->m.failed_sent,
                                    ask->m.failed_final,
                                    target->paid,
                                    attempts > ask->trail.missed ? attempts - ask->trail.missed : 0,
                                    ask->trail.ambiguous_used};
    struct retry_decision d = retry_decide(&c->rules.retry, &failure);
    enum route_cause cause = cause_of(ask->m.failed_class);
    if (!d.retry)
        return false;
    if (cause)
        ask->trail.cause = (uint8_t)cause;
    if (!d.inside) {
        bool spare = !cause && has_spare_endpoint(ask);
        ask->trail.tried |= spare ? 0 : bit;
        ask->trail.barred |= d.timed_out || (d.elsewhere && !spare) ? bit : 0;
    }
    struct route_state s = ask_route_state(c, ask, now_us);
    uint64_t eligible = route_eligible(ask->route, &s);
    bool free = d.inside || (d.refused && moves_on(ask, eligible));
    uint64_t wait = free || !eligible ? 0 : wait_us(c, ask, eligible);
    uint64_t left = now_us < ask->deadline_us ? ask->deadline_us - now_us : 0;
    if (!eligible || wait >= left)
        return false;
    if (!free && !retry_budget_take(&target->budget, &c->rules.retry, now_us))
        return false;
    c->ops->retried(c->ctx, target->pool->name, ask->m.failed_class);
    ask->trail.ambiguous_used |= d.ambiguous;
    ask->again = true;
    ask_move(c, ask, ASK_BACKOFF, now_us + wait);
    return true;
}

/* The stored response it is about is not where it was looked for. true: it is looked for at the
 * next one. */
static bool search_on(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    /* Where it is known to be from, it was: it has been deleted or has expired. */
    if (ask->stored.endpoint || ask->m.failed_class == ERROR_NOT_FOUND ||
        ask->trail.missed >= MAX_SEARCHED)
        return false;
    ask->trail.missed++;
    if (ask->trail.known && !has_spare_endpoint(ask))
        ask->trail.barred |= (uint64_t)1 << ask->trail.candidate;
    struct route_state s = ask_route_state(c, ask, now_us);
    if (!route_eligible(ask->route, &s))
        return false;
    ask->again = true;
    ask_move(c, ask, ASK_BACKOFF, now_us);
    return true;
}

static void judge_target(struct core *c, const struct broker_ask *ask, uint64_t now_us)
{
    struct breaker *b = &ask_candidate(ask)->target->breaker;
    if (!ask->trail.known)
        return; /* whose failure it was is not known here */
    bool was_open = b->state == BREAKER_OPEN;
    /* Another broker's probe is an attempt like others here. */
    bool probe = ask->trail.probe && b->state == BREAKER_PROBING;
    if (retry_blames_target(ask->m.failed_class))
        breaker_failure(b, &c->rules.breaker, probe, now_us);
    else if (retry_is_neutral(ask->m.failed_class))
        breaker_abandon(b, probe, now_us);
    else
        breaker_success(b);
    if (b->state == BREAKER_OPEN && !was_open)
        grants_call_back(c, ask_candidate(ask)->target->pool, NULL);
}

/* It asked to be left alone; one with another endpoint to try is not meant as a whole. */
static void rest_target(struct core *c, const struct broker_ask *ask, uint64_t now_us)
{
    struct target *t = ask_candidate(ask)->target;
    uint64_t rest_ms = retry_rest_ms(ask->m.failed_class, ask->m.failed_retry_after_ms);
    uint64_t until_us = now_us + rest_ms * 1000;
    if (!ask->trail.known || !rest_ms || has_spare_endpoint(ask) || until_us <= t->rest_until_us)
        return;
    t->rest_until_us = until_us;
    grants_call_back(c, t->pool, NULL);
}

void ask_after_failure(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    unsigned class = ask->m.failed_class;
    judge_target(c, ask, now_us);
    if (!retry_is_inside(class))
        remember_endpoint(ask, ask->m.failed_endpoint);
    rest_target(c, ask, now_us);
    bool missed = ask->by_id && (class == ERROR_UPSTREAM_NOT_FOUND || class == ERROR_NOT_FOUND);
    bool goes_on = missed ? search_on(c, ask, now_us) : retry(c, ask, now_us);
    if (goes_on)
        return;
    if (missed) {
        struct header h = {.id = ask->id, .attempt = ask->attempt};
        ask_decline_stored(c, ask->edge, &h, ask->m.response_id, true);
        ask_end(c, ask);
        return;
    }
    ask_decline(c, ask, ERROR_NONE, "", 0);
}
