#include "services/auth/admin/key_commands.h"

#include "common/base/log.h"

enum { MOST = 1000000000, OVERLAP_MAX_DAYS = 366 };
#define DAY_MS ((uint64_t)86400000)

static const char no_such_key[] = "no such key";

static const char *state_of(const struct key_attributes *a, uint64_t wall_ms)
{
    return a->revoked_ms                               ? "revoked"
           : a->blocked_ms                             ? "blocked"
           : a->expires_ms && wall_ms >= a->expires_ms ? "expired"
                                                       : "valid";
}

static void write_key(struct json_writer *w, const struct key_attributes *a, uint64_t wall_ms)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"created_ms", a->created_ms},
                   {"changed_ms", a->changed_ms},
                   {"expires_ms", a->expires_ms},
                   {"revoked_ms", a->revoked_ms},
                   {"blocked_ms", a->blocked_ms},
                   {"old_secret_until_ms", a->before_until_ms > wall_ms ? a->before_until_ms : 0},
                   {"requests_per_minute", a->requests_per_minute},
                   {"requests_per_hour", a->requests_per_hour},
                   {"tokens_per_minute", a->tokens_per_minute},
                   {"concurrent", a->concurrent}};
    const struct {
        const char *name;
        struct span value;
    } texts[] = {{"id", a->id},         {"name", a->name},
                 {"hint", a->hint},     {"state", span_str(state_of(a, wall_ms))},
                 {"models", a->models}, {"model_limits", a->model_limits},
                 {"tags", a->tags}};
    jw_object(w);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        jw_key(w, texts[i].name);
        jw_string(w, texts[i].value);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        jw_key(w, numbers[i].name);
        jw_u64(w, numbers[i].value);
    }
    jw_object_end(w);
}

static bool answer_key(struct admin_call *c, const struct key_attributes *a)
{
    struct json_writer w = admin_begin_answer(c);
    jw_key(&w, "key");
    write_key(&w, a, c->wall_ms);
    if (c->secret[0]) {
        jw_key(&w, "secret");
        jw_str(&w, c->secret);
    }
    jw_object_end(&w);
    return true;
}

struct key *admin_named_key(const struct admin_call *c, struct json request, struct arena *arena)
{
    struct span text = json_string(json_get(request, "key"), arena);
    struct key *key = keys_find_id(c->host->keys, text);
    if (!key)
        key = keys_find_name(c->host->keys, text);
    return key ? key : keys_find_revoked(c->host->keys, text);
}

/* ---- what a person gives ---- */

/* Those that are there go into `a`, and their bits into *fields_out. */
static bool read_texts(struct json request, struct arena *arena, struct key_attributes *a,
                       unsigned *fields_out)
{
    const struct {
        const char *name;
        unsigned field;
        struct span *out;
    } texts[] = {{"name", KEY_NAME, &a->name},
                 {"models", KEY_MODELS, &a->models},
                 {"model_limits", KEY_MODEL_LIMITS, &a->model_limits},
                 {"tags", KEY_TAGS, &a->tags}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct json v = json_get(request, texts[i].name);
        if (json_absent(v))
            continue;
        if (json_type(v) != JSON_STRING)
            return false;
        *texts[i].out = json_string(v, arena);
        *fields_out |= texts[i].field;
    }
    return true;
}

static bool read_numbers(struct json request, struct key_attributes *a, unsigned *fields_out)
{
    const uint64_t most = (uint64_t)MOST * 1000;
    uint64_t concurrent = 0;
    const struct {
        const char *name;
        unsigned field;
        uint64_t most;
        uint64_t *out;
    } numbers[] = {{"requests_per_minute", KEY_PER_MINUTE, most, &a->requests_per_minute},
                   {"requests_per_hour", KEY_PER_HOUR, most, &a->requests_per_hour},
                   {"tokens_per_minute", KEY_TOKENS, most, &a->tokens_per_minute},
                   {"expires_ms", KEY_EXPIRES, INT64_MAX, &a->expires_ms},
                   {"concurrent", KEY_CONCURRENT, 1000000, &concurrent}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!admin_read_count(request, numbers[i].name, numbers[i].most, numbers[i].out))
            return false;
        if (!json_absent(json_get(request, numbers[i].name)))
            *fields_out |= numbers[i].field;
    }
    a->concurrent = (uint32_t)concurrent;
    return true;
}

/* NULL, or what is wrong with it. */
static const char *read_attributes(const struct admin_call *c, struct json request,
                                   struct arena *arena, struct key_attributes *a,
                                   unsigned *fields_out)
{
    *fields_out = 0;
    if (!read_texts(request, arena, a, fields_out))
        return "name, models, model_limits and tags are strings";
    if (!read_numbers(request, a, fields_out))
        return "limits are whole numbers, 0 for none";
    if ((*fields_out & KEY_EXPIRES) && a->expires_ms && a->expires_ms <= c->wall_ms)
        return "the expiry is in the past";
    return NULL;
}

