/* Two buses in one process and one loop, over ipc in a folder of their own. */
#include "common/runtime/bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "common/base/log.h"
#include "proto/codec.h"

struct side {
    struct bus *bus;
    struct bus_peer *peer; /* the last one that came up */
    unsigned ups, downs, received;
    bool echo;
    uint32_t last_seq;
    bool in_order, stopped;
    struct bus_peer *gives_up; /* at the first message */
    char last[64];
    size_t last_len;
};

struct world {
    char dir[64];
    char address[128];
    struct loop *loop;
    struct side server, client;
    bus_handler handlers[MESSAGE_TYPES];
    const char *const *senders; /* NULL = everybody may send everything */
    const char *callers;
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
    side->peer = NULL;
    side->stopped = bus_peer_stopped(peer);
    side->downs++;
}

static void on_data(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct side *side = ctx;
    side->in_order = side->received == 0 ? m->header.seq == 0
                                         : side->in_order && m->header.seq == side->last_seq + 1;
    side->last_seq = m->header.seq;
    side->received++;
    side->last_len =
        m->body->data.bytes.len < sizeof side->last ? m->body->data.bytes.len : sizeof side->last;
    memcpy(side->last, m->body->data.bytes.data, side->last_len);
    bus_disconnect(&side->gives_up);
    if (side->echo)
        assert_int_equal(bus_send(from, m->header, MESSAGE_DATA, &m->body->data), OK);
}

static void turn(struct world *w)
{
    assert_int_equal(loop_turn(w->loop, 20), OK);
}

/* Turns the loop until the condition holds; the bound only ends a test that has failed. */
#define AWAIT(w, condition)                                                                        \
    do {                                                                                           \
        uint64_t until = clock_mono_ms(&clock_real) + 20000;                                       \
        while (!(condition) && clock_mono_ms(&clock_real) < until)                                 \
            turn(w);                                                                               \
        assert_true(condition);                                                                    \
    } while (0)

static void open_side(struct world *w, struct side *side, const char *role, const char *name)
{
    struct bus_spec spec = {.role = role,
                            .name = name,
                            .provider = "openai",
                            .ctx = side,
                            .handlers = w->handlers,
                            .senders = w->senders,
                            .callers = w->callers,
                            .on_peer_up = on_up,
                            .on_peer_down = on_down};
    assert_int_equal(bus_create(&side->bus, w->loop, &spec), OK);
}

static void open_client(struct world *w)
{
    struct bus_peer *link;
    open_side(w, &w->client, "worker", "worker-1");
    assert_int_equal(bus_connect(w->client.bus, "broker", w->address, &link), OK);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    log_setup(LEVEL_ERROR, LINES_TEXT, "test", "bus");
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/tollgate-bus-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->address, sizeof w->address, "ipc://%s/broker-1", w->dir);
    w->handlers[MESSAGE_DATA] = on_data;
    assert_int_equal(loop_create(&w->loop, &clock_real), OK);
    open_side(w, &w->server, "broker", "broker-1");
    assert_int_equal(bus_bind(w->server.bus, w->address), OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    bus_destroy(&w->client.bus);
    bus_destroy(&w->server.bus);
    loop_destroy(&w->loop);
    (void)snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static enum err send_text(struct bus_peer *to, uint32_t seq, struct span text)
{
    struct data data = {.bytes = text};
    return bus_send(to, (struct header){.seq = seq}, MESSAGE_DATA, &data);
}

static void peers_greet_and_know_each_other(void **state)
{
    struct world *w = *state;
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    assert_string_equal(bus_peer_role(w->server.peer), "worker");
    assert_string_equal(bus_peer_name(w->server.peer), "worker-1");
    assert_string_equal(bus_peer_provider(w->server.peer), "openai");
    assert_string_equal(bus_peer_name(w->client.peer), "broker-1");
    assert_int_equal(bus_peer_epoch(w->client.peer), bus_epoch(w->server.bus));
}

static void a_thousand_messages_of_one_turn_arrive_in_order_and_come_back(void **state)
{
    struct world *w = *state;
    w->server.echo = true;
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(send_text(w->client.peer, i, SPAN("hello")), OK);
    AWAIT(w, w->client.received == 1000);
    assert_true(w->server.in_order);
    assert_true(w->client.in_order);
    assert_int_equal(w->server.received, 1000);
    assert_memory_equal(w->client.last, "hello", 5);
    assert_int_equal(bus_dropped(w->client.bus), 0);
}

static void a_large_message_arrives_whole(void **state)
{
    struct world *w = *state;
    size_t n = (size_t)20 << 20;
    char *big = malloc(n);
    memset(big, 'x', n);
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    assert_int_equal(send_text(w->client.peer, 0, span_of(big, n)), OK);
    assert_int_equal(send_text(w->client.peer, 1, SPAN("end")), OK);
    AWAIT(w, w->server.received == 2);
    free(big);
}

/* Small frames are bundled, large ones travel alone: neither overtakes the other. */
static void frames_of_all_sizes_keep_their_order(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 8100, 8191, 8192, 9000, 5, 70000, 300000, 7, 8000};
    enum { MESSAGES = 600 };
    static char bytes[300000];
    struct world *w = *state;
    w->server.echo = true;
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    memset(bytes, 'x', sizeof bytes);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        size_t n = sizes[(i * 7) % (sizeof sizes / sizeof sizes[0])];
        assert_int_equal(send_text(w->client.peer, i, span_of(bytes, n)), OK);
    }
    AWAIT(w, w->client.received == MESSAGES);
    assert_true(w->server.in_order);
    assert_true(w->client.in_order);
    assert_int_equal(bus_dropped(w->client.bus) + bus_dropped(w->server.bus), 0);
}

