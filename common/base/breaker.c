#include "common/base/breaker.h"

bool breaker_allows(const struct breaker *b, uint64_t now_us)
{
    return b->state == BREAKER_CLOSED || (b->state == BREAKER_OPEN && now_us >= b->open_until_us);
}

bool breaker_start(struct breaker *b, uint64_t now_us)
{
    if (b->state != BREAKER_OPEN || now_us < b->open_until_us)
        return false;
    b->state = BREAKER_PROBING;
    return true;
}

void breaker_success(struct breaker *b)
{
    *b = (struct breaker){0};
}

static void trip(struct breaker *b, const struct breaker_rules *rules, uint64_t now_us)
{
    uint64_t most_us = rules->max_us > rules->open_us ? rules->max_us : rules->open_us;
    uint64_t longer_us = b->open_us > most_us / 2 ? most_us : b->open_us * 2;
    b->open_us = b->open_us ? longer_us : rules->open_us;
    b->state = BREAKER_OPEN;
    b->failures = 0;
    b->open_until_us = now_us + b->open_us;
}

void breaker_failure(struct breaker *b, const struct breaker_rules *rules, bool probe,
                     uint64_t now_us)
{
    /* Attempts that started before it opened, or were forced through, prove nothing new. */
    if (b->state == BREAKER_PROBING ? !probe : b->state == BREAKER_OPEN)
        return;
    b->failures++;
    if (rules->failures && (probe || b->failures >= rules->failures))
        trip(b, rules, now_us);
}

void breaker_abandon(struct breaker *b, bool probe, uint64_t now_us)
{
    if (!probe || b->state != BREAKER_PROBING)
        return;
    b->state = BREAKER_OPEN;
    b->open_until_us = now_us;
}
