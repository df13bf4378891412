#include "unit/services/metrics/test_prometheus.h"

#include <stdio.h>

#include "services/metrics/expose.h"
#include "services/metrics/store.h"

static const struct source broker1 = {{"broker", 6}, {"broker-1", 8}};
static const struct source broker2 = {{"broker", 6}, {"broker-2", 8}};

static struct series_store *fresh(uint32_t max)
{
    struct series_store *s;
    assert_int_equal(store_create(&s, max), OK);
    return s;
}

static void put(struct series_store *s, const struct source *from, enum metric_id id,
                const char *labels, int64_t value)
{
    assert_int_equal(store_apply(s, from, id, span_str(labels), value, NULL), OK);
}

static unsigned length(const struct series_store *s, enum metric_id id, bool hidden_too)
{
    unsigned n = 0;
    for (const struct series *x = store_first(s, id); x; x = x->next)
        n += hidden_too || !x->away;
    return n;
}

static void counters_add_up_over_daemons_and_their_restarts(void **state)
{
    (void)state;
    struct series_store *s = fresh(100);
    put(s, &broker1, METRIC_RETRIES, "openai\x1fupstream_error", 3);
    put(s, &broker2, METRIC_RETRIES, "openai\x1fupstream_error", 4);
    store_hide(s, broker1.name, 1);
    store_forget(s, broker1.name);
    put(s, &broker1, METRIC_RETRIES, "openai\x1fupstream_error", 5);
    put(s, &broker1, METRIC_RETRIES, "openai\x1fupstream_reset", 1);
    const struct series *x = store_first(s, METRIC_RETRIES);
    assert_int_equal(x->value, 12);
    assert_int_equal(x->label_count, 2);
    assert_true(span_is(x->labels[0], "openai") && span_is(x->labels[1], "upstream_error"));
    assert_int_equal(x->instance.len, 0);
    assert_int_equal(x->next->value, 1);
    store_destroy(&s);
    assert_null(s);
}

static void gauges_are_kept_by_daemon_and_hidden_with_it(void **state)
{
    (void)state;
    struct series_store *s = fresh(100);
    put(s, &broker1, METRIC_QUEUE_DEPTH, "", 7);
    put(s, &broker2, METRIC_QUEUE_DEPTH, "", 9);
    put(s, &broker1, METRIC_QUEUE_DEPTH, "", 2);
    assert_int_equal(store_first(s, METRIC_QUEUE_DEPTH)->value, 2);
    assert_int_equal(length(s, METRIC_QUEUE_DEPTH, false), 2);
    store_hide(s, broker1.name, 1000);
    assert_int_equal(length(s, METRIC_QUEUE_DEPTH, false), 1);
    store_show(s, broker1.name);
    assert_int_equal(length(s, METRIC_QUEUE_DEPTH, false), 2);
    store_hide(s, broker1.name, 1000);
    store_purge(s, 1000);
    assert_int_equal(length(s, METRIC_QUEUE_DEPTH, true), 2);
    store_purge(s, 1001);
    assert_int_equal(length(s, METRIC_QUEUE_DEPTH, true), 1);
    store_forget(s, broker2.name);
    assert_int_equal(store_count(s), 0);
    store_destroy(&s);
}

static void what_brokers_say_of_a_worker_goes_with_it(void **state)
{
    (void)state;
    struct series_store *s = fresh(100);
    put(s, &broker1, METRIC_WORKER_SLOTS, "openai\x1fw-1", 512);
    put(s, &broker2, METRIC_WORKER_SLOTS, "openai\x1fw-1", 512);
    put(s, &broker2, METRIC_WORKER_SLOTS, "openai\x1fw-2", 512);
    put(s, &broker2, METRIC_WORKER_SLOTS, "w-1\x1fw-3", 512);
    store_forget(s, SPAN("w-1"));
    assert_int_equal(length(s, METRIC_WORKER_SLOTS, true), 2);
    put(s, &broker2, METRIC_WORKER_SLOTS, "openai\x1fw-2", METRIC_GONE);
    put(s, &broker2, METRIC_WORKER_SLOTS, "never\x1fseen", METRIC_GONE);
    assert_int_equal(length(s, METRIC_WORKER_SLOTS, true), 1);
    store_destroy(&s);
}

