/* A bus with keys: who comes up, who does not, and what a change of keys does. */
#include "common/runtime/bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zmq.h>

#include "common/base/log.h"

enum service { BROKER, NEXT_BROKER, EDGE, OPENAI, ANTHROPIC, STRANGER, SERVICES };

/* What each is listed as. */
static const char *const listed[SERVICES] = {[BROKER] = "broker",
                                             [NEXT_BROKER] = "broker",
                                             [EDGE] = "edge",
                                             [OPENAI] = "worker-openai",
                                             [ANTHROPIC] = "worker-anthropic"};

struct side {
    struct bus_keys keys;
    struct bus *bus;
    struct bus_peer *peer, *link;
    unsigned ups, downs, received;
};

struct world {
    struct key_pair pairs[SERVICES];
    struct loop *loop;
    struct side server, client;
    bus_handler handlers[MESSAGE_TYPES];
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

static void on_data(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct side *side = ctx;
    (void)from;
    (void)m;
    side->received++;
}

/* Turns the loop until the condition holds; the bound only ends a test that has failed. */
#define AWAIT(w, condition)                                                                        \
    do {                                                                                           \
        uint64_t until = clock_mono_ms(&clock_real) + 20000;                                       \
        while (!(condition) && clock_mono_ms(&clock_real) < until)                                 \
            assert_int_equal(loop_turn((w)->loop, 20), OK);                                        \
        assert_true(condition);                                                                    \
    } while (0)

static void list_all(const struct world *w, struct key_list *out)
{
    *out = (struct key_list){0};
    for (unsigned i = 0; i < SERVICES; i++)
        if (listed[i])
            assert_int_equal(
                key_list_add(out, span_str(listed[i]), span_str(w->pairs[i].public_key)), OK);
}

static void open_side(struct world *w, struct side *side, enum service pair, const char *role,
                      const char *provider)
{
    struct bus_spec spec = {.role = role,
                            .name = role,
                            .provider = provider,
                            .ctx = side,
                            .keys = &side->keys,
                            .handlers = w->handlers,
                            .on_peer_up = on_up,
                            .on_peer_down = on_down};
    side->keys.own = w->pairs[pair];
    list_all(w, &side->keys.list);
    assert_int_equal(bus_create(&side->bus, w->loop, &spec), OK);
}

static void close_side(struct side *side)
{
    bus_destroy(&side->bus);
    bus_keys_reset(&side->keys);
    *side = (struct side){0};
}

static void serve(struct world *w, enum service pair)
{
    open_side(w, &w->server, pair, "broker", NULL);
    assert_int_equal(bus_bind(w->server.bus, "tcp://127.0.0.1:*"), OK);
}

static void call(struct world *w, enum service pair, const char *role, const char *provider)
{
    open_side(w, &w->client, pair, role, provider);
    assert_int_equal(
        bus_connect(w->client.bus, "broker", bus_address(w->server.bus), &w->client.link), OK);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    log_setup(LEVEL_ERROR, LINES_TEXT, "test", "curve");
    w->handlers[MESSAGE_DATA] = on_data;
    for (unsigned i = 0; i < SERVICES; i++)
        assert_int_equal(key_pair_make(&w->pairs[i]), OK);
    assert_int_equal(loop_create(&w->loop, &clock_real), OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    log_set_fd(2);
    close_side(&w->client);
    close_side(&w->server);
    loop_destroy(&w->loop);
    free(w);
    return 0;
}

static enum err send_text(struct bus_peer *to)
{
    struct data data = {.bytes = SPAN("x")};
    return bus_send(to, (struct header){0}, MESSAGE_DATA, &data);
}

static void listed_peers_greet_and_know_each_others_keys(void **state)
{
    struct world *w = *state;
    serve(w, BROKER);
    call(w, OPENAI, "worker", "openai");
    AWAIT(w, w->client.peer && w->server.peer);
    assert_string_equal(bus_peer_key(w->server.peer), w->pairs[OPENAI].public_key);
    assert_string_equal(bus_peer_key(w->client.peer), w->pairs[BROKER].public_key);
    assert_int_equal(send_text(w->client.peer), OK);
    assert_int_equal(send_text(w->server.peer), OK);
    AWAIT(w, w->client.received == 1 && w->server.received == 1);
    for (enum bus_refusal why = 0; why < BUS_REFUSALS; why++)
        assert_int_equal(bus_refused(w->server.bus, why), 0);
}

static void keys_work_over_ipc_too(void **state)
{
    struct world *w = *state;
    char address[64];
    (void)snprintf(address, sizeof address, "ipc:///tmp/tollgate-curve-%08x",
                   (unsigned)clock_mono_us(&clock_real));
    open_side(w, &w->server, BROKER, "broker", NULL);
    assert_int_equal(bus_bind(w->server.bus, address), OK);
    call(w, EDGE, "edge", NULL);
    AWAIT(w, w->client.peer && w->server.peer);
    assert_string_equal(bus_peer_key(w->server.peer), w->pairs[EDGE].public_key);
    close_side(&w->client);
    close_side(&w->server);
    (void)remove(address + 6);
    (void)snprintf(address + strlen(address), 6, ".lock");
    (void)remove(address + 6);
}

static void a_key_that_is_not_listed_is_refused(void **state)
{
    struct world *w = *state;
    serve(w, BROKER);
    log_set_fd(-1);
    call(w, STRANGER, "edge", NULL);
    AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_KEY) >= 2);
    assert_int_equal(w->server.ups + w->client.ups, 0);
}

