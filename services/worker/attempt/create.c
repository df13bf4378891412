/* Jobs as memory: made from a DISPATCH on a lane of their choice, kept for reuse, freed. */
#include "services/worker/batch/batch.h"

#include <stdlib.h>

void job_release(struct job *job)
{
    struct job_env *env = job->env;
    if (job->flying || job->pumping)
        return; /* the last of both comes here again */
    loop_timer_stop(env->loop, &job->deadline);
    loop_timer_stop(env->loop, &job->poll);
    call_destroy(&job->call);
    free(job->texts);
    job->texts = NULL;
    setup_unref(&job->setup);
    if (job->prev_all)
        job->prev_all->next_all = job->next_all;
    else
        env->all = job->next_all;
    if (job->next_all)
        job->next_all->prev_all = job->prev_all;
    if (env->idle_count >= MAX_IDLE_JOBS) {
        arena_free(&job->arena);
        free(job);
        return;
    }
    arena_reset(&job->arena);
    job->next_all = env->idle;
    env->idle = job;
    env->idle_count++;
}

static struct job *take_job(struct job_env *env)
{
    struct job *job = env->idle;
    struct arena arena;
    if (job) {
        env->idle = job->next_all;
        env->idle_count--;
        arena = job->arena;
    } else {
        job = malloc(sizeof *job);
        if (!job)
            return NULL;
        arena_init(&arena, 0);
    }
    *job = (struct job){.env = env, .arena = arena, .next_all = env->all};
    if (env->all)
        env->all->prev_all = job;
    env->all = job;
    return job;
}

/* The message ends with its handler: everything the call looks at is copied. */
static bool copy_dispatch(struct job *job, const struct dispatch *d)
{
    job->d = *d;
    struct span *strings[] = {&job->d.model, &job->d.target_model, &job->d.key_id, &job->d.key_name,
                              &job->d.avoid, &job->d.method,       &job->d.path,   &job->d.headers,
                              &job->d.body,  &job->d.response_id,  &job->d.route};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        bytes += strings[i]->len;
    /* not from the arena: its chunks are larger than most requests, and there may be thousands of
     * these */
    char *at = job->texts = malloc(bytes + REQUEST_ID_TEXT);
    if (!at)
        return false;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        if (strings[i]->len)
            memcpy(at, strings[i]->data, strings[i]->len);
        strings[i]->data = at;
        at += strings[i]->len;
    }
    job->id_text = at;
    if (job->d.target_model.len == 0)
        job->d.target_model = job->d.model;
    return true;
}

/* ---- lanes ---- */

/* "0,3" */
static bool names_lane(struct span list, unsigned index)
{
    uint64_t n;
    while (list.len)
        if (span_to_u64(span_cut(&list, ','), &n) && n == index)
            return true;
    return false;
}

/* A stored response is only known behind the endpoint and key that made it: as the broker
 * remembers, else this worker. */
static struct lane *choose_lane(struct setup *s, const struct dispatch *d, uint64_t now_ms)
{
    unsigned index = d->place ? d->place - 1 : UINT32_MAX;
    if (index == UINT32_MAX &&
        affinity_find(&s->affinity, d->response_id, d->key_id, &index) == AFFINITY_OWN &&
        names_lane(d->avoid, index))
        index = UINT32_MAX; /* it said no already */
    if (index >= endpoints_count(s->endpoints))
        return endpoints_take(s->endpoints, d->avoid, now_ms);
    struct lane *lane = endpoints_lane(s->endpoints, index);
    endpoints_take_lane(s->endpoints, lane, now_ms);
    return lane;
}

/* Made by this client key, as far as is known here? */
static bool may_have(const struct setup *s, const struct dispatch *d)
{
    unsigned index;
    return affinity_find(&s->affinity, d->response_id, d->key_id, &index) != AFFINITY_FOREIGN;
}

/* ---- making ---- */

static bool is_ready(struct job *job, struct job_env *env, struct setup *setup, struct lane *lane)
{
    if (!job)
        return false;
    job->setup = setup_ref(setup);
    job->lane = lane;
    job->started_us = loop_now_us(env->loop);
    job->started_wall_ms = clock_wall_ms(loop_clock(env->loop));
    job->state = JOB_RUNNING;
    return true;
}

struct job *job_create(struct job_env *env, struct setup *setup, struct bus_peer *from,
                       const struct bus_message *m)
{
    if (!may_have(setup, &m->body->dispatch)) {
        job_refuse(env, from, m, ERROR_NOT_FOUND, "There is no response with this id.");
        return NULL;
    }
    struct lane *lane = choose_lane(setup, &m->body->dispatch, loop_now_ms(env->loop));
    struct job *job = lane ? take_job(env) : NULL;
    if (is_ready(job, env, setup, lane) && copy_dispatch(job, &m->body->dispatch)) {
        job->head = m->header;
        job->peer = from;
        job->credit = m->body->dispatch.credit;
        return job;
    }
    if (lane)
        endpoints_give_back(setup->endpoints, lane, LANE_UNKNOWN, 0, loop_now_ms(env->loop));
    if (job)
        job_release(job);
    job_refuse(env, from, m, ERROR_WORKER_REFUSED,
               lane ? "Out of memory." : "This worker has no api key.");
    return NULL;
}

struct job *job_create_carrier(const struct job *like, struct span body, struct job_batch *batch)
{
    struct job_env *env = like->env;
    struct dispatch d = like->d;
    struct lane *lane = endpoints_take(like->setup->endpoints, d.avoid, loop_now_ms(env->loop));
    struct job *job = lane ? take_job(env) : NULL;
    d.body = body;
    d.input_tokens = 0; /* one caller's: the whole body's is estimated anew */
    if (is_ready(job, env, like->setup, lane) && copy_dispatch(job, &d)) {
        job->head = (struct header){.id = like->head.id, .attempt = like->head.attempt};
        job->carries = batch;
        return job;
    }
    if (lane)
        endpoints_give_back(like->setup->endpoints, lane, LANE_UNKNOWN, 0, loop_now_ms(env->loop));
    if (job)
        job_release(job);
    return NULL;
}

void job_env_free(struct job_env *env)
{
    job_batches_free(env);
    while (env->all) {
        struct job *job = env->all;
        job_cancel_flights(job, true);
        if (job->state == JOB_RUNNING && job->lane)
            job_lose_lane(job);
        job->state = JOB_OVER;
        job_release(job);
    }
    while (env->idle) {
        struct job *job = env->idle;
        env->idle = job->next_all;
        arena_free(&job->arena);
        free(job);
    }
    env->idle_count = 0;
}
