#include "services/auth/keys/keys.h"

#include <stdio.h>
#include <stdlib.h>

struct keys {
    struct table by_stored;
    struct table by_id;
    struct table by_digest;
    struct key *first, *last;
    size_t count;
    uint64_t last_revoked_ms;
    struct limits *limits;
    uint8_t pepper[PEPPER_BYTES];
};

static uint64_t hash_of(const uint8_t digest[SHA256_BYTES])
{
    uint64_t h;
    memcpy(&h, digest, sizeof h);
    return h;
}

enum err keys_create(struct keys **out, const uint8_t pepper[PEPPER_BYTES], struct limits *limits)
{
    struct keys *k = calloc(1, sizeof *k);
    if (!k)
        return ERR_NOMEM;
    memcpy(k->pepper, pepper, PEPPER_BYTES);
    k->limits = limits;
    *out = k;
    return OK;
}

static void free_key(struct key *key)
{
    for (size_t i = 0; i < key->rule_count; i++)
        free(key->rules[i].pattern);
    free(key->rules);
    free(key->text_);
    free(key);
}

void keys_destroy(struct keys **k)
{
    if (!*k)
        return;
    for (struct key *key = (*k)->first, *after; key; key = after) {
        after = key->next;
        free_key(key);
    }
    table_free(&(*k)->by_stored);
    table_free(&(*k)->by_id);
    table_free(&(*k)->by_digest);
    crypto_wipe((*k)->pepper, PEPPER_BYTES);
    free(*k);
    *k = NULL;
}

