/* Links of an edge's bus to workers that bind, in one process and loop. */
#include "services/edge/grants/links.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/log.h"

enum { WORKERS = 2, TURNS_MAX = 3000, EPOCH = 5 };

struct linked {
    char dir[64];
    struct clock_fake clock;
    struct loop *loop;
    struct bus *edge, *worker[WORKERS];
    struct worker_links links;
    struct bus_peer *greeted;      /* the last that came up at the edge */
    unsigned edges_up, edges_down; /* at the workers */
    unsigned links_down;           /* at the edge */
    bus_handler handlers[MESSAGE_TYPES];
};

static void on_worker_up(void *ctx, struct bus_peer *peer)
{
    struct linked *l = ctx;
    l->greeted = peer;
}

static void on_worker_down(void *ctx, struct bus_peer *peer)
{
    struct linked *l = ctx;
    (void)peer;
    l->links_down++;
}

static void on_edge_up(void *ctx, struct bus_peer *peer)
{
    struct linked *l = ctx;
    (void)peer;
    l->edges_up++;
}

static void on_edge_down(void *ctx, struct bus_peer *peer)
{
    struct linked *l = ctx;
    (void)peer;
    l->edges_down++;
}

#define UNTIL(l, condition)                                                                        \
    do {                                                                                           \
        for (int turns_ = 0; !(condition) && turns_ < TURNS_MAX; turns_++) {                       \
            clock_fake_advance_ms(&(l)->clock, 1);                                                 \
            assert_int_equal(loop_turn((l)->loop, 1), OK);                                         \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

static int setup(void **state)
{
    struct linked *l = calloc(1, sizeof *l);
    *state = l;
    log_setup(LEVEL_ERROR, LINES_TEXT, "test", "links");
    (void)snprintf(l->dir, sizeof l->dir, "/tmp/tollgate-links-XXXXXX");
    assert_non_null(mkdtemp(l->dir));
    clock_fake_init(&l->clock, 1000000, 0);
    assert_int_equal(loop_create(&l->loop, &l->clock.clock), OK);
    struct bus_spec edge = {.role = "edge",
                            .name = "edge-1",
                            .ctx = l,
                            .handlers = l->handlers,
                            .on_peer_up = on_worker_up,
                            .on_peer_down = on_worker_down};
    assert_int_equal(bus_create(&l->edge, l->loop, &edge), OK);
    for (int i = 0; i < WORKERS; i++) {
        char address[128];
        struct bus_spec spec = {.role = "worker",
                                .name = i ? "worker-2" : "worker-1",
                                .provider = "openai",
                                .ctx = l,
                                .handlers = l->handlers,
                                .on_peer_up = on_edge_up,
                                .on_peer_down = on_edge_down};
        (void)snprintf(address, sizeof address, "ipc://%s/%s", l->dir, spec.name);
        assert_int_equal(bus_create(&l->worker[i], l->loop, &spec), OK);
        assert_int_equal(bus_bind(l->worker[i], address), OK);
    }
    return 0;
}

static int teardown(void **state)
{
    struct linked *l = *state;
    char command[96];
    links_close_all(&l->links);
    assert_null(l->links.all);
    bus_destroy(&l->edge);
    for (int i = 0; i < WORKERS; i++)
        bus_destroy(&l->worker[i]);
    loop_destroy(&l->loop);
    (void)snprintf(command, sizeof command, "rm -rf %s", l->dir);
    int removed = system(command);
    free(l);
    return removed;
}

static struct span address_of(const struct linked *l, int worker)
{
    return span_str(bus_address(l->worker[worker]));
}

static struct worker_link *get_link(struct linked *l, uint64_t epoch, struct span address,
                                    uint64_t now_ms)
{
    struct grant g = {.worker_epoch = epoch, .address = address};
    return links_get(&l->links, l->edge, &g, now_ms);
}

/* The link to this worker as it is now. */
static struct worker_link *get(struct linked *l, int worker, uint64_t now_ms)
{
    return get_link(l, bus_epoch(l->worker[worker]), address_of(l, worker), now_ms);
}

static void a_worker_of_one_boot_has_one_link(void **state)
{
    struct linked *l = *state;
    struct worker_link *one = get(l, 0, 1), *two = get(l, 1, 1);
    assert_non_null(one);
    assert_non_null(two);
    assert_ptr_not_equal(one, two);
    assert_ptr_equal(get(l, 0, 9), one);
    /* where it is has been said once: the boot is what counts */
    assert_ptr_equal(get_link(l, one->epoch, SPAN_NONE, 9), one);
    assert_ptr_not_equal(get_link(l, EPOCH, address_of(l, 0), 9), one);
    UNTIL(l, l->edges_up == 3);
}

static void a_link_that_cannot_be_opened_leaves_nothing(void **state)
{
    struct linked *l = *state;
    char address[1024];
    memset(address, 'a', sizeof address);
    assert_null(get_link(l, EPOCH, SPAN_NONE, 1));
    assert_null(get_link(l, EPOCH, span_of(address, sizeof address), 1));
    assert_null(get_link(l, EPOCH, SPAN("nonsense"), 1));
    assert_null(l->links.all);
}

static void a_link_is_found_by_its_peer(void **state)
{
    struct linked *l = *state;
    assert_null(links_of(&l->links, NULL));
    struct worker_link *one = get(l, 0, 1), *two = get(l, 1, 1);
    assert_ptr_equal(links_of(&l->links, one->peer), one);
    assert_ptr_equal(links_of(&l->links, two->peer), two);
    struct bus_peer *broker;
    assert_int_equal(bus_connect(l->edge, "broker", "ipc:///tmp/nowhere", &broker), OK);
    assert_null(links_of(&l->links, broker));
}

static void a_greeting_shows_whether_it_is_the_boot_that_was_meant(void **state)
{
    struct linked *l = *state;
    struct worker_link *right = get(l, 0, 1);
    assert_false(right->up);
    UNTIL(l, l->greeted);
    assert_ptr_equal(links_of(&l->links, l->greeted), right);
    assert_true(links_greeted(right));
    assert_true(right->up);
    l->greeted = NULL;
    struct worker_link *wrong = get_link(l, EPOCH, address_of(l, 1), 1);
    UNTIL(l, l->greeted);
    assert_ptr_equal(links_of(&l->links, l->greeted), wrong);
    assert_false(links_greeted(wrong));
    assert_false(wrong->up);
}

static void a_closed_link_is_gone_at_both_ends(void **state)
{
    struct linked *l = *state;
    struct worker_link *link = get(l, 0, 1);
    UNTIL(l, l->edges_up == 1 && l->greeted);
    links_close(&l->links, &link);
    assert_null(link);
    links_close(&l->links, &link);
    assert_null(l->links.all);
    UNTIL(l, l->edges_down == 1);
    assert_int_equal(l->links_down, 0);
    link = get(l, 0, 2);
    assert_non_null(link);
    UNTIL(l, l->edges_up == 2);
}

static void links_are_closed_when_unused_for_long(void **state)
{
    struct linked *l = *state;
    enum { START_MS = 1000 };
    struct worker_link *idle = get(l, 0, START_MS), *used = get(l, 1, START_MS);
    assert_int_equal(idle->used_ms, START_MS);
    used->running = 1;
    links_tick(&l->links, START_MS + LINK_IDLE_MS - 1);
    assert_ptr_equal(get(l, 0, START_MS), idle);
    links_tick(&l->links, START_MS + LINK_IDLE_MS);
    assert_ptr_equal(links_of(&l->links, used->peer), used);
    assert_ptr_equal(l->links.all, used);
    used->running = 0;
    used->used_ms = START_MS + LINK_IDLE_MS;
    links_tick(&l->links, START_MS + 2 * LINK_IDLE_MS - 1);
    assert_ptr_equal(l->links.all, used);
    links_tick(&l->links, START_MS + 2 * LINK_IDLE_MS);
    assert_null(l->links.all);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_worker_of_one_boot_has_one_link),
        T(a_link_that_cannot_be_opened_leaves_nothing),
        T(a_link_is_found_by_its_peer),
        T(a_greeting_shows_whether_it_is_the_boot_that_was_meant),
        T(a_closed_link_is_gone_at_both_ends),
        T(links_are_closed_when_unused_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
