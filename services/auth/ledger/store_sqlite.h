/* What the parts of the SQLite store share; of interest to nobody else. */
#ifndef SERVICES_AUTH_LEDGER_STORE_SQLITE_H
#define SERVICES_AUTH_LEDGER_STORE_SQLITE_H

#include <sqlite3.h>

#include "common/base/json.h"
#include "services/auth/ledger/store.h"

enum sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_USAGE_ADD,
    SQL_USAGE_REPLACEABLE,
    SQL_USAGE_DELETE,
    SQL_USAGE_KNOWN,
    SQL_USAGE_OF_RESPONSE,
    SQL_USAGE_CORRECT,
    SQL_USAGE_PRUNE,
    SQL_DAILY_ADD,
    SQL_LABELLED_ADD,
    SQL_LABELLED_PRUNE,
    SQL_HISTORY_PUT,
    SQL_HISTORY_GET,
    SQL_HISTORY_PRUNE,
    SQL_KEY_ADD,
    SQL_KEY_CHANGE,
    SQL_KEY_DELETE,
    SQL_KEY_LIMITS_DELETE,
    SQL_LIMIT_PUT,
    SQL_SLOT_PUT,
    SQL_SLOT_DELETE,
    SQL_PROBE,
    SQL_COUNT
};

enum usage_state { USAGE_REPORTED = 0, USAGE_BOOKED = 1 };

enum { DAILY_SLOTS = 64, DAILY_TEXT_BYTES = 1024, REPORTED_SLOTS = 4096, SUM_COUNT = 9 };

/* What a transaction adds to one day's sum: written once, before it commits. */
struct daily {
    uint64_t day;
    uint16_t ends[4]; /* in text: of key id, model, provider, key name */
    char text[DAILY_TEXT_BYTES];
    int64_t sums[SUM_COUNT]; /* in the order of the columns */
};

/* A row lately reported, so that most RELEASEs need not ask the index. */
struct reported {
    struct request_id id;
    uint32_t attempt;
    bool used;
};

struct store_sqlite {
    struct store store;
    struct daily daily[DAILY_SLOTS];
    size_t daily_count;
    struct reported reported[REPORTED_SLOTS]; /* by the hash of the id: one pushes another out */
    sqlite3 *db;
    sqlite3_stmt *sql[SQL_COUNT];
    int lock_fd;
    bool failing; /* said already; until a transaction succeeds */
};

#define USAGE_COLUMNS                                                                              \
    "id,attempt,state,day,key_id,key_name,model,provider,upstream_model,upstream_id,api,status,"   \
    "stream,estimated,input_tokens,cached_tokens,cache_write_tokens,output_tokens,"                \
    "reasoning_tokens,cost_nano,started_ms,first_ms,duration_ms,cache_write_1h_tokens,"            \
    "tool_calls,service_tier,cost_source,end_user,tags"

#define KEY_COLUMNS                                                                                \
    "id,name,hint,stored,created_ms,expires_ms,revoked_ms,models,model_limits,"                    \
    "requests_per_minute,requests_per_hour,tokens_per_minute,concurrent,before,tags,blocked_ms,"   \
    "before_until_ms,changed_ms"

/* A day's sum that is there already takes the new one in. */
#define SQL_DAILY_CONFLICT " ON CONFLICT(day,key_id,model,provider) " SQL_SUMS_CONFLICT
#define SQL_SUMS_CONFLICT                                                                          \
    "DO UPDATE SET key_name=excluded.key_name, requests=requests+excluded.requests,"               \
    "estimated=estimated+excluded.estimated, input_tokens=input_tokens+excluded.input_tokens,"     \
    "cached_tokens=cached_tokens+excluded.cached_tokens,"                                          \
    "cache_write_tokens=cache_write_tokens+excluded.cache_write_tokens,"                           \
    "output_tokens=output_tokens+excluded.output_tokens,"                                          \
    "reasoning_tokens=reasoning_tokens+excluded.reasoning_tokens,"                                 \
    "cost_nano=cost_nano+excluded.cost_nano, unpriced=unpriced+excluded.unpriced"

/* ---- sql.c ---- */
void sql_text(sqlite3_stmt *q, int at, struct span s);
void sql_blob(sqlite3_stmt *q, int at, const void *data, size_t n);
void sql_int(sqlite3_stmt *q, int at, uint64_t v);
struct span sql_column(sqlite3_stmt *q, int at);
uint64_t sql_column_u64(sqlite3_stmt *q, int at);
enum err sql_prepare(struct store_sqlite *s, const char *text, sqlite3_stmt **out);
enum err sql_prepare_all(struct store_sqlite *s);
extern const struct store_ops store_sqlite_ops;
/* Steps a statement that returns nothing, and resets it. */
enum err sql_run(struct store_sqlite *s, enum sql which);
/* SQLite's code as ours; logs anything but OK, ROW, DONE. */
enum err sql_result(struct store_sqlite *s, int code);

/* ---- store_sqlite_ledger.c ---- */
enum err ledger_settle(struct store_sqlite *s, struct store_op *op);
enum err ledger_release(struct store_sqlite *s, struct store_op *op);
enum err ledger_prune(struct store_sqlite *s, struct store_op *op);
/* Before COMMIT: writes what has been gathered. */
enum err ledger_flush(struct store_sqlite *s);
/* After ROLLBACK: forgets what was not written after all. */
void ledger_forget(struct store_sqlite *s);

/* ---- store_sqlite_usage.c ---- */
enum err ledger_usage(struct store_sqlite *s, struct store_op *op);
enum err ledger_request(struct store_sqlite *s, struct store_op *op);

/* ---- store_sqlite_history.c ---- */
enum err history_put(struct store_sqlite *s, const struct store_op *op);
/* As the member "history" of the object that is open; nothing when there is none. */
enum err history_show(struct store_sqlite *s, const struct request_id *id, struct json_writer *w);

#endif
