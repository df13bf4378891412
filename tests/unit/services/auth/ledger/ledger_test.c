/* The ledger over a real store: each operation is applied at once, or held back to be applied
 * later, in one transaction. */
#include "unit/services/auth/test_support.h"

#include <stdio.h>

#include <sqlite3.h>

#include "common/base/json.h"
#include "proto/api.h"
#include "services/auth/ledger/ledger.h"
#include "services/auth/limits/lease.h"
#include "services/auth/ledger/possible.h"

static const uint8_t pepper[PEPPER_BYTES] = {5};
enum { DAY = 20000, QUEUE = 64 };
#define STARTED ((uint64_t)DAY * 86400000 + 1000)

struct fixture {
    char folder[64], path[128];
    struct config *config;
    struct store *store;
    struct limits limits;
    struct keys *keys;
    struct leases leases;
    struct reservations reservations;
    struct prices prices; /* no table: the configuration's prices */
    struct ledger ledger;
    struct key *key;
    uint64_t now_ns;
    bool full; /* the disk is */
    struct store_op queue[QUEUE];
    size_t queued;
    bool hold_back;
    enum store_outcome last;
    unsigned acknowledged, refused;
    uint64_t uncounted;
    char edge;
};

static void answer(void *ctx, const struct store_op *op, enum err result)
{
    struct fixture *f = ctx;
    (void)op;
    *(result ? &f->refused : &f->acknowledged) += 1;
}

static enum err submit(void *ctx, const struct store_op *op)
{
    struct fixture *f = ctx;
    assert_true(f->queued < QUEUE);
    f->queue[f->queued++] = *op;
    return OK;
}

/* As the writer tells the results: SETTLEs first. */
static void tell(struct fixture *f, bool settles, enum err e)
{
    for (size_t i = 0; i < f->queued; i++) {
        if ((f->queue[i].kind == STORE_SETTLE) == settles)
            ledger_on_result(&f->ledger, &f->queue[i], e, f->now_ns);
    }
}

static void drain(struct fixture *f)
{
    enum err e = f->full ? ERR_IO : store_apply(f->store, f->queue, f->queued);
    if (f->queued)
        f->last = f->queue[f->queued - 1].outcome;
    tell(f, true, e);
    tell(f, false, e);
    f->queued = 0;
}

static int setup(void **state)
{
    static struct fixture f;
    uint8_t digest[SHA256_BYTES];
    f = (struct fixture){.now_ns = START};
    test_folder(f.folder);
    (void)snprintf(f.path, sizeof f.path, "%s/t.db", f.folder);
    f.config = test_config(
        "providers:\n  openai: { api_keys: [x] }\n"
        "models:\n  m: { targets: [{provider: openai}], price: {input: 3, output: 7} }\n"
        "  dear: { targets: [{provider: openai}], price: {input: 300, output: 700} }\n");
    assert_int_equal(store_sqlite_open(f.path, SPAN("check"), &f.store), OK);
    limits_init(&f.limits);
    leases_init(&f.leases, &f.limits);
    reservations_init(&f.reservations, &f.limits);
    assert_int_equal(keys_create(&f.keys, pepper, &f.limits), OK);
    f.key = test_key(
        f.keys,
        (struct key_attributes){.name = SPAN("alice"), .tokens_per_minute = 1000, .concurrent = 4},
        digest);
    f.ledger = (struct ledger){.submit = submit,
                               .answer = answer,
                               .ctx = &f,
                               .keys = f.keys,
                               .reservations = &f.reservations,
                               .prices = &f.prices,
                               .config = f.config};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    ledger_free(&f->ledger);
    store_close(&f->store);
    reservations_free(&f->reservations);
    leases_free(&f->leases);
    keys_destroy(&f->keys);
    limits_free(&f->limits);
    config_destroy(&f->config);
    test_folder_remove(f->folder);
    return 0;
}

/* ---- what happens to a request ---- */

