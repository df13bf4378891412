#include "services/broker/router.h"

#include <stdlib.h>

#include "common/base/hash.h"

enum { STORED_TIMEOUT_MS = 60000 }; /* the models' default */

struct router {
    unsigned refs;
    struct config *config;      /* own hold: names below are views of it */
    struct model_route *routes; /* in the configuration's order */
    size_t route_count;
    struct model_route stored; /* of all providers with stored responses */
};

/* ---- making ---- */

static const struct target *target_before(const struct router *before, const char *route,
                                          const struct target *t)
{
    for (size_t i = 0; before && i < before->route_count; i++) {
        const struct model_route *r = &before->routes[i];
        for (size_t j = 0; strcmp(r->name, route) == 0 && j < r->target_count; j++)
            if (r->targets[j].pool == t->pool &&
                span_equals(span_str(r->targets[j].model), span_str(t->model)))
                return &r->targets[j];
    }
    return NULL;
}

static uint32_t at_least_one(size_t n)
{
    return n ? (uint32_t)n : 1;
}

static enum err make_target(const struct config_provider *p, struct workers *workers,
                            uint64_t now_us, struct target *out)
{
    size_t keys = p->api_keys.count + p->api_key_files.count + (p->api_key_exec.count > 0);
    *out = (struct target){
        .pool = workers_pool(workers, span_str(p->name), now_us),
        .weight = 1,
        .endpoints = at_least_one(p->endpoints.count) * at_least_one(keys),
        .paid = protocol_info(p->protocol)->paid_at_once,
    };
    return out->pool ? OK : ERR_NOMEM;
}

static enum err make_route(const struct config_model *from, struct workers *workers,
                           const struct router *before, uint64_t now_us, struct model_route *out)
{
    out->name = from->name;
    out->deadline_ms = from->deadline_ms;
    out->targets = calloc(from->target_count + 1, sizeof *out->targets);
    if (!out->targets)
        return ERR_NOMEM;
    for (size_t i = 0; i < from->target_count; i++) {
        struct target *t = &out->targets[i];
        enum err e = make_target(from->targets[i].provider, workers, now_us, t);
        if (e)
            return e;
        t->model = from->targets[i].model;
        t->weight = from->targets[i].weight;
        const struct target *was = target_before(before, out->name, t);
        if (was) {
            t->breaker = was->breaker;
            t->budget = was->budget;
            t->rest_until_us = was->rest_until_us;
        }
        /* A probe of before reports to the router of before. */
        breaker_abandon(&t->breaker, true, now_us);
    }
    out->target_count = from->target_count;
    return OK;
}

/* causes: bits by enum route_cause. */
static void add_candidates(struct model_route *to, const struct model_route *of, const char *name,
                           uint64_t timeout_ms, uint32_t tier, unsigned causes)
{
    for (size_t i = 0; i < of->target_count && to->candidate_count < ROUTE_MAX_CANDIDATES; i++) {
        for (unsigned c = 0; c < ROUTE_CAUSE_COUNT; c++)
            if (causes >> c & 1)
                to->serves[c] |= (uint64_t)1 << to->candidate_count;
        to->candidates[to->candidate_count++] =
            (struct candidate){&of->targets[i], of->name, name, timeout_ms, tier};
    }
}

/* The providers that keep responses. A tier each: searched in turn. */
static enum err make_stored_route(struct router *r, const struct config *config,
                                  struct workers *workers, uint64_t now_us)
{
    struct model_route *route = &r->stored;
    route->name = "";
    route->deadline_ms = config->options.edge_deadline;
    route->targets = calloc(config->provider_count + 1, sizeof *route->targets);
    if (!route->targets)
        return ERR_NOMEM;
    for (size_t i = 0; i < config->provider_count; i++) {
        const struct config_provider *p = &config->providers[i];
        uint32_t n = route->candidate_count;
        if (!protocol_info(p->protocol)->keeps_responses || n == ROUTE_MAX_CANDIDATES)
            continue;
        enum err e = make_target(p, workers, now_us, &route->targets[n]);
        if (e)
            return e;
        route->candidates[n] =
            (struct candidate){&route->targets[n], route->name, NULL, STORED_TIMEOUT_MS, n};
        route->serves[ROUTE_FAILED] |= (uint64_t)1 << n;
        route->target_count = ++route->candidate_count;
    }
    return OK;
}

/* Once all routes have their targets: a fallback borrows those of its own route. */
static void link_route(struct router *r, const struct config *config, size_t index)
{
    const struct config_model *m = &config->models[index];
    struct model_route *route = &r->routes[index];
    add_candidates(route, route, NULL, m->timeout_ms, 0, 1u << ROUTE_FAILED);
    const struct config_list *lists[ROUTE_CAUSE_COUNT] = {&m->fallbacks, &m->context_fallbacks,
                                                          &m->policy_fallbacks};
    uint32_t tier = 0;
    for (unsigned cause = 0; cause < ROUTE_CAUSE_COUNT; cause++) {
        unsigned causes = 1u << cause;
        /* What has no list of its own goes where failures go. */
        for (unsigned other = 1; cause == ROUTE_FAILED && other < ROUTE_CAUSE_COUNT; other++)
            causes |= lists[other]->count ? 0 : 1u << other;
        for (size_t i = 0; i < lists[cause]->count; i++) {
            const char *name = lists[cause]->items[i];
            const struct config_model *f = config_find_model(config, span_str(name));
            if (f && f != m)
                add_candidates(route, &r->routes[f - config->models], name, f->timeout_ms, ++tier,
                               causes);
        }
    }
}