/* Without a key, a multi-part that never ends gets no further than its sender's own memory. */
static void who_shows_no_key_gets_a_closed_connection(void **state)
{
    struct world *w = *state;
    static char part[1 << 16];
    int zero = 0;
    void *context = zmq_ctx_new(), *dealer = zmq_socket(context, ZMQ_DEALER);
    serve(w, BROKER);
    log_set_fd(-1);
    (void)zmq_setsockopt(dealer, ZMQ_LINGER, &zero, sizeof zero);
    (void)zmq_setsockopt(dealer, ZMQ_IDENTITY, "edge-0", 6);
    assert_int_equal(zmq_connect(dealer, bus_address(w->server.bus)), 0);
    for (unsigned i = 0; i < 64; i++)
        (void)zmq_send(dealer, part, sizeof part, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_STRANGER) >= 1);
    assert_int_equal(w->server.ups, 0);
    assert_int_equal(bus_dropped(w->server.bus), 0); /* nothing came to be read */
    (void)zmq_close(dealer);
    (void)zmq_ctx_term(context);
}

static void a_peer_is_what_its_key_is_listed_as(void **state)
{
    static const struct {
        enum service pair;
        const char *role, *provider;
        bool fine;
    } cases[] = {
        {OPENAI, "edge", NULL, false},      {OPENAI, "worker", "anthropic", false},
        {OPENAI, "auth", NULL, false},      {EDGE, "worker", "openai", false},
        {EDGE, "broker", NULL, false},      {EDGE, "edge", NULL, true},
        {OPENAI, "worker", "openai", true}, {ANTHROPIC, "ctl", NULL, true},
    };
    struct world *w = *state;
    serve(w, BROKER);
    log_set_fd(-1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t refused = bus_refused(w->server.bus, BUS_REFUSED_ROLE);
        unsigned ups = w->server.ups;
        call(w, cases[i].pair, cases[i].role, cases[i].provider);
        if (cases[i].fine)
            AWAIT(w, w->server.ups == ups + 1 && w->client.peer);
        else
            AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_ROLE) > refused);
        assert_int_equal(w->server.ups, ups + cases[i].fine);
        assert_int_equal(w->client.ups, cases[i].fine);
        close_side(&w->client);
    }
}

