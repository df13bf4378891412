/* The bytes of one streamed answer on their way to the client: order, credit, where an event ends,
 * and about how many tokens have gone by. Pure arithmetic;
 * {.window_bytes = n} is ready. */
#ifndef SERVICES_EDGE_REQUEST_FLOW_H
#define SERVICES_EDGE_REQUEST_FLOW_H

#include "common/base/err.h"
#include "common/base/span.h"

struct flow {
    uint32_t window_bytes; /* what the worker may have under way */
    uint32_t next_seq;
    uint64_t received_bytes; /* from the worker */
    uint64_t returned_bytes; /* credit given back */
    uint64_t events;         /* blank lines seen */
    unsigned line_ends; /* newlines at the very end of what was received: 2 = between two events */
};

/* One DATA frame. ERR_INVALID: a gap or a repeat; ERR_TOO_BIG: far more than the window allows. */
enum err flow_receive(struct flow *f, uint32_t seq, struct span bytes) NODISCARD;
/* Credit to give back now that `pending` bytes are not yet taken by the client; 0 until it is half
 * the window. */
uint32_t flow_credit(struct flow *f, uint64_t pending_bytes);
/* true where a comment or another event may be put in. */
bool flow_between_events(const struct flow *f);
/* About how many output tokens these bytes held: one per event, or more when events are long. */
uint64_t flow_tokens(const struct flow *f);

#endif
