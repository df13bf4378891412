#include "services/worker/neutral/estimate.h"

uint64_t estimate_tokens(uint64_t bytes)
{
    return bytes / 4 + (bytes % 4 != 0);
}

static void default_to(uint64_t *field, uint64_t value)
{
    if (*field == USAGE_UNKNOWN)
        *field = value;
}

bool usage_complete(struct usage *u, uint64_t input_guess, uint64_t output_guess)
{
    bool guessed = u->input == USAGE_UNKNOWN || u->output == USAGE_UNKNOWN;
    default_to(&u->input, input_guess);
    default_to(&u->output, output_guess);
    default_to(&u->cached, 0);
    default_to(&u->cache_write, 0);
    default_to(&u->reasoning, 0);
    return guessed;
}
