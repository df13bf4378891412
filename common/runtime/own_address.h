/* Under which address others reach this daemon, where no configuration says so: a worker binds any
 * free one and tells it to brokers, which tell edges. */
#ifndef COMMON_RUNTIME_OWN_ADDRESS_H
#define COMMON_RUNTIME_OWN_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

enum { OWN_ADDRESS_BYTES = 256 };

/* An ipc path of its own below the run directory, with name and boot. Removes what dead workers
 * have left there. ERR_TOO_BIG: the path is longer than the kernel takes (107 bytes); ERR_IO: no
 * folder can be made. */
enum err own_address_below(const char *run_dir, const char *name, uint64_t boot,
                           char out[OWN_ADDRESS_BYTES]) NODISCARD;

/* Bound to every interface over tcp: nothing that others can connect to. */
bool own_address_is_any(const char *bound);
/* This machine's address on the way to `towards` ("tcp://" with numbers), with the port of `bound`;
 * for any other `towards` the first interface's. Sends nothing, asks no name server. ERR_IO: not
 * known. */
enum err own_address_towards(const char *bound, const char *towards,
                             char out[OWN_ADDRESS_BYTES]) NODISCARD;

#endif
