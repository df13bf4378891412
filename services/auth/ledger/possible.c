#include "services/auth/ledger/possible.h"

static bool bound(uint64_t *count, uint64_t most)
{
    bool above = *count > most;
    if (above)
        *count = most;
    return above;
}

bool possible_usage(struct store_usage *u)
{
    uint64_t *const tokens[] = {&u->input_tokens, &u->cached_tokens, &u->cache_write_tokens,
                                &u->output_tokens, &u->reasoning_tokens};
    bool above = bound(&u->cost_nano, POSSIBLE_COST_NANO);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        above |= bound(tokens[i], POSSIBLE_TOKENS);
    u->estimated |= above;
    return above;
}
