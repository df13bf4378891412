/* Where a daemon binds, and under which address others reach it. */
#ifndef COMMON_RUNTIME_OWN_ADDRESS_H
#define COMMON_RUNTIME_OWN_ADDRESS_H

#include "common/base/err.h"
#include "common/runtime/config/config.h"

enum { OWN_ADDRESS_BYTES = 256 };

/* A worker's: brokers tell edges where it is, so any free one will do. On ipc a path of its own
 * below the run directory, with name and boot; over tcp any port of every interface. Removes what
 * dead workers have left there. ERR_TOO_BIG: the path is longer than the kernel takes (107 bytes).
 */
enum err own_address_of_worker(const struct config_options *o, const char *run_dir,
                               const char *name, uint64_t boot,
                               char out[OWN_ADDRESS_BYTES]) NODISCARD;
/* What to tell others: `bound` itself on ipc; over tcp the address of this machine on the way to
 * the first broker, with the bound port. ERR_IO when that can't be found out. */
enum err own_address_to_tell(const struct config_options *o, const char *bound,
                             char out[OWN_ADDRESS_BYTES]) NODISCARD;

#endif
