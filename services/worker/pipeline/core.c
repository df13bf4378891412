/* What every kind of pipeline asks for: transfers, timers, its outcome. */
#include "services/worker/pipeline/pipeline_internal.h"

#include <utlist.h>

void pipeline_send(struct pipeline *c, struct transfer *x)
{
    if (c->queue_count == PIPELINE_MAX_TRANSFERS) {
        pipeline_fail_class(c, ERROR_INTERNAL, "too many upstream requests for one request");
        return;
    }
    x->index = c->transfer_count++;
    LL_APPEND2(c->queue, x, next_queued);
    c->queue_count++;
}

/* Once a pipeline has its outcome, only detached transfers may still be sent. */
static void forget_queue(struct pipeline *c)
{
    struct transfer *x, *next;
    LL_FOREACH_SAFE2(c->queue, x, next, next_queued)
    {
        if (x->detached)
            continue;
        LL_DELETE2(c->queue, x, next_queued);
        c->queue_count--;
    }
    c->poll_ms = c->commit_ms = 0;
}

void pipeline_fail(struct pipeline *c, const struct api_error *fault)
{
    if (c->state != PIPELINE_RUNNING)
        return;
    c->fault = api_error_copy(fault, &c->arena);
    if (c->fault.error_class == ERROR_NONE)
        c->fault.error_class = ERROR_UPSTREAM_ERROR;
    if (!c->committed)
        buf_clear(&c->out);
    c->state = PIPELINE_FAILED;
    forget_queue(c);
}

void pipeline_fail_class(struct pipeline *c, unsigned error_class, const char *message)
{
    struct api_error fault;
    api_error_set(&fault, error_class, message, NULL);
    pipeline_fail(c, &fault);
}

void pipeline_commit(struct pipeline *c)
{
    if (c->stream && c->state == PIPELINE_RUNNING) {
        c->committed = true;
        c->commit_ms = 0;
    }
}

void pipeline_finish(struct pipeline *c)
{
    if (c->state != PIPELINE_RUNNING)
        return;
    if (buf_check(&c->out)) {
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
        return;
    }
    c->committed = true;
    c->state = PIPELINE_DONE;
    forget_queue(c);
}

void pipeline_expect_content(struct pipeline *c)
{
    if (!c->stream || c->committed || c->commit_ms)
        return;
    c->commit_ms = PIPELINE_COMMIT_MS;
    c->timer_changed = true;
}

void pipeline_poll_after(struct pipeline *c, uint64_t ms)
{
    c->poll_ms = ms;
    c->timer_changed = true;
}

bool pipeline_learns_stream_options(struct pipeline *c, unsigned status, struct span body)
{
    bool refused =
        (status == 400 || status == 422) && span_find_span(body, SPAN("stream_options")) < body.len;
    if (!refused || c->compat.no_stream_options || c->state != PIPELINE_RUNNING)
        return false;
    c->compat.no_stream_options = true;
    if (c->spec.learned)
        c->spec.learned->no_stream_options = true;
    return true;
}

/* A 404 that speaks of a model is about that model. */
bool pipeline_learns_chat_only(struct pipeline *c, unsigned status, struct span body)
{
    bool absent = (status == 404 || status == 405 || status == 501) &&
                  span_find_span(body, SPAN("model")) == body.len;
    if (!absent || c->spec.api != API_OPENAI_RESPONSES || !span_is(c->spec.path, "/responses") ||
        !span_is(c->spec.method, "POST") || c->compat.is_openai || c->compat.chat_only ||
        c->state != PIPELINE_RUNNING)
        return false;
    c->compat.chat_only = true;
    if (c->spec.learned)
        c->spec.learned->chat_only = true;
    return true;
}

void pipeline_note_answer(struct pipeline *c, struct json id, struct json model)
{
    if (c->upstream_id.len == 0)
        c->upstream_id = arena_copy(&c->arena, json_string(id, &c->arena));
    if (c->upstream_model.len == 0)
        c->upstream_model = arena_copy(&c->arena, json_string(model, &c->arena));
}

void pipeline_map_error(struct pipeline *c, unsigned status, const struct upstream_headers *headers,
                        struct span body, struct api_error *fault_out)
{
    struct neutral_request request = {.api = c->spec.api, .arena = &c->arena};
    struct conversion pc = {.provider = c->spec.provider,
                            .request = &request,
                            .target_model = c->spec.target_model,
                            .row = c->row,
                            .compat = c->compat,
                            .arena = &c->arena,
                            .doc = &c->doc,
                            .now_s = c->spec.now_s};
    *fault_out = (struct api_error){0};
    c->spec.provider->map_error(&pc, status, headers, body, fault_out);
    fault_out->upstream_status = status;
}
