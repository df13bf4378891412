/* SQLite as the store: one file in WAL mode, synchronous FULL, one transaction per batch. A lock
 * file beside it keeps a second auth out, which SQLite itself would let in. */
#include "services/auth/ledger/store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/log.h"
#include "proto/api.h"

/* ---- keys and limits ---- */

/* Parameters 1 to 18, as KEY_COLUMNS has them but for the 14th. */
static void bind_key(sqlite3_stmt *q, const struct key_attributes *a)
{
    sql_text(q, 1, a->id);
    sql_text(q, 2, a->name);
    sql_text(q, 3, a->hint);
    sql_blob(q, 4, a->stored, SHA256_BYTES);
    sql_int(q, 5, a->created_ms);
    sql_int(q, 6, a->expires_ms);
    sql_int(q, 7, a->revoked_ms);
    sql_text(q, 8, a->models);
    sql_text(q, 9, a->model_limits);
    sql_int(q, 10, a->requests_per_minute);
    sql_int(q, 11, a->requests_per_hour);
    sql_int(q, 12, a->tokens_per_minute);
    sql_int(q, 13, a->concurrent);
    sql_text(q, 15, a->tags);
    sql_int(q, 16, a->blocked_ms);
    sql_int(q, 17, a->before_until_ms);
    sql_int(q, 18, a->changed_ms);
}

static enum err key_add(struct store_sqlite *s, struct store_op *op)
{
    bind_key(s->sql[SQL_KEY_ADD], &op->key);
    sql_blob(s->sql[SQL_KEY_ADD], 14, op->key.before, SHA256_BYTES);
    return sql_run(s, SQL_KEY_ADD);
}

static enum err key_change(struct store_sqlite *s, struct store_op *op)
{
    bind_key(s->sql[SQL_KEY_CHANGE], &op->key);
    sql_int(s->sql[SQL_KEY_CHANGE], 14, op->key_fields);
    return sql_run(s, SQL_KEY_CHANGE);
}

static enum err key_delete(struct store_sqlite *s, struct store_op *op)
{
    char limits[4 + KEY_ID_BYTES];
    int n = snprintf(limits, sizeof limits, "key:%.*s", SPAN_ARG(op->key.id));
    sql_text(s->sql[SQL_KEY_DELETE], 1, op->key.id);
    enum err e = sql_run(s, SQL_KEY_DELETE);
    if (e || n < 0 || (size_t)n >= sizeof limits)
        return e;
    sql_text(s->sql[SQL_KEY_LIMITS_DELETE], 1, span_str(limits));
    return sql_run(s, SQL_KEY_LIMITS_DELETE);
}

static enum err limit_put(struct store_sqlite *s, struct store_op *op)
{
    sqlite3_stmt *q = s->sql[SQL_LIMIT_PUT];
    sql_text(q, 1, op->limit.name);
    sql_int(q, 2, op->limit.owed_ns);
    sql_int(q, 3, op->limit.mono_ns);
    sql_int(q, 4, op->limit.wall_ms);
    sql_text(q, 5, op->limit.boot_id);
    return sql_run(s, SQL_LIMIT_PUT);
}

static enum err slot_put(struct store_sqlite *s, struct store_op *op)
{
    sqlite3_stmt *q = s->sql[SQL_SLOT_PUT];
    sql_blob(q, 1, op->slot.id.bytes, sizeof op->slot.id.bytes);
    sql_text(q, 2, op->slot.key_id);
    (void)sqlite3_bind_int64(q, 3, (sqlite3_int64)op->slot.owner); /* 64 random bits */
    sql_int(q, 4, op->slot.due_wall_ms);
    sql_int(q, 5, op->slot.charged_tokens);
    return sql_run(s, SQL_SLOT_PUT);
}

static enum err slot_delete(struct store_sqlite *s, struct store_op *op)
{
    sql_blob(s->sql[SQL_SLOT_DELETE], 1, op->slot.id.bytes, sizeof op->slot.id.bytes);
    return sql_run(s, SQL_SLOT_DELETE);
}

static enum err probe(struct store_sqlite *s, struct store_op *op)
{
    (void)op;
    return sql_run(s, SQL_PROBE);
}

/* Anything but a SETTLE. */
static enum err apply_one(struct store_sqlite *s, struct store_op *op)
{
    static enum err (*const kinds[])(struct store_sqlite *,
                                     struct store_op *) = {[STORE_RELEASE] = ledger_release,
                                                           [STORE_KEY_ADD] = key_add,
                                                           [STORE_KEY_CHANGE] = key_change,
                                                           [STORE_KEY_DELETE] = key_delete,
                                                           [STORE_LIMIT_PUT] = limit_put,
                                                           [STORE_PRUNE] = ledger_prune,
                                                           [STORE_USAGE] = ledger_usage,
                                                           [STORE_SLOT_PUT] = slot_put,
                                                           [STORE_REQUEST] = ledger_request,
                                                           [STORE_SLOT_DELETE] = slot_delete,
                                                           [STORE_PROBE] = probe};
    return kinds[op->kind](s, op);
}

