#include "services/auth/admin/admin.h"

#include "common/base/log.h"

enum { USAGE_ROWS_DEFAULT = 1000, USAGE_ROWS_MAX = 100000, ANSWER_MAX = 64 << 20 };

static bool refuse(struct admin_call *c, const char *why)
{
    buf_clear(c->answer);
    struct json_writer w = {.out = c->answer};
    jw_object(&w);
    jw_key(&w, "ok");
    jw_bool(&w, false);
    jw_key(&w, "error");
    jw_str(&w, why);
    jw_object_end(&w);
    return true;
}

static struct json_writer begin_answer(struct admin_call *c)
{
    buf_clear(c->answer);
    struct json_writer w = {.out = c->answer};
    jw_object(&w);
    jw_key(&w, "ok");
    jw_bool(&w, true);
    return w;
}

static bool submit(struct admin_call *c, const struct store_op *op)
{
    if (c->host->submit(c->host->ctx, op))
        return refuse(c, "auth is too busy; try again");
    return false;
}

static void write_key(struct json_writer *w, const struct key_attributes *a, uint64_t wall_ms)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"created_ms", a->created_ms},
                   {"expires_ms", a->expires_ms},
                   {"revoked_ms", a->revoked_ms},
                   {"requests_per_minute", a->requests_per_minute},
                   {"requests_per_hour", a->requests_per_hour},
                   {"tokens_per_minute", a->tokens_per_minute},
                   {"concurrent", a->concurrent}};
    jw_object(w);
    jw_key(w, "id");
    jw_string(w, a->id);
    jw_key(w, "name");
    jw_string(w, a->name);
    jw_key(w, "hint");
    jw_string(w, a->hint);
    jw_key(w, "state");
    jw_str(w, a->revoked_ms                               ? "revoked"
              : a->expires_ms && wall_ms >= a->expires_ms ? "expired"
                                                          : "valid");
    jw_key(w, "models");
    jw_string(w, a->models);
    jw_key(w, "model_limits");
    jw_string(w, a->model_limits);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        jw_key(w, numbers[i].name);
        jw_u64(w, numbers[i].value);
    }
    jw_object_end(w);
}

static bool answer_key(struct admin_call *c, const struct key_attributes *a, const char *secret)
{
    struct json_writer w = begin_answer(c);
    jw_key(&w, "key");
    write_key(&w, a, c->wall_ms);
    if (secret) {
        jw_key(&w, "secret");
        jw_str(&w, secret);
    }
    jw_object_end(&w);
    return true;
}

/* ---- keys ---- */

/* Absent or null: 0. False when it is no whole number from 0 to max. */
static bool read_count(struct json request, const char *name, uint64_t max, uint64_t *out)
{
    struct json v = json_get(request, name);
    int64_t n = 0;
    *out = 0;
    if (json_absent(v))
        return true;
    if (!json_i64(v, &n) || n < 0 || (uint64_t)n > max)
        return false;
    *out = (uint64_t)n;
    return true;
}

static bool read_attributes(struct json request, struct arena *arena, struct key_attributes *a)
{
    uint64_t concurrent;
    const uint64_t most = (uint64_t)1000000000000;
    a->name = json_string(json_get(request, "name"), arena);
    a->models = json_string(json_get(request, "models"), arena);
    a->model_limits = json_string(json_get(request, "model_limits"), arena);
    bool ok = read_count(request, "requests_per_minute", most, &a->requests_per_minute) &&
              read_count(request, "requests_per_hour", most, &a->requests_per_hour) &&
              read_count(request, "tokens_per_minute", most, &a->tokens_per_minute) &&
              read_count(request, "expires_ms", INT64_MAX, &a->expires_ms) &&
              read_count(request, "concurrent", 1000000, &concurrent);
    a->concurrent = ok ? (uint32_t)concurrent : 0;
    return ok;
}

static bool key_create(struct admin_call *c, struct json request, struct arena *arena)
{
    char id[KEY_ID_BYTES], hint[KEY_HINT_BYTES];
    const char *why = NULL;
    struct store_op op = {.kind = STORE_KEY_ADD, .tag = c->tag};
    if (!read_attributes(request, arena, &op.key))
        return refuse(c, "limits are whole numbers, 0 for none");
    if (keys_check(&op.key, &why))
        return refuse(c, why);
    if (op.key.expires_ms && op.key.expires_ms <= c->wall_ms)
        return refuse(c, "the expiry is in the past");
    if (keys_find_name(c->host->keys, op.key.name))
        return refuse(c, "there is a key of that name; revoke it first, or choose another name");
    op.key.created_ms = c->wall_ms;
    keys_generate(c->host->keys, &op.key, c->secret, id, hint);
    return submit(c, &op);
}

