/* The pepper: 32 secret bytes in a file of their own, mixed into every stored key hash. Without it
 * a stolen store opens nothing; without it the store is worthless to us, too. */
#ifndef SERVICES_AUTH_KEYS_PEPPER_H
#define SERVICES_AUTH_KEYS_PEPPER_H

#include "services/auth/keys/keys.h"

/* Reads the file, or makes it (0600, durable) when it is not there. ERR_DENIED when others may read
 * it, ERR_INVALID when it is not 32 bytes, ERR_IO. Logs why. */
enum err pepper_load(const char *path, uint8_t out[PEPPER_BYTES]) NODISCARD;
/* What a store keeps to recognise its pepper by; says nothing about it. */
void pepper_check(const uint8_t pepper[PEPPER_BYTES], uint8_t out[SHA256_BYTES]);

#endif
