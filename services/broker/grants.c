/* Slots in the hands of edges: given for one attempt, reported, freed. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "proto/message_copy.h"
#include "services/broker/core_internal.h"

/* "0,3": the endpoints of this candidate's target that have failed the request. */
static struct span avoid_list(const struct broker_ask *ask, uint32_t candidate, char *out,
                              size_t size)
{
    const struct trail *t = &ask->trail;
    size_t n = 0;
    if (!t->has_avoid ||
        ask->route->candidates[t->avoid_of].target != ask->route->candidates[candidate].target)
        return SPAN_NONE;
    for (unsigned i = 0; i < 64 && n + 4 < size; i++)
        if (t->avoid >> i & 1)
            n += (size_t)snprintf(out + n, size - n, n ? ",%u" : "%u", i);
    return span_of(out, n);
}

static void send_grant(struct core *c, const struct broker_grant *g, const struct grant *m)
{
    struct header h = {.id = g->ask, .attempt = g->attempt};
    c->ops->send(c->ctx, g->edge->peer, h, MESSAGE_GRANT, m);
}

enum err grants_give(struct core *c, struct broker_ask *ask, uint32_t candidate,
                     struct broker_worker *w, uint64_t now_us)
{
    const struct candidate *to = &ask->route->candidates[candidate];
    struct broker_grant *g = grant_make(c, ask->edge, w, ask->router, to->target, 1);
    char avoid[200], model[1024];
    uint8_t token[GRANT_TOKEN_BYTES], trail[TRAIL_BYTES];
    if (!g)
        return ERR_NOMEM;
    g->ask = ask->id;
    g->attempt = ask->attempt;
    g->busy = (uint8_t)ask->m.busy;
    g->probe = breaker_start(&to->target->breaker, now_us);
    struct trail t = ask->trail;
    t.candidate = (uint16_t)candidate;
    t.probe = g->probe;
    trail_write(&t, trail);
    struct grant m = grant_message(c, g, to, GRANT_ONCE_MS, token, now_us);
    m.model = ask->m.model;
    m.target_model = candidate_model(to, ask->m.model, model, sizeof model);
    m.avoid = avoid_list(ask, candidate, avoid, sizeof avoid);
    m.stored_endpoint = ask->stored.pool == to->target->pool ? ask->stored.endpoint : 0;
    m.trail = span_of((const char *)trail, sizeof trail);
    g->message = message_copy(MESSAGE_GRANT, &m);
    if (g->message)
        HASH_ADD(hh_ask, c->by_ask, ask, sizeof g->ask, g);
    if (!g->message || !g->hh_ask.tbl) {
        free(g->message);
        g->message = NULL;
        grant_forget(c, g, now_us);
        return ERR_NOMEM;
    }
    send_grant(c, g, &m);
    return OK;
}

bool grants_repeat(struct core *c, const struct broker_edge *edge, const struct request_id *ask,
                   uint8_t attempt, uint32_t busy, uint64_t now_us)
{
    struct broker_grant *g = NULL;
    HASH_FIND(hh_ask, c->by_ask, ask, sizeof *ask, g);
    /* One that the worker would not take any more is not repeated: there is a new one. */
    uint64_t until_us = g ? g->due.key - (uint64_t)GRANT_GONE_MS * US_PER_MS : 0;
    if (!g || g->edge != edge || g->attempt != attempt || g->busy != (uint8_t)busy || !g->worker ||
        now_us >= until_us)
        return false;
    struct grant m = *(const struct grant *)g->message;
    uint64_t left_ms = (until_us - now_us) / US_PER_MS;
    if (left_ms <= GRANT_MARGIN_MS)
        return false;
    m.valid_ms = (uint32_t)left_ms - GRANT_MARGIN_MS;
    send_grant(c, g, &m);
    return true;
}

/* ---- hearing of them ---- */

static uint64_t grown(uint64_t *seen, uint64_t now)
{
    uint64_t more = now > *seen ? now - *seen : 0;
    *seen += more;
    return more;
}

static void hear(struct core *c, struct broker_grant *g, const struct grant_report *r,
                 uint64_t now_us)
{
    struct pool *pool = g->worker ? g->worker->pool : g->target->pool;
    const struct grant_report *s = &g->seen;
    if (r->started < s->started || r->committed < s->committed || r->ok < s->ok ||
        r->failed < s->failed || r->canceled < s->canceled)
        return; /* late */
    uint64_t more = grown(&g->seen.started, r->started);
    if (g->attempt <= 1)
        retry_budget_requests(&g->target->budget, more, now_us);
    if (grown(&g->seen.committed, r->committed))
        breaker_success(&g->target->breaker);
    pool->outcomes[OUTCOME_OK] += grown(&g->seen.ok, r->ok);
    pool->outcomes[OUTCOME_FAILED] += grown(&g->seen.failed, r->failed);
    pool->outcomes[OUTCOME_CANCELED] += grown(&g->seen.canceled, r->canceled);
    if (r->closed && !g->seen.closed) {
        g->seen.closed = true;
        grant_leave_standing(g);
        grant_leave_ask(c, g);
        heap_remove(&c->due_grants, &g->due); /* its edge says the rest */
    }
    grant_count(g);
}

void grants_hear(struct core *c, struct broker_edge *from, struct span entries,
                 void (*freed)(struct core *c, struct pool *pool, uint64_t now_us), uint64_t now_us)
{
    struct grant_report r;
    while (entries.len >= GRANT_REPORT_BYTES) {
        if (grant_report_next(&entries, &r) != OK)
            continue;
        struct broker_grant *g = NULL;
        HASH_FIND(hh, c->grants, &r.number, sizeof r.number, g);
        if (!g || g->edge != from) {
            c->stats.stale++;
            continue;
        }
        struct broker_worker *w = g->worker;
        uint32_t before = g->taken;
        uint64_t over = g->seen.ok + g->seen.failed;
        hear(c, g, &r, now_us);
        bool less = w && g->taken < before;
        /* One that was refused says nothing about room. */
        if (less && g->seen.ok + g->seen.failed > over)
            w->stuck = false;
        if (g->seen.closed && !grant_runs(g))
            grant_forget(c, g, now_us);
        if (less)
            freed(c, w->pool, now_us);
    }
}

void grants_edge_down(struct core *c, struct broker_edge *edge, uint64_t now_us)
{
    while (edge->grants)
        grant_forget(c, edge->grants, now_us);
    struct edge_share *s, *next;
    LL_FOREACH_SAFE(edge->shares, s, next)
    free(s);
    edge->shares = NULL;
}

void grants_worker_down(struct core *c, struct broker_worker *w)
{
    while (w->grants) {
        struct broker_grant *g = w->grants;
        grant_leave_ask(c, g);
        if (!g->seen.closed && !g->revoked)
            grant_revoke(c, g);
        grant_leave_worker(g);
    }
}

struct pool *grants_expire(struct core *c, uint64_t now_us)
{
    struct heap_entry *due = heap_first(&c->due_grants);
    if (!due || due->key > now_us)
        return NULL;
    struct broker_grant *g =
        (struct broker_grant *)(void *)((char *)due - offsetof(struct broker_grant, due));
    struct pool *pool = g->target->pool;
    if (grant_runs(g)) { /* something runs under it by its edge's word: that must end first */
        g->seen.closed = true;
        grant_leave_standing(g);
        grant_leave_ask(c, g);
        heap_remove(&c->due_grants, due);
        grant_count(g);
    } else {
        grant_forget(c, g, now_us);
    }
    return pool;
}