static struct header header_of(uint8_t n, uint8_t attempt)
{
    return (struct header){.id = {.bytes = {n, 1}}, .attempt = attempt};
}

/* As admission does it: tokens set aside, a slot taken. */
static void admit(struct fixture *f, uint8_t n, uint64_t tokens)
{
    struct header h = header_of(n, 0);
    struct limit_set only = {{f->key->tokens}, 1};
    limit_set_charge(&f->limits, &only, f->now_ns, 1, tokens);
    struct reservation *reservation =
        reservation_add(&f->reservations, &h.id, f->key, f->now_ns + 60 * SECOND);
    reservation->charged_tokens = tokens;
    reservation_take_slot(&f->reservations, reservation, f->now_ns, false);
}

static void settle(struct fixture *f, uint8_t n, uint8_t attempt, uint64_t input, uint64_t output)
{
    struct header h = header_of(n, attempt);
    struct settle m = {.key_id = f->key->is.id,
                       .key_name = f->key->is.name,
                       .model = SPAN("m"),
                       .provider = SPAN("openai"),
                       .upstream_model = SPAN("m-1"),
                       .status = 200,
                       .input_tokens = input,
                       .output_tokens = output,
                       .cost_nano = input * 2 + output * 5,
                       .started_ms = STARTED};
    assert_int_equal(
        ledger_on_settle(&f->ledger, &h, &m, SPAN("worker-1"), f->now_ns, STARTED, NULL), OK);
    if (!f->hold_back)
        drain(f);
}

static void release(struct fixture *f, uint8_t n, uint8_t attempt, bool settles, unsigned status)
{
    struct header h = header_of(n, attempt);
    struct release m = {.key_id = f->key->is.id,
                        .model = SPAN("m"),
                        .provider = SPAN("openai"),
                        .settles = settles,
                        .status = status,
                        .input_tokens = 11,
                        .output_tokens = 13,
                        .reserved_tokens = 100,
                        .started_ms = STARTED};
    assert_int_equal(ledger_on_release(&f->ledger, &h, &m, f->now_ns, STARTED, NULL), OK);
    if (!f->hold_back)
        drain(f);
}

static void wait_and_book(struct fixture *f, uint64_t ms)
{
    f->now_ns += ms * 1000000;
    ledger_tick(&f->ledger, f->now_ns, STARTED);
    drain(f);
}

/* ---- what the ledger says ---- */

struct row {
    int64_t requests, estimated, input, output, cost;
};

static int64_t number(struct json v, const char *name)
{
    int64_t n = -1;
    (void)json_i64(json_get(v, name), &n);
    return n;
}

static void query(struct fixture *f, bool rows, struct buf *answer, struct json_doc *doc)
{
    struct store_op op = {.kind = STORE_USAGE,
                          .query = {.rows = rows, .since_day = DAY, .until_day = DAY, .limit = 100},
                          .answer = answer};
    assert_int_equal(store_apply(f->store, &op, 1), OK);
    assert_int_equal(json_parse(doc, buf_span(answer), JSON_DEPTH_CLIENT), OK);
}

static size_t count_rows(struct fixture *f)
{
    struct buf answer = {0};
    struct json_doc doc = {0};
    query(f, true, &answer, &doc);
    size_t n = json_count(json_root(&doc));
    json_doc_free(&doc);
    buf_free(&answer);
    return n;
}

static void assert_sums(struct fixture *f, int64_t requests, int64_t estimated, int64_t input,
                        int64_t output, int64_t cost)
{
    struct buf answer = {0};
    struct json_doc doc = {0};
    query(f, false, &answer, &doc);
    struct json sum = json_at(json_root(&doc), 0);
    if (requests == 0) {
        assert_int_equal(json_count(json_root(&doc)), 0);
    } else {
        assert_int_equal(number(sum, "requests"), requests);
        assert_int_equal(number(sum, "estimated"), estimated);
        assert_int_equal(number(sum, "input_tokens"), input);
        assert_int_equal(number(sum, "output_tokens"), output);
        assert_int_equal(number(sum, "cost_nano"), cost);
    }
    json_doc_free(&doc);
    buf_free(&answer);
}

