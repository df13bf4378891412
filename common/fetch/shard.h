/* One of libcurl's multi handles on the daemon's loop. Inside of the HTTP client. */
#ifndef COMMON_FETCH_SHARD_H
#define COMMON_FETCH_SHARD_H

#include "common/fetch/fetch_internal.h"

struct shard {
    struct socket_owner owner; /* of the sockets that libcurl waits for; first */
    struct fetch *up;
    CURLM *multi;
    uint32_t running; /* counted by who adds */
    bool due;         /* in the list of those to be run at the end of the turn */
    bool reaping;
    struct shard *next_due;
    struct loop_timer timer;
    /* One of its easy handles is done; libcurl is not on the stack. */
    void (*on_done)(struct shard *shard, CURL *easy, CURLcode code);
};

/* `keep`: connections of its cache. ERR_NOMEM. */
enum err shard_open(struct shard *shard, struct fetch *up, long keep,
                    void (*on_done)(struct shard *shard, CURL *easy, CURLcode code)) NODISCARD;
/* Not from within on_done or libcurl. {0} is closed already. */
void shard_close(struct shard *shard);
/* Asks that it run at the end of the turn. */
void shard_mark_due(struct shard *shard);
/* Runs those. */
void shard_run_due(struct fetch *up);

#endif
