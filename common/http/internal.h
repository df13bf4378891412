/* What the files of common/http share; nobody else includes it. There are two ways in, and one
 * interface above them: plain requests over plain TCP are read and answered by ourselves (plain.c),
 * chunked uploads and TLS go through libmicrohttpd (shard.c).
 *   server.c    the server's life, turn hook
 *   accept.c    listening, limits per server and address
 *   plain.c     a plain connection: its requests, its events and deadlines
 *   plain_parse.c  (pure) where a head ends, and its lines
 *   shard.c     libmicrohttpd's daemons, their callbacks, TLS files
 *   library.c   a request coming in through libmicrohttpd
 *   departure.c what events and deadlines of its connections mean
 *   request.c   what both ways do with a head, a body and a whole request
 *   room.c      memory of bodies: whose it is, and how much of it
 *   refuse.c    refusals before a handler has seen the request
 *   relay.c     answers through libmicrohttpd
 *   direct.c    answers by ourselves
 *   raw.c       answers written at once, where nothing else can be said any more
 *   stream.c    what handlers write to a streamed answer
 *   answer.c    fields, whole answers, an answer's head
 *   exchange.c  a request and its answer: its life, and what handlers ask of it
 *   conn.c      a client connection: phases, their deadlines
 *   addresses.c how many connections an address has
 *   linger.c    closes that wait for what the client still sends
 *   marks.c     who is looked at at the end of the turn
 *   framing.c   (pure) is a head unambiguous?
 * Each calls only those below it in this list. */
#ifndef COMMON_HTTP_INTERNAL_H
#define COMMON_HTTP_INTERNAL_H

#define HASH_NONFATAL_OOM 1
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
    HTTP_LINGER_MS = 1000,
    HTTP_DROP_MS = 30000,          /* the same for one with drop_bytes */
    HTTP_TURN_BYTES = 2 << 20,     /* of large bodies read in a turn, and again at its end */
    HTTP_SWALLOW_BYTES = 64 << 10, /* read and dropped after a refusal, of a stranger at most */
};

/* Connections and bodies of one client: an IPv4 address, or the 64 bits of IPv6 that one site
 * has. */
struct http_peer {
    struct in6_addr network; /* IPv4 mapped; IPv6 with its last 64 bits zero */
    uint32_t connections;
    uint64_t body_bytes;
    UT_hash_handle hh;
};

/* Whose bodies these are, says the handler. */
struct http_owner {
    uint8_t name[HTTP_OWNER_BYTES];
    uint32_t exchanges;
    uint64_t body_bytes;
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
    CONN_HEAD,   /* a request's head is awaited or coming: total deadline */
    CONN_BODY,   /* its body is coming: minimum rate */
    CONN_WORK,   /* the handler's turn: no deadline here */
    CONN_SEND,   /* bytes wait for the client: deadline since its last progress */
    CONN_IDLE,   /* between two requests */
    CONN_LINGER, /* refused: what the client still sends is dropped */
};

struct http_conn;

/* Who is told of a connection's events and of the end of its phase's time. */
struct conn_watcher {
    uint32_t events; /* edge-triggered */
    void (*on_event)(struct http_conn *c, uint32_t events);
    void (*on_deadline)(struct http_conn *c);
};

