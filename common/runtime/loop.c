#include "common/runtime/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

enum { EVENTS_PER_WAIT = 256 };

struct loop_watch {
    struct loop *loop;
    int fd;
    loop_fd_fn fn; /* NULL once removed: freed at the end of the turn */
    void *ctx;
    struct loop_watch *next_dead;
};

struct loop {
    const struct clock *clock;
    uint64_t now_us;
    int epoll_fd;
    bool stopped;
    bool again;
    atomic_ulong turns; /* begun and ended: odd in one */
    _Atomic uint64_t work[2];
    uint64_t long_us;
    loop_long_fn on_long;
    void *long_ctx;
    struct heap timers; /* by what they are due at */
    struct loop_hook *hooks;
    struct loop_watch *dead;
};

enum err loop_create(struct loop **out, const struct clock *clock)
{
    *out = NULL;
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return ERR_NOMEM;
    loop->clock = clock;
    loop->now_us = clock_mono_us(clock);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        free(loop);
        return ERR_IO;
    }
    *out = loop;
    return OK;
}

static void free_dead(struct loop *loop)
{
    while (loop->dead) {
        struct loop_watch *watch = loop->dead;
        loop->dead = watch->next_dead;
        free(watch);
    }
}

void loop_destroy(struct loop **loop)
{
    if (!*loop)
        return;
    free_dead(*loop);
    (void)close((*loop)->epoll_fd);
    heap_free(&(*loop)->timers);
    free(*loop);
    *loop = NULL;
}

uint64_t loop_now_us(const struct loop *loop)
{
    return loop->now_us;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_us / 1000;
}

const struct clock *loop_clock(const struct loop *loop)
{
    return loop->clock;
}

/* ---- descriptors ---- */

enum err loop_watch_add(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *ctx,
                        struct loop_watch **out)
{
    *out = NULL;
    struct loop_watch *watch = malloc(sizeof *watch);
    if (!watch)
        return ERR_NOMEM;
    *watch = (struct loop_watch){loop, fd, fn, ctx, NULL};
    struct epoll_event e = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) {
        free(watch);
        return ERR_IO;
    }
    *out = watch;
    return OK;
}

enum err loop_watch_set(struct loop_watch *watch, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = watch};
    return epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &e) < 0 ? ERR_IO : OK;
}

void loop_watch_remove(struct loop_watch **watch)
{
    struct loop_watch *w = *watch;
    if (!w)
        return;
    *watch = NULL;
    (void)epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fn = NULL;
    /* an event already fetched for it may still point here: freed when the turn is over */
    w->next_dead = w->loop->dead;
    w->loop->dead = w;
}

/* ---- timers ---- */

void loop_timer_stop(struct loop *loop, struct loop_timer *timer)
{
    heap_remove(&loop->timers, &timer->due);
}

void loop_timer_start_us(struct loop *loop, struct loop_timer *timer, uint64_t delay_us, loop_fn fn,
                         void *ctx)
{
    timer->fn = fn;
    timer->ctx = ctx;
    /* A wait without its deadline would be worse than ending: the supervisor starts us anew. */
    if (!timer->due.index && heap_reserve(&loop->timers, loop->timers.count + 1)) {
        log_error("ends", LSTR("why", "out of memory for a timer"));
        abort();
    }
    heap_set(&loop->timers, &timer->due, loop->now_us + delay_us);
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms, loop_fn fn,
                      void *ctx)
{
    loop_timer_start_us(loop, timer, delay_ms * 1000, fn, ctx);
}

void loop_works_on(struct loop *loop, const uint8_t id[LOOP_WORK_BYTES])
{
    uint64_t halves[2];
    memcpy(halves, id, sizeof halves);
    for (unsigned i = 0; i < 2; i++)
        atomic_store_explicit(&loop->work[i], halves[i], memory_order_relaxed);
}

bool loop_work(const struct loop *loop, uint8_t id_out[LOOP_WORK_BYTES])
{
    uint64_t halves[2];
    for (unsigned i = 0; i < 2; i++)
        halves[i] = atomic_load_explicit(&loop->work[i], memory_order_relaxed);
    memcpy(id_out, halves, sizeof halves);
    return halves[0] || halves[1];
}