static void what_may_wait_arrives_soon_and_in_its_place(void **state)
{
    struct world *w = *state;
    struct data data = {.bytes = SPAN("x")};
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(
            bus_send_soon(w->client.peer, (struct header){.seq = i}, MESSAGE_DATA, &data), OK);
    AWAIT(w, w->server.received == 3); /* by themselves */
    for (uint32_t i = 3; i < 200; i++) {
        if (i % 3)
            assert_int_equal(
                bus_send_soon(w->client.peer, (struct header){.seq = i}, MESSAGE_DATA, &data), OK);
        else
            assert_int_equal(send_text(w->client.peer, i, SPAN("now")), OK);
        if (i % 10 == 0)
            turn(w);
    }
    AWAIT(w, w->server.received == 200);
    assert_true(w->server.in_order);
}

static void a_bundle_cut_anywhere_harms_nobody(void **state)
{
    struct world *w = *state;
    char data[160], bundle[512] = "\xb0";
    void *context = zmq_ctx_new(), *dealer = zmq_socket(context, ZMQ_DEALER);
    int zero = 0;
    (void)zmq_setsockopt(dealer, ZMQ_LINGER, &zero, sizeof zero);
    (void)zmq_setsockopt(dealer, ZMQ_IDENTITY, "odd-1", 5);
    (void)snprintf(data, sizeof data, "%s", w->address);
    assert_int_equal(zmq_connect(dealer, data), 0);
    struct hello hello = {
        .role = SPAN("worker"), .name = SPAN("odd"), .version = SPAN("1"), .major = PROTO_MAJOR};
    struct header h = {.version = PROTO_MAJOR, .type = MESSAGE_HELLO, .epoch = 7};
    size_t bytes = codec_size(MESSAGE_HELLO, &hello);
    bundle[1] = (char)bytes;
    codec_encode(&h, &hello, bundle + 5);
    log_set_fd(-1);
    for (size_t n = 1; n <= 5 + bytes; n++)
        assert_true(zmq_send(dealer, bundle, n, 0) > 0);
    memset(bundle + 1, 0xff, 4);
    assert_true(zmq_send(dealer, bundle, 5 + bytes, 0) > 0);
    AWAIT(w, bus_dropped(w->server.bus) >= 4 + bytes);
    log_set_fd(2);
    (void)zmq_close(dealer);
    (void)zmq_ctx_term(context);
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
}

static void a_client_that_ends_is_noticed_at_once(void **state)
{
    struct world *w = *state;
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    bus_destroy(&w->client.bus);
    AWAIT(w, w->server.downs == 1);
}

