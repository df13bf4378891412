#include "unit/services/auth/test_support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/tariff.h"
#include "proto/api.h"
#include "services/auth/ledger/store_sqlite.h"

struct fixture {
    char folder[64], path[160];
    struct store *store;
};

static int setup(void **state)
{
    static struct fixture f;
    test_folder(f.folder);
    (void)snprintf(f.path, sizeof f.path, "%s/t.db", f.folder);
    assert_int_equal(store_sqlite_open(f.path, SPAN("check"), &f.store), OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(&f->store);
    test_folder_remove(f->folder);
    return 0;
}

static void reopen(struct fixture *f)
{
    store_close(&f->store);
    assert_int_equal(store_sqlite_open(f->path, SPAN("check"), &f->store), OK);
}

static struct store_op settle_op(uint32_t n, uint64_t day)
{
    struct store_op op = {.kind = STORE_SETTLE};
    memcpy(op.usage.id.bytes, &n, sizeof n);
    op.usage.attempt = 1;
    op.usage.key_id = SPAN("key_1");
    op.usage.key_name = SPAN("alice");
    op.usage.model = n % 2 ? SPAN("odd") : SPAN("even");
    op.usage.provider = SPAN("openai");
    op.usage.status = 200;
    op.usage.input_tokens = n;
    op.usage.output_tokens = 1;
    op.usage.cost_nano = 10;
    op.usage.started_ms = day * 86400000 + n;
    return op;
}

static void add(struct fixture *f, uint32_t n, uint64_t day)
{
    struct store_op op = settle_op(n, day);
    assert_int_equal(store_apply(f->store, &op, 1), OK);
    assert_int_equal(op.outcome, STORE_NEW);
}

static void ask(struct fixture *f, struct usage_query query, struct buf *answer,
                struct json_doc *doc)
{
    struct store_op op = {.kind = STORE_USAGE, .query = query, .answer = answer};
    if (!op.query.until_day)
        op.query.until_day = 10000000;
    if (!op.query.limit)
        op.query.limit = 1000;
    buf_clear(answer);
    assert_int_equal(store_apply(f->store, &op, 1), OK);
    assert_int_equal(json_parse(doc, buf_span(answer), JSON_DEPTH_CLIENT), OK);
}

static int64_t number(struct json v, const char *name)
{
    int64_t n = -1;
    (void)json_i64(json_get(v, name), &n);
    return n;
}

static size_t count_rows(struct fixture *f)
{
    struct buf answer = {0};
    struct json_doc doc = {0};
    ask(f, (struct usage_query){.rows = true, .limit = 100000}, &answer, &doc);
    size_t n = json_count(json_root(&doc));
    json_doc_free(&doc);
    buf_free(&answer);
    return n;
}

static void files_are_for_their_owner_only(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < 4; i++) {
        char path[160];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s%s", f->path, names[i]);
        add(f, (uint32_t)i, 1);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void a_second_auth_is_refused_and_postgresql_named(void **state)
{
    struct fixture *f = *state;
    struct store *second = NULL;
    int pipe_fds[2];
    char text[2048] = "";
    assert_int_equal(pipe(pipe_fds), 0);
    log_set_fd(pipe_fds[1]);
    enum err e = store_sqlite_open(f->path, SPAN("check"), &second);
    log_set_fd(2);
    assert_true(read(pipe_fds[0], text, sizeof text - 1) > 0);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    assert_int_equal(e, ERR_EXISTS);
    assert_null(second);
    assert_non_null(strstr(text, "PostgreSQL"));
}

static void another_pepper_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store *again = NULL;
    store_close(&f->store);
    assert_int_equal(store_sqlite_open(f->path, SPAN("other"), &again), ERR_DENIED);
    assert_int_equal(store_sqlite_open(f->path, SPAN("check"), &f->store), OK);
}

struct seen {
    unsigned keys, limits, slots, responses;
};

static enum err see_key(void *ctx, const struct key_attributes *a)
{
    ((struct seen *)ctx)->keys++;
    assert_true(span_is(a->name, "alice"));
    assert_true(span_is(a->models, "gpt-*"));
    assert_int_equal(a->stored[31], 31);
    assert_int_equal(a->revoked_ms, 99);
    assert_int_equal(a->tokens_per_minute, 7);
    return OK;
}

static enum err see_limit(void *ctx, const struct limit_saved *l)
{
    ((struct seen *)ctx)->limits++;
    assert_true(span_is(l->name, "model:gpt-4"));
    assert_int_equal(l->owed_ns, 5);
    assert_true(span_is(l->boot_id, "boot"));
    return OK;
}

static enum err see_slot(void *ctx, const struct store_slot *slot)
{
    ((struct seen *)ctx)->slots++;
    assert_int_equal(slot->id.bytes[3], 33);
    assert_true(span_is(slot->key_id, "key_1"));
    assert_true(slot->owner == UINT64_MAX - 5);
    assert_int_equal(slot->due_wall_ms, 1234);
    assert_int_equal(slot->charged_tokens, 50);
    return OK;
}

/* Newest first. */
static enum err see_response(void *ctx, struct span id, struct span key_id, uint64_t made_ms)
{
    static const char *const ids[] = {"resp_9", "resp_8"};
    struct seen *seen = ctx;
    assert_in_range(seen->responses, 0, 1);
    assert_true(span_is(id, ids[seen->responses]));
    assert_true(span_is(key_id, "key_1"));
    assert_int_equal(made_ms, 5 * 86400000 + 9 - seen->responses);
    seen->responses++;
    return OK;
}

static void stored_responses_come_back_newest_first(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    const struct store_visitor visitor = {&seen, see_key, see_limit, see_slot, see_response};
    struct store_op ops[3] = {settle_op(7, 5), settle_op(8, 5), settle_op(9, 5)};
    ops[0].usage.upstream_id = SPAN("chatcmpl_7"); /* of another protocol */
    ops[1].usage.upstream_id = SPAN("resp_8");
    ops[2].usage.upstream_id = SPAN("resp_9");
    ops[1].usage.api = ops[2].usage.api = API_OPENAI_RESPONSES;
    assert_int_equal(store_apply(f->store, ops, 3), OK);
    reopen(f);
    assert_int_equal(store_load(f->store, &visitor), OK);
    assert_int_equal(seen.responses, 2);
}

static void slots_come_back_until_they_are_forgotten(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    const struct store_visitor visitor = {&seen, see_key, see_limit, see_slot, see_response};
    struct store_op put = {.kind = STORE_SLOT_PUT};
    put.slot = (struct store_slot){.id = {.bytes = {[3] = 33}},
                                   .key_id = SPAN("key_1"),
                                   .owner = UINT64_MAX - 5,
                                   .due_wall_ms = 1234,
                                   .charged_tokens = 50};
    assert_int_equal(store_apply(f->store, &put, 1), OK);
    reopen(f);
    assert_int_equal(store_load(f->store, &visitor), OK);
    assert_int_equal(seen.slots, 1);
    put.kind = STORE_SLOT_DELETE;
    assert_int_equal(store_apply(f->store, &put, 1), OK);
    assert_int_equal(store_load(f->store, &visitor), OK);
    assert_int_equal(seen.slots, 1);
}

static void keys_and_limits_come_back_at_the_next_start(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    struct store_op ops[4] = {{.kind = STORE_KEY_ADD},
                              {.kind = STORE_KEY_CHANGE},
                              {.kind = STORE_LIMIT_PUT},
                              {.kind = STORE_LIMIT_PUT}};
    ops[0].key = (struct key_attributes){.id = SPAN("key_1"),
                                         .name = SPAN("alice"),
                                         .models = SPAN("gpt-*"),
                                         .tokens_per_minute = 7};
    for (uint8_t i = 0; i < SHA256_BYTES; i++)
        ops[0].key.stored[i] = i;
    ops[1].key = (struct key_attributes){.id = SPAN("key_1"), .revoked_ms = 99};
    ops[1].key_fields = KEY_REVOKED;
    ops[2].limit = (struct limit_saved){SPAN("model:gpt-4"), 4, 1, 1, SPAN("boot")};
    ops[3].limit = (struct limit_saved){SPAN("model:gpt-4"), 5, 2, 2, SPAN("boot")};
    assert_int_equal(store_apply(f->store, ops, 4), OK);
    reopen(f);
    const struct store_visitor visitor = {&seen, see_key, see_limit, see_slot, see_response};
    assert_int_equal(store_load(f->store, &visitor), OK);
    assert_int_equal(seen.keys, 1);
    assert_int_equal(seen.limits, 1);
}

static void a_batch_is_written_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    struct store_op ops[3] = {settle_op(1, 1), {.kind = STORE_KEY_ADD}, {.kind = STORE_KEY_ADD}};
    ops[1].key.id = ops[2].key.id = SPAN("key_same"); /* the second breaks a constraint */
    log_set_fd(-1);
    assert_int_equal(store_apply(f->store, ops, 3), ERR_IO);
    log_set_fd(2);
    assert_int_equal(count_rows(f), 0);
    assert_int_equal(store_apply(f->store, ops, 2), OK); /* and it goes on */
    assert_int_equal(count_rows(f), 1);
}

