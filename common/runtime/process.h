/* What a process asks of its kernel as the configuration has it: processors, scheduling, files. */
#ifndef COMMON_RUNTIME_PROCESS_H
#define COMMON_RUNTIME_PROCESS_H

#include "common/runtime/config/config.h"

/* Before there are threads: they inherit it. ERR_INVALID: runtime.cpu names no processors of this
 * machine. */
enum err process_prepare(const struct config_options *o) NODISCARD;

#endif
