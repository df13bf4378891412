/* What a process that holds keys owes them: nobody of the same user reads its memory or its
 * environment, and it leaves no core behind. */
#ifndef COMMON_RUNTIME_SECRECY_H
#define COMMON_RUNTIME_SECRECY_H

#include <stdbool.h>

/* First thing in main. No debugger, no /proc/PID/environ or mem but for root, no core. */
void secrecy_begin(void);
/* The configuration says runtime.traceable. */
void secrecy_set(bool traceable);

#endif
