/* Is somebody there? The two questions of a health check. */
#ifndef SERVICES_CTL_KNOCK_H
#define SERVICES_CTL_KNOCK_H

#include "common/base/err.h"
#include "common/base/span.h"

/* A binding daemon greets us over the bus (certs: the folder of its keys, "" = a plain one).
 * ERR_TIMEOUT when nobody does in time, ERR_VERSION when it refuses us. */
enum err knock_bus(const char *role, const char *address, const char *certs,
                   unsigned timeout_ms) NODISCARD;
/* GET of http://HOST:PORT/PATH on a numeric address; *status_out is its status. No TLS. */
enum err knock_http(const char *url, unsigned timeout_ms, unsigned *status_out) NODISCARD;

#endif
