#include <stdio.h>

#include "services/auth/admission_parts.h"

void refusal_deny(struct verdict *v, const struct key *key, enum error_class why,
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

bool refusal_of_key(struct verdict *v, const struct key_secret *secret, uint64_t wall_ms)
{
    if (!secret) {
        refusal_deny(v, NULL, ERROR_BAD_KEY, "Incorrect API key provided.");
        return true;
    }
    const struct key *key = secret->key;
    if (key->is.revoked_ms) {
        refusal_deny(v, key, ERROR_BAD_KEY, "This API key has been revoked.");
        return true;
    }
    if (key->is.blocked_ms) {
        refusal_deny(v, key, ERROR_BAD_KEY, "This API key is blocked.");
        return true;
    }
    if (key->is.expires_ms && wall_ms >= key->is.expires_ms) {
        refusal_deny(v, key, ERROR_BAD_KEY, "This API key has expired.");
        return true;
    }
    if (wall_ms >= key_secret_until_ms(secret)) {
        refusal_deny(v, key, ERROR_BAD_KEY, "This API key has been replaced by a new one.");
        return true;
    }
    return false;
}

/* One that nobody here has made, or another key: in the words that any response gets that is not
 * there. No provider is asked about ids that clients make up. */
bool refusal_of_response(const struct admission *a, struct verdict *v, const struct key *key,
                         const struct authorize *ask)
{
    bool by_id = ask->model.len == 0;
    if (!a->responses || !ask->response_id.len ||
        stored_responses_find(a->responses, ask->response_id, key->is.id, NULL) == RESPONSE_OWN)
        return false;
    (void)snprintf(v->message, sizeof v->message, "%s with id '%.*s' not found.",
                   by_id ? "Response" : "Previous response",
                   SPAN_ARG(span_first(ask->response_id, 150)));
    refusal_deny(v, key, by_id ? ERROR_NOT_FOUND : ERROR_BAD_REQUEST, v->message);
    if (!by_id) {
        v->deny.code = SPAN("previous_response_not_found");
        v->deny.param = SPAN("previous_response_id");
    }
    return true;
}

bool refusal_of_model(struct verdict *v, const struct key *key, struct span model)
{
    if (key_may_use(key, model))
        return false;
    (void)snprintf(v->message, sizeof v->message, "This API key may not use the model '%.*s'.",
                   (int)(model.len < 200 ? model.len : 200), model.len ? model.data : "");
    refusal_deny(v, key, ERROR_MODEL_NOT_ALLOWED, v->message);
    return true;
}

void refusal_count(const struct admission *a, const struct key *key, const struct config_model *m,
                   const char *limit)
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

bool refusal_of_rate(const struct admission *a, struct verdict *v, const struct key *key,
                     const struct config_model *m, const struct limit_set *set, uint64_t tokens,
                     uint64_t now_ns)
{
    struct limit_refusal refusal;
    if (limit_set_check(set, now_ns, 1, tokens, &refusal))
        return false;
    explain_limit(v, key, &refusal);
    bool never = refusal.wait_ns == GCRA_NEVER;
    refusal_deny(v, key, never ? ERROR_LIMIT_TOO_SMALL : ERROR_RATE_LIMITED, v->message);
    if (!never)
        v->deny.retry_after_ms = (refusal.wait_ns + MS_NS - 1) / MS_NS;
    refusal_count(a, key, m, refusal.limit->label);
    FILL_VIEWS(&v->deny, set, now_ns);
    return true;
}
