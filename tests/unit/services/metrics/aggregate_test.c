#include "unit/services/metrics/test_prometheus.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/json.h"
#include "services/metrics/aggregate.h"
#include "services/metrics/state.h"

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
    assert_int_equal(store_apply(a->store, &from, id, span_str(labels), value, NULL), OK);
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
            aggregate_down(a, span_str(roles[i]), i + 1, false);
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
    aggregate_down(a, SPAN("edge-1"), 1, false);
    assert_int_equal(shown(a, METRIC_UP), 0);
    assert_int_equal(shown(a, METRIC_CONNECTIONS), 0);
    up(a, "edge", "edge-1", "", 1);
    assert_int_equal(shown(a, METRIC_CONNECTIONS), 1);
    /* Another process of that name begins afresh. */
    aggregate_down(a, SPAN("edge-1"), 1, false);
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
    aggregate_down(a, SPAN("edge-1"), 1, false);
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

/* ---- totals ---- */

static enum err tell(struct aggregate *a, uint64_t epoch, enum metric_id id, uint32_t number,
                     int64_t value, bool complete)
{
    struct source from = {SPAN("edge"), SPAN("edge-1")};
    struct metric m = {.id = id, .number = number, .value = value, .complete = complete};
    return aggregate_report(a, &from, epoch, &m);
}

static int64_t value_of(const struct aggregate *a, enum metric_id id)
{
    const struct series *s = store_first(a->store, id);
    return s ? s->value : 0;
}

static void a_total_said_twice_or_late_counts_once(void **state)
{
    struct aggregate *a = *state;
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 1, 5, false), OK);
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 1, 5, false), OK);
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 1, 9, false), OK);
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 1, 7, false), OK);
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 1, 9, false), OK);
    assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 9);
    /* Another process, the same name or not, has counted for itself. */
    assert_int_equal(tell(a, 3, METRIC_STALE_REPORTS, 1, 4, false), OK);
    assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 13);
    /* A link that was lost changes nothing. */
    aggregate_down(a, SPAN("edge-1"), 1, false);
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 1, 10, false), OK);
    assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 14);
}

static void histograms_grow_by_what_their_totals_have_grown(void **state)
{
    struct aggregate *a = *state;
    struct source from = {SPAN("edge"), SPAN("edge-1")};
    char buckets[METRIC_BUCKETS * 8] = {0};
    struct metric m = {
        .id = METRIC_QUEUE_WAIT, .number = 7, .buckets = span_of(buckets, sizeof buckets)};
    for (unsigned i = 1; i <= 3; i++) {
        m.value = 100 * (int64_t)i;
        buckets[8] = (char)i;
        buckets[5] = 1; /* 2^40, once */
        assert_int_equal(aggregate_report(a, &from, 1, &m), OK);
        assert_int_equal(aggregate_report(a, &from, 1, &m), OK);
    }
    const struct series *s = store_first(a->store, METRIC_QUEUE_WAIT);
    assert_int_equal(s->value, 300);
    assert_int_equal(s->buckets[1], 3);
    assert_true(s->buckets[0] == 1ull << 40);
}

static void reports_that_cannot_be_kept_are_counted(void **state)
{
    struct aggregate *a = *state;
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 0, 5, false), ERR_INVALID);
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, METRIC_SERIES_MAX + 1, 5, false),
                     ERR_INVALID);
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 1, -5, false), ERR_INVALID);
    assert_int_equal(tell(a, 1, METRIC_QUEUE_WAIT, 1, 5, false), ERR_INVALID);
    assert_int_equal(tell(a, 1, METRIC_ID_COUNT, 1, 5, false), ERR_UNSUPPORTED);
    assert_int_equal(value_of(a, METRIC_METRICS_DROPPED), 5);
    assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 0);
}

struct place {
    char dir[64], path[96];
};

static void make_place(struct place *p)
{
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/tollgate-metrics-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof p->path, "%s/metrics.json", p->dir);
}

static void drop_place(const struct place *p)
{
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0);
}

/* As when it is killed: what came since the last save is gone. */
static void restart(struct aggregate *a, const char *path)
{
    aggregate_reset(a);
    assert_int_equal(aggregate_init(a, &fake.clock, 1000), OK);
    assert_int_equal(aggregate_load(a, path), OK);
}

static void counters_survive_a_restart_to_the_last_increment(void **state)
{
    struct aggregate *a = *state;
    struct place p;
    make_place(&p);
    restart(a, p.path); /* nothing there yet */
    assert_false(aggregate_is_catching_up(a));
    assert_int_equal(tell(a, 1, METRIC_STALE_REPORTS, 1, 100, false), OK); /* ends before */
    assert_int_equal(tell(a, 2, METRIC_STALE_REPORTS, 3, 40, false), OK);
    assert_int_equal(tell(a, 3, METRIC_STALE_REPORTS, 2, 7, false), OK);
    aggregate_down(a, SPAN("edge-0"), 1, true);
    aggregate_expect(a, 5);
    aggregate_save(a, p.path);
    assert_int_equal(tell(a, 2, METRIC_STALE_REPORTS, 3, 45, false), OK);
    assert_int_equal(tell(a, 5, METRIC_STALE_REPORTS, 1, 1, false), OK); /* nothing of it saved */
    restart(a, p.path);
    /* 153 had been shown: less must not be. */
    assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 147);
    assert_true(aggregate_is_catching_up(a));
    assert_int_equal(tell(a, 2, METRIC_STALE_REPORTS, 3, 46, true), OK);
    assert_true(aggregate_is_catching_up(a));
    assert_int_equal(tell(a, 5, METRIC_STALE_REPORTS, 1, 1, true), OK);
    assert_true(aggregate_is_catching_up(a));
    assert_int_equal(tell(a, 3, METRIC_STALE_REPORTS, 2, 7, true), OK);
    assert_false(aggregate_is_catching_up(a));
    assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 154);
    drop_place(&p);
}

static void nobody_waits_for_ever_for_a_process_that_has_died_meanwhile(void **state)
{
    struct aggregate *a = *state;
    struct place p;
    make_place(&p);
    assert_int_equal(tell(a, 2, METRIC_STALE_REPORTS, 1, 40, false), OK);
    aggregate_save(a, p.path);
    restart(a, p.path);
    assert_true(aggregate_is_catching_up(a));
    clock_fake_advance_ms(&fake, 6000);
    assert_false(aggregate_is_catching_up(a));
    assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 40);
    drop_place(&p);
}

static void a_file_that_is_no_state_is_counting_from_nothing(void **state)
{
    struct aggregate *a = *state;
    struct place p;
    struct buf text = {0};
    make_place(&p);
    assert_int_equal(tell(a, 2, METRIC_STALE_REPORTS, 1, 40, false), OK);
    state_write(a->store, a->senders, &text);
    for (size_t n = 0; n + 1 < text.len; n++) {
        assert_int_equal(state_save(p.path, span_of(text.data, n)), OK);
        restart(a, p.path);
        assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 0);
    }
    assert_int_equal(tell(a, 2, METRIC_STALE_REPORTS, 1, 40, false), OK);
    assert_int_equal(value_of(a, METRIC_STALE_REPORTS), 40);
    buf_free(&text);
    drop_place(&p);
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
        TEST(a_total_said_twice_or_late_counts_once),
        TEST(histograms_grow_by_what_their_totals_have_grown),
        TEST(reports_that_cannot_be_kept_are_counted),
        TEST(counters_survive_a_restart_to_the_last_increment),
        TEST(nobody_waits_for_ever_for_a_process_that_has_died_meanwhile),
        TEST(a_file_that_is_no_state_is_counting_from_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