static void histograms_add_bucket_by_bucket(void **state)
{
    (void)state;
    struct series_store *s = fresh(100);
    static const uint64_t buckets[METRIC_BUCKETS] = {[0] = 2, [17] = 1ull << 40};
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(store_apply(s, &broker1, METRIC_QUEUE_WAIT, SPAN_NONE, 500, buckets), OK);
    const struct series *x = store_first(s, METRIC_QUEUE_WAIT);
    assert_int_equal(x->value, 1000);
    assert_int_equal(x->buckets[0], 4);
    assert_true(x->buckets[17] == 1ull << 41);
    store_destroy(&s);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct series_store *s = fresh(100);
    static const uint64_t none[METRIC_BUCKETS];
    static const struct {
        unsigned id;
        int64_t value;
        const uint64_t *buckets;
        enum err e;
    } cases[] = {
        {METRIC_ID_COUNT, 1, NULL, ERR_UNSUPPORTED}, {UINT32_MAX, 1, NULL, ERR_UNSUPPORTED},
        {METRIC_RETRIES, -1, NULL, ERR_INVALID},     {METRIC_RETRIES, 1, none, ERR_INVALID},
        {METRIC_QUEUE_WAIT, 1, NULL, ERR_INVALID},   {METRIC_QUEUE_DEPTH, 1, none, ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(
            store_apply(s, &broker1, cases[i].id, SPAN_NONE, cases[i].value, cases[i].buckets),
            cases[i].e);
    assert_int_equal(store_count(s), 0);
    /* A sum that would overflow stays at the most. */
    put(s, &broker1, METRIC_LEDGER_ROWS, "true", INT64_MAX);
    put(s, &broker1, METRIC_LEDGER_ROWS, "true", 5);
    assert_true(store_first(s, METRIC_LEDGER_ROWS)->value == INT64_MAX);
    store_destroy(&s);
}

static void odd_labels_are_made_to_fit(void **state)
{
    (void)state;
    struct series_store *s = fresh(100);
    char key[300];
    memset(key, 'x', sizeof key);
    put(s, &broker1, METRIC_RETRIES, "only one", 1);
    put(s, &broker1, METRIC_RETRIES,
        "one\x1ftwo\x1fthree\x1f"
        "four\x1f"
        "five",
        1);
    put(s, &broker1, METRIC_RETRIES, "bad \xff\x1f\xc3", 1);
    assert_int_equal(store_apply(s, &broker1, METRIC_RETRIES, span_of(key, sizeof key), 1, NULL),
                     OK);
    const struct series *x = store_first(s, METRIC_RETRIES);
    assert_true(span_is(x->labels[0], "only one") && x->labels[1].len == 0);
    x = x->next;
    assert_true(span_is(x->labels[0], "one") && span_is(x->labels[1], "two"));
    x = x->next;
    assert_true(span_is(x->labels[0], "bad \xef\xbf\xbd"));
    x = x->next;
    assert_int_equal(x->labels[0].len, STORE_LABEL_BYTES);
    store_destroy(&s);
}

static void series_beyond_the_bound_are_summed_under_other(void **state)
{
    (void)state;
    struct series_store *s = fresh(10);
    char label[32];
    int64_t sum = 0;
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(label, sizeof label,
                       "m%u\x1fopenai\x1f"
                       "200\x1fkey",
                       i);
        put(s, &broker1, METRIC_REQUESTS, label, 1);
    }
    assert_int_equal(length(s, METRIC_REQUESTS, true), 11);
    const struct series *x = store_first(s, METRIC_REQUESTS);
    for (; x->next; x = x->next)
        sum += x->value;
    assert_int_equal(sum, 10);
    assert_int_equal(x->value, 990);
    for (unsigned i = 0; i < 4; i++)
        assert_true(span_is(x->labels[i], "other"));
    /* Known ones go on; gauges can't be summed. */
    put(s, &broker1, METRIC_REQUESTS,
        "m1\x1fopenai\x1f"
        "200\x1fkey",
        1);
    assert_int_equal(store_first(s, METRIC_REQUESTS)->next->value, 2);
    assert_int_equal(store_apply(s, &broker1, METRIC_QUEUE_DEPTH, SPAN_NONE, 1, NULL), ERR_TOO_BIG);
    store_destroy(&s);
}

/* The metrics with the label `model`, filled with ever new values of all labels. */
static void flood(struct series_store *s, const char *model, unsigned times)
{
    static const uint64_t buckets[METRIC_BUCKETS] = {[3] = 1};
    for (unsigned i = 0; i < times; i++) {
        char labels[600];
        (void)snprintf(labels, sizeof labels, "%s-%u\x1fprovider\"\x1f%0100u\x1fkey", model, i, i);
        for (unsigned id = 0; id < METRIC_ID_COUNT; id++) {
            const struct metric_info *info = metric_info(id);
            bool histogram = info->kind == METRIC_HISTOGRAM;
            if (strncmp(info->labels, "model", 5) == 0)
                assert_int_equal(
                    store_apply(s, &broker1, id, span_str(labels), 1, histogram ? buckets : NULL),
                    OK);
        }
    }
}

static void what_is_shown_stays_below_two_megabytes_at_the_default(void **state)
{
    (void)state;
    struct series_store *s = fresh(10000);
    struct buf text = {0};
    flood(s, "model\\", 2000);
    expose_all(s, &text);
    assert_in_range(text.len, 1000000, 2000000);
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    assert_true(lines < 10500);
    buf_free(&text);
    store_destroy(&s);
}

static bool is_entry(void *ctx, struct span model)
{
    (void)ctx;
    return span_starts(model, "real");
}

static void models_that_clients_invent_leave_half_of_the_room(void **state)
{
    (void)state;
    struct series_store *s = fresh(1000);
    store_know_models(s, is_entry, NULL);
    flood(s, "invented", 500);
    flood(s, "real", 2);
    bool has_own = false, strangers_have = false;
    for (const struct series *x = store_first(s, METRIC_DURATION); x; x = x->next) {
        has_own |= span_is(x->labels[0], "real-1");
        strangers_have |= span_is(x->labels[0], "invented-1");
    }
    assert_true(has_own && strangers_have);
    store_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_add_up_over_daemons_and_their_restarts),
        cmocka_unit_test(gauges_are_kept_by_daemon_and_hidden_with_it),
        cmocka_unit_test(what_brokers_say_of_a_worker_goes_with_it),
        cmocka_unit_test(histograms_add_bucket_by_bucket),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(odd_labels_are_made_to_fit),
        cmocka_unit_test(series_beyond_the_bound_are_summed_under_other),
        cmocka_unit_test(what_is_shown_stays_below_two_megabytes_at_the_default),
        cmocka_unit_test(models_that_clients_invent_leave_half_of_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