static void a_failed_batch_leaves_no_trace_in_later_sums(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    struct store_op ops[3] = {settle_op(1, 1), {.kind = STORE_KEY_ADD}, {.kind = STORE_KEY_ADD}};
    ops[1].key.id = ops[2].key.id = SPAN("key_same");
    log_set_fd(-1);
    assert_int_equal(store_apply(f->store, ops, 3), ERR_IO);
    log_set_fd(2);
    struct store_op release = settle_op(1, 1);
    release.kind = STORE_RELEASE;
    release.settles = true;
    assert_int_equal(store_apply(f->store, &release, 1), OK);
    assert_int_equal(release.outcome, STORE_WAITING); /* the report is not there */
    add(f, 2, 1);
    ask(f, (struct usage_query){0}, &answer, &doc);
    assert_int_equal(number(json_at(json_root(&doc), 0), "requests"), 1);
    json_doc_free(&doc);
    buf_free(&answer);
}

static void sums_of_more_keys_than_are_gathered_are_right_too(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 300 };
    static struct store_op ops[MANY];
    static char names[MANY][16];
    struct buf answer = {0};
    struct json_doc doc = {0};
    for (uint32_t i = 0; i < MANY; i++) {
        ops[i] = settle_op(i, 1);
        (void)snprintf(names[i], sizeof names[i], "key_%u", i % 150);
        ops[i].usage.key_id = span_str(names[i]);
    }
    assert_int_equal(store_apply(f->store, ops, MANY), OK);
    ask(f, (struct usage_query){.by = USAGE_BY_KEY}, &answer, &doc);
    assert_int_equal(json_count(json_root(&doc)), 150);
    for (size_t i = 0; i < 150; i++)
        assert_int_equal(number(json_at(json_root(&doc), i), "requests"), 2);
    json_doc_free(&doc);
    buf_free(&answer);
}

