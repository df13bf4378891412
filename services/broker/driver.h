/* What requests.c needs of the world: the bus, chance, metrics, and somebody to call it when
 * something is due. */
#ifndef SERVICES_BROKER_DRIVER_H
#define SERVICES_BROKER_DRIVER_H

#include "common/runtime/daemon.h"
#include "services/broker/requests.h"

struct requests_driver {
    struct daemon *d;
    struct requests *requests;
    struct workers *workers;
    struct loop_hook turn;
    struct loop_timer due, report;
    uint64_t due_us; /* what `due` is set to */
    uint64_t stale_reported;
    uint64_t chance;
};

extern const struct requests_ops driver_ops; /* ctx is a struct requests_driver */

void driver_init(struct requests_driver *driver, struct daemon *d, struct workers *workers);
/* From here on requests_tick runs when it is due, and the state goes to metrics. */
void driver_start(struct requests_driver *driver, struct requests *requests);
/* Before the requests are destroyed. */
void driver_stop(struct requests_driver *driver);

#endif
