#include "common/runtime/secrecy.h"

#include <sys/prctl.h>
#include <sys/resource.h>

/* The soft limit alone: it may be raised again. */
static void limit_core(bool unlimited)
{
    struct rlimit core;
    if (getrlimit(RLIMIT_CORE, &core) != 0)
        return;
    core.rlim_cur = unlimited ? core.rlim_max : 0;
    (void)setrlimit(RLIMIT_CORE, &core);
}

void secrecy_set(bool traceable)
{
    limit_core(traceable);
    (void)prctl(PR_SET_DUMPABLE, traceable ? 1 : 0, 0, 0, 0);
}

void secrecy_begin(void)
{
    secrecy_set(false);
}