static uint64_t mix(uint64_t hash, const char *text)
{
    return hash_number(hash_bytes(hash, span_str(text)), 0xff);
}

/* Of what candidate numbers stand for. */
static void fingerprint(struct model_route *route)
{
    uint64_t hash = mix(HASH_NOTHING, route->name);
    for (uint32_t i = 0; i < route->candidate_count; i++) {
        const struct candidate *c = &route->candidates[i];
        hash = mix(mix(mix(hash, c->target->pool->name), c->target->model), c->route);
        hash = hash_number(hash, c->target->endpoints);
    }
    for (unsigned i = 0; i < ROUTE_CAUSE_COUNT; i++)
        hash = hash_number(hash, route->serves[i]);
    route->fingerprint = hash;
}

enum err router_create(struct router **out, const struct config *config, struct workers *workers,
                       const struct router *before, uint64_t now_us)
{
    enum err e = OK;
    struct router *r = calloc(1, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    r->refs = 1;
    r->config = config_retain(config);
    r->routes = calloc(config->model_count + 1, sizeof *r->routes);
    if (!r->routes)
        e = ERR_NOMEM;
    for (size_t i = 0; !e && i < config->model_count; i++) {
        e = make_route(&config->models[i], workers, before, now_us, &r->routes[i]);
        r->route_count = i + 1;
    }
    for (size_t i = 0; !e && i < config->model_count; i++)
        link_route(r, config, i);
    if (!e)
        e = make_stored_route(r, config, workers, now_us);
    for (size_t i = 0; !e && i < config->model_count; i++)
        fingerprint(&r->routes[i]);
    if (e)
        router_unref(&r);
    else
        fingerprint(&r->stored);
    *out = r;
    return e;
}

enum err router_renew(struct router **r, const struct config *config, struct workers *workers,
                      uint64_t now_us)
{
    struct router *fresh;
    enum err e = router_create(&fresh, config, workers, *r, now_us);
    if (e)
        return e;
    router_unref(r);
    *r = fresh;
    return OK;
}

void router_ref(struct router *r)
{
    r->refs++;
}

void router_unref(struct router **router)
{
    struct router *r = *router;
    *router = NULL;
    if (!r || --r->refs)
        return;
    for (size_t i = 0; i < r->route_count; i++)
        free(r->routes[i].targets);
    free(r->stored.targets);
    free(r->routes);
    config_destroy(&r->config);
    free(r);
}

const struct model_route *router_find(const struct router *r, struct span model)
{
    const struct config_model *m = config_find_model(r->config, model);
    return m ? &r->routes[m - r->config->models] : NULL;
}

const struct model_route *router_find_stored(const struct router *r)
{
    return r->stored.candidate_count ? &r->stored : NULL;
}

/* ---- names ---- */

struct span candidate_model(const struct candidate *candidate, struct span asked, char *out,
                            size_t size)
{
    struct span name = candidate->name ? span_str(candidate->name) : asked;
    return config_upstream_model(candidate->route, candidate->target->model, name, out, size);
}

/* ---- choosing ---- */

bool pool_is_hopeful(const struct pool *pool, const struct route_state *s)
{
    const char *why;
    if (pool->offered)
        return true;
    if (pool_is_unable(pool, &why))
        return false;
    /* Nobody has been there for long: don't make everyone wait for a worker that does not come. */
    if (s->now_us > pool->empty_since_us + 4 * s->grace_us)
        return false;
    return s->now_us < s->since_us + s->grace_us;
}

bool target_is_fit(const struct target *t, uint64_t now_us)
{
    return now_us >= t->rest_until_us && breaker_allows(&t->breaker, now_us);
}

static uint64_t lowest_tier(const struct model_route *route, const struct route_state *s,
                            uint64_t without, bool fit_only)
{
    uint64_t found = 0;
    uint32_t tier = 0;
    for (uint32_t i = 0; i < route->candidate_count; i++) {
        const struct candidate *o = &route->candidates[i];
        if (found && o->tier != tier)
            break;
        if (without >> i & 1 || (fit_only && !target_is_fit(o->target, s->now_us)))
            continue;
        if (!pool_is_hopeful(o->target->pool, s))
            continue;
        found |= (uint64_t)1 << i;
        tier = o->tier;
    }
    return found;
}

uint64_t route_eligible(const struct model_route *route, const struct route_state *s)
{
    uint64_t found = lowest_tier(route, s, s->tried | s->barred, true);
    if (!found)
        found = lowest_tier(route, s, s->tried | s->barred, false);
    if (!found)
        found = lowest_tier(route, s, s->barred, false);
    return found;
}

static bool counts(const struct candidate *o, bool free_only)
{
    return !free_only || workers_pick(o->target->pool, 0);
}

int route_choose(const struct model_route *route, uint64_t eligible, bool free_only,
                 uint32_t chance)
{
    uint64_t sum = 0, ready = 0;
    for (uint32_t i = 0; i < route->candidate_count; i++)
        if (eligible >> i & 1 && counts(&route->candidates[i], free_only)) {
            ready |= (uint64_t)1 << i;
            sum += route->candidates[i].target->weight;
        }
    if (!ready)
        return -1;
    /* Weights of zero alone: the first one. */
    uint64_t at = sum * chance >> 32;
    for (uint32_t i = 0; i < route->candidate_count; i++) {
        if (!(ready >> i & 1))
            continue;
        uint32_t weight = route->candidates[i].target->weight;
        if (at < weight || !sum)
            return (int)i;
        at -= weight;
    }
    return -1;
}
