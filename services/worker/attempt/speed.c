#include "services/worker/attempt/speed.h"

#include "common/base/hash.h"
#include "proto/api.h"

enum { LEAST_TOKENS = 8, KEPT_EIGHTHS = 7 };

/* Never 0. */
static uint64_t hash_of(struct span name)
{
    return hash_bytes(HASH_NOTHING, name) | 1;
}

void speeds_learn(struct speeds *s, struct span model, uint64_t tokens, uint64_t ms)
{
    uint64_t hash = hash_of(model);
    struct speed *at = &s->of[(hash >> 32) % SPEED_MODELS];
    if (tokens < LEAST_TOKENS) /* the wait for the first token tells more of the queue */
        return;
    uint64_t most = (uint64_t)SPEED_MOST * 1000;
    uint64_t now = tokens > UINT64_MAX / 1000000 ? most : tokens * 1000000 / (ms ? ms : 1);
    if (now > most)
        now = most;
    if (at->model == hash)
        now = (at->milli * KEPT_EIGHTHS + now) / (KEPT_EIGHTHS + 1);
    *at = (struct speed){hash, now};
}

uint64_t speeds_tokens(const struct speeds *s, struct span model, uint64_t ms)
{
    uint64_t hash = hash_of(model);
    const struct speed *at = &s->of[(hash >> 32) % SPEED_MODELS];
    uint64_t milli = at->model == hash ? at->milli : (uint64_t)API_TOKENS_PER_S * 1000;
    uint64_t tokens;
    return __builtin_mul_overflow(milli, ms, &tokens) ? UINT64_MAX : tokens / 1000000;
}
