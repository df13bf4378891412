/* What requests have been through that failed or needed several attempts: a row beside the
 * ledger's, written with their RELEASE. Requests that were answered at once have none. */
#include "services/auth/ledger/store_sqlite.h"

enum { DAY_MS = 86400000 };

/* One that is there stays: the RELEASE comes again when its acknowledgement is lost. */
enum err history_put(struct store_sqlite *s, const struct store_op *op)
{
    sqlite3_stmt *q = s->sql[SQL_HISTORY_PUT];
    if (!op->history.len)
        return OK;
    sql_blob(q, 1, op->usage.id.bytes, sizeof op->usage.id.bytes);
    sql_int(q, 2, op->usage.started_ms / DAY_MS);
    sql_text(q, 3, op->history_class);
    sql_text(q, 4, op->history);
    return sql_run(s, SQL_HISTORY_PUT);
}

enum err history_show(struct store_sqlite *s, const struct request_id *id, struct json_writer *w)
{
    sqlite3_stmt *q = s->sql[SQL_HISTORY_GET];
    sql_blob(q, 1, id->bytes, sizeof id->bytes);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW) {
        jw_key(w, "history");
        jw_raw(w, sql_column(q, 0)); /* it was looked at before it was stored */
    }
    enum err e = sql_result(s, code);
    (void)sqlite3_reset(q);
    return e;
}
