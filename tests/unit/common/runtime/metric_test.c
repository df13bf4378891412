/* A daemon's counters over a real bus to a peer that only listens; time moves when told. */
#include "common/runtime/metric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"

struct world {
    char dir[64];
    struct clock_fake clock;
    struct loop *loop;
    struct bus *server, *client;
    struct bus_peer *link;
    struct metric_client *metrics;
    bus_handler handlers[MESSAGE_TYPES];
    bool up;
    bool deaf; /* METRICs count as lost */
    unsigned gauges, counters, complete;
    int64_t gauge, counted, bus_dropped, metrics_dropped;
};

static void on_metric(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct world *w = ctx;
    (void)from;
    if (w->deaf)
        return;
    w->complete += m->body->metric.complete;
    if (m->body->metric.id == METRIC_METRICS_DROPPED)
        w->metrics_dropped = m->body->metric.value;
    if (m->body->metric.id == METRIC_QUEUE_DEPTH) {
        assert_int_equal(m->body->metric.number, 0);
        w->gauges++;
        w->gauge = m->body->metric.value;
    } else if (m->body->metric.id == METRIC_LEDGER_ROWS) {
        w->counters++;
        w->counted = m->body->metric.value;
    } else if (m->body->metric.id == METRIC_BUS_DROPPED) {
        assert_true(span_is(m->body->metric.labels, "broker"));
        w->bus_dropped = m->body->metric.value;
    }
}

static void on_up(void *ctx, struct bus_peer *peer)
{
    struct world *w = ctx;
    w->up = w->up || peer == w->link;
}

static void turn(struct world *w)
{
    clock_fake_advance_ms(&w->clock, 20);
    assert_int_equal(loop_turn(w->loop, 5), OK);
}