static uint64_t tokens_left(const struct fixture *f)
{
    return gcra_remaining(&f->key->tokens->gcra, f->now_ns);
}

/* ---- tests ---- */

static void a_settled_request_is_one_row_and_its_tokens_are_corrected(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    settle(f, 1, 1, 20, 30);
    release(f, 1, 1, true, 200);
    assert_sums(f, 1, 0, 20, 30, 190);
    assert_int_equal(count_rows(f), 1);
    assert_int_equal(tokens_left(f), 950);
    assert_int_equal(f->key->in_flight, 0);
    assert_int_equal(f->reservations.table.count, 0);
}

static void what_cannot_be_is_booked_as_an_estimate_and_locks_nobody_out(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    settle(f, 1, 1, (uint64_t)1 << 62, UINT64_MAX);
    release(f, 1, 1, true, 200);
    drain(f);
    assert_sums(f, 1, 1, (int64_t)POSSIBLE_TOKENS, (int64_t)POSSIBLE_TOKENS,
                (int64_t)POSSIBLE_COST_NANO);
    f->now_ns += 8 * 24 * GCRA_HOUR;
    assert_true(tokens_left(f) > 0);
}

static void the_order_of_settle_and_release_does_not_matter(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    release(f, 1, 1, true, 200);
    assert_sums(f, 0, 0, 0, 0, 0); /* waiting: neither shown nor summed */
    assert_int_equal(count_rows(f), 0);
    assert_int_equal(f->key->in_flight, 0);
    assert_int_equal(f->acknowledged, 0);
    settle(f, 1, 1, 20, 30);
    assert_int_equal(f->acknowledged, 2);
    wait_and_book(f, 60000);
    assert_sums(f, 1, 0, 20, 30, 190);
    assert_int_equal(f->reservations.table.count, 0);
}

static void everything_sent_twice_counts_once(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    for (int i = 0; i < 3; i++) {
        settle(f, 1, 1, 20, 30);
        release(f, 1, 1, true, 200);
    }
    assert_int_equal(f->last, STORE_SETTLED);
    assert_sums(f, 1, 0, 20, 30, 190);
    assert_int_equal(tokens_left(f), 950);
}

static void sent_twice_within_one_batch_counts_once(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    f->hold_back = true;
    settle(f, 1, 1, 20, 30);
    release(f, 1, 1, true, 200);
    settle(f, 1, 1, 20, 30);
    release(f, 1, 1, true, 200);
    drain(f);
    assert_sums(f, 1, 0, 20, 30, 190);
    assert_int_equal(tokens_left(f), 950);
    assert_int_equal(f->key->in_flight, 0);
}

static void without_a_settle_an_estimate_is_booked_after_the_grace(void **state)
{
    struct fixture *f = *state;
    struct limit_set only = {{f->key->tokens}, 1};
    limit_set_charge(&f->limits, &only, f->now_ns, 0,
                     500); /* so that the bucket stays far from full */
    admit(f, 1, 100);
    release(f, 1, 1, true, 499);
    wait_and_book(f, 4900);
    assert_sums(f, 0, 0, 0, 0, 0);
    wait_and_book(f, 200);
    assert_sums(f, 1, 1, 11, 13, 11 * 3000 + 13 * 7000);
    assert_int_equal(f->reservations.table.count, 0);
    uint64_t flowed_back = 5100 * 1000 / 60000;
    assert_in_range(tokens_left(f), 500 - 11 - 13 + flowed_back - 1,
                    500 - 11 - 13 + flowed_back + 1);
}