struct http_conn {
    struct http_server *server;
    const struct conn_watcher *watcher;
    struct http_shard *shard; /* libmicrohttpd has it; NULL: it is a plain one */
    struct http_peer *peer;
    struct http_exchange *x; /* the one request being read or answered */
    struct loop_watch *watch;
    struct loop_timer timer;
    uint64_t deadline_us; /* 0 = none; the timer may run earlier and is then started anew */
    uint64_t acked;       /* bytes the client had acknowledged when CONN_SEND last looked … */
    uint64_t taken_us;    /* … and when that number last grew */
    int fd;
    enum conn_phase phase;
    bool gone;           /* the client has closed, or half-closed */
    bool linger;         /* close only after a while: unread bytes would reset our answer away */
    uint64_t drop_bytes; /* … so many of them are read and dropped; 0 = HTTP_SWALLOW_BYTES */
    bool used;           /* libmicrohttpd has read a request before */
    bool started;        /* in server->conns, else in server->starting */
    /* plain ones: the head that is awaited */
    bool readable;    /* there may be bytes that were not looked at */
    uint32_t looks;   /* at bytes that were no whole head */
    size_t scanned;   /* of them, without finding its end */
    uint64_t head_us; /* when its first byte was seen; 0: none has come */
    struct loop_timer look_timer;
    struct loop_timer slow_timer; /* a small body that is awaited */
    char address[INET6_ADDRSTRLEN];
    struct http_conn *prev, *next;
};

enum x_state {
    X_READING,     /* head or body is coming in */
    X_HANDLING,    /* inside on_head, on_request or on_refuse */
    X_WAITING,     /* the handler answers later */
    X_ANSWERED,    /* a whole answer is made */
    X_STREAM_HEAD, /* a stream's head is on its way through libmicrohttpd */
    X_STREAM,      /* chunks go out as they are written */
    X_STREAM_END,  /* all written; libmicrohttpd writes the end */
    X_CUT,         /* to be closed, whatever has been sent */
};

/* How answers leave. */
struct exchange_way {
    void (*respond)(struct http_exchange *x, unsigned status, struct span body);
    void (*stream_begin)(struct http_exchange *x, unsigned status);
    /* Its state has changed under it: go on with the connection. */
    void (*wake)(struct http_exchange *x);
    /* Its body was held, and is not any more. */
    void (*read_body)(struct http_exchange *x);
    /* The end of a turn in which it was marked. */
    void (*flush)(struct http_exchange *x);
    bool takes_raw; /* http_raw_begin */
};

struct http_exchange {
    struct http_server *server;
    const struct exchange_way *way;
    struct http_conn *conn; /* NULL: refused before it became a connection */
    int bare_fd;            /* … then the socket */
    const char *address;
    void *user;
    enum x_state state;
    unsigned status;
    bool counted;   /* among stats.exchanges */
    bool held;      /* its body waits for the handler's word */
    bool welcome;   /* the handler knows its owner, and has let its body pass */
    bool slow;      /* the handler has been told so */
    bool requested; /* on_request was called */
    bool owes_done; /* the handler has seen it: on_done is owed */
    bool gone_reported;
    bool close_after;
    bool is_head;
    bool awaits_continue; /* plain: the client sends its body when it is asked to */
    bool drop_output;     /* plain: the answer has no body, whatever is written */
    bool chunk_frames;    /* what is written is framed here */
    bool raw_stream;      /* http_raw_begin: no status line, no chunks */
    bool is_whole;        /* a stream with a length: whole_left bytes of it are not written yet */
    bool ended;           /* nothing more will be written */
    bool dirty;           /* stands in server->dirty */
    struct framing framing;
    struct span method, target, path, query,
        lines; /* lines: the head's fields, "name:value" CR LF */
    uint64_t started_us;
    char *body;
    size_t body_len, body_cap;
    uint64_t body_room; /* what counts against the server's body memory, and its client's */
    struct http_owner *owner;
    uint64_t body_left; /* plain: not read yet */
    struct buf fields;  /* of the answer, "name: value" CR LF … */
    struct buf out;     /* bytes on their way out, framed */
    size_t out_sent;    /* of out */
    uint64_t whole_bytes, whole_left;
    size_t out_high; /* most that was unsent since the last on_drain */
    struct library_part {
        struct MHD_Connection *mhd;
        struct MHD_Response *response; /* ours until queued */
        const char *target;            /* where it has it */
        struct buf lines;
        size_t swallowed;
        bool suspended;
        bool head_again; /* suspended in the first call: that call comes again */
        bool queued;     /* the answer was given to it */
    } library;
    struct http_exchange *dirty_prev, *dirty_next;
    char text[]; /* what the spans above are views of */
};