static void a_server_that_is_reborn_is_greeted_anew(void **state)
{
    struct world *w = *state;
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    bus_destroy(&w->server.bus);
    AWAIT(w, w->client.downs == 1);
    assert_null(w->client.peer);
    open_side(w, &w->server, "broker", "broker-1");
    assert_int_equal(bus_bind(w->server.bus, w->address), OK);
    AWAIT(w, w->client.ups == 2 && w->server.ups == 2);
    assert_int_equal(send_text(w->client.peer, 0, SPAN("again")), OK);
    AWAIT(w, w->server.received == 1);
}

static void a_client_reborn_under_its_name_replaces_the_old_one(void **state)
{
    struct world *w = *state;
    struct side second = {0};
    struct bus_peer *link;
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    open_side(w, &second, "worker", "worker-1");
    assert_int_equal(bus_connect(second.bus, "broker", w->address, &link), OK);
    AWAIT(w, w->server.downs >= 1 && w->server.ups >= 2);
    bus_destroy(&second.bus);
}

static void a_second_bind_on_a_held_address_is_refused(void **state)
{
    struct world *w = *state;
    struct side other = {0};
    open_side(w, &other, "broker", "broker-2");
    log_set_fd(-1);
    assert_int_equal(bus_bind(other.bus, w->address), ERR_EXISTS);
    log_set_fd(2);
    bus_destroy(&other.bus);
}

static void sending_to_nobody_is_an_error_not_a_queue(void **state)
{
    struct world *w = *state;
    struct bus_peer *link;
    char nowhere[160];
    open_side(w, &w->client, "worker", "worker-1");
    (void)snprintf(nowhere, sizeof nowhere, "ipc://%s/nobody", w->dir);
    assert_int_equal(bus_connect(w->client.bus, "broker", nowhere, &link), OK);
    turn(w);
    assert_int_equal(send_text(link, 0, SPAN("x")), ERR_CLOSED);
}

/* Nothing overtakes anything: a goodbye comes after all that was sent before it. */
static void a_goodbye_comes_after_what_was_sent_before_it(void **state)
{
    enum { FRAMES = 5000 };
    struct world *w = *state;
    open_client(w);
    AWAIT(w, w->server.peer && w->client.peer);
    for (uint32_t i = 0; i < FRAMES; i++)
        assert_int_equal(send_text(w->server.peer, i, SPAN("some of an answer")), OK);
    bus_destroy(&w->server.bus);
    AWAIT(w, w->client.downs == 1);
    assert_int_equal(w->client.received, FRAMES);
    assert_true(w->client.in_order && w->client.stopped);
}

static void a_link_that_is_given_up_is_gone_on_both_sides(void **state)
{
    struct world *w = *state;
    struct bus_peer *link;
    open_side(w, &w->client, "edge", "edge-1");
    assert_int_equal(bus_connect(w->client.bus, "worker", w->address, &link), OK);
    AWAIT(w, w->server.peer && w->client.peer);
    bus_disconnect(&link);
    assert_null(link);
    AWAIT(w, w->server.downs == 1);
    assert_true(w->server.stopped);
    assert_int_equal(w->client.downs, 0);
    assert_int_equal(bus_connect(w->client.bus, "worker", w->address, &link), OK);
    AWAIT(w, w->server.ups == 2 && w->client.ups == 2);
}

/* The link that a message came over may be given up by its handler. */
static void a_handler_may_give_up_its_own_link(void **state)
{
    struct world *w = *state;
    open_side(w, &w->client, "edge", "edge-1");
    assert_int_equal(bus_connect(w->client.bus, "worker", w->address, &w->client.gives_up), OK);
    AWAIT(w, w->server.peer && w->client.peer);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(send_text(w->server.peer, i, SPAN("x")), OK);
    AWAIT(w, w->server.downs == 1);
    assert_int_equal(w->client.received, 1);
}