static void a_late_settle_replaces_the_estimate(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    release(f, 1, 1, true, 499);
    wait_and_book(f, 6000);
    settle(f, 1, 1, 20, 30);
    assert_sums(f, 1, 0, 20, 30, 190);
    assert_int_equal(count_rows(f), 1);
    settle(f, 1, 1, 20, 30);
    assert_int_equal(count_rows(f), 1);
}

static void a_later_attempts_estimate_survives_an_earlier_attempts_report(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    release(f, 1, 2, true, 502);
    wait_and_book(f, 6000);
    settle(f, 1, 1, 5, 0); /* attempt 1 was billed; attempt 2's worker is lost */
    assert_int_equal(count_rows(f), 2);
    settle(f, 1, 2, 20, 30);
    assert_int_equal(count_rows(f), 2);
    assert_sums(f, 2, 0, 25, 30, 200);
}

static void an_earlier_attempts_report_does_not_stand_for_a_later_one(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    settle(f, 1, 1, 5, 0);
    release(f, 1, 2, true, 502);
    wait_and_book(f, 6000);
    assert_sums(f, 2, 1, 16, 13, 10 + 11 * 3000 + 13 * 7000);
}

static void a_request_that_reached_no_worker_has_a_row_of_no_tokens(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    release(f, 1, 0, false, 503);
    assert_sums(f, 1, 1, 0, 0, 0);
    assert_int_equal(tokens_left(f), 1000); /* what was set aside is back */
    settle(f, 1, 1, 20, 30);                /* it did reach one, says the worker */
    assert_sums(f, 1, 0, 20, 30, 190);
}

static void
a_release_that_waits_is_not_acknowledged_and_booked_by_the_next_life_of_auth(void **state)
{
    struct fixture *f = *state;
    release(f, 1, 1, true, 499);
    assert_int_equal(f->acknowledged, 0); /* so its edge keeps it */
    ledger_free(&f->ledger);              /* killed */
    reservations_free(&f->reservations);
    reservations_init(&f->reservations, &f->limits);
    store_close(&f->store);
    assert_int_equal(store_sqlite_open(f->path, SPAN("check"), &f->store), OK);
    release(f, 1, 1, true, 499);
    wait_and_book(f, 5100);
    assert_sums(f, 1, 1, 11, 13, 11 * 3000 + 13 * 7000);
    assert_int_equal(f->acknowledged, 1);
}

static void a_release_that_waits_and_is_sent_again_waits_no_longer(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    release(f, 1, 1, true, 499);
    wait_and_book(f, 3000);
    release(f, 1, 1, true, 499);
    assert_int_equal(f->refused, 1); /* the first asks no more */
    wait_and_book(f, 2100);
    assert_sums(f, 1, 1, 11, 13, 11 * 3000 + 13 * 7000);
    assert_int_equal(f->acknowledged, 1);
    release(f, 1, 1, true, 499); /* the acknowledgement got lost */
    assert_int_equal(f->acknowledged, 2);
    assert_int_equal(count_rows(f), 1);
}

static void what_waits_is_booked_at_the_end_and_a_settle_still_replaces_it(void **state)
{
    struct fixture *f = *state;
    release(f, 1, 1, true, 499);
    release(f, 2, 1, true, 499);
    ledger_book_all(&f->ledger);
    drain(f);
    assert_int_equal(f->acknowledged, 2);
    assert_int_equal(count_rows(f), 2);
    settle(f, 1, 1, 20, 30);
    assert_int_equal(count_rows(f), 2);
    assert_sums(f, 2, 1, 31, 43, 190 + 11 * 3000 + 13 * 7000);
}

/* ---- what is written ---- */

static void run_sql(struct fixture *f, const char *text)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t query_number(struct fixture *f, const char *text)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(q, 0);
    (void)sqlite3_finalize(q);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return n;
}

