/* What the edge may decide without asking auth: per key × model, how many
 * further requests it authorizes by itself, and for how long a known key goes on while auth is
 * away. Bounded. Pure: time is passed in. */
#ifndef SERVICES_EDGE_LEASES_LEASES_H
#define SERVICES_EDGE_LEASES_LEASES_H

#include "common/base/crypto.h"
#include "common/base/err.h"
#include "common/base/span.h"

struct key_leases;

/* The x-ratelimit-* numbers; a limit of 0 = no limit of that kind. */
struct limit_headers {
    uint64_t limit_requests, remaining_requests, reset_requests_ms;
    uint64_t limit_tokens, remaining_tokens, reset_tokens_ms;
};

/* What ALLOW said. Spans are copied. */
struct lease_grant {
    struct span key_id, key_name, models;
    struct span barred; /* fallbacks of the model that may not answer */
    uint32_t requests;  /* 0 = none */
    uint64_t tokens;    /* 0 with requests > 0 = not limited */
    uint32_t lease_ms;
    uint64_t known_ms;
    uint64_t output_tokens; /* of an answer without a cap */
    bool needs_slot;        /* each request of the key runs in a slot of its own (slot_book.h) */
    struct limit_headers limits;
};

/* What an authorized request gets to know; spans are views until the next call. */
struct lease_view {
    struct span key_id, key_name, models, barred;
    uint64_t reserved_tokens;
    struct limit_headers limits;
};

/* What was used of a lease: requests, and the tokens they set aside. */
struct lease_use {
    uint32_t requests;
    uint64_t tokens;
};

/* At most max_entries key × model pairs; the one longest unused makes room. */
enum err leases_create(struct key_leases **out, size_t max_entries) NODISCARD;
void leases_destroy(struct key_leases **leases);

void leases_put(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model,
                const struct lease_grant *g, uint64_t now_ms);
/* A request that asks to be authorized. */
struct lease_request {
    struct span model;
    uint64_t tokens;
    uint32_t answers; /* without a cap, beside them */
    bool has_slot;    /* one of its key is its own already */
};

/* Authorizes one request. ERR_NOT_FOUND: the key is not known; ERR_AGAIN: known, but its lease is
 * used up or expired: ask auth; ERR_DENIED: the lease is good, but the request has no slot and
 * needs one: ask auth for that. `auth_up` false: an expired lease holds on until the key's known
 * time is over, and one with no limit behind it is never used up. */
enum err leases_take(struct key_leases *l, const uint8_t key[SHA256_BYTES],
                     const struct lease_request *ask, bool auth_up, uint64_t now_ms,
                     struct lease_view *out) NODISCARD;
/* Before auth is asked again: its lease is over, and auth is told what was used of it, so that it
 * can take back the rest. false when there is none to report. Should auth go away before it
 * answers, the lease goes on (auth_up false) and is reported again. */
bool leases_end(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model,
                struct lease_use *out);
/* auth has refused: what was reported is gone. The key stays known. */
void leases_close(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model);
/* REVOKED: forget this key, all its models. */
void leases_forget(struct key_leases *l, const uint8_t key[SHA256_BYTES]);
void leases_forget_all(struct key_leases *l);
size_t leases_count(const struct key_leases *l);

#endif
