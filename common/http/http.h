/* A small HTTP/1.1 server on the daemon's own loop; the only user of libmicrohttpd. Edge, metrics
 * and the simulator stand on it. It accepts by itself, reads and answers plain requests by itself,
 * and gives the rest (TLS, chunked uploads) to libmicrohttpd, all behind this interface. It checks
 * framing, keeps total deadlines for head and body, sees clients depart and bounds what a slow
 * reader may hold. */
#ifndef COMMON_HTTP_HTTP_H
#define COMMON_HTTP_HTTP_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/runtime/loop.h"

/* Up to this a body is small: it is never held, and has memory of its own in reserve. */
enum { HTTP_SMALL_BODY_BYTES = 64 << 10, HTTP_OWNER_BYTES = 32, HTTP_SLOW_BODY_MS = 1000 };

struct http_server;
/* One request and its answer. Made by the server, ended by exactly one on_done. */
struct http_exchange;

struct http_config {
    const char *address; /* "0.0.0.0", "::" */
    uint16_t port;       /* 0 = any free one: ask http_server_port */
    int listen_fd; /* > 0: it listens already (listening_handed), whatever address and port say; the
                      server's from here on */
    const char *tls_cert, *tls_key; /* files; NULL or "" = plain. A key that everybody may read is
                                       no key */
    uint32_t shards;
    uint32_t max_connections, max_connections_per_address;
    uint64_t max_header_bytes, max_body_bytes;
    /* Of all bodies in flight; of those of one client address; of the large ones of one owner
     * (http_set_owner). The last two: 0 = no bound of their own. */
    uint64_t max_body_memory_bytes, max_address_body_bytes, max_owner_body_bytes;
    /* Of max_body_memory_bytes: kept for bodies up to HTTP_SMALL_BODY_BYTES. */
    uint64_t small_body_reserve_bytes;
    uint64_t header_timeout_ms, idle_timeout_ms, send_timeout_ms;
    /* A body may be that far behind body_min_rate (bytes per second); without a rate it is the
     * time for the whole body. */
    uint64_t body_timeout_ms, body_min_rate;
    uint32_t send_buffer_bytes; /* SO_SNDBUF of a client; 0 = 128 KiB */
    bool takes_codings;         /* the handler knows what to do with a Content-Encoding; else 415 */
    bool library_only; /* plain requests through libmicrohttpd too: to compare the two ways */
};

/* What the server says by itself before a handler sees the request. The handler writes its body. */
struct http_refusal {
    unsigned status;    /* 400 framing, 408 deadline, 413, 415, 431, 503 limits */
    const char *reason; /* a literal: "two Content-Length fields" */
};

struct http_handler {
    void *ctx;
    /* Head and body are complete. Answer now, or keep the exchange and answer later (it is then
     * suspended). */
    void (*on_request)(void *ctx, struct http_exchange *x);
    /* The head is complete and sound, the body not yet read: refuse early by http_respond, let it
     * wait by http_hold, or do nothing. May be NULL. */
    void (*on_head)(void *ctx, struct http_exchange *x);
    /* A small body, which on_head has let pass, comes slowly: it is not whole within
     * HTTP_SLOW_BODY_MS. Refuse it by http_respond, now or while it is still read, which closes its
     * connection; or do nothing. May be NULL. */
    void (*on_slow)(void *ctx, struct http_exchange *x);
    /* The server refuses: fill the answer by http_respond (only path, method and headers may be
     * missing). NULL: plain text. */
    void (*on_refuse)(void *ctx, struct http_exchange *x, const struct http_refusal *r);
    /* The client has left before the answer was complete. Called once; on_done follows. May be
     * NULL. */
    void (*on_gone)(void *ctx, struct http_exchange *x);
    /* A streamed answer has room again: at most half of what was written is still unsent. May be
     * NULL. */
    void (*on_drain)(void *ctx, struct http_exchange *x);
    /* The exchange ends; it is invalid when this returns. `sent` = the whole answer was taken by
     * the client's socket. */
    void (*on_done)(void *ctx, struct http_exchange *x, bool sent);
};

/* Binds, listens, and is part of the loop from here on. ERR_EXISTS when the port is taken,
 * ERR_INVALID for bad TLS files. */
enum err http_server_create(struct http_server **out, struct loop *loop,
                            const struct http_config *config,
                            const struct http_handler *handler) NODISCARD;
void http_server_destroy(struct http_server **server);
uint16_t http_server_port(const struct http_server *server);
/* New TLS files for new connections; the old ones stay in force on ERR_INVALID. No connection is
 * cut. */
