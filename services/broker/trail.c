#include "services/broker/trail.h"

enum { VERSION = 2, PROBE = 1, HAS_AVOID = 2, AMBIGUOUS_USED = 4 };

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

void trail_write(const struct trail *t, uint8_t out[TRAIL_BYTES])
{
    unsigned flags = (t->probe ? PROBE : 0u) | (t->has_avoid ? HAS_AVOID : 0u) |
                     (t->ambiguous_used ? AMBIGUOUS_USED : 0u);
    uint8_t *at = put(out, VERSION, 1);
    at = put(at, t->config, 8);
    at = put(at, t->tried, 8);
    at = put(at, t->barred, 8);
    at = put(at, t->avoid, 8);
    at = put(at, t->candidate, 2);
    at = put(at, t->avoid_of, 2);
    at = put(at, flags, 1);
    at = put(at, t->missed, 1);
    (void)put(at, t->cause, 1);
}

struct trail trail_read(struct span bytes, uint64_t config)
{
    struct trail t = {.config = config};
    const uint8_t *at = (const uint8_t *)bytes.data;
    if (bytes.len != TRAIL_BYTES || take(&at, 1) != VERSION)
        return t;
    t.config = take(&at, 8);
    t.tried = take(&at, 8);
    t.barred = take(&at, 8);
    t.avoid = take(&at, 8);
    t.candidate = (uint16_t)take(&at, 2);
    t.avoid_of = (uint16_t)take(&at, 2);
    unsigned flags = (unsigned)take(&at, 1);
    t.probe = flags & PROBE;
    t.has_avoid = flags & HAS_AVOID;
    t.ambiguous_used = flags & AMBIGUOUS_USED;
    t.missed = (uint8_t)take(&at, 1);
    t.cause = (uint8_t)take(&at, 1);
    if (t.config != config)
        t = (struct trail){.config = config,
                           .ambiguous_used = t.ambiguous_used,
                           .missed = t.missed,
                           .cause = t.cause};
    else
        t.known = true;
    return t;
}
