/* The messages of an attempt: to its edge, and to auth by way of the settlements. */
#include "services/worker/attempt/attempt_internal.h"

#include "common/base/log.h"

uint32_t attempt_ms_since(const struct attempt *attempt, uint64_t then_us)
{
    uint64_t now = loop_now_us(attempt->env->loop);
    uint64_t ms = now > then_us ? (now - then_us) / 1000 : 0;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static uint32_t left_ms(const struct attempt *attempt)
{
    uint64_t now = loop_now_us(attempt->env->loop);
    if (!attempt->deadline_us)
        return 0;
    return attempt->deadline_us > now + 1000 ? (uint32_t)((attempt->deadline_us - now) / 1000) : 1;
}

static enum err send_to_edge(struct attempt *attempt, enum message_type type, unsigned flags,
                             const void *message)
{
    if (!attempt->peer)
        return OK;
    struct header h = {
        .id = attempt->head.id, .attempt = attempt->head.attempt, .seq = attempt->seq};
    h.flags = (uint8_t)(flags | (attempt->head.flags & HEADER_STREAM));
    h.deadline_ms = left_ms(attempt);
    return attempt->env->send(attempt->env->ctx, attempt->peer, h, type, message);
}

static struct span provider_name(const struct attempt *attempt)
{
    return span_str(attempt->setup->provider_config->name);
}

/* No model was asked: a stored response was read, cancelled or deleted. What it used was booked
 * when it was made. */
static bool is_metered(const struct attempt *attempt)
{
    return attempt->d.model.len > 0;
}

bool attempt_makes_response(const struct attempt *attempt)
{
    return api_info(attempt->d.api)->stored && is_metered(attempt);
}

/* Token counts as the bus has them: unknown is 0. */
static uint64_t given(uint64_t tokens)
{
    return tokens == USAGE_UNKNOWN ? 0 : tokens;
}

static uint64_t known(const struct attempt *attempt, uint64_t tokens)
{
    return is_metered(attempt) ? given(tokens) : 0;
}

static uint64_t cost(const struct attempt *attempt, const struct pipeline_result *r)
{
    return is_metered(attempt) ? r->cost_nano : 0;
}

static bool is_unpriced(const struct attempt *attempt, const struct pipeline_result *r)
{
    return is_metered(attempt) && r->cost_source == COST_UNPRICED;
}

static uint64_t tool_calls(const struct usage *u)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < TARIFF_FEES; i++)
        sum += u->calls[i];
    return sum;
}

static void put_usage(struct settle *m, const struct pipeline_result *r)
{
    m->input_tokens = given(r->usage.input);
    m->cached_tokens = given(r->usage.cached);
    m->cache_write_tokens = given(r->usage.cache_write);
    m->output_tokens = given(r->usage.output);
    m->reasoning_tokens = given(r->usage.reasoning);
    m->cost_nano = r->cost_nano;
    m->cache_write_1h_tokens = given(r->usage.cache_write_1h);
    m->tool_calls = tool_calls(&r->usage);
    m->service_tier = span_str(service_tier_word(r->usage.tier));
    m->cost_source = r->cost_source;
}

static void add_settle(struct attempt *attempt, const struct settle *m)
{
    enum err err = settles_add(attempt->env->settles, &attempt->head.id, attempt->head.attempt, m,
                               loop_now_ms(attempt->env->loop));
    if (err != OK)
        log_error("settle_lost",
                  LHEX("request", attempt->head.id.bytes, sizeof attempt->head.id.bytes),
                  LSTR("why", err_name(err)));
}

void attempt_settle(struct attempt *attempt, const struct pipeline_result *r, unsigned status,
                    bool whole)
{
    if (!is_metered(attempt) || !attempt->peer)
        return;
    struct settle m = {
        .key_id = attempt->d.key_id,
        .key_name = attempt->d.key_name,
        .model = attempt->d.route.len ? attempt->d.route : attempt->d.model,
        .provider = provider_name(attempt),
        .upstream_model = r->upstream_model,
        .api = attempt->d.api,
        .stream = (attempt->head.flags & HEADER_STREAM) != 0,
        .status = status,
        .started_ms = attempt->started_wall_ms,
        .first_ms =
            attempt->first_us ? (uint32_t)((attempt->first_us - attempt->started_us) / 1000) : 0,
        .duration_ms = attempt_ms_since(attempt, attempt->started_us),
        .upstream_id = r->upstream_id,
        .end_user = attempt->d.end_user,
        .tags = attempt->d.tags};
    if (attempt->sent)
        put_usage(&m, r);
    /* Counts of an answer that was cut short are not the last word, whoever reported them. */
    m.estimated = r->estimated || !whole;
    add_settle(attempt, &m);
}

void attempt_settle_seen(struct attempt *attempt, const struct pipeline_result *r)
{
    bool told = !r->estimated && given(r->usage.input) + given(r->usage.output) > 0;
    if (is_metered(attempt) || !attempt->peer || !api_info(attempt->d.api)->stored || !told ||
        !attempt->d.response_id.len)
        return;
    struct settle m = {.key_id = attempt->d.key_id,
                       .key_name = attempt->d.key_name,
                       .provider = provider_name(attempt),
                       .upstream_model = r->upstream_model,
                       .api = attempt->d.api,
                       .status = r->status,
                       .started_ms = attempt->started_wall_ms,
                       .upstream_id = attempt->d.response_id,
                       .of_response = true};
    put_usage(&m, r);
    add_settle(attempt, &m);
}

