#include "services/worker/pipeline/pipeline.h"

#include <stdlib.h>

#include "services/worker/pipeline/pipeline_internal.h"
#include "services/worker/neutral/fault.h"
#include "services/worker/neutral/compat.h"

enum { KEPT_NODES = 256 }; /* of a request's JSON, for its answer */

/* ---- what paths ask for ---- */

void call_send(struct call *c, struct exchange *x)
{
    if (c->queue_count == CALL_MAX_EXCHANGES) {
        call_fail_class(c, ERROR_INTERNAL, "too many upstream calls for one request");
        return;
    }
    x->index = c->exchange_count++;
    c->queue[(c->queue_first + c->queue_count++) % CALL_MAX_EXCHANGES] = x;
}

/* Only what nobody waits for may still be sent once a call has its outcome. */
static void forget_queue(struct call *c)
{
    size_t kept = 0;
    struct exchange *detached[CALL_MAX_EXCHANGES];
    for (size_t i = 0; i < c->queue_count; i++) {
        struct exchange *x = c->queue[(c->queue_first + i) % CALL_MAX_EXCHANGES];
        if (x->detached)
            detached[kept++] = x;
    }
    for (size_t i = 0; i < kept; i++)
        c->queue[i] = detached[i];
    c->queue_first = 0;
    c->queue_count = kept;
    c->poll_ms = c->commit_ms = 0;
}

void call_fail(struct call *c, const struct fault *fault)
{
    if (c->state != CALL_RUNNING)
        return;
    c->fault = fault_copy(fault, &c->arena);
    if (c->fault.error_class == ERROR_NONE)
        c->fault.error_class = ERROR_UPSTREAM_ERROR;
    if (!c->committed)
        buf_clear(&c->out);
    c->state = CALL_FAILED;
    forget_queue(c);
}

void call_fail_class(struct call *c, unsigned error_class, const char *message)
{
    struct fault fault;
    fault_set(&fault, error_class, message, NULL);
    call_fail(c, &fault);
}

void call_commit(struct call *c)
{
    if (c->stream && c->state == CALL_RUNNING) {
        c->committed = true;
        c->commit_ms = 0;
    }
}

void call_finish(struct call *c)
{
    if (c->state != CALL_RUNNING)
        return;
    if (buf_check(&c->out)) {
        call_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
        return;
    }
    c->committed = true;
    c->state = CALL_DONE;
    forget_queue(c);
}

void call_expect_content(struct call *c)
{
    if (!c->stream || c->committed || c->commit_ms)
        return;
    c->commit_ms = CALL_COMMIT_MS;
    c->timer_changed = true;
}

void call_poll_after(struct call *c, uint64_t ms)
{
    c->poll_ms = ms;
    c->timer_changed = true;
}

void call_note_answer(struct call *c, struct json id, struct json model)
{
    if (c->upstream_id.len == 0)
        c->upstream_id = arena_copy(&c->arena, json_string(id, &c->arena));
    if (c->upstream_model.len == 0)
        c->upstream_model = arena_copy(&c->arena, json_string(model, &c->arena));
}

void call_map_error(struct call *c, unsigned status, const struct upstream_headers *headers,
                    struct span body, struct fault *fault_out)
{
    struct neutral_request request = {.api = c->spec.api, .arena = &c->arena};
    struct provider_call pc = {.provider = c->spec.provider,
                               .request = &request,
                               .target_model = c->spec.target_model,
                               .row = c->row,
                               .host = c->host,
                               .arena = &c->arena,
                               .doc = &c->doc,
                               .now_s = c->spec.now_s};
    *fault_out = (struct fault){0};
    c->spec.provider->map_error(&pc, status, headers, body, fault_out);
    fault_out->upstream_status = status;
}

/* ---- creation ---- */

static const struct model_row unknown_row = {.pattern = "",
                                             .provider = "",
                                             .mode = "chat",
                                             .context = 128000,
                                             .max_out = 8192,
                                             .sampling = true,
                                             .tools = true};

