/* The ledger's half of the SQLite store: rows, daily sums, queries. Sums change in the transaction
 * of their row. */
#include "services/auth/ledger/store_sqlite.h"

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/tariff.h"

enum { DAY_MS = 86400000, SERVICE_TIER_BYTES = 32 };

/* The columns of USAGE_COLUMNS, in its order. */
enum usage_column {
    COL_ID,
    COL_ATTEMPT,
    COL_STATE,
    COL_DAY,
    COL_KEY_ID,
    COL_KEY_NAME,
    COL_MODEL,
    COL_PROVIDER,
    COL_UPSTREAM_MODEL,
    COL_UPSTREAM_ID,
    COL_API,
    COL_STATUS,
    COL_STREAM,
    COL_ESTIMATED,
    COL_INPUT,
    COL_CACHED,
    COL_CACHE_WRITE,
    COL_OUTPUT,
    COL_REASONING,
    COL_COST,
    COL_STARTED,
    COL_FIRST,
    COL_DURATION,
    COL_CACHE_WRITE_1H,
    COL_TOOL_CALLS,
    COL_SERVICE_TIER,
    COL_COST_SOURCE,
    COL_END_USER,
    COL_TAGS
};

static void usage_read(sqlite3_stmt *q, struct store_usage *out)
{
    *out = (struct store_usage){.attempt = (uint32_t)sql_column_u64(q, COL_ATTEMPT),
                                .key_id = sql_column(q, COL_KEY_ID),
                                .key_name = sql_column(q, COL_KEY_NAME),
                                .model = sql_column(q, COL_MODEL),
                                .provider = sql_column(q, COL_PROVIDER),
                                .upstream_model = sql_column(q, COL_UPSTREAM_MODEL),
                                .upstream_id = sql_column(q, COL_UPSTREAM_ID),
                                .api = (uint32_t)sql_column_u64(q, COL_API),
                                .status = (uint32_t)sql_column_u64(q, COL_STATUS),
                                .stream = sql_column_u64(q, COL_STREAM) != 0,
                                .estimated = sql_column_u64(q, COL_ESTIMATED) != 0,
                                .input_tokens = sql_column_u64(q, COL_INPUT),
                                .cached_tokens = sql_column_u64(q, COL_CACHED),
                                .cache_write_tokens = sql_column_u64(q, COL_CACHE_WRITE),
                                .output_tokens = sql_column_u64(q, COL_OUTPUT),
                                .reasoning_tokens = sql_column_u64(q, COL_REASONING),
                                .cost_nano = sql_column_u64(q, COL_COST),
                                .started_ms = sql_column_u64(q, COL_STARTED),
                                .first_ms = (uint32_t)sql_column_u64(q, COL_FIRST),
                                .duration_ms = (uint32_t)sql_column_u64(q, COL_DURATION),
                                .cache_write_1h_tokens = sql_column_u64(q, COL_CACHE_WRITE_1H),
                                .tool_calls = sql_column_u64(q, COL_TOOL_CALLS),
                                .service_tier = sql_column(q, COL_SERVICE_TIER),
                                .cost_source = (uint32_t)sql_column_u64(q, COL_COST_SOURCE),
                                .end_user = sql_column(q, COL_END_USER),
                                .tags = sql_column(q, COL_TAGS)};
    struct span id = sql_column(q, COL_ID);
    memcpy(out->id.bytes, id.data ? id.data : "",
           id.len < sizeof out->id.bytes ? id.len : sizeof out->id.bytes);
}

static void bind_id(sqlite3_stmt *q, const struct request_id *id)
{
    (void)sqlite3_bind_blob64(q, 1, id->bytes, sizeof id->bytes, SQLITE_STATIC);
}

