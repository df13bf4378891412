/* One grant: a slot, or several, in the hands of an edge. */
#include <stdlib.h>
#include <utlist.h>

#include "services/broker/core_internal.h"

enum { MOST_TAKEN = 65536 };

/* ---- counting ---- */

uint64_t grant_runs(const struct broker_grant *g)
{
    const struct grant_report *r = &g->seen;
    return r->started - r->ok - r->failed - r->canceled;
}

/* Brings the worker's counter in line with what the grant takes now. */
void grant_count(struct broker_grant *g)
{
    uint64_t runs = grant_runs(g); /* a renewal may have left it fewer slots than that */
    uint64_t takes = g->seen.closed || runs > g->slots ? runs : g->slots;
    uint32_t taken = takes < MOST_TAKEN ? (uint32_t)takes : MOST_TAKEN;
    if (!g->worker || taken == g->taken)
        return;
    if (taken > g->taken)
        workers_take(g->worker, taken - g->taken);
    else
        workers_give_back(g->worker, g->taken - taken);
    g->taken = taken;
}

/* ---- life ---- */

void standing_drop(struct standing *s)
{
    if (s->grants)
        return;
    HASH_DEL(s->edge->standing, s);
    router_unref(&s->router);
    free(s);
}

/* Not a standing one any more: it is closed, revoked or gone. */
void grant_leave_standing(struct broker_grant *g)
{
    struct standing *s = g->standing;
    if (!s)
        return;
    g->standing = NULL;
    s->share->slots -= g->slots;
    DL_DELETE2(s->grants, g, standing_prev, standing_next);
    standing_drop(s);
}

void grant_leave_ask(struct core *c, struct broker_grant *g)
{
    if (!g->message)
        return;
    HASH_DELETE(hh_ask, c->by_ask, g);
    free(g->message);
    g->message = NULL;
}

void grant_leave_worker(struct broker_grant *g)
{
    if (!g->worker)
        return;
    workers_give_back(g->worker, g->taken);
    g->taken = 0;
    DL_DELETE2(g->worker->grants, g, worker_prev, worker_next);
    g->worker = NULL;
}

void grant_forget(struct core *c, struct broker_grant *g, uint64_t now_us)
{
    /* Nobody has said how its probe went: the next one may go. What kind of failure it was only the
     * ask says that follows, perhaps to another broker; it may still be a success for the target.
     */
    if (g->probe && !g->seen.committed && !g->seen.failed)
        breaker_abandon(&g->target->breaker, true, 0);
    else if (g->probe && !g->seen.committed)
        breaker_failure(&g->target->breaker, &c->rules.breaker, true, now_us);
    grant_leave_standing(g);
    grant_leave_ask(c, g);
    grant_leave_worker(g);
    heap_remove(&c->due_grants, &g->due);
    DL_DELETE2(g->edge->grants, g, edge_prev, edge_next);
    HASH_DEL(c->grants, g);
    c->stats.grants--;
    router_unref(&g->router);
    free(g);
}

struct broker_grant *grant_make(struct core *c, struct broker_edge *edge, struct broker_worker *w,
                                struct router *router, struct target *target, uint32_t slots)
{
    struct broker_grant *g = calloc(1, sizeof *g);
    if (!g || heap_reserve(&c->due_grants, c->stats.grants + 1))
        goto failed;
    g->number = g->seen.number = ++c->numbers;
    HASH_ADD(hh, c->grants, number, sizeof g->number, g);
    if (!g->hh.tbl)
        goto failed;
    c->stats.grants++;
    g->edge = edge;
    g->worker = w;
    g->router = router;
    router_ref(router);
    g->target = target;
    g->slots = slots;
    DL_APPEND2(edge->grants, g, edge_prev, edge_next);
    DL_APPEND2(w->grants, g, worker_prev, worker_next);
    grant_count(g);
    return g;
failed:
    free(g);
    return NULL;
}

/* ---- giving ---- */

/* The parts of a GRANT that do not depend on the ask; the token is written to `token`. */
struct grant grant_message(struct core *c, struct broker_grant *g,
                           const struct candidate *candidate, uint64_t life_ms,
                           uint8_t token[GRANT_TOKEN_BYTES], uint64_t now_us)
{
    const struct broker_worker *w = g->worker;
    struct grant_token t = {
        .broker_epoch = c->epoch,
        .worker_epoch = w->epoch,
        .edge_epoch = g->edge->epoch,
        .number = g->number,
        .expires_ms = workers_clock_ms(w, now_us) + life_ms,
        .slots = g->slots,
        .standing = g->standing != NULL,
    };
    grant_token_write(&t, w->key, token);
    heap_set(&c->due_grants, &g->due, now_us + (life_ms + GRANT_GONE_MS) * US_PER_MS);
    return (struct grant){
        .number = g->number,
        .token = span_of((const char *)token, GRANT_TOKEN_BYTES),
        .standing = t.standing,
        .slots = g->slots,
        .valid_ms = (uint32_t)(life_ms - GRANT_MARGIN_MS),
        .worker = span_str(w->name),
        .worker_epoch = w->epoch,
        .address = span_str(w->address),
        .worker_key = span_str(w->public_key),
        .provider = span_str(w->pool->name),
        .route = span_str(candidate->name),
        .timeout_ms =
            (uint32_t)(candidate->timeout_ms < UINT32_MAX ? candidate->timeout_ms : UINT32_MAX),
    };
}
