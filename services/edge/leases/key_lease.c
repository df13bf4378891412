#include "services/edge/leases/key_lease.h"

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

bool key_lease_allowed(struct key_lease *lease, const struct allow *a, uint64_t now_ms)
{
    lease->refused = false;
    lease->tokens_limited = a->lease_charged_tokens != UINT64_MAX;
    lease->charged.requests = a->lease_charged;
    lease->charged.tokens = lease->tokens_limited ? a->lease_charged_tokens : 0;
    if (a->lease_is_new) /* what was used before has been counted, long ago */
        lease->used = (struct lease_counts){0};
    lease->used.requests = more(lease->used.requests, a->lease_used);
    lease->used.tokens = more(lease->used.tokens, a->lease_used_tokens);
    lease->away.fresh = (struct away_rate){a->away_requests, a->away_tokens};
    lease->away.idle = (struct away_rate){a->away_idle_requests, a->away_idle_tokens};
    lease->away.told_ms = now_ms;
    if (a->lease_ms == 0) /* an answer without a lease leaves the one that is running */
        return false;
    lease->expires_ms = now_ms + a->lease_ms;
    return true;
}

bool key_lease_has(const struct key_lease *lease, uint64_t tokens)
{
    if (lease->name == 0)
        return true;
    if (lease->used.requests >= lease->charged.requests)
        return false;
    return !lease->tokens_limited || (lease->used.tokens <= lease->charged.tokens &&
                                      tokens <= lease->charged.tokens - lease->used.tokens);
}

void key_lease_use(struct key_lease *lease, uint64_t tokens)
{
    if (lease->name == 0)
        return;
    lease->used.requests++;
    if (lease->tokens_limited)
        lease->used.tokens += tokens;
}

bool key_lease_is_ahead(const struct key_lease *lease)
{
    return lease->name && (lease->used.requests > lease->charged.requests ||
                           lease->used.tokens > lease->charged.tokens);
}

struct lease_used key_lease_report(const struct key_lease *lease)
{
    return (struct lease_used){.lease = lease->name,
                               .used = lease->used.requests,
                               .used_tokens = lease->used.tokens,
                               .charged = lease->charged.requests,
                               .charged_tokens = lease->charged.tokens};
}
