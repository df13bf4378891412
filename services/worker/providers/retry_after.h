/* How long an upstream asks to wait: every form in which one says so. */
#ifndef SERVICES_WORKER_PROVIDERS_RETRY_AFTER_H
#define SERVICES_WORKER_PROVIDERS_RETRY_AFTER_H

#include "services/worker/neutral/provider.h"

/* retry-after-ms, else retry-after (seconds, with a fraction too, or an HTTP date). 0 = not said; a
 * date that has passed is 1 ms. now_s: wall clock. */
uint64_t retry_after_of(const struct upstream_headers *headers, uint64_t now_s);
/* For a 429 that does not say: when the used-up limit starts anew, from x-ratelimit-reset-*
 * (durations), anthropic-ratelimit-*-reset (RFC 3339) of those with nothing remaining, or
 * ratelimit-reset (seconds). 0 = not said. */
uint64_t retry_after_of_limits(const struct upstream_headers *headers, uint64_t now_s);
/* "… Your rate limit resets in ~30s." (Replicate). 0 = not said. */
uint64_t retry_after_of_text(struct span message);
/* x-should-retry: false. */
bool retry_is_forbidden(const struct upstream_headers *headers);

#endif
