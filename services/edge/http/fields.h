/* Values of header fields as text, cheaply, and the lines of fields that come with an upstream's
 * answer. Pure. */
#ifndef SERVICES_EDGE_HTTP_FIELDS_H
#define SERVICES_EDGE_HTTP_FIELDS_H

#include "common/base/span.h"

/* Room for any one value below. */
struct field_text {
    char data[40];
};

struct span field_u64(struct field_text *t, uint64_t v);
/* Nano-dollars as dollars: "0.000123", nine decimals with the zeros at the end cut off; "0" for
 * none. */
struct span field_dollars(struct field_text *t, uint64_t nano);
/* A duration as x-ratelimit-reset-* says it: "17ms", "1s", "1.5s", "6m0s", "2h3m0s". */
struct span field_duration(struct field_text *t, uint64_t ms);
/* Whole seconds, rounded up: retry-after. */
struct span field_seconds_up(struct field_text *t, uint64_t ms);
/* RFC 3339 in UTC with milliseconds: "2026-11-24T01:43:22.123Z". */
struct span field_time(struct field_text *t, uint64_t wall_ms);

/* Cuts the next "name: value\n" off `lines`; false at the end. Lines that are none are skipped. */
bool field_next_line(struct span *lines, struct span *name_out, struct span *value_out);
/* Fields of an upstream's answer that a client may see. Ours, hop-by-hop ones and
 * cookies are not. */
bool field_may_pass(struct span name);

#endif