static void key_created(struct admin_call *c, const struct store_op *op)
{
    if (keys_add(c->host->keys, &op->key))
        (void)refuse(c, "the key is stored, but auth has no memory left for it; restart auth");
    else
        (void)answer_key(c, &op->key, c->secret);
}

static bool key_list(struct admin_call *c, struct json request, struct arena *arena)
{
    (void)request;
    (void)arena;
    struct json_writer w = begin_answer(c);
    jw_key(&w, "keys");
    jw_array(&w);
    for (const struct key *k = keys_first(c->host->keys); k; k = k->next)
        write_key(&w, &k->is, c->wall_ms);
    jw_array_end(&w);
    jw_object_end(&w);
    return true;
}

static struct key *named_key(const struct admin_call *c, struct json request, struct arena *arena)
{
    struct span text = json_string(json_get(request, "key"), arena);
    struct key *key = keys_find_id(c->host->keys, text);
    return key ? key : keys_find_name(c->host->keys, text);
}

static bool key_show(struct admin_call *c, struct json request, struct arena *arena)
{
    const struct key *key = named_key(c, request, arena);
    return key ? answer_key(c, &key->is, NULL) : refuse(c, "no such key");
}

static bool key_revoke(struct admin_call *c, struct json request, struct arena *arena)
{
    struct key *key = named_key(c, request, arena);
    if (!key)
        return refuse(c, "no such key");
    if (key->is.revoked_ms)
        return answer_key(c, &key->is, NULL);
    struct store_op op = {.kind = STORE_KEY_REVOKE, .tag = c->tag};
    op.key.id = key->is.id;
    op.key.revoked_ms = c->wall_ms ? c->wall_ms : 1;
    return submit(c, &op);
}

static void key_revoked(struct admin_call *c, const struct store_op *op)
{
    struct key *key = keys_find_id(c->host->keys, op->key.id);
    if (!key) {
        (void)refuse(c, "no such key");
        return;
    }
    keys_revoke(c->host->keys, key, op->key.revoked_ms);
    c->host->on_revoked(c->host->ctx, key);
    (void)answer_key(c, &key->is, NULL);
}

/* Kept by the next writing of limits, like every change of them. */
static bool key_reset_limits(struct admin_call *c, struct json request, struct arena *arena)
{
    const struct key *key = named_key(c, request, arena);
    if (!key)
        return refuse(c, "no such key");
    keys_forgive(c->host->keys, key);
    log_info("key_limits_reset", LSPAN("key_id", key->is.id), LSPAN("key_name", key->is.name));
    return answer_key(c, &key->is, NULL);
}

/* ---- usage and the rest ---- */

static bool read_dimensions(struct json list, unsigned *out)
{
    static const struct {
        const char *word;
        enum usage_dimension bit;
    } words[] = {{"key", USAGE_BY_KEY},
                 {"model", USAGE_BY_MODEL},
                 {"provider", USAGE_BY_PROVIDER},
                 {"day", USAGE_BY_DAY}};
    *out = 0;
    for (struct json_iter i = json_iter(list); json_next(&i);) {
        unsigned bit = 0;
        for (size_t k = 0; k < sizeof words / sizeof words[0]; k++) {
            if (json_is(i.value, words[k].word))
                bit = words[k].bit;
        }
        if (!bit)
            return false;
        *out |= bit;
    }
    return true;
}

/* "5xx" or "429". */
static bool read_status(struct span word, uint32_t *from_out, uint32_t *to_out)
{
    uint64_t number;
    bool hundred =
        word.len == 3 && span_ends(word, "xx") && span_to_u64(span_first(word, 1), &number);
    if (!hundred && (word.len != 3 || !span_to_u64(word, &number)))
        return false;
    *from_out = (uint32_t)(hundred ? number * 100 : number);
    *to_out = hundred ? *from_out + 99 : *from_out;
    return *from_out >= 100;
}

static bool read_statuses(struct span list, struct usage_query *out)
{
    while (list.len && out->status_count < USAGE_STATUSES) {
        uint32_t i = out->status_count++;
        if (!read_status(span_trim(span_cut(&list, ',')), &out->statuses[i].from,
                         &out->statuses[i].to))
            return false;
    }
    return list.len == 0;
}

