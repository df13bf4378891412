/* Inside of the HTTP client, shared by its files: what a transfer is, and the two ways it may go.
 * No file outside this folder includes it. */
#ifndef COMMON_FETCH_FETCH_INTERNAL_H
#define COMMON_FETCH_FETCH_INTERNAL_H

#include <curl/curl.h>

#include "common/base/inflate.h"
#include "common/fetch/origin.h"
#include "common/fetch/response.h"
#include "common/fetch/socket_table.h"
#include "proto/error_class.h"
#include "proto/reason.h"

enum {
    KEEP_IDLE_S = 60, /* an idle connection older than this is not used again */
    RECEIVE_BYTES = 64 * 1024,
    STREAM_RECEIVE_BYTES = 16 * 1024 /* at least one TLS record */
};

enum fetch_state { FETCH_IDLE, FETCH_RUNNING, FETCH_DEAD };

/* What must wait until handlers and libcurl have returned: libcurl refuses calls from within its
 * callbacks, and a transfer is not taken away from under who reads for it. */
enum deferred { DEFER_START = 1, DEFER_CANCEL = 2, DEFER_RESUME = 4 };

/* How a transfer goes over the network. */
struct fetch_engine {
    /* Puts it on its way, perhaps within fetch_start: it tells nothing at once, but by
     * transfer_fail_soon. */
    void (*start)(struct fetch_transfer *r);
    /* It has ended, or ends now: nothing more is to come of it. */
    void (*leave)(struct fetch_transfer *r);
    /* Not paused any more. */
    void (*resume)(struct fetch_transfer *r);
    bool (*sent)(const struct fetch_transfer *r);
};

struct fetch_transfer {
    struct fetch *up;
    const struct fetch_engine *engine;
    struct multi_part *multi;            /* libcurl's side of it; NULL */
    struct fetch_connection *connection; /* or ours; NULL while there is none */
    enum fetch_state state;
    unsigned deferred;
    struct fetch_transfer *next; /* in the idle or the deferred list */
    struct fetch_transfer *next_running, *prev_running;
    struct fetch_spec spec;
    uint64_t received_bytes;
    uint64_t limit_bytes; /* 0 = none */
    uint64_t started_ms, last_ms;
    uint64_t line_ms, line_bytes; /* of a line without its end: its first byte's time */
    struct loop_timer timer;
    struct inflate *inflate; /* the answer has a coding; NULL */
    bool headed, paused, mute;
    bool well;           /* its status is 2xx */
    bool began;          /* idle_ms holds */
    bool sent, repeated; /* of our own client: bytes have left; a GET is on its second connection */
    unsigned verdict;    /* an error class of our own making; another failure only carries it out */
    struct span verdict_message;
    enum reason verdict_reason;
};

struct fetch {
    struct loop *loop;
    struct fetch_options options;
    struct socket_table sockets;
    CURLSH *share;
    struct shard *shards; /* of the transfers that libcurl carries; opened when needed */
    struct multi_part *idle_parts;
    struct connector *connector; /* makes connections of our own */
    struct fetch_pool *pool;     /* keeps them */
    struct shard *due, *due_now;
    struct fetch_transfer *idle, *deferred, *running_list;
    uint32_t idle_count, running, idle_part_count;
    uint64_t serials;    /* origins seen */
    char *default_ca;    /* libcurl's own CA file */
    int kept_fd;         /* a socket that libcurl gives up, and we keep; -1 */
    bool handler_called; /* in this turn */
    unsigned inside;     /* libcurl or a handler is on the stack */
    struct loop_hook hook;
    struct fetch_head head;       /* of the response that is being read */
    char received[RECEIVE_BYTES]; /* what is being read */
};

#endif
