/* What the files of common/http share; nobody else includes it.
 *   server.c    the server's life, turn hook
 *   accept.c    listening, limits, dealing to shards
 *   shard.c     one libmicrohttpd daemon without a thread, its callbacks, TLS files
 *   request.c   a request coming in through libmicrohttpd
 *   departure.c what a connection's events and deadlines mean
 *   refuse.c    refusals before a handler has seen the request
 *   stream.c    streamed answers
 *   answer.c    fields, whole answers
 *   raw.c       answers written past libmicrohttpd
 *   exchange.c  a request and its answer: its life, and what handlers ask of it
 *   conn.c      a client connection: phases, their deadlines
 *   addresses.c how many connections an address has
 *   linger.c    closes that wait for what the client still sends
 *   marks.c     who is looked at at the end of the turn
 * Each calls only those below it in this list. */
#ifndef COMMON_HTTP_INTERNAL_H
#define COMMON_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <uthash.h>
#include <utlist.h>

#include "common/base/buf.h"
#include "common/http/framing.h"
#include "common/http/http.h"

enum {
    HTTP_MAX_SHARDS = 256,
    HTTP_POOL_EXTRA_BYTES =
        8 << 10, /* beside a head of the greatest size: libmicrohttpd's own notes on its fields */
    HTTP_POOL_MAPPED_ABOVE =
        32 << 10, /* libmicrohttpd maps bigger pools, and mallocs smaller ones */
    HTTP_LINGER_MS = 1000,
    HTTP_SWALLOW_BYTES = 64 << 10, /* read and dropped after a refusal, at most */
};

/* Connections and bytes of one client address. */
struct http_peer {
    struct in6_addr address; /* IPv4 mapped */
    uint32_t connections;
    UT_hash_handle hh;
};

struct http_shard {
    struct http_server *server;
    struct MHD_Daemon *mhd;
    struct loop_watch *watch;
    uint32_t connections;
    uint32_t fresh;               /* of them, without a first request line yet */
    struct loop_timer spin_timer; /* TLS: instead of spinning on a handshake that waits */
    bool dirty;                   /* stands in server->dirty_shards */
    bool retired; /* has the TLS files of before: takes no new connections, ends with its last */
    struct http_shard *dirty_prev, *dirty_next;
    struct http_shard *prev, *next;
};

enum conn_phase {
    CONN_HEAD,      /* a request's head is awaited or coming: total deadline */
    CONN_BODY,      /* its body is coming: total deadline */
    CONN_WORK,      /* the handler's turn: no deadline here, memory is given back if it lasts */
    CONN_SEND,      /* bytes wait for the client: deadline since its last progress */
    CONN_IDLE,      /* between two requests: memory is given back if it lasts */
    CONN_LINGER,    /* refused: what the client still sends is dropped */
    CONN_IDLE_LONG, /* … and then the rest of the idle time */
};

struct http_conn;

/* Who is told of a connection's events (departure, room) and of the end of its phase's time. */
struct conn_watcher {
    loop_fd_fn on_event; /* ctx: the connection */
    void (*on_deadline)(struct http_conn *c);
};

struct http_conn {
    struct http_server *server;
    const struct conn_watcher *watcher;
    struct http_shard *shard;
    struct http_peer *peer;
    struct http_exchange *x; /* the one request being read or answered */
    struct loop_watch
        *watch; /* departure, and room for a stream: for as long as the connection lives */
    struct loop_timer timer;
    uint64_t since_us;     /* when the phase began */
    uint64_t deadline_us;  /* 0 = none; the timer may run earlier and is then started anew */
    uint64_t parsed_bytes; /* heads and bodies read so far */
    uint64_t acked;        /* bytes the client had acknowledged when CONN_SEND last looked */
    int fd;
    char *request_line; /* of the last request: in the first page of libmicrohttpd's pool */
    enum conn_phase phase;
    bool gone;   /* the client has closed, or half-closed */
    bool linger; /* close only after a while: unread bytes would reset our answer away */
    bool used;   /* a request has been read before */
    char address[INET6_ADDRSTRLEN];
    bool started; /* libmicrohttpd has reported it: in server->conns, else in server->starting */
    struct http_conn *prev, *next;
};

enum x_state {
    X_READING,     /* head or body is coming in */
    X_HANDLING,    /* inside on_head, on_request or on_refuse */
    X_WAITING,     /* suspended: the handler answers later */
    X_ANSWERED,    /* a whole answer is made */
    X_STREAM_HEAD, /* a stream's head is on its way through libmicrohttpd */
    X_STREAM,      /* parked: chunks go out as they are written */
    X_STREAM_END,  /* all written; libmicrohttpd writes the end */
    X_CUT,         /* to be closed, whatever has been sent */
};

struct http_exchange {
    struct http_server *server;
    struct http_conn *conn; /* NULL: refused before it became a connection */
    int bare_fd;            /* … then the socket */
    const char *address;
    struct MHD_Connection *mhd;
    struct MHD_Response *response; /* ours until queued */
    void *user;
    enum x_state state;
    unsigned status;
    bool head_done; /* libmicrohttpd's first call was made */
    bool owes_done; /* the handler has seen it: on_done is owed */
    bool gone_reported;
    bool suspended;
    bool queued; /* the answer was given to libmicrohttpd */
    bool close_after;
    bool fields_sound; /* fields may be asked for */
    bool raw_reply;    /* http_respond writes past libmicrohttpd */
    bool raw_stream;   /* so do http_stream_*: no status line, no chunks */
    bool sent_raw;     /* … and it went out whole */
    bool chunk_frames; /* the client takes chunks: HTTP/1.1 */
    bool ended;        /* http_stream_end was called */
    bool dirty;        /* stands in server->dirty */
    struct framing framing;
    const char *method;
    struct span target, path, query;
    uint64_t started_us;
    char *body;
    size_t body_len, body_cap; /* cap is what counts against the server's body memory */
    size_t swallowed;
    struct buf fields; /* "name\0value\0" … */
    struct buf out;    /* a stream's bytes, framed */
    size_t out_sent;   /* of out */
    size_t out_high;   /* most that was unsent since the last on_drain */
    struct http_exchange *dirty_prev, *dirty_next;
    char uri[];
};

