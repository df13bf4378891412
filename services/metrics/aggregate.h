/* Everything the suite has told us: series and daemons, and the documents made of them. What was
 * counted outlives this process in a file, if there is a folder for it. */
#ifndef SERVICES_METRICS_AGGREGATE_H
#define SERVICES_METRICS_AGGREGATE_H

#include "common/base/clock.h"
#include "proto/message.h"
#include "services/metrics/daemons.h"
#include "services/metrics/expose.h"
#include "services/metrics/senders.h"
#include "services/metrics/status.h"

struct aggregate {
    struct series_store *store;
    struct daemons *daemons;
    struct senders *senders;
    const struct clock *clock;
    uint32_t max_series;
    uint64_t shown_from_ms; /* monotonic: counters are not held back any longer */
    bool (*is_entry)(void *ctx, struct span model);
    void *ctx;        /* of is_entry */
    bool unsaved;     /* something was counted since the last save */
    bool save_failed; /* said in the log */
};

enum err aggregate_init(struct aggregate *a, const struct clock *clock,
                        uint32_t max_series) NODISCARD;
void aggregate_reset(struct aggregate *a);

/* Which models the configuration names: see store_know_models. */
void aggregate_know_models(struct aggregate *a, bool (*is_entry)(void *ctx, struct span model),
                           void *ctx);

/* Takes up what aggregate_save has left at `path`. A file that can't be read is logged, and
 * counting begins from nothing. */
enum err aggregate_load(struct aggregate *a, const char *path) NODISCARD;
/* Writes what must outlive us, if it has changed; a failure is logged. */
void aggregate_save(struct aggregate *a, const char *path);

/* This process will report. Saved before anything of it is shown, it is waited for after a restart.
 */
void aggregate_expect(struct aggregate *a, uint64_t epoch);
/* One METRIC message of the process with this epoch. Updates that could not be kept are counted in
 * METRICS_DROPPED. */
enum err aggregate_report(struct aggregate *a, const struct source *from, uint64_t epoch,
                          const struct metric *m) NODISCARD;

/* What this daemon has counted itself, since it last said so. */
void aggregate_count(struct aggregate *a, enum metric_id id, struct span labels, uint64_t more);

/* since_ms and gone_ms of `who` are filled in here. */
void aggregate_up(struct aggregate *a, const struct daemon_seen *who);
/* stopped: the process has ended and had said all; else it may come back. */
void aggregate_down(struct aggregate *a, struct span name, uint64_t epoch, bool stopped);
/* Forgets what has been out of sight for ten minutes; now and then. */
void aggregate_purge(struct aggregate *a);

/* A while after a load: those who counted before have not told yet how far they are. Shown now,
 * sums might be less than what was shown before, which Prometheus takes for a counter that was
 * reset. */
bool aggregate_is_catching_up(const struct aggregate *a);
/* "metrics", "status" or "health". NULL for anything else; else the content type, with the document
 * appended to out. */
const char *aggregate_document(const struct aggregate *a, struct span what, struct buf *out);

#endif