static void a_request_is_one_insert_whatever_comes_first(void **state)
{
    struct fixture *f = *state;
    run_sql(f, "CREATE TABLE writes(kind TEXT);"
               "CREATE TRIGGER i AFTER INSERT ON usage BEGIN INSERT INTO writes VALUES('i'); END;"
               "CREATE TRIGGER u AFTER UPDATE ON usage BEGIN INSERT INTO writes VALUES('u'); END;"
               "CREATE TRIGGER d AFTER DELETE ON usage BEGIN INSERT INTO writes VALUES('d'); END;");
    f->hold_back = true;
    for (uint8_t n = 0; n < 8; n++) { /* within one transaction, in either order */
        admit(f, n, 100);
        if (n % 2)
            settle(f, n, 1, 20, 30);
        release(f, n, 1, true, 200);
        if (n % 2 == 0)
            settle(f, n, 1, 20, 30);
    }
    drain(f);
    for (uint8_t n = 8; n < 16; n++) { /* in two */
        admit(f, n, 100);
        if (n % 2)
            settle(f, n, 1, 20, 30);
        else
            release(f, n, 1, true, 200);
    }
    drain(f);
    wait_and_book(f, 4900); /* just within the grace */
    for (uint8_t n = 8; n < 16; n++) {
        if (n % 2)
            release(f, n, 1, true, 200);
        else
            settle(f, n, 1, 20, 30);
    }
    drain(f);
    wait_and_book(f, 10000);
    assert_int_equal(query_number(f, "SELECT count(*) FROM writes WHERE kind='i'"), 16);
    assert_int_equal(query_number(f, "SELECT count(*) FROM writes WHERE kind<>'i'"), 0);
    assert_sums(f, 16, 0, 16 * 20, 16 * 30, 16 * 190);
    assert_int_equal(f->acknowledged, 32);
    assert_int_equal(f->reservations.table.count, 0);
    assert_int_equal(f->key->in_flight, 0);
}

static void the_order_within_a_transaction_changes_no_correction(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    f->hold_back = true;
    release(f, 1, 1, true, 200);
    settle(f, 1, 1, 20, 30);
    drain(f);
    assert_int_equal(tokens_left(f), 950);
    assert_int_equal(f->reservations.table.count, 0);
}

static void nothing_changes_when_the_store_is_full_and_all_comes_right_after(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    f->full = true;
    settle(f, 1, 1, 20, 30);
    release(f, 1, 1, true, 200);
    assert_int_equal(f->key->in_flight, 0); /* the slot is free all the same */
    f->full = false;
    assert_sums(f, 0, 0, 0, 0, 0);
    settle(f, 1, 1, 20, 30); /* sent again, for it was not acknowledged */
    release(f, 1, 1, true, 200);
    assert_sums(f, 1, 0, 20, 30, 190);
    assert_int_equal(tokens_left(f), 950);
}

static void booking_is_tried_again_when_the_store_refuses_it(void **state)
{
    struct fixture *f = *state;
    release(f, 1, 1, true, 499);
    f->full = true;
    wait_and_book(f, 6000);
    f->full = false;
    assert_int_equal(count_rows(f), 0);
    wait_and_book(f, 2000);
    assert_int_equal(count_rows(f), 1);
}

static void a_leased_request_is_corrected_from_what_its_lease_set_aside(void **state)
{
    struct fixture *f = *state;
    struct limit_set only = {{f->key->tokens}, 1};
    struct lease_party who = {&f->edge, f->key, &only};
    struct lease_terms t;
    lease_grant(&f->leases, &who, f->now_ns, 1, 0, &t);
    assert_int_equal(t.charged.tokens, 250);
    settle(f, 1, 1, 20, 30);
    struct header h = header_of(1, 1);
    struct release m = {.key_id = f->key->is.id,
                        .model = SPAN("m"),
                        .settles = true,
                        .status = 200,
                        .reserved_tokens = 100,
                        .started_ms = STARTED};
    assert_int_equal(ledger_on_release(&f->ledger, &h, &m, f->now_ns, STARTED, NULL), OK);
    drain(f);
    const struct lease_report report = {t.lease, {1, 100}, t.charged, true};
    assert_non_null(lease_told(&f->leases, &who, &report, f->now_ns));
    assert_int_equal(tokens_left(f), 950);
    assert_int_equal(f->reservations.table.count, 0);
}