static void works_on_nothing(struct loop *loop)
{
    static const uint8_t nothing[LOOP_WORK_BYTES];
    loop_works_on(loop, nothing);
}

static void run_timers(struct loop *loop)
{
    /* Those due at the turn's start: one that starts itself again with 0 waits for the next turn.
     */
    uint64_t now = loop->now_us;
    uint32_t most = loop->timers.count;
    struct heap_entry *due;
    while (most-- && (due = heap_first(&loop->timers)) && due->key <= now) {
        struct loop_timer *timer =
            (struct loop_timer *)(void *)((char *)due - offsetof(struct loop_timer, due));
        loop_timer_stop(loop, timer);
        works_on_nothing(loop);
        timer->fn(timer->ctx);
    }
}

/* ---- turns ---- */

void loop_on_long_turn(struct loop *loop, uint64_t long_us, loop_long_fn fn, void *ctx)
{
    loop->long_us = long_us;
    loop->on_long = fn;
    loop->long_ctx = ctx;
}

unsigned long loop_turn_mark(const struct loop *loop)
{
    return atomic_load_explicit(&loop->turns, memory_order_relaxed);
}

/* Only the loop's own thread writes: no need for an indivisible addition. */
static void mark_turn(struct loop *loop)
{
    unsigned long n = atomic_load_explicit(&loop->turns, memory_order_relaxed);
    atomic_store_explicit(&loop->turns, n + 1, memory_order_relaxed);
}

/* Nothing was waited for since the turn that began at now_us. */
static void judge_turn(struct loop *loop, uint64_t until_us)
{
    if (loop->on_long && until_us >= loop->now_us + loop->long_us)
        loop->on_long(loop->long_ctx, until_us - loop->now_us);
}

void loop_hook_turn_end(struct loop *loop, struct loop_hook *hook)
{
    struct loop_hook **at = &loop->hooks;
    while (*at)
        at = &(*at)->next;
    hook->next = NULL;
    *at = hook;
}

void loop_hook_remove(struct loop *loop, struct loop_hook *hook)
{
    for (struct loop_hook **at = &loop->hooks; *at; at = &(*at)->next) {
        if (*at == hook) {
            *at = hook->next;
            return;
        }
    }
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

/* *judged: the turn before was. */
static int wait_ms_for(struct loop *loop, int wait_ms, bool *judged)
{
    *judged = false;
    if (loop->again || loop->stopped)
        return 0;
    const struct heap_entry *first = heap_first(&loop->timers);
    *judged = true;
    if (!first)
        return wait_ms;
    uint64_t due = first->key;
    uint64_t now = clock_mono_us(loop->clock);
    judge_turn(loop, now);
    if (due <= now)
        return 0;
    uint64_t ms = (due - now + 999) / 1000;
    if (ms > 3600000)
        ms = 3600000;
    return wait_ms >= 0 && (uint64_t)wait_ms < ms ? wait_ms : (int)ms;
}

enum err loop_turn(struct loop *loop, int wait_ms)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    bool judged;
    int ms = wait_ms_for(loop, wait_ms, &judged);
    loop->again = false;
    if (ms != 0)
        log_flush();
    int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_WAIT, ms);
    if (n < 0 && errno != EINTR)
        return ERR_IO;
    uint64_t now_us = clock_mono_us(loop->clock);
    if (!judged)
        judge_turn(loop, now_us);
    loop->now_us = now_us;
    mark_turn(loop);
    for (int i = 0; i < n; i++) {
        struct loop_watch *watch = events[i].data.ptr;
        works_on_nothing(loop);
        if (watch->fn)
            watch->fn(watch->ctx, events[i].events);
    }
    run_timers(loop);
    for (struct loop_hook *hook = loop->hooks; hook; hook = hook->next)
        hook->fn(hook->ctx);
    free_dead(loop);
    mark_turn(loop);
    return OK;
}

enum err loop_run(struct loop *loop)
{
    loop->stopped = false;
    enum err e = OK;
    while (!e && !loop->stopped)
        e = loop_turn(loop, -1);
    log_flush();
    return e;
}
