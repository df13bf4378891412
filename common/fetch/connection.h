/* Connections of our own to the upstreams. libcurl makes them (CURLOPT_CONNECT_ONLY): names,
 * addresses, TCP, TLS and proxies are its part, what goes over them is ours. A plain socket is
 * taken from libcurl once it is connected; under TLS the easy handle stays, in a multi of few,
 * since libcurl walks all connections of a multi at each send and receive. Inside of the HTTP
 * client. */
#ifndef COMMON_FETCH_CONNECTION_H
#define COMMON_FETCH_CONNECTION_H

#include "common/fetch/failure.h"
#include "common/fetch/fetch_internal.h"

struct fetch_site;

enum connection_state { CONNECTION_NEW, CONNECTION_BUSY, CONNECTION_IDLE };

struct fetch_connection {
    struct socket_owner owner; /* of its socket once it is connected; first */
    struct fetch *up;
    enum connection_state state;
    int fd;
    bool tls, reused, refused; /* reused: had a request before; refused: an address was private */
    bool broken;               /* what is still to be sent can't be */
    struct fetch_transfer *r;  /* NULL while idle */
    CURL *easy;                /* NULL once a plain socket is taken */
    struct connector_group *group;
    char *error; /* CURL_ERROR_SIZE bytes while it is made */
    void (*on_connected)(struct fetch_connection *c, CURLcode code, struct fetch_facts facts);
    struct loop_timer again; /* TLS: decrypted bytes may wait on a quiet socket */
    struct loop_timer late;  /* while it is made */
    /* in the pool */
    struct fetch_site *site;
    struct fetch_connection *prev, *next;   /* the site's idle ones */
    struct fetch_connection *older, *newer; /* all idle ones */
    uint64_t idle_since_ms;
    /* the exchange on it */
    struct buf out; /* what is not sent yet, but for a body that is sent from where it is */
    size_t out_sent, body_sent;
    struct fetch_response response;
};

enum err connector_create(struct fetch *up) NODISCARD;
/* Once no connection is left. */
void connector_destroy(struct fetch *up);

/* Begins to connect to the authority ("https://host:port"), the way of r's origin. on_connected
 * comes once, not from within, unless the connection is closed before. ERR_NOMEM. */
enum err connection_open(struct fetch_transfer *r, struct span authority,
                         void (*on_connected)(struct fetch_connection *c, CURLcode code,
                                              struct fetch_facts facts),
                         struct fetch_connection **out) NODISCARD;
/* Not while libcurl is on the stack. Takes NULL, nulls. */
void connection_close(struct fetch_connection **connection);

enum connection_io { CONNECTION_DONE, CONNECTION_AGAIN, CONNECTION_ENDED, CONNECTION_BROKEN };

/* Sends some of first, then of second: *sent bytes, when DONE. Under TLS the same bytes must be
 * given again after AGAIN. */
enum connection_io connection_send(struct fetch_connection *c, struct span first,
                                   struct span second, size_t *sent) NODISCARD;
/* Reads up to `size` bytes: *got > 0 when DONE. ENDED: the upstream has closed. */
enum connection_io connection_receive(struct fetch_connection *c, char *into, size_t size,
                                      size_t *got) NODISCARD;
/* Which events of its socket to hear of; 0 = none. */
enum err connection_want(struct fetch_connection *c, uint32_t events) NODISCARD;

#endif
