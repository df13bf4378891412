/* Opening the SQLite store: the lock, the file, the schema, the pepper it was made with. */
#include "services/auth/ledger/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/log.h"

/* What is missing is made at every start. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS slots(id BLOB PRIMARY KEY, key_id TEXT NOT NULL, owner INTEGER NOT "
    "NULL,"
    " due_wall_ms INTEGER NOT NULL, charged_tokens INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS keys(id TEXT PRIMARY KEY, name TEXT NOT NULL, hint TEXT NOT NULL, "
    "stored BLOB "
    "NOT NULL,"
    " created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL,"
    " models TEXT NOT NULL, model_limits TEXT NOT NULL, requests_per_minute INTEGER NOT NULL,"
    " requests_per_hour INTEGER NOT NULL, tokens_per_minute INTEGER NOT NULL, concurrent INTEGER "
    "NOT NULL, before BLOB NOT NULL, tags TEXT NOT NULL, blocked_ms INTEGER NOT NULL,"
    " before_until_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS limits(name TEXT PRIMARY KEY, owed_ns INTEGER NOT NULL, mono_ns "
    "INTEGER NOT NULL,"
    " wall_ms INTEGER NOT NULL, boot_id TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS usage(id BLOB NOT NULL, attempt INTEGER NOT NULL, state INTEGER "
    "NOT NULL, day "
    "INTEGER NOT NULL,"
    " key_id TEXT NOT NULL, key_name TEXT NOT NULL, model TEXT NOT NULL, provider TEXT NOT NULL,"
    " upstream_model TEXT NOT NULL, upstream_id TEXT NOT NULL, api INTEGER NOT NULL, status "
    "INTEGER NOT NULL,"
    " stream INTEGER NOT NULL, estimated INTEGER NOT NULL, input_tokens INTEGER NOT NULL,"
    " cached_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER "
    "NOT NULL,"
    " reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
    " first_ms INTEGER NOT NULL, duration_ms INTEGER NOT NULL, cache_write_1h_tokens INTEGER NOT "
    "NULL,"
    " tool_calls INTEGER NOT NULL, service_tier TEXT NOT NULL, cost_source INTEGER NOT NULL,"
    " end_user TEXT NOT NULL, tags TEXT NOT NULL,"
    " PRIMARY KEY(id, attempt))"
    " WITHOUT ROWID;" /* ids begin with the time: it grows at one end, and goes at the other */
    "CREATE INDEX IF NOT EXISTS usage_responses ON usage(started_ms) WHERE api = 4;"
    "CREATE INDEX IF NOT EXISTS usage_guessed ON usage(upstream_id) WHERE api = 4 AND estimated = "
    "1;"
    "CREATE TABLE IF NOT EXISTS usage_daily(day INTEGER NOT NULL, key_id TEXT NOT NULL, model TEXT "
    "NOT NULL,"
    " provider TEXT NOT NULL, key_name TEXT NOT NULL, requests INTEGER NOT NULL, estimated INTEGER "
    "NOT NULL,"
    " input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, cache_write_tokens INTEGER "
    "NOT NULL,"
    " output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT "
    "NULL, unpriced INTEGER NOT NULL,"
    " PRIMARY KEY(day, key_id, model, provider)) WITHOUT ROWID;"
    /* of requests that failed, or needed several attempts; pruned like single rows */
    "CREATE TABLE IF NOT EXISTS attempts(id BLOB PRIMARY KEY, day INTEGER NOT NULL, class TEXT NOT "
    "NULL,"
    " history TEXT NOT NULL) WITHOUT ROWID;"
    /* the part of usage_daily whose requests have an end user or tags; pruned like single rows */
    "CREATE TABLE IF NOT EXISTS usage_labelled(day INTEGER NOT NULL, key_id TEXT NOT NULL, model "
    "TEXT NOT NULL,"
    " provider TEXT NOT NULL, key_name TEXT NOT NULL, end_user TEXT NOT NULL, tags TEXT NOT NULL,"
    " requests INTEGER NOT NULL, estimated INTEGER NOT NULL, input_tokens INTEGER NOT NULL,"
    " cached_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,"
    " output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,"
    " cost_nano INTEGER NOT NULL, unpriced INTEGER NOT NULL,"
    " PRIMARY KEY(day, key_id, model, provider, end_user, tags)) WITHOUT ROWID;";