struct http_linger {
    struct http_server *server;
    int fd;
    uint64_t left; /* to be dropped still */
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
    struct http_owner *owners;
    uint32_t lingering;
    bool retiring; /* answers close their connections */
    bool draining; /* nobody is accepted either */
    bool stopping;
    char *look;           /* the bytes of the connection that is being looked at */
    char date[40];        /* "Date: … GMT" CR LF */
    uint64_t date_unix_s; /* when it was made */
    size_t turn_bytes;    /* of bodies, read in this turn */
    bool worked;          /* handlers ran in the turn hook: what they sent waits for another turn */
    struct http_stats stats;
    struct http_shard *all_shards;
    struct http_conn *conns;    /* of both ways */
    struct http_conn *starting; /* handed to libmicrohttpd, which has not reported them yet */
    struct http_linger *lingers;
    struct http_shard *dirty_shards;
    struct http_exchange *dirty;
};

static inline size_t http_pool_bytes(const struct http_server *s)
{
    return (size_t)s->config.max_header_bytes + HTTP_POOL_EXTRA_BYTES;
}

/* A head is too big when there is one byte more. */
static inline size_t http_look_bytes(const struct http_server *s)
{
    return (size_t)s->config.max_header_bytes + 1;
}

/* From here each file calls only those above it. */

/* ---- marks.c: who is looked at at the end of the turn ---- */
void shard_mark(struct http_shard *shard);
void exchange_mark(struct http_exchange *x);

/* ---- linger.c ---- */
/* Keeps a socket open for a while, and drops what comes: up to drop_bytes, 0 = little, for a
 * second. Takes the fd. */
void linger_start(struct http_server *s, int fd, uint64_t drop_bytes);
void linger_end(struct http_linger *l);

/* ---- addresses.c ---- */
/* IPv4 mapped. */
struct in6_addr address_of(const struct sockaddr_storage *from);
void address_text(const struct in6_addr *address, char out[INET6_ADDRSTRLEN]);
/* Counts one connection more; NULL when out of memory. */
struct http_peer *peer_take(struct http_server *s, const struct in6_addr *address);
void peer_release(struct http_server *s, struct http_peer *peer);

/* ---- conn.c ---- */
/* Takes fd and peer, and is counted by the server, unless it is NULL: out of memory. */
struct http_conn *conn_create(struct http_server *s, struct http_peer *peer, int fd,
                              const char *address, const struct conn_watcher *watcher);
/* Gives its peer back; leaves the fd to the caller. */
void conn_free(struct http_conn *c);
/* false out of memory. */
bool conn_watch(struct http_conn *c, const struct conn_watcher *watcher);
/* Enters a phase: its deadline runs from now. */
void conn_phase(struct http_conn *c, enum conn_phase phase);
/* While draining: one on which nothing is under way gets HTTP_DRAIN_QUIET_MS for its next request.
 */
void conn_hurry(struct http_conn *c);
/* n more bytes of the body that is awaited came: its deadline moves on. */
void conn_body_came(struct http_conn *c, size_t n);

/* ---- room.c ---- */
/* Takes memory for a body of so many bytes in all; else says why there is none, as a literal. */
const char *room_take(struct http_exchange *x, uint64_t bytes);
/* Gives all of it back. */
void room_leave(struct http_exchange *x);
/* x belongs to its owner no longer. */
void room_disown(struct http_exchange *x);

/* ---- exchange.c ---- */
/* Copies `text`, into which the exchange's spans will point. c may be NULL. */
struct http_exchange *exchange_create(struct http_server *s, struct http_conn *c,
                                      const struct exchange_way *way, struct span text);
