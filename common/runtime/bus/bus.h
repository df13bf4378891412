/* Messages between daemons: ZeroMQ sockets, HELLO with versions, liveness, batches.
 *
 * A binding daemon (broker, auth, metrics, worker) has one ROUTER; a connecting one has one DEALER
 * per peer, with its name and boot as the routing id. Everything between two daemons is in order, a
 * goodbye too: "ipc:///run/tollgate/broker-1" or "tcp://host:5571".
 *
 * What is built in: drain to EAGAIN, one message per peer and turn (≤ 64 frames, ≤ 256 KiB; small
 * frames bundled into one part),
 * ROUTER_MANDATORY, IMMEDIATE, LINGER 0, own PING/PONG every 250 ms (a killed peer is noticed after
 * half a second, a hung one after 1.2 s of silence; a loop that is busy is neither), flock before
 * an ipc bind, the peer's epoch checked on every frame. */
#ifndef COMMON_RUNTIME_BUS_BUS_H
#define COMMON_RUNTIME_BUS_BUS_H

#include "common/base/err.h"
#include "common/runtime/bus/key_files.h"
#include "common/runtime/loop.h"
#include "proto/message.h"

struct bus;
/* The other end of a link: for a connecting daemon the server it named; for a binding one a greeted
 * client. Valid from on_peer_up until on_peer_down returns (a configured server peer: until
 * bus_destroy). */
struct bus_peer;

/* A received message; all of it is a view that ends when the handler returns. */
struct bus_message {
    struct header header;
    const union message_body *body; /* decoded */
    struct span frame;              /* header + payload, as it came */
};

typedef void (*bus_handler)(void *ctx, struct bus_peer *from, const struct bus_message *m);

#define BUS_ANYBODY "*"

struct bus_spec {
    const char *role;     /* "edge" */
    const char *name;     /* "edge-1": unique in the suite, copied */
    const char *provider; /* workers; else NULL */
    void *ctx;            /* passed to everything below */
    const bus_handler
        *handlers; /* MESSAGE_TYPES entries by type; NULL ones are counted and ignored */
    /* CURVE on the binding and on every link; NULL = plain. Whoever connects has to show a listed
     * key, and be of the role and provider it is listed for. The caller's, until bus_destroy. */
    const struct bus_keys *keys;
    /* By type: the role of those who may send it to us, or BUS_ANYBODY; NULL = nobody. What else
     * comes is refused. NULL instead of the table: everybody may send everything. */
    const char *const *senders;
    const char *callers; /* roles that may connect to our binding: "edge worker"; NULL = all */
    void (*on_peer_up)(void *ctx, struct bus_peer *peer);   /* greeted, versions fit */
    void (*on_peer_down)(void *ctx, struct bus_peer *peer); /* silent, refused, gone or reborn */
    uint64_t peer_timeout_ms; /* silence after which a peer counts as hung; 0 = 1200 */
    /* a host's address in numbers (resolver.h), in a thread of its own; NULL = the system's */
    enum err (*lookup)(const char *host, char *out, size_t size);
    uint32_t max_message_bytes; /* that are taken from others; 0 = 80 MiB */
    /* brokers: what PONG reports to this peer; may be NULL */
    uint32_t (*queued)(void *ctx, const struct bus_peer *peer);
};

/* The spec is copied. */
enum err bus_create(struct bus **out, struct loop *loop, const struct bus_spec *spec) NODISCARD;
/* From here on a turn of the loop that takes long is not taken for our end: up to limit_ms into it,
 * a thread tells peers that we live. */
enum err bus_keep_alive(struct bus *bus, uint64_t limit_ms) NODISCARD;
/* Flushes what it can, closes sockets. */
void bus_destroy(struct bus **bus);

/* ERR_EXISTS when another live process holds the address. */
enum err bus_bind(struct bus *bus, const char *address) NODISCARD;
/* As bound, with the port that was given; or as advertised. HELLO tells it to others, but for any
 * interface the one on the way to who is greeted. */
const char *bus_address(const struct bus *bus);
/* What HELLO says instead: another one behind NAT. */
void bus_advertise(struct bus *bus, const char *address);
/* Keeps trying for ever; on_peer_up tells. A host's name is looked up now, and anew whenever the
 * link was lost. At any time, also within a handler. The peer object exists from here on.
 * ERR_TOO_BIG: the process may have no more sockets. */
