/* Facts 1 to 4 and 12: libzmq; and what keys (CURVE, ZAP) add. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <poll.h>
#include <zmq.h>

static char dir[] = "/tmp/tollgate-zmq-facts-XXXXXX";
static char address[128];
static int serial;

static const char *fresh_address(void)
{
    (void)snprintf(address, sizeof address, "ipc://%s/%d", dir, serial++);
    return address;
}

static void *open_socket(void *context, int type, const char *id)
{
    void *socket = zmq_socket(context, type);
    int zero = 0;
    assert_non_null(socket);
    (void)zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    if (id)
        (void)zmq_setsockopt(socket, ZMQ_IDENTITY, id, strlen(id));
    return socket;
}

static void set_int(void *socket, int option, int value)
{
    assert_int_equal(zmq_setsockopt(socket, option, &value, sizeof value), 0);
}

/* Waits for one message of any number of parts and drops it. */
static void receive(void *socket)
{
    char bytes[256];
    int more = 1;
    size_t size = sizeof more;
    set_int(socket, ZMQ_RCVTIMEO, 20000);
    while (more) {
        assert_true(zmq_recv(socket, bytes, sizeof bytes, 0) >= 0);
        assert_int_equal(zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size), 0);
    }
}

/* A process of its own with a DEALER "peer" that says hello and then stands still. */
static pid_t start_peer(const char *to)
{
    pid_t pid = fork();
    if (pid == 0) {
        void *context = zmq_ctx_new();
        void *dealer = zmq_socket(context, ZMQ_DEALER);
        (void)zmq_setsockopt(dealer, ZMQ_IDENTITY, "peer", 4);
        (void)zmq_connect(dealer, to);
        (void)zmq_send(dealer, "hello", 5, 0);
        for (;;)
            (void)pause();
    }
    return pid;
}