/* From schemas 1 to 3, whose keys could not be changed. */
static const char widen_keys[] =
    "ALTER TABLE keys ADD COLUMN before BLOB NOT NULL DEFAULT x'';"
    "ALTER TABLE keys ADD COLUMN tags TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE keys ADD COLUMN blocked_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE keys ADD COLUMN before_until_ms INTEGER NOT NULL "
    "DEFAULT 0;"
    "ALTER TABLE keys ADD COLUMN changed_ms INTEGER NOT NULL DEFAULT 0;";

/* From schemas 2 and 3, whose rows had no labels. */
static const char widen_usage[] = "ALTER TABLE usage ADD COLUMN end_user TEXT NOT NULL DEFAULT '';"
                                  "ALTER TABLE usage ADD COLUMN tags TEXT NOT NULL DEFAULT '';";

/* From schema 1, whose table of rows had two indexes beside it. */
static const char put_aside[] = "ALTER TABLE usage RENAME TO usage_1;"
                                "DROP INDEX IF EXISTS usage_id;"
                                "DROP INDEX IF EXISTS usage_open;"
                                "DROP INDEX IF EXISTS usage_responses;"
                                "DROP INDEX IF EXISTS usage_guessed;"
                                "ALTER TABLE usage_daily ADD COLUMN unpriced INTEGER NOT NULL "
                                "DEFAULT 0;";

/* Schema 1 kept RELEASEs that waited for their SETTLE as rows of state 2, counted in no sum: nobody
 * waits for them any more, so they are booked. */
static const char take_over[] =
    "INSERT INTO usage(" USAGE_COLUMNS ") SELECT id,attempt,min(state,1),day,key_id,key_name,model,"
    "provider,upstream_model,upstream_id,api,status,stream,estimated,input_tokens,cached_tokens,"
    "cache_write_tokens,output_tokens,reasoning_tokens,cost_nano,started_ms,first_ms,duration_ms,"
    "0,0,'',0,'','' FROM usage_1 ORDER BY id,attempt;"
    "INSERT INTO usage_daily SELECT day,key_id,model,provider,max(key_name),count(*),"
    "sum(estimated),sum(input_tokens),sum(cached_tokens),sum(cache_write_tokens),"
    "sum(output_tokens),sum(reasoning_tokens),sum(cost_nano),0 FROM usage_1 WHERE state=2"
    " GROUP BY day,key_id,model,provider" SQL_DAILY_CONFLICT ";"
    "DROP TABLE usage_1;";

static enum err execute(struct store_sqlite *s, const char *text)
{
    return sql_result(s, sqlite3_exec(s->db, text, NULL, NULL, NULL));
}

static enum err take_lock(struct store_sqlite *s, const char *path)
{
    char lock[4096];
    int n = snprintf(lock, sizeof lock, "%s.lock", path);
    if (n < 0 || (size_t)n >= sizeof lock)
        return ERR_TOO_BIG;
    s->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        log_error("store_lock_failed", LSTR("path", lock), LSTR("error", strerror(errno)));
        return ERR_IO;
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return OK;
    log_error(
        "store_in_use", LSTR("path", path),
        LSTR("hint",
             "another auth has this SQLite store open; several auth replicas need PostgreSQL"));
    return ERR_EXISTS;
}

static enum err single_value(struct store_sqlite *s, const char *text, uint64_t *out)
{
    sqlite3_stmt *q = NULL;
    enum err e = sql_prepare(s, text, &q);
    if (!e) {
        int code = sqlite3_step(q);
        e = sql_result(s, code);
        *out = code == SQLITE_ROW ? sql_column_u64(q, 0) : 0;
    }
    (void)sqlite3_finalize(q);
    return e;
}

