#include "services/worker/job.h"

#include <stdlib.h>

#include "common/base/log.h"

enum {
    DEFAULT_TIMEOUT_MS = 60000,
    KEEP_MS = 1000, /* for a transport to end after its answer was complete, so that it can be used
                       again */
    DETACHED_MS = 10000, /* for a cancel to reach the upstream */
    DATA_BYTES = 64 * 1024,
    MAX_IDLE_JOBS = 1024
};

enum job_state { JOB_RUNNING, JOB_OVER };

/* One exchange on the network. */
struct flight {
    struct job *job;
    const struct exchange *x;
    struct upstream_request *request; /* NULL = this struct is free */
    struct flight *next;
};

struct job {
    struct job_env *env;
    struct job_links links;
    struct job *prev_all, *next_all;
    enum job_state state;
    struct bus_peer *peer;
    struct header head; /* the DISPATCH's */
    struct dispatch d;  /* its strings in the arena */
    struct arena arena;
    struct setup *setup;
    struct lane *lane;
    struct call *call;
    struct flight first, *flights;
    uint32_t flying;
    uint32_t credit, seq;
    uint64_t started_us, started_wall_ms, sent_us, first_us, deadline_us;
    struct loop_timer deadline, poll;
    bool head_sent, paused, sent;
    bool pumping, pump_again;
};

static void pump(struct job *job);
static void release(struct job *job);

/* ---- saying things ---- */