static bool copy_texts(struct call *c)
{
    struct call_spec *s = &c->spec;
    struct span *const texts[] = {&s->method,       &s->path,     &s->headers,   &s->model,
                                  &s->target_model, &s->base_url, &s->request_id};
    enum { TEXTS = 7 };
    if (s->max_response == 0)
        s->max_response = CALL_DEFAULT_MAX_RESPONSE;
    for (size_t i = 0; i < TEXTS; i++) {
        *texts[i] = arena_copy(&c->arena, *texts[i]);
        if (!texts[i]->data)
            return false;
    }
    return true;
}

static void look_up(struct call *c)
{
    const struct call_spec *s = &c->spec;
    c->host = host_describe(s->host, s->base_url);
    c->row = &unknown_row;
    if (s->table)
        c->row = model_table_find(s->table, s->provider->name, s->target_model, s->model_config,
                                  &c->row_scratch);
}

/* Legacy completions go native only to models that still speak them (WIRE 18). */
static bool is_native(const struct call *c)
{
    const struct config_model *config = c->spec.model_config;
    if (!(c->spec.provider->native_apis & 1u << c->spec.api))
        return false;
    if (c->spec.api != API_OPENAI_COMPLETIONS)
        return true;
    return (config && config->completions && strcmp(config->completions, "native") == 0) ||
           strcmp(c->row->mode, "completion") == 0;
}

static enum err start_foreign(struct call *c, struct json body, struct fault *fault_out)
{
    switch (c->spec.api) {
    case API_OPENAI_EMBEDDINGS:
        fault_set(fault_out, ERROR_MODEL_NOT_FOUND, "this model's provider has no embeddings",
                  "model");
        return ERR_INVALID;
    case API_OPENAI_RESPONSES:
        fault_set(fault_out, ERROR_BAD_REQUEST,
                  "/v1/responses is offered for OpenAI-type providers only; use "
                  "/v1/chat/completions for this model",
                  "model");
        return ERR_INVALID;
    case API_ANTHROPIC_COUNT_TOKENS:
        return count_tokens_start(c, body, fault_out);
    case API_OPENAI_CHAT:
    case API_OPENAI_COMPLETIONS:
    case API_ANTHROPIC_MESSAGES:
        return translation_start(c, body, fault_out);
    case API_COUNT:
        break;
    }
    fault_set(fault_out, ERROR_NOT_FOUND, "unknown protocol", NULL);
    return ERR_INVALID;
}

static enum err start(struct call *c, struct fault *fault_out)
{
    struct json body = JSON_NOTHING;
    bool optional = c->spec.api == API_OPENAI_RESPONSES; /* GET, DELETE and cancel have none */
    if (c->spec.body.len || !optional) {
        if (json_parse(&c->doc, c->spec.body, JSON_DEPTH_CLIENT)) {
            fault_set(fault_out, ERROR_INVALID_JSON, c->doc.error, NULL);
            return ERR_INVALID;
        }
        body = json_root(&c->doc);
        enum err e = request_check(body, c->spec.api, fault_out);
        if (e)
            return e;
    }
    return is_native(c) ? passthrough_start(c, body, fault_out) : start_foreign(c, body, fault_out);
}

enum err call_create(struct call **out, const struct call_spec *spec, struct arena *fault_arena,
                     struct fault *fault_out)
{
    *out = NULL;
    *fault_out = (struct fault){0};
    struct call *c = calloc(1, sizeof *c);
    if (!c) {
        fault_set(fault_out, ERROR_INTERNAL, "out of memory", NULL);
        return ERR_NOMEM;
    }
    c->spec = *spec;
    c->status = 200;
    c->usage = USAGE_NONE;
    arena_init(&c->arena, 0);
    enum err e = copy_texts(c) ? OK : ERR_NOMEM;
    buf_init(&c->out, (size_t)c->spec.max_response + (1u << 20));
    look_up(c);
    if (e == OK)
        e = start(c, fault_out);
    /* the tape of a large body is larger than the body: not kept while an answer streams */
    if (c->stream || c->doc.cap > KEPT_NODES)
        json_doc_free(&c->doc);
    if (e) {
        if (fault_out->error_class == ERROR_NONE)
            fault_set(fault_out, ERROR_INTERNAL, "the request could not be prepared", NULL);
        *fault_out = fault_copy(fault_out, fault_arena);
        call_destroy(&c);
        return ERR_INVALID;
    }
    *out = c;
    return OK;
}