static bool read_digest(struct json v, uint8_t out[SHA256_BYTES])
{
    struct span text = json_text(v);
    if (json_type(v) != JSON_STRING || text.len != 2 * SHA256_BYTES)
        return false;
    return crypto_unhex(text, out, SHA256_BYTES);
}

/* ---- commands ---- */

/* Its secret is made here, or exists elsewhere. */
static const char *give_secret(struct admin_call *c, struct json request, struct arena *arena,
                               struct key_attributes *a, char hint[KEY_HINT_BYTES])
{
    struct json digest = json_get(request, "digest");
    uint8_t bytes[SHA256_BYTES];
    if (json_absent(digest)) {
        keys_new_secret(c->host->keys, a, c->secret, hint);
        return NULL;
    }
    if (!read_digest(digest, bytes))
        return "digest is the key's SHA-256 as 64 hex digits";
    if (keys_find_digest(c->host->keys, span_of(bytes, sizeof bytes)))
        return "there is a key with that secret";
    keys_take_secret(c->host->keys, a, bytes);
    a->hint = json_string(json_get(request, "hint"), arena);
    return a->hint.len < KEY_HINT_BYTES ? NULL : "hint is the key's last four characters at most";
}

static bool key_create(struct admin_call *c, struct json request, struct arena *arena)
{
    char id[KEY_ID_BYTES], hint[KEY_HINT_BYTES];
    unsigned fields;
    struct store_op op = {.kind = STORE_KEY_ADD, .tag = c->tag};
    const char *why = read_attributes(c, request, arena, &op.key, &fields);
    if (why || keys_check(&op.key, &why))
        return admin_refuse(c, why);
    if (keys_find_name(c->host->keys, op.key.name))
        return admin_refuse(c,
                            "there is a key of that name; revoke it first, or choose another name");
    op.key.created_ms = c->wall_ms;
    keys_new_id(&op.key, id);
    why = give_secret(c, request, arena, &op.key, hint);
    return why ? admin_refuse(c, why) : admin_submit(c, &op);
}

void key_created(struct admin_call *c, const struct store_op *op)
{
    if (keys_add(c->host->keys, &op->key))
        (void)admin_refuse(c,
                           "the key is stored, but auth has no memory left for it; restart auth");
    else
        (void)answer_key(c, &op->key);
}

static bool change(struct admin_call *c, const struct key *key, struct store_op *op,
                   unsigned fields)
{
    op->kind = STORE_KEY_CHANGE;
    op->tag = c->tag;
    op->key.id = key->is.id;
    op->key.changed_ms = c->wall_ms ? c->wall_ms : 1;
    op->key_fields = fields;
    return admin_submit(c, op);
}

void key_changed(struct admin_call *c, const struct store_op *op)
{
    struct key *key = keys_find_id(c->host->keys, op->key.id);
    if (!key)
        (void)admin_refuse(c, no_such_key);
    else if (c->host->on_changed(c->host->ctx, key, &op->key, op->key_fields))
        (void)admin_refuse(
            c, "the change is stored, but auth has no memory left for it; restart auth");
    else
        (void)answer_key(c, &key->is);
}

static bool key_update(struct admin_call *c, struct json request, struct arena *arena)
{
    const struct key *key = admin_named_key(c, request, arena);
    struct store_op op = {0};
    unsigned fields;
    if (!key)
        return admin_refuse(c, no_such_key);
    const char *why = read_attributes(c, request, arena, &op.key, &fields);
    if (why)
        return admin_refuse(c, why);
    struct key_attributes merged = key->is;
    key_attributes_merge(&merged, &op.key, fields);
    if (keys_check(&merged, &why))
        return admin_refuse(c, why);
    if (!fields)
        return admin_refuse(c, "nothing to change");
    const struct key *other = keys_find_name(c->host->keys, merged.name);
    if (other && other != key && !key->is.revoked_ms)
        return admin_refuse(c, "there is a key of that name");
    return change(c, key, &op, fields);
}