static int send_to(void *router, const char *id, const char *text)
{
    if (zmq_send(router, id, strlen(id), ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return errno;
    return zmq_send(router, text, strlen(text), ZMQ_DONTWAIT) < 0 ? errno : 0;
}

/* Fact 1: without ROUTER_MANDATORY an unknown or full peer loses messages without an error. */
static void a_router_drops_silently_unless_mandatory(void **state)
{
    (void)state;
    void *context = zmq_ctx_new(), *router = open_socket(context, ZMQ_ROUTER, NULL);
    assert_int_equal(zmq_bind(router, fresh_address()), 0);
    assert_int_equal(send_to(router, "nobody", "x"), 0);
    pid_t peer = start_peer(address);
    receive(router);
    assert_int_equal(kill(peer, SIGSTOP), 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(send_to(router, "peer", "x"), 0);
    set_int(router, ZMQ_ROUTER_MANDATORY, 1);
    assert_int_equal(send_to(router, "nobody", "x"), EHOSTUNREACH);
    int e = 0;
    for (int i = 0; i < 100000 && !e; i++)
        e = send_to(router, "peer", "x");
    assert_int_equal(e, EAGAIN);
    (void)kill(peer, SIGKILL);
    (void)waitpid(peer, NULL, 0);
    (void)zmq_close(router);
    (void)zmq_ctx_term(context);
}

/* Fact 1: a killed peer becomes EHOSTUNREACH. */
static void a_killed_peer_becomes_unreachable(void **state)
{
    (void)state;
    void *context = zmq_ctx_new(), *router = open_socket(context, ZMQ_ROUTER, NULL);
    set_int(router, ZMQ_ROUTER_MANDATORY, 1);
    assert_int_equal(zmq_bind(router, fresh_address()), 0);
    pid_t peer = start_peer(address);
    receive(router);
    (void)kill(peer, SIGKILL);
    (void)waitpid(peer, NULL, 0);
    int e = 0;
    for (int i = 0; i < 20000 && e != EHOSTUNREACH; i++) {
        char bytes[16];
        (void)zmq_recv(router, bytes, sizeof bytes, ZMQ_DONTWAIT); /* only while it also receives */
        e = send_to(router, "peer", "x");
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(e, EHOSTUNREACH);
    (void)zmq_close(router);
    (void)zmq_ctx_term(context);
}

/* Fact 2: ZMTP heartbeats are answered by the I/O thread, so a hung program looks alive. */
static void heartbeats_miss_a_hung_program(void **state)
{
    (void)state;
    void *context = zmq_ctx_new(), *router = open_socket(context, ZMQ_ROUTER, NULL);
    set_int(router, ZMQ_ROUTER_MANDATORY, 1);
    set_int(router, ZMQ_HEARTBEAT_IVL, 50);
    set_int(router, ZMQ_HEARTBEAT_TIMEOUT, 150);
    assert_int_equal(zmq_bind(router, fresh_address()), 0);
    pid_t peer = start_peer(address); /* its program never reads again */
    receive(router);
    for (int i = 0; i < 20; i++) {
        char bytes[16];
        (void)poll(NULL, 0, 50);
        (void)zmq_recv(router, bytes, sizeof bytes, ZMQ_DONTWAIT);
        assert_int_equal(send_to(router, "peer", "x"), 0);
    }
    (void)kill(peer, SIGKILL);
    (void)waitpid(peer, NULL, 0);
    (void)zmq_close(router);
    (void)zmq_ctx_term(context);
}

/* Fact 3: IMMEDIATE=0 queues for nobody; IMMEDIATE=1 says EAGAIN. */
static void a_dealer_queues_for_nobody_unless_immediate(void **state)
{
    (void)state;
    void *context = zmq_ctx_new();
    void *lazy = open_socket(context, ZMQ_DEALER, NULL),
         *immediate = open_socket(context, ZMQ_DEALER, NULL);
    set_int(immediate, ZMQ_IMMEDIATE, 1);
    (void)fresh_address();
    assert_int_equal(zmq_connect(lazy, address), 0);
    assert_int_equal(zmq_connect(immediate, address), 0);
    assert_int_equal(zmq_send(lazy, "x", 1, ZMQ_DONTWAIT), 1);
    assert_int_equal(zmq_send(immediate, "x", 1, ZMQ_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    (void)zmq_close(lazy);
    (void)zmq_close(immediate);
    (void)zmq_ctx_term(context);
}

/* Fact 4: a second bind on one ipc path succeeds and steals it; socket files are open to others by
 * default. */
static void a_second_ipc_bind_steals_the_address(void **state)
{
    (void)state;
    struct stat st;
    void *context = zmq_ctx_new();
    void *first = open_socket(context, ZMQ_ROUTER, NULL),
         *second = open_socket(context, ZMQ_ROUTER, NULL);
    mode_t mask = umask(0022);
    assert_int_equal(zmq_bind(first, fresh_address()), 0);
    (void)umask(mask);
    assert_int_equal(stat(address + strlen("ipc://"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(zmq_bind(second, address), 0);
    void *dealer = open_socket(context, ZMQ_DEALER, "d");
    assert_int_equal(zmq_connect(dealer, address), 0);
    assert_int_equal(zmq_send(dealer, "x", 1, 0), 1);
    receive(second);
    (void)zmq_close(dealer);
    (void)zmq_close(first);
    (void)zmq_close(second);
    (void)zmq_ctx_term(context);
}

/* Fact 4: of two peers with one routing id the second is ignored without a word; ROUTER_HANDOVER
 * gives it the id. */
static void a_duplicate_routing_id_is_ignored_unless_handed_over(void **state)
{
    (void)state;
    for (int handover = 0; handover < 2; handover++) {
        void *context = zmq_ctx_new(), *router = open_socket(context, ZMQ_ROUTER, NULL);
        void *first = open_socket(context, ZMQ_DEALER, "same"),
             *second = open_socket(context, ZMQ_DEALER, "same");
        set_int(router, ZMQ_ROUTER_HANDOVER, handover);
        assert_int_equal(zmq_bind(router, fresh_address()), 0);
        assert_int_equal(zmq_connect(first, address), 0);
        assert_int_equal(zmq_send(first, "1", 1, 0), 1);
        receive(router);
        assert_int_equal(zmq_connect(second, address), 0);
        assert_int_equal(zmq_send(second, "2", 1, 0), 1);
        char bytes[16];
        set_int(router, ZMQ_RCVTIMEO, handover ? 20000 : 300);
        assert_int_equal(zmq_recv(router, bytes, sizeof bytes, 0) >= 0, handover);
        (void)zmq_close(first);
        (void)zmq_close(second);
        (void)zmq_close(router);
        (void)zmq_ctx_term(context);
    }
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &pages, &resident), 2);
    (void)fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Fact 12: an unfinished multi-part grows its receiver in spite of RCVHWM and MAXMSGSIZE. */
static void an_unfinished_multipart_passes_every_bound(void **state)
{
    (void)state;
    void *context = zmq_ctx_new(), *router = open_socket(context, ZMQ_ROUTER, NULL);
    void *dealer = open_socket(context, ZMQ_DEALER, "d");
    int64_t max = 1 << 20;
    set_int(router, ZMQ_RCVHWM, 10);
    assert_int_equal(zmq_setsockopt(router, ZMQ_MAXMSGSIZE, &max, sizeof max), 0);
    assert_int_equal(zmq_bind(router, fresh_address()), 0);
    assert_int_equal(zmq_connect(dealer, address), 0);
    long before = resident_kib();
    char *part = calloc(1, 1 << 20);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zmq_send(dealer, part, 1 << 20, ZMQ_SNDMORE), 1 << 20);
    long grown = 0;
    for (int i = 0; i < 2000 && grown < 64 * 1024; i++) {
        (void)poll(NULL, 0, 10);
        grown = resident_kib() - before;
    }
    assert_true(grown >= 64 * 1024);
    free(part);
    (void)zmq_close(dealer);
    (void)zmq_close(router);
    (void)zmq_ctx_term(context);
}

/* A server by CURVE whose key this is, with a REP socket that is asked about every client (ZAP). */
static void *open_curve_server(void *context, const char *secret, void **zap_out)
{
    void *router = open_socket(context, ZMQ_ROUTER, NULL);
    *zap_out = open_socket(context, ZMQ_REP, NULL);
    set_int(*zap_out, ZMQ_RCVTIMEO, 20000);
    assert_int_equal(zmq_bind(*zap_out, "inproc://zeromq.zap.01"), 0);
    set_int(router, ZMQ_CURVE_SERVER, 1);
    assert_int_equal(zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, secret, strlen(secret)), 0);
    assert_int_equal(zmq_setsockopt(router, ZMQ_ZAP_DOMAIN, "x", 1), 0);
    assert_int_equal(zmq_bind(router, fresh_address()), 0);
    return router;
}

static void *open_curve_client(void *context, const char *id, const char *server)
{
    char public[41], secret[41];
    void *dealer = open_socket(context, ZMQ_DEALER, id);
    assert_int_equal(zmq_curve_keypair(public, secret), 0);
    (void)zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, public, 40);
    (void)zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, secret, 40);
    (void)zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, server, 40);
    assert_int_equal(zmq_connect(dealer, address), 0);
    return dealer;
}

/* Answers one question. */
static void say_who(void *zap, const char *status, const char *user)
{
    const char *const frames[] = {"1.0", "1", status, "", user, ""};
    char request[7][256];
    for (unsigned i = 0; i < 7; i++)
        assert_true(zmq_recv(zap, request[i], sizeof request[i], 0) >= 0);
    for (unsigned i = 0; i < 6; i++)
        assert_true(zmq_send(zap, frames[i], strlen(frames[i]), i < 5 ? ZMQ_SNDMORE : 0) >= 0);
}

/* Behind CURVE: whom ZAP has named, every part says, but not always the one with the routing id. */
static void parts_carry_the_users_name(void **state)
{
    (void)state;
    char public[41], secret[41];
    void *context = zmq_ctx_new(), *zap;
    assert_int_equal(zmq_curve_keypair(public, secret), 0);
    void *router = open_curve_server(context, secret, &zap);
    void *dealer = open_curve_client(context, "d", public);
    assert_int_equal(zmq_send(dealer, "hello", 5, 0), 5);
    say_who(zap, "200", "somebody");
    zmq_msg_t part;
    (void)zmq_msg_init(&part);
    set_int(router, ZMQ_RCVTIMEO, 20000);
    assert_int_equal(zmq_msg_recv(&part, router, 0), 1);
    assert_int_equal(zmq_msg_recv(&part, router, 0), 5);
    assert_string_equal(zmq_msg_gets(&part, "User-Id"), "somebody");
    (void)zmq_msg_close(&part);
    (void)zmq_close(dealer);
    (void)zmq_close(router);
    (void)zmq_close(zap);
    (void)zmq_ctx_term(context);
}

/* Fact 12's multi-part, of one without a key: it stays its sender's. */
static void a_stranger_to_curve_fills_nobodys_memory(void **state)
{
    (void)state;
    char public[41], secret[41];
    void *context = zmq_ctx_new(), *zap;
    assert_int_equal(zmq_curve_keypair(public, secret), 0);
    void *router = open_curve_server(context, secret, &zap);
    void *dealer = open_socket(context, ZMQ_DEALER, "d");
    set_int(dealer, ZMQ_SNDTIMEO, 500);
    set_int(dealer, ZMQ_IMMEDIATE, 1); /* sends over a connection that has come up, or not at all */
    assert_int_equal(zmq_connect(dealer, address), 0);
    assert_int_equal(zmq_send(dealer, "x", 1, ZMQ_SNDMORE), -1);
    assert_int_equal(errno, EAGAIN);
    set_int(router, ZMQ_RCVTIMEO, 0);
    assert_int_equal(zmq_recv(router, public, sizeof public, 0), -1);
    (void)zmq_close(dealer);
    (void)zmq_close(router);
    (void)zmq_close(zap);
    (void)zmq_ctx_term(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_router_drops_silently_unless_mandatory),
        cmocka_unit_test(a_killed_peer_becomes_unreachable),
        cmocka_unit_test(heartbeats_miss_a_hung_program),
        cmocka_unit_test(a_dealer_queues_for_nobody_unless_immediate),
        cmocka_unit_test(a_second_ipc_bind_steals_the_address),
        cmocka_unit_test(a_duplicate_routing_id_is_ignored_unless_handed_over),
        cmocka_unit_test(an_unfinished_multipart_passes_every_bound),
        cmocka_unit_test(parts_carry_the_users_name),
        cmocka_unit_test(a_stranger_to_curve_fills_nobodys_memory),
    };
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    printf("libzmq %d.%d.%d\n", major, minor, patch);
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[160];
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) ? 1 : failed;
}