/* Nothing of it is charged twice, whatever is sent twice. */
static void a_release_that_is_sent_again_gives_back_once(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    assert_int_equal(tokens_left(f), 900);
    release(f, 1, 0, false, 503);
    assert_int_equal(tokens_left(f), 1000);
    f->key->tokens->gcra.full_ns = 0;
    admit(f, 2, 300);
    for (int i = 0; i < 3; i++) {
        release(f, 1, 0, false, 503);
        assert_int_equal(tokens_left(f), 700);
    }
    assert_int_equal(count_rows(f), 1);
}

static void note_uncounted(void *ctx, const struct key *key, struct span model, uint64_t tokens)
{
    struct fixture *f = ctx;
    assert_true(key == f->key && span_is(model, "m"));
    f->uncounted += tokens;
}

static void what_an_ended_edge_admitted_alone_is_charged_once(void **state)
{
    struct fixture *f = *state;
    struct header h = header_of(1, 1);
    struct release m = {.key_id = f->key->is.id,
                        .model = SPAN("m"),
                        .settles = true,
                        .uncounted = 1,
                        .status = 200,
                        .reserved_tokens = 100,
                        .started_ms = STARTED};
    f->ledger.uncounted = note_uncounted;
    assert_int_equal(ledger_on_release(&f->ledger, &h, &m, f->now_ns, STARTED, NULL), OK);
    assert_int_equal(f->uncounted, 0); /* its edge tells */
    drain(f);
    h = header_of(2, 1);
    m.uncounted = 2;
    for (int i = 0; i < 3; i++)
        assert_int_equal(ledger_on_release(&f->ledger, &h, &m, f->now_ns, STARTED, NULL), OK);
    drain(f);
    assert_int_equal(ledger_on_release(&f->ledger, &h, &m, f->now_ns, STARTED, NULL), OK);
    assert_int_equal(f->uncounted, 100);
}

static void settle_response(struct fixture *f, uint8_t n, const char *id, uint64_t tokens,
                            bool seen)
{
    struct header h = header_of(n, 1);
    struct settle m = {.key_id = f->key->is.id,
                       .model = SPAN("m"),
                       .provider = SPAN("openai"),
                       .api = API_OPENAI_RESPONSES,
                       .upstream_id = span_str(id),
                       .status = 200,
                       .input_tokens = 20,
                       .output_tokens = tokens,
                       .cost_nano = tokens,
                       .estimated = !seen,
                       .of_response = seen,
                       .started_ms = STARTED};
    assert_int_equal(
        ledger_on_settle(&f->ledger, &h, &m, SPAN("worker-1"), f->now_ns, STARTED, NULL), OK);
    drain(f);
}

static void a_background_response_is_corrected_when_its_usage_is_seen(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    settle_response(f, 1, "resp_1", 500, false);
    release(f, 1, 1, true, 200);
    assert_sums(f, 1, 1, 20, 500, 500);
    assert_int_equal(tokens_left(f), 480);
    settle_response(f, 2, "resp_2", 7, true); /* of nobody */
    settle_response(f, 3, "resp_1", 30, true);
    assert_sums(f, 1, 0, 20, 30, 30);
    assert_int_equal(tokens_left(f), 950);
    settle_response(f, 4, "resp_1", 900, true); /* it is known already */
    assert_sums(f, 1, 0, 20, 30, 30);
    assert_int_equal(tokens_left(f), 950);
    assert_int_equal(count_rows(f), 1);
    assert_int_equal(f->reservations.table.count, 0);
}

