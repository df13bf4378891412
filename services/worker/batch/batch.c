#include "services/worker/batch/batch.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "services/worker/attempt/attempt_internal.h"
#include "services/worker/batch/embeddings.h"

enum { MAX_MEMBERS = 256, MAX_GATHERING = 64, MAX_BYTES = 1 << 20 };

struct batch {
    struct attempt_env *env;
    struct batch *prev, *next; /* all of the worker's */
    struct loop_timer window;
    struct buf key;          /* what its members have in common */
    struct attempt *carrier; /* NULL = gathering */
    size_t inputs;
    uint64_t bytes;
    uint32_t count, present;              /* members, and those that have not left */
    struct attempt *members[MAX_MEMBERS]; /* NULL = has left */
    struct embeddings_part parts[MAX_MEMBERS];
};

static void free_batch(struct batch *b)
{
    struct attempt_env *env = b->env;
    loop_timer_stop(env->loop, &b->window);
    if (b->prev)
        b->prev->next = b->next;
    else
        env->batches = b->next;
    if (b->next)
        b->next->prev = b->prev;
    buf_free(&b->key);
    free(b);
}

/* The next member still there, taken out; NULL when there is none left. */
static struct attempt *take_member(struct batch *b, uint32_t *at)
{
    for (; *at < b->count; ++*at) {
        struct attempt *attempt = b->members[*at];
        if (!attempt)
            continue;
        b->members[*at] = NULL;
        attempt->batch = NULL;
        return attempt;
    }
    return NULL;
}

/* ---- apart again ---- */

static void go_alone(struct batch *b)
{
    uint32_t at = 0;
    for (struct attempt *attempt; (attempt = take_member(b, &at));)
        attempt_go(attempt);
    free_batch(b);
}

/* What falls to one member: its part of tokens and cost by its bytes, so that all parts sum up
 * exactly. */
static struct pipeline_result result_of(const struct batch *b, const struct pipeline_result *r,
                                        uint64_t before, uint64_t bytes, struct buf *headers)
{
    struct pipeline_result own = *r;
    uint64_t after = before + bytes;
    own.usage = USAGE_NONE;
    own.usage.input = embeddings_portion(r->usage.input, after, b->bytes) -
                      embeddings_portion(r->usage.input, before, b->bytes);
    own.cost_nano = embeddings_portion(r->cost_nano, after, b->bytes) -
                    embeddings_portion(r->cost_nano, before, b->bytes);
    own.estimated = true;
    buf_clear(headers);
    buf_append(headers, r->headers);
    if (!r->estimated)
        buf_append_str(headers, "x-tollgate-usage: estimated\n");
    own.headers = buf_span(headers);
    return own;
}

/* A member reports the endpoint and the times of its carrier. */
static void ride(struct attempt *attempt, const struct attempt *carrier)
{
    attempt->endpoint = carrier->endpoint;
    attempt->sent = carrier->sent;
    attempt->sent_us = carrier->sent_us;
}

static void get_off(struct attempt *attempt, enum endpoint_verdict verdict)
{
    attempt->endpoint = NULL; /* the carrier has taken it, and gives it back */
    attempt_over(attempt, verdict, 0, 0);
}

static void answer_members(struct batch *b, const struct attempt *carrier,
                           const struct pipeline_result *r, const struct embeddings_share *shares)
{
    struct buf headers = {0};
    uint64_t before = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        struct attempt *attempt = b->members[i];
        if (attempt) {
            struct pipeline_result own = result_of(b, r, before, b->parts[i].bytes, &headers);
            attempt->batch = NULL;
            ride(attempt, carrier);
            attempt_send_reply(attempt, &own, buf_span(&shares[i].body));
            attempt_settle(attempt, &own, own.status, true);
            get_off(attempt, ENDPOINT_UNKNOWN);
        }
        before += b->parts[i].bytes;
    }
    buf_free(&headers);
}

static void answered(struct attempt *carrier)
{
    struct batch *b = carrier->carries;
    uint32_t count = b->count; /* of the batch, which will be gone */
    struct embeddings_share *shares = calloc(count, sizeof *shares);
    enum err err = shares ? embeddings_split(b->parts, b->count,
                                             buf_span(pipeline_output(carrier->pipeline)), shares)
                          : ERR_NOMEM;
    carrier->carries = NULL;
    if (err == OK) {
        answer_members(b, carrier, pipeline_result(carrier->pipeline), shares);
        free_batch(b);
    } else {
        log_warn("embeddings_batch_apart", LSTR("why", err_name(err)), LU64("members", b->present));
        go_alone(b);
    }
    for (uint32_t i = 0; shares && i < count; i++)
        buf_free(&shares[i].body);
    free(shares);
}

/* Is it the request that is wrong, so that others of the batch may be right? What concerns all of
 * them alike (the key, the quota, the model) is better said once. */
static bool may_be_one_member_s(const struct api_error *f)
{
    unsigned status = f->upstream_status ? f->upstream_status
                                         : error_status(f->error_class, API_OPENAI_EMBEDDINGS);
    return status >= 400 && status < 500 && status != 401 && status != 403 && status != 408 &&
           status != 429;
}