enum err http_server_reload_tls(struct http_server *server) NODISCARD;
/* Answers carry Connection: close from here on; clients are accepted still. */
void http_server_retire(struct http_server *server);
/* The same, and stops accepting. Requests on connections that are open already go on to the
 * handler; one on which nothing comes for HTTP_DRAIN_QUIET_MS is closed. Done when
 * stats.connections is 0. */
enum { HTTP_DRAIN_QUIET_MS = 1000 };
void http_server_drain(struct http_server *server);

struct http_stats {
    uint32_t connections; /* open now */
    uint32_t exchanges;   /* between on_request (or on_head) and on_done */
    uint64_t refused_limit, refused_address, refused_framing;
    uint64_t bad_headers; /* answer fields that http_add_header ignored */
    uint64_t body_bytes;  /* held now */
};
struct http_stats http_server_stats(const struct http_server *server);

/* ---- the request ---- */
struct span http_method(const struct http_exchange *x);
struct span
http_path(const struct http_exchange *x); /* without the query, percent-encoding left alone */
struct span http_query(const struct http_exchange *x); /* behind '?', raw; empty when none */
/* The first field of that name (case-insensitive); SPAN_NONE when absent. */
struct span http_header(const struct http_exchange *x, const char *name);
/* Calls fn for each header field, in order. */
void http_each_header(const struct http_exchange *x,
                      void (*fn)(void *ctx, struct span name, struct span value), void *ctx);
struct span
http_body(const struct http_exchange *x); /* whole; valid until http_body_release or on_done */
/* From on_head: nothing of the body is read (nor asked for, when the client waits for that) until
 * http_read_body. Meanwhile the request may be answered; there is no deadline. A client that leaves
 * is only noticed afterwards. */
void http_hold(struct http_exchange *x);
/* Has on_request been called? */
bool http_is_requested(const struct http_exchange *x);
/* Goes on with a held one; it may be refused then, for want of memory. */
void http_read_body(struct http_exchange *x);
/* Whose large bodies' memory this one counts against, from on_head or while it is held. */
void http_set_owner(struct http_exchange *x, const uint8_t owner[HTTP_OWNER_BYTES]);
/* Its body has a Content-Encoding. */
bool http_is_encoded(const struct http_exchange *x);
/* Memory for so many bytes of a body in all, which was sent as fewer; else says why there is none,
 * as a literal. */
const char *http_take_room(struct http_exchange *x, uint64_t bytes) NODISCARD;
/* Gives the body's memory back early (it has been passed on). */
void http_body_release(struct http_exchange *x);
/* Takes the body out of the exchange, for a thread that reads it: it stays when the exchange ends,
 * and is the caller's to free, unless http_return_body gives it back. It counts as the exchange's
 * all along. */
char *http_lend_body(struct http_exchange *x, size_t *bytes_out);
void http_return_body(struct http_exchange *x, char *body, size_t bytes);
/* Peer's address as text: "10.0.0.7" */
const char *http_client_address(const struct http_exchange *x);
uint64_t
http_started_us(const struct http_exchange *x); /* monotonic, when the head's first byte was seen */
void http_set_user(struct http_exchange *x, void *user);
void *http_user(const struct http_exchange *x);

/* ---- the answer ---- */
/* Fields to be sent, before http_respond or http_stream_begin. Ignored (and counted) when a byte <
 * 0x20 or 0x7f is in it. Content-Length, Connection, Date and Transfer-Encoding are the server's.
 */
void http_add_header(struct http_exchange *x, const char *name, struct span value);
/* A whole answer; the body is copied. Callable from on_head, on_request, or any time later. */
void http_respond(struct http_exchange *x, unsigned status, struct span body);
/* A chunked answer of unknown length: begin once, write any number of times, end once. Bytes are
 * copied and sent as soon as the socket takes them; ERR_CLOSED when the client has left (stop
 * writing). */
void http_stream_begin(struct http_exchange *x, unsigned status);
/* The same of an answer whose length is known: it says Content-Length. One that ends before that is
 * cut. */
void http_stream_begin_whole(struct http_exchange *x, unsigned status, uint64_t bytes);
enum err http_stream_write(struct http_exchange *x, struct span bytes);
void http_stream_end(struct http_exchange *x);
/* Cuts the connection without a proper end. */
void http_abort(struct http_exchange *x);
/* Cuts it with a TCP reset. */
void http_reset(struct http_exchange *x);
/* What http_stream_write gets from here on is the connection's bytes, status line included;
 * http_stream_end closes. For stand-ins that must misbehave. false when an answer has begun, or
 * where libmicrohttpd has the connection. */
bool http_raw_begin(struct http_exchange *x);
/* Bytes written and not yet taken by the client's socket. */
size_t http_stream_pending(const struct http_exchange *x);

#endif
