/* What calls.c needs of the world: the bus, chance, metrics, and somebody who calls it when
 * something is due. */
#ifndef SERVICES_BROKER_TIMERS_H
#define SERVICES_BROKER_TIMERS_H

#include "common/runtime/daemon.h"
#include "services/broker/requests.h"

struct host {
    struct daemon *d;
    struct calls *calls;
    struct workers *workers;
    struct loop_hook turn;
    struct loop_timer due, report;
    uint64_t due_us; /* what `due` is set to */
    uint64_t chance;
};

extern const struct calls_ops host_ops; /* ctx is a struct host */

void host_init(struct host *host, struct daemon *d, struct workers *workers);
/* From here on calls_tick runs when it is due, and the state goes to metrics. */
void host_start(struct host *host, struct calls *calls);
/* Before the calls are destroyed. */
void host_stop(struct host *host);

#endif