/* Another major version is refused with a line that says who and what. */
static void another_major_version_is_refused_by_name(void **state)
{
    struct world *w = *state;
    char frame[512];
    void *context = zmq_ctx_new(), *dealer = zmq_socket(context, ZMQ_DEALER);
    int zero = 0;
    (void)zmq_setsockopt(dealer, ZMQ_LINGER, &zero, sizeof zero);
    (void)zmq_setsockopt(dealer, ZMQ_IDENTITY, "old-1", 5);
    assert_int_equal(zmq_connect(dealer, w->address), 0);
    struct hello hello = {
        .role = SPAN("worker"), .name = SPAN("worker-old"), .version = SPAN("9.9.9"), .major = 9};
    struct header h = {.type = MESSAGE_HELLO, .epoch = 7};
    codec_encode(&h, &hello, frame);
    frame[0] = 9;
    log_set_fd(-1);
    assert_true(zmq_send(dealer, frame, codec_size(MESSAGE_HELLO, &hello), 0) > 0);
    int got = -1;
    for (int i = 0; i < 1000 && got < 0; i++) {
        turn(w);
        got = zmq_recv(dealer, frame, sizeof frame, ZMQ_DONTWAIT);
    }
    log_set_fd(2);
    struct refuse refuse;
    assert_true(got > HEADER_BYTES);
    assert_int_equal((unsigned char)frame[1], MESSAGE_REFUSE);
    assert_int_equal(codec_decode(MESSAGE_REFUSE,
                                  span_of(frame + HEADER_BYTES, (size_t)got - HEADER_BYTES),
                                  &refuse),
                     OK);
    assert_true(span_find_span(refuse.reason, SPAN("worker-old")) < refuse.reason.len);
    assert_true(span_find_span(refuse.reason, SPAN("9.9.9")) < refuse.reason.len);
    assert_int_equal(w->server.ups, 0);
    (void)zmq_close(dealer);
    (void)zmq_ctx_term(context);
}

/* A client by hand: what a stopped server finds in its sockets when it goes on. */
struct odd {
    void *context, *socket;
};

static void odd_open(struct odd *odd, const struct world *w, const char *id)
{
    int zero = 0;
    odd->context = zmq_ctx_new();
    odd->socket = zmq_socket(odd->context, ZMQ_DEALER);
    (void)zmq_setsockopt(odd->socket, ZMQ_LINGER, &zero, sizeof zero);
    (void)zmq_setsockopt(odd->socket, ZMQ_IDENTITY, id, strlen(id));
    assert_int_equal(zmq_connect(odd->socket, w->address), 0);
}

static void odd_greet(const struct odd *odd)
{
    char frame[256];
    struct hello hello = {
        .role = SPAN("edge"), .name = SPAN("odd"), .version = SPAN("1"), .major = PROTO_MAJOR};
    struct header h = {.version = PROTO_MAJOR, .type = MESSAGE_HELLO, .epoch = 7};
    codec_encode(&h, &hello, frame);
    assert_true(zmq_send(odd->socket, frame, codec_size(MESSAGE_HELLO, &hello), 0) > 0);
}

static void odd_ping(const struct odd *odd)
{
    char frame[128];
    struct ping ping = {.sent_us = 1};
    struct header h = {.version = PROTO_MAJOR, .type = MESSAGE_PING, .epoch = 7};
    codec_encode(&h, &ping, frame);
    assert_true(zmq_send(odd->socket, frame, codec_size(MESSAGE_PING, &ping), 0) > 0);
}

static void odd_close(struct odd *odd)
{
    (void)zmq_close(odd->socket);
    (void)zmq_ctx_term(odd->context);
}

/* It gave us up while we stood still: what we still run for it, it no longer knows. */
static void a_client_that_greets_in_a_new_session_has_lost_the_old_one(void **state)
{
    struct world *w = *state;
    struct odd before, after;
    odd_open(&before, w, "odd-1-0");
    odd_greet(&before);
    AWAIT(w, w->server.ups == 1);
    odd_greet(&before); /* once more, because the WELCOME was slow */
    odd_open(&after, w, "odd-1-1");
    odd_greet(&after);
    AWAIT(w, w->server.ups == 2);
    assert_int_equal(w->server.downs, 1);
    odd_close(&before);
    odd_close(&after);
}

