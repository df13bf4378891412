/* Whom a daemon trusts on the bus: keys where the configuration names a folder of them, everybody
 * who can connect where it does not. The latter is for one machine alone, unless it is asked for
 * by name. */
#ifndef COMMON_RUNTIME_TRUST_H
#define COMMON_RUNTIME_TRUST_H

#include "common/runtime/bus/bus.h"
#include "common/runtime/config/config.h"

struct trust {
    bool keyed;
    struct bus_keys keys;
};

/* Says in the log what is wrong. provider: of a worker. */
enum err trust_open(struct trust *t, const struct config_options *o, const char *role,
                    const char *provider) NODISCARD;
/* For a command, which only asks: any pair of a folder ("" = a plain bus) that it can read. */
enum err trust_open_command(struct trust *t, const char *certs) NODISCARD;
/* Wipes the secret; twice is fine. */
void trust_close(struct trust *t);
/* For bus_spec; NULL = plain. */
const struct bus_keys *trust_keys(const struct trust *t);
/* SIGHUP: the list again; a bad one is said in the log and the old one stays. */
void trust_reload(struct trust *t, struct bus *bus);

/* May this be bound or connected to? ERR_DENIED (said in the log): it leads beyond this machine,
 * there are no keys, and the configuration does not say that this is meant (bus.plaintext). */
enum err trust_check(const struct trust *t, const struct config_options *o,
                     const char *address) NODISCARD;
/* ipc, or tcp to a loopback address in numbers or "localhost". */
bool trust_is_local(const char *address);

#endif
