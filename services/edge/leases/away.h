/* A rate at which an edge goes on by itself while auth is away, as ALLOW has it. */
#ifndef SERVICES_EDGE_LEASES_AWAY_H
#define SERVICES_EDGE_LEASES_AWAY_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/span.h"

/* What may be saved up: so much time of the rate, one request at least. Older than that, what auth
 * said last is what an idle key gets. */
enum { AWAY_SAVED_MS = 5000, AWAY_FRESH_MS = 10000 };

/* Units a day; UINT64_MAX = not limited. */
struct away_rate {
    uint64_t requests, tokens;
};

/* {0} with the rates is one that has not begun. */
struct away {
    struct away_rate fresh, idle;
    uint64_t told_ms;
    uint64_t since_ms; /* auth went away: of which absence the balances are */
    uint64_t last_ms;
    double requests, tokens; /* that may be used now; of tokens, one request may owe some */
};

/* One more request, of so many tokens? auth has been away since down_ms. */
bool away_take(struct away *a, uint64_t tokens, uint64_t down_ms, uint64_t now_ms);

#endif