static void an_estimate_is_priced_as_the_fallback_that_answered(void **state)
{
    struct fixture *f = *state;
    struct header h = header_of(1, 1);
    struct release m = {.key_id = f->key->is.id,
                        .model = SPAN("m"),
                        .answered = SPAN("dear"),
                        .settles = true,
                        .status = 499,
                        .input_tokens = 10,
                        .output_tokens = 1,
                        .started_ms = STARTED};
    assert_int_equal(ledger_on_release(&f->ledger, &h, &m, f->now_ns, STARTED, NULL), OK);
    drain(f);
    wait_and_book(f, 5000);
    assert_sums(f, 1, 1, 10, 1, 10 * 300000 + 700000);
}

static void a_settle_of_a_worker_that_the_release_does_not_name_is_not_believed(void **state)
{
    struct fixture *f = *state;
    for (uint8_t n = 1; n <= 8; n++) { /* in either order */
        struct header h = header_of(n, 1);
        struct release m = {.key_id = f->key->is.id,
                            .model = SPAN("m"),
                            .settles = true,
                            .status = 200,
                            .started_ms = STARTED,
                            .workers = n % 4 < 2 ? SPAN("worker-2,worker-1") : SPAN("worker-2")};
        f->key->tokens->gcra.full_ns = 0;
        admit(f, n, 100);
        if (n % 2)
            settle(f, n, 1, 100, 50);
        assert_int_equal(ledger_on_release(&f->ledger, &h, &m, f->now_ns, STARTED, NULL), OK);
        drain(f);
        if (n % 2 == 0)
            settle(f, n, 1, 100, 50);
        assert_int_equal(tokens_left(f), n % 4 < 2 ? 850 : 900);
        assert_int_equal(f->reservations.table.count, 0);
    }
    assert_int_equal(count_rows(f), 8); /* the rows stand all the same */
}

static void an_abandoned_request_gives_all_back_and_leaves_no_row(void **state)
{
    struct fixture *f = *state;
    struct header h = header_of(1, 0);
    admit(f, 1, 100);
    ledger_on_abandoned(&f->ledger, &h, f->now_ns);
    ledger_on_abandoned(&f->ledger, &h, f->now_ns);
    assert_int_equal(f->key->in_flight, 0);
    assert_int_equal(tokens_left(f), 1000);
    assert_int_equal(count_rows(f), 0);
}

static void a_running_requests_slot_survives_a_restart(void **state)
{
    struct fixture *f = *state;
    struct store_slot slot = {.key_id = f->key->is.id,
                              .owner = 7,
                              .due_wall_ms = STARTED + 60000,
                              .id = header_of(1, 1).id};
    assert_int_equal(ledger_on_slot(&f->ledger, &slot, f->now_ns, STARTED), OK);
    assert_int_equal(f->key->in_flight, 1);
    reservations_owner_back(&f->reservations, 7); /* its edge is there again */
    settle(f, 1, 1, 20, 30);
    release(f, 1, 1, true, 200);
    assert_int_equal(f->key->in_flight, 0);
    slot.due_wall_ms = STARTED; /* its time is over */
    assert_int_equal(ledger_on_slot(&f->ledger, &slot, f->now_ns, STARTED), OK);
    assert_int_equal(f->key->in_flight, 0);
}

static void a_slot_that_lasts_is_stored_by_the_tick(void **state)
{
    struct fixture *f = *state;
    admit(f, 1, 100);
    f->now_ns += SECOND;
    ledger_tick(&f->ledger, f->now_ns, STARTED);
    assert_int_equal(f->queued, 1);
    assert_int_equal(f->queue[0].kind, STORE_SLOT_PUT);
    assert_true(span_equals(f->queue[0].slot.key_id, f->key->is.id));
    assert_int_equal(f->queue[0].slot.due_wall_ms, STARTED + 59000);
    f->full = true;
    drain(f);
    f->full = false;
    ledger_tick(&f->ledger, f->now_ns + SECOND, STARTED); /* it failed: again */
    assert_int_equal(f->queued, 1);
    drain(f);
}

