#include "services/auth/keys/keys.h"

#include <stdlib.h>
#include <utlist.h>

struct keys {
    struct table by_stored;
    struct table by_id;
    struct table by_digest;
    struct key *first;
    size_t count, tagged; /* of these, so many have tags */
    uint64_t last_changed_ms;
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
    key_free_parts(key);
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

static void stored_form(const struct keys *k, const uint8_t digest[SHA256_BYTES],
                        uint8_t out[SHA256_BYTES])
{
    crypto_hmac_sha256(span_of(k->pepper, PEPPER_BYTES), span_of(digest, SHA256_BYTES), out);
}

void keys_new_id(struct key_attributes *a, char id_out[KEY_ID_BYTES])
{
    uint8_t id[8];
    crypto_random(id, sizeof id);
    memcpy(id_out, "key_", 4);
    crypto_hex(id, sizeof id, id_out + 4);
    a->id = span_str(id_out);
}

void keys_new_secret(const struct keys *k, struct key_attributes *a, char text_out[KEY_TEXT_BYTES],
                     char hint_out[KEY_HINT_BYTES])
{
    uint8_t secret[32], digest[SHA256_BYTES];
    crypto_random(secret, sizeof secret);
    memcpy(text_out, "sk-", 3);
    crypto_hex(secret, sizeof secret, text_out + 3);
    memcpy(hint_out, text_out + KEY_TEXT_BYTES - KEY_HINT_BYTES, KEY_HINT_BYTES);
    crypto_sha256(span_of(text_out, KEY_TEXT_BYTES - 1), digest);
    stored_form(k, digest, a->stored);
    a->hint = span_str(hint_out);
    crypto_wipe(secret, sizeof secret);
    crypto_wipe(digest, sizeof digest);
}

void keys_take_secret(const struct keys *k, struct key_attributes *a,
                      const uint8_t digest[SHA256_BYTES])
{
    stored_form(k, digest, a->stored);
}

static void drop_secret(struct keys *k, struct key_secret *s)
{
    if (!s->used)
        return;
    table_remove(&k->by_stored, &s->by_stored);
    if (s->digest_known)
        table_remove(&k->by_digest, &s->by_digest);
    s->used = s->digest_known = false;
}

static enum err add_secret(struct keys *k, struct key *key, struct key_secret *s,
                           const uint8_t stored[SHA256_BYTES])
{
    memcpy(s->stored, stored, SHA256_BYTES);
    s->key = key;
    enum err e = table_add(&k->by_stored, &s->by_stored, hash_of(stored));
    s->used = e == OK;
    return e;
}

static enum err add_secrets(struct keys *k, struct key *key)
{
    enum err e = add_secret(k, key, &key->secrets[0], key->is.stored);
    if (!e && key->is.before_until_ms)
        e = add_secret(k, key, &key->secrets[1], key->is.before);
    return e;
}

static void drop_secrets(struct keys *k, struct key *key)
{
    for (size_t i = 0; i < KEY_SECRETS; i++)
        drop_secret(k, &key->secrets[i]);
}

static void note_change(struct keys *k, const struct key_attributes *a)
{
    uint64_t last = a->revoked_ms > a->changed_ms ? a->revoked_ms : a->changed_ms;
    if (last > k->last_changed_ms)
        k->last_changed_ms = last;
}

enum err keys_add(struct keys *k, const struct key_attributes *a)
{
    if (keys_find_id(k, a->id))
        return ERR_EXISTS;
    struct key *key = calloc(1, sizeof *key);
    if (!key)
        return ERR_NOMEM;
    key->is = *a;
    enum err e = key_make_parts(key, k->limits, 0);
    if (!e)
        e = add_secrets(k, key);
    if (!e)
        e = table_add(&k->by_id, &key->by_id, table_hash(0, key->is.id));
    if (e) {
        drop_secrets(k, key);
        free_key(key);
        return e;
    }
    DL_APPEND(k->first, key);
    k->count++;
    k->tagged += key->is.tags.len > 0;
    note_change(k, &key->is);
    return OK;
}

enum err keys_change(struct keys *k, struct key *key, const struct key_attributes *change,
                     unsigned fields, uint64_t now_ns)
{
    struct key made = {.is = key->is};
    key_attributes_merge(&made.is, change, fields);
    enum err e = key_make_parts(&made, k->limits, now_ns);
    if (e) {
        key_free_parts(&made);
        return e;
    }
    k->tagged += made.is.tags.len > 0;
    k->tagged -= key->is.tags.len > 0;
    key_free_parts(key);
    table_remove(&k->by_id, &key->by_id);
    key->is = made.is;
    key->limits = made.limits;
    key->tokens = made.tokens;
    key->rules = made.rules;
    key->rule_count = made.rule_count;
    key->text_ = made.text_;
    e = table_add(&k->by_id, &key->by_id, table_hash(0, key->is.id));
    if (!e && (fields & KEY_SECRET)) {
        drop_secrets(k, key);
        e = add_secrets(k, key);
    }
    note_change(k, &key->is);
    return e;
}

void keys_delete(struct keys *k, struct key **out, uint64_t now_wall_ms)
{
    struct key *key = *out;
    *out = NULL;
    drop_secrets(k, key);
    table_remove(&k->by_id, &key->by_id);
    DL_DELETE(k->first, key);
    k->count--;
    k->tagged -= key->is.tags.len > 0;
    if (now_wall_ms > k->last_changed_ms)
        k->last_changed_ms = now_wall_ms;
    free_key(key);
}

void keys_forgive(struct keys *k, const struct key *key)
{
    for (size_t i = 0; i < key->limits.count; i++)
        limit_forgive(k->limits, key->limits.limits[i]);
    for (size_t i = 0; i < key->rule_count; i++)
        limit_forgive(k->limits, key->rules[i].limit);
}

static struct key_secret *find_stored(struct keys *k, const uint8_t digest[SHA256_BYTES])
{
    uint8_t stored[SHA256_BYTES], dummy[SHA256_BYTES] = {0};
    stored_form(k, digest, stored);
    struct key_secret *found = NULL;
    bool compared = false;
    for (struct table_node *n = table_first(&k->by_stored, hash_of(stored)); n; n = table_next(n)) {
        struct key_secret *s = TABLE_OWNER(n, struct key_secret, by_stored);
        compared = true;
        if (crypto_equals(s->stored, stored, SHA256_BYTES))
            found = s;
    }
    if (!compared && crypto_equals(dummy, stored, SHA256_BYTES))
        return NULL; /* a miss costs a compare as well */
    return found;
}

const struct key_secret *keys_find_secret(struct keys *k, struct span digest)
{
    if (digest.len != SHA256_BYTES)
        return NULL;
    uint8_t bytes[SHA256_BYTES];
    memcpy(bytes, digest.data, SHA256_BYTES);
    uint64_t hash = hash_of(bytes);
    for (struct table_node *n = table_first(&k->by_digest, hash); n; n = table_next(n)) {
        struct key_secret *s = TABLE_OWNER(n, struct key_secret, by_digest);
        if (crypto_equals(s->digest, bytes, SHA256_BYTES))
            return s;
    }
    struct key_secret *s = find_stored(k, bytes);
    if (s && !s->digest_known && table_add(&k->by_digest, &s->by_digest, hash) == OK) {
        memcpy(s->digest, bytes, SHA256_BYTES);
        s->digest_known = true; /* from now on without the HMAC */
    }
    return s;
}

struct key *keys_find_digest(struct keys *k, struct span digest)
{
    const struct key_secret *s = keys_find_secret(k, digest);
    return s ? s->key : NULL;
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

struct key *keys_find_revoked(const struct keys *k, struct span name)
{
    struct key *found = NULL;
    for (struct key *key = k->first; key; key = key->next) {
        bool newer = !found || key->is.revoked_ms >= found->is.revoked_ms;
        if (key->is.revoked_ms && newer && span_equals(key->is.name, name))
            found = key;
    }
    return found;
}

const struct key *keys_first(const struct keys *k)
{
    return k->first;
}

size_t keys_count(const struct keys *k)
{
    return k->count;
}

uint64_t keys_last_changed_ms(const struct keys *k)
{
    return k->last_changed_ms;
}

struct span keys_tags(const struct keys *k, struct span id)
{
    const struct key *key = k->tagged && id.len ? keys_find_id(k, id) : NULL;
    return key ? key->is.tags : SPAN_NONE;
}
