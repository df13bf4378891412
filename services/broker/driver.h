/* What the core needs of the world: the bus, chance, metrics, and somebody to call it when
 * something is due. */
#ifndef SERVICES_BROKER_DRIVER_H
#define SERVICES_BROKER_DRIVER_H

#include "common/runtime/daemon.h"
#include "services/broker/core.h"

struct core_driver {
    struct daemon *d;
    struct core *core;
    struct workers *workers;
    struct loop_hook turn;
    struct loop_timer due, report;
    uint64_t due_us; /* what `due` is set to */
    uint64_t stale_reported;
    uint64_t chance;
};

extern const struct core_ops driver_ops; /* ctx is a struct core_driver */

void driver_init(struct core_driver *driver, struct daemon *d, struct workers *workers);
/* From here on EVENT_TICK runs when it is due, and the state goes to metrics. */
void driver_start(struct core_driver *driver, struct core *core);
/* Before the core is destroyed. */
void driver_stop(struct core_driver *driver);

#endif
