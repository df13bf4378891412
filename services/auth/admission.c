#include "services/auth/admission.h"

#include <stdio.h>
#include <stdlib.h>

#include "services/auth/admission_parts.h"

enum {
    DEFAULT_DEADLINE_MS = 600000,
    DEADLINE_SLACK_MS = 5000 /* for the edge's RELEASE to arrive */
};

enum err admission_configure(struct admission *a, const struct config *config, uint64_t now_ns)
{
    struct limit **limits = calloc(config->model_count + 1, sizeof(struct limit *));
    free(a->model_limits);
    a->model_limits = limits;
    a->config = config; /* in any case: the old one goes away */
    if (!limits)
        return ERR_NOMEM;
    for (size_t i = 0; i < config->model_count; i++) {
        const struct config_model *m = &config->models[i];
        if (m->rate_count == 0)
            continue;
        char name[LIMIT_NAME_BYTES];
        (void)snprintf(name, sizeof name, "model:%.*s", (int)sizeof name - 8, m->name);
        struct gcra_rate rate = {m->rate_count, m->rate_period_ms * MS_NS,
                                 m->rate_burst ? m->rate_burst : m->rate_count};
        limits[i] = limits_get(a->limits, span_str(name), "model", LIMIT_REQUESTS, rate, now_ns);
        if (!limits[i])
            return ERR_NOMEM;
    }
    return OK;
}

