/* Links to hosts by name, and to more peers than there are sockets. The names' server is ours. */
#include "common/runtime/bus/bus.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"

/* What names mean just now; looked at from resolvers' threads. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum err e;
    char address[64];
    bool stuck; /* answers nobody */
    unsigned asked;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static enum err lookup(const char *host, char *out, size_t size)
{
    (void)host;
    (void)pthread_mutex_lock(&names.lock);
    names.asked++;
    while (names.stuck)
        (void)pthread_cond_wait(&names.changed, &names.lock);
    enum err e = names.e;
    (void)snprintf(out, size, "%s", names.address);
    (void)pthread_mutex_unlock(&names.lock);
    return e;
}

static void names_mean(enum err e, const char *address, bool stuck)
{
    (void)pthread_mutex_lock(&names.lock);
    names.e = e;
    (void)snprintf(names.address, sizeof names.address, "%s", address);
    names.stuck = stuck;
    names.asked = 0;
    (void)pthread_cond_broadcast(&names.changed);
    (void)pthread_mutex_unlock(&names.lock);
}

static unsigned asked(void)
{
    (void)pthread_mutex_lock(&names.lock);
    unsigned n = names.asked;
    (void)pthread_mutex_unlock(&names.lock);
    return n;
}

struct side {
    struct bus *bus;
    struct bus_peer *peer; /* the last one that came up */
    unsigned ups, downs;
};

struct world {
    struct loop *loop;
    struct side a, b, client;
    bus_handler handlers[MESSAGE_TYPES];
    char port[8], named[64];
};

static void on_up(void *ctx, struct bus_peer *peer)
{
    struct side *side = ctx;
    side->peer = peer;
    side->ups++;
}

static void on_down(void *ctx, struct bus_peer *peer)
{
    struct side *side = ctx;
    (void)peer;
    side->peer = NULL;
    side->downs++;
}

#define AWAIT(w, condition)                                                                        \
    do {                                                                                           \
        uint64_t until = clock_mono_ms(&clock_real) + 20000;                                       \
        while (!(condition) && clock_mono_ms(&clock_real) < until)                                 \
            assert_int_equal(loop_turn((w)->loop, 20), OK);                                        \
        assert_true(condition);                                                                    \
    } while (0)

static void open_side(struct world *w, struct side *side, const char *role, const char *name)
{
    struct bus_spec spec = {.role = role,
                            .name = name,
                            .ctx = side,
                            .handlers = w->handlers,
                            .on_peer_up = on_up,
                            .on_peer_down = on_down,
                            .lookup = lookup};
    *side = (struct side){0};
    assert_int_equal(bus_create(&side->bus, w->loop, &spec), OK);
}

/* A server of that port on one of this machine's many own addresses. */
static void serve(struct world *w, struct side *side, const char *name, const char *host)
{
    char address[64];
    open_side(w, side, "broker", name);
    (void)snprintf(address, sizeof address, "tcp://%s:%s", host, *w->port ? w->port : "*");
    /* what was closed goes away in ZeroMQ's threads */
    log_set_fd(-1);
    enum err e = bus_bind(side->bus, address);
    for (int i = 0; i < 2000 && e == ERR_EXISTS; i++) {
        bus_destroy(&side->bus);
        open_side(w, side, "broker", name);
        assert_int_equal(loop_turn(w->loop, 5), OK);
        e = bus_bind(side->bus, address);
    }
    log_set_fd(2);
    assert_int_equal(e, OK);
    (void)snprintf(w->port, sizeof w->port, "%s", strrchr(bus_address(side->bus), ':') + 1);
    (void)snprintf(w->named, sizeof w->named, "tcp://broker.test:%s", w->port);
}

static void open_client(struct world *w)
{
    struct bus_peer *link;
    open_side(w, &w->client, "worker", "worker-1");
    assert_int_equal(bus_bind(w->client.bus, "tcp://*:*"), OK);
    assert_int_equal(bus_connect(w->client.bus, "broker", w->named, &link), OK);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    log_setup(LEVEL_ERROR, LINES_TEXT, "test", "links");
    assert_int_equal(loop_create(&w->loop, &clock_real), OK);
    names_mean(OK, "127.0.0.1", false);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    bus_destroy(&w->client.bus);
    bus_destroy(&w->a.bus);
    bus_destroy(&w->b.bus);
    names_mean(OK, "127.0.0.1", false);
    loop_destroy(&w->loop);
    free(w);
    return 0;
}

static void a_name_is_reached_and_told_the_address_on_the_way_to_it(void **state)
{
    struct world *w = *state;
    char expected[64];
    names_mean(OK, "127.0.0.7", false);
    serve(w, &w->a, "broker-1", "127.0.0.7");
    open_client(w);
    AWAIT(w, w->client.peer && w->a.peer);
    (void)snprintf(expected, sizeof expected, "tcp://127.0.0.1%s",
                   strrchr(bus_address(w->client.bus), ':'));
    assert_string_equal(bus_peer_address(w->a.peer), expected);
    assert_int_equal(bus_connect(w->a.bus, "worker", expected, &w->a.peer), OK);
    AWAIT(w, bus_peer_up(w->a.peer));
}

static void an_advertised_address_is_told_instead(void **state)
{
    struct world *w = *state;
    serve(w, &w->a, "broker-1", "127.0.0.1");
    open_client(w);
    bus_advertise(w->client.bus, "tcp://192.0.2.7:7000");
    AWAIT(w, w->client.peer && w->a.peer);
    assert_string_equal(bus_peer_address(w->a.peer), "tcp://192.0.2.7:7000");
}

