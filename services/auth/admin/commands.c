#include "services/auth/admin/key_commands.h"

enum { USAGE_ROWS_DEFAULT = 1000, USAGE_ROWS_MAX = 100000, ANSWER_MAX = 64 << 20 };

static bool read_dimensions(struct json list, unsigned *out)
{
    static const struct {
        const char *word;
        enum usage_dimension bit;
    } words[] = {{"key", USAGE_BY_KEY}, {"model", USAGE_BY_MODEL}, {"provider", USAGE_BY_PROVIDER},
                 {"day", USAGE_BY_DAY}, {"user", USAGE_BY_USER},   {"tag", USAGE_BY_TAG}};
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
        return admin_refuse(c, "by takes key, model, provider, day, user and tag");
    if (!admin_read_count(request, "since_day", last_day, &op.query.since_day) ||
        !admin_read_count(request, "until_day", last_day, &op.query.until_day) ||
        !admin_read_count(request, "since_ms", INT64_MAX, &op.query.since_ms) ||
        !admin_read_count(request, "limit", USAGE_ROWS_MAX, &limit))
        return admin_refuse(c, "since_day, until_day, since_ms and limit are whole numbers");
    if (!read_statuses(json_string(json_get(request, "status"), arena), &op.query))
        return admin_refuse(c, "status takes up to 8 of 5xx or 429, comma-separated");
    op.query.model = json_string(json_get(request, "model"), arena);
    if (op.query.until_day == 0)
        op.query.until_day = last_day;
    op.query.limit = limit ? (uint32_t)limit : USAGE_ROWS_DEFAULT;
    (void)json_bool(json_get(request, "rows"), &op.query.rows);
    if (!json_absent(json_get(request, "key"))) {
        const struct key *key = admin_named_key(c, request, arena);
        struct span id = json_string(json_get(request, "key"), arena);
        if (!key && !span_starts(id, "key_"))
            return admin_refuse(c, "no such key");
        op.query.key_id = key ? key->is.id : id; /* rows outlive their key */
    }
    buf_init(&c->rows, ANSWER_MAX);
    return admin_submit(c, &op);
}

static void usage_done(struct admin_call *c, const struct store_op *op)
{
    (void)op;
    if (buf_check(&c->rows)) {
        (void)admin_refuse(c, "too many rows; ask for fewer");
        return;
    }
    struct json_writer w = admin_begin_answer(c);
    jw_key(&w, "usage");
    jw_raw(&w, buf_span(&c->rows));
    jw_object_end(&w);
}

/* ---- one request ---- */

static bool request_begin(struct admin_call *c, struct json request, struct arena *arena)
{
    struct store_op op = {.kind = STORE_REQUEST, .tag = c->tag, .answer = &c->rows};
    if (!request_id_read(json_string(json_get(request, "id"), arena), &op.usage.id))
        return admin_refuse(c, "a request's id is req_ and 32 hexadecimal digits");
    buf_init(&c->rows, ANSWER_MAX);
    return admin_submit(c, &op);
}

static void request_done(struct admin_call *c, const struct store_op *op)
{
    (void)op;
    if (span_is(buf_span(&c->rows), "{\"rows\":[]}")) {
        (void)admin_refuse(c,
                           "no such request: it may still run, be older than auth.keep_usage, or "
                           "have been refused before it was let in (then the edge's log has it)");
        return;
    }
    struct json_writer w = admin_begin_answer(c);
    jw_key(&w, "request");
    jw_raw(&w, buf_span(&c->rows));
    jw_object_end(&w);
}

static bool ping(struct admin_call *c, struct json request, struct arena *arena)
{
    (void)request;
    (void)arena;
    struct json_writer w = admin_begin_answer(c);
    jw_key(&w, "version");
    jw_str(&w, TOLLGATE_VERSION);
    jw_key(&w, "keys");
    jw_u64(&w, keys_count(c->host->keys));
    jw_object_end(&w);
    return true;
}

static const struct admin_command commands[] = {
    {"ping", ping}, {"usage", usage}, {"request", request_begin}};

/* false: it is none of these. */
static bool run(struct admin_call *c, const struct admin_command *table, size_t count,
                struct json command, struct json request, struct arena *arena, bool *done)
{
    for (size_t i = 0; i < count; i++) {
        if (json_is(command, table[i].name)) {
            *done = table[i].begin(c, request, arena);
            return true;
        }
    }
    return false;
}

bool admin_begin(struct admin_call *c, struct span line)
{
    struct json_doc doc = {0};
    struct arena arena;
    bool done = true;
    arena_init(&arena, ADMIN_LINE_MAX * 2);
    struct json command = JSON_NOTHING;
    if (json_parse(&doc, line, JSON_DEPTH_CLIENT) == OK)
        command = json_get(json_root(&doc), "command");
    struct json request = json_root(&doc);
    if (!run(c, key_commands, key_command_count, command, request, &arena, &done) &&
        !run(c, commands, sizeof commands / sizeof commands[0], command, request, &arena, &done))
        (void)admin_refuse(c, "not a known command");
    arena_free(&arena);
    json_doc_free(&doc);
    return done;
}

void admin_finish(struct admin_call *c, struct store_op *op, enum err result)
{
    static void (*const finish[])(struct admin_call *,
                                  const struct store_op *) = {[STORE_KEY_ADD] = key_created,
                                                              [STORE_KEY_CHANGE] = key_changed,
                                                              [STORE_KEY_DELETE] = key_deleted,
                                                              [STORE_REQUEST] = request_done,
                                                              [STORE_USAGE] = usage_done};
    if (result == ERR_TOO_BIG)
        (void)admin_refuse(c, "too many rows to look through; say since when, or of which key");
    else if (result)
        (void)admin_refuse(c, "the store could not do it; see auth's log");
    else
        finish[op->kind](c, op);
}

void admin_call_reset(struct admin_call *c)
{
    crypto_wipe(c->secret, sizeof c->secret);
    buf_free(&c->rows);
}