static enum err add_row(struct store_sqlite *s, const struct store_usage *u, enum usage_state state,
                        bool estimated, bool *added_out)
{
    sqlite3_stmt *q = s->sql[SQL_USAGE_ADD];
    bind_id(q, &u->id);
    sql_int(q, COL_ATTEMPT + 1, u->attempt);
    sql_int(q, COL_STATE + 1, state);
    sql_int(q, COL_DAY + 1, u->started_ms / DAY_MS);
    sql_text(q, COL_KEY_ID + 1, u->key_id);
    sql_text(q, COL_KEY_NAME + 1, u->key_name);
    sql_text(q, COL_MODEL + 1, u->model);
    sql_text(q, COL_PROVIDER + 1, u->provider);
    sql_text(q, COL_UPSTREAM_MODEL + 1, u->upstream_model);
    sql_text(q, COL_UPSTREAM_ID + 1, u->upstream_id);
    sql_int(q, COL_API + 1, u->api);
    sql_int(q, COL_STATUS + 1, u->status);
    sql_int(q, COL_STREAM + 1, u->stream);
    sql_int(q, COL_ESTIMATED + 1, estimated);
    sql_int(q, COL_INPUT + 1, u->input_tokens);
    sql_int(q, COL_CACHED + 1, u->cached_tokens);
    sql_int(q, COL_CACHE_WRITE + 1, u->cache_write_tokens);
    sql_int(q, COL_OUTPUT + 1, u->output_tokens);
    sql_int(q, COL_REASONING + 1, u->reasoning_tokens);
    sql_int(q, COL_COST + 1, u->cost_nano);
    sql_int(q, COL_STARTED + 1, u->started_ms);
    sql_int(q, COL_FIRST + 1, u->first_ms);
    sql_int(q, COL_DURATION + 1, u->duration_ms);
    sql_int(q, COL_CACHE_WRITE_1H + 1, u->cache_write_1h_tokens);
    sql_int(q, COL_TOOL_CALLS + 1, u->tool_calls);
    sql_text(q, COL_SERVICE_TIER + 1, span_first(u->service_tier, SERVICE_TIER_BYTES));
    sql_int(q, COL_COST_SOURCE + 1, u->cost_source);
    sql_text(q, COL_END_USER + 1, u->end_user);
    sql_text(q, COL_TAGS + 1, u->tags);
    enum err e = sql_run(s, SQL_USAGE_ADD);
    *added_out = !e && sqlite3_changes(s->db) > 0;
    return e;
}

/* ---- daily sums: gathered while a transaction runs, for its rows are mostly of the same keys and
 * models ---- */

static enum err write_daily(struct store_sqlite *s, const struct daily *d)
{
    sqlite3_stmt *q = s->sql[SQL_DAILY_ADD];
    sql_int(q, 1, d->day);
    for (int i = 0; i < 4; i++) {
        uint16_t from = i ? d->ends[i - 1] : 0;
        sql_text(q, 2 + i, span_of(d->text + from, (size_t)(d->ends[i] - from)));
    }
    for (int i = 0; i < SUM_COUNT; i++)
        (void)sqlite3_bind_int64(q, 6 + i, d->sums[i]);
    return sql_run(s, SQL_DAILY_ADD);
}

enum err ledger_flush(struct store_sqlite *s)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < s->daily_count; i++)
        e = write_daily(s, &s->daily[i]);
    if (!e)
        s->daily_count = 0;
    return e;
}

void ledger_forget(struct store_sqlite *s)
{
    s->daily_count = 0;
    memset(s->reported, 0, sizeof s->reported);
}

static void describe(const struct store_usage *u, struct daily *out)
{
    const struct span parts[4] = {u->key_id, u->model, u->provider, u->key_name};
    out->day = u->started_ms / DAY_MS;
    memset(out->sums, 0, sizeof out->sums);
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        struct span part = span_first(parts[i], DAILY_TEXT_BYTES / 4);
        if (part.len)
            memcpy(out->text + at, part.data, part.len);
        at += part.len;
        out->ends[i] = (uint16_t)at;
    }
}

static bool is_same_sum(const struct daily *a, const struct daily *b)
{
    return a->day == b->day && memcmp(a->ends, b->ends, sizeof a->ends) == 0 &&
           memcmp(a->text, b->text, a->ends[3]) == 0;
}

static enum err find_daily(struct store_sqlite *s, const struct store_usage *u, struct daily **out)
{
    struct daily wanted;
    describe(u, &wanted);
    for (size_t i = 0; i < s->daily_count; i++) {
        if (is_same_sum(&s->daily[i], &wanted)) {
            *out = &s->daily[i];
            return OK;
        }
    }
    enum err e = s->daily_count == DAILY_SLOTS ? ledger_flush(s) : OK;
    if (e)
        return e;
    *out = &s->daily[s->daily_count++];
    **out = wanted;
    return OK;
}

