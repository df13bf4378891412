/* HTTP to the upstreams: the only user of libcurl. HTTP/1.1 is our own, over connections that
 * libcurl makes (TCP, TLS, proxies); HTTP/2, and http by way of a proxy, libcurl carries whole.
 * Nobody above notices which it is.
 *
 * One call of fetch_start is one request on the wire: a POST is never sent again by itself (nothing
 * of it has left when it moves from a dead connection to a fresh one), redirects are not followed,
 * no proxy, .netrc or credentials come from the environment, only http and https are spoken, and
 * the address is looked at when the socket is made. */
#ifndef COMMON_FETCH_FETCH_H
#define COMMON_FETCH_FETCH_H

#include "common/base/buf.h"
#include "common/base/secret.h"
#include "common/fetch/headers.h"
#include "common/runtime/loop.h"
#include "proto/reason.h"

struct fetch;
struct fetch_origin;   /* one base URL with one key */
struct fetch_transfer; /* one request on its way */

struct fetch_options {
    uint32_t shards;          /* of what libcurl carries */
    uint32_t max_connections; /* kept open while idle */
    uint64_t connect_timeout_ms;
    uint64_t max_response_bytes; /* of an answer that is no event stream */
};

enum err fetch_create(struct fetch **out, struct loop *loop,
                      const struct fetch_options *options) NODISCARD;
/* Cancels what runs without telling anybody, closes all connections. Origins may outlive it. */
void fetch_destroy(struct fetch **u);
uint32_t fetch_running(const struct fetch *u);

struct fetch_origin_spec {
    struct span base_url; /* "https://api.openai.com/v1" */
    struct span query;    /* behind every path, without its '?': "api-version=2024-10-21" */
    const struct secret *key_header; /* "Authorization: Bearer …"; borrowed; NULL = none. A
                                        default of the same name stands instead */
    const struct span
        *default_headers; /* "name: value", unless the request carries that name itself */
    size_t default_header_count;
    const char *ca_file, *proxy; /* NULL = the system's, none */
    bool private_network;        /* http and addresses that are not public are fine */
    bool http2;                  /* offer it to an https upstream */
};

/* ERR_INVALID: not a URL that can be used; ERR_DENIED: http, and not private. */
enum err fetch_origin_create(const struct fetch_origin_spec *spec,
                             struct fetch_origin **out) NODISCARD;
/* None of its requests may be running. Takes NULL, nulls. */
void fetch_origin_destroy(struct fetch_origin **origin);

/* How a request fails. */
struct fetch_ending {
    unsigned error_class; /* one of ERROR_UPSTREAM_… */
    struct span message;  /* for clients */
    enum reason reason;   /* for the operator */
    struct span detail;   /* for his log: empty or the library's words, which may name addresses;
                             good until on_failure returns */
    bool sent;            /* bytes of the request may have reached the upstream */
};

/* What a request hears: on_head once, on_bytes any number of times, then on_end or on_failure, and
 * the request is gone when that is called. Each may start and cancel requests, this one included.
 */
struct fetch_handler {
    void (*on_head)(void *ctx, unsigned status, const struct upstream_headers *headers);
    void (*on_bytes)(void *ctx, struct span bytes);
    void (*on_end)(void *ctx);
    void (*on_failure)(void *ctx, const struct fetch_ending *ending);
};

struct fetch_spec {
    struct fetch_origin *origin;
    const char *method; /* "POST", "GET", "DELETE" */
    struct span path;   /* behind the origin's base URL */
    struct span url; /* or a whole URL: the key goes there only within the same site over https, or
                        to the origin's own scheme, host and port */
    const struct secret *key; /* instead of the origin's; must outlive the request; NULL = that */
    struct span headers;      /* "name: value\n" lines, copied */
    struct span body;         /* must outlive the request */
    bool accept_stream;
    /* 0 = no limit. After the first byte of the answer's body, or of a stream after
     * fetch_content_began, idle_ms holds: between two pieces, while not paused. What has no line
     * end yet is a piece as far as it comes at FETCH_LEAST_BYTES_PER_MS; in a stream a line that
     * drips gets FETCH_DRIP_MS at most. */
    uint64_t first_byte_ms;
    uint64_t idle_ms;
    const struct fetch_handler *handler;
    void *ctx;
};

enum { FETCH_LEAST_BYTES_PER_MS = 1, FETCH_DRIP_MS = 10000 };

enum err fetch_start(struct fetch *u, const struct fetch_spec *spec,
                     struct fetch_transfer **out) NODISCARD;
/* Ends it at once; nothing is heard of it again. Takes NULL, nulls. */
void fetch_cancel(struct fetch_transfer **request);
/* Stops reading (what one read has brought may still be heard, or is kept), and goes on. */
void fetch_pause(struct fetch_transfer *request);
void fetch_resume(struct fetch_transfer *request);
/* Of a stream: what it was asked for has begun to come. Nothing when it had already. */
void fetch_content_began(struct fetch_transfer *request);
/* Bytes of the request may have reached the upstream. */
bool fetch_sent(const struct fetch_transfer *request);

#endif
