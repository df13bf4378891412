/* Dates as people write them. UTC throughout. */
#ifndef SERVICES_CTL_WHEN_H
#define SERVICES_CTL_WHEN_H

#include "common/base/span.h"

/* "2026-12-31", "2026-12-31T12:00:00Z", or "+30d", "12h", "45m" from now. Milliseconds since 1970.
 */
bool when_future(struct span text, uint64_t now_ms, uint64_t *out);
/* The same back in time: "1h", "45m", "7d" before now. Milliseconds since 1970. */
bool when_past(struct span text, uint64_t now_ms, uint64_t *out);
/* "2026-12-31", "today", or "7d": so many days back (1d = since yesterday). Days since 1970. */
bool when_day(struct span text, uint64_t now_ms, uint64_t *out);
/* "2026-12-31 12:00" of milliseconds since 1970; "never" for 0. */
void when_text(uint64_t ms, char out[20]);

#endif
