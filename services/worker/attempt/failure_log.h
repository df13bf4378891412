/* Which failed attempts get a line in the log: the first of its kind at once, then one in a while,
 * with the number of those that got none. Pure: time comes in. */
#ifndef SERVICES_WORKER_ATTEMPT_FAILURE_LOG_H
#define SERVICES_WORKER_ATTEMPT_FAILURE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

enum { FAILURE_LOG_ROWS = 64, FAILURE_LOG_EVERY_MS = 10000 };

/* A kind: what went wrong at which endpoint with which upstream model. {0} is an empty log. */
struct failure_log {
    struct {
        uint64_t kind; /* its hash; 0 = free */
        uint64_t line_ms;
        uint64_t unsaid; /* since that line */
    } rows[FAILURE_LOG_ROWS];
};

/* true: write a line; *unsaid_out of the same kind got none since the last one. With more kinds at
 * once than rows, the one whose line is the oldest is forgotten. */
bool failure_log_admit(struct failure_log *log, unsigned error_class, unsigned endpoint,
                       struct span model, uint64_t now_ms, uint64_t *unsaid_out);

#endif
