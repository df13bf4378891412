/* SQLite's statements, values and results, for the files of the store. */
#include "services/auth/ledger/store_sqlite.h"

#include "common/base/log.h"

static const char *const sql_texts[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_USAGE_ADD] = "INSERT OR IGNORE INTO usage(" USAGE_COLUMNS
                      ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_USAGE_REPLACEABLE] =
        "SELECT " USAGE_COLUMNS " FROM usage WHERE id=? AND attempt<=? AND state=1",
    [SQL_USAGE_DELETE] = "DELETE FROM usage WHERE id=? AND attempt=?",
    [SQL_USAGE_KNOWN] = "SELECT min(state) FROM usage WHERE id=? AND attempt>=?",
    [SQL_USAGE_OF_RESPONSE] = "SELECT " USAGE_COLUMNS " FROM usage INDEXED BY usage_guessed"
                              " WHERE upstream_id=? AND key_id=? AND api=4 AND estimated=1",
    [SQL_USAGE_CORRECT] =
        "UPDATE usage SET estimated=0,input_tokens=?,cached_tokens=?,cache_write_tokens=?,"
        "output_tokens=?,reasoning_tokens=?,cost_nano=?,cache_write_1h_tokens=?,tool_calls=?,"
        "service_tier=?,cost_source=? WHERE id=? AND attempt=?",
    [SQL_USAGE_PRUNE] = "DELETE FROM usage WHERE day<? AND id<="
                        "(SELECT max(id) FROM (SELECT id FROM usage ORDER BY id LIMIT 1000))",
    [SQL_DAILY_ADD] =
        "INSERT INTO usage_daily VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)" SQL_DAILY_CONFLICT,
    [SQL_LABELLED_ADD] = "INSERT INTO usage_labelled VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
                         " ON CONFLICT(day,key_id,model,provider,end_user,tags) " SQL_SUMS_CONFLICT,
    [SQL_LABELLED_PRUNE] =
        "DELETE FROM usage_labelled WHERE day<? AND (day,key_id,model,provider,end_user,tags) IN"
        " (SELECT day,key_id,model,provider,end_user,tags FROM usage_labelled ORDER BY"
        " day,key_id,model,provider,end_user,tags LIMIT 1000)",
    [SQL_HISTORY_PUT] = "INSERT OR IGNORE INTO attempts(id,day,class,history) VALUES(?,?,?,?)",
    [SQL_HISTORY_GET] = "SELECT history FROM attempts WHERE id=?",
    [SQL_HISTORY_PRUNE] = "DELETE FROM attempts WHERE day<? AND id<="
                          "(SELECT max(id) FROM (SELECT id FROM attempts ORDER BY id LIMIT 1000))",
    [SQL_KEY_ADD] = "INSERT INTO keys(" KEY_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    /* each column by its bit of enum key_field; what stands on the right is what was there */
    [SQL_KEY_CHANGE] =
        "UPDATE keys SET name=iif(?14&1,?2,name),models=iif(?14&2,?8,models),"
        "model_limits=iif(?14&4,?9,model_limits),"
        "requests_per_minute=iif(?14&8,?10,requests_per_minute),"
        "requests_per_hour=iif(?14&16,?11,requests_per_hour),"
        "tokens_per_minute=iif(?14&32,?12,tokens_per_minute),"
        "concurrent=iif(?14&64,?13,concurrent),expires_ms=iif(?14&128,?6,expires_ms),"
        "tags=iif(?14&256,?15,tags),blocked_ms=iif(?14&512,?16,blocked_ms),"
        "revoked_ms=iif(?14&1024,?7,revoked_ms),before=iif(?14&2048,stored,before),"
        "before_until_ms=iif(?14&2048,?17,before_until_ms),stored=iif(?14&2048,?4,stored),"
        "hint=iif(?14&2048,?3,hint),changed_ms=?18 WHERE id=?1",
    [SQL_KEY_DELETE] = "DELETE FROM keys WHERE id=?",
    [SQL_KEY_LIMITS_DELETE] = "DELETE FROM limits WHERE name>=?1||':' AND name<?1||';'",
    [SQL_LIMIT_PUT] =
        "INSERT OR REPLACE INTO limits(name,owed_ns,mono_ns,wall_ms,boot_id) VALUES(?,?,?,?,?)",
    [SQL_SLOT_PUT] = "INSERT OR REPLACE INTO slots(id,key_id,owner,due_wall_ms,charged_tokens) "
                     "VALUES(?,?,?,?,?)",
    [SQL_SLOT_DELETE] = "DELETE FROM slots WHERE id=?",
    [SQL_PROBE] = "INSERT OR REPLACE INTO meta(name,value) VALUES('probe', randomblob(8))",
};

enum err sql_result(struct store_sqlite *s, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return OK;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    default:
        if (!s->failing)
            log_error("store_failed", LI64("code", sqlite3_extended_errcode(s->db)),
                      LSTR("error", sqlite3_errmsg(s->db)));
        s->failing = true;
        return ERR_IO;
    }
}

void sql_text(sqlite3_stmt *q, int at, struct span s)
{
    (void)sqlite3_bind_text64(q, at, s.data ? s.data : "", s.len, SQLITE_STATIC, SQLITE_UTF8);
}

void sql_blob(sqlite3_stmt *q, int at, const void *data, size_t n)
{
    (void)sqlite3_bind_blob64(q, at, data, n, SQLITE_STATIC);
}

/* SQLite's integers are signed: what does not fit is the largest that does. */
void sql_int(sqlite3_stmt *q, int at, uint64_t v)
{
    (void)sqlite3_bind_int64(q, at, v > INT64_MAX ? INT64_MAX : (sqlite3_int64)v);
}

struct span sql_column(sqlite3_stmt *q, int at)
{
    const void *data = sqlite3_column_blob(q, at);
    return span_of(data, (size_t)sqlite3_column_bytes(q, at));
}

uint64_t sql_column_u64(sqlite3_stmt *q, int at)
{
    sqlite3_int64 v = sqlite3_column_int64(q, at);
    return v < 0 ? 0 : (uint64_t)v;
}

enum err sql_run(struct store_sqlite *s, enum sql which)
{
    sqlite3_stmt *q = s->sql[which];
    enum err e = sql_result(s, sqlite3_step(q));
    (void)sqlite3_reset(q);
    return e;
}

enum err sql_prepare(struct store_sqlite *s, const char *text, sqlite3_stmt **out)
{
    return sql_result(s, sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

enum err sql_prepare_all(struct store_sqlite *s)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < SQL_COUNT; i++)
        e = sql_prepare(s, sql_texts[i], &s->sql[i]);
    return e;
}
