#include "services/auth/admission.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    DEFAULT_DEADLINE_MS = 600000,
    DEADLINE_SLACK_MS = 5000,   /* for the edge's RELEASE to arrive */
    CONCURRENCY_RETRY_MS = 1000 /* nobody knows when a running request ends */
};
#define MS_NS ((uint64_t)1000000)

enum err admission_configure(struct admission *a, const struct config *config)
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
        limits[i] = limits_get(a->limits, span_str(name), "model", LIMIT_REQUESTS, rate);
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

static void deny(struct verdict *v, const struct key *key, enum error_class why,
                 const char *message)
{
    v->allowed = false;
    v->deny.error_class = why;
    v->deny.message = span_str(message);
    if (key) {
        v->deny.key_id = key->is.id;
        v->deny.key_name = key->is.name;
    }
}

/* Unknown, revoked and expired keys. */
static bool refuse_key(struct verdict *v, const struct key *key, uint64_t wall_ms)
{
    if (!key) {
        deny(v, NULL, ERROR_BAD_KEY, "Incorrect API key provided.");
        return true;
    }
    if (key->is.revoked_ms) {
        deny(v, key, ERROR_BAD_KEY, "This API key has been revoked.");
        return true;
    }
    if (key->is.expires_ms && wall_ms >= key->is.expires_ms) {
        deny(v, key, ERROR_BAD_KEY, "This API key has expired.");
        return true;
    }
    return false;
}

/* One that nobody here has made, or another key: in the words that any response gets that is not
 * there. No provider is asked about ids that clients make up. */
static bool refuse_response(const struct admission *a, struct verdict *v, const struct key *key,
                            const struct authorize *ask)
{
    bool by_id = ask->model.len == 0;
    if (!a->responses || !ask->response_id.len ||
        stored_responses_find(a->responses, ask->response_id, key->is.id, NULL) == RESPONSE_OWN)
        return false;
    (void)snprintf(v->message, sizeof v->message, "%s with id '%.*s' not found.",
                   by_id ? "Response" : "Previous response",
                   SPAN_ARG(span_first(ask->response_id, 150)));
    deny(v, key, by_id ? ERROR_NOT_FOUND : ERROR_BAD_REQUEST, v->message);
    if (!by_id) {
        v->deny.code = SPAN("previous_response_not_found");
        v->deny.param = SPAN("previous_response_id");
    }
    return true;
}

static bool refuse_model(struct verdict *v, const struct key *key, struct span model)
{
    if (key_may_use(key, model))
        return false;
    (void)snprintf(v->message, sizeof v->message, "This API key may not use the model '%.*s'.",
                   (int)(model.len < 200 ? model.len : 200), model.len ? model.data : "");
    deny(v, key, ERROR_MODEL_NOT_ALLOWED, v->message);
    return true;
}

static const struct config_model *limits_of(const struct admission *a, const struct key *key,
                                            struct span model, struct limit_set *set)
{
    key_limits(key, model, set);
    const struct config_model *m = config_find_model(a->config, model);
    if (m && a->model_limits)
        (void)limit_set_add(set, a->model_limits[m - a->config->models]);
    return m;
}

static void count_refusal(const struct admission *a, const struct key *key,
                          const struct config_model *m, const char *limit)
{
    metric_add(a->metrics, METRIC_LIMITED,
               METRIC_LABELS(span_str(m ? m->name : "unknown"), key->is.name, span_str(limit)), 1);
}

static const char *period_word(uint64_t period_ns)
{
    switch (period_ns / GCRA_SECOND) {
    case 1:
        return "second";
    case 60:
        return "minute";
    case 3600:
        return "hour";
    case 86400:
        return "day";
    default:
        return "period";
    }
}

static void explain_limit(struct verdict *v, const struct key *key, const struct limit_refusal *r)
{
    const struct gcra_rate *rate = &r->limit->gcra.rate;
    const char *unit = r->limit->unit == LIMIT_TOKENS ? "tokens" : "requests";
    bool shared = strcmp(r->limit->label, "model") == 0;
    int n =
        snprintf(v->message, sizeof v->message, "Rate limit reached for %s%.*s%s: %llu %s per %s. ",
                 shared ? "this model" : "API key '", shared ? 0 : (int)key->is.name.len,
                 shared ? "" : key->is.name.data, shared ? "" : "'",
                 (unsigned long long)rate->count, unit, period_word(rate->period_ns));
    if (n < 0 || (size_t)n >= sizeof v->message)
        return;
    if (r->wait_ns == GCRA_NEVER)
        (void)snprintf(v->message + n, sizeof v->message - (size_t)n,
                       "This request alone needs more than that.");
    else
        (void)snprintf(v->message + n, sizeof v->message - (size_t)n, "Please try again in %.3fs.",
                       (double)r->wait_ns / 1e9);
}

