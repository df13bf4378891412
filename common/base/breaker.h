/* Keeps requests away from what fails again and again, and finds out when it is back: failures in a
 * row open it, each opening lasts twice as long as the last one, then one probe decides. Pure: time
 * comes in. It only advises; whether the last one there is gets used anyway is the caller's
 * business. */
#ifndef COMMON_BASE_BREAKER_H
#define COMMON_BASE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_rules {
    uint32_t failures; /* in a row that open it; 0 = off: it never opens */
    uint64_t open_us;  /* first opening; doubles */
    uint64_t max_us;   /* … up to this; no longer than the first when below it */
};

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING };

/* {0} is a closed one. */
struct breaker {
    enum breaker_state state;
    uint32_t failures;      /* in a row */
    uint64_t open_us;       /* of the present or last opening; 0 = none since the last success */
    uint64_t open_until_us; /* then one probe may go */
};

/* May an attempt start now: closed, or open long enough that a probe is due. */
bool breaker_allows(const struct breaker *b, uint64_t now_us);
/* An attempt starts. true: it is the probe, and its end must be reported as such. */
bool breaker_start(struct breaker *b, uint64_t now_us);
/* What it guards answered. */
void breaker_success(struct breaker *b);
/* It failed by its own fault. `probe`: what breaker_start returned for that attempt. */
void breaker_failure(struct breaker *b, const struct breaker_rules *rules, bool probe,
                     uint64_t now_us);
/* The attempt ended without telling anything about it (cancelled, worker lost). */
void breaker_abandon(struct breaker *b, bool probe, uint64_t now_us);

#endif
