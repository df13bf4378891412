/* Inside of the HTTP client, shared by its files: what a transfer and a shard are. No file outside
 * this folder includes it. */
#ifndef COMMON_FETCH_FETCH_INTERNAL_H
#define COMMON_FETCH_FETCH_INTERNAL_H

#include <curl/curl.h>

#include "common/fetch/socket_table.h"
#include "common/fetch/origin.h"
#include "proto/error_class.h"

enum {
    SHARD_FILL = 32,  /* running requests before the next shard: connections stay together */
    MAX_IDLE = 1024,  /* easy handles kept for reuse */
    MAX_LINES = 64,   /* header fields of one request */
    KEEP_IDLE_S = 60, /* an idle connection older than this is not used again */
    SMALL_BODY_BYTES = 16384, /* sent together with the head, from a copy of libcurl's own */
    KEPT_BODY_BYTES = 2048,   /* of that copy, an idle handle keeps no more */
    RECEIVE_BYTES = 16384,
    STREAM_RECEIVE_BYTES = 4096,
    UPLOAD_BYTES = 16384
};

struct shard {
    struct fetch *up;
    CURLM *multi;
    uint32_t running;
    bool due; /* in the list of those to be run at the end of the turn */
    struct shard *next_due;
    struct loop_timer timer;
};

enum fetch_state { FETCH_IDLE, FETCH_RUNNING, FETCH_DEAD };

/* What must wait until libcurl has returned: it refuses calls from within its callbacks. */
enum deferred { DEFER_START = 1, DEFER_CANCEL = 2, DEFER_RESUME = 4 };

struct fetch_transfer {
    struct fetch *up;
    CURL *easy;
    struct shard *shard;
    enum fetch_state state;
    unsigned deferred;
    struct fetch_transfer *next; /* in the idle or the deferred list */
    struct fetch_transfer *next_running, *prev_running;
    struct fetch_spec spec;
    size_t body_read;
    unsigned tries; /* times that libcurl was about to put it on a wire */
    uint64_t received_bytes;
    uint64_t limit_bytes; /* 0 = none */
    uint64_t started_ms, last_ms;
    struct loop_timer timer;
    bool headed, paused, mute;
    unsigned verdict; /* an error class of our own making; libcurl's failure only carries it out */
    struct span verdict_message;
    /* kept between requests, so that what has not changed is not set again */
    struct fetch_origin *origin;
    uint64_t origin_serial;
    long buffer_bytes;
    struct buf url, lines;
    CURLU *parsed; /* url */
    struct curl_slist nodes[MAX_LINES];
    char error[CURL_ERROR_SIZE];
};

struct fetch {
    struct loop *loop;
    struct fetch_options options;
    struct socket_table sockets;
    CURLSH *share;
    struct shard *shards;
    struct shard *due;
    struct fetch_transfer *idle, *deferred, *running_list;
    uint32_t idle_count, running;
    uint64_t serials;    /* origins seen */
    char *default_ca;    /* libcurl's own CA file */
    bool handler_called; /* in this turn */
    unsigned inside;     /* libcurl is on the stack */
    struct loop_hook hook;
};

/* ---- callbacks.c ---- */
/* All of libcurl's callbacks of one easy handle, and what never changes. */
void fetch_set_callbacks(struct fetch_transfer *r);
/* Reads status and head, tells the handler. false: the answer is refused (verdict set) or has been
 * cancelled. */
bool fetch_take_head(struct fetch_transfer *r);

/* ---- prepare.c ---- */
/* Puts a spec onto the easy handle. ERR_INVALID, ERR_TOO_BIG. */
enum err fetch_prepare(struct fetch_transfer *r, const struct fetch_spec *spec) NODISCARD;
/* Frees what a finished request need not keep. */
void fetch_trim(struct fetch_transfer *r);

#endif
