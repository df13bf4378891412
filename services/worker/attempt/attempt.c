#include "services/worker/attempt/attempt_internal.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "services/worker/attempt/room.h"
#include "services/worker/providers/mask.h"

/* ---- the end ---- */

static void on_linger_end(void *ctx)
{
    struct attempt *attempt = ctx;
    attempt_cancel_transfers(attempt, true);
    attempt_release(attempt);
}

void attempt_over(struct attempt *attempt, enum endpoint_verdict verdict, uint64_t rest_ms,
                  uint64_t linger_ms)
{
    struct attempt_env *env = attempt->env;
    loop_timer_stop(env->loop, &attempt->deadline);
    loop_timer_stop(env->loop, &attempt->poll);
    if (attempt->sent_us) {
        /* the entry's name: a client's text must not make series */
        const struct config_model *entry =
            config_find_model(attempt->setup->config, attempt->d.model);
        struct span labels[] = {span_str(entry ? entry->name : ""),
                                span_str(attempt->setup->provider_config->name)};
        metric_observe_us(env->metrics, METRIC_UPSTREAM_DURATION, labels,
                          loop_now_us(env->loop) - attempt->sent_us);
    }
    attempt_give_endpoint_back(attempt, verdict, rest_ms);
    attempt->state = ATTEMPT_OVER;
    if (attempt->peer)
        env->on_over(env->ctx, attempt);
    if (attempt->transfers_running)
        loop_timer_start(env->loop, &attempt->deadline, linger_ms, on_linger_end, attempt);
    else
        attempt_release(attempt);
}

static void end_well(struct attempt *attempt, const struct pipeline_result *r)
{
    attempt_settle(attempt, r, r->status, true);
    attempt_settle_seen(attempt, r);
    attempt_learn(attempt, r);
    if (attempt_makes_response(attempt))
        stored_responses_remember(
            &attempt->setup->responses, r->upstream_id, attempt->d.key_id,
            (struct stored_response){.endpoint = attempt->endpoint->index + 1},
            loop_now_ms(attempt->env->loop));
    attempt_over(attempt, ENDPOINT_WELL, 0, KEEP_MS);
}

/* A provider has something against the credential that is the client's: he is told so, as he would
 * be by the provider, and neither endpoint nor target is to blame. */
static void blame_credential(struct attempt *attempt, struct api_error *fault)
{
    const struct secret *secret = attempt->credential;
    fault->message = mask_secret(fault->message, secret, &attempt->arena);
    fault->details_json = mask_secret(fault->details_json, secret, &attempt->arena);
    switch (fault->error_class) {
    case ERROR_UPSTREAM_AUTH:
        fault->error_class = fault->upstream_status == 403 ? ERROR_FORBIDDEN : ERROR_BAD_KEY;
        fault->message = SPAN("The provider refused your own credential.");
        break;
    case ERROR_UPSTREAM_QUOTA:
        fault->error_class = ERROR_OUT_OF_BUDGET;
        fault->message = SPAN("Your own account at the provider is out of quota.");
        break;
    case ERROR_UPSTREAM_RATE_LIMITED:
        fault->error_class = ERROR_RATE_LIMITED;
        break;
    default:
        break;
    }
}

static void end_failed(struct attempt *attempt, const struct api_error *cause)
{
    struct api_error own = *cause, *fault = &own;
    if (attempt->credential)
        blame_credential(attempt, fault);
    if (attempt->carries)
        attempt->env->batching->failed(attempt, fault);
    attempt_send_fail(attempt, fault);
    attempt_cancel_transfers(attempt, false);
    attempt_over(attempt, endpoints_verdict(fault->error_class), fault->retry_after_ms,
                 DETACHED_MS);
}

static void pump(struct attempt *attempt);

/* ---- pipeline → network ---- */