enum err bus_connect(struct bus *bus, const char *role, const char *address,
                     struct bus_peer **out) NODISCARD;

/* The same to a server of which the caller knows the public key (a worker's); a key that is not
 * listed as that role's is ERR_DENIED. Without keys of our own it does not matter. */
enum err bus_connect_by_key(struct bus *bus, const char *role, const char *address, struct span key,
                            struct bus_peer **out) NODISCARD;
/* The list of spec.keys has been read again: peers that are not on it any more are lost. */
void bus_keys_changed(struct bus *bus);

/* Ends a link that bus_connect made; on_peer_down is not called. Also within a handler of its own.
 * Takes NULL, nulls. */
void bus_disconnect(struct bus_peer **link);
/* Within on_peer_down: the peer said goodbye, after everything else that it had to say. */
bool bus_peer_stopped(const struct bus_peer *peer);

/* Encodes and queues for the end of the turn. h: id, attempt, seq, flags, deadline_ms are the
 * caller's; type, epoch and version are set here. ERR_CLOSED when
 * the peer is down; ERR_AGAIN at the high-water mark (a dead peer or a bug). */
enum err bus_send(struct bus_peer *to, struct header h, enum message_type type,
                  const void *message);
/* The same for messages that nobody waits for: they may be held back for a few milliseconds, so
 * that the other end wakes once for many. It never changes places with what is sent to that peer
 * after it. */
enum err bus_send_soon(struct bus_peer *to, struct header h, enum message_type type,
                       const void *message);
/* Sends what is queued now rather than at the end of the turn. */
void bus_flush(struct bus *bus);

bool bus_peer_up(const struct bus_peer *peer);
const char *bus_peer_role(const struct bus_peer *peer); /* from HELLO / WELCOME; "" before */
const char *bus_peer_name(const struct bus_peer *peer);
const char *bus_peer_provider(const struct bus_peer *peer); /* "" unless a worker */
const char *bus_peer_version(const struct bus_peer *peer);
/* Where it can be connected to, as it said: "ipc:///…" or "tcp://" and numbers; "" = nowhere. */
const char *bus_peer_address(const struct bus_peer *peer);
/* The public key that it has shown (a client), or must have (a link); "" on a plain bus. */
const char *bus_peer_key(const struct bus_peer *peer);
uint64_t bus_peer_epoch(const struct bus_peer *peer);
uint32_t bus_peer_queued(const struct bus_peer *peer); /* from its last PONG */
/* The request whose work had held its loop for long when it was last heard of; NULL = its loop
 * turned, or nobody knows. Good in on_peer_down still. */
const struct request_id *bus_peer_busy_with(const struct bus_peer *peer);
/* A pointer of the daemon's own, NULL at first (and again after on_peer_down). */
void *bus_peer_user(const struct bus_peer *peer);
void bus_peer_set_user(struct bus_peer *peer, void *user);

/* for (p = bus_next_peer(bus, NULL); p; p = bus_next_peer(bus, p)): those that are up. */
struct bus_peer *bus_next_peer(struct bus *bus, struct bus_peer *after);
uint64_t bus_epoch(const struct bus *bus);   /* ours */
const char *bus_role(const struct bus *bus); /* ours */
/* Messages that could not be queued or delivered so far. */
uint64_t bus_dropped(const struct bus *bus);

/* What has been refused so far, and why. */
enum bus_refusal {
    BUS_REFUSED_STRANGER, /* a connection that could not show a key */
    BUS_REFUSED_KEY,      /* … or one that is not listed */
    BUS_REFUSED_ROLE,     /* a peer that says it is what it may not be */
    BUS_REFUSED_MESSAGE,  /* a message that its sender may not send */
    BUS_REFUSALS
};
const char *bus_refusal_name(enum bus_refusal why);
uint64_t bus_refused(const struct bus *bus, enum bus_refusal why);
/* A handler's own finding: counted, and logged at most once a second. */
void bus_refuse_message(struct bus_peer *from, enum message_type type, const char *why);

#endif
