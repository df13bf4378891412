#include "services/auth/keys/key.h"

#include <stdio.h>
#include <stdlib.h>

void key_free_parts(struct key *key)
{
    for (size_t i = 0; i < key->rule_count; i++)
        free(key->rules[i].pattern);
    free(key->rules);
    free(key->text_);
}

/* Copies the views behind each other into memory of the key's own. */
static enum err own_text(struct key *key)
{
    struct span *views[] = {&key->is.id,     &key->is.name,         &key->is.hint,
                            &key->is.models, &key->is.model_limits, &key->is.tags};
    size_t bytes = 1;
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        bytes += views[i]->len;
    key->text_ = malloc(bytes);
    if (!key->text_)
        return ERR_NOMEM;
    char *at = key->text_;
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (views[i]->len)
            memcpy(at, views[i]->data, views[i]->len);
        views[i]->data = at;
        at += views[i]->len;
    }
    return OK;
}

static struct limit *own_limit(struct limits *limits, const struct key *key, const char *what,
                               const char *label, enum limit_unit unit, struct gcra_rate rate,
                               uint64_t now_ns)
{
    char name[LIMIT_NAME_BYTES];
    (void)snprintf(name, sizeof name, "key:%.*s:%s", SPAN_ARG(key->is.id), what);
    return limits_get(limits, span_str(name), label, unit, rate, now_ns);
}

static enum err make_limits(struct limits *limits, struct key *key, uint64_t now_ns)
{
    const struct {
        uint64_t count;
        uint64_t period_ns;
        const char *what;
        const char *label;
        enum limit_unit unit;
    } own[] = {
        {key->is.requests_per_minute, GCRA_MINUTE, "requests/minute", "key_requests",
         LIMIT_REQUESTS},
        {key->is.requests_per_hour, GCRA_HOUR, "requests/hour", "key_requests", LIMIT_REQUESTS},
        {key->is.tokens_per_minute, GCRA_MINUTE, "tokens/minute", "key_tokens", LIMIT_TOKENS}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (own[i].count == 0)
            continue;
        struct gcra_rate rate = {own[i].count, own[i].period_ns, own[i].count};
        struct limit *limit =
            own_limit(limits, key, own[i].what, own[i].label, own[i].unit, rate, now_ns);
        if (!limit)
            return ERR_NOMEM;
        (void)limit_set_add(&key->limits, limit);
        if (own[i].unit == LIMIT_TOKENS)
            key->tokens = limit;
    }
    return OK;
}

static enum err make_rules(struct limits *limits, struct key *key, uint64_t now_ns)
{
    struct span list = key->is.model_limits;
    key->rules = calloc(KEY_RULES_MAX, sizeof *key->rules);
    if (!key->rules)
        return ERR_NOMEM;
    while (list.len && key->rule_count < KEY_RULES_MAX) {
        struct span pattern;
        struct gcra_rate rate;
        if (!key_rule_parse(span_cut(&list, ','), &pattern, &rate))
            return ERR_INVALID;
        char what[LIMIT_NAME_BYTES / 2 + 8];
        (void)snprintf(what, sizeof what, "model:%.*s", SPAN_ARG(pattern));
        struct key_rule *rule = &key->rules[key->rule_count];
        rule->limit = own_limit(limits, key, what, "key_model", LIMIT_REQUESTS, rate, now_ns);
        rule->pattern = strndup(pattern.data, pattern.len);
        if (!rule->limit || !rule->pattern) {
            free(rule->pattern);
            return ERR_NOMEM;
        }
        key->rule_count++;
    }
    return OK;
}

enum err key_make_parts(struct key *key, struct limits *limits, uint64_t now_ns)
{
    enum err e = own_text(key);
    if (!e)
        e = make_limits(limits, key, now_ns);
    if (!e)
        e = make_rules(limits, key, now_ns);
    return e;
}

bool key_may_use(const struct key *key, struct span model)
{
    struct span list = key->is.models;
    if (list.len == 0)
        return true;
    while (list.len) {
        if (pattern_matches(span_trim(span_cut(&list, ',')), model))
            return true;
    }
    return false;
}

void key_limits(const struct key *key, struct span model, struct limit_set *set)
{
    *set = key->limits;
    for (size_t i = 0; i < key->rule_count; i++) {
        if (pattern_matches(span_str(key->rules[i].pattern), model))
            (void)limit_set_add(set, key->rules[i].limit);
    }
}
