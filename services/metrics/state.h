/* What a metrics daemon keeps over its restarts: the sums of counters and histograms, and what each
 * process had told by then, in one JSON file. With it no sum ever falls, not even by what processes
 * that have ended since had counted:
 *
 * {"version":1,
 *  "series":[{"name":"tollgate_requests_total","labels":["m","openai","200","key"],"value":7},
 *            {"name":"tollgate_queue_wait_seconds","labels":[],"value":900,"buckets":[0,1,…]}],
 *  "senders":[{"epoch":"4711","here":true,"totals":[[7],[900,0,1,…],[]]}]} */
#ifndef SERVICES_METRICS_STATE_H
#define SERVICES_METRICS_STATE_H

#include "common/base/buf.h"
#include "services/metrics/senders.h"
#include "services/metrics/store.h"

/* Failure is the buffer's. */
void state_write(const struct series_store *store, const struct senders *senders, struct buf *out);
/* Into empty ones. Those that were here then are awaited. After a failure both hold anything. */
enum err state_read(struct series_store *store, struct senders *senders, struct span text,
                    uint64_t now_ms) NODISCARD;

/* Replaces the file at once or not at all. ERR_IO with errno. */
enum err state_save(const char *path, struct span text) NODISCARD;
/* ERR_NOT_FOUND when there is none. */
enum err state_load(const char *path, struct buf *out) NODISCARD;

#endif