static void poll_pipeline(struct attempt *attempt)
{
    if (attempt->work) {
        attempt->work->timer = true;
        return;
    }
    loop_works_on(attempt->env->loop, attempt->head.id.bytes);
    pipeline_on_timer(attempt->pipeline, attempt_ms_since(attempt, attempt->started_us));
    pump(attempt);
}

static void on_poll(void *ctx)
{
    poll_pipeline(ctx);
}

static void obey_pipeline(struct attempt *attempt)
{
    if (!attempt->pipeline)
        return;
    for (const struct transfer *x; (x = pipeline_next(attempt->pipeline));)
        attempt_launch(attempt, x, pump);
    uint64_t wait = pipeline_wait_ms(attempt->pipeline);
    if (wait)
        loop_timer_start(attempt->env->loop, &attempt->poll, wait, on_poll, attempt);
}

/* ---- pipeline → bus ---- */

/* A whole answer that is larger than its credit goes as a stream of known length does: the edge
 * holds no more of it than its client takes. */
static bool goes_in_pieces(const struct attempt *attempt)
{
    return pipeline_state(attempt->pipeline) == PIPELINE_DONE && attempt->peer &&
           attempt->d.credit &&
           (attempt->head_sent || pipeline_output(attempt->pipeline)->len > attempt->credit);
}

/* Sends what there is, as far as the credit goes. false: not all of it is out (yet). */
static bool emit_pieces(struct attempt *attempt, bool stream)
{
    enum err err = OK;
    if (stream && !pipeline_committed(attempt->pipeline))
        return pipeline_state(attempt->pipeline) != PIPELINE_RUNNING;
    if (!attempt->head_sent)
        err = attempt_send_head(attempt, pipeline_result(attempt->pipeline),
                                stream ? 0 : pipeline_output(attempt->pipeline)->len);
    if (err == OK)
        err = attempt_send_data(attempt);
    if (err != OK) { /* the edge is gone or does not read: nobody is left to tell */
        log_warn("stream_cut",
                 LHEX("request", attempt->head.id.bytes, sizeof attempt->head.id.bytes),
                 LSTR("why", err_name(err)));
        attempt_cancel(attempt);
        return false;
    }
    struct buf *out = pipeline_output(attempt->pipeline);
    if (out->len == 0 && out->cap > KEPT_OUTPUT_BYTES)
        buf_free(out);
    bool stuck = out->len > 0 && !attempt->paused;
    attempt->paused = out->len > 0;
    room_apply_pause(attempt);
    if (stuck)
        room_stuck(attempt);
    return pipeline_output(attempt->pipeline)->len ==
           0; /* asked again: resuming may have delivered at once */
}

static void emit(struct attempt *attempt)
{
    bool stream = pipeline_is_stream(attempt->pipeline);
    bool pieces = stream || goes_in_pieces(attempt);
    if (pieces && !emit_pieces(attempt, stream))
        return;
    switch (pipeline_state(attempt->pipeline)) {
    case PIPELINE_RUNNING:
        return;
    case PIPELINE_DONE: {
        const struct pipeline_result *r = pipeline_result(attempt->pipeline);
        if (attempt->carries)
            attempt->env->batching->answered(attempt);
        if (pieces)
            attempt_send_end(attempt, r);
        else
            attempt_send_reply(attempt, r, buf_span(pipeline_output(attempt->pipeline)));
        end_well(attempt, r);
        return;
    }
    case PIPELINE_FAILED:
        end_failed(attempt, pipeline_fault(attempt->pipeline));
        return;
    }
}

/* Lets the pipeline go on: starts what it asks for, sends what it has. May end the attempt.
 * Callbacks may come while it runs (a resumed stream delivers at once): they ask for another round.
 */
static void pump(struct attempt *attempt)
{
    if (!attempt->pipeline)
        return; /* waits with others, or works beside the loop */
    if (attempt->pumping) {
        attempt->pump_again = true;
        return;
    }
    attempt->pumping = true;
    do {
        attempt->pump_again = false;
        obey_pipeline(attempt);
        emit(attempt);
        if (attempt->state == ATTEMPT_RUNNING && !room_update(attempt))
            attempt->pump_again = true; /* to say so */
    } while (attempt->pump_again && attempt->state == ATTEMPT_RUNNING);
    attempt->pumping = false;
    if (attempt->state == ATTEMPT_OVER)
        attempt_release(attempt);
}

