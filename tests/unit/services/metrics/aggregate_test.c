#include "unit/services/metrics/test_prometheus.h"

#include <stdio.h>

#include "common/base/json.h"
#include "services/metrics/aggregate.h"

static struct clock_fake fake;
static struct aggregate aggregate;

static int set_up(void **state)
{
    clock_fake_init(&fake, 5000000, 1795485600000); /* 2026-11-24T02:00:00Z */
    *state = &aggregate;
    return aggregate_init(&aggregate, &fake.clock, 1000) != OK;
}

static int tear_down(void **state)
{
    aggregate_reset(*state);
    return 0;
}

static void up(struct aggregate *a, const char *role, const char *name, const char *provider,
               uint64_t epoch)
{
    struct daemon_seen who = {.version = "0.1.0", .epoch = epoch};
    (void)snprintf(who.role, sizeof who.role, "%s", role);
    (void)snprintf(who.name, sizeof who.name, "%s", name);
    (void)snprintf(who.provider, sizeof who.provider, "%s", provider);
    aggregate_up(a, &who);
}

static void say(struct aggregate *a, const char *role, const char *name, enum metric_id id,
                const char *labels, int64_t value)
{
    struct source from = {span_str(role), span_str(name)};
    assert_int_equal(store_apply(a->store, &from, id, span_str(labels), value, SPAN_NONE), OK);
}

/* The document, parsed; freed by close_document. */
static struct json open_document(const struct aggregate *a, const char *what, struct buf *text,
                                 struct json_doc *doc)
{
    assert_string_equal(aggregate_document(a, span_str(what), text), "application/json");
    assert_int_equal(json_parse(doc, buf_span(text), 32), OK);
    return json_root(doc);
}

static void close_document(struct buf *text, struct json_doc *doc)
{
    json_doc_free(doc);
    buf_free(text);
}

static void check_i64(struct json object, const char *name, int64_t value)
{
    int64_t got;
    assert_true(json_i64(json_get(object, name), &got));
    assert_int_equal(got, value);
}

static void status_shows_every_daemon_with_what_it_does(void **state)
{
    struct aggregate *a = *state;
    struct buf text = {0};
    struct json_doc doc = {0};
    up(a, "edge", "edge-1", "", 1);
    up(a, "auth", "auth", "", 2);
    up(a, "broker", "broker-1", "", 3);
    up(a, "broker", "broker-2", "", 4);
    up(a, "worker", "w-openai", "openai", 5);
    up(a, "worker", "w-replicate", "replicate", 6);
    say(a, "edge", "edge-1", METRIC_CONNECTIONS, "", 12);
    say(a, "broker", "broker-1", METRIC_QUEUE_DEPTH, "", 7);
    say(a, "broker", "broker-1", METRIC_IN_FLIGHT, "", 9);
    say(a, "broker", "broker-1", METRIC_WORKER_SLOTS, "openai\x1fw-openai", 256);
    say(a, "broker", "broker-2", METRIC_WORKER_SLOTS, "openai\x1fw-openai", 256);
    say(a, "broker", "broker-2", METRIC_WORKER_IN_FLIGHT, "openai\x1fw-openai", 5);
    say(a, "broker", "broker-2", METRIC_WORKER_UNAVAILABLE,
        "replicate\x1fw-replicate\x1fno api key", 1);
    struct json root = open_document(a, "status", &text, &doc);
    assert_true(json_is(json_get(root, "status"), "healthy"));
    assert_true(json_is(json_get(root, "timestamp"), "2026-11-24T02:00:00Z"));
    struct json daemons = json_get(root, "daemons");
    assert_int_equal(json_count(daemons), 6);
    struct json workers = json_get(root, "workers");
    assert_int_equal(json_count(workers), 2);
    struct json edge = json_at(daemons, 0), broker = json_at(daemons, 2);
    struct json openai = json_at(workers, 0), replicate = json_at(workers, 1);
    assert_true(json_is(json_get(edge, "role"), "edge") &&
                json_is(json_get(edge, "name"), "edge-1"));
    assert_true(json_is(json_get(edge, "version"), "0.1.0"));
    assert_true(json_is(json_get(edge, "up_since"), "2026-11-24T02:00:00Z"));
    check_i64(root, "in_flight", 9);
    check_i64(root, "queued", 7);
    check_i64(edge, "in_flight", 0);
    check_i64(broker, "queued", 7);
    check_i64(broker, "in_flight", 9);
    assert_true(json_is(json_get(openai, "provider"), "openai"));
    check_i64(openai, "slots", 512);
    check_i64(openai, "in_flight", 5);
    assert_true(json_is(json_get(openai, "worker"), "w-openai"));
    assert_true(json_is(json_get(openai, "why"), ""));
    check_i64(replicate, "slots", 0);
    assert_true(json_is(json_get(replicate, "why"), "no api key"));
    close_document(&text, &doc);
}

