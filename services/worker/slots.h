/* How many attempts each broker may grant at this worker. The whole is shared out; what one broker
 * does not use moves to where asks wait. Knows no bus: a function reports to a broker. */
#ifndef SERVICES_WORKER_SLOTS_H
#define SERVICES_WORKER_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One broker as seen from here. */
struct slot_share {
    bool up;
    uint32_t running; /* under its grants */
    uint32_t queued;  /* waiting at it, for all workers: from its last PONG */
    uint32_t offered; /* result */
};

/* Fills `offered`: 0 for brokers that are down, at least 1 for each one that is up and never less
 * than runs there, `total` in all if it can be. Everybody gets what it uses and needs before
 * somebody gets more than an equal part; what nobody needs is shared out equally. true: somebody
 * keeps more than that since it runs already; the others get theirs as it ends. */
bool slots_share(struct slot_share *shares, size_t count, uint32_t total);

enum { SLOTS_MAX_BROKERS = 16, SLOTS_REPEAT_MS = 1000 };

/* What is said to a broker besides its share. */
struct slots_state {
    uint64_t now_ms;
    uint32_t free;   /* slots of the worker that nothing runs in */
    const char *why; /* a static text with the reason for offering none at all ("draining"); NULL =
                        there are some */
};

/* Reports to broker number `broker`; `offered` is 0 while there is a reason. false when that was
 * not possible. */
typedef bool (*slots_report)(void *ctx, size_t broker, const struct slot_share *share,
                             const struct slots_state *state);

/* What was last reported to each broker; {0} is ready. */
struct offers {
    struct {
        bool reported;
        uint32_t offered, running;
        struct slots_state state;
    } last[SLOTS_MAX_BROKERS];
};

/* Reports to those that are up and for whom something has changed, or who have heard nothing for
 * SLOTS_REPEAT_MS. A broker that went down hears its offer again when it is back. */
void slots_update(struct offers *s, const struct slot_share *shares, size_t count,
                  const struct slots_state *state, slots_report report, void *ctx);

#endif
