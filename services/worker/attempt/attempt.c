#include "services/worker/batch/batch.h"

#include "common/base/log.h"

/* ---- the end ---- */

static void give_lane_back(struct job *job, enum lane_verdict verdict, uint64_t rest_ms)
{
    struct lane *lane = job->lane;
    if (!lane)
        return;
    enum breaker_state before = lane->breaker.state;
    endpoints_give_back(job->setup->endpoints, lane, verdict, rest_ms, loop_now_ms(job->env->loop));
    job->lane = NULL;
    if (lane->breaker.state == BREAKER_OPEN && before != BREAKER_OPEN && verdict == LANE_FAILED)
        log_warn("breaker_open", LSTR("provider", job->setup->host->name),
                 LU64("endpoint", lane->endpoint), LU64("key", lane->key),
                 LU64("for_ms", lane->breaker.open_ms));
    else if (before != BREAKER_CLOSED && lane->breaker.state == BREAKER_CLOSED)
        log_info("breaker_closed", LSTR("provider", job->setup->host->name),
                 LU64("endpoint", lane->endpoint), LU64("key", lane->key));
}

void job_lose_lane(struct job *job)
{
    give_lane_back(job, LANE_UNKNOWN, 0);
}

static void on_linger_end(void *ctx)
{
    struct job *job = ctx;
    job_cancel_flights(job, true);
    job_release(job);
}

void job_over(struct job *job, enum lane_verdict verdict, uint64_t rest_ms, uint64_t linger_ms)
{
    struct job_env *env = job->env;
    loop_timer_stop(env->loop, &job->deadline);
    loop_timer_stop(env->loop, &job->poll);
    if (job->sent_us) {
        struct span labels[] = {job->d.model, span_str(job->setup->host->name)};
        metric_observe_us(env->metrics, METRIC_UPSTREAM_DURATION, labels,
                          loop_now_us(env->loop) - job->sent_us);
    }
    give_lane_back(job, verdict, rest_ms);
    job->state = JOB_OVER;
    if (job->peer)
        env->on_over(env->ctx, job);
    if (job->flying)
        loop_timer_start(env->loop, &job->deadline, linger_ms, on_linger_end, job);
    else
        job_release(job);
}

static void end_well(struct job *job, const struct call_result *r)
{
    job_settle(job, r, r->status, true);
    if (job_makes_response(job))
        affinity_remember(&job->setup->affinity, r->upstream_id, job->d.key_id, job->lane->index);
    job_over(job, LANE_WELL, 0, KEEP_MS);
}

static void log_failure(const struct job *job, const struct fault *fault)
{
    bool ours = fault->error_class == ERROR_UPSTREAM_AUTH ||
                fault->error_class == ERROR_UPSTREAM_QUOTA ||
                fault->error_class == ERROR_UPSTREAM_TLS;
    if (!ours && !log_enabled(LEVEL_DEBUG))
        return;
    log_write(ours ? LEVEL_WARN : LEVEL_DEBUG, "attempt_failed",
              LHEX("request", job->head.id.bytes, sizeof job->head.id.bytes),
              LU64("attempt", job->head.attempt),
              LSTR("class", error_info(fault->error_class)->name),
              LU64("status", fault->upstream_status), LU64("lane", job->lane->index),
              LU64("sent", job->sent), LOG_END_);
}

static void end_failed(struct job *job, const struct fault *fault)
{
    if (job->carries)
        job_batch_failed(job, fault);
    log_failure(job, fault);
    job_send_fail(job, fault, call_result(job->call));
    job_cancel_flights(job, false);
    job_over(job, endpoints_verdict(fault->error_class), fault->retry_after_ms, DETACHED_MS);
}

/* ---- call → network ---- */

static void on_poll(void *ctx)
{
    struct job *job = ctx;
    call_on_timer(job->call, job_ms_since(job, job->started_us));
    job_pump(job);
}

static void obey_call(struct job *job)
{
    if (!job->call)
        return;
    for (const struct exchange *x; (x = call_next(job->call));)
        job_launch(job, x);
    uint64_t wait = call_wait_ms(job->call);
    if (wait)
        loop_timer_start(job->env->loop, &job->poll, wait, on_poll, job);
}

/* ---- call → bus ---- */

/* Sends what a stream has, as far as the credit goes. false: not all of it is out (yet). */
static bool emit_stream(struct job *job)
{
    enum err err = OK;
    if (!call_committed(job->call))
        return call_state(job->call) != CALL_RUNNING;
    if (!job->head_sent)
        err = job_send_head(job, call_result(job->call));
    if (err == OK)
        err = job_send_data(job);
    if (err != OK) { /* the broker is gone or does not read: nobody is left to tell */
        log_warn("stream_cut", LHEX("request", job->head.id.bytes, sizeof job->head.id.bytes),
                 LSTR("why", err_name(err)));
        job_cancel(job);
        return false;
    }
    job_set_paused(job, call_output(job->call)->len > 0);
    return call_output(job->call)->len == 0; /* asked again: resuming may have delivered at once */
}

