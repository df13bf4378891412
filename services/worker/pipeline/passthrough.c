/* The pipeline whose client and upstream speak the same protocol: the client's bytes go out,
 * the upstream's bytes come back, and only what must change is spliced (docs/wire.md,
 * Pass-through). Streams go event by event. */
#include "services/worker/pipeline/passthrough.h"
#include "services/worker/neutral/splice.h"
#include "services/worker/pipeline/synthesize.h"

static struct passthrough *state_of(struct pipeline *c)
{
    return c->kind_state;
}

static void on_destroy(struct pipeline *c)
{
    struct passthrough *p = state_of(c);
    upstream_answer_reset(&p->answer);
    buf_free(&p->edited);
    buf_free(&p->repaired);
}

/* ---- stream ---- */

/* Several data lines, or no blank line at the end: the line breaks were white space between JSON
 * tokens. */
static void write_joined(struct pipeline *c, const struct sse_event *e, struct span data)
{
    size_t start = c->out.len;
    sse_write(&c->out, e->name, data);
    char *out = c->out.data;
    for (size_t i = start + (e->name.len ? e->name.len + strlen("event: \n") : 0);
         out && i + 2 < c->out.len; i++) {
        if (out[i] == '\n')
            out[i] = ' ';
    }
}

/* Appends an event with other data than it came with; its other lines stay when its data was one
 * line. ERR_TOO_BIG: nothing was appended. */
static enum err write_changed(struct pipeline *c, const struct sse_event *e, struct splice *s)
{
    struct buf data = {.max = SSE_MAX_EVENT};
    size_t before = c->out.len;
    enum err err;
    if (e->data_at) {
        buf_append(&c->out, span_first(e->raw, e->data_at));
        err = splice_write(s, &c->out);
        buf_append(&c->out, span_skip(e->raw, e->data_at + e->data.len));
        if (err)
            c->out.len = before;
        return err;
    }
    err = splice_write(s, &data);
    if (!err)
        write_joined(c, e, buf_span(&data));
    buf_free(&data);
    return err;
}

static void write_event(struct pipeline *c, const struct sse_event *e)
{
    if (e->raw.len)
        buf_append(&c->out, e->raw);
    else
        write_joined(c, e, e->data);
}

/* Usage that only we asked for is taken out again. What stands beside it would have come with the
 * last choice: it gets one that says nothing, for clients that look at the first unasked. */
static void write_hidden(struct pipeline *c, const struct sse_event *e, struct json event,
                         const struct scan_result *r)
{
    static const char *const usage[] = {"usage"};
    struct json choices = json_get(event, "choices");
    if (r->usage_chunk && (!passthrough_says_more(event) || json_type(choices) != JSON_ARRAY))
        return;
    struct splice s;
    splice_init(&s, e->data);
    splice_remove(&s, event, usage, 1);
    if (r->usage_chunk)
        splice_replace(&s, choices,
                       c->spec.api == API_OPENAI_CHAT
                           ? SPAN("[{\"index\":0,\"delta\":{},\"finish_reason\":null}]")
                           : SPAN("[{\"index\":0,\"text\":\"\",\"logprobs\":null,"
                                  "\"finish_reason\":null}]"));
    if (write_changed(c, e, &s) != OK)
        pipeline_fail_class(c, ERROR_INTERNAL, "out of memory");
}

static void fail_by_event(struct pipeline *c, struct json event, bool in_response)
{
    const struct upstream_answer none = {0};
    struct upstream_headers headers = upstream_answer_headers(&none);
    struct api_error fault;
    struct buf body = {0};
    if (in_response) {
        /* response.failed carries its error one level down */
        struct json error = json_get(json_get(event, "response"), "error");
        buf_append_str(&body, "{\"error\":");
        buf_append(&body, json_absent(error) ? SPAN("{}") : json_raw(error));
        buf_append_char(&body, '}');
    } else {
        buf_append(&body, json_raw(event));
    }
    pipeline_map_error(c, 200, &headers, buf_span(&body), &fault);
    pipeline_fail(c, &fault);
    buf_free(&body);
}

static void finish_stream(struct pipeline *c)
{
    state_of(c)->done = true;
    c->usage = state_of(c)->scan.usage;
    pipeline_finish(c);
}

static void on_json_event(struct pipeline *c, const struct sse_event *e, struct json event)
{
    struct passthrough *p = state_of(c);
    struct scan_result r = scan_event(&p->scan, event, e->name);
    c->usage = p->scan.usage;
    c->text_bytes = p->scan.text_bytes;
    pipeline_note_answer(c, r.id, r.model);
    bool own_end = c->committed && api_info(c->spec.api)->shape == API_SHAPE_RESPONSE;
    if ((r.is_error && !own_end) || (r.failed && !c->committed)) {
        fail_by_event(c, event, !r.is_error);
        return;
    }
    if (r.content)
        pipeline_commit(c);
    if (p->facts.forced_usage && json_type(r.usage_member) != JSON_NONE)
        write_hidden(c, e, event, &r);
    else
        write_event(c, e);
    if (r.terminal || r.is_error)
        finish_stream(c);
}