static void a_server_must_have_a_listed_key(void **state)
{
    struct world *w = *state;
    serve(w, STRANGER);
    log_set_fd(-1);
    call(w, EDGE, "edge", NULL);
    AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_STRANGER) >= 1);
    assert_int_equal(w->client.ups, 0);
}

static void either_of_a_services_two_keys_will_do(void **state)
{
    struct world *w = *state;
    for (enum service pair = BROKER; pair <= NEXT_BROKER; pair++) {
        serve(w, pair);
        call(w, EDGE, "edge", NULL);
        AWAIT(w, w->client.peer && w->server.peer);
        assert_string_equal(bus_peer_key(w->client.peer), w->pairs[pair].public_key);
        close_side(&w->client);
        close_side(&w->server);
    }
}

static void a_withdrawn_key_ends_its_links(void **state)
{
    struct world *w = *state;
    serve(w, BROKER);
    call(w, EDGE, "edge", NULL);
    AWAIT(w, w->client.peer && w->server.peer);
    log_set_fd(-1);
    bus_keys_changed(w->server.bus); /* nothing has */
    assert_non_null(w->server.peer);
    key_list_remove(&w->server.keys.list, span_str(w->pairs[EDGE].public_key));
    bus_keys_changed(w->server.bus);
    assert_int_equal(w->server.downs, 1);
    AWAIT(w, w->client.downs == 1 && bus_refused(w->server.bus, BUS_REFUSED_KEY) +
                                             bus_refused(w->server.bus, BUS_REFUSED_ROLE) >=
                                         1);
    assert_int_equal(w->server.ups, 1);
}

static void a_link_leaves_a_server_whose_key_is_withdrawn(void **state)
{
    struct world *w = *state;
    serve(w, BROKER);
    call(w, EDGE, "edge", NULL);
    AWAIT(w, w->client.peer && w->server.peer);
    log_set_fd(-1);
    key_list_remove(&w->client.keys.list, span_str(w->pairs[BROKER].public_key));
    bus_keys_changed(w->client.bus);
    assert_int_equal(w->client.downs, 1);
    AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_STRANGER) >= 1); /* by the other key */
    assert_int_equal(w->client.ups, 1);
}

static void a_servers_key_may_be_brought_if_it_is_listed(void **state)
{
    struct world *w = *state;
    struct bus_peer *none;
    serve(w, OPENAI);
    open_side(w, &w->client, EDGE, "edge", NULL);
    const char *address = bus_address(w->server.bus);
    log_set_fd(-1);
    assert_int_equal(bus_connect(w->client.bus, "worker", address, &none), ERR_NOT_FOUND);
    assert_int_equal(bus_connect_by_key(w->client.bus, "worker", address,
                                        span_str(w->pairs[STRANGER].public_key), &none),
                     ERR_DENIED);
    assert_int_equal(bus_connect_by_key(w->client.bus, "worker", address,
                                        span_str(w->pairs[BROKER].public_key), &none),
                     ERR_DENIED);
    assert_null(none);
    log_set_fd(2);
    assert_int_equal(bus_connect_by_key(w->client.bus, "worker", address,
                                        span_str(w->pairs[OPENAI].public_key), &w->client.link),
                     OK);
    AWAIT(w, w->client.peer && w->server.peer);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(listed_peers_greet_and_know_each_others_keys),
        CASE(keys_work_over_ipc_too),
        CASE(a_key_that_is_not_listed_is_refused),
        CASE(who_shows_no_key_gets_a_closed_connection),
        CASE(a_peer_is_what_its_key_is_listed_as),
        CASE(a_server_must_have_a_listed_key),
        CASE(either_of_a_services_two_keys_will_do),
        CASE(a_withdrawn_key_ends_its_links),
        CASE(a_link_leaves_a_server_whose_key_is_withdrawn),
        CASE(a_servers_key_may_be_brought_if_it_is_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
