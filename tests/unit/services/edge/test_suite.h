/* A whole edge in one process: real bus, real HTTP, a fake clock, and hand-driven daemons around
 * it. */
#ifndef TESTS_UNIT_SERVICES_EDGE_TEST_SUITE_H
#define TESTS_UNIT_SERVICES_EDGE_TEST_SUITE_H

#include "common/base/clock.h"
#include "services/edge/edge.h"

enum { SUITE_BROKERS = 2, SUITE_TURNS_MAX = 3000 };

/* What a fake daemon has seen of one message type; text is kept of the last one. */
struct suite_seen {
    unsigned count;
    struct header header;
    char text[6][256]; /* by the message's own order, see test_suite.c */
    uint64_t number[8];
};

struct suite_peer {
    struct bus *bus;
    struct bus_peer *edge; /* NULL while it is not connected */
    struct suite_seen seen[MESSAGE_TYPES];
};

/* What brokers answer to an ask: a grant of the worker with the broker's own number (a further
 * attempt is declined: what failed it stands), the same for every attempt, or nothing. */
enum suite_broker { BROKER_GRANTS_ONE, BROKER_GRANTS_ALL, BROKER_SILENT };

enum suite_auth { AUTH_ALLOWS, AUTH_DENIES, AUTH_SILENT };

struct suite {
    char history[8192]; /* of the last RELEASE */
    struct loop *loop, *workers_loop;
    struct clock_fake clock;
    char dir[64];
    struct config *config;
    struct daemon d;
    struct bus *bus;
    struct bus_peer *brokers[SUITE_BROKERS];
    struct edge edge;
    struct suite_peer auth, broker[SUITE_BROKERS], worker[SUITE_BROKERS], metrics;

    enum suite_auth auth_does;
    struct allow allow; /* what auth says */
    struct deny deny;
    enum suite_broker broker_does;
    const char *route;                /* of grants: the fallback; NULL = none */
    bool standing;                    /* grants are standing ones, of 4 slots */
    uint32_t queued[SUITE_BROKERS];   /* what brokers' PONG says */
    bool broker_hears_nothing;        /* sends no REPORTED */
    bool workers_apart;               /* workers have a loop of their own … */
    bool workers_hang;                /* … which stands still: their links are lost, no goodbye */
    bool auth_acks;                   /* answers RELEASE by RELEASED */
    uint64_t grants;                  /* given */
    struct suite_peer *dispatched;    /* that got the last dispatch */
    unsigned dispatches;              /* that suite_dispatched has not told of */
    int64_t counted[METRIC_ID_COUNT]; /* as METRIC said last, whatever the labels */
    char labels[METRIC_ID_COUNT][64]; /* … which were these */
};

int suite_setup(void **state);
int suite_teardown(void **state);

/* Until `done` is true, or the test fails. */
#define SUITE_UNTIL(s, done)                                                                       \
    do {                                                                                           \
        int turns_ = 0;                                                                            \
        while (!(done)) {                                                                          \
            assert_true(turns_++ < SUITE_TURNS_MAX);                                               \
            suite_turn(s);                                                                         \
        }                                                                                          \
    } while (0)
void suite_turn(struct suite *s);
/* Some turns, in which nothing is expected to happen. */
void suite_settle(struct suite *s);
/* Turns the clock, slowly enough that pings are answered. */
void suite_advance(struct suite *s, uint64_t ms);

/* Ends a fake daemon; its address is free again. Starts it (again). */
void suite_stop_peer(struct suite *s, struct suite_peer *p);
void suite_start_auth(struct suite *s);
void suite_start_broker(struct suite *s, unsigned index);
void suite_start_worker(struct suite *s, unsigned index);
/* Starts both anew, so that they can hang. */
void suite_part_workers(struct suite *s);
/* The worker that has got a dispatch since the last call; the test fails when there is none. */
struct suite_peer *suite_dispatched(struct suite *s);
/* What suite_grant sends, with a number of its own. */
struct grant suite_grant_of(struct suite *s, const struct suite_peer *broker);
/* The answer to the last ask that this broker got. */
void suite_grant(struct suite *s, struct suite_peer *broker);
void suite_decline(struct suite_peer *broker, const struct decline *d);
/* From a fake daemon to the edge, about the request it has seen last. */
void suite_send(struct suite_peer *p, enum message_type about, struct header h,
                enum message_type type, const void *message);

/* ---- the client ---- */
struct suite_client {
    int fd;
    struct buf got;
    bool closed;
};
void client_open(struct suite *s, struct suite_client *c);
void client_close(struct suite_client *c);
/* A whole request; `head` are further lines, each with CR LF. */
void edge_request(struct suite_client *c, const char *method, const char *path, const char *head,
                  const char *body);
/* Reads what is there; true when all of `texts` has come, in any order. */
/* These bytes, as they are. */
void client_write(struct suite_client *c, const char *text);
bool client_has(struct suite_client *c, const char *text);

#endif