void call_destroy(struct call **call)
{
    struct call *c = *call;
    if (!c)
        return;
    if (c->path)
        c->path->destroy(c);
    json_doc_free(&c->doc);
    buf_free(&c->out);
    buf_free(&c->result_headers);
    arena_free(&c->arena);
    free(c);
    *call = NULL;
}

/* ---- what the worker tells ---- */

const struct exchange *call_next(struct call *c)
{
    if (c->queue_count == 0)
        return NULL;
    struct exchange *x = c->queue[c->queue_first];
    c->queue_first = (c->queue_first + 1) % CALL_MAX_EXCHANGES;
    c->queue_count--;
    return x;
}

uint64_t call_wait_ms(struct call *c)
{
    if (!c->timer_changed || c->state != CALL_RUNNING)
        return 0;
    c->timer_changed = false;
    uint64_t next = c->poll_ms;
    if (c->commit_ms && (next == 0 || c->commit_ms < next))
        next = c->commit_ms;
    c->armed_ms = next;
    return next;
}

static bool listens(const struct call *c, const struct exchange *x)
{
    return c->state == CALL_RUNNING && !x->detached;
}

/* A stream's output may not outgrow its bound unseen. */
static void check_output(struct call *c)
{
    if (c->state == CALL_RUNNING && buf_check(&c->out))
        call_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
}

void call_on_head(struct call *c, const struct exchange *x, unsigned status,
                  const struct upstream_headers *headers)
{
    if (listens(c, x))
        c->path->on_head(c, x, status, headers);
}

void call_on_bytes(struct call *c, const struct exchange *x, struct span bytes)
{
    if (listens(c, x)) {
        c->path->on_bytes(c, x, bytes);
        check_output(c);
    }
}

void call_on_end(struct call *c, const struct exchange *x)
{
    if (listens(c, x)) {
        c->path->on_end(c, x);
        check_output(c);
    }
}

void call_on_failure(struct call *c, const struct exchange *x, unsigned error_class,
                     struct span message)
{
    if (!listens(c, x))
        return;
    struct fault fault = {.error_class = error_class, .message = message};
    c->path->on_failure(c, x, &fault);
}

static uint64_t less(uint64_t left, uint64_t elapsed)
{
    return left <= elapsed ? 0 : left - elapsed;
}

void call_on_timer(struct call *c, uint64_t waited_ms)
{
    if (c->state != CALL_RUNNING)
        return;
    uint64_t elapsed = c->armed_ms;
    bool polls = c->poll_ms > 0, commits = c->commit_ms && c->commit_ms <= elapsed;
    c->poll_ms = less(c->poll_ms, elapsed);
    c->commit_ms = less(c->commit_ms, elapsed);
    c->timer_changed = c->poll_ms || c->commit_ms;
    if (commits)
        call_commit(c);
    /* not only when its time has come: what has passed must be counted */
    if (polls)
        c->path->on_timer(c, elapsed, waited_ms);
}

void call_cancel(struct call *c)
{
    if (c->state != CALL_RUNNING)
        return;
    c->cancelled = true;
    if (c->path->cancel)
        c->path->cancel(c);
    struct fault gone;
    fault_set(&gone, ERROR_CLIENT_GONE, "the client has left", NULL);
    call_fail(c, &gone);
}

/* ---- what the worker asks ---- */

enum call_state call_state(const struct call *c)
{
    return c->state;
}

bool call_committed(const struct call *c)
{
    return c->committed;
}

bool call_is_stream(const struct call *c)
{
    return c->stream;
}

struct buf *call_output(struct call *c)
{
    return &c->out;
}

const struct fault *call_fault(const struct call *c)
{
    return &c->fault;
}
