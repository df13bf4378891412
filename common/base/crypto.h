/* The few primitives Tollgate needs of OpenSSL; the only user of its headers beside common/http
 * (TLS). */
#ifndef COMMON_BASE_CRYPTO_H
#define COMMON_BASE_CRYPTO_H

#include "common/base/err.h"
#include "common/base/span.h"

enum { SHA256_BYTES = 32 };

void crypto_sha256(struct span text, uint8_t out[SHA256_BYTES]);
void crypto_hmac_sha256(struct span key, struct span text, uint8_t out[SHA256_BYTES]);
/* From the kernel's generator; aborts when there is none (never returns weak bytes). */
void crypto_random(void *out, size_t n);
/* In time that depends on n alone. */
bool crypto_equals(const void *a, const void *b, size_t n);
/* Overwrites, whatever the optimiser thinks. */
void crypto_wipe(void *at, size_t n);
/* Why a PEM file can't say which certificates to trust, in words; NULL when it can. */
const char *crypto_certificates_fault(const char *path);
/* Lower-case hex into out, which has room for 2n+1. */
void crypto_hex(const void *bytes, size_t n, char *out);
/* The other way; false unless it is 2n hex digits, of either case. */
bool crypto_unhex(struct span hex, void *out, size_t n);

#endif