/* x-ratelimit-* for either answer: the fields have the same names in both messages. */
#define FILL_VIEWS(answer, set, now_ns)                                                            \
    do {                                                                                           \
        struct limit_view requests_, tokens_;                                                      \
        limit_set_view((set), (now_ns), LIMIT_REQUESTS, &requests_);                               \
        limit_set_view((set), (now_ns), LIMIT_TOKENS, &tokens_);                                   \
        (answer)->limit_requests = requests_.limit;                                                \
        (answer)->remaining_requests = requests_.remaining;                                        \
        (answer)->reset_requests_ms = requests_.reset_ms;                                          \
        (answer)->limit_tokens = tokens_.limit;                                                    \
        (answer)->remaining_tokens = tokens_.remaining;                                            \
        (answer)->reset_tokens_ms = tokens_.reset_ms;                                              \
    } while (0)

static bool refuse_rate(const struct admission *a, struct verdict *v, const struct key *key,
                        const struct config_model *m, const struct limit_set *set, uint64_t tokens,
                        uint64_t now_ns)
{
    struct limit_refusal refusal;
    if (limit_set_check(set, now_ns, 1, tokens, &refusal))
        return false;
    explain_limit(v, key, &refusal);
    bool never = refusal.wait_ns == GCRA_NEVER;
    deny(v, key, never ? ERROR_LIMIT_TOO_SMALL : ERROR_RATE_LIMITED, v->message);
    if (!never)
        v->deny.retry_after_ms = (refusal.wait_ns + MS_NS - 1) / MS_NS;
    count_refusal(a, key, m, refusal.limit->label);
    FILL_VIEWS(&v->deny, set, now_ns);
    return true;
}

/* ---- slots ---- */

static bool lacks_slot(const struct admission *a, const struct asker *who, const struct key *key,
                       const struct authorize *ask, uint64_t now_ns)
{
    if (!key->is.concurrent)
        return false;
    if (ask->has_slot) /* unless an edge that was cut off for long has come back */
        return key->in_flight > key->is.concurrent;
    return now_ns < a->slots_from_ns || key->in_flight >= key->is.concurrent ||
           (key->waiting && !who->queued);
}

/* It waits, if a slot may come back; otherwise it is refused. */
static void wait_or_refuse(const struct admission *a, const struct asker *who, struct verdict *v,
                           struct key *key, const struct config_model *m,
                           const struct limit_set *set, uint64_t now_ns)
{
    bool early = now_ns < a->slots_from_ns;
    v->waits = !who->overdue && (early || v->asked_again || slot_leases_elsewhere(key, who->epoch));
    if (v->waits)
        return;
    if (early) {
        deny(v, key, ERROR_UNAVAILABLE,
             "The requests that run at once cannot be counted at the moment. Try again shortly.");
        return;
    }
    (void)snprintf(v->message, sizeof v->message,
                   "Rate limit reached for API key '%.*s': %u concurrent requests.",
                   SPAN_ARG(key->is.name), key->is.concurrent);
    deny(v, key, ERROR_RATE_LIMITED, v->message);
    v->deny.retry_after_ms = CONCURRENCY_RETRY_MS;
    count_refusal(a, key, m, "key_concurrent");
    FILL_VIEWS(&v->deny, set, now_ns);
}

/* On lease, or for this request alone where there are no leases. One each: an edge keeps as many as
 * it has had requests at once lately. */