/* Upstream bytes that are not UTF-8 are mended, the stream lives on. */
static enum err parse_event(struct pipeline *c, const struct sse_event *e, struct sse_event *mended)
{
    struct passthrough *p = state_of(c);
    *mended = *e;
    c->doc.most = JSON_MAX_EVENT_VALUES;
    enum err err = json_parse(&c->doc, e->data, JSON_DEPTH_UPSTREAM);
    if (err == OK || utf8_valid(e->data))
        return err;
    buf_clear(&p->repaired);
    p->repaired.max = (size_t)SSE_MAX_EVENT * 3;
    utf8_repair(&p->repaired, e->data);
    *mended = (struct sse_event){.name = e->name, .data = buf_span(&p->repaired), .has_data = true};
    return json_parse(&c->doc, mended->data, JSON_DEPTH_UPSTREAM);
}

static enum err on_event(void *ctx, const struct sse_event *e)
{
    struct pipeline *c = ctx;
    struct passthrough *p = state_of(c);
    struct span data = span_trim(e->data);
    if (p->done || c->state != PIPELINE_RUNNING || data.len == 0)
        return OK;
    if (api_streams_chunks(c->spec.api) && span_starts(data, "[DONE]")) {
        passthrough_estimated_usage(c);
        write_event(c, e);
        finish_stream(c);
        return OK;
    }
    struct sse_event mended;
    if (span_is(data, "null")) /* some servers' way to keep a connection */
        return OK;
    if (parse_event(c, e, &mended) || json_type(json_root(&c->doc)) != JSON_OBJECT) {
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL,
                            "the upstream sent an event that is not JSON");
        return OK;
    }
    on_json_event(c, &mended, json_root(&c->doc));
    return OK;
}

/* The end mark that is ours to write, where the protocol has one. */
static void end_chunks(struct pipeline *c)
{
    if (api_streams_chunks(c->spec.api)) {
        passthrough_estimated_usage(c);
        sse_write(&c->out, SPAN_NONE, SPAN("[DONE]"));
    }
    finish_stream(c);
}

/* EOF: only a stream that had come to its stop is whole; its missing end mark is ours to write. */
static void end_stream(struct pipeline *c, const struct api_error *otherwise)
{
    struct passthrough *p = state_of(c);
    if (p->done || c->state != PIPELINE_RUNNING)
        return;
    if (!scan_is_complete(&p->scan)) {
        pipeline_fail(c, otherwise);
        return;
    }
    if (api_is_anthropic(c->spec.api))
        sse_write(&c->out, SPAN("message_stop"), SPAN("{\"type\":\"message_stop\"}"));
    end_chunks(c);
}

/* ---- whole answers ---- */

static bool parse_body(struct pipeline *c)
{
    struct passthrough *p = state_of(c);
    struct span body = buf_span(&p->answer.body);
    if (json_parse(&c->doc, body, JSON_DEPTH_UPSTREAM) == OK)
        return true;
    if (utf8_valid(body))
        return false;
    struct buf mended = {.max = body.len * 3 + 1};
    utf8_repair(&mended, body);
    buf_free(&p->answer.body);
    p->answer.body = mended;
    return json_parse(&c->doc, buf_span(&p->answer.body), JSON_DEPTH_UPSTREAM) == OK;
}

static void answer_stream(struct pipeline *c, struct json body)
{
    struct passthrough *p = state_of(c);
    bool with_usage = p->facts.asked_usage || !api_streams_chunks(c->spec.api);
    if (synthesize_stream(c->spec.api, body, with_usage, &c->out))
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL,
                            "the upstream's answer has an unknown shape");
    else
        end_chunks(c);
}

/* The answer is the output: a large one is not there twice. */
static void hand_over(struct pipeline *c, struct buf *body)
{
    size_t max = c->out.max;
    buf_free(&c->out);
    c->out = *body;
    c->out.max = max;
    *body = (struct buf){.max = body->max};
}

/* No content, no end, no error: it has lost its answer. */
static bool says_nothing(enum api api, struct json body)
{
    bool generates = api_info(api)->generates;
    switch (api_info(api)->shape) {
    case API_SHAPE_CHAT:
        return json_absent(json_get(body, generates ? "choices" : "data"));
    case API_SHAPE_MESSAGE:
        if (!generates)
            return json_absent(json_get(body, "input_tokens"));
        return json_absent(json_get(body, "content")) && json_absent(json_get(body, "stop_reason"));
    case API_SHAPE_RESPONSE:
        return json_count(body) == 0;
    }
    return false;
}

