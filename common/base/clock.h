/* Time as something passed in, so that a test can turn it. Monotonic for every wait and deadline;
 * wall time only for what people and ledgers read. */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    uint64_t (*mono_us)(const struct clock *c);
    uint64_t (*wall_ms)(const struct clock *c); /* since 1970, UTC */
};

/* CLOCK_MONOTONIC and CLOCK_REALTIME. */
extern const struct clock clock_real;

/* A clock that only moves when told. */
struct clock_fake {
    struct clock clock; /* pass &fake.clock */
    uint64_t now_us;
    uint64_t now_wall_ms;
};

void clock_fake_init(struct clock_fake *f, uint64_t mono_us, uint64_t wall_ms);
/* Moves both times forward. */
void clock_fake_advance_ms(struct clock_fake *f, uint64_t ms);

static inline uint64_t clock_mono_us(const struct clock *c)
{
    return c->mono_us(c);
}

static inline uint64_t clock_mono_ms(const struct clock *c)
{
    return c->mono_us(c) / 1000;
}

static inline uint64_t clock_wall_ms(const struct clock *c)
{
    return c->wall_ms(c);
}

#endif