/* Did the answer break off, so that usage may have been reported but not all of it? */
static bool is_cut(unsigned error_class)
{
    return error_class == ERROR_UPSTREAM_CLOSED || error_class == ERROR_UPSTREAM_RESET ||
           error_class == ERROR_UPSTREAM_TIMEOUT || error_class == ERROR_DEADLINE;
}

/* An upstream that has the request works on it, and is paid, unless it has said no. Counting is
 * free. */
static bool may_work(const struct attempt *attempt)
{
    return attempt->sent && attempt->d.api != API_ANTHROPIC_COUNT_TOKENS;
}

/* What it has used so far; *own is for one without a pipeline: a batch carries it, and what its
 * part costs is not known yet. `cut`: it breaks off while the upstream works on it. */
static const struct pipeline_result *used(const struct attempt *attempt, bool cut,
                                          struct pipeline_result *own)
{
    const struct speeds *speeds = attempt->env->speeds;
    uint64_t ms = attempt->sent_us ? attempt_ms_since(attempt, attempt->sent_us) : 0;
    *own = (struct pipeline_result){.upstream_model = attempt->d.target_model, .estimated = cut};
    own->usage.input = cut ? attempt->d.input_tokens : 0;
    if (!attempt->pipeline)
        return own;
    if (!cut)
        return pipeline_result(attempt->pipeline);
    return pipeline_result_cut(attempt->pipeline,
                               speeds ? speeds_tokens(speeds, attempt->d.target_model, ms) : 0);
}

void attempt_learn(const struct attempt *attempt, const struct pipeline_result *r)
{
    if (attempt->env->speeds && !r->estimated && is_metered(attempt) && attempt->sent_us)
        speeds_learn(attempt->env->speeds, attempt->d.target_model, r->usage.output,
                     attempt_ms_since(attempt, attempt->sent_us));
}

static void send_fault(struct attempt *attempt, const struct api_error *fault,
                       const struct pipeline_result *r, bool settles)
{
    struct fail m = {.endpoint = attempt->endpoint ? attempt->endpoint->index : 0,
                     .sent = attempt->sent,
                     .provider = provider_name(attempt),
                     .upstream_model = r->upstream_model,
                     .provider_request_id = r->provider_request_id,
                     .settles = settles && is_metered(attempt),
                     .reason = attempt->reason};
    api_error_to_fail(fault, &m);
    if (attempt->sent && !r->estimated) {
        m.input_tokens = known(attempt, r->usage.input);
        m.output_tokens = known(attempt, r->usage.output);
        m.cost_nano = cost(attempt, r);
    }
    (void)send_to_edge(attempt, MESSAGE_FAIL, HEADER_LAST, &m);
}

/* Something was billed that FAIL has told of. */
static bool is_billed(const struct attempt *attempt, const struct pipeline_result *r)
{
    return attempt->sent && !r->estimated &&
           (known(attempt, r->usage.input) || known(attempt, r->usage.output));
}

/* A line for each kind of failure, now and then. */
static void log_failure(struct attempt *attempt, const struct api_error *fault)
{
    enum { MESSAGE_BYTES = 300 };
    struct failure_log *log = &attempt->env->failures;
    const struct endpoint *at = attempt->endpoint; /* NULL: it has none yet */
    uint64_t unsaid = 0;
    bool tell =
        failure_log_admit(log, fault->error_class, at ? at->index : UINT32_MAX,
                          attempt->d.target_model, loop_now_ms(attempt->env->loop), &unsaid);
    if (!tell && !log_enabled(LEVEL_DEBUG))
        return;
    log_write(tell ? LEVEL_WARN : LEVEL_DEBUG, "attempt_failed",
              LHEX("request", attempt->head.id.bytes, sizeof attempt->head.id.bytes),
              LU64("attempt", attempt->head.attempt),
              LSTR("class", error_info(fault->error_class)->name),
              LSTR("reason", reason_word(attempt->reason)), LU64("status", fault->upstream_status),
              LSPAN("model", attempt->d.target_model), LU64("endpoint", at ? at->index : 0),
              LSPAN("url", at ? at->base_url : SPAN_NONE), LU64("key", at ? at->key_index : 0),
              LU64("sent", attempt->sent), LU64("retry_after_ms", fault->retry_after_ms),
              LSPAN("message", span_first(fault->message, MESSAGE_BYTES)),
              LSPAN("detail", attempt->detail), LU64("more", unsaid), LOG_END_);
}

