#include "services/auth/limits/share.h"

#define DAY_NS (24 * GCRA_HOUR)

__extension__ typedef unsigned __int128 wide;

static uint64_t rate_a_day(const struct limit *limit)
{
    return (uint64_t)((wide)limit->gcra.rate.count * DAY_NS / limit->gcra.rate.period_ns);
}

/* A model's limit is shared by keys that nobody can count: none of it is kept for idle ones. */
static uint64_t idle_of(const struct limit *limit, size_t edges)
{
    return limit->shared ? 0 : rate_a_day(limit) / (SHARE_IDLE * (edges ? edges : 1));
}

static bool is_told(const struct share *s)
{
    return s->told_ns != 0;
}

static uint64_t told_of(const struct share *s, const struct limit *limit)
{
    return limit->unit == LIMIT_REQUESTS ? s->told.requests : s->told.tokens;
}

void share_use(struct share *s, const struct limit_set *set, uint64_t requests, uint64_t tokens,
               uint64_t now_ns)
{
    usage_rate_add(&s->requests, requests, now_ns);
    usage_rate_add(&s->tokens, tokens, now_ns);
    for (size_t i = 0; i < set->count; i++) {
        struct limit *limit = set->limits[i];
        usage_rate_add(&limit->used, limit->unit == LIMIT_REQUESTS ? requests : tokens, now_ns);
    }
}

void share_forget(struct share *s, const struct limit_set *set)
{
    for (size_t i = 0; is_told(s) && i < set->count; i++) {
        struct limit *limit = set->limits[i];
        limit->told -= told_of(s, limit);
        limit->told_to--;
    }
    s->told_ns = 0;
    s->told = (struct away_share){0};
}

void share_expire(struct share *s, const struct limit_set *set, uint64_t now_ns)
{
    if (is_told(s) && now_ns >= s->told_ns + SHARE_TOLD_NS)
        share_forget(s, set);
}

/* Its part of what all have used lately, as far as the others leave it. */
static uint64_t part_of(struct share *s, struct limit *limit, size_t edges, uint64_t now_ns)
{
    struct usage_rate *own = limit->unit == LIMIT_REQUESTS ? &s->requests : &s->tokens;
    uint64_t mine = usage_rate_lately(own, now_ns) + 1;
    uint64_t all = usage_rate_lately(&limit->used, now_ns) + 1;
    uint64_t rate = rate_a_day(limit), idle = idle_of(limit, edges);
    size_t silent = edges > limit->told_to + 1 ? edges - limit->told_to - 1 : 0;
    uint64_t others = limit->told + idle * silent;
    uint64_t room = rate > others ? rate - others : 0;
    uint64_t part = mine < all ? (uint64_t)((wide)rate * mine / all) : rate;
    return part < room ? part : room;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void share_tell(struct share *s, const struct limit_set *set, size_t edges, uint64_t now_ns,
                struct away_share *out, struct away_share *idle_out)
{
    struct away_share share = {UINT64_MAX, UINT64_MAX}, idle = share;
    share_forget(s, set); /* what it was told before is no other's */
    for (size_t i = 0; i < set->count; i++) {
        struct limit *limit = set->limits[i];
        bool tokens = limit->unit == LIMIT_TOKENS;
        uint64_t *of = tokens ? &share.tokens : &share.requests;
        uint64_t *idle_of_it = tokens ? &idle.tokens : &idle.requests;
        *of = least(*of, part_of(s, limit, edges, now_ns));
        *idle_of_it = least(*idle_of_it, idle_of(limit, edges));
    }
    for (size_t i = 0; i < set->count; i++) {
        struct limit *limit = set->limits[i];
        limit->told += limit->unit == LIMIT_TOKENS ? share.tokens : share.requests;
        limit->told_to++;
    }
    s->told = share;
    s->told_ns = set->count ? now_ns : 0;
    *out = share;
    *idle_out = idle;
}
