/* What a message between two daemons costs in CPU time, both ends and ZeroMQ's threads together:
 * ipc, tcp, and tcp with keys (CURVE). One at a time there and back, and 64 at once.
 *   build/release/tests/bench/bench_bus_cost */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/runtime/bus/bus.h"

enum { ROUNDS = 4000, AT_ONCE = 64, LARGEST = 16384 };

struct side {
    struct bus_keys keys;
    struct bus *bus;
    struct bus_peer *peer;
    unsigned received;
    bool echoes;
};

static char bytes[LARGEST];

static void require(bool fine, const char *what)
{
    if (fine)
        return;
    (void)fprintf(stderr, "bus_cost: %s\n", what);
    exit(1);
}

static void on_up(void *ctx, struct bus_peer *peer)
{
    ((struct side *)ctx)->peer = peer;
}

static void on_data(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct side *end = ctx;
    end->received++;
    if (end->echoes)
        require(bus_send(from, m->header, MESSAGE_DATA, &m->body->data) == OK, "no echo");
}

static const bus_handler handlers[MESSAGE_TYPES] = {[MESSAGE_DATA] = on_data};

static void open_end(struct side *end, struct loop *loop, const char *role, bool keyed)
{
    struct bus_spec spec = {.role = role,
                            .name = role,
                            .ctx = end,
                            .keys = keyed ? &end->keys : NULL,
                            .handlers = handlers,
                            .on_peer_up = on_up};
    require(bus_create(&end->bus, loop, &spec) == OK, "no bus");
}

static void make_keys(struct side *server, struct side *client)
{
    struct side *const ends[] = {server, client};
    require(key_pair_make(&server->keys.own) == OK && key_pair_make(&client->keys.own) == OK,
            "no CURVE");
    for (unsigned i = 0; i < 2; i++)
        require(key_list_add(&ends[i]->keys.list, SPAN("broker"),
                             span_str(server->keys.own.public_key)) == OK &&
                    key_list_add(&ends[i]->keys.list, SPAN("edge"),
                                 span_str(client->keys.own.public_key)) == OK,
                "no list");
}

static double cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* µs per message and way. */
static double measure(struct loop *loop, struct side *client, size_t size, unsigned at_once)
{
    struct data data = {.bytes = span_of(bytes, size)};
    unsigned rounds = at_once > 1 ? ROUNDS / 16 : ROUNDS;
    double before = cpu_us();
    for (unsigned i = 0; i < rounds; i++) {
        unsigned until = client->received + at_once;
        for (unsigned n = 0; n < at_once; n++)
            require(bus_send(client->peer, (struct header){0}, MESSAGE_DATA, &data) == OK, "full");
        bus_flush(client->bus);
        while (client->received < until)
            require(loop_turn(loop, 100) == OK, "the loop has failed");
    }
    return (cpu_us() - before) / rounds / at_once / 2;
}

static void run(const char *name, const char *address, bool keyed)
{
    static const size_t sizes[] = {200, 1000, LARGEST};
    struct side server = {.echoes = true}, client = {0};
    struct loop *loop = NULL;
    struct bus_peer *link;
    require(loop_create(&loop, &clock_real) == OK, "no loop");
    make_keys(&server, &client);
    open_end(&server, loop, "broker", keyed);
    open_end(&client, loop, "edge", keyed);
    require(bus_bind(server.bus, address) == OK, "cannot bind");
    require(bus_connect(client.bus, "broker", bus_address(server.bus), &link) == OK, "no link");
    while (!server.peer || !client.peer)
        require(loop_turn(loop, 100) == OK, "the loop has failed");
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double one = measure(loop, &client, sizes[i], 1);
        printf("%-10s %6zu bytes  one at a time %6.1f us  %d at once %6.1f us\n", name, sizes[i],
               one, AT_ONCE, measure(loop, &client, sizes[i], AT_ONCE));
    }
    bus_destroy(&client.bus);
    bus_destroy(&server.bus);
    loop_destroy(&loop);
    bus_keys_reset(&client.keys);
    bus_keys_reset(&server.keys);
}

int main(void)
{
    char address[64];
    log_setup(LEVEL_ERROR, LINES_TEXT, "bus_cost", "");
    (void)snprintf(address, sizeof address, "ipc:///tmp/tollgate-bus-cost-%d", (int)getpid());
    run("ipc", address, false);
    (void)unlink(address + 6);
    (void)snprintf(address + strlen(address), 6, ".lock");
    (void)unlink(address + 6);
    run("tcp", "tcp://127.0.0.1:*", false);
    run("tcp, keys", "tcp://127.0.0.1:*", true);
    return 0;
}
