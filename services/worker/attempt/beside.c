/* Large work of a pipeline, beside the loop. */
#include "services/worker/attempt/attempt_internal.h"

#include <stdlib.h>

#include "common/base/hash.h"
#include "services/worker/attempt/room.h"

static void make(struct helper_job *job)
{
    struct attempt_work *w = (struct attempt_work *)(void *)job;
    w->err = pipeline_create(&w->pipeline, &w->spec, &w->attempt->arena, &w->fault);
}

static void end(struct helper_job *job)
{
    struct attempt_work *w = (struct attempt_work *)(void *)job;
    pipeline_on_end(w->pipeline, w->ended);
}

/* The loop has its pipeline back. */
static void on_done(struct helper_job *job)
{
    struct attempt_work *w = (struct attempt_work *)(void *)job;
    loop_works_on(w->attempt->env->loop, w->attempt->head.id.bytes);
    w->attempt->work = NULL;
    w->attempt->pipeline = w->pipeline;
    w->attempt->on_worked(w->attempt, w);
    free(w);
}

/* A batch's members look at their carrier's pipeline at any time. */
static bool begin(struct attempt *attempt, uint64_t bytes, struct attempt_work **out)
{
    bool worth = bytes >= HELPER_WORTH_BYTES && attempt->env->helper && !attempt->carries;
    *out = worth ? calloc(1, sizeof **out) : NULL;
    if (!*out)
        return false;
    (*out)->attempt = attempt;
    (*out)->job.done = on_done;
    (*out)->job.owner = hash_bytes(HASH_NOTHING, attempt->d.key_id);
    return true;
}

static bool hand_over(struct attempt *attempt, struct attempt_work *w)
{
    attempt->work = w;
    room_stuck(attempt);
    w->pipeline = attempt->pipeline;
    attempt->pipeline = NULL;
    if (helper_do(attempt->env->helper, &w->job) == OK)
        return true;
    attempt->pipeline = w->pipeline;
    attempt->work = NULL;
    free(w);
    return false;
}

bool attempt_make_beside(struct attempt *attempt, const struct pipeline_spec *spec)
{
    struct attempt_work *w;
    if (!begin(attempt, spec->body.len, &w))
        return false;
    w->spec = *spec;
    w->spec.path = arena_copy(&attempt->arena, spec->path); /* the caller's is gone by then */
    if (!w->spec.path.data && spec->path.len) {
        free(w);
        return false;
    }
    w->job.run = make;
    return hand_over(attempt, w);
}

bool attempt_end_beside(struct attempt *attempt, const struct transfer *x)
{
    struct attempt_work *w;
    /* with another one under way its bytes would have to wait */
    if (attempt->transfers_running || attempt->pumping ||
        !begin(attempt, attempt->received_bytes + attempt->d.body.len, &w))
        return false;
    w->ended = x;
    w->job.run = end;
    return hand_over(attempt, w);
}
