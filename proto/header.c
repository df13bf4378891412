#include "proto/header.h"

#include "common/base/clock.h"
#include "common/base/crypto.h"

static void put32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static void put64(uint8_t *at, uint64_t v)
{
    put32(at, (uint32_t)v);
    put32(at + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get64(const uint8_t *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

void header_write(const struct header *h, uint8_t out[HEADER_BYTES])
{
    out[0] = PROTO_MAJOR;
    out[1] = h->type;
    out[2] = h->attempt;
    out[3] = h->flags;
    put32(out + 4, h->seq);
    memcpy(out + 8, h->id.bytes, 16);
    put64(out + 24, h->epoch);
    put32(out + 32, h->deadline_ms);
    put32(out + 36, 0);
}

enum err header_read(struct span frame, struct header *out)
{
    const uint8_t *at = (const uint8_t *)frame.data;
    if (frame.len < HEADER_BYTES)
        return ERR_TRUNCATED;
    *out = (struct header){.version = at[0], .type = at[1], .attempt = at[2], .flags = at[3]};
    out->seq = get32(at + 4);
    memcpy(out->id.bytes, at + 8, 16);
    out->epoch = get64(at + 24);
    out->deadline_ms = get32(at + 32);
    out->reserved = get32(at + 36);
    return out->version == PROTO_MAJOR ? OK : ERR_VERSION;
}

struct request_id request_id_new(void)
{
    struct request_id id;
    crypto_random(id.bytes, sizeof id.bytes);
    request_id_set_time(&id, clock_wall_ms(&clock_real));
    return id;
}

void request_id_set_time(struct request_id *id, uint64_t wall_ms)
{
    for (unsigned i = 0; i < 6; i++)
        id->bytes[i] = (uint8_t)(wall_ms >> (40 - 8 * i));
}

uint64_t request_id_hash(const struct request_id *id)
{
    uint64_t hash;
    memcpy(&hash, id->bytes + sizeof id->bytes - sizeof hash, sizeof hash);
    return hash;
}

bool request_id_equals(const struct request_id *a, const struct request_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void request_id_text(const struct request_id *id, char out[REQUEST_ID_TEXT])
{
    memcpy(out, "req_", 4);
    crypto_hex(id->bytes, sizeof id->bytes, out + 4);
}

bool request_id_read(struct span text, struct request_id *out)
{
    text = span_starts(text, "req_") ? span_skip(text, 4) : text;
    return crypto_unhex(text, out->bytes, sizeof out->bytes);
}
