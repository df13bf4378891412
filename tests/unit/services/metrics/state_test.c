#include "unit/services/metrics/test_prometheus.h"

#include "services/metrics/state.h"

static const struct source edge = {{"edge", 4}, {"edge-1", 6}};

struct world {
    struct series_store *store;
    struct senders *senders;
};

static void open_world(struct world *w)
{
    assert_int_equal(store_create(&w->store, 100), OK);
    assert_int_equal(senders_create(&w->senders, 1 << 20), OK);
}

static void close_world(struct world *w)
{
    store_destroy(&w->store);
    senders_destroy(&w->senders);
}

static void fill(struct world *w)
{
    static const uint64_t buckets[METRIC_BUCKETS] = {[0] = 1ull << 50, [17] = 3};
    struct sender_total *t;
    assert_int_equal(store_apply(w->store, &edge, METRIC_RETRIES, SPAN("a \"\n\x1f\xc3\xa9"),
                                 INT64_MAX - 1, NULL),
                     OK);
    assert_int_equal(store_apply(w->store, &edge, METRIC_LEDGER_ROWS, SPAN(""), 2, NULL), OK);
    assert_int_equal(store_apply(w->store, &edge, METRIC_QUEUE_DEPTH, SPAN_NONE, 7, NULL), OK);
    assert_int_equal(store_apply(w->store, &edge, METRIC_QUEUE_WAIT, SPAN_NONE, 900, buckets), OK);
    struct sender *who = senders_hear(w->senders, UINT64_MAX, 5);
    assert_int_equal(senders_total(w->senders, who, 3, false, &t), OK);
    t->value = 11;
    assert_int_equal(senders_total(w->senders, who, 5, true, &t), OK);
    t->value = 900;
    memcpy(t->buckets, buckets, sizeof buckets);
    (void)senders_hear(w->senders, 6, 6);
    senders_away(w->senders, 6);
}

static void what_is_written_is_read_back_without_gauges(void **state)
{
    (void)state;
    struct world before, after;
    struct buf text = {0}, again = {0};
    struct sender_total *t;
    open_world(&before);
    open_world(&after);
    fill(&before);
    state_write(before.store, before.senders, &text);
    assert_int_equal(state_read(after.store, after.senders, buf_span(&text), 1), OK);
    assert_null(store_first(after.store, METRIC_QUEUE_DEPTH));
    const struct series *s = store_first(after.store, METRIC_RETRIES);
    assert_true(s->value == INT64_MAX - 1);
    assert_true(span_is(s->labels[0], "a \"\n") && span_is(s->labels[1], "\xc3\xa9"));
    assert_true(store_first(after.store, METRIC_QUEUE_WAIT)->buckets[0] == 1ull << 50);
    assert_int_equal(senders_awaited(after.senders), 1);
    assert_int_equal(
        senders_total(after.senders, senders_hear(after.senders, UINT64_MAX, 2), 3, false, &t), OK);
    assert_int_equal(t->value, 11);
    /* And written as it was, those not heard of since among those awaited. */
    state_write(after.store, after.senders, &again);
    assert_int_equal(text.len, again.len);
    buf_free(&text);
    buf_free(&again);
    close_world(&before);
    close_world(&after);
}

static void what_is_not_ours_is_refused_and_metrics_of_other_versions_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err e;
    } cases[] = {
        {"", ERR_INVALID},
        {"[]", ERR_VERSION},
        {"{\"version\":1}", ERR_VERSION},
        {"{\"version\":2}", OK},
        {"{\"version\":2,\"series\":[{\"name\":\"no_such\",\"value\":1}]}", OK},
        {"{\"version\":2,\"series\":[{\"name\":\"tollgate_up\",\"value\":1}]}", ERR_INVALID},
        {"{\"version\":2,\"series\":[{\"name\":\"tollgate_ledger_rows_total\",\"value\":-1}]}",
         ERR_INVALID},
        {"{\"version\":2,\"series\":[{\"name\":\"tollgate_queue_wait_seconds\",\"value\":1}]}",
         ERR_INVALID},
        {"{\"version\":2,\"series\":[{\"name\":\"tollgate_queue_wait_seconds\",\"value\":1,"
         "\"buckets\":[1,2]}]}",
         ERR_INVALID},
        {"{\"version\":2,\"senders\":[{\"epoch\":\"x\",\"here\":true}]}", ERR_INVALID},
        {"{\"version\":2,\"senders\":[{\"epoch\":\"1\",\"here\":true,\"totals\":[[1,2]]}]}",
         ERR_INVALID},
        {"{\"version\":2,\"senders\":[{\"epoch\":\"1\",\"here\":true,\"totals\":[[-1]]}]}",
         ERR_INVALID},
        {"{\"version\":2,\"senders\":[{\"epoch\":\"1\",\"here\":true,\"totals\":[[],[5]]}]}", OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        open_world(&w);
        assert_int_equal(state_read(w.store, w.senders, span_str(cases[i].text), 1), cases[i].e);
        close_world(&w);
    }
}

static void a_file_that_cannot_be_written_or_is_not_there_is_told(void **state)
{
    (void)state;
    struct buf text = {0};
    assert_int_equal(state_save("/nowhere/at/all", SPAN("x")), ERR_IO);
    assert_int_equal(state_load("/nowhere/at/all", &text), ERR_NOT_FOUND);
    assert_int_equal(state_load("/", &text), ERR_IO);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back_without_gauges),
        cmocka_unit_test(what_is_not_ours_is_refused_and_metrics_of_other_versions_left_out),
        cmocka_unit_test(a_file_that_cannot_be_written_or_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
