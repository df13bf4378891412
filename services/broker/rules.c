#include "services/broker/rules.h"

struct core_rules rules_from(const struct config_options *o)
{
    enum { US = 1000, MOST_ATTEMPTS = 200 };
    uint32_t attempts =
        o->broker_max_attempts < MOST_ATTEMPTS ? o->broker_max_attempts : MOST_ATTEMPTS;
    return (struct core_rules){
        .retry =
            {
                .max_attempts = attempts ? attempts : 1,
                .base_us = o->broker_retry_base * US,
                .max_wait_us = o->broker_retry_max_wait * US,
                .percent = o->broker_retry_percent,
                .floor = o->broker_retry_floor,
            },
        .breaker =
            {
                .failures = o->broker_breaker_failures,
                .open_us = o->broker_breaker_open * US,
                .max_us = o->broker_breaker_max * US,
            },
        .queue_max = o->broker_queue_size,
        .queue_wait_us = o->broker_queue_timeout * US,
        .worker_grace_us = o->broker_worker_grace * US,
    };
}