void attempt_send_fail(struct attempt *attempt, const struct api_error *fault)
{
    struct pipeline_result own;
    if (attempt->peer) /* what carries others leaves that to them */
        log_failure(attempt, fault);
    bool cut = may_work(attempt) && fault->upstream_status == 0;
    const struct pipeline_result *r = used(attempt, cut, &own);
    bool settles = cut || attempt->head_sent || is_billed(attempt, r);
    send_fault(attempt, fault, r, settles);
    if (settles)
        attempt_settle(attempt, r, error_status(fault->error_class, (enum api)attempt->d.api),
                       !is_cut(fault->error_class));
}

void attempt_settle_early(struct attempt *attempt, const struct api_error *fault)
{
    struct pipeline_result own;
    /* all is known of an answer that has come, though not all of it was taken */
    bool whole = attempt->pipeline && pipeline_state(attempt->pipeline) == PIPELINE_DONE;
    const struct pipeline_result *r = used(attempt, may_work(attempt) && !whole, &own);
    if (fault)
        send_fault(attempt, fault, r, true);
    attempt_settle(attempt, r, error_info(ERROR_CLIENT_GONE)->openai_status, whole);
}

enum err attempt_send_head(struct attempt *attempt, const struct pipeline_result *r,
                           uint64_t whole_bytes)
{
    struct head m = {.status = r->status,
                     .content_type = r->content_type,
                     .headers = r->headers,
                     .provider = provider_name(attempt),
                     .upstream_model = r->upstream_model,
                     .upstream_id = attempt_makes_response(attempt) ? r->upstream_id : SPAN_NONE,
                     .endpoint = attempt->endpoint->index,
                     .whole_bytes = whole_bytes};
    if (whole_bytes) {
        m.cost_nano = cost(attempt, r);
        m.unpriced = is_unpriced(attempt, r);
        m.upstream_ms = attempt->sent_us ? attempt_ms_since(attempt, attempt->sent_us) : 0;
    }
    attempt->head_sent = true;
    attempt->first_us = loop_now_us(attempt->env->loop);
    return send_to_edge(attempt, MESSAGE_HEAD, 0, &m);
}

enum err attempt_send_data(struct attempt *attempt)
{
    struct buf *out = pipeline_output(attempt->pipeline);
    size_t at = attempt->out_sent;
    enum err err = OK;
    while (err == OK && at < out->len && attempt->credit) {
        size_t n = out->len - at;
        if (n > attempt->credit)
            n = attempt->credit;
        if (n > DATA_BYTES)
            n = DATA_BYTES;
        struct data m = {.bytes = span_of(out->data + at, n)};
        err = send_to_edge(attempt, MESSAGE_DATA, 0, &m);
        attempt->seq++;
        attempt->credit -= (uint32_t)n;
        at += n;
    }
    attempt->out_sent = at;
    /* moved only when what has gone is the larger part: a large answer goes in many pieces */
    if (at == out->len)
        buf_clear(out);
    else if (at >= out->len - at) {
        buf_consume(out, at);
        buf_shrink(out);
    } else
        return err;
    attempt->out_sent = 0;
    return err;
}

void attempt_send_end(struct attempt *attempt, const struct pipeline_result *r)
{
    struct end m = {
        .input_tokens = known(attempt, r->usage.input),
        .cached_tokens = known(attempt, r->usage.cached),
        .output_tokens = known(attempt, r->usage.output),
        .cost_nano = cost(attempt, r),
        .estimated = r->estimated,
        .first_ms =
            attempt->first_us ? (uint32_t)((attempt->first_us - attempt->started_us) / 1000) : 0,
        .upstream_ms = attempt->sent_us ? attempt_ms_since(attempt, attempt->sent_us) : 0};
    (void)send_to_edge(attempt, MESSAGE_END, HEADER_LAST, &m);
}

void attempt_send_reply(struct attempt *attempt, const struct pipeline_result *r, struct span body)
{
    attempt->first_us = loop_now_us(attempt->env->loop);
    struct reply m = {.status = r->status,
                      .content_type = r->content_type,
                      .headers = r->headers,
                      .provider = provider_name(attempt),
                      .upstream_model = r->upstream_model,
                      .input_tokens = known(attempt, r->usage.input),
                      .cached_tokens = known(attempt, r->usage.cached),
                      .output_tokens = known(attempt, r->usage.output),
                      .cost_nano = cost(attempt, r),
                      .estimated = r->estimated,
                      .upstream_ms =
                          attempt->sent_us ? attempt_ms_since(attempt, attempt->sent_us) : 0,
                      .body = body,
                      .upstream_id = attempt_makes_response(attempt) ? r->upstream_id : SPAN_NONE,
                      .endpoint = attempt->endpoint->index,
                      .unpriced = is_unpriced(attempt, r)};
    (void)send_to_edge(attempt, MESSAGE_REPLY, HEADER_LAST, &m);
}

void attempt_refuse(const struct attempt_env *env, struct bus_peer *to, const struct bus_message *m,
                    const struct api_error *fault, uint32_t free_slots)
{
    struct header h = {.id = m->header.id, .attempt = m->header.attempt};
    h.flags = (uint8_t)(HEADER_LAST | (m->header.flags & HEADER_STREAM));
    struct fail fail = {.free = free_slots};
    api_error_to_fail(fault, &fail);
    (void)env->send(env->ctx, to, h, MESSAGE_FAIL, &fail);
}
