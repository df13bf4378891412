/* Client keys, all in memory: who may ask, for which models, within which limits.
 *
 * A key is "sk-" + 64 hex digits (256 random bits). Kept is HMAC-SHA-256(pepper, SHA-256(key)):
 * edges send the inner digest, the pepper never leaves auth. The key's text exists once, at its
 * creation. */
#ifndef SERVICES_AUTH_KEYS_KEYS_H
#define SERVICES_AUTH_KEYS_KEYS_H

#include "services/auth/keys/key.h"

enum {
    KEY_TEXT_BYTES = 3 + 64 + 1,
    KEY_ID_BYTES = 4 + 16 + 1,
    KEY_HINT_BYTES = 5,
    PEPPER_BYTES = 32
};

struct keys;

enum err keys_create(struct keys **out, const uint8_t pepper[PEPPER_BYTES],
                     struct limits *limits) NODISCARD;
void keys_destroy(struct keys **k);

/* A new id for it, whose storage is the caller's. */
void keys_new_id(struct key_attributes *a, char id_out[KEY_ID_BYTES]);
/* Makes a secret: fills hint and stored, writes its text; wipe that after use. Storage for the hint
 * is the caller's. Adds nothing. */
void keys_new_secret(const struct keys *k, struct key_attributes *a, char text_out[KEY_TEXT_BYTES],
                     char hint_out[KEY_HINT_BYTES]);
/* The same of a secret that exists elsewhere, of which only the digest is known. */
void keys_take_secret(const struct keys *k, struct key_attributes *a,
                      const uint8_t digest[SHA256_BYTES]);
/* Adds one that is stored. ERR_EXISTS for a known id. */
enum err keys_add(struct keys *k, const struct key_attributes *a) NODISCARD;
/* Its limits begin anew: whatever it owes them is forgotten. */
void keys_forgive(struct keys *k, const struct key *key);
/* Its limits become what they are now with what it owes them kept, in requests and tokens; one
 * whose secret is replaced keeps its id, and the old secret opens it until before_until_ms.
 * ERR_NOMEM: it is as it was. */
enum err keys_change(struct keys *k, struct key *key, const struct key_attributes *change,
                     unsigned fields, uint64_t now_ns) NODISCARD;
/* Forgets it; nothing refers to it any more. */
void keys_delete(struct keys *k, struct key **key, uint64_t now_wall_ms);

/* By SHA-256 of the presented text; compares in constant time, and a dummy on a miss. NULL when
 * unknown; that of an expired or revoked key is returned, and one that was replaced. */
const struct key_secret *keys_find_secret(struct keys *k, struct span digest);
/* The same, for those who ask only whose it is. */
struct key *keys_find_digest(struct keys *k, struct span digest);
struct key *keys_find_id(const struct keys *k, struct span id);
/* The first with that name that is not revoked; else NULL. */
struct key *keys_find_name(const struct keys *k, struct span name);
/* The one of that name that was revoked last: many may have had it. */
struct key *keys_find_revoked(const struct keys *k, struct span name);
const struct key *keys_first(const struct keys *k);
size_t keys_count(const struct keys *k);
/* When a key was last changed, revoked or deleted (wall clock), 0 = never. */
uint64_t keys_last_changed_ms(const struct keys *k);
/* What all its requests are tagged with; empty for an unknown key. */
struct span keys_tags(const struct keys *k, struct span id);

#endif
