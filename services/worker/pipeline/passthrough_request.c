/* A pass-through's request: the client's bytes, but for what must change. */
#include "services/worker/pipeline/passthrough.h"

static bool is_forwarded(enum api api, struct span name)
{
    if (api_is_anthropic(api))
        return span_is_nocase(name, "anthropic-beta") ||
               span_is_nocase(name, "anthropic-version") ||
               span_is_nocase(name, "anthropic-user-profile-id") ||
               span_is_nocase(name, "anthropic-workspace-id");
    return span_is_nocase(name, "openai-beta") || span_is_nocase(name, "openai-project") ||
           span_is_nocase(name, "idempotency-key") || span_is_nocase(name, "x-client-request-id");
}

static struct span forward_headers(struct pipeline *c)
{
    struct buf kept = {0};
    struct span rest = c->spec.headers;
    while (rest.len) {
        struct span line = span_cut(&rest, '\n');
        if (!is_forwarded(c->spec.api, span_trim(span_first(line, span_find(line, ':')))))
            continue;
        buf_append(&kept, span_trim(line));
        buf_append_char(&kept, '\n');
    }
    struct span copy = arena_copy(&c->arena, buf_span(&kept));
    buf_free(&kept);
    return copy;
}

static bool has_query_flag(struct span path, const char *flag)
{
    struct span query = path;
    (void)span_cut(&query, '?');
    while (query.len) {
        if (span_is(span_cut(&query, '&'), flag))
            return true;
    }
    return false;
}

enum err passthrough_edit(struct pipeline *c, struct json body, struct api_error *fault_out)
{
    struct passthrough *p = c->kind_state;
    struct request_edit edit = {.api = c->spec.api,
                                .target_model = c->spec.target_model,
                                .compat = &c->compat,
                                .config = c->spec.model_config,
                                .output_cap = c->spec.output_cap};
    buf_init(&p->edited, c->spec.body.len + (1u << 20));
    enum err e = request_edit_native(&edit, body, &p->edited, &p->facts);
    if (e)
        api_error_set(fault_out, ERROR_INTERNAL, "the request could not be edited", NULL);
    if (p->facts.dropped_stream_options)
        c->dropped = "stream_options";
    return e;
}

void passthrough_send(struct pipeline *c)
{
    struct passthrough *p = c->kind_state;
    c->stream = p->facts.stream || has_query_flag(c->spec.path, "stream=true");
    p->transfer = (struct transfer){
        .method = span_is(c->spec.method, "GET")      ? "GET"
                  : span_is(c->spec.method, "DELETE") ? "DELETE"
                                                      : "POST",
        .path = c->spec.path,
        .headers = forward_headers(c),
        .body = p->edited.len ? buf_span(&p->edited) : c->spec.body,
        .expects_stream = c->stream,
        .repeatable = span_is(c->spec.method, "GET"),
    };
    pipeline_send(c, &p->transfer);
}

bool passthrough_without_stream_options(struct pipeline *c)
{
    struct passthrough *p = c->kind_state;
    struct api_error fault;
    if (!p->facts.forced_usage ||
        !pipeline_learns_stream_options(c, p->answer.status, buf_span(&p->answer.body)) ||
        json_parse(&c->doc, c->spec.body, JSON_DEPTH_CLIENT) != OK)
        return false;
    buf_free(&p->edited);
    if (passthrough_edit(c, json_root(&c->doc), &fault) != OK)
        return false;
    upstream_answer_reset(&p->answer);
    p->again = p->transfer;
    p->again.body = p->edited.len ? buf_span(&p->edited) : c->spec.body;
    pipeline_send(c, &p->again);
    return true;
}

bool passthrough_becomes_chat(struct pipeline *c)
{
    struct passthrough *p = c->kind_state;
    struct api_error fault;
    api_error_set(&fault, ERROR_INTERNAL, "the request could not be prepared", NULL);
    if (!pipeline_learns_chat_only(c, p->answer.status, buf_span(&p->answer.body)))
        return false;
    c->kind->destroy(c);
    if (json_parse(&c->doc, c->spec.body, JSON_DEPTH_CLIENT) ||
        translation_start(c, json_root(&c->doc), &fault))
        pipeline_fail(c, &fault);
    json_doc_free(&c->doc);
    return true;
}