static bool usage(struct admin_call *c, struct json request, struct arena *arena)
{
    struct store_op op = {.kind = STORE_USAGE, .tag = c->tag, .answer = &c->rows};
    const uint64_t last_day = 10000000;
    uint64_t limit = 0;
    if (!read_dimensions(json_get(request, "by"), &op.query.by))
        return refuse(c, "by takes key, model, provider and day");
    if (!read_count(request, "since_day", last_day, &op.query.since_day) ||
        !read_count(request, "until_day", last_day, &op.query.until_day) ||
        !read_count(request, "since_ms", INT64_MAX, &op.query.since_ms) ||
        !read_count(request, "limit", USAGE_ROWS_MAX, &limit))
        return refuse(c, "since_day, until_day, since_ms and limit are whole numbers");
    if (!read_statuses(json_string(json_get(request, "status"), arena), &op.query))
        return refuse(c, "status takes up to 8 of 5xx or 429, comma-separated");
    op.query.model = json_string(json_get(request, "model"), arena);
    if (op.query.until_day == 0)
        op.query.until_day = last_day;
    op.query.limit = limit ? (uint32_t)limit : USAGE_ROWS_DEFAULT;
    (void)json_bool(json_get(request, "rows"), &op.query.rows);
    if (!json_absent(json_get(request, "key"))) {
        const struct key *key = named_key(c, request, arena);
        if (!key)
            return refuse(c, "no such key");
        op.query.key_id = key->is.id;
    }
    buf_init(&c->rows, ANSWER_MAX);
    return submit(c, &op);
}

static void usage_done(struct admin_call *c, const struct store_op *op)
{
    (void)op;
    if (buf_check(&c->rows)) {
        (void)refuse(c, "too many rows; ask for fewer");
        return;
    }
    struct json_writer w = begin_answer(c);
    jw_key(&w, "usage");
    jw_raw(&w, buf_span(&c->rows));
    jw_object_end(&w);
}

/* ---- one request ---- */

static bool request_begin(struct admin_call *c, struct json request, struct arena *arena)
{
    struct store_op op = {.kind = STORE_REQUEST, .tag = c->tag, .answer = &c->rows};
    if (!request_id_read(json_string(json_get(request, "id"), arena), &op.usage.id))
        return refuse(c, "a request's id is req_ and 32 hexadecimal digits");
    buf_init(&c->rows, ANSWER_MAX);
    return submit(c, &op);
}

static void request_done(struct admin_call *c, const struct store_op *op)
{
    (void)op;
    if (span_is(buf_span(&c->rows), "{\"rows\":[]}")) {
        (void)refuse(c, "no such request: it may still run, be older than auth.keep_usage, or "
                        "have been refused before it was let in (then the edge's log has it)");
        return;
    }
    struct json_writer w = begin_answer(c);
    jw_key(&w, "request");
    jw_raw(&w, buf_span(&c->rows));
    jw_object_end(&w);
}

static bool ping(struct admin_call *c, struct json request, struct arena *arena)
{
    (void)request;
    (void)arena;
    struct json_writer w = begin_answer(c);
    jw_key(&w, "version");
    jw_str(&w, TOLLGATE_VERSION);
    jw_key(&w, "keys");
    jw_u64(&w, keys_count(c->host->keys));
    jw_object_end(&w);
    return true;
}

static const struct {
    const char *name;
    bool (*begin)(struct admin_call *, struct json request, struct arena *);
} commands[] = {
    {"ping", ping},         {"key.create", key_create}, {"key.list", key_list},
    {"key.show", key_show}, {"key.revoke", key_revoke}, {"key.reset_limits", key_reset_limits},
    {"usage", usage},       {"request", request_begin}};

bool admin_begin(struct admin_call *c, struct span line)
{
    struct json_doc doc = {0};
    struct arena arena;
    bool done = true;
    arena_init(&arena, ADMIN_LINE_MAX * 2);
    struct json command = JSON_NOTHING;
    if (json_parse(&doc, line, JSON_DEPTH_CLIENT) == OK)
        command = json_get(json_root(&doc), "command");
    (void)refuse(c, "not a known command");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (json_is(command, commands[i].name))
            done = commands[i].begin(c, json_root(&doc), &arena);
    }
    arena_free(&arena);
    json_doc_free(&doc);
    return done;
}

void admin_finish(struct admin_call *c, struct store_op *op, enum err result)
{
    static void (*const finish[])(struct admin_call *,
                                  const struct store_op *) = {[STORE_KEY_ADD] = key_created,
                                                              [STORE_KEY_REVOKE] = key_revoked,
                                                              [STORE_REQUEST] = request_done,
                                                              [STORE_USAGE] = usage_done};
    if (result == ERR_TOO_BIG)
        (void)refuse(c, "too many rows to look through; say since when, or of which key");
    else if (result)
        (void)refuse(c, "the store could not do it; see auth's log");
    else
        finish[op->kind](c, op);
}

void admin_call_reset(struct admin_call *c)
{
    crypto_wipe(c->secret, sizeof c->secret);
    buf_free(&c->rows);
}