static void usage_is_summed_by_what_is_asked(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    for (uint32_t n = 1; n <= 10; n++)
        add(f, n, n <= 5 ? 20000 : 20001);
    static const struct {
        unsigned by;
        uint64_t since, until;
        size_t rows;
        int64_t first_input;
    } cases[] = {{0, 0, 0, 1, 55},
                 {USAGE_BY_MODEL, 0, 0, 2, 30},
                 {USAGE_BY_DAY, 0, 0, 2, 15},
                 {USAGE_BY_DAY | USAGE_BY_MODEL, 0, 0, 4, 6},
                 {USAGE_BY_KEY | USAGE_BY_PROVIDER, 0, 0, 1, 55},
                 {0, 20001, 0, 1, 40},
                 {0, 20000, 20000, 1, 15},
                 {0, 20002, 0, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(f,
            (struct usage_query){
                .by = cases[i].by, .since_day = cases[i].since, .until_day = cases[i].until},
            &answer, &doc);
        assert_int_equal(json_count(json_root(&doc)), cases[i].rows);
        if (cases[i].rows)
            assert_int_equal(number(json_at(json_root(&doc), 0), "input_tokens"),
                             cases[i].first_input);
    }
    ask(f, (struct usage_query){.key_id = SPAN("key_2")}, &answer, &doc);
    assert_int_equal(json_count(json_root(&doc)), 0);
    ask(f, (struct usage_query){.by = USAGE_BY_DAY | USAGE_BY_KEY}, &answer, &doc);
    assert_true(json_is(json_get(json_at(json_root(&doc), 0), "day"), "2024-10-04"));
    assert_true(json_is(json_get(json_at(json_root(&doc), 0), "key_name"), "alice"));
    json_doc_free(&doc);
    buf_free(&answer);
}

static void old_rows_go_and_their_sums_stay(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    for (uint32_t n = 1; n <= 10; n++)
        add(f, n, n <= 6 ? 100 : 200);
    struct store_op prune = {.kind = STORE_PRUNE, .before_day = 150};
    assert_int_equal(store_apply(f->store, &prune, 1), OK);
    assert_int_equal(prune.outcome, STORE_NEW);
    assert_int_equal(count_rows(f), 4);
    assert_int_equal(store_apply(f->store, &prune, 1), OK);
    assert_int_equal(prune.outcome, STORE_DUPLICATE); /* nothing left to prune */
    ask(f, (struct usage_query){0}, &answer, &doc);
    assert_int_equal(number(json_at(json_root(&doc), 0), "requests"), 10);
    json_doc_free(&doc);
    buf_free(&answer);
}

/* Rows of an earlier version, and days that were summed up from them. */
static void a_ledger_of_absurd_rows_is_still_read(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    for (uint32_t n = 1; n <= 6; n++) {
        struct store_op op = settle_op(n, 100 + n % 2);
        op.usage.input_tokens = (uint64_t)1 << 62;
        op.usage.cost_nano = UINT64_MAX;
        assert_int_equal(store_apply(f->store, &op, 1), OK);
    }
    add(f, 7, 300);
    static const unsigned all[] = {0, USAGE_BY_DAY, USAGE_BY_KEY | USAGE_BY_MODEL,
                                   USAGE_BY_PROVIDER};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        ask(f, (struct usage_query){.by = all[i]}, &answer, &doc);
        assert_true(number(json_at(json_root(&doc), 0), "input_tokens") > (int64_t)1 << 61);
        assert_true(number(json_at(json_root(&doc), 0), "cost_nano") > (int64_t)1 << 61);
    }
    ask(f, (struct usage_query){.since_day = 300}, &answer, &doc);
    assert_int_equal(number(json_at(json_root(&doc), 0), "input_tokens"), 7);
    assert_int_equal(number(json_at(json_root(&doc), 0), "cost_nano"), 10);
    assert_int_equal(count_rows(f), 7);
    json_doc_free(&doc);
    buf_free(&answer);
}

