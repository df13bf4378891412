/* Client keys, all in memory: who may ask, for which models, within which limits.
 *
 * A key is "sk-" + 64 hex digits (256 random bits). Kept is HMAC-SHA-256(pepper, SHA-256(key)):
 * edges send the inner digest, the pepper never leaves auth. The key's text exists once, at its
 * creation. */
#ifndef SERVICES_AUTH_KEYS_KEYS_H
#define SERVICES_AUTH_KEYS_KEYS_H

#include "common/base/crypto.h"
#include "services/auth/limits/limits.h"

enum {
    KEY_TEXT_BYTES = 3 + 64 + 1,
    KEY_ID_BYTES = 4 + 16 + 1,
    KEY_NAME_MAX = 64,
    KEY_MODELS_MAX = 2048,
    KEY_HINT_BYTES = 5,
    KEY_RULES_MAX =
        4, /* model rules that may hit one request: the set has room for them and the key's own */
    PEPPER_BYTES = 32
};

/* What a person sets, and what the store keeps. Spans are views. */
struct key_attributes {
    struct span id;
    struct span name;
    struct span hint; /* the key's last four characters, for people */
    uint8_t stored[SHA256_BYTES];
    uint64_t created_ms;
    uint64_t expires_ms;      /* wall clock; 0 = never */
    uint64_t revoked_ms;      /* 0 = valid */
    struct span models;       /* patterns with *, comma-separated; empty = all */
    struct span model_limits; /* "gpt-4=100/hour,claude-*=5/minute": requests per key and model */
    uint64_t requests_per_minute; /* 0 = unlimited, here and below */
    uint64_t requests_per_hour;
    uint64_t tokens_per_minute;
    uint32_t concurrent;
};

struct lease;
struct slot_lease;
struct waiting_authorize;

struct key_rule {
    char *pattern;
    struct limit *limit;
};

struct key {
    struct table_node by_stored;
    struct table_node by_id;
    struct table_node by_digest; /* in its table once an edge has shown the key */
    bool digest_known;
    uint8_t digest[SHA256_BYTES];
    struct key_attributes is; /* its spans point into text_ */
    struct limit_set limits;  /* those that hold for every model */
    struct limit *tokens;     /* the one of them in tokens, or NULL */
    struct key_rule *rules;
    size_t rule_count;
    struct lease *leases; /* that edges hold of it */
    /* Only when `concurrent` is set: slots taken, those that edges hold on lease included, … */
    uint32_t in_flight;
    struct slot_lease *slot_leases;    /* … these leases, … */
    struct waiting_authorize *waiting; /* … and requests that wait for a slot, oldest first */
    struct key *next;                  /* in order of creation */
    char *text_;
};

struct keys;

enum err keys_create(struct keys **out, const uint8_t pepper[PEPPER_BYTES],
                     struct limits *limits) NODISCARD;
void keys_destroy(struct keys **k);

/* Checks what a person gave; on ERR_INVALID *why_out is a sentence (static). */
enum err keys_check(const struct key_attributes *a, const char **why_out) NODISCARD;
/* Makes a new key: fills id, hint and stored, writes the secret text; wipe it after use. Storage
 * for the id and hint is the caller's. Adds nothing. */
void keys_generate(const struct keys *k, struct key_attributes *a, char text_out[KEY_TEXT_BYTES],
                   char id_out[KEY_ID_BYTES], char hint_out[KEY_HINT_BYTES]);
/* Adds one that is stored. ERR_EXISTS for a known id. */
enum err keys_add(struct keys *k, const struct key_attributes *a) NODISCARD;
/* Its limits begin anew: whatever it owes them is forgotten. */
void keys_forgive(struct keys *k, const struct key *key);
/* It no longer opens anything from here on. */
void keys_revoke(struct keys *k, struct key *key, uint64_t now_wall_ms);

/* By SHA-256 of the presented text; compares in constant time, and a dummy on a miss. NULL when
 * unknown; an expired or revoked one is returned. */
struct key *keys_find_digest(struct keys *k, struct span digest);
struct key *keys_find_id(const struct keys *k, struct span id);
/* The first with that name that is not revoked; else NULL. */
struct key *keys_find_name(const struct keys *k, struct span name);
const struct key *keys_first(const struct keys *k);
size_t keys_count(const struct keys *k);
/* When a key was last revoked (wall clock), 0 = never. */
uint64_t keys_last_revoked_ms(const struct keys *k);

bool key_may_use(const struct key *key, struct span model);
/* The key's own limits and its rules for that model. */
void key_limits(const struct key *key, struct span model, struct limit_set *set);

/* `*` stands for any run of bytes. */
bool pattern_matches(struct span pattern, struct span text);

#endif
