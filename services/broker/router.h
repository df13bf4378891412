/* Model → targets: which upstreams may answer a model, in which order, with which weights. A router
 * is one immutable reading of the configuration, except for its breakers; requests that run keep
 * theirs through a reload. */
#ifndef SERVICES_BROKER_ROUTER_H
#define SERVICES_BROKER_ROUTER_H

#include "common/runtime/config/config.h"
#include "common/base/breaker.h"
#include "services/broker/retry.h"
#include "services/broker/workers.h"

enum { ROUTE_MAX_CANDIDATES = 64 };

/* Why a request leaves the model that it asked for: for each there may be fallbacks of its own. */
enum route_cause { ROUTE_FAILED, ROUTE_TOO_LONG, ROUTE_POLICY, ROUTE_CAUSE_COUNT };

/* One upstream model of one configured model. */
struct target {
    struct pool *pool;
    const char *model; /* upstream's name, maybe with a *; NULL = the name that was asked for */
    uint32_t weight;
    uint32_t endpoints; /* endpoints × keys the worker can choose from; at least 1 */
    bool paid; /* bills a request that was merely accepted: never repeat an ambiguous one */
    struct breaker breaker;
    struct retry_budget budget;
    uint64_t rest_until_us; /* it has asked to be left alone until then */
};

/* One way to answer a model: a target of its own (tier 0) or of a fallback (tier 1 …). */
struct candidate {
    struct target *target;
    const char *route; /* the configured model it belongs to */
    const char *name;  /* name to ask for where the target gives none; NULL = the client's */
    uint64_t timeout_ms;
    uint32_t tier;
};

struct model_route {
    const char *name; /* as configured, wildcards and all */
    uint64_t deadline_ms;
    struct target *targets;
    size_t target_count;
    struct candidate candidates[ROUTE_MAX_CANDIDATES];
    uint32_t candidate_count;
    uint64_t serves[ROUTE_CAUSE_COUNT]; /* candidates for each cause, bits by index */
    uint64_t fingerprint;               /* the same in every broker whose candidates are the same */
};

struct router;

/* Reads the configuration; it holds on to it. What is known of targets that `before` (may be NULL)
 * has too (breakers, budgets, rests) is kept. The caller holds the first reference. */
enum err router_create(struct router **out, const struct config *config, struct workers *workers,
                       const struct router *before, uint64_t now_us) NODISCARD;
/* Puts a router of the present configuration in place of *r; on failure *r stays as it is. */
enum err router_renew(struct router **r, const struct config *config, struct workers *workers,
                      uint64_t now_us) NODISCARD;
void router_ref(struct router *r);
/* Takes NULL, nulls; the last one frees. */
void router_unref(struct router **r);
/* By exact name, else the longest wildcard; NULL when unknown. */
const struct model_route *router_find(const struct router *r, struct span model);

/* For what concerns a stored response by its id alone: every provider that may have it, one after
 * the other; NULL when there is none. */
const struct model_route *router_find_stored(const struct router *r);

/* What a request knows about its candidates: bits by candidate index. */
struct route_state {
    uint64_t tried;  /* leave out while there are others */
    uint64_t barred; /* never again */
    uint64_t now_us;
    uint64_t since_us; /* when the request began to wait for a worker */
    uint64_t grace_us; /* how long it waits for a worker to appear */
};

/* May it be used while there are others: its breaker allows it, and it has had its rest. */
bool target_is_fit(const struct target *t, uint64_t now_us);
/* The candidates to wait for or to send to now, all of one tier; 0 = none left. First those that
 * are fit and have a worker (or may soon have one again); unfit ones when nothing else is left. */
uint64_t route_eligible(const struct model_route *route, const struct route_state *s);
/* One of them by weight, among those with a free slot if `free_only`; -1 when there is none.
 * chance: 32 random bits. */
int route_choose(const struct model_route *route, uint64_t eligible, bool free_only,
                 uint32_t chance);
/* What to ask the candidate's upstream for when the client asked for `asked`, as
 * config_upstream_model says. */
struct span candidate_model(const struct candidate *candidate, struct span asked, char *out,
                            size_t size);
/* May a worker for this pool still appear within the request's grace? */
bool pool_is_hopeful(const struct pool *pool, const struct route_state *s);

#endif