/* As after a query that failed for a reason of its own. */
static void a_read_that_fails_fails_alone(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct store_op ops[] = {settle_op(1, 100),
                             {.kind = STORE_USAGE, .query = {.limit = 1}, .answer = &answer},
                             settle_op(2, 100)};
    sqlite3 *db = ((struct store_sqlite *)f->store)->db;
    int before = sqlite3_limit(db, SQLITE_LIMIT_COLUMN, 3); /* too few for the query */
    assert_int_equal(store_apply(f->store, ops, 3), OK);
    assert_int_equal(ops[1].read, ERR_IO);
    assert_int_equal(ops[0].outcome, STORE_NEW);
    assert_int_equal(ops[2].outcome, STORE_NEW);
    (void)sqlite3_limit(db, SQLITE_LIMIT_COLUMN, before);
    assert_int_equal(count_rows(f), 2);
    buf_free(&answer);
}

static void rows_are_pruned_oldest_first_some_at_a_time(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 2500 };
    static struct store_op ops[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        ops[i] = settle_op(0, 100);
        ops[i].usage.id.bytes[0] = (uint8_t)(i >> 8); /* big-endian, as the time in ids */
        ops[i].usage.id.bytes[1] = (uint8_t)i;
    }
    assert_int_equal(store_apply(f->store, ops, MANY), OK);
    struct store_op prune = {.kind = STORE_PRUNE, .before_day = 150};
    for (size_t left = MANY; left; left -= left < 1000 ? left : 1000) {
        assert_int_equal(count_rows(f), left);
        assert_int_equal(store_apply(f->store, &prune, 1), OK);
        assert_int_equal(prune.outcome, STORE_NEW);
    }
    assert_int_equal(count_rows(f), 0);
}

static struct store_op release_op(uint32_t n, uint64_t day, const char *history, const char *class)
{
    struct store_op op = settle_op(n, day);
    op.kind = STORE_RELEASE;
    op.settles = true;
    op.history = span_str(history);
    op.history_class = span_str(class);
    return op;
}

static void ask_of(struct fixture *f, uint32_t n, struct buf *answer)
{
    struct store_op op = {.kind = STORE_REQUEST, .answer = answer};
    memcpy(op.usage.id.bytes, &n, sizeof n);
    buf_clear(answer);
    assert_int_equal(store_apply(f->store, &op, 1), OK);
    assert_int_equal(op.read, OK);
}

static void what_a_request_went_through_is_kept_beside_its_rows(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    struct store_op op = release_op(7, 100, "{\"class\":\"DEADLINE\"}", "DEADLINE");
    assert_int_equal(store_apply(f->store, &op, 1), OK);
    assert_int_equal(op.outcome, STORE_WAITING); /* its row is still to come */
    ask_of(f, 7, &answer);
    assert_true(span_is(buf_span(&answer), "{\"rows\":[],\"history\":{\"class\":\"DEADLINE\"}}"));
    add(f, 7, 100);
    op = release_op(7, 100, "{\"class\":\"INTERNAL\"}", "INTERNAL"); /* sent again */
    assert_int_equal(store_apply(f->store, &op, 1), OK);
    assert_int_equal(op.outcome, STORE_SETTLED);
    ask_of(f, 7, &answer);
    assert_int_equal(json_parse(&doc, buf_span(&answer), JSON_DEPTH_CLIENT), OK);
    struct json root = json_root(&doc), row = json_at(json_get(root, "rows"), 0);
    assert_true(json_is(json_get(row, "error"), "DEADLINE"));
    assert_true(json_is(json_get(json_get(root, "history"), "class"), "DEADLINE"));
    ask_of(f, 8, &answer);
    assert_true(span_is(buf_span(&answer), "{\"rows\":[]}"));
    struct store_op prune = {.kind = STORE_PRUNE, .before_day = 150};
    assert_int_equal(store_apply(f->store, &prune, 1), OK);
    ask_of(f, 7, &answer);
    assert_true(span_is(buf_span(&answer), "{\"rows\":[]}"));
    json_doc_free(&doc);
    buf_free(&answer);
}