static void a_name_that_nobody_knows_yet_is_asked_for_again(void **state)
{
    struct world *w = *state;
    serve(w, &w->a, "broker-1", "127.0.0.1");
    names_mean(ERR_NOT_FOUND, "", false);
    open_client(w);
    AWAIT(w, asked() >= 2);
    names_mean(ERR_AGAIN, "", false);
    AWAIT(w, asked() >= 2);
    assert_int_equal(w->client.ups, 0);
    names_mean(OK, "127.0.0.1", false);
    AWAIT(w, w->client.peer && w->a.peer);
}

/* What sits at the old address may be somebody else by now. */
static void a_lost_link_goes_where_its_name_leads_now(void **state)
{
    struct world *w = *state;
    serve(w, &w->a, "broker-1", "127.0.0.1");
    open_client(w);
    AWAIT(w, w->client.peer);
    names_mean(ERR_NOT_FOUND, "", false);
    bus_destroy(&w->a.bus);
    serve(w, &w->a, "somebody-else", "127.0.0.1");
    serve(w, &w->b, "broker-1", "127.0.0.2");
    AWAIT(w, w->client.downs == 1 && asked() >= 3);
    assert_int_equal(w->a.ups, 0);
    names_mean(OK, "127.0.0.2", false);
    AWAIT(w, w->client.ups == 2 && w->b.peer);
    assert_int_equal(w->a.ups, 0);
}

/* The name leads elsewhere while it has never been there. */
static void a_link_that_does_not_come_up_follows_its_name(void **state)
{
    struct world *w = *state;
    serve(w, &w->a, "broker-1", "127.0.0.1");
    names_mean(OK, "127.0.0.3", false); /* nobody is there */
    open_client(w);
    AWAIT(w, asked() >= 1);
    names_mean(OK, "127.0.0.1", false);
    AWAIT(w, w->client.peer && w->a.peer);
}

static void without_a_name_server_a_lost_link_goes_where_it_led_last(void **state)
{
    struct world *w = *state;
    serve(w, &w->a, "broker-1", "127.0.0.1");
    open_client(w);
    AWAIT(w, w->client.peer);
    names_mean(ERR_AGAIN, "", false);
    bus_destroy(&w->a.bus);
    serve(w, &w->a, "broker-1", "127.0.0.1");
    AWAIT(w, w->client.ups == 2);
    names_mean(ERR_AGAIN, "", true);
    bus_destroy(&w->a.bus);
    serve(w, &w->a, "broker-1", "127.0.0.1");
    AWAIT(w, w->client.ups == 3);
}

static void a_name_server_that_hangs_holds_up_no_other_link_and_no_end(void **state)
{
    struct world *w = *state;
    struct bus_peer *link;
    names_mean(OK, "127.0.0.1", true);
    serve(w, &w->a, "broker-1", "127.0.0.1");
    open_client(w);
    AWAIT(w, asked() == 1);
    assert_int_equal(bus_connect(w->client.bus, "broker", bus_address(w->a.bus), &link), OK);
    AWAIT(w, w->client.peer == link && w->a.peer);
    bus_destroy(&w->client.bus); /* returns */
    AWAIT(w, w->a.downs == 1);
}

static void a_link_may_be_given_up_while_its_name_is_asked_for(void **state)
{
    struct world *w = *state;
    struct bus_peer *link;
    names_mean(OK, "127.0.0.1", true);
    serve(w, &w->a, "broker-1", "127.0.0.1");
    open_side(w, &w->client, "worker", "worker-1");
    assert_int_equal(bus_connect(w->client.bus, "broker", w->named, &link), OK);
    AWAIT(w, asked() == 1);
    bus_disconnect(&link);
    names_mean(OK, "127.0.0.1", false);
    assert_int_equal(bus_connect(w->client.bus, "broker", w->named, &link), OK);
    AWAIT(w, w->client.peer == link);
    assert_int_equal(w->client.ups, 1);
}

static void a_socket_too_many_is_an_error_and_harms_no_link(void **state)
{
    enum { SOME = 400, ROOM = 40 };
    struct world *w = *state;
    struct bus_peer *links[SOME], *link;
    struct rlimit before, few;
    serve(w, &w->a, "broker-1", "127.0.0.1");
    open_client(w);
    AWAIT(w, w->client.peer && w->a.peer);
    int next = dup(0);
    assert_true(next >= 0);
    (void)close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)next + ROOM;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    size_t n = 0;
    enum err e = OK;
    log_set_fd(-1);
    while (!e && n < SOME) {
        e = bus_connect(w->client.bus, "broker", "tcp://127.0.0.9:9", &links[n]);
        n += !e;
    }
    log_set_fd(2);
    assert_int_equal(e, ERR_TOO_BIG);
    assert_null(links[n]);
    struct data data = {.bytes = SPAN("x")};
    assert_int_equal(bus_send(w->client.peer, (struct header){0}, MESSAGE_DATA, &data), OK);
    assert_int_equal(loop_turn(w->loop, 0), OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (n)
        bus_disconnect(&links[--n]);
    assert_int_equal(bus_connect(w->client.bus, "broker", bus_address(w->a.bus), &link), OK);
    AWAIT(w, bus_peer_up(link));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_name_is_reached_and_told_the_address_on_the_way_to_it),
        TEST(an_advertised_address_is_told_instead),
        TEST(a_name_that_nobody_knows_yet_is_asked_for_again),
        TEST(a_lost_link_goes_where_its_name_leads_now),
        TEST(a_link_that_does_not_come_up_follows_its_name),
        TEST(without_a_name_server_a_lost_link_goes_where_it_led_last),
        TEST(a_name_server_that_hangs_holds_up_no_other_link_and_no_end),
        TEST(a_link_may_be_given_up_while_its_name_is_asked_for),
        TEST(a_socket_too_many_is_an_error_and_harms_no_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
