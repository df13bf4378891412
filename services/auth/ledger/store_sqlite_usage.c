/* What the SQLite store says of what was used: sums, and single rows. */
#include "common/base/json.h"
#include "common/base/log.h"
#include "services/auth/ledger/store_sqlite.h"

static const struct {
    enum usage_dimension bit;
    const char *select, *group;
} dimensions[] = {{USAGE_BY_DAY, "date(day*86400,'unixepoch') AS day", "day"},
                  {USAGE_BY_KEY, "key_id,max(key_name) AS key_name", "key_id"},
                  {USAGE_BY_MODEL, "model", "model"},
                  {USAGE_BY_PROVIDER, "provider", "provider"},
                  {USAGE_BY_USER, "end_user", "end_user"},
                  {USAGE_BY_TAG, "tag", "tag"}};

static const char *const summed[] = {"requests",         "estimated",          "input_tokens",
                                     "cached_tokens",    "cache_write_tokens", "output_tokens",
                                     "reasoning_tokens", "cost_nano",          "unpriced"};
enum { SUMMED = sizeof summed / sizeof *summed };

/* sum() of integers fails when it does not fit, and a ledger may hold rows of any size; the cast
 * stops at the largest integer. */
static void sum_columns(struct buf *text)
{
    for (size_t i = 0; i < SUMMED; i++)
        buf_printf(text, "%sCAST(total(%s) AS INTEGER) AS %s", i ? "," : "", summed[i], summed[i]);
}

static void negated_columns(struct buf *text)
{
    for (size_t i = 0; i < SUMMED; i++)
        buf_printf(text, ",-%s AS %s", summed[i], summed[i]);
}

#define DAILY_KEYS "SELECT day,key_id,key_name,model,provider"

/* The sums by labels; and what has none, which is all but those. */
static void labelled_text(struct buf *text)
{
    buf_append_str(text, "(" DAILY_KEYS ",end_user,tags");
    for (size_t i = 0; i < SUMMED; i++)
        buf_printf(text, ",%s", summed[i]);
    buf_append_str(text, " FROM usage_labelled UNION ALL " DAILY_KEYS ",'' AS end_user,'' AS tags");
    for (size_t i = 0; i < SUMMED; i++)
        buf_printf(text, ",%s", summed[i]);
    buf_append_str(text, " FROM usage_daily UNION ALL " DAILY_KEYS ",'' AS end_user,'' AS tags");
    negated_columns(text);
    buf_append_str(text, " FROM usage_labelled)");
}

/* A request of several tags counts in each. The list becomes a JSON array: commas separate, and
 * json_quote escapes all else. */
static void split_tags(struct buf *text)
{
    struct buf inner = {0};
    labelled_text(&inner);
    buf_append_str(text, "(SELECT s.*,t.value AS tag FROM ");
    buf_append(text, buf_span(&inner));
    buf_append_str(text,
                   " AS s,json_each('['||replace(json_quote(s.tags),',','\",\"')||']') AS t)");
    buf_free(&inner);
}

static void sums_text(struct buf *text, unsigned by)
{
    buf_append_str(text, "SELECT ");
    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++) {
        if (by & dimensions[i].bit)
            buf_printf(text, "%s,", dimensions[i].select);
    }
    sum_columns(text);
    buf_append_str(text, " FROM ");
    if (by & USAGE_BY_TAG)
        split_tags(text);
    else if (by & USAGE_BY_USER)
        labelled_text(text);
    else
        buf_append_str(text, "usage_daily");
    buf_append_str(text, " WHERE day BETWEEN ?1 AND ?2 AND (?3='' OR key_id=?3)"
                         " AND (?5='' OR model=?5)");
    const char *before = " GROUP BY ";
    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++) {
        if (by & dimensions[i].bit) {
            buf_printf(text, "%s%s", before, dimensions[i].group);
            before = ",";
        }
    }
    buf_append_str(text, " HAVING total(requests)>0 LIMIT ?4");
}

static void rows_text(struct buf *text)
{
    buf_append_str(
        text,
        "SELECT 'req_'||lower(hex(u.id)) AS request_id,attempt,key_id,key_name,model,provider,"
        "upstream_model,upstream_id,status,stream,estimated,input_tokens,cached_tokens,"
        "cache_write_tokens,output_tokens,reasoning_tokens,cost_nano,started_ms,first_ms,"
        "duration_ms,cache_write_1h_tokens,tool_calls,service_tier,"
        "end_user,tags,CASE cost_source WHEN 0 THEN 'computed' WHEN 1 THEN 'stated' ELSE "
        "'unpriced' END"
        " AS cost_source,coalesce(class,'') AS error"
        " FROM usage AS u LEFT JOIN attempts AS a ON a.id=u.id WHERE ");
}

