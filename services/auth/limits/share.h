/* How much of a limit's rate each edge may use while auth is away: by what a key has used there in
 * the last seconds. Of each limit, the shares that have been told lately are no more than its rate,
 * less what edges that have not used it keep for themselves. */
#ifndef SERVICES_AUTH_LIMITS_SHARE_H
#define SERVICES_AUTH_LIMITS_SHARE_H

#include "services/auth/limits/limits.h"

/* An edge goes by a share for so long after it was told; auth reckons with some more. */
#define SHARE_FRESH_NS (10 * GCRA_SECOND)
#define SHARE_TOLD_NS (12 * GCRA_SECOND)
/* Of the rate of a limit, all edges together keep 1/SHARE_IDLE where a key has been idle. */
enum { SHARE_IDLE = 4 };

/* Units a day; UINT64_MAX = not limited. */
struct away_share {
    uint64_t requests, tokens;
};

/* What one edge has used of a key's limits lately, and was told. {0} is one that has not. */
struct share {
    struct usage_rate requests, tokens;
    struct away_share told;
    uint64_t told_ns; /* 0: `told` is not counted in the limits */
};

/* The edge admits: requests and their tokens. */
void share_use(struct share *s, const struct limit_set *set, uint64_t requests, uint64_t tokens,
               uint64_t now_ns);
/* What the edge may use while auth is away, from here on, and for the case that it has been idle
 * by then. */
void share_tell(struct share *s, const struct limit_set *set, size_t edges, uint64_t now_ns,
                struct away_share *out, struct away_share *idle_out);
/* It is not told any more: by time, or for good. */
void share_expire(struct share *s, const struct limit_set *set, uint64_t now_ns);
void share_forget(struct share *s, const struct limit_set *set);

#endif
