/* Whether a failed attempt may be repeated, and when (docs/reliability.md, Retries). Pure: time and
 * chance come in. */
#ifndef SERVICES_BROKER_RETRY_H
#define SERVICES_BROKER_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct retry_rules {
    uint32_t max_attempts; /* per request, over all targets */
    uint64_t base_us;      /* first backoff; doubles; full jitter */
    uint64_t max_wait_us;  /* longest Retry-After that is waited for */
    uint32_t percent;      /* retries per 100 requests … */
    uint32_t floor;        /* … but this many per 10 s always */
};

/* Requests and retries of one target in the last 10 s, by second. {0} is an empty one. */
enum { RETRY_WINDOW_S = 10 };
struct retry_budget {
    uint64_t second; /* the newest one counted */
    uint32_t requests[RETRY_WINDOW_S];
    uint32_t retries[RETRY_WINDOW_S];
};

void retry_budget_requests(struct retry_budget *b, uint64_t count, uint64_t now_us);
/* Takes one retry out of it; false when it is spent. */
bool retry_budget_take(struct retry_budget *b, const struct retry_rules *rules, uint64_t now_us);

/* One failed attempt. */
struct retry_failure {
    unsigned error_class;
    bool sent;           /* bytes may have reached the upstream */
    bool final;          /* the worker knows that nothing helps */
    bool paid;           /* the target bills a request that was merely accepted (Replicate) */
    unsigned attempts;   /* so far, this one included */
    bool ambiguous_used; /* the one ambiguous repeat has been spent */
};

struct retry_decision {
    bool retry;
    bool ambiguous; /* it spends the request's one ambiguous repeat */
    bool inside;    /* the suite's own trouble: no backoff, no budget */
    bool refused;   /* nothing ran: to move on costs neither backoff nor budget */
    bool elsewhere; /* never at the same target again (its key, its quota, its model is bad) … */
    bool timed_out; /* … not by another endpoint either: its time is over, and is not taken twice */
};

struct retry_decision retry_decide(const struct retry_rules *rules, const struct retry_failure *f);
/* Full jitter: anything between 0 and base × 2^(attempts-1); chance is any 32 random bits. */
uint64_t retry_backoff_us(const struct retry_rules *rules, unsigned attempts, uint32_t chance);
/* The suite's own trouble: it says nothing about an endpoint. */
bool retry_is_inside(unsigned error_class);
/* How long the target is to be left alone while others serve; 0 = not at all. */
uint64_t retry_rest_ms(unsigned error_class, uint64_t retry_after_ms);
/* Does this class speak against the target itself (for its breaker)? */
bool retry_blames_target(unsigned error_class);
/* Is it no evidence for or against the target? */
bool retry_is_neutral(unsigned error_class);

#endif
