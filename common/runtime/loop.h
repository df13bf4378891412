/* One epoll loop per daemon: descriptors, timers, and work at the end of each turn.
 * Single-threaded. */
#ifndef COMMON_RUNTIME_LOOP_H
#define COMMON_RUNTIME_LOOP_H

#include <stdbool.h>
#include <sys/epoll.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/heap.h"

struct loop;
struct loop_watch; /* one registered descriptor */

typedef void (*loop_fd_fn)(void *ctx, uint32_t epoll_events);
typedef void (*loop_fn)(void *ctx);
typedef void (*loop_long_fn)(void *ctx, uint64_t us);

/* A timer lives inside its owner: {0} is a stopped one. Stop it before its memory goes away. */
struct loop_timer {
    loop_fn fn;
    void *ctx;
    struct heap_entry due; /* in µs; in no heap while it is stopped */
};

/* A hook lives inside its owner too. */
struct loop_hook {
    loop_fn fn;
    void *ctx;
    struct loop_hook *next;
};

enum err loop_create(struct loop **out, const struct clock *clock) NODISCARD;
void loop_destroy(struct loop **loop);

/* Runs until loop_stop. Each turn: wait, dispatch descriptors, dispatch due timers, run the turn
 * hooks. */
enum err loop_run(struct loop *loop) NODISCARD;
void loop_stop(struct loop *loop);
/* One turn, waiting at most wait_ms (-1 = until something happens); for tests and for daemons that
 * drain. */
enum err loop_turn(struct loop *loop, int wait_ms) NODISCARD;

/* Calls fn, between turns, about each one that took long_us or more without waiting. A loop with no
 * timer at all is not measured. */
void loop_on_long_turn(struct loop *loop, uint64_t long_us, loop_long_fn fn, void *ctx);
/* For other threads: changes with every turn, and is odd while one is under way. */
unsigned long loop_turn_mark(const struct loop *loop);
/* Whose work the present callback does, by a request's id: for a thread that asks why a turn takes
 * long. Holds until the next callback. */
enum { LOOP_WORK_BYTES = 16 };
void loop_works_on(struct loop *loop, const uint8_t id[LOOP_WORK_BYTES]);
/* From any thread; false when nobody has said. */
bool loop_work(const struct loop *loop, uint8_t id_out[LOOP_WORK_BYTES]);

/* Monotonic µs, read once per turn: cheap, and the same for everything that happens in it. */
uint64_t loop_now_us(const struct loop *loop);
uint64_t loop_now_ms(const struct loop *loop);
const struct clock *loop_clock(const struct loop *loop);

/* events: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLET. fn may remove any watch, this one included:
 * events already fetched for a removed watch are not delivered. The fd stays the caller's. */
enum err loop_watch_add(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *ctx,
                        struct loop_watch **out) NODISCARD;
enum err loop_watch_set(struct loop_watch *watch, uint32_t events) NODISCARD;
/* Before the fd is closed. Takes NULL, nulls. */
void loop_watch_remove(struct loop_watch **watch);

/* Once, after `delay_ms`; starting a running timer moves it. A repeating one starts itself again in
 * fn. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms, loop_fn fn,
                      void *ctx);
void loop_timer_start_us(struct loop *loop, struct loop_timer *timer, uint64_t delay_us, loop_fn fn,
                         void *ctx);
void loop_timer_stop(struct loop *loop, struct loop_timer *timer);
static inline int loop_timer_running(const struct loop_timer *timer)
{
    return timer->due.index != 0;
}
/* Of a running one. */
static inline uint64_t loop_timer_due_us(const struct loop_timer *timer)
{
    return timer->due.key;
}

/* Called at the end of every turn, in the order added (flush what the turn gathered). hook->fn and
 * ctx are set by the caller. */
void loop_hook_turn_end(struct loop *loop, struct loop_hook *hook);
/* Before its memory goes away; not from within a hook. */
void loop_hook_remove(struct loop *loop, struct loop_hook *hook);
/* Asks that the next wait not sleep (there is more to do). */
void loop_again(struct loop *loop);

#endif
