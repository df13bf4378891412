/* How much was used in the last seconds: two windows, the older one fading out. {0} is nothing. */
#ifndef SERVICES_AUTH_LIMITS_USAGE_RATE_H
#define SERVICES_AUTH_LIMITS_USAGE_RATE_H

#include "services/auth/limits/gcra.h"

#define USAGE_WINDOW_NS (10 * GCRA_SECOND)

struct usage_rate {
    uint64_t window;      /* number of the present one */
    uint64_t now, before; /* units in it, and in the one before */
};

static inline void usage_rate_turn(struct usage_rate *r, uint64_t now_ns)
{
    uint64_t window = now_ns / USAGE_WINDOW_NS;
    if (window == r->window)
        return;
    r->before = window == r->window + 1 ? r->now : 0;
    r->now = 0;
    r->window = window;
}

static inline void usage_rate_add(struct usage_rate *r, uint64_t units, uint64_t now_ns)
{
    usage_rate_turn(r, now_ns);
    r->now = units > UINT32_MAX - r->now ? UINT32_MAX : r->now + units;
}

/* Units in about one window. */
static inline uint64_t usage_rate_lately(struct usage_rate *r, uint64_t now_ns)
{
    usage_rate_turn(r, now_ns);
    uint64_t left_ms = (USAGE_WINDOW_NS - now_ns % USAGE_WINDOW_NS) / 1000000;
    return r->now + r->before * left_ms / (USAGE_WINDOW_NS / 1000000);
}

#endif
