/* A command's visit to one daemon over the bus, by the suite's keys where it has some. */
#ifndef SERVICES_CTL_CTL_BUS_H
#define SERVICES_CTL_CTL_BUS_H

#include "common/runtime/trust.h"

struct ctl_bus {
    struct loop *loop;
    struct bus *bus;
    struct bus_peer *peer;
    struct trust trust;
    char name[64]; /* that no other command's, also of another container, is: "ctl-HOST-PID" */
};

/* certs: "" = a plain bus. handlers and callbacks are spec's; role, name and keys are filled in.
 * Close it in any case. */
enum err ctl_bus_open(struct ctl_bus *b, const char *certs, struct bus_spec spec, const char *role,
                      const char *address) NODISCARD;
/* Turns the loop until *done. ERR_TIMEOUT. */
enum err ctl_bus_wait(const struct ctl_bus *b, const bool *done, unsigned timeout_ms) NODISCARD;
void ctl_bus_close(struct ctl_bus *b);

#endif