static size_t count_of(struct fixture *f, struct usage_query query)
{
    struct buf answer = {0};
    struct json_doc doc = {0};
    query.rows = true;
    ask(f, query, &answer, &doc);
    size_t n = json_count(json_root(&doc));
    json_doc_free(&doc);
    buf_free(&answer);
    return n;
}

static void rows_are_found_by_status_model_and_time(void **state)
{
    static const uint32_t statuses[] = {200, 200, 429, 404, 500, 503, 599};
    struct fixture *f = *state;
    for (uint32_t n = 0; n < 7; n++) {
        struct store_op op = settle_op(n, 100);
        request_id_set_time(&op.usage.id, 100 * (uint64_t)86400000 + (uint64_t)n * 1000);
        op.usage.status = statuses[n];
        assert_int_equal(store_apply(f->store, &op, 1), OK);
    }
    assert_int_equal(count_of(f, (struct usage_query){0}), 7);
    assert_int_equal(count_of(f, (struct usage_query){.statuses = {{500, 599}}, .status_count = 1}),
                     3);
    assert_int_equal(
        count_of(f, (struct usage_query){.statuses = {{500, 599}, {429, 429}}, .status_count = 2}),
        4);
    assert_int_equal(count_of(f, (struct usage_query){.model = SPAN("odd")}), 3);
    assert_int_equal(count_of(f, (struct usage_query){.since_ms = 100 * (uint64_t)86400000 + 5000}),
                     2);
    assert_int_equal(count_of(f, (struct usage_query){.model = SPAN("odd"),
                                                      .key_id = SPAN("key_1"),
                                                      .statuses = {{500, 599}},
                                                      .status_count = 1}),
                     1);
}

static void rows_tell_how_they_came_to_their_cost(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    static const char *const sources[] = {"computed", "stated", "unpriced"};
    for (uint32_t i = 0; i < 3; i++) {
        struct store_op op = settle_op(2 * i, 5);
        memset(op.usage.id.bytes, (int)i, sizeof op.usage.id.bytes);
        op.usage.cache_write_tokens = 9;
        op.usage.cache_write_1h_tokens = 7;
        op.usage.tool_calls = 2;
        op.usage.service_tier = i ? SPAN_NONE : SPAN("flex");
        op.usage.cost_source = i;
        assert_int_equal(store_apply(f->store, &op, 1), OK);
    }
    ask(f, (struct usage_query){.rows = true}, &answer, &doc);
    for (uint32_t i = 0; i < 3; i++) {
        struct json row = json_at(json_root(&doc), 2 - i);
        assert_int_equal(number(row, "cache_write_1h_tokens"), 7);
        assert_int_equal(number(row, "tool_calls"), 2);
        assert_true(json_is(json_get(row, "service_tier"), i ? "" : "flex"));
        assert_true(json_is(json_get(row, "cost_source"), sources[i]));
    }
    ask(f, (struct usage_query){0}, &answer, &doc);
    assert_int_equal(number(json_at(json_root(&doc), 0), "unpriced"), 1);
    json_doc_free(&doc);
    buf_free(&answer);
}

/* A booked row without a price that a report stands for: it leaves the sum of those again. */
static void a_report_takes_the_missing_price_back(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    struct store_op booked = settle_op(1, 5), reported = settle_op(1, 5);
    booked.kind = STORE_RELEASE;
    booked.usage.cost_source = COST_UNPRICED;
    assert_int_equal(store_apply(f->store, &booked, 1), OK);
    ask(f, (struct usage_query){0}, &answer, &doc);
    assert_int_equal(number(json_at(json_root(&doc), 0), "unpriced"), 1);
    reported.usage.cost_source = COST_STATED;
    assert_int_equal(store_apply(f->store, &reported, 1), OK);
    ask(f, (struct usage_query){0}, &answer, &doc);
    assert_int_equal(number(json_at(json_root(&doc), 0), "unpriced"), 0);
    json_doc_free(&doc);
    buf_free(&answer);
}

/* What schemas 3 and 4 added. */
#define SCHEMA_3                                                                                   \
    "ALTER TABLE keys DROP COLUMN before; ALTER TABLE keys DROP COLUMN tags;"                      \
    "ALTER TABLE keys DROP COLUMN blocked_ms; ALTER TABLE keys DROP COLUMN before_until_ms;"       \
    "ALTER TABLE keys DROP COLUMN changed_ms; ALTER TABLE usage DROP COLUMN end_user;"             \
    "ALTER TABLE usage DROP COLUMN tags; DROP TABLE usage_labelled; PRAGMA user_version=3;"
#define SCHEMA_2 SCHEMA_3 "DROP TABLE attempts; PRAGMA user_version=2;"

