/* Inside of the way by libcurl's multi handles, shared by its files. */
#ifndef COMMON_FETCH_MULTI_INTERNAL_H
#define COMMON_FETCH_MULTI_INTERNAL_H

#include "common/fetch/shard.h"
#include "common/fetch/transfer.h"

enum {
    SHARD_FILL = 32,       /* running requests before the next shard: connections stay together */
    MAX_IDLE_PARTS = 1024, /* easy handles kept for reuse */
    MAX_LINES = 64,        /* header fields of one request */
    SMALL_BODY_BYTES = 16384, /* sent together with the head, from a copy of libcurl's own */
    KEPT_BODY_BYTES = 2048,   /* of that copy, an idle handle keeps no more */
    MULTI_RECEIVE_BYTES = 16384,
    MULTI_STREAM_RECEIVE_BYTES = 4096,
    UPLOAD_BYTES = 16384
};

/* libcurl's side of a transfer. What has not changed since its last one is not set again. */
struct multi_part {
    struct fetch *up;
    struct fetch_transfer *r; /* whose it is; NULL = kept for reuse */
    struct multi_part *next_idle;
    CURL *easy;
    struct shard *shard; /* that has it; NULL = none */
    size_t body_read;
    unsigned tries; /* times that libcurl was about to put it on a wire */
    uint64_t origin_serial;
    long buffer_bytes;
    struct buf url, lines;
    CURLU *parsed; /* url */
    struct curl_slist nodes[MAX_LINES];
    char error[CURL_ERROR_SIZE];
};

/* ---- multi_callbacks.c ---- */
/* All of libcurl's callbacks of one easy handle, and what never changes. */
void multi_set_callbacks(struct multi_part *p);
/* Reads status and head, tells the handler. false: the answer is refused (verdict set) or has been
 * cancelled. */
bool multi_take_head(struct multi_part *p);

/* ---- multi_prepare.c ---- */
/* Puts its transfer's spec onto the easy handle. ERR_INVALID, ERR_TOO_BIG, ERR_NOMEM. */
enum err multi_prepare_part(struct multi_part *p) NODISCARD;
/* Frees what a finished request need not keep. */
void multi_trim(struct multi_part *p);

#endif
