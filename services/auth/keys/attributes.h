/* What a person sets of a key, and what the store keeps of it: read, checked, merged. Pure. */
#ifndef SERVICES_AUTH_KEYS_ATTRIBUTES_H
#define SERVICES_AUTH_KEYS_ATTRIBUTES_H

#include "common/base/crypto.h"
#include "services/auth/limits/gcra.h"

enum {
    KEY_NAME_MAX = 64,
    KEY_MODELS_MAX = 2048,
    KEY_RULES_MAX =
        4 /* model rules that may hit one request: the set has room for them and the key's own */
};

/* Spans are views. */
struct key_attributes {
    struct span id;
    struct span name;
    struct span hint; /* the key's last four characters, for people */
    uint8_t stored[SHA256_BYTES];
    uint8_t before[SHA256_BYTES]; /* the secret that was replaced last … */
    uint64_t before_until_ms;     /* … and until when it still opens; 0 = there is none */
    uint64_t created_ms;
    uint64_t changed_ms;      /* last; 0 = never */
    uint64_t expires_ms;      /* wall clock; 0 = never */
    uint64_t revoked_ms;      /* for good; 0 = valid */
    uint64_t blocked_ms;      /* for a while; 0 = not */
    struct span tags;         /* of all its requests, comma-separated (proto/labels.h) */
    struct span models;       /* patterns with *, comma-separated; empty = all */
    struct span model_limits; /* "gpt-4=100/hour,claude-*=5/minute": requests per key and model */
    uint64_t requests_per_minute; /* 0 = unlimited, here and below */
    uint64_t requests_per_hour;
    uint64_t tokens_per_minute;
    uint32_t concurrent;
};

/* What a change changes, or'ed. */
enum key_field {
    KEY_NAME = 1,
    KEY_MODELS = 2,
    KEY_MODEL_LIMITS = 4,
    KEY_PER_MINUTE = 8,
    KEY_PER_HOUR = 16,
    KEY_TOKENS = 32,
    KEY_CONCURRENT = 64,
    KEY_EXPIRES = 128,
    KEY_TAGS = 256,
    KEY_BLOCKED = 512,
    KEY_REVOKED = 1024,
    KEY_SECRET = 2048 /* stored and hint; what was stored becomes `before` */
};

/* Checks what a person gave; on ERR_INVALID *why_out is a sentence (static). */
enum err keys_check(const struct key_attributes *a, const char **why_out) NODISCARD;
/* Those fields of `change`, and when it was. */
void key_attributes_merge(struct key_attributes *a, const struct key_attributes *change,
                          unsigned fields);
/* "gpt-4=100/hour", an element of model_limits. */
bool key_rule_parse(struct span text, struct span *pattern_out, struct gcra_rate *rate_out);

/* `*` stands for any run of bytes. */
bool pattern_matches(struct span pattern, struct span text);

#endif
