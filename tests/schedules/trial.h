/* One schedule: the broker's core, the edge's keeper of grants and the worker's gate, several of
 * each, over a network and a clock that a seed decides. What they do not have of their own (the
 * request's way at the edge, attempts at the worker, links) is played here as the daemons do it;
 * docs/grants.md says what must hold, and checks.c looks. */
#ifndef TESTS_SCHEDULES_TRIAL_H
#define TESTS_SCHEDULES_TRIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/runtime/config/config.h"
#include "proto/message.h"
#include "services/broker/core.h"
#include "services/broker/trail.h"
#include "services/edge/grants/grants.h"
#include "services/worker/gate.h"
#include "services/worker/slots.h"

enum {
    BROKERS = 2,
    EDGES = 2,
    WORKERS = 3, /* the first two of provider openai, the last of anthropic */
    PARTIES = BROKERS + EDGES + WORKERS,
    LINKS = EDGES * BROKERS + WORKERS * BROKERS + EDGES * WORKERS,
    REQUESTS = 240,
    ATTEMPTS = 64, /* at once at one worker */
    TABLE = 4096,
    TOKENS = 32,
    MS = 1000,
    S = 1000000,
    QUIET_US = 4 * S, /* so long after the last fault everything is expected to work */
};

enum party_kind { PARTY_BROKER, PARTY_EDGE, PARTY_WORKER };

struct party {
    enum party_kind kind;
    unsigned index;
    char name[12];
    bool alive, draining;
    uint64_t epoch;
    uint64_t life;      /* counts its boots */
    uint64_t offset_us; /* of its clock */
    uint64_t stalled_until_us;
    uint64_t lag_us; /* slow: each packet to it takes so much longer */
};

/* ends[0] connects, ends[1] binds; sees: what each side believes. */
struct trial_link {
    struct party *ends[2];
    bool open, sees[2], control;
    unsigned closing;     /* 1 + the side that has said goodbye */
    uint64_t life, opens; /* counts losses; counts … */
    uint64_t last_us[2], apart_until_us;
};

struct packet {
    struct trial_link *link;
    uint64_t link_life;
    unsigned to; /* side */
    unsigned type;
    struct header header;
    void *body; /* message_copy */
};

enum event_kind {
    E_PACKET,
    E_SEES_DOWN, /* a: link, n: side */
    E_OPEN,      /* a: link */
    E_EDGE_TURN,
    E_BROKER_TICK,
    E_BROKER_PONG,
    E_BROKER_GONE,
    E_WORKER_TICK,
    E_WORKER_GONE,
    E_ATTEMPT_HEAD, /* a: slot, n: serial */
    E_ATTEMPT_END,
    E_WAITED,   /* a: request, n: serial */
    E_DEADLINE, /* a: request */
    E_LEAVE,
    E_ARRIVE,
    E_FAULT,
    E_START, /* the party boots again */
    E_CHECK
};

struct event {
    uint64_t at_us, order;
    struct party *who; /* NULL = nobody's; else dropped when it has died since */
    uint64_t life;
    enum event_kind kind;
    uint32_t a;
    uint64_t n;
    struct packet *packet;
};

/* What an edge, or a worker, is expected to do under one grant; kept apart from what they keep. */
struct expected {
    uint64_t broker_epoch, number;
    uint64_t until_ms;
    uint64_t broker_link, slots_link; /* that it came over, and that its slots were offered over */
    uint32_t slots, starts, running;
    unsigned edge, worker;
    uint64_t over, ended; /* attempts that ended; but for those that were canceled */
    bool used, standing, revoked;
};

struct table {
    struct expected items[TABLE];
    unsigned count;
};

struct t_broker {
    struct party *party;
    struct workers *workers;
    struct router *router;
    struct core *core;
    struct broker_edge *edges[EDGES];
    struct broker_worker *at[WORKERS];
    uint64_t tick_us;                 /* of the E_BROKER_TICK that is scheduled */
    uint64_t highest;                 /* grant number that went out */
    struct table heard;               /* what reports have said */
    uint32_t heard_running[WORKERS];  /* … of grants that it should know */
    uint64_t granted_us[2];           /* the last one, of openai and anthropic */
    bool said_full[WORKERS];          /* no slot is free there by its last word */
    uint64_t over_since_us[WORKERS];  /* more taken than offered */
    uint64_t under_since_us[WORKERS]; /* more runs than is taken */
};