static void give_slot(const struct admission *a, const struct asker *who, struct verdict *v,
                      struct key *key, struct reservation *reservation, const struct authorize *ask,
                      uint64_t now_ns)
{
    struct slot_party party = {who->edge, who->epoch, key};
    struct allow *allow = &v->allow;
    if (!key->is.concurrent || (reservation && reservation->slot))
        return;
    if ((allow->lease_ms || ask->has_slot) &&
        slot_lease_give(a->slots, &party, !ask->has_slot, now_ns + allow->lease_ms * MS_NS,
                        &allow->slots_given) == OK) {
        allow->slots_key = ask->key_digest;
        allow->slots_ms = allow->lease_ms;
    } else if (!ask->has_slot) {
        reservation_take_slot(a->reservations, reservation, now_ns, false);
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The key is known and valid; nothing is charged yet. */
static void allow_key(const struct admission *a, struct verdict *v, const struct key *key,
                      uint64_t wall_ms)
{
    v->allowed = true;
    v->allow =
        (struct allow){.key_id = key->is.id, .key_name = key->is.name, .models = key->is.models};
    uint64_t valid_ms = key->is.expires_ms ? key->is.expires_ms - wall_ms : UINT64_MAX;
    v->allow.known_ms = least(a->config->options.auth_known, valid_ms);
    v->allow.lease_ms = (uint32_t)least(least(a->config->options.auth_lease, valid_ms), UINT32_MAX);
}

static void add_lease(const struct admission *a, struct verdict *v, const struct lease_party *party,
                      size_t edges, const struct limit_set *set, uint64_t tokens, uint64_t now_ns)
{
    struct lease_terms terms = {0};
    if ((!party->key->is.concurrent || v->allow.slots_key.len) && v->allow.lease_ms)
        terms =
            lease_grant(a->leases, party, set, now_ns, v->allow.lease_ms * MS_NS, edges, tokens);
    v->allow.lease_requests = terms.requests;
    v->allow.lease_tokens = terms.tokens;
    if (terms.requests == 0)
        v->allow.lease_ms = 0;
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

/* ---- fallbacks ---- */

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
    (void)limits_of(a, key, model, &all);
    *out = (struct limit_set){0};
    for (size_t i = 0; i < all.count; i++)
        if (!holds(asked, all.limits[i]))
            (void)limit_set_add(out, all.limits[i]);
}

/* Those that this key may not use, or that have no room. */
static void bar_fallbacks(const struct admission *a, struct verdict *v, const struct key *key,
                          const struct config_model *m, const struct limit_set *asked,
                          uint64_t now_ns)
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
    (void)limits_of(a, key, ask->answers_for, &asked);
    own_limits(a, key, ask->model, &asked, &own);
    limit_set_charge(a->limits, &own, now_ns, 1, 0);
}

/* ---- all of it ---- */

/* Within its limits, once more if it was asked about before: then it is charged already. */
static void decide_limits(const struct admission *a, const struct asker *who,
                          const struct header *h, struct key *key, const struct authorize *ask,
                          struct moment now, struct verdict *v)
{
    uint64_t now_ns = now.now_ns, each = expected_output(a, key, ask);
    uint64_t tokens = wanted_tokens(ask, each);
    struct limit_set set;
    const struct config_model *m = limits_of(a, key, ask->model, &set);
    struct reservation *reservation = reservation_find(a->reservations, &h->id);
    v->asked_again = reservation != NULL; /* the answer got lost */
    if (!v->asked_again && refuse_rate(a, v, key, m, &set, tokens, now_ns))
        return;
    if (!(reservation && reservation->slot) && lacks_slot(a, who, key, ask, now_ns)) {
        wait_or_refuse(a, who, v, key, m, &set, now_ns);
        return;
    }
    if (!v->asked_again && !add_reservation(a, h, who, key, tokens, now_ns, &reservation)) {
        deny(v, key, ERROR_OVERLOADED, "Too many requests are in flight.");
        return;
    }
    if (!v->asked_again)
        limit_set_charge(a->limits, &set, now_ns, 1, tokens);
    allow_key(a, v, key, now.wall_ms);
    give_slot(a, who, v, key, reservation, ask, now_ns);
    v->allow.holds_slot = reservation && reservation->slot;
    FILL_VIEWS(&v->allow, &set, now_ns);
    v->allow.output_tokens = each;
    bar_fallbacks(a, v, key, m, &set, now_ns);
    struct lease_party party = {who->edge, key, ask->model};
    add_lease(a, v, &party, who->edges, &set, tokens, now_ns);
}

/* What the edge says of its leases. */
static void hear(const struct admission *a, const struct asker *who, struct key *key,
                 const struct authorize *ask, uint64_t now_ns)
{
    struct lease_party party = {who->edge, key, ask->model};
    struct slot_party slots = {who->edge, who->epoch, key};
    if (ask->lease_ended)
        lease_report(a->leases, &party, now_ns, ask->lease_used, ask->lease_used_tokens);
    else
        lease_asked_again(a->leases, &party, now_ns);
    if (key->is.concurrent)
        slot_lease_told(a->slots, &slots, ask->slots_given, ask->slots_returned, now_ns);
}

void admission_decide(struct admission *a, const struct asker *who, const struct header *h,
                      const struct authorize *ask, struct moment now, struct verdict *out)
{
    struct key *key = keys_find_digest(a->keys, ask->key_digest);
    out->deny = (struct deny){0};
    out->allowed = out->waits = out->asked_again = false;
    out->key = key;
    if (refuse_key(out, key, now.wall_ms))
        return;
    if (refuse_response(a, out, key, ask))
        return;
    if (ask->model.len == 0) { /* /v1/models: a valid key is all it takes */
        allow_key(a, out, key, now.wall_ms);
        out->allow.lease_ms = 0;
        return;
    }
    hear(a, who, key, ask, now.now_ns);
    if (refuse_model(out, key, ask->model))
        return;
    if (a->store_down) {
        deny(out, key, ERROR_UNAVAILABLE,
             "Usage cannot be recorded at the moment. Please try again later.");
        return;
    }
    decide_limits(a, who, h, key, ask, now, out);
}