/* As the versions 0.1 made it: rows with a rowid and two indexes, some of them waiting. */
static const char schema_1[] = SCHEMA_2
    "DROP TABLE usage;"
    "ALTER TABLE usage_daily DROP COLUMN unpriced;"
    "CREATE TABLE usage(id BLOB NOT NULL, attempt INTEGER NOT NULL, state INTEGER NOT NULL,"
    " day INTEGER NOT NULL, key_id TEXT NOT NULL, key_name TEXT NOT NULL, model TEXT NOT NULL,"
    " provider TEXT NOT NULL, upstream_model TEXT NOT NULL, upstream_id TEXT NOT NULL,"
    " api INTEGER NOT NULL, status INTEGER NOT NULL, stream INTEGER NOT NULL,"
    " estimated INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,"
    " cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,"
    " reasoning_tokens INTEGER NOT NULL, cost_nano INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
    " first_ms INTEGER NOT NULL, duration_ms INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX usage_id ON usage(id, attempt);"
    "CREATE INDEX usage_open ON usage(id, attempt) WHERE state <> 0;"
    "CREATE INDEX usage_responses ON usage(started_ms) WHERE api = 4;"
    "PRAGMA user_version=1;";

static void insert_1(sqlite3 *db, unsigned n, unsigned state)
{
    char text[512];
    (void)snprintf(
        text, sizeof text,
        "INSERT INTO usage VALUES(x'%032x',1,%u,100,'key_1','alice','odd','openai','m-1',"
        "'resp_%u',4,200,0,%u,%u,0,0,1,0,10,%u,1,2);",
        n, state, n, state != 0, n, n);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
}

static enum err count_response(void *ctx, struct span id, struct span key_id, uint64_t made_ms)
{
    (void)id;
    (void)key_id;
    (void)made_ms;
    ((struct seen *)ctx)->responses++;
    return OK;
}

static enum err see_none(void *ctx, const struct limit_saved *limit)
{
    (void)ctx;
    (void)limit;
    return OK;
}

static enum err count_key(void *ctx, const struct key_attributes *key)
{
    (void)key;
    ((struct seen *)ctx)->keys++;
    return OK;
}

static enum err count_limit(void *ctx, const struct limit_saved *limit)
{
    (void)limit;
    ((struct seen *)ctx)->limits++;
    return OK;
}

static void labels_sum_to_what_they_are_part_of(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    static const char *const labels[][2] = {
        {"u1", "a,b"}, {"u1", "b"}, {"", ""}, {"u\"2", "c\\n"}, {"", "b"}};
    for (unsigned i = 0; i < 5; i++) {
        struct store_op op = settle_op(i + 1, 10);
        op.usage.end_user = span_str(labels[i][0]);
        op.usage.tags = span_str(labels[i][1]);
        assert_int_equal(store_apply(f->store, &op, 1), OK);
        assert_int_equal(store_apply(f->store, &op, 1), OK); /* sent again */
    }
    static const struct {
        unsigned by;
        const char *member;
        struct {
            const char *label;
            int requests;
        } want[4];
    } cases[] = {{USAGE_BY_USER, "end_user", {{"", 2}, {"u\"2", 1}, {"u1", 2}}},
                 {USAGE_BY_TAG, "tag", {{"", 1}, {"a", 1}, {"b", 3}, {"c\\n", 1}}}};
    for (size_t c = 0; c < 2; c++) {
        ask(f, (struct usage_query){.by = cases[c].by}, &answer, &doc);
        for (size_t i = 0; i < 4 && cases[c].want[i].requests; i++) {
            struct json row = json_at(json_root(&doc), i);
            assert_true(json_is(json_get(row, cases[c].member), cases[c].want[i].label));
            assert_int_equal(number(row, "requests"), cases[c].want[i].requests);
        }
    }
    ask(f, (struct usage_query){.by = USAGE_BY_USER | USAGE_BY_TAG}, &answer, &doc);
    assert_int_equal(json_count(json_root(&doc)), 5);
    ask(f, (struct usage_query){.rows = true, .limit = 2}, &answer, &doc);
    assert_true(json_is(json_get(json_at(json_root(&doc), 1), "end_user"), "u\"2"));
    json_doc_free(&doc);
    buf_free(&answer);
}

static void a_report_takes_the_place_of_its_labelled_estimate(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    struct store_op booked = settle_op(1, 5), reported = settle_op(1, 7);
    booked.kind = STORE_RELEASE;
    booked.usage.end_user = reported.usage.end_user = SPAN("u");
    assert_int_equal(store_apply(f->store, &booked, 1), OK);
    assert_int_equal(store_apply(f->store, &reported, 1), OK);
    ask(f, (struct usage_query){.by = USAGE_BY_USER}, &answer, &doc);
    assert_int_equal(json_count(json_root(&doc)), 1);
    assert_int_equal(number(json_at(json_root(&doc), 0), "requests"), 1);
    json_doc_free(&doc);
    buf_free(&answer);
}

