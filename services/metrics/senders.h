/* What each process has counted since it began, as it last said. A report adds to the sums only
 * what has grown since the one before, so that reports may be repeated, and lost ones are made up
 * for by the next. Bounded: when there is no room, those not heard of for longest are forgotten. */
#ifndef SERVICES_METRICS_SENDERS_H
#define SERVICES_METRICS_SENDERS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"
#include "proto/metric_id.h"

enum { SENDERS_MAX = 4096 };

/* One series of one process. */
struct sender_total {
    int64_t value;
    uint64_t *buckets; /* histogram: METRIC_BUCKETS counts; else NULL */
};

struct sender {
    uint64_t epoch; /* of the process: unique */
    uint64_t heard_ms;
    bool here;    /* its link is up */
    bool awaited; /* was here before we began, and has not told everything again */
    uint32_t count;
    struct sender_total *totals; /* by the sender's number - 1 */
    struct sender *prev, *next;  /* in the order of their last reports */
};

struct senders;

/* max_bytes: for all totals. */
enum err senders_create(struct senders **out, size_t max_bytes) NODISCARD;
void senders_destroy(struct senders **senders);

/* A process reports: found or begun, and here. NULL: no memory. */
struct sender *senders_hear(struct senders *s, uint64_t epoch, uint64_t now_ms);
/* Its total of this number (from 1), zero at first. ERR_INVALID for a number that no daemon of ours
 * has, ERR_TOO_BIG at the bound, ERR_NOMEM. */
enum err senders_total(struct senders *s, struct sender *of, uint32_t number, bool histogram,
                       struct sender_total **out) NODISCARD;
/* It has told everything over this link. */
void senders_complete(struct senders *s, struct sender *who);
/* Its link is lost: it may come back. */
void senders_away(struct senders *s, uint64_t epoch);
/* It has ended: it will never report again. */
void senders_forget(struct senders *s, uint64_t epoch);
/* Forgets those that are away and were heard of last before this moment. */
void senders_purge(struct senders *s, uint64_t before_ms);
/* Marks one that was read from a file. */
void senders_await(struct senders *s, struct sender *who);
unsigned senders_awaited(const struct senders *s);

const struct sender *senders_first(const struct senders *s);

#endif
