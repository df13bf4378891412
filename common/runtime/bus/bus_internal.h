/* What the files of the bus share; nobody else includes it.
 *   refusals.c  who may connect and say what
 *   options.c   of sockets, one at a time
 *   curve.c     keys of sockets and peers
 *   guard.c     who gets past the handshake
 *   wires.c     sockets and their options
 *   send.c      messages into batches, batches into sockets
 *   lifeline.c  a thread that tells peers that we live while the loop is busy
 *   peers.c     greeting with versions, departure
 *   links.c     where links lead
 *   liveness.c  pings, silence
 *   withdrawal.c  of keys
 *   receive.c   frames out of sockets, to their handlers
 *   turn.c      the end of a turn: batches leave
 *   sockets.c   addresses, the lock beside an ipc path
 *   bus.c       its life */
#ifndef COMMON_RUNTIME_BUS_BUS_INTERNAL_H
#define COMMON_RUNTIME_BUS_BUS_INTERNAL_H

#include "common/runtime/bus/bus.h"

#include <pthread.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <zmq.h>

#include "common/base/buf.h"
#include "common/runtime/bus/resolver.h"
#include "common/runtime/own_address.h"
#include "proto/codec.h"

enum {
    BATCH_FRAMES = 64,
    BATCH_BYTES = 256 * 1024,
    SMALL_FRAME_BYTES = 8 * 1024, /* smaller ones travel in a bundle */
    KEPT_BUNDLE_BYTES = 64 * 1024,
    DRAIN_FRAMES = 4096, /* one socket's share of a turn */
    TICK_MS = 100,
    PING_US = 250 * 1000,
    PEER_TIMEOUT_MS = 1200,
    RESOLVE_US = 1000 * 1000,    /* then a link goes where its name led last */
    UNREACHABLE_US = 500 * 1000, /* a link that takes nothing and was silent for so long */
    STALL_US = 1000 * 1000,      /* our own loop stood still: no peer is called silent for it */
    SOON_MS = 4,
    RETRY_MS = 5, /* a batch that met the high-water mark */
    HWM_BATCHES = 10000,
    DEFAULT_MAX_BYTES = 80 * 1024 * 1024,
    MAX_HELD_BYTES = 8 * 1024 * 1024, /* beside one message of any size */
    MAX_SOCKETS = 4096,               /* ZeroMQ touches 12 bytes for each at the start */
    RECONNECT_MS = 5,
    RECONNECT_MAX_MS = 200,
    LOCK_TRIES = 20,  /* a millisecond apart */
    GOODBYE_MS = 300, /* to be answered */
    REFUSAL_LOG_US = 1000 * 1000,
    OTHER_KEY_US = 500 * 1000, /* for a link to come up by one of its server's two keys … */
    SAME_KEY_US = 2000 * 1000, /* … or by its only one */
    HANDSHAKE_MS = 5000,       /* for a connection to become one */
    NAME_BYTES = 96,
    NAME_AND_EPOCH_BYTES = NAME_BYTES + 17,
    ID_BYTES = NAME_AND_EPOCH_BYTES + 17
};

/* One ZeroMQ socket in the loop. */
struct wire {
    struct bus *bus;
    struct bus_peer *link; /* a DEALER's peer; NULL for a ROUTER */
    void *handle;
    struct loop_watch *watch;
    char from[KEY_TEXT]; /* a ROUTER with keys: of who sent what is just being read */
    bool touched;        /* sent on since it was last drained: its readiness may have been eaten
                            (edge-triggered ZMQ_FD) */
    struct wire *prev, *next;
};

/* A part of a ZeroMQ message is a frame, or a bundle of small ones: this byte, which is no version,
 * then each frame behind its length (32 bit, little-endian). A frame of its own costs ZeroMQ about
 * a microsecond over all threads, and it writes parts that come together in pieces of 8 KiB. */
enum { BUNDLE_MARK = 0xb0, BUNDLE_HEAD_BYTES = 1, LENGTH_BYTES = 4 };

/* Frames of one peer waiting for the end of the turn. */
struct bus_outbox {
    zmq_msg_t parts[BATCH_FRAMES];
    unsigned part_count;
    struct buf bundle; /* open: becomes the last part */
    unsigned bundled;
    unsigned count; /* frames in all */
    size_t bytes;
};

