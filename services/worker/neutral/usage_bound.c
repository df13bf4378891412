#include "services/worker/neutral/usage_bound.h"

enum {
    GENEROUS = 8,
    UNKNOWN_CONTEXT = 1 << 20,
    UNKNOWN_OUTPUT = 128 << 10,
    LEAST_OUTPUT = USAGE_ALWAYS_POSSIBLE / GENEROUS,
    MOST_CALLS = 1000
};

static bool bound(uint64_t *count, uint64_t most)
{
    bool above = *count != USAGE_UNKNOWN && *count > most;
    if (above)
        *count = most;
    return above;
}

static uint64_t most_input(const struct usage_facts *f)
{
    return f->asked_bytes + GENEROUS * (f->context ? f->context : UNKNOWN_CONTEXT);
}

static uint64_t most_output(const struct usage_facts *f)
{
    uint64_t one = f->model_output > UNKNOWN_OUTPUT ? f->model_output : UNKNOWN_OUTPUT;
    uint64_t allowed = f->asked_output ? f->asked_output : one;
    allowed = allowed < LEAST_OUTPUT ? LEAST_OUTPUT : allowed;
    if (allowed > USAGE_COUNT_MAX / GENEROUS)
        allowed = USAGE_COUNT_MAX / GENEROUS;
    return GENEROUS * (allowed > f->answer_bytes ? allowed : f->answer_bytes);
}

bool usage_bound(struct usage *u, const struct usage_facts *f)
{
    bool above = bound(&u->input, most_input(f));
    above |= bound(&u->output, most_output(f));
    above |= u->input != USAGE_UNKNOWN && bound(&u->cached, u->input);
    above |= u->input != USAGE_UNKNOWN && bound(&u->cache_write, u->input);
    above |= u->cache_write != USAGE_UNKNOWN && bound(&u->cache_write_1h, u->cache_write);
    above |= u->output != USAGE_UNKNOWN && bound(&u->reasoning, u->output);
    for (size_t i = 0; i < TARIFF_FEES; i++)
        above |= bound(&u->calls[i], MOST_CALLS);
    return above;
}