/* ---- life ---- */

/* A member of a batch leaves the others to it. */
static void stop_pipeline(struct attempt *attempt)
{
    if (attempt->batch)
        attempt->env->batching->leave(attempt);
    if (!attempt->pipeline)
        return;
    pipeline_cancel(attempt->pipeline);
    attempt_look_whether_sent(attempt);
}

static void be_late(struct attempt *attempt)
{
    if (attempt->work) {
        attempt->work->overdue = true;
        return;
    }
    struct api_error fault = {.error_class = ERROR_DEADLINE,
                              .message = SPAN("The request's deadline has passed.")};
    stop_pipeline(attempt);
    attempt_send_fail(attempt, &fault);
    attempt_cancel_transfers(attempt, false);
    obey_pipeline(attempt); /* a detached cancel, if the upstream needs one */
    attempt_over(attempt, ENDPOINT_UNKNOWN, 0, DETACHED_MS);
}

static void on_deadline(void *ctx)
{
    be_late(ctx);
}

/* text: room for the path. */
static enum err describe(struct attempt *attempt, char text[API_PATH_BYTES],
                         struct pipeline_spec *out, struct api_error *fault_out)
{
    const struct setup *s = attempt->setup;
    const struct dispatch *d = &attempt->d;
    struct span path; /* never one that a peer wrote */
    request_id_text(&attempt->head.id, attempt->id_text);
    enum err err = api_upstream_path(d->operation, d->api, d->response_id, d->query, text, &path);
    if (err != OK) {
        api_error_set(fault_out, ERROR_BAD_REQUEST, "The service cannot ask this of a provider.",
                      NULL);
        return err;
    }
    *out = (struct pipeline_spec){
        .api = (enum api)attempt->d.api,
        .method = span_str(api_route(d->operation)->method),
        .path = path,
        .headers = attempt->d.headers,
        .learned = &attempt->setup->learned,
        .tells_limits = attempt->setup->config->options.edge_upstream_headers,
        .body = attempt->d.body,
        .model = attempt->d.model,
        .target_model = attempt->d.target_model,
        .provider = s->provider,
        .provider_config = s->provider_config,
        .base_url = attempt->endpoint->base_url,
        .model_config = config_find_model(s->config, attempt->d.route.len ? attempt->d.route
                                                                          : attempt->d.model),
        .config = s->config,
        .table = attempt->env->table,
        .schemas = attempt->env->schemas,
        .output_cap = attempt->d.output_cap,
        .input_tokens = attempt->d.input_tokens,
        .output_most = attempt->d.output_tokens,
        .now_s = attempt->started_wall_ms / 1000,
        .request_id = span_str(attempt->id_text),
        .max_response = s->config->options.worker_max_response};
    return OK;
}

static void on_worked(struct attempt *attempt, struct attempt_work *done);

/* A member of a batch that goes alone has given its endpoint back. */
static bool has_endpoint(struct attempt *attempt)
{
    if (!attempt->endpoint)
        attempt->endpoint = endpoints_take(attempt->setup->endpoints, attempt->d.avoid,
                                           loop_now_ms(attempt->env->loop));
    return attempt->endpoint != NULL;
}

static void go_on(struct attempt *attempt, enum err err, struct api_error *fault)
{
    if (err == OK) {
        pump(attempt);
        return;
    }
    if (fault->error_class == ERROR_NONE)
        *fault =
            (struct api_error){.error_class = ERROR_INTERNAL, .message = SPAN("Out of memory.")};
    if (attempt->carries)
        attempt->env->batching->failed(attempt, fault);
    attempt_send_fail(attempt, fault);
    attempt_over(attempt, ENDPOINT_UNKNOWN, 0, 0);
}

