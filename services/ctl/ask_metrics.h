/* One question to the metrics daemon over the bus. */
#ifndef SERVICES_CTL_ASK_METRICS_H
#define SERVICES_CTL_ASK_METRICS_H

#include "common/base/buf.h"

/* certs: the folder of the bus's keys, "" = a plain bus. what: "status" or "metrics". ERR_TIMEOUT
 * when nobody answers in time. */
enum err ask_metrics(const char *address, const char *certs, const char *what, unsigned timeout_ms,
                     struct buf *body_out) NODISCARD;

#endif