struct bus_peer {
    struct bus *bus;
    struct wire *wire; /* its own DEALER, or the binding's ROUTER */
    bool connecting;   /* we connect to it; else it is a client of our binding */
    bool up;
    bool stopped;      /* it said goodbye */
    bool disconnected; /* by us: freed at the end of the turn */
    char role[32], name[NAME_BYTES], provider[64], version[32], address[256];
    char key[KEY_TEXT]; /* public: that a client has shown, that a link's server must have */
    bool key_given;     /* a link: its caller knew it */
    unsigned key_turn;  /* … or which of its service's keys is next */
    uint64_t epoch;
    bool stale; /* a link that was lost: its socket is made anew, so that what still comes over the
                   old one reaches nobody */
    bool named; /* a link, whose address has a host's name in it */
    bool connected;                        /* its socket, to endpoint */
    bool sure;                             /* its name has led there since the socket was made */
    char endpoint[RESOLVER_ADDRESS_BYTES]; /* in numbers; "" = not known yet */
    uint64_t connected_us, asked_us;
    struct resolver_query *query;
    uint64_t heard_us, pinged_us, greeted_us;
    uint64_t suspect_us; /* a link, when our loop had stood still: the PING whose PONG must say that
                          it still knows us; what else comes is held until then. 0 = not suspect */
    struct buf held;     /* as a bundle */
    uint32_t queued;
    struct request_id busy; /* as its last PONG says; zero = it does not */
    void *user;
    char id[ID_BYTES]; /* routing id at our ROUTER */
    size_t id_len;
    struct bus_outbox out;
    bool dirty, urgent; /* something waits; some of it for the end of this turn only */
    struct bus_peer *next_dirty;
    UT_hash_handle hh;     /* clients, by id */
    struct bus_peer *next; /* links */
    struct bus_peer *next_dead;
    /* lifeline.c's, under the bus's lock */
    bool on_lifeline;
    uint32_t said_queued; /* in the last PONG */
    struct bus_peer *lifeline_prev, *lifeline_next;
};

/* Tells peers that are up that we live, while one turn of the loop takes long. */
struct lifeline {
    struct bus_peer *peers;
    pthread_t thread;
    pthread_cond_t stops;
    bool started, stopping;
    unsigned most_looks;
    int event_fd; /* the loop is to look at its sockets again */
    struct loop_watch *watch;
};

struct bus {
    struct loop *loop;
    struct bus_spec spec;
    pthread_mutex_t lock; /* held for every use of a socket of one who is up, and for `lifeline` */
    struct lifeline lifeline;
    char name[NAME_BYTES];
    char id[NAME_AND_EPOCH_BYTES];
    uint64_t epoch;
    void *context;
    struct wire *wires;
    struct wire *bound;
    void *zap, *monitor; /* guard.c's sockets */
    struct loop_watch *zap_watch, *monitor_watch;
    loop_fd_fn on_wire; /* receive.c's */
    char address[256];  /* that others connect to; "" = does not bind */
    int lock_fd;
    struct resolver *resolver; /* from the first name on */
    bool lost_itself;          /* it was logged that no address of ours is known */
    struct bus_peer *clients;  /* uthash */
    struct bus_peer *found;    /* the client that was looked for last: frames come in batches */
    struct bus_peer *links;
    struct bus_peer *dirty;
    struct bus_peer *dead; /* freed at the end of the turn: a handler may still hold one */
    struct loop_timer tick, retry, soon;
    bool soon_is_now;
    struct loop_hook flush_hook;
    uint64_t created_us, ticked_us;
    bool lost_a_peer; /* ever */
    uint64_t dropped;
    uint64_t refused[BUS_REFUSALS], refusal_logged_us[BUS_REFUSALS];
    bool closing; /* waits for answers to its goodbyes */
};

/* From here each file calls only those above it. */

/* refusals.c */
/* Counts it; true when it should be logged too. */
bool bus_note_refusal(struct bus *bus, enum bus_refusal why);
/* Refuses it otherwise. */
bool bus_may_say(struct bus_peer *from, enum message_type type);
bool bus_may_call(const struct bus *bus, struct span role);