static void emit(struct job *job)
{
    bool stream = call_is_stream(job->call);
    if (stream && !emit_stream(job))
        return;
    switch (call_state(job->call)) {
    case CALL_RUNNING:
        return;
    case CALL_DONE: {
        const struct call_result *r = call_result(job->call);
        if (job->carries)
            job_batch_answered(job);
        if (stream)
            job_send_end(job, r);
        else
            job_send_reply(job, r, buf_span(call_output(job->call)));
        end_well(job, r);
        return;
    }
    case CALL_FAILED:
        end_failed(job, call_fault(job->call));
        return;
    }
}

/* Callbacks may come while it runs (a resumed stream delivers at once): they ask for another round.
 */
void job_pump(struct job *job)
{
    if (!job->call)
        return; /* waits with others */
    if (job->pumping) {
        job->pump_again = true;
        return;
    }
    job->pumping = true;
    do {
        job->pump_again = false;
        obey_call(job);
        emit(job);
    } while (job->pump_again && job->state == JOB_RUNNING);
    job->pumping = false;
    if (job->state == JOB_OVER)
        job_release(job);
}

/* ---- life ---- */

/* A member of a batch leaves the others to it. */
static void stop_call(struct job *job)
{
    job_batch_leave(job);
    if (!job->call)
        return;
    call_cancel(job->call);
    job_look_whether_sent(job);
}

static void on_deadline(void *ctx)
{
    struct job *job = ctx;
    struct fault fault = {.error_class = ERROR_DEADLINE,
                          .message = SPAN("The request's deadline has passed.")};
    stop_call(job);
    job_send_fail(job, &fault, job->call ? call_result(job->call) : NULL);
    job_cancel_flights(job, false);
    obey_call(job); /* a detached cancel, if the upstream needs one */
    job_over(job, LANE_UNKNOWN, 0, DETACHED_MS);
}

static enum err make_call(struct job *job, struct fault *fault_out)
{
    struct setup *s = job->setup;
    request_id_text(&job->head.id, job->id_text);
    struct call_spec spec = {.api = (enum api)job->d.api,
                             .method = job->d.method,
                             .path = job->d.path,
                             .headers = job->d.headers,
                             .body = job->d.body,
                             .model = job->d.model,
                             .target_model = job->d.target_model,
                             .provider = s->provider,
                             .host = s->host,
                             .base_url = job->lane->base_url,
                             .model_config = config_find_model(
                                 s->config, job->d.route.len ? job->d.route : job->d.model),
                             .table = job->env->table,
                             .schemas = job->env->schemas,
                             .output_cap = job->d.output_cap,
                             .input_tokens = job->d.input_tokens,
                             .now_s = job->started_wall_ms / 1000,
                             .request_id = span_str(job->id_text),
                             .max_response = s->config->options.worker_max_response};
    return call_create(&job->call, &spec, &job->arena, fault_out);
}

/* A member of a batch that goes alone has given its lane back. */
static bool has_lane(struct job *job)
{
    if (!job->lane)
        job->lane =
            endpoints_take(job->setup->endpoints, job->d.avoid, loop_now_ms(job->env->loop));
    return job->lane != NULL;
}

void job_go(struct job *job)
{
    struct fault fault = {0};
    enum err err = has_lane(job) ? make_call(job, &fault) : ERR_NOMEM;
    if (err != OK) {
        if (fault.error_class == ERROR_NONE)
            fault =
                (struct fault){.error_class = ERROR_INTERNAL, .message = SPAN("Out of memory.")};
        if (job->carries)
            job_batch_failed(job, &fault);
        job_send_fail(job, &fault, NULL);
        job_over(job, LANE_UNKNOWN, 0, 0);
        return;
    }
    job_pump(job);
}

void job_begin(struct job *job)
{
    if (job->head.deadline_ms) {
        job->deadline_us = job->started_us + (uint64_t)job->head.deadline_ms * 1000;
        loop_timer_start(job->env->loop, &job->deadline, job->head.deadline_ms, on_deadline, job);
    }
    if (!job_batch_join(job))
        job_go(job);
}

void job_cancel(struct job *job)
{
    static const struct call_result nothing = {0};
    if (job->state == JOB_OVER)
        return;
    stop_call(job);
    job_settle(job, job->call ? call_result(job->call) : &nothing,
               error_info(ERROR_CLIENT_GONE)->openai_status, false);
    job_cancel_flights(job, false);
    obey_call(job);
    job_over(job, LANE_UNKNOWN, 0, DETACHED_MS);
}

void job_credit(struct job *job, uint32_t bytes)
{
    if (job->state == JOB_OVER)
        return;
    job->credit = bytes > UINT32_MAX - job->credit ? UINT32_MAX : job->credit + bytes;
    job_pump(job);
}

const struct request_id *job_id(const struct job *job)
{
    return &job->head.id;
}

uint8_t job_attempt(const struct job *job)
{
    return job->head.attempt;
}

struct bus_peer *job_peer(const struct job *job)
{
    return job->peer;
}

struct job_links *job_links(struct job *job)
{
    return &job->links;
}
