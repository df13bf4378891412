#include "common/base/clock.h"

#include <time.h>

static uint64_t real_mono_us(const struct clock *c)
{
    (void)c;
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t real_wall_ms(const struct clock *c)
{
    (void)c;
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

const struct clock clock_real = {real_mono_us, real_wall_ms};

static uint64_t fake_mono_us(const struct clock *c)
{
    return ((const struct clock_fake *)(const void *)c)->now_us;
}

static uint64_t fake_wall_ms(const struct clock *c)
{
    return ((const struct clock_fake *)(const void *)c)->now_wall_ms;
}

void clock_fake_init(struct clock_fake *f, uint64_t mono_us, uint64_t wall_ms)
{
    *f = (struct clock_fake){{fake_mono_us, fake_wall_ms}, mono_us, wall_ms};
}

void clock_fake_advance_ms(struct clock_fake *f, uint64_t ms)
{
    f->now_us += ms * 1000;
    f->now_wall_ms += ms;
}
