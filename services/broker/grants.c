/* Slots in the hands of edges. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "proto/message_copy.h"
#include "services/broker/core_internal.h"

enum { US = 1000, MOST_TAKEN = 65536 };

/* ---- counting ---- */

static uint64_t running_of(const struct broker_grant *g)
{
    const struct grant_report *r = &g->seen;
    return r->started - r->ok - r->failed - r->canceled;
}

/* Brings the worker's counter in line with what the grant takes now. */
static void count(struct broker_grant *g)
{
    uint64_t runs = running_of(g); /* a renewal may have left it fewer slots than that */
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

static void drop_standing(struct standing *s)
{
    if (s->grants)
        return;
    HASH_DEL(s->edge->standing, s);
    router_unref(&s->router);
    free(s);
}

/* Not a standing one any more: it is closed, revoked or gone. */
static void leave_standing(struct broker_grant *g)
{
    struct standing *s = g->standing;
    if (!s)
        return;
    g->standing = NULL;
    s->share->slots -= g->slots;
    DL_DELETE2(s->grants, g, standing_prev, standing_next);
    drop_standing(s);
}

static void leave_ask(struct core *c, struct broker_grant *g)
{
    if (!g->message)
        return;
    HASH_DELETE(hh_ask, c->by_ask, g);
    free(g->message);
    g->message = NULL;
}

static void leave_worker(struct broker_grant *g)
{
    if (!g->worker)
        return;
    workers_give_back(g->worker, g->taken);
    g->taken = 0;
    DL_DELETE2(g->worker->grants, g, worker_prev, worker_next);
    g->worker = NULL;
}

static void forget(struct core *c, struct broker_grant *g, uint64_t now_us)
{
    /* Nobody has said how its probe went: the next one may go. What kind of failure it was only the
     * ask says that follows, perhaps to another broker; it may still be a success for the target.
     */
    if (g->probe && !g->seen.committed && !g->seen.failed)
        breaker_abandon(&g->target->breaker, true, 0);
    else if (g->probe && !g->seen.committed)
        breaker_failure(&g->target->breaker, &c->rules.breaker, true, now_us);
    leave_standing(g);
    leave_ask(c, g);
    leave_worker(g);
    heap_remove(&c->due_grants, &g->due);
    DL_DELETE2(g->edge->grants, g, edge_prev, edge_next);
    HASH_DEL(c->grants, g);
    c->stats.grants--;
    router_unref(&g->router);
    free(g);
}

static struct broker_grant *make(struct core *c, struct broker_edge *edge, struct broker_worker *w,
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
    count(g);
    return g;
failed:
    free(g);
    return NULL;
}

/* ---- giving ---- */

/* The parts of a GRANT that do not depend on the ask; the token is written to `token`. */
static struct grant message_of(struct core *c, struct broker_grant *g,
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
    heap_set(&c->due_grants, &g->due, now_us + (life_ms + GRANT_GONE_MS) * US);
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
    struct broker_grant *g = make(c, ask->edge, w, ask->router, to->target, 1);
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
    struct grant m = message_of(c, g, to, GRANT_ONCE_MS, token, now_us);
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
        forget(c, g, now_us);
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
    uint64_t until_us = g ? g->due.key - (uint64_t)GRANT_GONE_MS * US : 0;
    if (!g || g->edge != edge || g->attempt != attempt || g->busy != (uint8_t)busy || !g->worker ||
        now_us >= until_us)
        return false;
    struct grant m = *(const struct grant *)g->message;
    uint64_t left_ms = (until_us - now_us) / US;
    if (left_ms <= GRANT_MARGIN_MS)
        return false;
    m.valid_ms = (uint32_t)left_ms - GRANT_MARGIN_MS;
    send_grant(c, g, &m);
    return true;
}

/* ---- standing grants ---- */

/* May this model have some now? Its choice must depend on nothing. */
static struct target *standing_target(const struct model_route *route, uint64_t now_us)
{
    if (!route->candidate_count || (route->candidate_count > 1 && !route->candidates[1].tier))
        return NULL;
    struct target *t = route->candidates[0].target;
    bool quiet =
        t->breaker.state == BREAKER_CLOSED && now_us >= t->rest_until_us && !t->pool->queue.count;
    return quiet && t->pool->offered ? t : NULL;
}

static struct edge_share *share_of(struct broker_edge *edge, struct pool *pool)
{
    struct edge_share *s;
    LL_FOREACH(edge->shares, s)
    {
        if (s->pool == pool)
            return s;
    }
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->pool = pool;
    LL_PREPEND(edge->shares, s);
    return s;
}

/* Standing slots that an edge may have of this pool. */
static uint32_t share_in(const struct core *c, const struct pool *pool)
{
    uint32_t share = pool->offered / (c->edge_count ? c->edge_count : 1);
    return share ? share : 1;
}

/* … and may still get. */
static uint32_t share_left(const struct core *c, const struct edge_share *s)
{
    uint32_t share = share_in(c, s->pool);
    return s->slots < share ? share - s->slots : 0;
}

static struct standing *find_standing(struct broker_edge *edge, struct span model)
{
    struct standing *s = NULL;
    HASH_FIND(hh, edge->standing, model.data, model.len, s);
    return s;
}

static struct standing *make_standing(struct broker_edge *edge, struct span model,
                                      struct router *router, const struct model_route *route,
                                      struct pool *pool)
{
    struct edge_share *share = share_of(edge, pool);
    struct standing *s = share && HASH_COUNT(edge->standing) < STANDING_MAX_MODELS
                             ? calloc(1, sizeof *s + model.len)
                             : NULL;
    if (!s)
        return NULL;
    memcpy(s->model, model.data, model.len);
    s->model_bytes = model.len;
    HASH_ADD_KEYPTR(hh, edge->standing, s->model, model.len, s);
    if (!s->hh.tbl) {
        free(s);
        return NULL;
    }
    s->edge = edge;
    s->share = share;
    s->router = router;
    router_ref(router);
    s->route = route;
    return s;
}

static struct broker_grant *grant_at(const struct standing *s, const struct broker_worker *w)
{
    struct broker_grant *g;
    DL_FOREACH2(s->grants, g, standing_next)
    {
        if (g->worker == w)
            return g;
    }
    return NULL;
}

/* Sends one with so many slots, a new one or with the number it has. ask: that it answers; NULL =
 * nobody's. */
static enum err stand(struct core *c, struct standing *s, struct broker_grant *g,
                      struct broker_worker *w, uint32_t slots, const struct broker_ask *ask,
                      uint64_t now_us)
{
    const struct candidate *candidate = &s->route->candidates[0];
    char model[1024];
    uint8_t token[GRANT_TOKEN_BYTES], trail[TRAIL_BYTES];
    if (!g) {
        g = make(c, s->edge, w, s->router, candidate->target, slots);
        if (!g)
            return ERR_NOMEM;
        g->standing = s;
        DL_APPEND2(s->grants, g, standing_prev, standing_next);
    } else {
        s->share->slots -= g->slots;
        g->slots = slots;
        count(g);
    }
    s->share->slots += slots;
    struct trail t = {.config = s->route->fingerprint};
    trail_write(&t, trail);
    struct grant m = message_of(c, g, candidate, GRANT_LIFE_MS, token, now_us);
    m.model = span_of(s->model, s->model_bytes);
    m.target_model = candidate_model(candidate, m.model, model, sizeof model);
    m.trail = span_of((const char *)trail, sizeof trail);
    struct header h = {0};
    if (ask)
        h = (struct header){.id = ask->id, .attempt = ask->attempt};
    c->ops->send(c->ctx, s->edge->peer, h, MESSAGE_GRANT, &m);
    return OK;
}

static uint32_t slots_of(const struct standing *s)
{
    uint32_t slots = 0;
    const struct broker_grant *g;
    DL_FOREACH2(s->grants, g, standing_next)
    slots += g->slots;
    return slots;
}

bool grants_stand(struct core *c, struct broker_ask *ask, uint64_t now_us)
{
    struct target *target = standing_target(ask->route, now_us);
    bool fits = ask->m.wanted && ask->attempt == 1 && !ask->m.busy && !ask->m.response_id.len;
    /* What stands is renewed: it must not carry an earlier configuration on. */
    fits = fits && ask->router == c->router;
    struct broker_worker *w = fits && target ? workers_pick(target->pool, 0) : NULL;
    if (!w)
        return false;
    struct standing *s = find_standing(ask->edge, ask->m.model);
    if (s && s->route != ask->route)
        return false; /* of the configuration before; it is being called back */
    if (!s)
        s = make_standing(ask->edge, ask->m.model, ask->router, ask->route, target->pool);
    if (!s)
        return false;
    uint32_t has = slots_of(s);
    uint32_t more = ask->m.wanted > has ? ask->m.wanted - has : 1;
    uint32_t left = share_left(c, s->share), room = workers_free(w);
    struct broker_grant *g = grant_at(s, w);
    more = more < left ? more : left;
    more = more < room ? more : room;
    bool given = more && stand(c, s, g, w, (g ? g->slots : 0) + more, ask, now_us) == OK;
    drop_standing(s);
    return given;
}

/* It counts until the edge has closed it. */
static void revoke(struct core *c, struct broker_grant *g)
{
    struct revoke m = {.number = g->number};
    leave_standing(g);
    g->revoked = true;
    c->ops->send(c->ctx, g->edge->peer, (struct header){0}, MESSAGE_REVOKE, &m);
}

/* So many slots over all workers of the pool, at least one each while its share lasts. */
static void spread(struct core *c, struct standing *s, uint32_t wanted, uint64_t now_us)
{
    struct pool *pool = s->share->pool;
    struct broker_worker *w, *next, *workers[STANDING_MAX_WORKERS];
    uint32_t n = 0, total = pool->worker_count ? pool->worker_count : 1;
    uint32_t each = (wanted + total - 1) / total;
    /* Giving moves workers within their list. */
    DL_FOREACH_SAFE(pool->workers, w, next)
    {
        if (n < STANDING_MAX_WORKERS && w->offered)
            workers[n++] = w;
    }
    uint32_t share = share_in(c, pool), others = s->share->slots - slots_of(s);
    uint32_t room = share > others ? share - others : 1;
    for (uint32_t i = 0; i < n; i++) {
        struct broker_grant *g = grant_at(s, workers[i]);
        uint32_t most = (g ? g->slots : 0) + workers_free(workers[i]);
        uint32_t slots = each < most ? each : most;
        slots = slots < room ? slots : room;
        room -= slots;
        if (slots && stand(c, s, g, workers[i], slots, NULL, now_us) != OK)
            return;
        if (!slots && g && i)
            revoke(c, g); /* never the last one: s goes with it */
    }
}

void grants_renew(struct core *c, struct broker_edge *edge, struct span model, uint32_t wanted,
                  uint64_t now_us)
{
    struct standing *s = find_standing(edge, model);
    if (!s || !wanted || !standing_target(s->route, now_us))
        return; /* they expire */
    spread(c, s, wanted, now_us);
}

void grants_call_back(struct core *c, const struct pool *pool, const struct broker_worker *w)
{
    struct broker_edge *edge;
    struct broker_grant *of_worker, *then;
    DL_FOREACH_SAFE2(w ? w->grants : NULL, of_worker, then, worker_next)
    {
        if (of_worker->standing)
            revoke(c, of_worker);
    }
    if (w)
        return;
    DL_FOREACH(c->edges, edge)
    {
        struct standing *s, *next;
        HASH_ITER(hh, edge->standing, s, next)
        {
            struct broker_grant *g, *after;
            if (pool && s->share->pool != pool)
                continue;
            g = s->grants;
            while (g) { /* the last one takes s along */
                after = g->standing_next;
                revoke(c, g);
                g = after;
            }
        }
    }
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
        leave_standing(g);
        leave_ask(c, g);
        heap_remove(&c->due_grants, &g->due); /* its edge says the rest */
    }
    count(g);
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
        if (g->seen.closed && !running_of(g))
            forget(c, g, now_us);
        if (less)
            freed(c, w->pool, now_us);
    }
}

void grants_edge_down(struct core *c, struct broker_edge *edge, uint64_t now_us)
{
    while (edge->grants)
        forget(c, edge->grants, now_us);
    struct edge_share *s, *next;
    LL_FOREACH_SAFE(edge->shares, s, next)
    free(s);
    edge->shares = NULL;
}

void grants_worker_down(struct core *c, struct broker_worker *w)
{
    while (w->grants) {
        struct broker_grant *g = w->grants;
        leave_ask(c, g);
        if (!g->seen.closed && !g->revoked)
            revoke(c, g);
        leave_worker(g);
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
    if (running_of(g)) { /* something runs under it by its edge's word: that must end first */
        g->seen.closed = true;
        leave_standing(g);
        leave_ask(c, g);
        heap_remove(&c->due_grants, due);
        count(g);
    } else {
        forget(c, g, now_us);
    }
    return pool;
}
