/* How many requests each broker may have running at this worker. The whole is shared out; what one
 * broker does not use moves to where requests wait. Knows no bus: a
 * function tells a broker. */
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

/* Tells broker number `broker` its offer; `why` is NULL unless it is 0. false when it could not be
 * told. */
typedef bool (*slots_tell)(void *ctx, size_t broker, uint32_t offered, const char *why);

enum { SLOTS_MAX_BROKERS = 16 };

/* What each broker was told last; {0} is ready. */
struct offers {
    struct {
        bool told;
        uint32_t offered;
        const char *why;
    } last[SLOTS_MAX_BROKERS];
};

/* Shares out anew and tells those for whom something has changed. `why`: a static text that says
 * why there are none at all
 * ("draining"); NULL = there are. One that went down is told again when it is back. */
void slots_update(struct offers *s, struct slot_share *shares, size_t count, uint32_t total,
                  const char *why, slots_tell tell, void *ctx);

#endif
