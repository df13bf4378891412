/* What a GRANT's token and a REPORT's entries look like as bytes (docs/grants.md). Pure. */
#ifndef PROTO_GRANT_H
#define PROTO_GRANT_H

#include "common/base/err.h"
#include "common/base/span.h"

enum {
    GRANT_KEY_BYTES = 32,
    GRANT_TOKEN_BYTES = 61,
    GRANT_LIFE_MS = 1000,  /* of a standing grant, at most */
    GRANT_ONCE_MS = 2000,  /* of a grant for one attempt: until its DISPATCH */
    GRANT_MARGIN_MS = 100, /* an edge stops using it so much earlier */
    GRANT_GONE_MS = 1000   /* expired so long and never reported: the edge does not have it */
};

/* One worker's slots in the hands of one edge. */
struct grant_token {
    uint64_t broker_epoch, worker_epoch, edge_epoch;
    uint64_t number;     /* of the broker; never reused within its epoch */
    uint64_t expires_ms; /* on the worker's monotonic clock */
    uint32_t slots;
    bool standing;
};

/* Signs with the key that broker and worker share. */
void grant_token_write(const struct grant_token *t, const uint8_t key[GRANT_KEY_BYTES],
                       uint8_t out[GRANT_TOKEN_BYTES]);
/* What it says, unchecked: for finding the key. ERR_INVALID for another length. */
enum err grant_token_read(struct span token, struct grant_token *out) NODISCARD;
/* Was it signed with this key? In constant time. */
bool grant_token_is_signed(struct span token, const uint8_t key[GRANT_KEY_BYTES]);

/* How the attempts under one grant went: counts since it was given, so a later report replaces an
 * earlier one. Running are started - ok - failed - canceled. */
struct grant_report {
    uint64_t number;
    uint64_t started;   /* dispatched */
    uint64_t committed; /* the head of an answer came (ok ones included) */
    uint64_t ok, failed, canceled;
    bool closed; /* nothing more is started under it */
};

enum { GRANT_REPORT_BYTES = 49 };

void grant_report_write(const struct grant_report *r, uint8_t out[GRANT_REPORT_BYTES]);
/* Takes the first entry off `entries`. ERR_TRUNCATED when there is less than a whole one;
 * ERR_INVALID when it contradicts itself (more ended than started). */
enum err grant_report_next(struct span *entries, struct grant_report *out) NODISCARD;

#endif