static uint32_t ms_since(const struct job *job, uint64_t then_us)
{
    uint64_t now = loop_now_us(job->env->loop);
    uint64_t ms = now > then_us ? (now - then_us) / 1000 : 0;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static uint32_t left_ms(const struct job *job)
{
    uint64_t now = loop_now_us(job->env->loop);
    if (!job->deadline_us)
        return 0;
    return job->deadline_us > now + 1000 ? (uint32_t)((job->deadline_us - now) / 1000) : 1;
}

static enum err say(struct job *job, enum message_type type, unsigned flags, const void *message)
{
    struct header h = {.id = job->head.id, .attempt = job->head.attempt, .seq = job->seq};
    h.flags = (uint8_t)(flags | (job->head.flags & HEADER_STREAM));
    h.deadline_ms = left_ms(job);
    return job->env->send(job->env->ctx, job->peer, h, type, message);
}

static struct span provider_name(const struct job *job)
{
    return span_str(job->setup->host->name);
}

/* Token counts as the bus has them: unknown is 0. */
static uint64_t known(uint64_t tokens)
{
    return tokens == USAGE_UNKNOWN ? 0 : tokens;
}

static void settle(struct job *job, const struct call_result *r, unsigned status)
{
    struct settle m = {.key_id = job->d.key_id,
                       .key_name = job->d.key_name,
                       .model = job->d.model,
                       .provider = provider_name(job),
                       .upstream_model = r->upstream_model,
                       .api = job->d.api,
                       .stream = (job->head.flags & HEADER_STREAM) != 0,
                       .status = status,
                       .started_ms = job->started_wall_ms,
                       .first_ms =
                           job->first_us ? (uint32_t)((job->first_us - job->started_us) / 1000) : 0,
                       .duration_ms = ms_since(job, job->started_us),
                       .upstream_id = r->upstream_id};
    if (job->sent) {
        m.input_tokens = known(r->usage.input);
        m.cached_tokens = known(r->usage.cached);
        m.cache_write_tokens = known(r->usage.cache_write);
        m.output_tokens = known(r->usage.output);
        m.reasoning_tokens = known(r->usage.reasoning);
        m.cost_nano = r->cost_nano;
        m.estimated = r->estimated;
    }
    enum err err = settles_add(job->env->settles, &job->head.id, job->head.attempt, &m,
                               loop_now_ms(job->env->loop));
    if (err != OK)
        log_error("settle_lost", LHEX("request", job->head.id.bytes, sizeof job->head.id.bytes),
                  LSTR("why", err_name(err)));
}

/* ---- the end ---- */

static void give_lane_back(struct job *job, enum lane_verdict verdict, uint64_t rest_ms)
{
    struct lane *lane = job->lane;
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

static void cancel_flights(struct job *job, bool detached_too)
{
    for (struct flight *f = job->flights; f; f = f->next) {
        if (!f->request || (f->x->detached && !detached_too))
            continue;
        upstream_cancel(&f->request);
        job->flying--;
    }
}

static void on_linger_end(void *ctx)
{
    struct job *job = ctx;
    cancel_flights(job, true);
    release(job);
}

/* The one change of state. What flies on is let finish within `linger_ms`. */
static void become_over(struct job *job, enum lane_verdict verdict, uint64_t rest_ms,
                        uint64_t linger_ms)
{
    struct job_env *env = job->env;
    loop_timer_stop(env->loop, &job->deadline);
    loop_timer_stop(env->loop, &job->poll);
    if (job->sent_us) {
        struct span labels[] = {job->d.model, provider_name(job)};
        metric_observe_us(env->metrics, METRIC_UPSTREAM_DURATION, labels,
                          loop_now_us(env->loop) - job->sent_us);
    }
    give_lane_back(job, verdict, rest_ms);
    job->state = JOB_OVER;
    env->on_over(env->ctx, job);
    if (job->flying)
        loop_timer_start(env->loop, &job->deadline, linger_ms, on_linger_end, job);
    else
        release(job);
}

static void end_well(struct job *job, const struct call_result *r)
{
    settle(job, r, r->status);
    become_over(job, LANE_WELL, 0, KEEP_MS);
}

static void send_fail(struct job *job, const struct fault *fault, const struct call_result *r)
{
    bool billed = r && job->sent && !r->estimated;
    struct fail m = {.error_class = fault->error_class,
                     .message = span_first(fault->message, 1024),
                     .code = fault->code,
                     .param = fault->param,
                     .upstream_status = fault->upstream_status,
                     .retry_after_ms = fault->retry_after_ms,
                     .endpoint = job->lane ? job->lane->index : 0,
                     .sent = job->sent,
                     .final = fault->final,
                     .provider = provider_name(job),
                     .upstream_model = r ? r->upstream_model : job->d.target_model};
    if (billed) {
        m.input_tokens = known(r->usage.input);
        m.output_tokens = known(r->usage.output);
        m.cost_nano = r->cost_nano;
    }
    (void)say(job, MESSAGE_FAIL, HEADER_LAST, &m);
    if (job->head_sent || m.input_tokens || m.output_tokens)
        settle(job, r, error_status(fault->error_class, (enum api)job->d.api));
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
    log_failure(job, fault);
    send_fail(job, fault, call_result(job->call));
    cancel_flights(job, false);
    become_over(job, endpoints_verdict(fault->error_class), fault->retry_after_ms, DETACHED_MS);
}

/* ---- network → call ---- */

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
    pump(f->job);
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
        release(job);
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
    pump(job);
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
    pump(job);
}

static const struct upstream_handler flight_handler = {on_head, on_bytes, on_end, on_failure};

/* ---- call → network ---- */

static void launch(struct job *job, const struct exchange *x)
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

static void on_poll(void *ctx)
{
    struct job *job = ctx;
    call_on_timer(job->call, ms_since(job, job->started_us));
    pump(job);
}

static void obey_call(struct job *job)
{
    for (const struct exchange *x; (x = call_next(job->call));)
        launch(job, x);
    uint64_t wait = call_wait_ms(job->call);
    if (wait)
        loop_timer_start(job->env->loop, &job->poll, wait, on_poll, job);
}

/* ---- call → bus ---- */

static void set_paused(struct job *job, bool paused)
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

static enum err send_head(struct job *job, const struct call_result *r)
{
    struct head m = {.status = r->status,
                     .content_type = r->content_type,
                     .headers = r->headers,
                     .provider = provider_name(job),
                     .upstream_model = r->upstream_model};
    job->head_sent = true;
    job->first_us = loop_now_us(job->env->loop);
    return say(job, MESSAGE_HEAD, 0, &m);
}

static enum err send_data(struct job *job)
{
    struct buf *out = call_output(job->call);
    size_t at = 0;
    enum err err = OK;
    while (err == OK && at < out->len && job->credit) {
        size_t n = out->len - at;
        if (n > job->credit)
            n = job->credit;
        if (n > DATA_BYTES)
            n = DATA_BYTES;
        struct data m = {.bytes = span_of(out->data + at, n)};
        err = say(job, MESSAGE_DATA, 0, &m);
        job->seq++;
        job->credit -= (uint32_t)n;
        at += n;
    }
    if (at == out->len)
        buf_clear(out);
    else if (at)
        buf_consume(out, at);
    return err;
}

static void send_end(struct job *job, const struct call_result *r)
{
    struct end m = {.input_tokens = known(r->usage.input),
                    .cached_tokens = known(r->usage.cached),
                    .output_tokens = known(r->usage.output),
                    .cost_nano = r->cost_nano,
                    .estimated = r->estimated,
                    .first_ms =
                        job->first_us ? (uint32_t)((job->first_us - job->started_us) / 1000) : 0,
                    .upstream_ms = job->sent_us ? ms_since(job, job->sent_us) : 0};
    (void)say(job, MESSAGE_END, HEADER_LAST, &m);
}

static void send_reply(struct job *job, const struct call_result *r)
{
    job->first_us = loop_now_us(job->env->loop);
    struct reply m = {.status = r->status,
                      .content_type = r->content_type,
                      .headers = r->headers,
                      .provider = provider_name(job),
                      .upstream_model = r->upstream_model,
                      .input_tokens = known(r->usage.input),
                      .cached_tokens = known(r->usage.cached),
                      .output_tokens = known(r->usage.output),
                      .cost_nano = r->cost_nano,
                      .estimated = r->estimated,
                      .upstream_ms = job->sent_us ? ms_since(job, job->sent_us) : 0,
                      .body = buf_span(call_output(job->call))};
    (void)say(job, MESSAGE_REPLY, HEADER_LAST, &m);
}

/* Sends what a stream has, as far as the credit goes. false: not all of it is out (yet). */
static bool emit_stream(struct job *job)
{
    enum err err = OK;
    if (!call_committed(job->call))
        return call_state(job->call) != CALL_RUNNING;
    if (!job->head_sent)
        err = send_head(job, call_result(job->call));
    if (err == OK)
        err = send_data(job);
    if (err != OK) { /* the broker is gone or does not read: nobody is left to tell */
        log_warn("stream_cut", LHEX("request", job->head.id.bytes, sizeof job->head.id.bytes),
                 LSTR("why", err_name(err)));
        job_cancel(job);
        return false;
    }
    set_paused(job, call_output(job->call)->len > 0);
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
        if (stream)
            send_end(job, r);
        else
            send_reply(job, r);
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
static void pump(struct job *job)
{
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
        release(job);
}

static void look_whether_sent(struct job *job)
{
    for (struct flight *f = job->flights; f && !job->sent; f = f->next)
        job->sent = f->request && upstream_sent(f->request);
}

/* ---- life ---- */

static void release(struct job *job)
{
    struct job_env *env = job->env;
    if (job->flying || job->pumping)
        return; /* the last of both comes here again */
    loop_timer_stop(env->loop, &job->deadline);
    loop_timer_stop(env->loop, &job->poll);
    call_destroy(&job->call);
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
    struct span *strings[] = {&job->d.model,    &job->d.target_model, &job->d.key_id,
                              &job->d.key_name, &job->d.avoid,        &job->d.method,
                              &job->d.path,     &job->d.headers,      &job->d.body};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        bytes += strings[i]->len;
    char *at = arena_alloc(&job->arena, bytes + 1);
    if (!at)
        return false;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        if (strings[i]->len)
            memcpy(at, strings[i]->data, strings[i]->len);
        strings[i]->data = at;
        at += strings[i]->len;
    }
    if (job->d.target_model.len == 0)
        job->d.target_model = job->d.model;
    return true;
}

static void on_deadline(void *ctx)
{
    struct job *job = ctx;
    struct fault fault = {.error_class = ERROR_DEADLINE,
                          .message = SPAN("The request's deadline has passed.")};
    call_cancel(job->call);
    look_whether_sent(job);
    send_fail(job, &fault, call_result(job->call));
    cancel_flights(job, false);
    obey_call(job); /* a detached cancel, if the upstream needs one */
    become_over(job, LANE_UNKNOWN, 0, DETACHED_MS);
}

static enum err make_call(struct job *job, struct fault *fault_out)
{
    struct setup *s = job->setup;
    char *id = arena_alloc(&job->arena, REQUEST_ID_TEXT);
    if (!id)
        return ERR_NOMEM;
    request_id_text(&job->head.id, id);
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
                             .model_config = config_find_model(s->config, job->d.model),
                             .table = job->env->table,
                             .output_cap = job->d.output_cap,
                             .input_tokens = job->d.input_tokens,
                             .now_s = job->started_wall_ms / 1000,
                             .request_id = span_str(id),
                             .max_response = s->config->options.worker_max_response};
    return call_create(&job->call, &spec, &job->arena, fault_out);
}

