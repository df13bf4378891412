/* An upstream that a test plays by hand, turn by turn of the loop it tests: accept, read, answer,
 * close. */
#ifndef TESTS_UNIT_COMMON_FETCH_TEST_UPSTREAM_H
#define TESTS_UNIT_COMMON_FETCH_TEST_UPSTREAM_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "common/runtime/loop.h"

enum { TEST_PATIENCE = 400 }; /* turns of at most 5 ms */

struct test_server {
    struct loop *loop;
    int listener;
    uint16_t port;
};

void test_server_open(struct test_server *s, struct loop *loop);
void test_server_close(struct test_server *s);
/* One turn of the loop. */
void test_turn(const struct test_server *s);
/* The next connection; fails the test when none comes. */
int test_accept(const struct test_server *s);
/* Some turns pass in which no further connection brings a byte (libcurl may open one before it asks
 * whether to repeat). */
bool test_nobody_asks(const struct test_server *s);
/* Appends what comes until the text holds `until`; fails the test when it doesn't. */
void test_read_until(const struct test_server *s, int fd, struct buf *text, const char *until);
/* The other side closes within patience. */
bool test_hung_up(const struct test_server *s, int fd);
void test_answer(int fd, const char *text);

#define TEST_OK_JSON                                                                               \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\":\"b\"}"

#endif