struct http_linger {
    struct http_server *server;
    int fd;
    size_t bytes;
    struct loop_watch *watch;
    struct loop_timer timer;
    struct http_linger *prev, *next;
};

struct http_server {
    struct loop *loop;
    struct http_config config;
    char *address, *tls_cert, *tls_key; /* config's, owned */
    struct http_handler handler;
    int listen_fd, reserve_fd;
    uint16_t port;
    struct loop_watch *listen_watch;
    struct loop_timer accept_timer; /* listening again after running out of descriptors */
    struct loop_hook hook;
    struct http_shard *shards[HTTP_MAX_SHARDS]; /* those that take connections */
    uint32_t shard_count, next_shard;
    struct http_peer *peers;
    uint32_t lingering;
    bool draining, stopping;
    bool worked; /* handlers ran in the turn hook: what they sent waits for another turn */
    struct http_stats stats;
    struct http_shard *all_shards;
    struct http_conn *conns;
    struct http_conn *starting; /* handed to libmicrohttpd, which has not reported them yet */
    struct http_linger *lingers;
    struct http_shard *dirty_shards;
    struct http_exchange *dirty;
};

static inline size_t http_pool_bytes(const struct http_server *s)
{
    return (size_t)s->config.max_header_bytes + HTTP_POOL_EXTRA_BYTES;
}

/* From here each file calls only those above it. */

/* ---- marks.c: who is looked at at the end of the turn ---- */
void shard_mark(struct http_shard *shard);
void stream_mark(struct http_exchange *x);

/* ---- linger.c ---- */
/* Keeps a duplicate of the socket open for a second after libmicrohttpd has closed its own, and
 * drops what comes. Takes the fd. */
void linger_start(struct http_server *s, int fd);
void linger_end(struct http_linger *l);

/* ---- addresses.c ---- */
struct in6_addr address_key(const struct sockaddr_storage *from);
void address_text(const struct in6_addr *key, char out[INET6_ADDRSTRLEN]);
/* Counts one connection more; NULL when out of memory. */
struct http_peer *peer_take(struct http_server *s, const struct in6_addr *key);
void peer_release(struct http_server *s, struct http_peer *peer);

/* ---- conn.c ---- */
/* Among those starting. */
struct http_conn *conn_create(struct http_server *s, struct http_peer *peer, int fd,
                              const struct conn_watcher *watcher);
void conn_free(struct http_conn *c);
void conn_phase(struct http_conn *c, enum conn_phase phase);
/* true when the client took bytes since we last looked. */
bool conn_has_progressed(struct http_conn *c);
void conn_trim_pool(const struct http_conn *c);

/* ---- exchange.c ---- */
struct http_exchange *exchange_create(struct http_server *s, struct http_conn *c, const char *uri);
/* on_done if owed, then frees it. */
void exchange_end(struct http_exchange *x, bool sent);
/* true while no answer has begun. */
bool exchange_is_open(const struct http_exchange *x);
/* The client has left while we work for it. */
void exchange_gone(struct http_exchange *x);
/* Closes without a proper end, soon. */
void exchange_cut(struct http_exchange *x);
/* Keeps libmicrohttpd from calling, and lets it call again. */
void exchange_suspend(struct http_exchange *x);
void exchange_wake(struct http_exchange *x);
void exchange_drop_body(struct http_exchange *x);

/* ---- raw.c ---- */
/* Writes a whole answer with Connection: close, as far as the socket takes it. */
void raw_respond(struct http_exchange *x, int fd, unsigned status, struct span body);

/* ---- answer.c ---- */
/* The answer is made: give it to libmicrohttpd now, or when it calls again. */
void answer_take(struct http_exchange *x, struct MHD_Response *response, unsigned status,
                 enum x_state state);
/* Hands the answer to libmicrohttpd, inside its access callback. */
enum MHD_Result answer_queue(struct http_exchange *x);

/* ---- stream.c ---- */
/* Sends what a parked stream holds. */
void stream_flush(struct http_exchange *x);

/* ---- refuse.c ---- */
/* Asks the handler for a refusal's answer; it is then x's answer. */
void refuse(struct http_exchange *x, unsigned status, const char *reason);
/* The same past libmicrohttpd, which takes no answer now; then cuts. */
void refuse_raw(struct http_exchange *x, unsigned status, const char *reason);

/* ---- departure.c ---- */
/* What a connection's events and deadlines mean for its exchange. */
extern const struct conn_watcher departures;

/* ---- request.c ---- */
enum MHD_Result request_access(struct http_exchange *x, const char *method, const char *version,
                               const char *data, size_t *size);

/* ---- shard.c ---- */
/* Makes config.shards of them with the TLS files as they are now; on failure nothing has changed.
 */
enum err shards_create(struct http_server *s) NODISCARD;
void shard_destroy(struct http_shard *shard);
/* Lets libmicrohttpd work until it has nothing left. */
void shard_run(struct http_shard *shard);

/* ---- accept.c ---- */
enum err accept_start(struct http_server *s) NODISCARD;
void accept_stop(struct http_server *s);

#endif
