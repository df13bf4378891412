/* Shared by the broker's tests: a configuration from text, and a world around the core: edges and
 * workers without sockets, and time by hand. */
#ifndef TESTS_BROKER_TEST_CORE_H
#define TESTS_BROKER_TEST_CORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "proto/grant.h"
#include "services/broker/core.h"
#include "services/broker/trail.h"

/* Owned by the caller; fails the test when the text is no good configuration. */
struct config *test_config(const char *yaml);

enum { WORLD_MAX_FRAMES = 4096, WORLD_EPOCH = 77 };

/* A message that went out: to whom, what. Strings are copied. */
struct sent {
    struct bus_peer *to;
    struct header h;
    unsigned type;
    /* GRANT, REVOKE */
    uint64_t number;
    /* GRANT */
    uint8_t token[GRANT_TOKEN_BYTES];
    struct grant_token t;
    bool standing;
    uint32_t slots, valid_ms, timeout_ms, stored_endpoint;
    uint64_t worker_epoch;
    char worker[64], address[64], provider[64], model[64], target_model[64], route[64], avoid[64];
    uint8_t trail[TRAIL_BYTES];
    /* DECLINE */
    unsigned error_class;
    uint64_t retry_after_ms;
    char message[256], code[64], param[64];
};

struct world {
    struct clock_fake clock;
    struct config *config;
    struct workers *workers;
    struct router *router;
    struct core *core;
    unsigned sent_count;
    unsigned read;      /* by world_next */
    unsigned reported;  /* REPORTED messages; they are in no order with the others … */
    uint32_t last_seq;  /* … the last one's */
    uint32_t seq;       /* of the last report */
    uint32_t chance;    /* always this */
    unsigned retried;   /* attempts */
    uint64_t waited_us; /* of the ask that was granted last */
    struct sent sent[WORLD_MAX_FRAMES];
};

void world_open(struct world *w, const char *yaml);
/* … of a configuration that has been read; it is the world's now. */
void world_open_with(struct world *w, struct config *config);
void world_close(struct world *w);
uint64_t world_now(const struct world *w);
/* Moves the clock; everything happens when it is due. */
void world_advance(struct world *w, uint64_t ms);
/* Another configuration is in force from now on. */
void world_reload(struct world *w, const char *yaml);
/* Other rules, or NULL: those of the configuration. */
void world_rules(struct world *w, const struct core_rules *rules);

/* Peers. `n` makes the peer and all that is its own. */
struct bus_peer *world_peer(unsigned n);
struct broker_edge *world_edge(struct world *w, unsigned n); /* epoch: n */
void world_edge_down(struct world *w, struct broker_edge **e);
/* "worker-<n>" of epoch 1000 + n, its clock at n s, its key n in every byte. */
struct broker_worker *world_worker(struct world *w, const char *provider, unsigned n,
                                   uint32_t slots);
void world_worker_key(unsigned n, uint8_t out[GRANT_KEY_BYTES]);
void world_worker_down(struct world *w, struct broker_worker **worker);
/* SLOTS; `running` of them under this broker's grants. */
void world_slots(struct world *w, struct broker_worker *worker, uint32_t slots, uint32_t running);
/* … and so many of all its slots are free. */
void world_slots_free(struct world *w, struct broker_worker *worker, uint32_t slots,
                      uint32_t running, uint32_t free);
void world_slots_why(struct world *w, struct broker_worker *worker, const char *why);

/* Asks of an edge; through the codec, as from the bus. id makes the request id. */
void world_ask(struct world *w, struct broker_edge *e, unsigned id, const char *key,
               const char *model, uint32_t deadline_ms);
void world_ask_as(struct world *w, struct broker_edge *e, unsigned id, unsigned attempt,
                  const struct ask *m, uint32_t deadline_ms);
/* … for standing slots. */
void world_ask_wanted(struct world *w, struct broker_edge *e, unsigned id, const char *model,
                      uint32_t wanted);
void world_renew(struct world *w, struct broker_edge *e, const char *model, uint32_t wanted);
void world_cancel(struct world *w, struct broker_edge *e, unsigned id);
void world_report(struct world *w, struct broker_edge *e, const struct grant_report *entries,
                  size_t count);
/* One attempt's grant is over: used and ended well, or not used at all. */
void world_done(struct world *w, struct broker_edge *e, const struct sent *grant);
void world_return(struct world *w, struct broker_edge *e, const struct sent *grant);
/* Its attempt failed: a report, and the ask for the next. `failed` has key, model and the failed_*
 * members. */
void world_fail(struct world *w, struct broker_edge *e, const struct sent *grant,
                struct ask failed);
/* The worker was busy: a report, and the ask again. */
void world_busy(struct world *w, struct broker_edge *e, const struct sent *grant, struct ask again,
                unsigned times, uint32_t free_slots);

/* STORED: a response that this key may ask for. */
void world_stored(struct world *w, struct broker_edge *e, const char *response_id, const char *key,
                  const char *provider, uint32_t endpoint);

/* The next message that went out and was not read yet, REPORTED aside; NULL when there is none. */
const struct sent *world_next(struct world *w);
/* … which must be of this type, to this peer, of this request. */
const struct sent *world_expect(struct world *w, unsigned type, unsigned peer, unsigned id);
#define world_expect_nothing(w) assert_null(world_next(w))
/* … a GRANT at worker-<n>. */
const struct sent *world_expect_grant(struct world *w, unsigned peer, unsigned id, unsigned n);
const struct sent *world_expect_decline(struct world *w, unsigned peer, unsigned id,
                                        unsigned error_class);
void world_expect_revoke(struct world *w, unsigned peer, uint64_t number);
/* Nothing is left in any table, and nothing was sent. */
void world_expect_idle(struct world *w);

#endif