static bool key_rotate(struct admin_call *c, struct json request, struct arena *arena)
{
    const struct key *key = admin_named_key(c, request, arena);
    struct store_op op = {0};
    char hint[KEY_HINT_BYTES];
    uint64_t overlap_ms;
    if (!key)
        return admin_refuse(c, no_such_key);
    if (key->is.revoked_ms)
        return admin_refuse(c, "the key is revoked");
    if (!admin_read_count(request, "overlap_ms", OVERLAP_MAX_DAYS * DAY_MS, &overlap_ms))
        return admin_refuse(c, "the old secret stays valid for a year at most");
    keys_new_secret(c->host->keys, &op.key, c->secret, hint);
    op.key.before_until_ms = overlap_ms ? c->wall_ms + overlap_ms : 0;
    return change(c, key, &op, KEY_SECRET);
}

static bool set_blocked(struct admin_call *c, struct json request, struct arena *arena,
                        uint64_t blocked_ms)
{
    const struct key *key = admin_named_key(c, request, arena);
    struct store_op op = {.key.blocked_ms = blocked_ms};
    if (!key)
        return admin_refuse(c, no_such_key);
    if (!key->is.blocked_ms == !blocked_ms)
        return answer_key(c, &key->is);
    return change(c, key, &op, KEY_BLOCKED);
}

static bool key_block(struct admin_call *c, struct json request, struct arena *arena)
{
    return set_blocked(c, request, arena, c->wall_ms ? c->wall_ms : 1);
}

static bool key_unblock(struct admin_call *c, struct json request, struct arena *arena)
{
    return set_blocked(c, request, arena, 0);
}

static bool key_revoke(struct admin_call *c, struct json request, struct arena *arena)
{
    const struct key *key = admin_named_key(c, request, arena);
    struct store_op op = {.key.revoked_ms = c->wall_ms ? c->wall_ms : 1};
    if (!key)
        return admin_refuse(c, no_such_key);
    if (key->is.revoked_ms)
        return answer_key(c, &key->is);
    return change(c, key, &op, KEY_REVOKED);
}

static bool key_delete(struct admin_call *c, struct json request, struct arena *arena)
{
    const struct key *key = admin_named_key(c, request, arena);
    if (!key)
        return admin_refuse(c, no_such_key);
    if (!key->is.revoked_ms) /* a slip of the keyboard must not take a key that cannot come back */
        return admin_refuse(c, "the key is not revoked; revoke it, then delete it");
    struct store_op op = {.kind = STORE_KEY_DELETE, .tag = c->tag, .key.id = key->is.id};
    return admin_submit(c, &op);
}

void key_deleted(struct admin_call *c, const struct store_op *op)
{
    struct key *key = keys_find_id(c->host->keys, op->key.id);
    if (!key) {
        (void)admin_refuse(c, no_such_key);
        return;
    }
    (void)answer_key(c, &key->is);
    c->host->on_deleted(c->host->ctx, key);
}

static bool has_tag(struct span tags, struct span wanted)
{
    while (tags.len) {
        if (span_equals(span_trim(span_cut(&tags, ',')), wanted))
            return true;
    }
    return false;
}

static bool key_list(struct admin_call *c, struct json request, struct arena *arena)
{
    struct span state = json_string(json_get(request, "state"), arena);
    struct span name = json_string(json_get(request, "name"), arena);
    struct span tag = json_string(json_get(request, "tag"), arena);
    struct json_writer w = admin_begin_answer(c);
    jw_key(&w, "keys");
    jw_array(&w);
    for (const struct key *k = keys_first(c->host->keys); k; k = k->next) {
        if ((!state.len || span_is(state, state_of(&k->is, c->wall_ms))) &&
            (!name.len || pattern_matches(name, k->is.name)) &&
            (!tag.len || has_tag(k->is.tags, tag)))
            write_key(&w, &k->is, c->wall_ms);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    return true;
}

static bool key_show(struct admin_call *c, struct json request, struct arena *arena)
{
    const struct key *key = admin_named_key(c, request, arena);
    return key ? answer_key(c, &key->is) : admin_refuse(c, no_such_key);
}

/* Kept by the next writing of limits, like every change of them. */
static bool key_reset_limits(struct admin_call *c, struct json request, struct arena *arena)
{
    const struct key *key = admin_named_key(c, request, arena);
    if (!key)
        return admin_refuse(c, no_such_key);
    keys_forgive(c->host->keys, key);
    log_info("key_limits_reset", LSPAN("key_id", key->is.id), LSPAN("key_name", key->is.name));
    return answer_key(c, &key->is);
}

const struct admin_command key_commands[] = {
    {"key.create", key_create},   {"key.list", key_list},
    {"key.show", key_show},       {"key.update", key_update},
    {"key.rotate", key_rotate},   {"key.block", key_block},
    {"key.unblock", key_unblock}, {"key.revoke", key_revoke},
    {"key.delete", key_delete},   {"key.reset_limits", key_reset_limits}};
const size_t key_command_count = sizeof key_commands / sizeof key_commands[0];
