/* What the two halves of the SQLite store share; of interest to nobody else. */
#ifndef SERVICES_AUTH_STORE_SQLITE_H
#define SERVICES_AUTH_STORE_SQLITE_H

#include <sqlite3.h>

#include "services/auth/store.h"

enum sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_USAGE_ADD,
    SQL_USAGE_REPLACEABLE,
    SQL_USAGE_DELETE,
    SQL_USAGE_REPORTED,
    SQL_USAGE_WAITING,
    SQL_USAGE_BOOK,
    SQL_USAGE_PRUNE,
    SQL_DAILY_ADD,
    SQL_KEY_ADD,
    SQL_KEY_REVOKE,
    SQL_LIMIT_PUT,
    SQL_PROBE,
    SQL_COUNT
};

enum usage_state { USAGE_REPORTED = 0, USAGE_BOOKED = 1, USAGE_WAITING = 2 };

struct store_sqlite {
    struct store store;
    sqlite3 *db;
    sqlite3_stmt *sql[SQL_COUNT];
    int lock_fd;
    bool failing; /* said already; until a transaction succeeds */
};

#define USAGE_COLUMNS                                                                              \
    "id,attempt,state,day,key_id,key_name,model,provider,upstream_model,upstream_id,api,status,"   \
    "stream,estimated,input_tokens,cached_tokens,cache_write_tokens,output_tokens,"                \
    "reasoning_tokens,cost_nano,started_ms,first_ms,duration_ms"

void sql_text(sqlite3_stmt *q, int at, struct span s);
void sql_int(sqlite3_stmt *q, int at, uint64_t v);
struct span sql_column(sqlite3_stmt *q, int at);
uint64_t sql_column_u64(sqlite3_stmt *q, int at);
/* Steps a statement that returns nothing, and resets it. */
enum err sql_run(struct store_sqlite *s, enum sql which);
/* SQLite's code as ours; logs anything but OK, ROW, DONE. */
enum err sql_result(struct store_sqlite *s, int code);

/* A row of USAGE_COLUMNS. */
void usage_read(sqlite3_stmt *q, struct store_usage *out);

/* The ledger's half. */
enum err ledger_settle(struct store_sqlite *s, struct store_op *op);
enum err ledger_release(struct store_sqlite *s, struct store_op *op);
enum err ledger_book(struct store_sqlite *s, struct store_op *op);
enum err ledger_prune(struct store_sqlite *s, struct store_op *op);
enum err ledger_usage(struct store_sqlite *s, struct store_op *op);

#endif