static int64_t bounded(uint64_t v)
{
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static void sum_values(const struct store_usage *u, bool estimated, int64_t out[SUM_COUNT])
{
    const int64_t values[SUM_COUNT] = {1,
                                       estimated,
                                       bounded(u->input_tokens),
                                       bounded(u->cached_tokens),
                                       bounded(u->cache_write_tokens),
                                       bounded(u->output_tokens),
                                       bounded(u->reasoning_tokens),
                                       bounded(u->cost_nano),
                                       u->cost_source == COST_UNPRICED};
    memcpy(out, values, sizeof values);
}

/* The sum by end user and tags. Written row by row: most rows have none, and those that have one
 * differ. */
static enum err add_labelled(struct store_sqlite *s, const struct store_usage *u,
                             const int64_t values[SUM_COUNT], int sign)
{
    sqlite3_stmt *q = s->sql[SQL_LABELLED_ADD];
    sql_int(q, 1, u->started_ms / DAY_MS);
    sql_text(q, 2, u->key_id);
    sql_text(q, 3, u->model);
    sql_text(q, 4, u->provider);
    sql_text(q, 5, u->key_name);
    sql_text(q, 6, u->end_user);
    sql_text(q, 7, u->tags);
    for (int i = 0; i < SUM_COUNT; i++)
        (void)sqlite3_bind_int64(q, 8 + i, sign * values[i]);
    return sql_run(s, SQL_LABELLED_ADD);
}

/* Adds a row to its day's sums, or takes it out again (sign −1). Beyond what an integer holds a sum
 * stays at its bound. */
static enum err add_daily(struct store_sqlite *s, const struct store_usage *u, bool estimated,
                          int sign)
{
    struct daily *d = NULL;
    int64_t values[SUM_COUNT];
    enum err e = find_daily(s, u, &d);
    if (e)
        return e;
    sum_values(u, estimated, values);
    for (size_t i = 0; i < SUM_COUNT; i++) {
        if (__builtin_add_overflow(d->sums[i], sign * values[i], &d->sums[i]))
            d->sums[i] = sign < 0 ? INT64_MIN : INT64_MAX;
    }
    return u->end_user.len || u->tags.len ? add_labelled(s, u, values, sign) : OK;
}

/* ---- rows ---- */

/* Takes the booked row away that a report of this attempt stands for. */
static enum err drop_booked(struct store_sqlite *s, const struct store_usage *u)
{
    sqlite3_stmt *q = s->sql[SQL_USAGE_REPLACEABLE];
    bind_id(q, &u->id);
    sql_int(q, 2, u->attempt);
    int code = sqlite3_step(q);
    enum err e = sql_result(s, code);
    uint32_t attempt = 0;
    if (!e && code == SQLITE_ROW) {
        struct store_usage old;
        usage_read(q, &old);
        attempt = old.attempt;
        e = add_daily(s, &old, true, -1);
    }
    (void)sqlite3_reset(q);
    if (e || code != SQLITE_ROW)
        return e;
    bind_id(s->sql[SQL_USAGE_DELETE], &u->id);
    sql_int(s->sql[SQL_USAGE_DELETE], 2, attempt);
    return sql_run(s, SQL_USAGE_DELETE);
}

static struct reported *reported_slot(struct store_sqlite *s, const struct request_id *id)
{
    return &s->reported[request_id_hash(id) % REPORTED_SLOTS];
}

static void remember_reported(struct store_sqlite *s, const struct store_usage *u)
{
    *reported_slot(s, &u->id) = (struct reported){u->id, u->attempt, true};
}

/* What it says of itself stays; what it used is replaced. */
static enum err put_right(struct store_sqlite *s, const struct store_usage *old,
                          const struct store_usage *seen)
{
    struct store_usage u = *old;
    u.input_tokens = seen->input_tokens;
    u.cached_tokens = seen->cached_tokens;
    u.cache_write_tokens = seen->cache_write_tokens;
    u.output_tokens = seen->output_tokens;
    u.reasoning_tokens = seen->reasoning_tokens;
    u.cost_nano = seen->cost_nano;
    enum err e = add_daily(s, old, true, -1);
    if (!e)
        e = add_daily(s, &u, false, 1);
    sqlite3_stmt *q = s->sql[SQL_USAGE_CORRECT];
    sql_int(q, 1, u.input_tokens);
    sql_int(q, 2, u.cached_tokens);
    sql_int(q, 3, u.cache_write_tokens);
    sql_int(q, 4, u.output_tokens);
    sql_int(q, 5, u.reasoning_tokens);
    sql_int(q, 6, u.cost_nano);
    sql_int(q, 7, seen->cache_write_1h_tokens);
    sql_int(q, 8, seen->tool_calls);
    sql_text(q, 9, span_first(seen->service_tier, SERVICE_TIER_BYTES));
    sql_int(q, 10, seen->cost_source);
    sql_blob(q, 11, old->id.bytes, sizeof old->id.bytes);
    sql_int(q, 12, old->attempt);
    return e ? e : sql_run(s, SQL_USAGE_CORRECT);
}

/* What a stored response has used, known at last. STORE_DUPLICATE: it was known, or nobody made it
 * here. */
static enum err correct(struct store_sqlite *s, struct store_op *op)
{
    sqlite3_stmt *q = s->sql[SQL_USAGE_OF_RESPONSE];
    sql_text(q, 1, op->usage.upstream_id);
    sql_text(q, 2, op->usage.key_id);
    int code = sqlite3_step(q);
    enum err e = sql_result(s, code);
    op->outcome = STORE_DUPLICATE;
    if (!e && code == SQLITE_ROW) {
        struct store_usage old;
        usage_read(q, &old);
        op->tokens_before = old.input_tokens + old.output_tokens;
        op->outcome = STORE_NEW;
        e = put_right(s, &old, &op->usage);
    }
    (void)sqlite3_reset(q);
    return e;
}

enum err ledger_settle(struct store_sqlite *s, struct store_op *op)
{
    if (op->of_response)
        return correct(s, op);
    bool added = false;
    enum err e = drop_booked(s, &op->usage);
    if (!e)
        e = add_row(s, &op->usage, USAGE_REPORTED, op->usage.estimated, &added);
    if (!e && added)
        e = add_daily(s, &op->usage, op->usage.estimated, 1);
    op->outcome = added ? STORE_NEW : STORE_DUPLICATE;
    if (!e)
        remember_reported(s, &op->usage);
    return e;
}

/* STORE_SETTLED: reported, by this attempt or a later one; STORE_DUPLICATE: booked; STORE_NEW:
 * neither. */
static enum err find_row(struct store_sqlite *s, const struct store_usage *u,
                         enum store_outcome *out)
{
    const struct reported *lately = reported_slot(s, &u->id);
    *out = STORE_SETTLED;
    if (lately->used && lately->attempt >= u->attempt && request_id_equals(&lately->id, &u->id))
        return OK;
    sqlite3_stmt *q = s->sql[SQL_USAGE_KNOWN];
    bind_id(q, &u->id);
    sql_int(q, 2, u->attempt);
    enum err e = sql_result(s, sqlite3_step(q));
    if (!e && sqlite3_column_type(q, 0) == SQLITE_NULL)
        *out = STORE_NEW;
    else if (!e && sql_column_u64(q, 0) == USAGE_BOOKED)
        *out = STORE_DUPLICATE;
    (void)sqlite3_reset(q);
    return e;
}

enum err ledger_release(struct store_sqlite *s, struct store_op *op)
{
    bool added = false;
    enum err e = history_put(s, op);
    if (!e)
        e = find_row(s, &op->usage, &op->outcome);
    if (e || op->outcome != STORE_NEW)
        return e;
    if (op->settles) {
        op->outcome = STORE_WAITING;
        return OK;
    }
    e = add_row(s, &op->usage, USAGE_BOOKED, true, &added);
    return e ? e : add_daily(s, &op->usage, true, 1);
}

/* Some of each table. */
enum err ledger_prune(struct store_sqlite *s, struct store_op *op)
{
    static const enum sql tables[] = {SQL_USAGE_PRUNE, SQL_LABELLED_PRUNE, SQL_HISTORY_PRUNE};
    enum err e = OK;
    int pruned = 0;
    for (size_t i = 0; !e && i < sizeof tables / sizeof tables[0]; i++) {
        sql_int(s->sql[tables[i]], 1, op->before_day);
        e = sql_run(s, tables[i]);
        pruned += e ? 0 : sqlite3_changes(s->db);
    }
    op->outcome = pruned > 0 ? STORE_NEW : STORE_DUPLICATE;
    return e;
}