void attempt_go(struct attempt *attempt)
{
    struct api_error fault = {0};
    struct pipeline_spec spec;
    char path[API_PATH_BYTES];
    enum err err = has_endpoint(attempt) ? describe(attempt, path, &spec, &fault) : ERR_NOMEM;
    attempt->on_worked = on_worked;
    if (err == OK && attempt_make_beside(attempt, &spec))
        return;
    if (err == OK)
        err = pipeline_create(&attempt->pipeline, &spec, &attempt->arena, &fault);
    go_on(attempt, err, &fault);
}

void attempt_begin(struct attempt *attempt)
{
    if (attempt->head.deadline_ms) {
        attempt->deadline_us = attempt->started_us + (uint64_t)attempt->head.deadline_ms * 1000;
        loop_timer_start(attempt->env->loop, &attempt->deadline, attempt->head.deadline_ms,
                         on_deadline, attempt);
    }
    const struct attempt_batching *batching = attempt->env->batching;
    if (!batching || attempt->credential || !batching->join(attempt))
        attempt_go(attempt);
}

/* What was used is settled as if the client had left; a detached cancel may go upstream. fault:
 * what the edge is told; NULL = nothing. */
static void end_early(struct attempt *attempt, const struct api_error *fault)
{
    stop_pipeline(attempt);
    attempt_settle_early(attempt, fault);
    attempt_cancel_transfers(attempt, false);
    obey_pipeline(attempt);
    attempt_over(attempt, ENDPOINT_UNKNOWN, 0, DETACHED_MS);
}

void attempt_cancel(struct attempt *attempt)
{
    if (attempt->state == ATTEMPT_OVER)
        return;
    if (attempt->work)
        attempt->work->cancelled = true;
    else
        end_early(attempt, NULL);
}

/* What waited for the helper comes first. */
static void on_worked(struct attempt *attempt, struct attempt_work *done)
{
    if (done->cancelled)
        attempt_cancel(attempt);
    else if (done->overdue)
        be_late(attempt);
    else if (!done->ended)
        go_on(attempt, done->err, &done->fault);
    else if (done->timer)
        poll_pipeline(attempt);
    else
        pump(attempt);
}

void attempt_abandon(struct attempt *attempt)
{
    struct api_error fault = {.error_class = ERROR_WORKER_LOST,
                              .message = SPAN("The service was stopped.")};
    if (attempt->state != ATTEMPT_OVER)
        end_early(attempt, &fault);
}

void attempt_credit(struct attempt *attempt, uint32_t bytes)
{
    if (attempt->state == ATTEMPT_OVER)
        return;
    attempt->credit = bytes > UINT32_MAX - attempt->credit ? UINT32_MAX : attempt->credit + bytes;
    pump(attempt);
}

const struct request_id *attempt_id(const struct attempt *attempt)
{
    return &attempt->head.id;
}

uint8_t attempt_number(const struct attempt *attempt)
{
    return attempt->head.attempt;
}

struct bus_peer *attempt_peer(const struct attempt *attempt)
{
    return attempt->peer;
}

struct attempt_links *attempt_links(struct attempt *attempt)
{
    return &attempt->links;
}

void attempt_env_free(struct attempt_env *env)
{
    helper_finish(env->helper);
    if (env->batching)
        env->batching->free(env);
    loop_timer_stop(env->loop, &env->room.timer);
    while (env->all) {
        struct attempt *attempt = env->all;
        attempt_cancel_transfers(attempt, true);
        if (attempt->state == ATTEMPT_RUNNING && attempt->endpoint)
            attempt_lose_endpoint(attempt);
        attempt->state = ATTEMPT_OVER;
        attempt_release(attempt);
    }
    while (env->idle) {
        struct attempt *attempt = env->idle;
        env->idle = attempt->next_all;
        arena_free(&attempt->arena);
        free(attempt);
    }
    env->idle_count = 0;
}