struct t_edge {
    struct party *party;
    struct grants *grants;
    uint32_t report_seq, next_broker;
    uint32_t queued[BROKERS];
    bool draining[BROKERS];
    uint64_t brokers_down_us;
    uint64_t worker_epochs[WORKERS]; /* of its links */
    uint64_t turn_us;                /* of the E_EDGE_TURN that is scheduled */
    unsigned idle_turns;
    struct buf scratch;
    struct table expected;
};

struct t_attempt {
    bool used, head;
    uint64_t serial;
    uint32_t request;
    uint8_t attempt;
    unsigned edge;
    uint64_t link_life;
    struct gate_grant *grant;
    uint64_t broker_epoch, number;
    bool fails, late_failure;
};

struct t_worker {
    struct party *party;
    struct gate *gate;
    uint32_t slots, running;
    bool uneven, said_full;
    uint64_t epochs[BROKERS]; /* of those that are up */
    uint32_t queued[BROKERS];
    uint8_t keys[BROKERS][GRANT_KEY_BYTES];
    struct offers offers;
    struct {
        uint8_t bytes[GRANT_TOKEN_BYTES];
        bool used;
    } tokens[TOKENS]; /* that have come */
    uint32_t token_count;
    struct t_attempt attempts[ATTEMPTS];
    struct table expected;
    uint64_t over_since_us; /* booked more than it has */
};

enum request_state { R_NEW, R_ASKING, R_LINKING, R_DISPATCHED, R_STREAMING, R_DONE };
enum outcome {
    OUT_NONE,
    OUT_OK_,
    OUT_FAILED_, /* as a worker said, or it was lost */
    OUT_DECLINED,
    OUT_LATE,
    OUT_LEFT,
    OUT_NO_BROKER,
    OUT_CRASHED, /* its edge was */
    OUTCOMES
};

struct t_request {
    uint32_t n;
    enum request_state state;
    enum outcome outcome;
    unsigned outcomes, declined_with;
    unsigned edge, model;
    uint64_t edge_life;
    uint8_t attempt;
    uint32_t busy, busy_free, busy_in_all;
    int broker; /* that has its ask; -1 = none */
    int worker; /* that it runs at */
    uint64_t worker_epoch;
    struct model_use *use;
    struct held_grant *grant;
    uint64_t grant_broker_epoch, grant_number;
    uint64_t broker_link, slots_link, started_us;
    uint32_t dispatches,
        begun; /* numbers of the last one sent, and of the last one that a worker began */
    char trail[TRAIL_BYTES];
    size_t trail_bytes;
    char failed_worker[12];
    struct fail failed;
    bool has_failed, alone;
    uint64_t wait_serial;
    uint64_t born_us, deadline_us;
    uint64_t free_since_us, able_since_us; /* it waits though there is room */
    unsigned ended_ok;                     /* attempts that ended well at a worker */
};

struct profile {
    bool quiet;
    uint32_t loss, doubling, reordering; /* per mille, of messages to and from brokers */
    uint32_t faults;                     /* kinds, bits */
    uint64_t fault_every_us, faults_until_us, load_until_us, arrive_every_us, delay_us;
    uint32_t leave, fail, replay; /* per mille of requests */
};

/* How often what was tried happened; summed over all schedules. */
struct tally {
    uint64_t events, requests, outcomes[OUTCOMES], grants, standing, renewals, revokes, declines,
        busy, refused[GATE_VERDICTS], attempts, faults, retries, reports, crossed, losses;
};

struct trial {
    uint64_t seed, rng, now_us, order, last_fault_us, rest_us;
    struct profile p;
    struct config *config;
    struct party parties[PARTIES];
    struct t_broker brokers[BROKERS];
    struct t_edge edges[EDGES];
    struct t_worker workers[WORKERS];
    struct trial_link links[LINKS];
    struct t_request requests[REQUESTS];
    uint32_t request_count, open_requests;
    struct event *heap;
    size_t heap_count, heap_cap;
    uint64_t serial;
    struct tally *tally;
    bool broken, done;
    char why[400];
    bool trace;
    char (*lines)[240]; /* the last TRACE_LINES of them */
    uint64_t line_count;
};

enum { TRACE_LINES = 2000 };

/* ---- trial.c ---- */
/* true = every rule was kept. lines: of TRACE_LINES, or NULL. */
bool trial_run(struct trial *t, uint64_t seed, struct config *config, struct tally *tally,
               char (*lines)[240]);