static void a_row_of_an_unknown_key_is_kept_too(void **state)
{
    struct fixture *f = *state;
    struct header h = header_of(9, 1);
    struct settle m = {
        .key_id = SPAN("key_gone"), .model = SPAN("m"), .input_tokens = 1, .started_ms = STARTED};
    assert_int_equal(
        ledger_on_settle(&f->ledger, &h, &m, SPAN("worker-1"), f->now_ns, STARTED, NULL), OK);
    drain(f);
    assert_sums(f, 1, 0, 1, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void only_a_sound_history_of_a_bounded_size_is_taken(void **state)
{
    struct fixture *f = *state;
    static char large[40000];
    memset(large, ' ', sizeof large - 1);
    large[0] = '{';
    large[sizeof large - 2] = '}';
    const struct {
        const char *text;
        bool taken;
    } cases[] = {{"", false},
                 {"[]", false},
                 {"{\"class\":", false},
                 {"{}{}", false},
                 {large, false},
                 {"{}", true},
                 {"{\"class\":\"DEADLINE\",\"attempts\":[]}", true}};
    for (uint8_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct header h = header_of(i, 1);
        struct release m = {.key_id = f->key->is.id,
                            .model = SPAN("m"),
                            .started_ms = STARTED,
                            .history = span_str(cases[i].text)};
        assert_int_equal(ledger_on_release(&f->ledger, &h, &m, f->now_ns, STARTED, NULL), OK);
        assert_int_equal(f->queue[f->queued - 1].history.len > 0, cases[i].taken);
    }
    assert_true(span_is(f->queue[f->queued - 1].history_class, "DEADLINE"));
    drain(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_settled_request_is_one_row_and_its_tokens_are_corrected),
        TEST(what_cannot_be_is_booked_as_an_estimate_and_locks_nobody_out),
        TEST(the_order_of_settle_and_release_does_not_matter),
        TEST(everything_sent_twice_counts_once),
        TEST(sent_twice_within_one_batch_counts_once),
        TEST(without_a_settle_an_estimate_is_booked_after_the_grace),
        TEST(a_late_settle_replaces_the_estimate),
        TEST(a_later_attempts_estimate_survives_an_earlier_attempts_report),
        TEST(an_earlier_attempts_report_does_not_stand_for_a_later_one),
        TEST(a_request_that_reached_no_worker_has_a_row_of_no_tokens),
        TEST(a_release_that_waits_is_not_acknowledged_and_booked_by_the_next_life_of_auth),
        TEST(a_release_that_waits_and_is_sent_again_waits_no_longer),
        TEST(what_waits_is_booked_at_the_end_and_a_settle_still_replaces_it),
        TEST(a_request_is_one_insert_whatever_comes_first),
        TEST(the_order_within_a_transaction_changes_no_correction),
        TEST(nothing_changes_when_the_store_is_full_and_all_comes_right_after),
        TEST(booking_is_tried_again_when_the_store_refuses_it),
        TEST(a_leased_request_is_corrected_from_what_its_lease_set_aside),
        TEST(a_release_that_is_sent_again_gives_back_once),
        TEST(what_an_ended_edge_admitted_alone_is_charged_once),
        TEST(a_background_response_is_corrected_when_its_usage_is_seen),
        TEST(an_estimate_is_priced_as_the_fallback_that_answered),
        TEST(a_settle_of_a_worker_that_the_release_does_not_name_is_not_believed),
        TEST(an_abandoned_request_gives_all_back_and_leaves_no_row),
        TEST(a_running_requests_slot_survives_a_restart),
        TEST(a_slot_that_lasts_is_stored_by_the_tick),
        TEST(a_row_of_an_unknown_key_is_kept_too),
        TEST(only_a_sound_history_of_a_bounded_size_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
