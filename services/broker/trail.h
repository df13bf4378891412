/* What a broker must know of a request's earlier attempts, as bytes that travel with the request:
 * in GRANT to the edge, back in the ASK that follows a failure. Pure. */
#ifndef SERVICES_BROKER_TRAIL_H
#define SERVICES_BROKER_TRAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

enum { TRAIL_BYTES = 40 };

struct trail {
    bool known;             /* there is one, of this configuration */
    uint64_t config;        /* of which the rest but the last three is */
    uint64_t tried, barred; /* candidates, bits by index */
    uint64_t avoid;         /* endpoints that failed, bits; of candidate avoid_of's target */
    uint16_t candidate;     /* of the attempt that was granted */
    uint16_t avoid_of;
    bool probe; /* it probes its target's breaker */
    bool has_avoid;
    bool ambiguous_used; /* the one ambiguous repeat is spent */
    uint8_t missed;      /* attempts that did not find the stored response */
    uint8_t cause;       /* enum route_cause: why it has left the model that it asked for */
};

void trail_write(const struct trail *t, uint8_t out[TRAIL_BYTES]);
/* Empty or garbled bytes are an empty trail; of another configuration, only the last three members
 * count. */
struct trail trail_read(struct span bytes, uint64_t config);

#endif