/* `target` in its own text. */
void exchange_set_target(struct http_exchange *x, struct span target);
/* on_done, then the end of x; `sent` = the whole answer was taken. */
void exchange_end(struct http_exchange *x, bool sent);
/* May it still be answered? */
bool exchange_is_open(const struct http_exchange *x);
/* The client has left: tells the handler, once, and cuts. */
void exchange_gone(struct http_exchange *x);
/* Closes without a proper end, soon. */
void exchange_cut(struct http_exchange *x);
void exchange_drop_body(struct http_exchange *x);
/* It is answered while its body is read: no more of that is wanted. Where libmicrohttpd has the
 * connection it is cut, as that takes no answer now. */
void exchange_stop_reading(struct http_exchange *x);
/* Its connection closes behind the answer while the client still sends. */
void exchange_linger(struct http_exchange *x);

/* ---- answer.c ---- */
/* Appends status line and fields. body_bytes: HTTP_BODY_CHUNKED, or HTTP_BODY_TO_CLOSE. */
enum { HTTP_BODY_CHUNKED = -1, HTTP_BODY_TO_CLOSE = -2 };
void answer_head(const struct http_exchange *x, unsigned status, int64_t body_bytes,
                 struct buf *out);
bool answer_has_body(unsigned status);
static inline size_t answer_pending(const struct http_exchange *x)
{
    return x->out.len - x->out_sent;
}

/* ---- stream.c ---- */
/* n more bytes of what was pending were taken: gives memory back. */
void stream_was_sent(struct http_exchange *x, size_t n);
/* Tells the handler when there is room again. */
void stream_report_room(struct http_exchange *x);

/* ---- raw.c ---- */
/* Writes a whole answer with Connection: close, as far as the socket takes it. */
extern const struct exchange_way way_raw;

/* ---- direct.c ---- */
void direct_respond(struct http_exchange *x, unsigned status, struct span body);
void direct_stream_begin(struct http_exchange *x, unsigned status);
/* Asks a waiting client for its body. */
void direct_continue(struct http_exchange *x);
/* Sends what is unsent, as far as the socket takes it. False when the client is gone. */
bool direct_send(struct http_exchange *x);

/* ---- relay.c ---- */
extern const struct exchange_way way_relay;
/* Hands the answer to libmicrohttpd, inside its access callback. */
enum MHD_Result relay_queue(struct http_exchange *x);
void relay_suspend(struct http_exchange *x);

/* ---- refuse.c ---- */
/* Asks the handler for a refusal's answer; it is then x's answer. */
void refuse(struct http_exchange *x, unsigned status, const char *reason);
/* The same past libmicrohttpd, which takes no answer now; then cuts. */
void refuse_raw(struct http_exchange *x, unsigned status, const char *reason);

/* ---- request.c ---- */
/* The head is complete, and x->framing has judged it: the server's and the handler's word on it. x
 * is X_READING still, answered, or cut. */
void request_take_head(struct http_exchange *x, bool too_big);
/* The body that was admitted is awaited. */
void request_await_body(struct http_exchange *x);
/* Room for a body of n bytes; else why it is to be refused with 503, as a literal. */
const char *request_grow_body(struct http_exchange *x, size_t n);
/* The body is complete too. */
void request_call_handler(struct http_exchange *x);

/* ---- departure.c ---- */
/* What events and deadlines of libmicrohttpd's connections mean for their exchanges. */
extern const struct conn_watcher departures;

/* ---- library.c ---- */
enum MHD_Result library_access(struct http_exchange *x, const char *method, const char *version,
                               const char *data, size_t *size);

/* ---- shard.c ---- */
/* Makes config.shards of them with the TLS files as they are now; on failure nothing has changed.
 */
enum err shards_create(struct http_server *s) NODISCARD;
void shard_destroy(struct http_shard *shard);
/* Lets libmicrohttpd work until it has nothing left. */
void shard_run(struct http_shard *shard);
/* Gives a connection to libmicrohttpd, which has it from here on. */
void shard_take(struct http_conn *c);

/* ---- plain.c ---- */
extern const struct conn_watcher plain_watcher;
void plain_close(struct http_conn *c);

/* ---- accept.c ---- */
enum err accept_start(struct http_server *s) NODISCARD;
void accept_stop(struct http_server *s);

#endif
