/* The forms in which servers say when: HTTP dates, RFC 3339 times, durations. Pure; a text that is
 * none of them reads as false. */
#ifndef COMMON_BASE_HTTP_DATE_H
#define COMMON_BASE_HTTP_DATE_H

#include "common/base/span.h"

/* RFC 9110 5.6.7: IMF-fixdate, RFC 850 and asctime. Seconds since 1970; dates before it are
 * refused. */
bool http_date_parse(struct span text, uint64_t *unix_s_out);
/* "2026-10-21T07:28:00Z", with an optional fraction and any offset. Milliseconds since 1970. */
bool rfc3339_parse(struct span text, uint64_t *unix_ms_out);
/* Go's form, as in x-ratelimit-reset-tokens: "1s", "6m0s", "17ms", "1h2m3.5s". A number without a
 * unit is seconds. */
bool duration_parse(struct span text, uint64_t *ms_out);
/* "7", "0.5": a number of seconds, not negative, at most 10 years. Milliseconds, rounded up. */
bool seconds_parse(struct span text, uint64_t *ms_out);

#endif
