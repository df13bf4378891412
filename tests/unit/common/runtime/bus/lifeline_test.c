/* A loop that is busy in one turn, and what its peers think of it: two loops in one thread, the
 * second of which turns inside a turn of the first. */
#include "common/runtime/bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Long for the thread that is tested, on a machine that has no time. */
enum { TIMEOUT_MS = 1500 };

struct side {
    struct loop *loop;
    struct bus *bus;
    struct bus_peer *peer;
    unsigned ups, downs, received;
    struct request_id held; /* by whom, when its peer was lost */
};

struct world {
    char dir[64], address[128];
    struct side server, client;
    struct side *busy, *other;
    struct loop_timer timer;
    uint64_t busy_ms;
    struct request_id work; /* zero = nobody's */
    bool done;
};

static bus_handler handlers[MESSAGE_TYPES];

static void on_up(void *ctx, struct bus_peer *peer)
{
    struct side *side = ctx;
    side->peer = peer;
    side->ups++;
}

static void on_down(void *ctx, struct bus_peer *peer)
{
    struct side *side = ctx;
    if (bus_peer_busy_with(peer))
        side->held = *bus_peer_busy_with(peer);
    side->peer = NULL;
    side->downs++;
}

static void on_credit(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct side *side = ctx;
    (void)from;
    (void)m;
    side->received++;
}

static void open_side(struct side *side, const char *role)
{
    struct bus_spec spec = {.role = role,
                            .name = role,
                            .ctx = side,
                            .handlers = handlers,
                            .on_peer_up = on_up,
                            .on_peer_down = on_down,
                            .peer_timeout_ms = TIMEOUT_MS};
    assert_int_equal(loop_create(&side->loop, &clock_real), OK);
    assert_int_equal(bus_create(&side->bus, side->loop, &spec), OK);
}

static void turn_both(struct world *w)
{
    assert_int_equal(loop_turn(w->server.loop, 1), OK);
    assert_int_equal(loop_turn(w->client.loop, 1), OK);
}

#define UNTIL(w, condition)                                                                        \
    do {                                                                                           \
        for (int turn_ = 0; turn_ < 5000 && !(condition); turn_++)                                 \
            turn_both(w);                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct bus_peer *link;
    handlers[MESSAGE_CREDIT] = on_credit;
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/lifeline_XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->address, sizeof w->address, "ipc://%s/server", w->dir);
    open_side(&w->server, "server");
    open_side(&w->client, "client");
    assert_int_equal(bus_bind(w->server.bus, w->address), OK);
    assert_int_equal(bus_connect(w->client.bus, "server", w->address, &link), OK);
    UNTIL(w, w->server.peer && w->client.peer);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char path[192];
    bus_destroy(&w->client.bus);
    bus_destroy(&w->server.bus);
    loop_destroy(&w->client.loop);
    loop_destroy(&w->server.loop);
    (void)snprintf(path, sizeof path, "%s/server", w->dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/server.lock", w->dir);
    (void)unlink(path);
    (void)rmdir(w->dir);
    free(w);
    return 0;
}

/* One turn, in which the other side has many. */
static void be_busy(void *ctx)
{
    struct world *w = ctx;
    if (w->work.bytes[0])
        loop_works_on(w->busy->loop, w->work.bytes);
    uint64_t until = clock_mono_ms(&clock_real) + w->busy_ms;
    while (clock_mono_ms(&clock_real) < until)
        assert_int_equal(loop_turn(w->other->loop, 10), OK);
    w->done = true;
}

static void make_busy(struct world *w, struct side *side, uint64_t ms)
{
    w->busy = side;
    w->other = side == &w->server ? &w->client : &w->server;
    w->busy_ms = ms;
    w->done = false;
    loop_timer_start(side->loop, &w->timer, 0, be_busy, w);
    while (!w->done)
        assert_int_equal(loop_turn(side->loop, 10), OK);
}

static void say(struct side *from, struct side *to, struct world *w)
{
    unsigned before = to->received;
    struct credit credit = {.bytes = 1};
    assert_non_null(from->peer);
    assert_int_equal(bus_send(from->peer, (struct header){0}, MESSAGE_CREDIT, &credit), OK);
    UNTIL(w, to->received == before + 1);
}

