/* A server and its clients in one process and one thread: raw sockets, and a loop that is turned by
 * hand. */
#ifndef TEST_SERVER_H
#define TEST_SERVER_H

#include "common/base/buf.h"
#include "common/http/http.h"

enum test_mode {
    ANSWER_NOW,   /* 200 "METHOD path bodylength" in on_request */
    ANSWER_LATER, /* the exchange is kept in `kept` */
    STREAM_NOW,   /* begins a stream in on_request, keeps the exchange */
    REFUSE_HEAD,  /* 401 in on_head */
    ECHO_NOW,     /* 200; all the handler sees of the request is appended to `echo` */
    HOLD_HEAD,    /* on_head holds and keeps in `held`; on_request as ANSWER_NOW */
};

struct test_server {
    struct loop *loop;
    struct clock_fake clock; /* every wait of the server */
    struct http_server *http;
    enum test_mode mode;
    struct http_exchange *kept[256];
    unsigned kept_count;
    struct http_exchange *held[256]; /* NULL once it has ended */
    unsigned held_count;
    uint8_t owner; /* of the next head; 0 = none */
    unsigned requests, gone, done, done_sent, drains, refusals;
    unsigned refused_status;
    const char *refused_reason;
    struct buf echo;
};

/* What test_config says: plain requests through libmicrohttpd too? */
extern bool test_library_only;
/* Runs an array of tests on our own way in and then through libmicrohttpd; main's result. */
#define RUN_BOTH_WAYS(tests)                                                                       \
    (cmocka_run_group_tests_name("plain", tests, NULL, NULL) +                                     \
     (test_library_only = true,                                                                    \
      cmocka_run_group_tests_name("through libmicrohttpd", tests, NULL, NULL)))

/* Small limits, one shard, 10 s for heads; tests change what they need before test_server_start. */
struct http_config test_config(void);
void test_server_start(struct test_server *t, const struct http_config *config);
void test_server_stop(struct test_server *t);
/* Turns until the condition holds, at most ~3 s; fails the test otherwise. */
#define TURN_UNTIL(t, condition)                                                                   \
    do {                                                                                           \
        for (int turn_ = 0; turn_ < 3000 && !(condition); turn_++)                                 \
            assert_int_equal(loop_turn((t)->loop, 1), OK);                                         \
        assert_true(condition);                                                                    \
    } while (0)
void test_turns(struct test_server *t, int n);
/* Time goes by for the server. */
void test_pass(struct test_server *t, uint64_t ms);

/* A non-blocking client socket. */
int client_open(const struct test_server *t);
int client_open_from(const struct test_server *t, const char *address);
void client_send(struct test_server *t, int fd, struct span bytes);
void client_send_str(struct test_server *t, int fd, const char *text);
/* Appends what has come; true once the peer has closed (or reset). */
bool client_read(int fd, struct buf *into);
/* Turns until `into` holds `text`, or fails. */
void client_expect(struct test_server *t, int fd, struct buf *into, const char *text);
/* Turns until the peer closes. */
void client_expect_close(struct test_server *t, int fd, struct buf *into);
size_t count_of(const struct buf *in, const char *text);

#endif