/* A side in a loop of its own, whose time only moves when told. */
struct apart {
    struct clock_fake clock;
    struct loop *loop;
    struct side side;
    struct bus_peer *link;
};

static void apart_open(struct apart *a, struct world *w, const char *role, const char *name)
{
    struct loop *together = w->loop;
    clock_fake_init(&a->clock, 1000000, 0);
    assert_int_equal(loop_create(&a->loop, &a->clock.clock), OK);
    w->loop = a->loop;
    open_side(w, &a->side, role, name);
    w->loop = together;
}

static void apart_close(struct apart *a)
{
    bus_destroy(&a->side.bus);
    loop_destroy(&a->loop);
}

static void apart_turn(struct apart *a, uint64_t ms)
{
    clock_fake_advance_ms(&a->clock, ms);
    assert_int_equal(loop_turn(a->loop, 5), OK);
}

struct two {
    struct apart server, client;
};

#define AWAIT_TWO(t, condition)                                                                    \
    do {                                                                                           \
        uint64_t until = clock_mono_ms(&clock_real) + 20000;                                       \
        while (!(condition) && clock_mono_ms(&clock_real) < until) {                               \
            apart_turn(&(t)->server, 10);                                                          \
            apart_turn(&(t)->client, 10);                                                          \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

static void two_open(struct two *t, struct world *w)
{
    char address[160];
    (void)snprintf(address, sizeof address, "%s-apart", w->address);
    apart_open(&t->server, w, "broker", "broker-apart");
    apart_open(&t->client, w, "worker", "worker-apart");
    assert_int_equal(bus_bind(t->server.side.bus, address), OK);
    assert_int_equal(bus_connect(t->client.side.bus, "broker", address, &t->client.link), OK);
    AWAIT_TWO(t, t->client.side.peer && t->server.side.peer);
    log_set_fd(-1);
}

static void two_close(struct two *t)
{
    log_set_fd(2);
    apart_close(&t->client);
    apart_close(&t->server);
}

static void one_that_stood_still_does_no_work_that_was_given_to_others_since(void **state)
{
    struct two t = {0};
    two_open(&t, *state);
    assert_int_equal(send_text(t.server.side.peer, 0, SPAN("stale")), OK);
    while (t.server.side.downs == 0) /* the client is stopped: its time stands still, too */
        apart_turn(&t.server, 200);
    clock_fake_advance_ms(&t.client.clock, 3000);
    AWAIT_TWO(&t, t.client.side.ups == 2 && t.server.side.ups == 2);
    assert_int_equal(t.client.side.received, 0);
    assert_int_equal(send_text(t.server.side.peer, 0, SPAN("fresh")), OK);
    AWAIT_TWO(&t, t.client.side.received == 1);
    assert_memory_equal(t.client.side.last, "fresh", 5);
    two_close(&t);
}

static void one_that_stood_still_and_was_not_given_up_goes_on(void **state)
{
    struct two t = {0};
    two_open(&t, *state);
    assert_int_equal(send_text(t.server.side.peer, 0, SPAN("good")), OK);
    apart_turn(&t.server, 10);
    clock_fake_advance_ms(&t.client.clock, 3000);
    AWAIT_TWO(&t, t.client.side.received == 1);
    assert_int_equal(t.client.side.downs + t.server.side.downs, 0);
    two_close(&t);
}

static unsigned asked;

static uint32_t count_asked(void *ctx, const struct bus_peer *peer)
{
    (void)ctx;
    (void)peer;
    return ++asked;
}

/* What a daemon is asked for is gone when it says goodbye, but PINGs still come. */
static void one_that_leaves_is_asked_nothing_any_more(void **state)
{
    struct world *w = *state;
    struct odd odd;
    struct bus_spec spec = {.role = "broker",
                            .name = "broker-1",
                            .ctx = &w->server,
                            .handlers = w->handlers,
                            .on_peer_up = on_up,
                            .queued = count_asked};
    bus_destroy(&w->server.bus);
    assert_int_equal(bus_create(&w->server.bus, w->loop, &spec), OK);
    assert_int_equal(bus_bind(w->server.bus, w->address), OK);
    odd_open(&odd, w, "odd-1-0");
    odd_greet(&odd);
    AWAIT(w, w->server.ups == 1);
    odd_ping(&odd);
    AWAIT(w, asked == 1);
    odd_ping(&odd); /* and answers no goodbye: there is time to read it */
    bus_destroy(&w->server.bus);
    assert_int_equal(asked, 1);
    odd_close(&odd);
}

/* ---- who may say what ---- */

static void reopen_server(struct world *w)
{
    bus_destroy(&w->server.bus);
    w->server = (struct side){0};
    open_side(w, &w->server, "broker", "broker-1");
    assert_int_equal(bus_bind(w->server.bus, w->address), OK);
}

static void a_message_is_taken_from_its_senders_alone(void **state)
{
    static const char *senders[MESSAGE_TYPES] = {[MESSAGE_DATA] = "edge"};
    struct world *w = *state;
    struct side edge = {0};
    struct bus_peer *link;
    w->senders = senders;
    reopen_server(w);
    w->senders = NULL;
    open_client(w);
    AWAIT(w, w->client.peer);
    log_set_fd(-1);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(send_text(w->client.peer, i, SPAN("x")), OK);
    AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_MESSAGE) == 3);
    log_set_fd(2);
    assert_int_equal(w->server.received, 0);
    open_side(w, &edge, "edge", "edge-1");
    assert_int_equal(bus_connect(edge.bus, "broker", w->address, &link), OK);
    AWAIT(w, edge.peer);
    assert_int_equal(send_text(edge.peer, 0, SPAN("x")), OK);
    AWAIT(w, w->server.received == 1);
    bus_destroy(&edge.bus);
}