#define AWAIT(w, condition)                                                                        \
    do {                                                                                           \
        uint64_t until = clock_mono_ms(&clock_real) + 20000;                                       \
        while (!(condition) && clock_mono_ms(&clock_real) < until)                                 \
            turn(w);                                                                               \
        assert_true(condition);                                                                    \
    } while (0)

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char address[96];
    log_setup(LEVEL_ERROR, LINES_TEXT, "test", "metric");
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/tollgate-metric-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(address, sizeof address, "ipc://%s/metrics", w->dir);
    w->handlers[MESSAGE_METRIC] = on_metric;
    clock_fake_init(&w->clock, 1000000, 0);
    assert_int_equal(loop_create(&w->loop, &w->clock.clock), OK);
    struct bus_spec spec = {.role = "metrics",
                            .name = "metrics",
                            .ctx = w,
                            .handlers = w->handlers,
                            .on_peer_up = on_up};
    assert_int_equal(bus_create(&w->server, w->loop, &spec), OK);
    assert_int_equal(bus_bind(w->server, address), OK);
    spec.role = spec.name = "broker";
    assert_int_equal(bus_create(&w->client, w->loop, &spec), OK);
    assert_int_equal(bus_connect(w->client, "metrics", address, &w->link), OK);
    assert_int_equal(metric_client_create(&w->metrics, w->loop, w->client, w->link), OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    metric_client_destroy(&w->metrics);
    bus_destroy(&w->client);
    bus_destroy(&w->server);
    loop_destroy(&w->loop);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static void what_was_counted_before_the_peer_came_arrives(void **state)
{
    struct world *w = *state;
    metric_add(w->metrics, METRIC_LEDGER_ROWS, METRIC_LABELS(SPAN("true")), 2);
    metric_add(w->metrics, METRIC_LEDGER_ROWS, METRIC_LABELS(SPAN("true")), 3);
    AWAIT(w, w->complete == 1);
    assert_int_equal(w->counters, 1);
    assert_int_equal(w->counted, 5);
}

static void a_total_that_was_lost_on_its_way_is_said_again(void **state)
{
    struct world *w = *state;
    AWAIT(w, w->complete == 1);
    w->deaf = true;
    metric_add(w->metrics, METRIC_LEDGER_ROWS, METRIC_LABELS(SPAN("true")), 7);
    for (unsigned i = 0; i < 100; i++)
        turn(w);
    w->deaf = false;
    assert_int_equal(w->counters, 0);
    AWAIT(w, w->counters);
    assert_int_equal(w->counted, 7);
}

static void start_server(struct world *w)
{
    char address[96];
    struct bus_spec spec = {
        .role = "metrics", .name = "metrics", .ctx = w, .handlers = w->handlers};
    (void)snprintf(address, sizeof address, "ipc://%s/metrics", w->dir);
    assert_int_equal(bus_create(&w->server, w->loop, &spec), OK);
    assert_int_equal(bus_bind(w->server, address), OK);
}

/* The total of all, and the word that it is all, to each process that serves. */
static void a_new_metrics_daemon_is_told_everything(void **state)
{
    struct world *w = *state;
    metric_add(w->metrics, METRIC_LEDGER_ROWS, METRIC_LABELS(SPAN("true")), 7);
    metric_set(w->metrics, METRIC_QUEUE_DEPTH, NULL, 2);
    AWAIT(w, w->complete == 1);
    bus_destroy(&w->server);
    AWAIT(w, !bus_peer_up(w->link));
    metric_add(w->metrics, METRIC_LEDGER_ROWS, METRIC_LABELS(SPAN("true")), 4);
    w->counters = w->gauges = 0;
    start_server(w);
    AWAIT(w, w->complete == 2);
    assert_int_equal(w->counters, 1);
    assert_int_equal(w->counted, 11);
    assert_int_equal(w->gauges, 1);
}

static void updates_beyond_the_bound_are_counted_one_by_one(void **state)
{
    struct world *w = *state;
    char name[32];
    for (unsigned i = 0; i < METRIC_SERIES_MAX + 50; i++) {
        (void)snprintf(name, sizeof name, "class-%u", i);
        metric_add(w->metrics, METRIC_RETRIES, METRIC_LABELS(SPAN("openai"), span_str(name)), 1);
    }
    /* Four that are always there: itself, what the bus drops, up and build. */
    AWAIT(w, w->complete == 1);
    assert_int_equal(w->metrics_dropped, 54);
    metric_add(w->metrics, METRIC_RETRIES, METRIC_LABELS(SPAN("openai"), SPAN("one more")), 1);
    AWAIT(w, w->metrics_dropped == 55);
}

/* One that was under way when the connection broke would be wrong until it changes. */
static void a_gauge_that_does_not_change_is_said_again_now_and_then(void **state)
{
    struct world *w = *state;
    metric_set(w->metrics, METRIC_QUEUE_DEPTH, NULL, 7);
    metric_add(w->metrics, METRIC_LEDGER_ROWS, METRIC_LABELS(SPAN("true")), 1);
    AWAIT(w, w->gauges == 1);
    AWAIT(w, w->gauges == 3);
    assert_int_equal(w->gauge, 7);
    assert_int_equal(w->counted, 1);
}

/* Workers have random names: those that came and went must not use up the table for ever. */
static void gauges_that_are_gone_leave_room_for_others(void **state)
{
    struct world *w = *state;
    char name[32];
    AWAIT(w, bus_peer_up(w->link));
    for (unsigned i = 0; i < 9000; i++) {
        (void)snprintf(name, sizeof name, "worker-%u", i);
        const struct span *labels = METRIC_LABELS(SPAN("openai"), span_str(name));
        metric_set(w->metrics, METRIC_WORKER_SLOTS, labels, 1);
        metric_set(w->metrics, METRIC_WORKER_SLOTS, labels, METRIC_GONE);
        if (i % 500 == 0) {
            metric_flush(w->metrics);
            turn(w);
        }
    }
    metric_flush(w->metrics);
    metric_set(w->metrics, METRIC_QUEUE_DEPTH, NULL, 3);
    AWAIT(w, w->gauge == 3);
}

static void messages_that_the_bus_dropped_are_counted(void **state)
{
    struct world *w = *state;
    char address[96];
    struct bus_peer *away;
    struct credit credit = {.bytes = 1};
    (void)snprintf(address, sizeof address, "ipc://%s/away", w->dir);
    assert_int_equal(bus_connect(w->client, "auth", address, &away), OK);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(bus_send(away, (struct header){0}, MESSAGE_CREDIT, &credit), ERR_CLOSED);
    AWAIT(w, w->bus_dropped == 3);
    for (unsigned i = 0; i < 100; i++)
        turn(w);
    assert_int_equal(w->bus_dropped, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_counted_before_the_peer_came_arrives, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_total_that_was_lost_on_its_way_is_said_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_metrics_daemon_is_told_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(updates_beyond_the_bound_are_counted_one_by_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_gauge_that_does_not_change_is_said_again_now_and_then,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(messages_that_the_bus_dropped_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(gauges_that_are_gone_leave_room_for_others, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
