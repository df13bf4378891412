#include "services/edge/leases/away.h"

#define DAY_MS 86400000.0

static void begin(struct away *a, uint64_t down_ms)
{
    a->since_ms = a->last_ms = down_ms;
    a->requests = a->tokens = 0; /* what could be used at once is leased */
}

static double filled(double balance, double a_day, uint64_t passed_ms, double least)
{
    double most = a_day * AWAY_SAVED_MS / DAY_MS;
    balance += a_day * (double)passed_ms / DAY_MS;
    most = most > least ? most : least;
    return balance < most ? balance : most;
}

bool away_take(struct away *a, uint64_t tokens, uint64_t down_ms, uint64_t now_ms)
{
    bool is_fresh = down_ms < a->told_ms + AWAY_FRESH_MS;
    const struct away_rate *rate = is_fresh ? &a->fresh : &a->idle;
    if (a->since_ms != down_ms)
        begin(a, down_ms);
    if (rate->requests == 0 || rate->tokens == 0)
        return false;
    a->requests = filled(a->requests, (double)rate->requests, now_ms - a->last_ms, 1);
    a->tokens = filled(a->tokens, (double)rate->tokens, now_ms - a->last_ms, 0);
    a->last_ms = now_ms;
    bool requests_limited = rate->requests != UINT64_MAX,
         tokens_limited = rate->tokens != UINT64_MAX;
    if ((requests_limited && a->requests < 1) || (tokens_limited && a->tokens < 0))
        return false;
    a->requests -= requests_limited;
    if (tokens_limited)
        a->tokens -= (double)tokens;
    return true;
}