static void a_suite_without_a_part_is_degraded(void **state)
{
    struct aggregate *a = *state;
    static const char *const roles[] = {"edge", "auth", "broker", "worker"};
    for (unsigned i = 0; i < 4; i++)
        up(a, roles[i], roles[i], i == 3 ? "openai" : "", i + 1);
    say(a, "broker", "broker", METRIC_WORKER_SLOTS, "openai\x1fworker", 1);
    for (unsigned i = 0; i < 5; i++) {
        struct buf text = {0};
        struct json_doc doc = {0};
        if (i < 4)
            aggregate_down(a, span_str(roles[i]));
        struct json root = open_document(a, "health", &text, &doc);
        assert_true(json_is(json_get(root, "status"), i < 4 ? "degraded" : "healthy"));
        close_document(&text, &doc);
        if (i < 4)
            up(a, roles[i], roles[i], i == 3 ? "openai" : "", i + 1);
    }
}

static unsigned shown(const struct aggregate *a, enum metric_id id)
{
    unsigned n = 0;
    for (const struct series *s = store_first(a->store, id); s; s = s->next)
        n += !s->away;
    return n;
}

static void a_lost_link_hides_gauges_and_the_same_process_brings_them_back(void **state)
{
    struct aggregate *a = *state;
    up(a, "edge", "edge-1", "", 1);
    say(a, "edge", "edge-1", METRIC_CONNECTIONS, "", 12);
    assert_int_equal(shown(a, METRIC_UP), 1);
    aggregate_down(a, SPAN("edge-1"));
    assert_int_equal(shown(a, METRIC_UP), 0);
    assert_int_equal(shown(a, METRIC_CONNECTIONS), 0);
    up(a, "edge", "edge-1", "", 1);
    assert_int_equal(shown(a, METRIC_CONNECTIONS), 1);
    /* Another process of that name begins afresh. */
    aggregate_down(a, SPAN("edge-1"));
    up(a, "edge", "edge-1", "", 2);
    assert_int_equal(shown(a, METRIC_CONNECTIONS), 0);
    assert_int_equal(shown(a, METRIC_UP), 1);
    assert_int_equal(shown(a, METRIC_BUILD), 1);
}

static void what_is_gone_for_ten_minutes_is_forgotten(void **state)
{
    struct aggregate *a = *state;
    up(a, "edge", "edge-1", "", 1);
    up(a, "edge", "edge-2", "", 2);
    aggregate_down(a, SPAN("edge-1"));
    clock_fake_advance_ms(&fake, 9 * 60 * 1000);
    aggregate_purge(a);
    assert_int_equal(store_count(a->store), 4);
    clock_fake_advance_ms(&fake, 2 * 60 * 1000);
    aggregate_purge(a);
    assert_int_equal(store_count(a->store), 2);
    assert_string_equal(daemons_first(a->daemons)->name, "edge-2");
}

static void only_known_documents_are_served(void **state)
{
    struct aggregate *a = *state;
    struct buf text = {0};
    assert_null(aggregate_document(a, SPAN("secrets"), &text));
    assert_null(aggregate_document(a, SPAN_NONE, &text));
    up(a, "edge", "edge-1", "", 1);
    assert_string_equal(aggregate_document(a, SPAN("metrics"), &text), EXPOSE_CONTENT_TYPE);
    static struct prom prom;
    prom_parse(&prom, buf_span(&text));
    assert_non_null(prom_find(&prom, "tollgate_up", "daemon=\"edge\",instance=\"edge-1\""));
    buf_free(&text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(status_shows_every_daemon_with_what_it_does),
        TEST(a_suite_without_a_part_is_degraded),
        TEST(a_lost_link_hides_gauges_and_the_same_process_brings_them_back),
        TEST(what_is_gone_for_ten_minutes_is_forgotten),
        TEST(only_known_documents_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