static enum err see_changed(void *ctx, const struct key_attributes *a)
{
    *(struct key_attributes *)ctx = *a;
    assert_true(span_is(a->name, "alice"));
    assert_true(span_is(a->tags, "t1,t2"));
    assert_int_equal(a->stored[0], 9);
    assert_int_equal(a->before[0], 7);
    return OK;
}

static void a_key_is_changed_field_by_field_and_deleted_with_its_limits(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    struct key_attributes got = {0};
    struct store_op ops[5] = {{.kind = STORE_KEY_ADD},
                              {.kind = STORE_KEY_CHANGE, .key_fields = KEY_SECRET | KEY_TAGS},
                              {.kind = STORE_KEY_CHANGE, .key_fields = KEY_PER_MINUTE},
                              {.kind = STORE_LIMIT_PUT},
                              {.kind = STORE_LIMIT_PUT}};
    ops[0].key = (struct key_attributes){
        .id = SPAN("key_1"), .name = SPAN("alice"), .stored = {7}, .tokens_per_minute = 3};
    ops[1].key = (struct key_attributes){.id = SPAN("key_1"),
                                         .name = SPAN("not this"),
                                         .tags = SPAN("t1,t2"),
                                         .stored = {9},
                                         .before_until_ms = 70,
                                         .changed_ms = 60};
    ops[2].key =
        (struct key_attributes){.id = SPAN("key_1"), .requests_per_minute = 8, .changed_ms = 61};
    ops[3].limit.name = SPAN("key:key_1:requests/minute");
    ops[4].limit.name = SPAN("key:key_10:requests/minute");
    ops[3].limit.boot_id = ops[4].limit.boot_id = SPAN("b");
    assert_int_equal(store_apply(f->store, ops, 5), OK);
    reopen(f);
    struct store_visitor visitor = {&got, see_changed, see_none, see_slot, see_response};
    assert_int_equal(store_load(f->store, &visitor), OK);
    assert_int_equal(got.before_until_ms, 70);
    assert_int_equal(got.changed_ms, 61);
    assert_int_equal(got.requests_per_minute, 8);
    assert_int_equal(got.tokens_per_minute, 3);
    struct store_op delete = {.kind = STORE_KEY_DELETE, .key.id = SPAN("key_1")};
    assert_int_equal(store_apply(f->store, &delete, 1), OK);
    visitor = (struct store_visitor){&seen, count_key, count_limit, see_slot, see_response};
    assert_int_equal(store_load(f->store, &visitor), OK);
    assert_int_equal(seen.keys, 0);
    assert_int_equal(seen.limits, 1);
}

static void store_is_widened_from(void **state, const char *schema)
{
    struct fixture *f = *state;
    sqlite3 *db = NULL;
    struct seen seen = {0};
    add(f, 3, 100);
    struct store_op op = {.kind = STORE_KEY_ADD, .key = {.id = SPAN("key_1"), .name = SPAN("a")}};
    assert_int_equal(store_apply(f->store, &op, 1), OK);
    store_close(&f->store);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, schema, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(store_sqlite_open(f->path, SPAN("check"), &f->store), OK);
    const struct store_visitor visitor = {&seen, count_key, count_limit, see_slot, see_response};
    assert_int_equal(store_load(f->store, &visitor), OK);
    assert_int_equal(seen.keys, 1);
    assert_int_equal(count_rows(f), 1);
    add(f, 4, 100);
    assert_int_equal(count_rows(f), 2);
}

static void a_store_of_the_second_schema_is_widened(void **state)
{
    store_is_widened_from(state, SCHEMA_2);
}

static void a_store_of_the_third_schema_is_widened(void **state)
{
    store_is_widened_from(state, SCHEMA_3);
}

static void a_store_of_the_first_schema_is_taken_over(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db = NULL;
    struct buf answer = {0};
    struct json_doc doc = {0};
    struct seen seen = {0};
    const struct store_visitor visitor = {&seen, see_key, see_limit, see_slot, count_response};
    add(f, 3, 100); /* a sum of that day, model and key */
    store_close(&f->store);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, schema_1, NULL, NULL, NULL), SQLITE_OK);
    insert_1(db, 3, 0);
    insert_1(db, 5, 2); /* it waited for its SETTLE */
    insert_1(db, 4, 2);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(store_sqlite_open(f->path, SPAN("check"), &f->store), OK);
        assert_int_equal(count_rows(f), 3);
        ask(f, (struct usage_query){0}, &answer, &doc);
        struct json sum = json_at(json_root(&doc), 0);
        assert_int_equal(number(sum, "requests"), 3);
        assert_int_equal(number(sum, "estimated"), 2);
        assert_int_equal(number(sum, "input_tokens"), 3 + 5 + 4);
        assert_int_equal(number(sum, "cost_nano"), 30);
        store_close(&f->store);
    }
    assert_int_equal(store_sqlite_open(f->path, SPAN("check"), &f->store), OK);
    ask(f, (struct usage_query){.rows = true}, &answer, &doc);
    assert_int_equal(number(json_at(json_root(&doc), 0), "input_tokens"), 5); /* newest first */
    struct store_op late = settle_op(0, 100);
    late.usage.id.bytes[15] = 5;
    assert_int_equal(store_apply(f->store, &late, 1), OK);
    assert_int_equal(late.outcome, STORE_NEW); /* and replaces what was booked */
    assert_int_equal(count_rows(f), 3);
    assert_int_equal(store_load(f->store, &visitor), OK);
    assert_int_equal(seen.responses, 2);
    json_doc_free(&doc);
    buf_free(&answer);
}

