#include "services/worker/attempt/room.h"

#include <utlist.h>

#include "common/base/log.h"
#include "services/worker/attempt/attempt_internal.h"

enum { LARGE_BYTES = 64 << 10 }; /* smaller ones never wait */

static struct answer_room *room_of(const struct attempt *attempt)
{
    return &attempt->env->room;
}

static const struct config_options *options_of(const struct attempt *attempt)
{
    return &attempt->setup->config->options;
}

/* Has its key its part in answers that their clients do not take? */
static bool waits_for_its_own(const struct attempt *attempt)
{
    const struct answer_room *room = room_of(attempt);
    size_t part = options_of(attempt)->worker_max_answer_memory / 2, still = 0;
    if (room->bytes < part)
        return false;
    const struct attempt *other;
    DL_FOREACH2(room->first, other, room_next)
    {
        if (other->paused && span_equals(other->d.key_id, attempt->d.key_id))
            still += other->room_bytes;
    }
    return still >= part;
}

/* May it grow, as buffers do, by as much as it has, so that the largest answer there may be still
 * has room beside all others? */
static bool fits(const struct attempt *attempt)
{
    const struct config_options *o = options_of(attempt);
    return room_of(attempt)->bytes + attempt->room_bytes + o->worker_max_response <=
               o->worker_max_answer_memory &&
           !waits_for_its_own(attempt);
}

/* The oldest large answer that its client takes. */
static struct attempt *oldest(const struct answer_room *room)
{
    struct attempt *attempt = room->first;
    while (attempt && (attempt->paused || waits_for_its_own(attempt)))
        attempt = attempt->room_next;
    return attempt;
}

static struct attempt *first_that_fits(const struct answer_room *room)
{
    struct attempt *attempt = room->first;
    while (attempt && !(attempt->crowded && fits(attempt)))
        attempt = attempt->room_next;
    return attempt;
}

/* The newest that waits, of a key that has its part if there is one. */
static struct attempt *last_waiting(const struct answer_room *room)
{
    struct attempt *attempt, *found = NULL, *own = NULL;
    DL_FOREACH2(room->first, attempt, room_next)
    {
        found = attempt->crowded ? attempt : found;
        own = attempt->crowded && waits_for_its_own(attempt) ? attempt : own;
    }
    return own ? own : found;
}

void room_apply_pause(struct attempt *attempt)
{
    bool stop = attempt->paused || attempt->crowded;
    if (attempt->stopped == stop)
        return;
    attempt->stopped = stop;
    for (struct attempt_transfer *f = attempt->transfers; f; f = f->next) {
        if (!f->request)
            continue;
        if (stop)
            fetch_pause(f->request);
        else
            fetch_resume(f->request);
    }
}

static void set_crowded(struct attempt *attempt, bool crowded)
{
    struct answer_room *room = room_of(attempt);
    if (attempt->crowded == crowded)
        return;
    attempt->crowded = crowded;
    if (crowded)
        room->waiting++;
    else
        room->waiting--;
    room_apply_pause(attempt);
}

static void refuse(struct attempt *attempt)
{
    log_warn("answer_has_no_room",
             LHEX("request", attempt->head.id.bytes, sizeof attempt->head.id.bytes),
             LU64("bytes", attempt->room_bytes), LU64("all", room_of(attempt)->bytes));
    pipeline_refuse(attempt->pipeline);
}

static bool is_over(const struct attempt *attempt)
{
    return room_of(attempt)->bytes > options_of(attempt)->worker_max_answer_memory;
}

/* Reading on may bring bytes at once, and with them anything: each round looks anew. */
static void on_turn(void *ctx)
{
    struct attempt_env *env = ctx;
    struct answer_room *room = &env->room;
    for (struct attempt *last; (last = last_waiting(room)) && is_over(last);) {
        refuse(last);
        set_crowded(last, false);
        last->on_progress(last); /* to say so */
    }
    while (room->waiting) {
        struct attempt *next = first_that_fits(room);
        if (!next)
            next = oldest(room);
        if (!next || !next->crowded)
            return;
        set_crowded(next, false);
    }
}

static void look_again(struct attempt_env *env)
{
    if (env->room.waiting && !loop_timer_running(&env->room.timer))
        loop_timer_start(env->loop, &env->room.timer, 0, on_turn, env);
}

static void count(struct attempt *attempt, size_t bytes)
{
    struct answer_room *room = room_of(attempt);
    bool large = bytes > LARGE_BYTES, was_large = attempt->room_bytes > LARGE_BYTES;
    room->bytes = room->bytes - attempt->room_bytes + bytes;
    if (bytes < attempt->room_bytes)
        look_again(attempt->env);
    attempt->room_bytes = bytes;
    if (large && !was_large)
        DL_APPEND2(room->first, attempt, room_prev, room_next);
    else if (!large && was_large)
        DL_DELETE2(room->first, attempt, room_prev, room_next);
    if (!large)
        set_crowded(attempt, false);
}

/* Before they grow: each would by as much as it has. */
static void stop_others(struct answer_room *room)
{
    const struct attempt *first = oldest(room);
    struct attempt *attempt;
    DL_FOREACH2(room->first, attempt, room_next)
    {
        if (attempt != first && !attempt->paused && !attempt->work && !fits(attempt))
            set_crowded(attempt, true);
    }
}

bool room_update(struct attempt *attempt)
{
    struct answer_room *room = room_of(attempt);
    size_t before = attempt->room_bytes;
    count(attempt, pipeline_answer_bytes(attempt->pipeline));
    if (attempt->room_bytes > before && !fits(attempt))
        stop_others(room);
    bool alone = room->first == attempt && !attempt->room_next; /* has bounds of its own */
    if (!is_over(attempt) || attempt->room_bytes <= LARGE_BYTES || attempt->crowded || alone ||
        pipeline_state(attempt->pipeline) != PIPELINE_RUNNING)
        return true;
    if (room->waiting) { /* the newest of those gives way */
        look_again(attempt->env);
        return true;
    }
    refuse(attempt);
    return false;
}

void room_leave(struct attempt *attempt)
{
    count(attempt, 0);
}

void room_stuck(struct attempt *attempt)
{
    set_crowded(attempt, false); /* it is not read anyway */
    look_again(attempt->env);
}
