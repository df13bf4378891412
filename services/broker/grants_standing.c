/* Standing grants: which edge may keep how many slots of a model, at which workers. */
#include <stdlib.h>
#include <utlist.h>

#include "services/broker/core_internal.h"

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
        g = grant_make(c, s->edge, w, s->router, candidate->target, slots);
        if (!g)
            return ERR_NOMEM;
        g->standing = s;
        DL_APPEND2(s->grants, g, standing_prev, standing_next);
    } else {
        s->share->slots -= g->slots;
        g->slots = slots;
        grant_count(g);
    }
    s->share->slots += slots;
    struct trail t = {.config = s->route->fingerprint};
    trail_write(&t, trail);
    struct grant m = grant_message(c, g, candidate, GRANT_LIFE_MS, token, now_us);
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
    standing_drop(s);
    return given;
}

/* It counts until the edge has closed it. */
void grant_revoke(struct core *c, struct broker_grant *g)
{
    struct revoke m = {.number = g->number};
    grant_leave_standing(g);
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
            grant_revoke(c, g); /* never the last one: s goes with it */
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
            grant_revoke(c, of_worker);
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
                grant_revoke(c, g);
                g = after;
            }
        }
    }
}
