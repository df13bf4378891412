/* The shares of a model's deployments, as LiteLLM has them. */
#include <math.h>

#include "services/ctl/import/import.h"

static const struct yaml *capacity(const struct deployment *d, const char *name)
{
    const struct yaml *v = deployment_get(d, name);
    return v ? v : yaml_member(d->entry, name); /* the old place */
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* LiteLLM shares by weight, else by rpm, else by tpm, whichever of them is given first. */
static const char *weighing(const struct import_model *m)
{
    static const char *const names[] = {"weight", "rpm", "tpm"};
    for (size_t n = 0; n < 3; n++) {
        for (size_t i = 0; i < m->count; i++) {
            double v;
            if (litellm_number(capacity(m->deployments[i], names[n]), &v))
                return names[n];
        }
    }
    return NULL;
}

static void reduce(struct import_model *m)
{
    uint64_t common = 0, most = 0;
    for (size_t i = 0; i < m->count; i++)
        common = gcd(common, m->deployments[i]->weight);
    for (size_t i = 0; i < m->count; i++) {
        struct deployment *d = m->deployments[i];
        d->weight = common ? d->weight / common : 1;
        most = d->weight > most ? d->weight : most;
    }
    for (size_t i = 0; most > WEIGHT_MAX && i < m->count; i++) {
        uint64_t *w = &m->deployments[i]->weight;
        *w = *w ? (uint64_t)ceil((double)*w * WEIGHT_MAX / (double)most) : 0;
    }
}

static void weigh(struct import_model *m)
{
    const char *by = weighing(m);
    for (size_t i = 0; i < m->count; i++) {
        struct deployment *d = m->deployments[i];
        double v = by ? 0 : 1;
        d->weighted = by && m->count > 1;
        if (by && !litellm_number(capacity(d, by), &v))
            v = 0;
        /* thousandths: weights may be fractions */
        d->weight =
            v > 1e15 ? (uint64_t)1e15 : (uint64_t)llround(v * (by && *by == 'w' ? 1000 : 1));
    }
    reduce(m);
}

/* LiteLLM asks the lowest order first, the others only when those are down: as weight 0 does. */
static void order(struct import *im, struct import_model *m)
{
    double least = INFINITY, v;
    for (size_t i = 0; i < m->count; i++) {
        if (litellm_number(deployment_get(m->deployments[i], "order"), &v) && v < least)
            least = v;
    }
    for (size_t i = 0; !isinf(least) && i < m->count; i++) {
        struct deployment *d = m->deployments[i];
        bool given = litellm_number(deployment_get(d, "order"), &v);
        if (given)
            report_add(&im->report, v > least ? FATE_CHANGED : FATE_CARRIED,
                       deployment_at(im, d, "order"), "%s",
                       v > least ? "weight 0: asked only when no other can; there are two orders"
                                 : "");
        if (!given)
            report_add(&im->report, FATE_CHANGED, deployment_at(im, d, "order"),
                       "has none beside others that have: weight 0, asked only when no other can");
        if (!given || v > least) {
            d->weight = 0;
            d->weighted = true;
        }
    }
}

void weights_read(struct import *im, struct import_model *m)
{
    weigh(m);
    order(im, m);
}

static bool same_text(const struct deployment *a, const struct deployment *b, const char *name)
{
    const char *x = litellm_text(deployment_get(a, name)),
               *y = litellm_text(deployment_get(b, name));
    return strcmp(x ? x : "", y ? y : "") == 0;
}

/* Keys of one provider are used in turn, so those that have different shares need providers of
 * their own. */
bool weights_are_apart(const struct import_model *m)
{
    for (size_t i = 1; i < m->count; i++) {
        const struct deployment *a = m->deployments[i];
        for (size_t k = 0; k < i; k++) {
            const struct deployment *b = m->deployments[k];
            if (a->weight != b->weight && a->row && a->row == b->row &&
                strcmp(a->upstream, b->upstream) == 0 && same_text(a, b, "api_base") &&
                !same_text(a, b, "api_key"))
                return true;
        }
    }
    return false;
}
