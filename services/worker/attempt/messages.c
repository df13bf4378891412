/* What a job says: to its broker, and to auth by way of the settlements. */
#include "services/worker/attempt/attempt_internal.h"

#include "common/base/log.h"

uint32_t job_ms_since(const struct job *job, uint64_t then_us)
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
    if (!job->peer)
        return OK;
    struct header h = {.id = job->head.id, .attempt = job->head.attempt, .seq = job->seq};
    h.flags = (uint8_t)(flags | (job->head.flags & HEADER_STREAM));
    h.deadline_ms = left_ms(job);
    return job->env->send(job->env->ctx, job->peer, h, type, message);
}

static struct span provider_name(const struct job *job)
{
    return span_str(job->setup->host->name);
}

/* No model was asked: a stored response was read, cancelled or deleted. What it used was booked
 * when it was made. */
static bool is_metered(const struct job *job)
{
    return job->d.model.len > 0;
}

bool job_makes_response(const struct job *job)
{
    return job->d.api == API_OPENAI_RESPONSES && is_metered(job);
}

/* Token counts as the bus has them: unknown is 0. */
static uint64_t known(const struct job *job, uint64_t tokens)
{
    return tokens == USAGE_UNKNOWN || !is_metered(job) ? 0 : tokens;
}

static uint64_t cost(const struct job *job, const struct call_result *r)
{
    return is_metered(job) ? r->cost_nano : 0;
}

void job_settle(struct job *job, const struct call_result *r, unsigned status, bool whole)
{
    if (!is_metered(job) || !job->peer)
        return;
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
                       .duration_ms = job_ms_since(job, job->started_us),
                       .upstream_id = r->upstream_id};
    if (job->sent) {
        m.input_tokens = known(job, r->usage.input);
        m.cached_tokens = known(job, r->usage.cached);
        m.cache_write_tokens = known(job, r->usage.cache_write);
        m.output_tokens = known(job, r->usage.output);
        m.reasoning_tokens = known(job, r->usage.reasoning);
        m.cost_nano = cost(job, r);
    }
    /* Counts of an answer that was cut short are not the last word, whoever reported them. */
    m.estimated = r->estimated || !whole;
    enum err err = settles_add(job->env->settles, &job->head.id, job->head.attempt, &m,
                               loop_now_ms(job->env->loop));
    if (err != OK)
        log_error("settle_lost", LHEX("request", job->head.id.bytes, sizeof job->head.id.bytes),
                  LSTR("why", err_name(err)));
}

/* Did the answer break off, so that usage may have been reported but not all of it? */
static bool is_cut(unsigned error_class)
{
    return error_class == ERROR_UPSTREAM_CLOSED || error_class == ERROR_UPSTREAM_RESET ||
           error_class == ERROR_UPSTREAM_TIMEOUT || error_class == ERROR_DEADLINE;
}

void job_send_fail(struct job *job, const struct fault *fault, const struct call_result *r)
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
                     .details = fault->details_json,
                     .provider = provider_name(job),
                     .upstream_model = r ? r->upstream_model : job->d.target_model};
    if (billed) {
        m.input_tokens = known(job, r->usage.input);
        m.output_tokens = known(job, r->usage.output);
        m.cost_nano = cost(job, r);
    }
    (void)say(job, MESSAGE_FAIL, HEADER_LAST, &m);
    if (job->head_sent || m.input_tokens || m.output_tokens)
        job_settle(job, r, error_status(fault->error_class, (enum api)job->d.api),
                   !is_cut(fault->error_class));
}

enum err job_send_head(struct job *job, const struct call_result *r)
{
    struct head m = {.status = r->status,
                     .content_type = r->content_type,
                     .headers = r->headers,
                     .provider = provider_name(job),
                     .upstream_model = r->upstream_model,
                     .upstream_id = job_makes_response(job) ? r->upstream_id : SPAN_NONE,
                     .endpoint = job->lane->index};
    job->head_sent = true;
    job->first_us = loop_now_us(job->env->loop);
    return say(job, MESSAGE_HEAD, 0, &m);
}

enum err job_send_data(struct job *job)
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

void job_send_end(struct job *job, const struct call_result *r)
{
    struct end m = {.input_tokens = known(job, r->usage.input),
                    .cached_tokens = known(job, r->usage.cached),
                    .output_tokens = known(job, r->usage.output),
                    .cost_nano = cost(job, r),
                    .estimated = r->estimated,
                    .first_ms =
                        job->first_us ? (uint32_t)((job->first_us - job->started_us) / 1000) : 0,
                    .upstream_ms = job->sent_us ? job_ms_since(job, job->sent_us) : 0};
    (void)say(job, MESSAGE_END, HEADER_LAST, &m);
}

void job_send_reply(struct job *job, const struct call_result *r, struct span body)
{
    job->first_us = loop_now_us(job->env->loop);
    struct reply m = {.status = r->status,
                      .content_type = r->content_type,
                      .headers = r->headers,
                      .provider = provider_name(job),
                      .upstream_model = r->upstream_model,
                      .input_tokens = known(job, r->usage.input),
                      .cached_tokens = known(job, r->usage.cached),
                      .output_tokens = known(job, r->usage.output),
                      .cost_nano = cost(job, r),
                      .estimated = r->estimated,
                      .upstream_ms = job->sent_us ? job_ms_since(job, job->sent_us) : 0,
                      .body = body,
                      .upstream_id = job_makes_response(job) ? r->upstream_id : SPAN_NONE,
                      .endpoint = job->lane->index};
    (void)say(job, MESSAGE_REPLY, HEADER_LAST, &m);
}

void job_refuse(struct job_env *env, struct bus_peer *to, const struct bus_message *m,
                unsigned error_class, const char *message)
{
    struct header h = {.id = m->header.id, .attempt = m->header.attempt};
    h.flags = (uint8_t)(HEADER_LAST | (m->header.flags & HEADER_STREAM));
    struct fail fail = {.error_class = error_class, .message = span_str(message)};
    (void)env->send(env->ctx, to, h, MESSAGE_FAIL, &fail);
}