/* `from`: the schema that is there; 0 = none. All or nothing. */
static enum err create_schema(struct store_sqlite *s, uint64_t from, struct span pepper_check)
{
    sqlite3_stmt *q = NULL;
    char version[40];
    (void)snprintf(version, sizeof version, "PRAGMA user_version=%d", STORE_SCHEMA_VERSION);
    enum err e = execute(s, "BEGIN IMMEDIATE");
    if (!e && from == 1)
        e = execute(s, put_aside);
    if (!e && from && from < 4)
        e = execute(s, widen_keys);
    if (!e && (from == 2 || from == 3))
        e = execute(s, widen_usage);
    if (!e)
        e = execute(s, schema);
    if (!e && from == 1)
        e = execute(s, take_over);
    if (!e)
        e = sql_prepare(s, "INSERT OR IGNORE INTO meta(name,value) VALUES('pepper_check',?)", &q);
    if (!e) {
        sql_blob(q, 1, pepper_check.data, pepper_check.len);
        e = sql_result(s, sqlite3_step(q));
    }
    (void)sqlite3_finalize(q);
    if (!e)
        e = execute(s, version);
    if (!e)
        e = execute(s, "COMMIT");
    return e;
}

static enum err check_pepper(struct store_sqlite *s, struct span pepper_check)
{
    sqlite3_stmt *q = NULL;
    enum err e = sql_prepare(s, "SELECT value FROM meta WHERE name='pepper_check'", &q);
    if (!e && sqlite3_step(q) == SQLITE_ROW && !span_equals(sql_column(q, 0), pepper_check)) {
        log_error(
            "pepper_differs",
            LSTR("hint", "the store was made with another pepper file: no key would be known"));
        e = ERR_DENIED;
    }
    (void)sqlite3_finalize(q);
    return e;
}

static enum err check_schema(struct store_sqlite *s, struct span pepper_check)
{
    uint64_t version = 0;
    enum err e = single_value(s, "PRAGMA user_version", &version);
    if (e)
        return e;
    if (version > STORE_SCHEMA_VERSION) {
        log_error("store_too_new", LU64("schema", version), LU64("known", STORE_SCHEMA_VERSION));
        return ERR_VERSION;
    }
    if (version && version < STORE_SCHEMA_VERSION)
        log_info("store_migrates", LU64("from", version), LU64("to", STORE_SCHEMA_VERSION));
    e = create_schema(s, version, pepper_check);
    return e ? e : check_pepper(s, pepper_check);
}

static enum err open_database(struct store_sqlite *s, const char *path)
{
    mode_t old = umask(0077);
    int code = sqlite3_open_v2(
        path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    enum err e = OK;
    if (code != SQLITE_OK) {
        log_error("store_open_failed", LSTR("path", path),
                  LSTR("error", s->db ? sqlite3_errmsg(s->db) : "out of memory"));
        e = ERR_IO;
    }
    if (!e)
        e = execute(
            s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=2000;"
               "PRAGMA wal_autocheckpoint=1000; PRAGMA temp_store=MEMORY; "
               /* KiB. Rows are added at one end: a larger cache only holds what nobody asks for. */
               "PRAGMA cache_size=-1024");
    (void)umask(old);
    return e;
}

enum err store_sqlite_open(const char *path, struct span pepper_check, struct store **out)
{
    struct store_sqlite *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->store.ops = &store_sqlite_ops;
    s->lock_fd = -1;
    enum err e = take_lock(s, path);
    if (!e)
        e = open_database(s, path);
    if (!e)
        e = check_schema(s, pepper_check);
    if (!e)
        e = sql_prepare_all(s);
    if (e) {
        store_sqlite_ops.close(&s->store);
        return e;
    }
    *out = &s->store;
    return OK;
}
