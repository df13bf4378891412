/* Shared by the broker's tests: a configuration from text, and a world around requests.c without
 * sockets. */
#ifndef TESTS_BROKER_WORLD_H
#define TESTS_BROKER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "services/broker/requests.h"

/* Owned by the caller; fails the test when the text is no good configuration. */
struct config *test_config(const char *yaml);

enum { WORLD_MAX_FRAMES = 4096 };

/* A frame that went out: to whom, what. Strings are copied. */
struct sent {
    struct bus_peer *to;
    struct header h;
    unsigned type;
    bool forwarded;
    unsigned error_class;
    uint64_t retry_after_ms;
    uint32_t stored_endpoint;
    char response_id[64], code[64];
    char target_model[64], avoid[64], route[64], body[64], message[256];
};

struct world {
    struct clock_fake clock;
    struct config *config;
    struct workers *workers;
    struct router *router;
    struct requests *requests;
    struct sent sent[WORLD_MAX_FRAMES];
    unsigned sent_count;
    unsigned read;                /* by world_next */
    struct bus_peer *unreachable; /* sends to it fail … */
    enum err unreachable_with;    /* … with this; ERR_AGAIN unless a test says otherwise */
    uint32_t chance;
    unsigned retried;
};

void world_open(struct world *w, const char *yaml);
void world_close(struct world *w);
uint64_t world_now(const struct world *w);
/* Moves the clock and lets everything due happen, in steps of a millisecond at most. */
void world_advance(struct world *w, uint64_t ms);
/* A worker with so many slots. `n` makes its peer. */
struct broker_worker *world_worker(struct world *w, const char *provider, unsigned n,
                                   uint32_t slots);
struct broker_edge *world_edge(struct world *w, unsigned n);
struct bus_peer *world_peer(unsigned n);

/* What comes in. id makes the request id. */
void world_request(struct world *w, struct broker_edge *e, unsigned id, const char *key,
                   const char *model, uint32_t deadline_ms);
/* About a stored response; by its id alone when model is "". */
void world_ask_response(struct world *w, struct broker_edge *e, unsigned id, const char *key,
                        const char *model, const char *response_id);
/* A REPLY or HEAD that tells of a new one. */
void world_made_response(struct world *w, struct broker_worker *from, unsigned id, unsigned type,
                         const char *response_id, uint32_t endpoint);
void world_from_edge(struct world *w, struct broker_edge *e, unsigned id, unsigned type,
                     uint32_t deadline_ms);
void world_from_worker(struct world *w, struct broker_worker *from, unsigned id, unsigned attempt,
                       unsigned type, uint32_t seq);
void world_fail(struct world *w, struct broker_worker *from, unsigned id, unsigned attempt,
                struct fail f);

/* The next frame that went out and was not read yet; NULL when there is none. */
const struct sent *world_next(struct world *w);
/* … which must be of this type, to this peer, of this request. */
const struct sent *world_expect(struct world *w, unsigned type, unsigned peer, unsigned id);
#define world_expect_nothing(w) assert_null(world_next(w))

#endif