static enum err apply(struct store *store, struct store_op *ops, size_t n)
{
    struct store_sqlite *s = (struct store_sqlite *)store;
    enum err e = sql_run(s, SQL_BEGIN);
    for (size_t i = 0; !e && i < n; i++) {
        if (ops[i].kind == STORE_SETTLE)
            e = ledger_settle(s, &ops[i]);
    }
    for (size_t i = 0; !e && i < n; i++) {
        if (ops[i].kind != STORE_SETTLE)
            e = apply_one(s, &ops[i]);
    }
    if (!e)
        e = ledger_flush(s);
    if (!e)
        e = sql_run(s, SQL_COMMIT);
    if (e)
        ledger_forget(s);
    else
        s->failing = false;
    if (e && !sqlite3_get_autocommit(s->db) && sql_run(s, SQL_ROLLBACK))
        log_error("store_rollback_failed");
    return e;
}

/* ---- load ---- */

static enum err on_key_row(sqlite3_stmt *q, const struct store_visitor *v)
{
    struct key_attributes a = {.id = sql_column(q, 0),
                               .name = sql_column(q, 1),
                               .hint = sql_column(q, 2),
                               .created_ms = sql_column_u64(q, 4),
                               .expires_ms = sql_column_u64(q, 5),
                               .revoked_ms = sql_column_u64(q, 6),
                               .models = sql_column(q, 7),
                               .model_limits = sql_column(q, 8),
                               .requests_per_minute = sql_column_u64(q, 9),
                               .requests_per_hour = sql_column_u64(q, 10),
                               .tokens_per_minute = sql_column_u64(q, 11),
                               .concurrent = (uint32_t)sql_column_u64(q, 12),
                               .tags = sql_column(q, 14),
                               .blocked_ms = sql_column_u64(q, 15),
                               .before_until_ms = sql_column_u64(q, 16),
                               .changed_ms = sql_column_u64(q, 17)};
    struct span stored = sql_column(q, 3), before = sql_column(q, 13);
    if (stored.len != SHA256_BYTES || (a.before_until_ms && before.len != SHA256_BYTES))
        return ERR_INVALID;
    memcpy(a.stored, stored.data, SHA256_BYTES);
    if (before.len == SHA256_BYTES)
        memcpy(a.before, before.data, SHA256_BYTES);
    return v->on_key(v->ctx, &a);
}

static enum err on_limit_row(sqlite3_stmt *q, const struct store_visitor *v)
{
    struct limit_saved saved = {sql_column(q, 0), sql_column_u64(q, 1), sql_column_u64(q, 2),
                                sql_column_u64(q, 3), sql_column(q, 4)};
    return v->on_limit(v->ctx, &saved);
}

static enum err on_slot_row(sqlite3_stmt *q, const struct store_visitor *v)
{
    struct span id = sql_column(q, 0);
    struct store_slot slot = {.key_id = sql_column(q, 1),
                              .owner = (uint64_t)sqlite3_column_int64(q, 2),
                              .due_wall_ms = sql_column_u64(q, 3),
                              .charged_tokens = sql_column_u64(q, 4)};
    if (id.len != sizeof slot.id.bytes)
        return OK;
    memcpy(slot.id.bytes, id.data, id.len);
    return v->on_slot(v->ctx, &slot);
}

static enum err on_response_row(sqlite3_stmt *q, const struct store_visitor *v)
{
    return v->on_response(v->ctx, sql_column(q, 0), sql_column(q, 1), sql_column_u64(q, 2));
}

static enum err each_row(struct store_sqlite *s, const char *text, const struct store_visitor *v,
                         enum err (*row)(sqlite3_stmt *, const struct store_visitor *))
{
    sqlite3_stmt *q = NULL;
    enum err e = sql_prepare(s, text, &q);
    while (!e) {
        int code = sqlite3_step(q);
        if (code == SQLITE_DONE)
            break;
        e = sql_result(s, code);
        if (!e)
            e = row(q, v);
    }
    (void)sqlite3_finalize(q);
    return e;
}

static enum err load(struct store *store, const struct store_visitor *v)
{
    struct store_sqlite *s = (struct store_sqlite *)store;
    enum err e = each_row(s, "SELECT " KEY_COLUMNS " FROM keys ORDER BY rowid", v, on_key_row);
    if (!e)
        e = each_row(s, "SELECT name,owed_ns,mono_ns,wall_ms,boot_id FROM limits", v, on_limit_row);
    if (!e)
        e = each_row(s, "SELECT id,key_id,owner,due_wall_ms,charged_tokens FROM slots", v,
                     on_slot_row);
    _Static_assert(API_OPENAI_RESPONSES == 4, "the index and the query below say 4");
    if (!e && v->on_response)
        e = each_row(s,
                     "SELECT upstream_id,key_id,started_ms FROM usage INDEXED BY usage_responses"
                     " WHERE api=4 ORDER BY started_ms DESC LIMIT 65536",
                     v, on_response_row);
    return e;
}

/* ---- life ---- */

static void close_store(struct store *store)
{
    struct store_sqlite *s = (struct store_sqlite *)store;
    for (size_t i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(s->sql[i]);
    (void)sqlite3_close(s->db);
    if (s->lock_fd >= 0)
        (void)close(s->lock_fd);
    free(s);
}

const struct store_ops store_sqlite_ops = {load, apply, close_store};
