#include "services/worker/pipeline/pipeline.h"

#include <stdlib.h>
#include <utlist.h>

#include "services/worker/pipeline/pipeline_internal.h"
#include "services/worker/pipeline/request_look.h"

enum { KEPT_NODES = 256 }; /* of a request's JSON, for its answer */

/* ---- creation ---- */

static bool copy_texts(struct pipeline *c)
{
    struct pipeline_spec *s = &c->spec;
    struct span *const texts[] = {&s->method,       &s->path,     &s->headers,   &s->model,
                                  &s->target_model, &s->base_url, &s->request_id};
    enum { TEXTS = 7 };
    if (s->max_response == 0)
        s->max_response = PIPELINE_DEFAULT_MAX_RESPONSE;
    for (size_t i = 0; i < TEXTS; i++) {
        *texts[i] = arena_copy(&c->arena, *texts[i]);
        if (!texts[i]->data)
            return false;
    }
    return true;
}

/* Legacy completions go native only to models that still speak them. */
static bool is_native(const struct pipeline *c)
{
    const struct config_model *config = c->spec.model_config;
    if (!(c->spec.provider->native_apis & 1u << c->spec.api))
        return false;
    if (c->spec.api == API_OPENAI_RESPONSES) /* by an id alone: where it was made */
        return !c->compat.chat_only || c->spec.body.len == 0;
    if (c->spec.api != API_OPENAI_COMPLETIONS)
        return true;
    return (config && config->completions && strcmp(config->completions, "native") == 0) ||
           strcmp(c->row->mode, "completion") == 0;
}

/* Nothing of a translated response is kept: only making one is left, and counting its tokens. */
static enum err start_responses(struct pipeline *c, struct json body, struct api_error *fault_out)
{
    struct span path = span_first(c->spec.path, span_find(c->spec.path, '?'));
    if (span_is(path, "/responses"))
        return translation_start(c, body, fault_out);
    if (span_is(path, "/responses/input_tokens"))
        return count_tokens_start(c, body, fault_out);
    api_error_set(fault_out, ERROR_NOT_FOUND, "Responses of this model are not stored.", NULL);
    return ERR_INVALID;
}

/* What an API becomes at a provider that does not speak it: something else, or a refusal. */
static const struct foreign {
    enum err (*start)(struct pipeline *c, struct json body, struct api_error *fault_out);
    enum error_class refused;
    const char *message;
} foreign[API_COUNT] = {
    [API_OPENAI_CHAT] = {.start = translation_start},
    [API_OPENAI_COMPLETIONS] = {.start = translation_start},
    [API_ANTHROPIC_MESSAGES] = {.start = translation_start},
    [API_ANTHROPIC_COUNT_TOKENS] = {.start = count_tokens_start},
    [API_OPENAI_EMBEDDINGS] = {.refused = ERROR_MODEL_NOT_FOUND,
                               .message = "this model's provider has no embeddings"},
    [API_OPENAI_RESPONSES] = {.start = start_responses},
};

static enum err start_foreign(struct pipeline *c, struct json body, struct api_error *fault_out)
{
    const struct foreign *f = &foreign[(unsigned)c->spec.api < API_COUNT ? c->spec.api : 0];
    if (f->start)
        return f->start(c, body, fault_out);
    if (f->message)
        api_error_set(fault_out, f->refused, f->message, "model");
    else
        api_error_set(fault_out, ERROR_NOT_FOUND, "unknown protocol", NULL);
    return ERR_INVALID;
}

static enum err check_images(const struct pipeline *c, struct json body,
                             struct api_error *fault_out)
{
    const char *member = c->row->blind ? request_image_member(body) : NULL;
    if (!member)
        return OK;
    api_error_set(fault_out, ERROR_UNSUPPORTED_PARAMETER, "This model takes no images.", member);
    return ERR_INVALID;
}

static enum err start(struct pipeline *c, struct api_error *fault_out)
{
    struct json body = JSON_NOTHING;
    bool optional = api_info(c->spec.api)->stored; /* GET, DELETE and cancel have none */
    if (c->spec.body.len || !optional) {
        enum err e = json_parse(&c->doc, c->spec.body, JSON_DEPTH_CLIENT);
        if (e) {
            api_error_set(fault_out, e == ERR_NOMEM ? ERROR_INTERNAL : ERROR_INVALID_JSON,
                          c->doc.error, NULL);
            return e == ERR_NOMEM ? e : ERR_INVALID;
        }
        body = json_root(&c->doc);
        e = request_check(body, c->spec.api, fault_out);
        if (!e)
            e = check_images(c, body, fault_out);
        if (e)
            return e;
    }
    return is_native(c) ? passthrough_start(c, body, fault_out) : start_foreign(c, body, fault_out);
}

