/* A job's exchanges on the network: launched as its call asks, reported to its call as they go. */
#include "services/worker/attempt/attempt_internal.h"

#include "common/base/log.h"

static struct flight *flight_of(struct job *job)
{
    for (struct flight *f = job->flights; f; f = f->next)
        if (!f->request)
            return f;
    struct flight *f = job->flights ? ARENA_NEW(&job->arena, struct flight) : &job->first;
    if (!f)
        return NULL;
    f->job = job;
    f->next = job->flights;
    job->flights = f;
    return f;
}

static void on_head(void *ctx, unsigned status, const struct upstream_headers *headers)
{
    struct flight *f = ctx;
    if (f->job->state == JOB_OVER)
        return;
    f->job->sent = true;
    call_on_head(f->job->call, f->x, status, headers);
}

static void on_bytes(void *ctx, struct span bytes)
{
    struct flight *f = ctx;
    if (f->job->state == JOB_OVER)
        return;
    call_on_bytes(f->job->call, f->x, bytes);
    job_pump(f->job);
}

/* Over, and the last one to land? */
static bool landed(struct flight *f)
{
    struct job *job = f->job;
    f->request = NULL;
    job->flying--;
    if (job->state != JOB_OVER)
        return false;
    if (job->flying == 0)
        job_release(job);
    return true;
}

static void on_end(void *ctx)
{
    struct flight *f = ctx;
    struct job *job = f->job;
    const struct exchange *x = f->x;
    if (landed(f))
        return;
    job->sent = true;
    call_on_end(job->call, x);
    job_pump(job);
}

static void on_failure(void *ctx, unsigned error_class, struct span message, bool sent)
{
    struct flight *f = ctx;
    struct job *job = f->job;
    const struct exchange *x = f->x;
    if (landed(f))
        return;
    job->sent = job->sent || sent;
    call_on_failure(job->call, x, error_class, message);
    job_pump(job);
}

static const struct upstream_handler flight_handler = {on_head, on_bytes, on_end, on_failure};

void job_launch(struct job *job, const struct exchange *x)
{
    const struct config_options *o = &job->setup->config->options;
    uint64_t timeout = job->d.timeout_ms ? job->d.timeout_ms : DEFAULT_TIMEOUT_MS;
    struct upstream_spec spec = {
        .origin = job->lane->origin,
        .method = x->method,
        .path = x->path,
        .url = x->url,
        .headers = x->headers,
        .body = x->body,
        .accept_stream = x->expects_stream,
        .first_byte_ms = x->detached ? DETACHED_MS : timeout,
        .idle_ms = o->worker_idle_timeout > timeout ? o->worker_idle_timeout : timeout,
        .handler = &flight_handler};
    struct flight *f = flight_of(job);
    enum err err = f ? OK : ERR_NOMEM;
    if (err == OK) {
        f->x = x;
        spec.ctx = f;
        err = upstream_start(job->env->upstream, &spec, &f->request);
    }
    if (err != OK) {
        log_warn("upstream_not_started", LSTR("why", err_name(err)));
        if (!x->detached)
            call_on_failure(job->call, x, ERROR_UPSTREAM_UNREACHABLE,
                            SPAN("The gateway could not make the upstream request."));
        return;
    }
    job->flying++;
    if (!job->sent_us)
        job->sent_us = loop_now_us(job->env->loop);
    if (job->paused)
        upstream_pause(f->request);
}

void job_cancel_flights(struct job *job, bool detached_too)
{
    for (struct flight *f = job->flights; f; f = f->next) {
        if (!f->request || (f->x->detached && !detached_too))
            continue;
        upstream_cancel(&f->request);
        job->flying--;
    }
}

void job_set_paused(struct job *job, bool paused)
{
    if (job->paused == paused)
        return;
    job->paused = paused;
    for (struct flight *f = job->flights; f; f = f->next) {
        if (!f->request)
            continue;
        if (paused)
            upstream_pause(f->request);
        else
            upstream_resume(f->request);
    }
}

void job_look_whether_sent(struct job *job)
{
    for (struct flight *f = job->flights; f && !job->sent; f = f->next)
        job->sent = f->request && upstream_sent(f->request);
}
