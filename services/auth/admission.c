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

/* In the words that any other response gets that is not there. */
static bool refuse_response(const struct admission *a, struct verdict *v, const struct key *key,
                            const struct authorize *ask)
{
    bool by_id = ask->model.len == 0;
    if (!a->responses ||
        stored_responses_find(a->responses, ask->response_id, key->is.id, NULL) != RESPONSE_FOREIGN)
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

static bool refuse_limits(const struct admission *a, struct verdict *v, const struct key *key,
                          const struct config_model *m, const struct limit_set *set,
                          uint64_t tokens, uint64_t now_ns)
{
    struct limit_refusal refusal;
    if (key->is.concurrent && key->in_flight >= key->is.concurrent) {
        (void)snprintf(v->message, sizeof v->message,
                       "Rate limit reached for API key '%.*s': %u concurrent requests.",
                       SPAN_ARG(key->is.name), key->is.concurrent);
        deny(v, key, ERROR_RATE_LIMITED, v->message);
        v->deny.retry_after_ms = CONCURRENCY_RETRY_MS;
        count_refusal(a, key, m, "key_concurrent");
    } else if (!limit_set_check(set, now_ns, 1, tokens, &refusal)) {
        explain_limit(v, key, &refusal);
        bool never = refusal.wait_ns == GCRA_NEVER;
        deny(v, key, never ? ERROR_LIMIT_TOO_SMALL : ERROR_RATE_LIMITED, v->message);
        if (!never)
            v->deny.retry_after_ms = (refusal.wait_ns + MS_NS - 1) / MS_NS;
        count_refusal(a, key, m, refusal.limit->label);
    } else {
        return false;
    }
    FILL_VIEWS(&v->deny, set, now_ns);
    return true;
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
    v->allow = (struct allow){.key_id = key->is.id,
                              .key_name = key->is.name,
                              .models = key->is.models,
                              .holds_slot = key->is.concurrent > 0};
    uint64_t valid_ms = key->is.expires_ms ? key->is.expires_ms - wall_ms : UINT64_MAX;
    v->allow.known_ms = least(a->config->options.auth_known, valid_ms);
    v->allow.lease_ms = (uint32_t)least(least(a->config->options.auth_lease, valid_ms), UINT32_MAX);
}

static void add_lease(const struct admission *a, struct verdict *v, const struct lease_party *party,
                      size_t edges, const struct limit_set *set, uint64_t tokens, uint64_t now_ns)
{
    struct lease_terms terms = {0};
    if (!party->key->is.concurrent && v->allow.lease_ms)
        terms =
            lease_grant(a->leases, party, set, now_ns, v->allow.lease_ms * MS_NS, edges, tokens);
    v->allow.lease_requests = terms.requests;
    v->allow.lease_tokens = terms.tokens;
    if (terms.requests == 0)
        v->allow.lease_ms = 0;
}

/* What must be let go at the end of the request, if anything. False without memory. */
static bool add_reservation(struct admission *a, const struct header *h, const struct asker *who,
                            struct key *key, uint64_t tokens, uint64_t now_ns)
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
    if (key->is.concurrent)
        reservation_take_slot(a->reservations, reservation, now_ns, false);
    return true;
}

void admission_decide(struct admission *a, const struct asker *who, const struct header *h,
                      const struct authorize *ask, struct moment now, struct verdict *out)
{
    out->deny = (struct deny){0};
    struct key *key = keys_find_digest(a->keys, ask->key_digest);
    if (refuse_key(out, key, now.wall_ms))
        return;
    if (refuse_response(a, out, key, ask))
        return;
    if (ask->model.len == 0) { /* /v1/models: a valid key is all it takes */
        allow_key(a, out, key, now.wall_ms);
        out->allow.lease_ms = 0;
        return;
    }
    struct lease_party party = {who->edge, key, ask->model};
    if (ask->lease_ended)
        lease_report(a->leases, &party, now.now_ns, ask->lease_used, ask->lease_used_tokens);
    else
        lease_asked_again(a->leases, &party, now.now_ns);
    if (refuse_model(out, key, ask->model))
        return;
    if (a->store_down) {
        deny(out, key, ERROR_UNAVAILABLE,
             "Usage cannot be recorded at the moment. Please try again later.");
        return;
    }
    uint64_t tokens = ask->input_tokens + ask->output_tokens;
    struct limit_set set;
    const struct config_model *m = limits_of(a, key, ask->model, &set);
    bool again =
        reservation_find(a->reservations, &h->id) != NULL; /* asked before: the answer got lost */
    if (!again && refuse_limits(a, out, key, m, &set, tokens, now.now_ns))
        return;
    if (!again && !add_reservation(a, h, who, key, tokens, now.now_ns)) {
        deny(out, key, ERROR_OVERLOADED, "Too many requests are in flight.");
        return;
    }
    if (!again)
        limit_set_charge(a->limits, &set, now.now_ns, 1, tokens);
    allow_key(a, out, key, now.wall_ms);
    FILL_VIEWS(&out->allow, &set, now.now_ns);
    add_lease(a, out, &party, who->edges, &set, tokens, now.now_ns);
}