static void a_busy_loop_is_not_taken_for_dead(void **state)
{
    struct world *w = *state;
    struct side *sides[] = {&w->server, &w->client};
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(bus_keep_alive(sides[i]->bus, (uint64_t)TIMEOUT_MS * 20), OK);
        make_busy(w, sides[i], (uint64_t)TIMEOUT_MS * 2);
        assert_int_equal(w->other->downs, 0);
        for (int round = 0; round < 20; round++) { /* nothing has got lost on the way */
            say(&w->server, &w->client, w);
            say(&w->client, &w->server, w);
        }
        assert_int_equal(w->server.ups, 1);
        assert_int_equal(w->client.ups, 1);
    }
}

static void a_busy_loop_says_with_whose_request(void **state)
{
    struct world *w = *state;
    const struct request_id *held;
    assert_int_equal(bus_keep_alive(w->server.bus, (uint64_t)TIMEOUT_MS * 20), OK);
    assert_null(bus_peer_busy_with(w->client.peer));
    w->work = (struct request_id){{7, 1, 2, 3}};
    make_busy(w, &w->server, (uint64_t)TIMEOUT_MS * 2);
    held = bus_peer_busy_with(w->client.peer);
    assert_non_null(held);
    assert_true(request_id_equals(held, &w->work));
    UNTIL(w, !bus_peer_busy_with(w->client.peer)); /* it turns again */
    w->work = (struct request_id){{0}};
    make_busy(w, &w->server, (uint64_t)TIMEOUT_MS * 2); /* with nobody's */
    assert_null(bus_peer_busy_with(w->client.peer));
}

static void who_held_a_loop_is_known_when_it_is_lost(void **state)
{
    struct world *w = *state;
    assert_int_equal(bus_keep_alive(w->server.bus, TIMEOUT_MS / 2), OK);
    w->work = (struct request_id){{7}};
    make_busy(w, &w->server, (uint64_t)TIMEOUT_MS * 5 / 2);
    assert_int_equal(w->client.downs, 1);
    assert_true(request_id_equals(&w->client.held, &w->work));
}

static void what_was_sent_to_a_busy_loop_arrives(void **state)
{
    struct world *w = *state;
    struct credit credit = {.bytes = 1};
    assert_int_equal(bus_keep_alive(w->server.bus, (uint64_t)TIMEOUT_MS * 20), OK);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(bus_send(w->client.peer, (struct header){0}, MESSAGE_CREDIT, &credit), OK);
    make_busy(w, &w->server, (uint64_t)TIMEOUT_MS * 2);
    UNTIL(w, w->server.received == 100);
    assert_int_equal(w->client.downs, 0);
}

static void a_loop_that_is_busy_beyond_the_limit_counts_as_dead(void **state)
{
    struct world *w = *state;
    assert_int_equal(bus_keep_alive(w->server.bus, TIMEOUT_MS / 2), OK);
    make_busy(w, &w->server, (uint64_t)TIMEOUT_MS * 5 / 2);
    assert_int_equal(w->client.downs, 1);
    UNTIL(w, w->client.peer && w->server.peer); /* and is found again */
    say(&w->client, &w->server, w);
}

static void one_that_does_not_turn_at_all_counts_as_dead(void **state)
{
    struct world *w = *state;
    assert_int_equal(bus_keep_alive(w->server.bus, (uint64_t)TIMEOUT_MS * 20), OK);
    for (int i = 0; i < 5000 && !w->client.downs; i++)
        assert_int_equal(loop_turn(w->client.loop, 1), OK);
    assert_int_equal(w->client.downs, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_busy_loop_is_not_taken_for_dead),
        TEST(a_busy_loop_says_with_whose_request),
        TEST(who_held_a_loop_is_known_when_it_is_lost),
        TEST(what_was_sent_to_a_busy_loop_arrives),
        TEST(a_loop_that_is_busy_beyond_the_limit_counts_as_dead),
        TEST(one_that_does_not_turn_at_all_counts_as_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
