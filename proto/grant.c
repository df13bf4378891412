#include "proto/grant.h"

#include <string.h>

#include "common/base/crypto.h"

enum { MAC_BYTES = 16, SIGNED_BYTES = GRANT_TOKEN_BYTES - MAC_BYTES, STANDING = 1, CLOSED = 1 };

static uint8_t *put(uint8_t *at, uint64_t n, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *at++ = (uint8_t)(n >> 8 * i);
    return at;
}

static uint64_t take(const uint8_t **at, unsigned bytes)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < bytes; i++)
        n |= (uint64_t)(*at)[i] << 8 * i;
    *at += bytes;
    return n;
}

static void sign(const uint8_t *token, const uint8_t key[GRANT_KEY_BYTES],
                 uint8_t out[SHA256_BYTES])
{
    crypto_hmac_sha256(span_of((const char *)key, GRANT_KEY_BYTES),
                       span_of((const char *)token, SIGNED_BYTES), out);
}

void grant_token_write(const struct grant_token *t, const uint8_t key[GRANT_KEY_BYTES],
                       uint8_t out[GRANT_TOKEN_BYTES])
{
    uint8_t mac[SHA256_BYTES];
    uint8_t *at = put(out, t->broker_epoch, 8);
    at = put(at, t->worker_epoch, 8);
    at = put(at, t->edge_epoch, 8);
    at = put(at, t->number, 8);
    at = put(at, t->expires_ms, 8);
    at = put(at, t->slots, 4);
    at = put(at, t->standing ? STANDING : 0, 1);
    sign(out, key, mac);
    memcpy(at, mac, MAC_BYTES);
}

enum err grant_token_read(struct span token, struct grant_token *out)
{
    if (token.len != GRANT_TOKEN_BYTES)
        return ERR_INVALID;
    const uint8_t *at = (const uint8_t *)token.data;
    out->broker_epoch = take(&at, 8);
    out->worker_epoch = take(&at, 8);
    out->edge_epoch = take(&at, 8);
    out->number = take(&at, 8);
    out->expires_ms = take(&at, 8);
    out->slots = (uint32_t)take(&at, 4);
    out->standing = take(&at, 1) & STANDING;
    return OK;
}

bool grant_token_is_signed(struct span token, const uint8_t key[GRANT_KEY_BYTES])
{
    uint8_t mac[SHA256_BYTES];
    if (token.len != GRANT_TOKEN_BYTES)
        return false;
    sign((const uint8_t *)token.data, key, mac);
    return crypto_equals(mac, token.data + SIGNED_BYTES, MAC_BYTES);
}

void grant_report_write(const struct grant_report *r, uint8_t out[GRANT_REPORT_BYTES])
{
    uint8_t *at = put(out, r->number, 8);
    at = put(at, r->started, 8);
    at = put(at, r->committed, 8);
    at = put(at, r->ok, 8);
    at = put(at, r->failed, 8);
    at = put(at, r->canceled, 8);
    (void)put(at, r->closed ? CLOSED : 0, 1);
}

enum err grant_report_next(struct span *entries, struct grant_report *out)
{
    if (entries->len < GRANT_REPORT_BYTES)
        return ERR_TRUNCATED;
    const uint8_t *at = (const uint8_t *)entries->data;
    out->number = take(&at, 8);
    out->started = take(&at, 8);
    out->committed = take(&at, 8);
    out->ok = take(&at, 8);
    out->failed = take(&at, 8);
    out->canceled = take(&at, 8);
    out->closed = take(&at, 1) & CLOSED;
    *entries = span_skip(*entries, GRANT_REPORT_BYTES);
    uint64_t left = out->started;
    bool sound = out->committed <= left && out->ok <= left;
    sound = sound && out->failed <= (left -= out->ok) && out->canceled <= left - out->failed;
    return sound ? OK : ERR_INVALID;
}