void admission_free(struct admission *a)
{
    free(a->model_limits);
    a->model_limits = NULL;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The key is known and valid; nothing is charged yet. One secret at a time gets leases, for they
 * are counted by key: the present one. */
static void allow_key(const struct admission *a, struct verdict *v, const struct key_secret *secret,
                      uint64_t wall_ms)
{
    const struct key *key = secret->key;
    v->allowed = true;
    v->allow =
        (struct allow){.key_id = key->is.id, .key_name = key->is.name, .models = key->is.models};
    uint64_t valid_ms = key_secret_until_ms(secret) - wall_ms;
    v->allow.known_ms = least(a->config->options.auth_known, valid_ms);
    if (!key_secret_is_old(secret))
        v->allow.lease_ms =
            (uint32_t)least(least(a->config->options.auth_lease, valid_ms), UINT32_MAX);
}

/* A key that may run so many requests at once needs a leased slot for it. */
static void add_lease(const struct admission *a, struct verdict *v, const struct lease_party *party,
                      size_t edges, uint64_t tokens, uint64_t now_ns)
{
    struct allow *allow = &v->allow;
    struct lease_terms terms = {0};
    if ((!party->key->is.concurrent || allow->slots_key.len) && allow->lease_ms)
        lease_grant(a->leases, party, now_ns, edges, tokens, &terms);
    allow->lease = terms.lease;
    allow->lease_is_new = terms.is_new;
    allow->lease_charged = terms.charged.requests;
    allow->lease_charged_tokens = terms.charged.tokens;
    allow->lease_used = terms.used.requests;
    allow->lease_used_tokens = terms.used.tokens;
    allow->away_requests = terms.away.requests;
    allow->away_tokens = terms.away.tokens;
    allow->away_idle_requests = terms.idle.requests;
    allow->away_idle_tokens = terms.idle.tokens;
    if (!terms.granted)
        allow->lease_ms = 0;
}

/* What must be let go at the end of the request, if anything. False without memory. */
static bool add_reservation(const struct admission *a, const struct header *h,
                            const struct asker *who, struct key *key, uint64_t tokens,
                            uint64_t now_ns, struct reservation **out)
{
    if (!key->is.concurrent && !key->tokens)
        return true;
    uint64_t deadline_ms = h->deadline_ms ? h->deadline_ms : DEFAULT_DEADLINE_MS;
    struct reservation *reservation = reservation_add(
        a->reservations, &h->id, key, now_ns + (deadline_ms + DEADLINE_SLACK_MS) * MS_NS);
    if (!reservation)
        return false;
    reservation->charged_tokens = tokens;
    reservation->owner = who->epoch;
    *out = reservation;
    return true;
}

/* ---- tokens ---- */

/* Of one answer without a cap: what this model's usually have, and no more than a limit could give
 * at once beside the input. */
static uint64_t expected_output(const struct admission *a, const struct key *key,
                                const struct authorize *ask)
{
    uint64_t tokens = a->outputs ? outputs_expected(a->outputs, ask->model) : 0;
    uint64_t most = key->tokens ? key->tokens->gcra.rate.burst : UINT64_MAX;
    uint64_t room = most > ask->input_tokens ? most - ask->input_tokens : 0;
    return least(tokens, room / (ask->answers ? ask->answers : 1));
}

/* What is set aside for the request. */
static uint64_t wanted_tokens(const struct authorize *ask, uint64_t each)
{
    uint64_t output = ask->output_tokens ? ask->output_tokens : each * ask->answers;
    return ask->input_tokens + output;
}

/* ---- all of it ---- */

/* Within its limits, once more if it was asked about before: then it is charged already. */
static void decide_limits(const struct admission *a, const struct asker *who,
                          const struct header *h, const struct key_secret *secret,
                          const struct authorize *ask, struct moment now, struct verdict *v)
{
    struct key *key = secret->key;
    uint64_t now_ns = now.now_ns, each = expected_output(a, key, ask);
    uint64_t tokens = wanted_tokens(ask, each);
    struct limit_set set;
    const struct config_model *m = limits_of_model(a, key, ask->model, &set);
    struct reservation *reservation = reservation_find(a->reservations, &h->id);
    v->asked_again = reservation != NULL; /* the answer got lost */
    if (!v->asked_again && refusal_of_rate(a, v, key, m, &set, tokens, now_ns))
        return;
    if (!(reservation && reservation->slot) && key_slot_is_lacking(a, who, key, ask, now_ns)) {
        key_slot_await(a, who, v, key, m, &set, now_ns);
        return;
    }
    if (!v->asked_again && !add_reservation(a, h, who, key, tokens, now_ns, &reservation)) {
        refusal_deny(v, key, ERROR_OVERLOADED, "Too many requests are in flight.");
        return;
    }
    if (!v->asked_again)
        limit_set_charge(a->limits, &set, now_ns, 1, tokens);
    allow_key(a, v, secret, now.wall_ms);
    key_slot_give(a, who, v, key, reservation, ask, now_ns);
    v->allow.holds_slot = reservation && reservation->slot;
    FILL_VIEWS(&v->allow, &set, now_ns);
    v->allow.output_tokens = each;
    fallbacks_bar(a, v, key, m, &set, now_ns);
    struct lease_party party = {who->edge, key, &set};
    add_lease(a, v, &party, who->edges, tokens, now_ns);
}

const struct lease_count *admission_hear_lease(const struct admission *a, const void *edge,
                                               struct key *key, struct span model,
                                               const struct lease_report *report, uint64_t now_ns)
{
    struct limit_set set;
    (void)limits_of_model(a, key, model, &set);
    const struct lease_party party = {edge, key, &set};
    return lease_told(a->leases, &party, report, now_ns);
}

/* What the edge says of its leases. */
static void hear(const struct admission *a, const struct asker *who, struct verdict *v,
                 struct key *key, const struct authorize *ask, uint64_t now_ns)
{
    const struct lease_report report = {.lease = ask->lease,
                                        .used = {ask->lease_used, ask->lease_used_tokens},
                                        .charged = {ask->lease_charged, ask->lease_charged_tokens},
                                        .ended = ask->lease_ended};
    struct slot_party slots = {who->edge, who->epoch, key, ask->key_digest};
    if (ask->lease)
        v->lease_charged = admission_hear_lease(a, who->edge, key, ask->model, &report, now_ns);
    if (key->is.concurrent)
        slot_lease_told(a->slots, &slots, ask->slots_given, ask->slots_returned, now_ns);
}

void admission_charge(const struct admission *a, const struct key *key, struct span model,
                      uint64_t tokens, uint64_t now_ns)
{
    struct limit_set set;
    (void)limits_of_model(a, key, model, &set);
    limit_set_charge(a->limits, &set, now_ns, 1, tokens);
}

void admission_decide(struct admission *a, const struct asker *who, const struct header *h,
                      const struct authorize *ask, struct moment now, struct verdict *out)
{
    const struct key_secret *secret = keys_find_secret(a->keys, ask->key_digest);
    struct key *key = secret ? secret->key : NULL;
    out->deny = (struct deny){0};
    out->allowed = out->waits = out->asked_again = false;
    out->key = key;
    out->lease_charged = NULL;
    if (refusal_of_key(out, secret, now.wall_ms))
        return;
    if (refusal_of_response(a, out, key, ask))
        return;
    if (ask->model.len == 0) { /* /v1/models: a valid key is all it takes */
        allow_key(a, out, secret, now.wall_ms);
        out->allow.lease_ms = 0;
        return;
    }
    hear(a, who, out, key, ask, now.now_ns);
    if (refusal_of_model(out, key, ask->model))
        return;
    if (a->store_down) {
        refusal_deny(out, key, ERROR_UNAVAILABLE,
                     "Usage cannot be recorded at the moment. Please try again later.");
        return;
    }
    decide_limits(a, who, h, secret, ask, now, out);
}
