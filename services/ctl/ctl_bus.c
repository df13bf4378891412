#include "services/ctl/ctl_bus.h"

#include <stdio.h>
#include <unistd.h>

enum err ctl_bus_open(struct ctl_bus *b, const char *certs, struct bus_spec spec, const char *role,
                      const char *address)
{
    char host[40] = "";
    *b = (struct ctl_bus){0};
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(b->name, sizeof b->name, "ctl-%.39s-%d", host, (int)getpid());
    enum err e = trust_open_command(&b->trust, certs);
    if (!e)
        e = loop_create(&b->loop, &clock_real);
    spec.role = "ctl";
    spec.name = b->name;
    spec.keys = trust_keys(&b->trust);
    if (!e)
        e = bus_create(&b->bus, b->loop, &spec);
    return e ? e : bus_connect(b->bus, role, address, &b->peer);
}

enum err ctl_bus_wait(const struct ctl_bus *b, const bool *done, unsigned timeout_ms)
{
    enum { STEP_MS = 20 };
    uint64_t due_us = clock_mono_us(&clock_real) + (uint64_t)timeout_ms * 1000;
    enum err e = OK;
    while (!e && !*done) {
        e = loop_turn(b->loop, STEP_MS);
        if (!e && clock_mono_us(&clock_real) > due_us)
            e = ERR_TIMEOUT;
    }
    return e;
}

void ctl_bus_close(struct ctl_bus *b)
{
    bus_destroy(&b->bus);
    loop_destroy(&b->loop);
    trust_close(&b->trust);
}
