/* What one request can have used. What workers and edges report goes back to what an upstream said,
 * and an upstream may say anything: no row, no sum and no limit holds more than this. */
#ifndef SERVICES_AUTH_LEDGER_POSSIBLE_H
#define SERVICES_AUTH_LEDGER_POSSIBLE_H

#include "services/auth/ledger/store.h"

/* Several of the largest contexts there are; and what such a request may cost at most. */
#define POSSIBLE_TOKENS ((uint64_t)1 << 24)
#define POSSIBLE_COST_NANO ((uint64_t)10000 * 1000000000)

/* Brings the counts and the cost down to what is possible; then the row is an estimate. True when
 * something was above it. */
bool possible_usage(struct store_usage *usage);

#endif
