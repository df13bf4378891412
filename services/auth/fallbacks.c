#include <stdio.h>

#include "services/auth/admission_parts.h"

const struct config_model *limits_of_model(const struct admission *a, const struct key *key,
                                           struct span model, struct limit_set *set)
{
    key_limits(key, model, set);
    const struct config_model *m = config_find_model(a->config, model);
    if (m && a->model_limits)
        (void)limit_set_add(set, a->model_limits[m - a->config->models]);
    return m;
}

static bool holds(const struct limit_set *set, const struct limit *limit)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->limits[i] == limit)
            return true;
    return false;
}

/* The limits of this model that are not those of the one asked for too. */
static void own_limits(const struct admission *a, const struct key *key, struct span model,
                       const struct limit_set *asked, struct limit_set *out)
{
    struct limit_set all = {0};
    (void)limits_of_model(a, key, model, &all);
    *out = (struct limit_set){0};
    for (size_t i = 0; i < all.count; i++)
        if (!holds(asked, all.limits[i]))
            (void)limit_set_add(out, all.limits[i]);
}

/* Those that this key may not use, or that have no room. */
void fallbacks_bar(const struct admission *a, struct verdict *v, const struct key *key,
                   const struct config_model *m, const struct limit_set *asked, uint64_t now_ns)
{
    size_t at = 0;
    for (size_t i = 0; m && i < m->fallbacks.count; i++) {
        const char *name = m->fallbacks.items[i];
        struct limit_set own;
        struct limit_refusal refusal;
        own_limits(a, key, span_str(name), asked, &own);
        if (key_may_use(key, span_str(name)) && limit_set_check(&own, now_ns, 1, 0, &refusal))
            continue;
        int n = snprintf(v->barred + at, sizeof v->barred - at, "%s%s", at ? "," : "", name);
        if (n < 0 || (size_t)n >= sizeof v->barred - at || strchr(name, ',')) {
            v->allow.barred = SPAN("*");
            return;
        }
        at += (size_t)n;
    }
    v->allow.barred = span_of(v->barred, at);
}

void admission_charge_fallback(struct admission *a, const struct authorize *ask, uint64_t now_ns)
{
    struct key *key = keys_find_digest(a->keys, ask->key_digest);
    struct limit_set asked = {0}, own;
    if (!key)
        return;
    (void)limits_of_model(a, key, ask->answers_for, &asked);
    own_limits(a, key, ask->model, &asked, &own);
    limit_set_charge(a->limits, &own, now_ns, 1, 0);
}
