#include "unit/services/metrics/test_prometheus.h"

#include <stdio.h>

#include "services/metrics/expose.h"

static const struct source edge = {{"edge", 4}, {"edge-1", 6}};
static struct prom prom;

static void put(struct series_store *s, enum metric_id id, struct span labels, int64_t value)
{
    assert_int_equal(store_apply(s, &edge, id, labels, value, NULL), OK);
}

static void parse(const struct series_store *s)
{
    struct buf out = {0};
    expose_all(s, &out);
    assert_int_equal(buf_check(&out), OK);
    prom_parse(&prom, buf_span(&out));
    buf_free(&out);
}

static double number(const char *name, const char *labels)
{
    const struct prom_sample *s = prom_find(&prom, name, labels);
    if (!s)
        fail_msg("no %s{%s}", name, labels);
    return s->number;
}

static void nothing_is_an_empty_document(void **state)
{
    (void)state;
    struct series_store *s;
    assert_int_equal(store_create(&s, 100), OK);
    parse(s);
    assert_int_equal(prom.count, 0);
    store_destroy(&s);
}

static void every_metric_of_the_table_comes_out_right(void **state)
{
    (void)state;
    struct series_store *s;
    static const uint64_t buckets[METRIC_BUCKETS] = {1, 2};
    assert_int_equal(store_create(&s, 1000), OK);
    for (unsigned id = 0; id < METRIC_ID_COUNT; id++) {
        bool histogram = metric_info(id)->kind == METRIC_HISTOGRAM;
        assert_int_equal(store_apply(s, &edge, id,
                                     SPAN("a\x1f"
                                          "b\x1f"
                                          "c\x1f"
                                          "d"),
                                     1, histogram ? buckets : NULL),
                         OK);
    }
    parse(s);
    assert_int_equal(prom.family_count, METRIC_ID_COUNT + 1);
    store_destroy(&s);
}

static void values_labels_and_units_are_shown_as_prometheus_wants_them(void **state)
{
    (void)state;
    struct series_store *s;
    assert_int_equal(store_create(&s, 100), OK);
    put(s, METRIC_REQUESTS,
        SPAN("gpt-4\x1fopenai\x1f"
             "200\x1ftest"),
        12);
    put(s, METRIC_COST, SPAN("gpt-4\x1fopenai\x1ftest"), 1234500000);
    put(s, METRIC_COST, SPAN("gpt-5\x1fopenai\x1ftest"), 1);
    put(s, METRIC_CONNECTIONS, SPAN_NONE, 3);
    put(s, METRIC_BUILD, SPAN("0.1.0"), 1);
    parse(s);
    assert_true(number("tollgate_requests_total",
                       "model=\"gpt-4\",provider=\"openai\",status=\"200\",key=\"test\"") == 12);
    assert_true(number("tollgate_cost_dollars_total",
                       "model=\"gpt-4\",provider=\"openai\",key=\"test\"") == 1.2345);
    assert_true(number("tollgate_cost_dollars_total",
                       "model=\"gpt-5\",provider=\"openai\",key=\"test\"") == 1e-9);
    assert_true(number("tollgate_client_connections", "daemon=\"edge\",instance=\"edge-1\"") == 3);
    assert_true(number("tollgate_build_info",
                       "version=\"0.1.0\",daemon=\"edge\",instance=\"edge-1\"") == 1);
    store_destroy(&s);
}

static void histograms_are_cumulative_and_in_seconds(void **state)
{
    (void)state;
    struct series_store *s;
    static const uint64_t buckets[METRIC_BUCKETS] = {
        [0] = 1,                  /* ≤ 250 µs */
        [2] = 2,                  /* ≤ 2.5 ms */
        [METRIC_BUCKETS - 1] = 3, /* beyond five minutes */
    };
    assert_int_equal(store_create(&s, 100), OK);
    assert_int_equal(store_apply(s, &edge, METRIC_DURATION, SPAN("m\x1fp"), 210000900, buckets),
                     OK);
    parse(s);
    static const struct {
        const char *le;
        double count;
    } cases[] = {{"0.00025", 1}, {"0.001", 1}, {"0.0025", 3}, {"300", 3}, {"+Inf", 6}};
    static const char *const names[] = {"tollgate_request_duration_seconds",
                                        "gen_ai_server_request_duration_seconds"};
    for (unsigned n = 0; n < 2; n++) {
        char name[128], labels[128];
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            (void)snprintf(name, sizeof name, "%s_bucket", names[n]);
            (void)snprintf(labels, sizeof labels, "model=\"m\",provider=\"p\",le=\"%s\"",
                           cases[i].le);
            assert_true(number(name, labels) == cases[i].count);
        }
        (void)snprintf(name, sizeof name, "%s_sum", names[n]);
        assert_true(number(name, "model=\"m\",provider=\"p\"") == 210.0009);
    }
    store_destroy(&s);
}

static void hostile_label_values_are_escaped(void **state)
{
    (void)state;
    static const char *const values[] = {"quote\" } evil 1",
                                         "back\\slash",
                                         "line\nfeed 5\n# TYPE x counter",
                                         "\\n",
                                         "ü≤",
                                         "=,{}",
                                         ""};
    struct series_store *s;
    assert_int_equal(store_create(&s, 100), OK);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char labels[128];
        (void)snprintf(labels, sizeof labels, "%s\x1fopenai", values[i]);
        put(s, METRIC_RETRIES, span_str(labels), (int64_t)i + 1);
    }
    parse(s);
    assert_int_equal(prom.count, sizeof values / sizeof values[0]);
    for (unsigned i = 0; i < prom.count; i++)
        assert_string_equal(prom.samples[i].value[0], values[i]);
    store_destroy(&s);
}

static void hidden_series_are_left_out_with_their_head(void **state)
{
    (void)state;
    struct series_store *s;
    assert_int_equal(store_create(&s, 100), OK);
    put(s, METRIC_CONNECTIONS, SPAN_NONE, 3);
    store_hide(s, edge.name, 1);
    parse(s);
    assert_int_equal(prom.family_count, 0);
    store_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_an_empty_document),
        cmocka_unit_test(every_metric_of_the_table_comes_out_right),
        cmocka_unit_test(values_labels_and_units_are_shown_as_prometheus_wants_them),
        cmocka_unit_test(histograms_are_cumulative_and_in_seconds),
        cmocka_unit_test(hostile_label_values_are_escaped),
        cmocka_unit_test(hidden_series_are_left_out_with_their_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
