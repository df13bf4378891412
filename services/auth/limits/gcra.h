/* One limit as one number: the generic cell rate algorithm. Pure; time is passed in.
 *
 * `full_ns` is when the bucket will be full again (the "theoretical arrival time"). A unit costs
 * period/count of time; a request is admitted while what is owed stays within `burst` units. Time
 * is monotonic nanoseconds from any origin. */
#ifndef SERVICES_AUTH_LIMITS_GCRA_H
#define SERVICES_AUTH_LIMITS_GCRA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

struct gcra_rate {
    uint64_t count; /* units per period; 0 = unlimited */
    uint64_t period_ns;
    uint64_t burst; /* units at once, ≥ 1 */
};

struct gcra {
    struct gcra_rate rate;
    uint64_t full_ns;
};

#define GCRA_SECOND ((uint64_t)1000000000)
#define GCRA_MINUTE (60 * GCRA_SECOND)
#define GCRA_HOUR (60 * GCRA_MINUTE)
#define GCRA_NEVER UINT64_MAX

/* Nanoseconds until `units` fit: 0 = now, GCRA_NEVER = more than the burst. Changes nothing. */
uint64_t gcra_wait_ns(const struct gcra *g, uint64_t now_ns, uint64_t units);
/* What is owed stays the same number of units. */
void gcra_set_rate(struct gcra *g, uint64_t now_ns, struct gcra_rate rate);
/* Takes them whether they fit or not; what is over is owed. */
void gcra_charge(struct gcra *g, uint64_t now_ns, uint64_t units);
/* Gives them back. Rounds so that charge and refund of the same units never gain anything. */
void gcra_refund(struct gcra *g, uint64_t units);
/* Units that fit now; UINT64_MAX when unlimited. */
uint64_t gcra_remaining(const struct gcra *g, uint64_t now_ns);
/* Has more been charged than a burst? */
bool gcra_owes(const struct gcra *g, uint64_t now_ns);
/* Nanoseconds until the bucket is full again. */
uint64_t gcra_reset_ns(const struct gcra *g, uint64_t now_ns);

/* "100/minute", "5/s", "10000/hour", "3/day"; burst = count. False when it is none. */
bool gcra_rate_parse(struct span text, struct gcra_rate *out);

#endif
