/* Which keys auth knows, and which it does not, as far as it was asked lately: decides before a
 * large body is read whether it is worth reading. Whether the request may run, auth (or a lease)
 * says afterwards. Bounded. Pure: time is passed in. */
#ifndef SERVICES_EDGE_LEASES_KNOWN_KEYS_H
#define SERVICES_EDGE_LEASES_KNOWN_KEYS_H

#include "common/base/crypto.h"
#include "common/base/err.h"

struct known_keys;

enum key_word {
    KEY_NOT_ASKED, /* or too long ago */
    KEY_IS_KNOWN,
    KEY_IS_UNKNOWN
};

/* The one longest not told of makes room. */
enum err known_keys_create(struct known_keys **out, size_t max_known, size_t max_unknown) NODISCARD;
void known_keys_destroy(struct known_keys **keys);
/* What auth has said holds for life_ms. Without memory it is not kept. */
void known_keys_put(struct known_keys *k, const uint8_t key[SHA256_BYTES], bool known,
                    uint64_t life_ms, uint64_t now_ms);
enum key_word known_keys_find(const struct known_keys *k, const uint8_t key[SHA256_BYTES],
                              uint64_t now_ms);
/* REVOKED. */
void known_keys_forget(struct known_keys *k, const uint8_t key[SHA256_BYTES]);
void known_keys_forget_all(struct known_keys *k);

#endif
