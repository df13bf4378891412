/* Keeps requests away from a target that fails again and again, and finds out when it is back
 * (RELIABILITY 2 "Breaker"). Pure: time comes in. It only says what it would do; that the last
 * target of a model is used anyway is the router's business. */
#ifndef SERVICES_BROKER_BREAKER_H
#define SERVICES_BROKER_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_rules {
    uint32_t failures; /* in a row that open it; 0 = never */
    uint64_t open_us;  /* first opening; doubles */
    uint64_t max_us;   /* … up to this */
};

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING };

/* {0} is a closed one. */
struct breaker {
    enum breaker_state state;
    uint32_t failures;      /* in a row */
    uint32_t openings;      /* since the last success */
    uint64_t open_until_us; /* then one probe may go */
};

/* May an attempt start now: closed, or open long enough that a probe is due. */
bool breaker_allows(const struct breaker *b, uint64_t now_us);
/* An attempt starts. true: it is the probe, and its end must be reported as such. */
bool breaker_start(struct breaker *b, uint64_t now_us);
/* The target answered. */
void breaker_success(struct breaker *b);
/* The target failed by its own fault. `probe`: what breaker_start returned for that attempt. */
void breaker_failure(struct breaker *b, const struct breaker_rules *rules, bool probe,
                     uint64_t now_us);
/* The attempt ended without telling anything about the target (cancelled, worker lost). */
void breaker_abandon(struct breaker *b, bool probe, uint64_t now_us);

#endif
