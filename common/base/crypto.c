#include "common/base/crypto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* SHA256() looks its algorithm up by name each time, which costs five times the hash of a key;
 * these don't. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

void crypto_sha256(struct span text, uint8_t out[SHA256_BYTES])
{
    SHA256_CTX ctx;
    (void)SHA256_Init(&ctx);
    (void)SHA256_Update(&ctx, text.data, text.len);
    (void)SHA256_Final(out, &ctx);
}

static void begin_padded(SHA256_CTX *ctx, const uint8_t key[SHA256_CBLOCK], uint8_t pad)
{
    uint8_t block[SHA256_CBLOCK];
    for (unsigned i = 0; i < SHA256_CBLOCK; i++)
        block[i] = key[i] ^ pad;
    (void)SHA256_Init(ctx);
    (void)SHA256_Update(ctx, block, sizeof block);
    crypto_wipe(block, sizeof block);
}

/* By RFC 2104 itself: OpenSSL's HMAC() fetches the algorithm and allocates at every call, and what
 * cannot be fetched once, for want of memory, is never there again. This cannot fail. */
void crypto_hmac_sha256(struct span key, struct span text, uint8_t out[SHA256_BYTES])
{
    uint8_t block[SHA256_CBLOCK] = {0}, inner[SHA256_BYTES];
    SHA256_CTX ctx;
    if (key.len > sizeof block)
        crypto_sha256(key, block);
    else if (key.len)
        memcpy(block, key.data, key.len);
    begin_padded(&ctx, block, 0x36);
    (void)SHA256_Update(&ctx, text.data, text.len);
    (void)SHA256_Final(inner, &ctx);
    begin_padded(&ctx, block, 0x5c);
    (void)SHA256_Update(&ctx, inner, sizeof inner);
    (void)SHA256_Final(out, &ctx);
    crypto_wipe(block, sizeof block);
    crypto_wipe(&ctx, sizeof ctx);
}

void crypto_random(void *out, size_t n)
{
    char *at = out;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got <= 0)
            abort();
        at += got;
        n -= (size_t)got;
    }
}

bool crypto_equals(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void crypto_wipe(void *at, size_t n)
{
    explicit_bzero(at, n);
}

void crypto_hex(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[at[i] >> 4];
        out[2 * i + 1] = digits[at[i] & 15];
    }
    out[2 * n] = '\0';
}

const char *crypto_certificates_fault(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return strerror(errno);
    X509 *first = PEM_read_X509_AUX(file, NULL, NULL, NULL);
    (void)fclose(file);
    if (!first)
        return "there is no certificate in it that can be read (PEM is expected)";
    X509_free(first);
    return NULL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool crypto_unhex(struct span hex, void *out, size_t n)
{
    unsigned char *at = out;
    if (hex.len != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(hex.data[2 * i]), low = hex_digit(hex.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        at[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}