static void end_whole(struct pipeline *c)
{
    struct passthrough *p = state_of(c);
    c->status = p->answer.status;
    if (p->answer.body.len == 0 && !span_is(c->spec.method, "POST")) {
        pipeline_finish(c);
        return;
    }
    if (!parse_body(c) || json_type(json_root(&c->doc)) != JSON_OBJECT) {
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is not JSON");
        return;
    }
    struct json body = json_root(&c->doc);
    struct scan_result r = scan_body(&p->scan, body);
    c->usage = p->scan.usage;
    c->text_bytes = p->scan.text_bytes;
    c->unfinished = r.unfinished;
    pipeline_note_answer(c, r.id, r.model);
    if (r.is_error) {
        fail_by_event(c, body, false);
    } else if (says_nothing(c->spec.api, body)) {
        pipeline_fail_class(c, ERROR_UPSTREAM_ERROR, "The provider's answer is empty.");
    } else if (c->stream) {
        answer_stream(c, body);
    } else {
        hand_over(c, &p->answer.body);
        pipeline_finish(c);
    }
}

/* ---- what the network did ---- */

static void on_head(struct pipeline *c, const struct transfer *x, unsigned status,
                    const struct upstream_headers *headers)
{
    (void)x;
    struct passthrough *p = state_of(c);
    upstream_answer_begin(&p->answer, status, headers, c->spec.max_response, &c->arena);
    pipeline_note_head(c, headers);
    if (p->answer.mode == ANSWER_EVENTS && !c->stream)
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL,
                            "the upstream streams although it was not asked to");
    else if (p->answer.mode == ANSWER_EVENTS)
        pipeline_expect_content(c);
}

static void on_bytes(struct pipeline *c, const struct transfer *x, struct span bytes)
{
    (void)x;
    struct passthrough *p = state_of(c);
    if (p->answer.mode == ANSWER_NONE)
        return;
    enum err e = p->answer.mode == ANSWER_EVENTS ? sse_feed(&p->answer.sse, bytes, on_event, c)
                                                 : upstream_answer_gather(&p->answer, bytes);
    if (e)
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
    if (c->stream) /* it may stand still for minutes, and there may be thousands */
        json_doc_free(&c->doc);
}

static void on_end(struct pipeline *c, const struct transfer *x)
{
    (void)x;
    struct passthrough *p = state_of(c);
    struct api_error fault;
    api_error_set(&fault, ERROR_UPSTREAM_CLOSED, "upstream closed the stream", NULL);
    switch (p->answer.mode) {
    case ANSWER_ERROR: {
        struct upstream_headers headers = upstream_answer_headers(&p->answer);
        if (passthrough_without_stream_options(c) || passthrough_becomes_chat(c))
            break;
        pipeline_map_error(c, p->answer.status, &headers, buf_span(&p->answer.body), &fault);
        pipeline_fail(c, &fault);
        break;
    }
    case ANSWER_EVENTS:
        if (sse_finish(&p->answer.sse, on_event, c))
            pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
        end_stream(c, &fault);
        break;
    case ANSWER_WHOLE:
        end_whole(c);
        break;
    case ANSWER_NONE:
        pipeline_fail(c, &fault);
        break;
    }
}

/* A connection lost behind the last word has cost nothing. */
static void on_failure(struct pipeline *c, const struct transfer *x, const struct api_error *fault)
{
    (void)x;
    struct passthrough *p = state_of(c);
    if (p->answer.mode == ANSWER_EVENTS)
        end_stream(c, fault);
    else
        pipeline_fail(c, fault);
}

static size_t answer_bytes(const struct pipeline *c)
{
    const struct passthrough *p = c->kind_state;
    return upstream_answer_bytes(&p->answer) + p->repaired.cap;
}

static const struct pipeline_kind kind = {.on_head = on_head,
                                          .on_bytes = on_bytes,
                                          .on_end = on_end,
                                          .on_failure = on_failure,
                                          .answer_bytes = answer_bytes,
                                          .destroy = on_destroy};

enum err passthrough_start(struct pipeline *c, struct json body, struct api_error *fault_out)
{
    struct passthrough *p = ARENA_NEW(&c->arena, struct passthrough);
    if (!p)
        return ERR_NOMEM;
    c->kind = &kind;
    c->kind_state = p;
    scan_init(&p->scan, c->spec.api);
    if (json_type(body) == JSON_OBJECT) {
        enum err e = passthrough_edit(c, body, fault_out);
        if (e)
            return e;
    }
    passthrough_send(c);
    return OK;
}
