/* Ends a daemon whose loop stands still: compose restarts what exits, never what hangs. */
#ifndef COMMON_RUNTIME_WATCHDOG_H
#define COMMON_RUNTIME_WATCHDOG_H

#include "common/base/err.h"
#include "common/runtime/loop.h"

/* A thread of its own looks every quarter of `limit_ms` whether the loop has turned; four looks in
 * vain and it aborts. It counts its own looks, so a stopped (SIGSTOP) or suspended process is not
 * ended. 0 = no watchdog; below a
 * second counts as one. Lives to the exit. */
enum err watchdog_start(struct loop *loop, uint64_t limit_ms) NODISCARD;

#endif
