#include "common/runtime/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/log.h"

enum { LOOKS = 4, LEAST_MS = 1000 };

struct watchdog {
    struct loop *loop;
    uint64_t limit_ms;
    struct loop_timer feed;
    atomic_ulong fed;
};

static void on_feed(void *ctx)
{
    struct watchdog *w = ctx;
    atomic_fetch_add_explicit(&w->fed, 1, memory_order_relaxed);
    loop_timer_start(w->loop, &w->feed, w->limit_ms / (LOOKS * 2), on_feed, w);
}

static void *watch(void *ctx)
{
    struct watchdog *w = ctx;
    unsigned long seen = 0;
    int in_vain = 0;
    for (;;) {
        struct timespec t = {(time_t)(w->limit_ms / LOOKS / 1000),
                             (long)(w->limit_ms / LOOKS % 1000) * 1000000};
        (void)nanosleep(&t, NULL);
        unsigned long now = atomic_load_explicit(&w->fed, memory_order_relaxed);
        in_vain = now == seen ? in_vain + 1 : 0;
        seen = now;
        if (in_vain >= LOOKS) {
            log_error("watchdog", LSTR("why", "the loop stands still"),
                      LU64("limit_ms", w->limit_ms));
            abort();
        }
    }
    return NULL;
}

enum err watchdog_start(struct loop *loop, uint64_t limit_ms)
{
    /* reachable from the thread's stack for the life of the process; static so that no leak checker
     * wonders */
    static struct watchdog w;
    pthread_t thread;
    sigset_t all, old;
    if (limit_ms == 0)
        return OK;
    w.loop = loop;
    w.limit_ms = limit_ms < LEAST_MS ? LEAST_MS : limit_ms;
    on_feed(&w);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&thread, NULL, watch, &w);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed)
        return ERR_IO;
    (void)pthread_detach(thread);
    return OK;
}