static void a_caller_of_another_role_is_refused(void **state)
{
    struct world *w = *state;
    w->callers = "edge ctl";
    reopen_server(w);
    w->callers = NULL;
    log_set_fd(-1);
    open_client(w);
    AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_ROLE) >= 1);
    log_set_fd(2);
    assert_int_equal(w->server.ups, 0);
    assert_int_equal(w->client.ups, 0);
}

/* Or a worker could end an edge's links by taking its name. */
static void a_name_is_not_taken_from_another_service(void **state)
{
    struct world *w = *state;
    struct side thief = {0};
    struct bus_peer *link;
    open_client(w);
    AWAIT(w, w->client.peer && w->server.peer);
    open_side(w, &thief, "edge", "worker-1");
    log_set_fd(-1);
    assert_int_equal(bus_connect(thief.bus, "broker", w->address, &link), OK);
    AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_ROLE) >= 1);
    log_set_fd(2);
    assert_int_equal(w->server.ups, 1);
    assert_int_equal(w->server.downs, 0);
    bus_destroy(&thief.bus);
}

static void a_connection_of_another_name_is_refused(void **state)
{
    struct world *w = *state;
    struct odd odd;
    odd_open(&odd, w, "edge-1-0");
    log_set_fd(-1);
    odd_greet(&odd); /* as "odd" */
    AWAIT(w, bus_refused(w->server.bus, BUS_REFUSED_ROLE) == 1);
    log_set_fd(2);
    assert_int_equal(w->server.ups, 0);
    odd_close(&odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(peers_greet_and_know_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_thousand_messages_of_one_turn_arrive_in_order_and_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_message_arrives_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_of_all_sizes_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(what_may_wait_arrives_soon_and_in_its_place, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_bundle_cut_anywhere_harms_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_ends_is_noticed_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_is_reborn_is_greeted_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_reborn_under_its_name_replaces_the_old_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_client_that_greets_in_a_new_session_has_lost_the_old_one,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            one_that_stood_still_does_no_work_that_was_given_to_others_since, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_stood_still_and_was_not_given_up_goes_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_second_bind_on_a_held_address_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(sending_to_nobody_is_an_error_not_a_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(a_goodbye_comes_after_what_was_sent_before_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_link_that_is_given_up_is_gone_on_both_sides, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_handler_may_give_up_its_own_link, setup, teardown),
        cmocka_unit_test_setup_teardown(another_major_version_is_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_leaves_is_asked_nothing_any_more, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_is_taken_from_its_senders_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_caller_of_another_role_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_is_not_taken_from_another_service, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_of_another_name_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