bool pattern_matches(struct span pattern, struct span text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.len && pattern.data[p] == text.data[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

static bool printable(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

static bool rule_parse(struct span text, struct span *pattern_out, struct gcra_rate *rate_out)
{
    *pattern_out = span_trim(span_cut(&text, '='));
    return pattern_out->len > 0 && gcra_rate_parse(text, rate_out);
}

static bool rules_are_valid(struct span list)
{
    size_t count = 0;
    while (list.len) {
        struct span pattern;
        struct gcra_rate rate;
        if (!rule_parse(span_cut(&list, ','), &pattern, &rate) || ++count > KEY_RULES_MAX ||
            pattern.len > LIMIT_NAME_BYTES / 2)
            return false;
    }
    return true;
}

enum err keys_check(const struct key_attributes *a, const char **why_out)
{
    *why_out = NULL;
    if (a->name.len == 0 || a->name.len > KEY_NAME_MAX || !printable(a->name))
        *why_out = "a name of 1 to 64 printable bytes is needed";
    else if (a->models.len > KEY_MODELS_MAX || !printable(a->models))
        *why_out = "the list of models is too long or not printable";
    else if (a->model_limits.len > KEY_MODELS_MAX || !rules_are_valid(a->model_limits))
        *why_out = "model limits are up to four of MODEL=COUNT/PERIOD, for example gpt-4=100/hour";
    return *why_out ? ERR_INVALID : OK;
}

static void stored_form(const struct keys *k, const uint8_t digest[SHA256_BYTES],
                        uint8_t out[SHA256_BYTES])
{
    crypto_hmac_sha256(span_of(k->pepper, PEPPER_BYTES), span_of(digest, SHA256_BYTES), out);
}

void keys_generate(const struct keys *k, struct key_attributes *a, char text_out[KEY_TEXT_BYTES],
                   char id_out[KEY_ID_BYTES], char hint_out[KEY_HINT_BYTES])
{
    uint8_t secret[32], id[8], digest[SHA256_BYTES];
    crypto_random(secret, sizeof secret);
    crypto_random(id, sizeof id);
    memcpy(text_out, "sk-", 3);
    crypto_hex(secret, sizeof secret, text_out + 3);
    memcpy(id_out, "key_", 4);
    crypto_hex(id, sizeof id, id_out + 4);
    memcpy(hint_out, text_out + KEY_TEXT_BYTES - KEY_HINT_BYTES, KEY_HINT_BYTES);
    crypto_sha256(span_of(text_out, KEY_TEXT_BYTES - 1), digest);
    stored_form(k, digest, a->stored);
    a->id = span_str(id_out);
    a->hint = span_str(hint_out);
    crypto_wipe(secret, sizeof secret);
    crypto_wipe(digest, sizeof digest);
}

/* Copies the views behind each other into memory of the key's own. */
static enum err own_text(struct key *key)
{
    struct span *views[] = {&key->is.id, &key->is.name, &key->is.hint, &key->is.models,
                            &key->is.model_limits};
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

static struct limit *own_limit(struct keys *k, const struct key *key, const char *what,
                               const char *label, enum limit_unit unit, struct gcra_rate rate)
{
    char name[LIMIT_NAME_BYTES];
    (void)snprintf(name, sizeof name, "key:%.*s:%s", SPAN_ARG(key->is.id), what);
    return limits_get(k->limits, span_str(name), label, unit, rate);
}

static enum err make_limits(struct keys *k, struct key *key)
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
        struct limit *limit = own_limit(k, key, own[i].what, own[i].label, own[i].unit, rate);
        if (!limit)
            return ERR_NOMEM;
        (void)limit_set_add(&key->limits, limit);
        if (own[i].unit == LIMIT_TOKENS)
            key->tokens = limit;
    }
    return OK;
}

static enum err make_rules(struct keys *k, struct key *key)
{
    struct span list = key->is.model_limits;
    key->rules = calloc(KEY_RULES_MAX, sizeof *key->rules);
    if (!key->rules)
        return ERR_NOMEM;
    while (list.len && key->rule_count < KEY_RULES_MAX) {
        struct span pattern;
        struct gcra_rate rate;
        if (!rule_parse(span_cut(&list, ','), &pattern, &rate))
            return ERR_INVALID;
        char what[LIMIT_NAME_BYTES / 2 + 8];
        (void)snprintf(what, sizeof what, "model:%.*s", SPAN_ARG(pattern));
        struct key_rule *rule = &key->rules[key->rule_count];
        rule->limit = own_limit(k, key, what, "key_model", LIMIT_REQUESTS, rate);
        rule->pattern = strndup(pattern.data, pattern.len);
        if (!rule->limit || !rule->pattern) {
            free(rule->pattern);
            return ERR_NOMEM;
        }
        key->rule_count++;
    }
    return OK;
}

enum err keys_add(struct keys *k, const struct key_attributes *a)
{
    if (keys_find_id(k, a->id))
        return ERR_EXISTS;
    struct key *key = calloc(1, sizeof *key);
    if (!key)
        return ERR_NOMEM;
    key->is = *a;
    enum err e = own_text(key);
    if (!e)
        e = make_limits(k, key);
    if (!e)
        e = make_rules(k, key);
    if (!e)
        e = table_add(&k->by_stored, &key->by_stored, hash_of(key->is.stored));
    if (!e && (e = table_add(&k->by_id, &key->by_id, table_hash(0, key->is.id))))
        table_remove(&k->by_stored, &key->by_stored);
    if (e) {
        free_key(key);
        return e;
    }
    *(k->last ? &k->last->next : &k->first) = key;
    k->last = key;
    k->count++;
    if (key->is.revoked_ms > k->last_revoked_ms)
        k->last_revoked_ms = key->is.revoked_ms;
    return OK;
}

void keys_forgive(struct keys *k, const struct key *key)
{
    for (size_t i = 0; i < key->limits.count; i++)
        limit_forgive(k->limits, key->limits.limits[i]);
    for (size_t i = 0; i < key->rule_count; i++)
        limit_forgive(k->limits, key->rules[i].limit);
}

void keys_revoke(struct keys *k, struct key *key, uint64_t now_wall_ms)
{
    key->is.revoked_ms = now_wall_ms ? now_wall_ms : 1;
    if (key->is.revoked_ms > k->last_revoked_ms)
        k->last_revoked_ms = key->is.revoked_ms;
}

static struct key *find_stored(struct keys *k, const uint8_t digest[SHA256_BYTES])
{
    uint8_t stored[SHA256_BYTES], dummy[SHA256_BYTES] = {0};
    stored_form(k, digest, stored);
    struct key *found = NULL;
    bool compared = false;
    for (struct table_node *n = table_first(&k->by_stored, hash_of(stored)); n; n = table_next(n)) {
        struct key *key = TABLE_OWNER(n, struct key, by_stored);
        compared = true;
        if (crypto_equals(key->is.stored, stored, SHA256_BYTES))
            found = key;
    }
    if (!compared && crypto_equals(dummy, stored, SHA256_BYTES))
        return NULL; /* a miss costs a compare as well */
    return found;
}

struct key *keys_find_digest(struct keys *k, struct span digest)
{
    if (digest.len != SHA256_BYTES)
        return NULL;
    uint8_t bytes[SHA256_BYTES];
    memcpy(bytes, digest.data, SHA256_BYTES);
    uint64_t hash = hash_of(bytes);
    for (struct table_node *n = table_first(&k->by_digest, hash); n; n = table_next(n)) {
        struct key *key = TABLE_OWNER(n, struct key, by_digest);
        if (crypto_equals(key->digest, bytes, SHA256_BYTES))
            return key;
    }
    struct key *key = find_stored(k, bytes);
    if (key && !key->digest_known && table_add(&k->by_digest, &key->by_digest, hash) == OK) {
        memcpy(key->digest, bytes, SHA256_BYTES);
        key->digest_known = true; /* from now on without the HMAC */
    }
    return key;
}

struct key *keys_find_id(const struct keys *k, struct span id)
{
    for (struct table_node *n = table_first(&k->by_id, table_hash(0, id)); n; n = table_next(n)) {
        struct key *key = TABLE_OWNER(n, struct key, by_id);
        if (span_equals(key->is.id, id))
            return key;
    }
    return NULL;
}

struct key *keys_find_name(const struct keys *k, struct span name)
{
    for (struct key *key = k->first; key; key = key->next) {
        if (!key->is.revoked_ms && span_equals(key->is.name, name))
            return key;
    }
    return NULL;
}

const struct key *keys_first(const struct keys *k)
{
    return k->first;
}

size_t keys_count(const struct keys *k)
{
    return k->count;
}

uint64_t keys_last_revoked_ms(const struct keys *k)
{
    return k->last_revoked_ms;
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
