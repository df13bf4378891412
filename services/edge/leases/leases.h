/* What the edge may decide without asking auth: of each key, how many further requests it
 * authorizes by itself, and at which rate a known key goes on while auth is away. A lease holds for
 * all models of the key that the same limits hold for; what else auth says of a model is kept by
 * its name.
 *
 * Of each lease two counts are kept that only grow: requests used, and requests charged, as auth
 * said last. What is charged and not used may be used while the lease lasts. What is used and not
 * charged, or charged and of no use any more, auth is told until it has counted it. Bounded. Pure:
 * time is passed in, a function sends. */
#ifndef SERVICES_EDGE_LEASES_LEASES_H
#define SERVICES_EDGE_LEASES_LEASES_H

#include "common/base/crypto.h"
#include "proto/message.h"
#include "services/edge/leases/away.h"

struct key_leases;

/* Tells auth (LEASE_USED); false: it cannot be told now. */
typedef bool (*lease_send)(void *ctx, const struct lease_used *m);

/* The x-ratelimit-* numbers; a limit of 0 = no limit of that kind. */
struct limit_headers {
    uint64_t limit_requests, remaining_requests, reset_requests_ms;
    uint64_t limit_tokens, remaining_tokens, reset_tokens_ms;
};

/* What an authorized request gets to know; spans are views until the next call. */
struct lease_view {
    struct span key_id, key_name, models, barred;
    uint64_t reserved_tokens;
    bool uncounted; /* auth has not charged it: it was away */
    struct limit_headers limits;
};

/* A request that asks to be authorized. */
struct lease_request {
    struct span model;
    uint64_t tokens;
    uint32_t answers; /* without a cap, beside them */
    bool has_slot;    /* one of its key is its own already */
};

/* When: monotonic, and since when auth has been away; 0 = it is there. */
struct lease_moment {
    uint64_t now_ms, auth_down_ms;
};

enum { LEASE_MODELS_OF_KEY = 64 };

/* At most max_models key × model pairs in all, LEASE_MODELS_OF_KEY of one key; what is longest
 * unused makes room. */
enum err leases_create(struct key_leases **out, size_t max_models, lease_send send,
                       void *ctx) NODISCARD;
void leases_destroy(struct key_leases **leases);

/* auth has said yes. */
void leases_put(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model,
                const struct allow *a, uint64_t now_ms);
/* Authorizes one request. ERR_NOT_FOUND: the key is not known; ERR_AGAIN: known, but its lease is
 * used up or over: ask auth; ERR_DENIED: the lease is good, but the request has no slot and needs
 * one: ask auth for that. While auth is away what was leased is used up first, until the key's
 * known time is over, then its share of the rate; one with no limit behind it just goes on. */
enum err leases_take(struct key_leases *l, const uint8_t key[SHA256_BYTES],
                     const struct lease_request *ask, struct lease_moment at,
                     struct lease_view *out) NODISCARD;
/* Before auth is asked again: the lease of this model is over, unless `goes_on`, and AUTHORIZE says
 * what was used of it. */
void leases_report(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model,
                   bool goes_on, struct authorize *out);
/* auth has refused. The key stays known. */
void leases_close(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model);
/* LEASE_COUNTED. */
void leases_counted(struct key_leases *l, const uint8_t key[SHA256_BYTES],
                    const struct lease_counted *m);
/* LEASE_END: all leases of the key are over. */
void leases_end(struct key_leases *l, const uint8_t key[SHA256_BYTES]);
/* The end of the edge: all are over. */
void leases_end_all(struct key_leases *l);
/* Leases whose time is over: auth gets back the rest. Call a few times a second while it is there.
 */
void leases_tick(struct key_leases *l, uint64_t now_ms);
/* auth, which may be another one, is there again: it is told all that it may not have counted. */
void leases_tell_all(struct key_leases *l);
/* REVOKED: forget this key, all its models. */
void leases_forget(struct key_leases *l, const uint8_t key[SHA256_BYTES]);
void leases_forget_all(struct key_leases *l);
/* Key × model pairs. */
size_t leases_count(const struct key_leases *l);

#endif