enum err pipeline_create(struct pipeline **out, const struct pipeline_spec *spec,
                         struct arena *fault_arena, struct api_error *fault_out)
{
    *out = NULL;
    *fault_out = (struct api_error){0};
    struct pipeline *c = calloc(1, sizeof *c);
    if (!c) {
        api_error_set(fault_out, ERROR_INTERNAL, "out of memory", NULL);
        return ERR_NOMEM;
    }
    c->spec = *spec;
    c->status = 200;
    c->usage = USAGE_NONE;
    arena_init(&c->arena, 0);
    enum err e = copy_texts(c) ? OK : ERR_NOMEM;
    buf_init(&c->out, (size_t)c->spec.max_response + (1u << 20));
    pipeline_look_up(c);
    if (e == OK)
        e = start(c, fault_out);
    c->asked_bytes = c->arena.used_bytes;
    /* the tape of a large body is larger than the body: not kept while an answer streams */
    if (c->stream || c->doc.cap > KEPT_NODES)
        json_doc_free(&c->doc);
    if (e) {
        if (fault_out->error_class == ERROR_NONE)
            api_error_set(fault_out, ERROR_INTERNAL, "the request could not be prepared", NULL);
        *fault_out = api_error_copy(fault_out, fault_arena);
        pipeline_destroy(&c);
        return ERR_INVALID;
    }
    *out = c;
    return OK;
}

void pipeline_destroy(struct pipeline **pipeline)
{
    struct pipeline *c = *pipeline;
    if (!c)
        return;
    if (c->kind)
        c->kind->destroy(c);
    json_doc_free(&c->doc);
    buf_free(&c->out);
    buf_free(&c->upstream_headers);
    buf_free(&c->result_headers);
    arena_free(&c->arena);
    free(c);
    *pipeline = NULL;
}

/* ---- what the worker tells ---- */

const struct transfer *pipeline_next(struct pipeline *c)
{
    struct transfer *x = c->queue;
    if (!x)
        return NULL;
    LL_DELETE2(c->queue, x, next_queued);
    c->queue_count--;
    return x;
}

uint64_t pipeline_wait_ms(struct pipeline *c)
{
    if (!c->timer_changed || c->state != PIPELINE_RUNNING)
        return 0;
    c->timer_changed = false;
    uint64_t next = c->poll_ms;
    if (c->commit_ms && (next == 0 || c->commit_ms < next))
        next = c->commit_ms;
    c->armed_ms = next;
    return next;
}

static bool listens(const struct pipeline *c, const struct transfer *x)
{
    return c->state == PIPELINE_RUNNING && !x->detached;
}

/* A stream's output may not outgrow its bound unseen. */
static void check_output(struct pipeline *c)
{
    if (c->state == PIPELINE_RUNNING && buf_check(&c->out))
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
}

void pipeline_on_head(struct pipeline *c, const struct transfer *x, unsigned status,
                      const struct upstream_headers *headers)
{
    if (listens(c, x))
        c->kind->on_head(c, x, status, headers);
}

void pipeline_on_bytes(struct pipeline *c, const struct transfer *x, struct span bytes)
{
    if (listens(c, x)) {
        c->kind->on_bytes(c, x, bytes);
        check_output(c);
    }
}

void pipeline_on_end(struct pipeline *c, const struct transfer *x)
{
    if (listens(c, x)) {
        c->kind->on_end(c, x);
        check_output(c);
    }
}

void pipeline_on_failure(struct pipeline *c, const struct transfer *x, unsigned error_class,
                         struct span message)
{
    if (!listens(c, x))
        return;
    struct api_error fault = {.error_class = error_class, .message = message};
    c->kind->on_failure(c, x, &fault);
}

static uint64_t less(uint64_t left, uint64_t elapsed)
{
    return left <= elapsed ? 0 : left - elapsed;
}

void pipeline_on_timer(struct pipeline *c, uint64_t waited_ms)
{
    if (c->state != PIPELINE_RUNNING)
        return;
    uint64_t elapsed = c->armed_ms;
    bool polls = c->poll_ms > 0, commits = c->commit_ms && c->commit_ms <= elapsed;
    c->poll_ms = less(c->poll_ms, elapsed);
    c->commit_ms = less(c->commit_ms, elapsed);
    c->timer_changed = c->poll_ms || c->commit_ms;
    if (commits)
        pipeline_commit(c);
    /* not only when its time has come: what has passed must be counted */
    if (polls)
        c->kind->on_timer(c, elapsed, waited_ms);
}

void pipeline_cancel(struct pipeline *c)
{
    if (c->state != PIPELINE_RUNNING)
        return;
    c->cancelled = true;
    if (c->kind->cancel)
        c->kind->cancel(c);
    struct api_error gone;
    api_error_set(&gone, ERROR_CLIENT_GONE, "the client has left", NULL);
    pipeline_fail(c, &gone);
}

/* ---- what the worker asks ---- */

enum pipeline_state pipeline_state(const struct pipeline *c)
{
    return c->state;
}

bool pipeline_committed(const struct pipeline *c)
{
    return c->committed;
}

bool pipeline_is_stream(const struct pipeline *c)
{
    return c->stream;
}

struct buf *pipeline_output(struct pipeline *c)
{
    return &c->out;
}

const struct api_error *pipeline_fault(const struct pipeline *c)
{
    return &c->fault;
}

size_t pipeline_answer_bytes(const struct pipeline *c)
{
    size_t gathered = c->arena.used_bytes - c->asked_bytes;
    return c->out.cap + gathered + (c->kind ? c->kind->answer_bytes(c) : 0);
}

void pipeline_refuse(struct pipeline *c)
{
    pipeline_fail_class(c, ERROR_OVERLOADED,
                        "The service has no memory left for this answer. Try again shortly.");
}