static void filtered_text(struct buf *text, const struct usage_query *query)
{
    rows_text(text);
    buf_append_str(text, "u.day BETWEEN ?1 AND ?2 AND (?3='' OR key_id=?3)"
                         " AND (?5='' OR model=?5) AND u.id>=?6");
    for (uint32_t i = 0; i < query->status_count; i++)
        buf_printf(text, "%s status BETWEEN %u AND %u", i ? " OR" : " AND (",
                   query->statuses[i].from, query->statuses[i].to);
    buf_append_str(text, query->status_count ? ")" : "");
    buf_append_str(text, " ORDER BY u.id DESC, attempt DESC LIMIT ?4");
}

static void write_row(sqlite3_stmt *q, struct json_writer *w)
{
    jw_object(w);
    for (int i = 0; i < sqlite3_column_count(q); i++) {
        jw_key(w, sqlite3_column_name(q, i));
        if (sqlite3_column_type(q, i) == SQLITE_INTEGER)
            jw_i64(w, sqlite3_column_int64(q, i));
        else
            jw_string(w, sql_column(q, i));
    }
    jw_object_end(w);
}

static enum err read_result(struct store_sqlite *s, int code)
{
    if (code == SQLITE_OK || code == SQLITE_DONE)
        return OK;
    if (code == SQLITE_INTERRUPT)
        return ERR_TOO_BIG;
    log_error("usage_unread", LI64("code", sqlite3_extended_errcode(s->db)),
              LSTR("error", sqlite3_errmsg(s->db)));
    return code == SQLITE_NOMEM ? ERR_NOMEM : ERR_IO;
}

/* ---- reading, while writes wait: about a second at most ---- */

enum { STEPS_A_LOOK = 1000, LOOKS_MOST = 50000 };

static int on_look(void *ctx)
{
    unsigned *looks = ctx;
    return ++*looks > LOOKS_MOST;
}

/* Takes the statement. */
static enum err read_rows(struct store_sqlite *s, sqlite3_stmt *q, struct json_writer *w)
{
    unsigned looks = 0;
    int code;
    sqlite3_progress_handler(s->db, STEPS_A_LOOK, on_look, &looks);
    jw_array(w);
    while ((code = sqlite3_step(q)) == SQLITE_ROW)
        write_row(q, w);
    jw_array_end(w);
    sqlite3_progress_handler(s->db, 0, NULL, NULL);
    enum err e = read_result(s, code);
    (void)sqlite3_finalize(q);
    return e;
}

static enum err prepare(struct store_sqlite *s, const struct buf *text, sqlite3_stmt **out)
{
    *out = NULL;
    return buf_check(text) != OK
               ? ERR_NOMEM
               : read_result(s, sqlite3_prepare_v2(s->db, text->data, (int)text->len, out, NULL));
}

static enum err read_usage(struct store_sqlite *s, struct store_op *op)
{
    const struct usage_query *query = &op->query;
    struct buf text = {0};
    sqlite3_stmt *q;
    struct request_id first = {{0}};
    struct json_writer w = {.out = op->answer};
    if (query->rows)
        filtered_text(&text, query);
    else
        sums_text(&text, query->by);
    enum err e = prepare(s, &text, &q);
    buf_free(&text);
    if (e)
        return e;
    sql_int(q, 1, query->since_day);
    sql_int(q, 2, query->until_day);
    sql_text(q, 3, query->key_id);
    sql_int(q, 4, query->limit);
    sql_text(q, 5, query->model);
    request_id_set_time(&first, query->since_ms);
    if (query->rows)
        sql_blob(q, 6, first.bytes, sizeof first.bytes);
    return read_rows(s, q, &w);
}

static enum err rows_of(struct store_sqlite *s, const struct request_id *id, struct json_writer *w)
{
    struct buf text = {0};
    sqlite3_stmt *q;
    rows_text(&text);
    buf_append_str(&text, "u.id=?1 ORDER BY attempt");
    enum err e = prepare(s, &text, &q);
    buf_free(&text);
    if (e)
        return e;
    sql_blob(q, 1, id->bytes, sizeof id->bytes);
    return read_rows(s, q, w);
}

/* What can't be read is the asker's trouble: the writes of the same transaction go on. */
enum err ledger_usage(struct store_sqlite *s, struct store_op *op)
{
    enum err e = ledger_flush(s);
    if (!e)
        op->read = read_usage(s, op);
    op->outcome = STORE_NEW;
    return e;
}

enum err ledger_request(struct store_sqlite *s, struct store_op *op)
{
    struct json_writer w = {.out = op->answer};
    jw_object(&w);
    jw_key(&w, "rows");
    op->read = rows_of(s, &op->usage.id, &w);
    if (!op->read)
        op->read = history_show(s, &op->usage.id, &w);
    jw_object_end(&w);
    op->outcome = STORE_NEW;
    return OK;
}
