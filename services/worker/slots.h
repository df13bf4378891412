/* How many requests each broker may have running at this worker. The whole is shared out; what one
 * broker does not use moves to where requests wait. Knows no bus: a
 * function reports to a broker. */
#ifndef SERVICES_WORKER_SLOTS_H
#define SERVICES_WORKER_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One broker as seen from here. */
struct slot_share {
    bool up;
    uint32_t running; /* its requests at this worker */
    uint32_t queued;  /* waiting at it, for all workers: from its last PONG */
    uint32_t offered; /* result */
};

/* Fills `offered`: 0 for brokers that are down, at least 1 for each one that is up, `total` in all
 * if that is no fewer than brokers. Everybody gets what it uses and needs before somebody gets more
 * than an equal part; what nobody needs is shared out equally. */
void slots_share(struct slot_share *shares, size_t count, uint32_t total);

/* Reports its offer to broker number `broker`; `why` is NULL unless the offer is 0. false when that
 * was not possible. */
typedef bool (*slots_report)(void *ctx, size_t broker, uint32_t offered, const char *why);

enum { SLOTS_MAX_BROKERS = 16 };

/* What was last reported to each broker; {0} is ready. */
struct offers {
    struct {
        bool reported;
        uint32_t offered;
        const char *why;
    } last[SLOTS_MAX_BROKERS];
};

/* Shares out anew and reports to those for whom something has changed. `why`: a static text with
 * the reason for offering none at all ("draining"); NULL = there are some. A broker that went down
 * hears its offer again when it is back. */
void slots_update(struct offers *s, struct slot_share *shares, size_t count, uint32_t total,
                  const char *why, slots_report report, void *ctx);

#endif