void job_begin(struct job *job)
{
    struct fault fault = {0};
    enum err err = make_call(job, &fault);
    if (err != OK) {
        if (fault.error_class == ERROR_NONE)
            fault =
                (struct fault){.error_class = ERROR_INTERNAL, .message = SPAN("Out of memory.")};
        send_fail(job, &fault, NULL);
        become_over(job, LANE_UNKNOWN, 0, 0);
        return;
    }
    if (job->head.deadline_ms) {
        job->deadline_us = job->started_us + (uint64_t)job->head.deadline_ms * 1000;
        loop_timer_start(job->env->loop, &job->deadline, job->head.deadline_ms, on_deadline, job);
    }
    pump(job);
}

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
    struct lane *lane =
        endpoints_take(setup->endpoints, m->body->dispatch.avoid, loop_now_ms(env->loop));
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
        release(job);
    job_refuse(env, from, m, ERROR_WORKER_REFUSED,
               lane ? "Out of memory." : "This worker has no api key.");
    return NULL;
}

void job_cancel(struct job *job)
{
    if (job->state == JOB_OVER)
        return;
    call_cancel(job->call);
    look_whether_sent(job);
    settle(job, call_result(job->call), error_info(ERROR_CLIENT_GONE)->openai_status);
    cancel_flights(job, false);
    obey_call(job);
    become_over(job, LANE_UNKNOWN, 0, DETACHED_MS);
}

void job_credit(struct job *job, uint32_t bytes)
{
    if (job->state == JOB_OVER)
        return;
    job->credit = bytes > UINT32_MAX - job->credit ? UINT32_MAX : job->credit + bytes;
    pump(job);
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

void job_refuse(struct job_env *env, struct bus_peer *to, const struct bus_message *m,
                unsigned error_class, const char *message)
{
    struct header h = {.id = m->header.id, .attempt = m->header.attempt};
    h.flags = (uint8_t)(HEADER_LAST | (m->header.flags & HEADER_STREAM));
    struct fail fail = {.error_class = error_class, .message = span_str(message)};
    (void)env->send(env->ctx, to, h, MESSAGE_FAIL, &fail);
}

void job_env_free(struct job_env *env)
{
    while (env->all) {
        struct job *job = env->all;
        cancel_flights(job, true);
        if (job->state == JOB_RUNNING && job->lane)
            give_lane_back(job, LANE_UNKNOWN, 0);
        job->state = JOB_OVER;
        release(job);
    }
    while (env->idle) {
        struct job *job = env->idle;
        env->idle = job->next_all;
        arena_free(&job->arena);
        free(job);
    }
    env->idle_count = 0;
}
