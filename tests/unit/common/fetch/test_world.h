/* A client of the tests' own upstream, on a clock that they turn, and what its requests hear. */
#ifndef TESTS_UNIT_COMMON_FETCH_TEST_WORLD_H
#define TESTS_UNIT_COMMON_FETCH_TEST_WORLD_H

#include "unit/common/fetch/test_upstream.h"

#include "common/fetch/fetch.h"

enum { WORLD_MAX_RESPONSE = 4096 };

struct heard {
    unsigned heads, ends, failures;
    unsigned status, error_class;
    enum reason reason;
    bool sent;
    struct buf body;
    char type[64];
    struct span message;
    struct fetch_transfer *request;
    /* what to do from within */
    bool cancel_in_bytes, cancel_in_head, pause_in_bytes;
    struct world *start_another;
};

struct world {
    struct clock_fake clock;
    struct loop *loop;
    struct fetch *up;
    struct fetch_origin *origin;
    struct secret *key;
    struct test_server server;
    struct heard heard, second;
};

/* Requests go by our own client, or, when this is set, are left to libcurl: the base URL then has
 * a dot segment, which is not ours to write. It goes out as it is: nobody normalises a path. */
extern bool world_by_libcurl;

int world_set_up(void **state);
int world_tear_down(void **state);
#define WORLD_CASE(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)

/* A POST of that body to /chat/completions, heard by h. */
struct fetch_spec world_post(struct world *w, struct heard *h, const char *body);
void world_start(struct world *w, struct heard *h, struct fetch_spec spec);
struct fetch_origin *world_make_origin(const struct world *w, const char *base,
                                       bool private_network);
/* Turns until it has ended or failed. */
void world_until_over(struct world *w, const struct heard *h);
void world_until_body(struct world *w, const struct heard *h, size_t bytes);
void world_assert_failed(const struct heard *h, unsigned error_class, bool sent);
/* One request and its answer over a connection that stays open; returns the connection. */
int world_warm_up(struct world *w);

#endif