static void failed(struct attempt *carrier, const struct api_error *fault)
{
    struct batch *b = carrier->carries;
    uint32_t at = 0;
    carrier->carries = NULL;
    if (may_be_one_member_s(fault)) {
        go_alone(b);
        return;
    }
    for (struct attempt *attempt; (attempt = take_member(b, &at));) {
        ride(attempt, carrier);
        attempt->reason = carrier->reason;
        attempt_send_fail(attempt, fault);
        get_off(attempt, ENDPOINT_UNKNOWN);
    }
    free_batch(b);
}

/* ---- on its way ---- */

/* Those that have left do not count any more. */
static void close_ranks(struct batch *b)
{
    uint32_t n = 0;
    b->bytes = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        if (!b->members[i])
            continue;
        b->members[n] = b->members[i];
        b->members[n]->batch_at = n;
        b->parts[n] = b->parts[i];
        b->bytes += b->parts[n++].bytes;
    }
    b->count = n;
}

static void set_out(struct batch *b)
{
    struct buf body = {.max = 4 * MAX_BYTES};
    loop_timer_stop(b->env->loop, &b->window);
    close_ranks(b);
    enum err err = b->count > 1 ? embeddings_join(b->parts, b->count, &body) : ERR_UNSUPPORTED;
    if (err == OK)
        b->carrier = attempt_create_carrier(b->members[0], buf_span(&body), b);
    buf_free(&body);
    if (b->carrier)
        attempt_go(b->carrier); /* the batch may be gone when this returns */
    else
        go_alone(b);
}

static void on_window_end(void *ctx)
{
    set_out(ctx);
}

/* ---- gathering ---- */

/* Everything that must be the same, and part's own numbers. */
static enum err read_key(const struct attempt *attempt, struct embeddings_part *part,
                         struct buf *key)
{
    const struct span same[] = {attempt->d.key_id, attempt->d.model, attempt->d.target_model,
                                attempt->d.route,  attempt->d.query, attempt->d.headers,
                                attempt->d.avoid};
    enum err err = embeddings_part_read(part, attempt->d.body, key);
    if (err != OK || key->data[0] != 't')
        return ERR_UNSUPPORTED; /* tokens are cheap to send and can't be shared out by bytes */
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        buf_append_u64(key, same[i].len);
        buf_append_char(key, ':');
        buf_append(key, same[i]);
    }
    return buf_check(key);
}

static struct batch *find_batch(struct attempt_env *env, const struct setup *setup, struct span key,
                                uint32_t *gathering_out)
{
    *gathering_out = 0;
    for (struct batch *b = env->batches; b; b = b->next) {
        if (b->carrier)
            continue;
        ++*gathering_out;
        uint32_t at = 0;
        while (at < b->count && !b->members[at])
            at++;
        if (at < b->count && b->members[at]->setup == setup && span_equals(buf_span(&b->key), key))
            return b;
    }
    return NULL;
}

static struct batch *open_batch(struct attempt_env *env, struct buf *key, uint64_t window_ms)
{
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->env = env;
    b->key = *key;
    *key = (struct buf){0};
    b->next = env->batches;
    if (env->batches)
        env->batches->prev = b;
    env->batches = b;
    loop_timer_start(env->loop, &b->window, window_ms, on_window_end, b);
    return b;
}

static bool has_room(const struct batch *b, const struct embeddings_part *part)
{
    return b->count < MAX_MEMBERS && b->inputs + part->inputs <= EMBEDDINGS_MAX_INPUTS &&
           b->bytes + part->bytes <= MAX_BYTES;
}

static void add_member(struct batch *b, struct attempt *attempt, const struct embeddings_part *part)
{
    attempt->batch = b;
    attempt->batch_at = b->count;
    b->parts[b->count] = *part;
    b->members[b->count++] = attempt;
    b->present++;
    b->inputs += part->inputs;
    b->bytes += part->bytes;
    attempt_lose_endpoint(attempt); /* it gets one again should it go alone */
}

static bool join(struct attempt *attempt)
{
    struct attempt_env *env = attempt->env;
    uint64_t window_ms = attempt->setup->config->options.worker_embeddings_window;
    struct embeddings_part part;
    struct buf key = {0};
    uint32_t gathering;
    if (attempt->d.api != API_OPENAI_EMBEDDINGS || !window_ms || attempt->d.body.len > MAX_BYTES ||
        !(attempt->setup->provider->native_apis & 1u << API_OPENAI_EMBEDDINGS) ||
        read_key(attempt, &part, &key) != OK) {
        buf_free(&key);
        return false;
    }
    struct batch *b = find_batch(env, attempt->setup, buf_span(&key), &gathering);
    if (b && !has_room(b, &part)) {
        set_out(b);
        b = NULL;
    }
    if (!b && gathering < MAX_GATHERING)
        b = open_batch(env, &key, window_ms);
    if (b)
        add_member(b, attempt, &part);
    buf_free(&key);
    return b != NULL;
}

static void leave(struct attempt *attempt)
{
    struct batch *b = attempt->batch;
    attempt->batch = NULL;
    b->members[attempt->batch_at] = NULL;
    if (b->carrier) {
        attempt_look_whether_sent(b->carrier);
        attempt->sent = b->carrier->sent;
    }
    if (--b->present)
        return;
    if (b->carrier) {
        b->carrier->carries = NULL;
        attempt_cancel(b->carrier);
    }
    free_batch(b);
}

static void free_all(struct attempt_env *env)
{
    while (env->batches)
        free_batch(env->batches);
}

const struct attempt_batching embeddings_batching = {join, leave, answered, failed, free_all};