/* options.c: of a ZeroMQ socket; false = it refused */
bool bus_set_int(void *handle, int option, int value);
bool bus_set_text(void *handle, int option, const char *text);
/* To wait for in epoll. */
int bus_fd_of(void *handle);

/* curve.c */
enum err bus_arm_server(const struct bus *bus, void *handle) NODISCARD;
enum err bus_arm_link(const struct bus_peer *link, void *handle) NODISCARD;
/* For the next socket of a link. ERR_NOT_FOUND: its service has none. */
enum err bus_choose_key(struct bus_peer *link) NODISCARD;
bool bus_should_try_anew(const struct bus_peer *link, uint64_t now_us);
bool bus_key_fits(const struct bus *bus, const char *key, const struct hello *hello);

/* guard.c */
/* Before anything is bound. */
enum err bus_open_guard(struct bus *bus) NODISCARD;
/* Of bus->bound. */
enum err bus_watch_strangers(struct bus *bus) NODISCARD;
void bus_close_guard(struct bus *bus);

/* wires.c */
void bus_lock(struct bus *bus);
void bus_unlock(struct bus *bus);
struct wire *bus_open_wire(struct bus *bus, int type, struct bus_peer *link);
enum err bus_watch_wire(struct wire *wire) NODISCARD;
void bus_close_wire(struct wire *wire);
/* ZMQ_POLLIN: there is something to read; ZMQ_POLLOUT: a link has a connection with room. */
int bus_wire_events(struct wire *wire);

/* send.c */
void bus_mark_dirty(struct bus_peer *peer);
void bus_drop_outbox(struct bus_peer *peer);
/* false when the peer turned out to be gone; *again = there was no room for all of it. */
bool bus_flush_peer(struct bus_peer *peer, bool *again);
/* Also to one that has not been greeted yet. */
enum err bus_send_raw(struct bus_peer *to, struct header h, enum message_type type,
                      const void *message);
void bus_send_goodbye(struct bus_peer *peer);
void bus_send_hello(struct bus_peer *link);
void bus_send_welcome(struct bus_peer *client);
/* To an identity that is no peer: one frame, now. */
void bus_send_unknown(struct wire *wire, struct span id, enum message_type type,
                      const void *message);

/* lifeline.c */
/* A peer is up; it is up no longer, and its socket may go. */
void lifeline_add(struct bus_peer *peer);
void lifeline_drop(struct bus_peer *peer);
void lifeline_said_queued(struct bus_peer *peer, uint32_t queued);
void lifeline_stop(struct bus *bus);

/* peers.c */
void bus_copy_name(char *out, size_t size, struct span s);
void bus_peer_lost(struct bus_peer *peer, const char *why);
struct bus_peer *bus_find_client(struct bus *bus, struct span id);
/* It is freed at the end of the turn. */
void bus_forget_client(struct bus_peer *peer);
void bus_free_peer(struct bus_peer *peer);
void bus_on_hello(struct wire *wire, struct span id, const struct header *h,
                  const struct hello *hello);
void bus_on_welcome(struct bus_peer *link, const struct header *h, const struct welcome *welcome);

/* links.c */
/* Gives it another socket (the one before stays open, its caller's); on failure it keeps its own.
 */
enum err bus_open_link(struct bus_peer *link) NODISCARD;
/* A stale link's. */
void bus_reopen(struct bus_peer *link);
/* At each tick: asks for its name while it is not known for sure where it leads. */
void bus_look_up(struct bus_peer *link, uint64_t now_us);

/* liveness.c */
/* peer: NULL = unknown. */
struct pong bus_make_pong(struct bus *bus, const struct bus_peer *peer, const struct ping *ping);
void bus_on_ping(struct bus_peer *peer, const struct ping *ping);
/* true: it still knows us, and what was held for it may be read. */
bool bus_on_pong(struct bus_peer *peer, const struct pong *pong);
/* A link that is not up: HELLO, if there is a connection. */
void bus_greet(struct bus_peer *link);
void bus_look_for_stall(struct bus *bus);
void bus_on_tick(void *ctx);

/* receive.c */
void bus_drain(struct wire *wire);
void bus_on_wire(void *ctx, uint32_t events);

/* turn.c: bus_flush, and */
void bus_on_turn_end(void *ctx);

#endif
