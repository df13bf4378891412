/* A circuit breaker as a value: failures in a row open it, each opening lasts twice as long as the
 * last one, then one probe decides. Pure: the time is passed in. */
#ifndef SERVICES_WORKER_ENDPOINTS_BREAKER_H
#define SERVICES_WORKER_ENDPOINTS_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_OPEN,   /* nothing goes through before until_ms */
    BREAKER_PROBING /* one request is out; its outcome closes or opens */
};

struct breaker_options {
    uint32_t failures; /* in a row, to open; at least 1 */
    uint64_t open_ms;  /* the first opening */
    uint64_t max_ms;   /* the longest one */
};

/* {0} is closed. */
struct breaker {
    enum breaker_state state;
    uint32_t failures; /* in a row */
    uint64_t open_ms;  /* of the current or last opening; 0 = has been healthy since */
    uint64_t until_ms;
};

/* May a request go through? Open ones say yes once their time is over (that request is the probe).
 */
bool breaker_allows(const struct breaker *b, uint64_t now_ms);
/* A request goes through: an open breaker whose time is over starts probing. */
void breaker_start(struct breaker *b, uint64_t now_ms);
void breaker_success(struct breaker *b);
void breaker_failure(struct breaker *b, const struct breaker_options *options, uint64_t now_ms);
/* The request ended without saying anything about the upstream (cancelled): a probe may be tried
 * again. */
void breaker_abandon(struct breaker *b, uint64_t now_ms);

#endif
