#include "common/runtime/process.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/log.h"

/* "0,2-3" */
static enum err pin_cpu(const char *list)
{
    cpu_set_t set;
    struct span rest = span_str(list);
    CPU_ZERO(&set);
    if (!rest.len)
        return OK;
    while (rest.len) {
        struct span item = span_cut(&rest, ',');
        struct span low = span_cut(&item, '-');
        uint64_t from, to;
        if (!span_to_u64(low, &from))
            return ERR_INVALID;
        to = from;
        if ((item.len && !span_to_u64(item, &to)) || to < from || to >= CPU_SETSIZE)
            return ERR_INVALID;
        for (; from <= to; from++)
            CPU_SET((size_t)from, &set);
    }
    return sched_setaffinity(0, sizeof set, &set) == 0 ? OK : ERR_IO;
}

/* A message passes a dozen threads on its way. Where each wakes the next one at once, every batch
 * stays small and half of the time goes into switching; threads made later inherit it. */
static void schedule_in_batches(bool wanted)
{
    const struct sched_param none = {0};
    if (wanted && sched_setscheduler(0, SCHED_BATCH, &none) != 0)
        log_debug("not_batched", LSTR("why", strerror(errno)));
}

/* The soft limit is for programs that use select(); we take what the hard one gives. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("file_limit", LSTR("why", strerror(errno)));
}

enum err process_prepare(const struct config_options *o)
{
    raise_file_limit();
    schedule_in_batches(o->runtime_batch);
    enum err e = pin_cpu(o->runtime_cpu);
    if (e)
        log_error("bad_configuration", LSTR("problem", "runtime.cpu: no such processors"));
    return e;
}