static void hostile_text_is_data(void **state)
{
    struct fixture *f = *state;
    struct buf answer = {0};
    struct json_doc doc = {0};
    struct store_op op = settle_op(1, 1);
    op.usage.model = SPAN("x'); DROP TABLE usage; --\n\"\\\x01");
    op.usage.upstream_id = SPAN("\xff\xfe");
    assert_int_equal(store_apply(f->store, &op, 1), OK);
    ask(f, (struct usage_query){.rows = true}, &answer, &doc);
    assert_true(json_is(json_get(json_at(json_root(&doc), 0), "model"),
                        "x'); DROP TABLE usage; --\n\"\\\x01"));
    json_doc_free(&doc);
    buf_free(&answer);
}

/* Writes rows for ever, telling each batch that was acknowledged. */
static void write_until_killed(const char *path, int to)
{
    struct store *store = NULL;
    if (store_sqlite_open(path, SPAN("check"), &store))
        _exit(1);
    for (uint32_t n = 0;; n += 8) {
        struct store_op ops[8];
        for (uint32_t i = 0; i < 8; i++)
            ops[i] = settle_op(n + i, 1);
        if (store_apply(store, ops, 8))
            _exit(1);
        uint32_t done = n + 8;
        if (write(to, &done, sizeof done) != (ssize_t)sizeof done)
            _exit(1);
    }
}

/* T29 in small. */
static void nothing_acknowledged_is_lost_by_kill_9(void **state)
{
    struct fixture *f = *state;
    enum { KILLS = 12 };
    store_close(&f->store);
    for (unsigned round = 0; round < KILLS; round++) {
        int fds[2];
        char path[160];
        uint32_t done, acknowledged = 0;
        (void)snprintf(path, sizeof path, "%s/%u.db", f->folder, round);
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0)
            write_until_killed(path, fds[1]);
        (void)close(fds[1]);
        for (unsigned i = 0;
             i <= round * 3 && read(fds[0], &done, sizeof done) == (ssize_t)sizeof done; i++)
            acknowledged = done;
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        while (read(fds[0], &done, sizeof done) == (ssize_t)sizeof done)
            acknowledged = done;
        (void)close(fds[0]);
        (void)snprintf(f->path, sizeof f->path, "%s", path);
        assert_int_equal(store_sqlite_open(f->path, SPAN("check"), &f->store), OK);
        size_t rows = count_rows(f);
        assert_in_range(rows, acknowledged, acknowledged + 8);
        assert_int_equal(rows % 8, 0); /* whole batches */
        store_close(&f->store);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_for_their_owner_only),
        TEST(a_second_auth_is_refused_and_postgresql_named),
        TEST(another_pepper_is_refused),
        TEST(stored_responses_come_back_newest_first),
        TEST(slots_come_back_until_they_are_forgotten),
        TEST(keys_and_limits_come_back_at_the_next_start),
        TEST(a_batch_is_written_whole_or_not_at_all),
        TEST(a_failed_batch_leaves_no_trace_in_later_sums),
        TEST(sums_of_more_keys_than_are_gathered_are_right_too),
        TEST(usage_is_summed_by_what_is_asked),
        TEST(old_rows_go_and_their_sums_stay),
        TEST(a_ledger_of_absurd_rows_is_still_read),
        TEST(a_read_that_fails_fails_alone),
        TEST(rows_are_pruned_oldest_first_some_at_a_time),
        TEST(rows_tell_how_they_came_to_their_cost),
        TEST(what_a_request_went_through_is_kept_beside_its_rows),
        TEST(rows_are_found_by_status_model_and_time),
        TEST(a_report_takes_the_missing_price_back),
        TEST(labels_sum_to_what_they_are_part_of),
        TEST(a_report_takes_the_place_of_its_labelled_estimate),
        TEST(a_key_is_changed_field_by_field_and_deleted_with_its_limits),
        TEST(a_store_of_the_second_schema_is_widened),
        TEST(a_store_of_the_third_schema_is_widened),
        TEST(a_store_of_the_first_schema_is_taken_over),
        TEST(hostile_text_is_data),
        TEST(nothing_acknowledged_is_lost_by_kill_9),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