uint64_t roll(struct trial *t, uint64_t below);
bool per_mille(struct trial *t, uint32_t chance);
uint64_t between(struct trial *t, uint64_t least, uint64_t most);
uint64_t local_us(const struct trial *t, const struct party *p);
uint64_t local_ms(const struct trial *t, const struct party *p);
void schedule(struct trial *t, uint64_t at_us, struct party *who, enum event_kind kind, uint32_t a,
              uint64_t n, struct packet *packet);
void broke(struct trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say(struct trial *t, const struct party *who, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define SAY(t, ...) ((t)->trace ? say((t), __VA_ARGS__) : (void)0)
struct expected *expect(struct trial *t, struct table *table, uint64_t broker_epoch,
                        uint64_t number);
void fault(struct trial *t, uint64_t until_us);

/* ---- net.c ---- */
struct trial_link *link_eb(struct trial *t, unsigned edge, unsigned broker);
struct trial_link *link_wb(struct trial *t, unsigned worker, unsigned broker);
struct trial_link *link_ew(struct trial *t, unsigned edge, unsigned worker);
void net_init(struct trial *t);
/* false: it is not up on this side. */
bool net_send(struct trial *t, struct trial_link *l, unsigned from, struct header h, unsigned type,
              const void *m);
void net_lose(struct trial *t, struct trial_link *l);
void net_open(struct trial *t, struct trial_link *l);
void net_sees_down(struct trial *t, struct trial_link *l, unsigned side);
void net_deliver(struct trial *t, struct packet *p);
void packet_free(struct packet *p);
/* Says goodbye on all its links. */
void net_goodbye(struct trial *t, struct party *p);
void net_party_died(struct trial *t, struct party *p);
void net_party_up(struct trial *t, struct party *p);
const char *message_name(unsigned type);

/* ---- brokers.c ---- */
void broker_boot(struct trial *t, struct t_broker *b);
void broker_end(struct t_broker *b);
void broker_peer_up(struct trial *t, struct t_broker *b, struct trial_link *l);
void broker_peer_down(struct trial *t, struct t_broker *b, struct trial_link *l);
void broker_hear(struct trial *t, struct t_broker *b, const struct packet *p);
void broker_tick(struct trial *t, struct t_broker *b);
void broker_pong(struct trial *t, struct t_broker *b);
void broker_drain(struct trial *t, struct t_broker *b);
void broker_reload(struct trial *t, struct t_broker *b);

/* ---- edges.c ---- */
void edge_boot(struct trial *t, struct t_edge *e);
void edge_end(struct trial *t, struct t_edge *e);
void edge_peer_up(struct trial *t, struct t_edge *e, struct trial_link *l);
void edge_peer_down(struct trial *t, struct t_edge *e, struct trial_link *l, bool stopped);
void edge_hear(struct trial *t, struct t_edge *e, const struct packet *p);
void edge_turn(struct trial *t, struct t_edge *e);
void edge_begin(struct trial *t, struct t_request *r);
void edge_waited(struct trial *t, struct t_request *r, uint64_t serial);
/* Its deadline has passed, or its client has left. */
void edge_stop(struct trial *t, struct t_request *r, enum outcome why);

/* ---- workers.c ---- */
void worker_boot(struct trial *t, struct t_worker *w);
void worker_end(struct t_worker *w);
void worker_peer_up(struct trial *t, struct t_worker *w, struct trial_link *l);
void worker_peer_down(struct trial *t, struct t_worker *w, struct trial_link *l);
void worker_hear(struct trial *t, struct t_worker *w, const struct packet *p);
void worker_tick(struct trial *t, struct t_worker *w);
void worker_attempt_head(struct trial *t, struct t_worker *w, uint32_t slot, uint64_t serial);
void worker_attempt_end(struct trial *t, struct t_worker *w, uint32_t slot, uint64_t serial);
void worker_drain(struct trial *t, struct t_worker *w);
void worker_gone(struct trial *t, struct t_worker *w);
void worker_offer(struct trial *t, struct t_worker *w);
/* A token that is not what the edge holds: of long ago, or another edge's. It must be refused, or
 * judged as any other. */
void worker_replay(struct trial *t, struct t_worker *w);

/* ---- faults.c ---- */
void faults_plan(struct trial *t);
void faults_next(struct trial *t);
void faults_arrive(struct trial *t);
void party_boot(struct trial *t, struct party *p);
void party_crash(struct trial *t, struct party *p, uint64_t back_after_us);

/* ---- checks.c ---- */
void checks_look(struct trial *t);
void checks_rest(struct trial *t);
const char *outcome_text(enum outcome o);

#endif
