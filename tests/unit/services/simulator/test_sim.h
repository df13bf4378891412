/* A simulator and a client in one thread. */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include "services/simulator/sim.h"

struct test_sim {
    struct loop *loop;
    struct clock_fake clock;
    struct sim *sim;
    struct json_doc doc;
    struct arena arena;
    struct buf got; /* the last answer: head and body */
    bool closed;    /* the connection ended with it */
};

struct sim_options test_options(void);
void test_sim_start(struct test_sim *t, const struct sim_options *options);
void test_sim_stop(struct test_sim *t);
/* One request on a connection of its own; turns until the answer is whole, the connection closes,
 * or nothing more comes. Every turn the clock goes on by 1 ms. `headers` are extra lines, each with
 * CR LF. Returns the status, 0 for none. */
unsigned ask_sim(struct test_sim *t, const char *method, const char *path, const char *headers,
                 const char *body);
/* With a key and all headers every protocol wants. */
unsigned post(struct test_sim *t, const char *path, const char *body);
unsigned get(struct test_sim *t, const char *path);
/* The last answer's body; chunks joined. */
struct span body_of(struct test_sim *t);
struct json json_of(struct test_sim *t);
bool has(struct test_sim *t, const char *text);
size_t times_in_body(struct test_sim *t, const char *text);
/* Member by a path like "choices.0.message.content". */
struct json at(struct json v, const char *path);
uint64_t number_at(struct json v, const char *path);

#endif
