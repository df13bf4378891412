/* Which daemons are in sight: who they said they are, and since when. */
#ifndef SERVICES_METRICS_DAEMONS_H
#define SERVICES_METRICS_DAEMONS_H

#include "common/base/err.h"
#include "common/base/span.h"

enum { DAEMON_TEXT = 96, DAEMONS_MAX = 4096 };

struct daemon_seen {
    char role[DAEMON_TEXT], name[DAEMON_TEXT], version[DAEMON_TEXT];
    char provider[DAEMON_TEXT]; /* workers; else "" */
    uint64_t epoch;
    uint64_t since_ms; /* wall clock: first seen in this incarnation */
    uint64_t gone_ms;  /* monotonic: out of sight since; 0 = here */
    struct daemon_seen *prev, *next;
};

struct daemons;

enum err daemons_create(struct daemons **out) NODISCARD;
void daemons_destroy(struct daemons **daemons);

/* A daemon greets. *same_out: it is the incarnation last seen under this name. ERR_TOO_BIG at the
 * bound. */
enum err daemons_up(struct daemons *d, const struct daemon_seen *who, bool *same_out) NODISCARD;
void daemons_down(struct daemons *d, struct span name, uint64_t now_ms);
/* Forgets those gone before this moment. */
void daemons_purge(struct daemons *d, uint64_t before_ms);

/* In order of appearance, those out of sight among them. */
const struct daemon_seen *daemons_first(const struct daemons *d);

#endif
