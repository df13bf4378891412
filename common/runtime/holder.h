/* Who has what we could not get: a TCP port, or a lock. For a message to the operator, once, as a
 * start fails: processes of other users can't be looked into, and then nobody is named. */
#ifndef COMMON_RUNTIME_HOLDER_H
#define COMMON_RUNTIME_HOLDER_H

#include <stdbool.h>
#include <stdint.h>

enum { HOLDER_BYTES = 64 };

/* "nginx (pid 4711)", who listens on the port, whatever the address. */
bool holder_of_port(uint16_t port, char out[HOLDER_BYTES]);
/* Who has locked this file (flock). */
bool holder_of_lock(const char *path, char out[HOLDER_BYTES]);

#endif
