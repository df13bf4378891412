#include "proto/api_error.h"

#include "common/base/json.h"

enum { MAX_MESSAGE = 1024 };

void api_error_set(struct api_error *e, unsigned error_class, const char *message,
                   const char *param)
{
    *e = (struct api_error){
        .error_class = error_class, .message = span_str(message), .param = span_str(param)};
}

struct api_error api_error_copy(const struct api_error *e, struct arena *arena)
{
    struct api_error copy = *e;
    copy.message = arena_copy(arena, span_first(e->message, MAX_MESSAGE));
    copy.code = arena_copy(arena, span_first(e->code, MAX_MESSAGE));
    copy.param = arena_copy(arena, span_first(e->param, MAX_MESSAGE));
    copy.details_json = arena_copy(arena, e->details_json);
    return copy;
}

/* ---- messages ---- */

void api_error_to_fail(const struct api_error *e, struct fail *m)
{
    m->error_class = e->error_class;
    m->message = span_first(e->message, MAX_MESSAGE);
    m->code = e->code;
    m->param = e->param;
    m->upstream_status = e->upstream_status;
    m->retry_after_ms = e->retry_after_ms;
    m->final = e->final;
    m->details = e->details_json;
}

struct api_error api_error_of_fail(const struct fail *m)
{
    return (struct api_error){
        .error_class = m->error_class,
        .message = m->message,
        .code = m->code,
        .param = m->param,
        .upstream_status = m->upstream_status,
        .retry_after_ms = m->retry_after_ms,
        .final = m->final,
        .details_json = m->details,
    };
}

struct api_error api_error_of_deny(const struct deny *m)
{
    return (struct api_error){
        .error_class = m->error_class,
        .message = m->message,
        .code = m->code,
        .param = m->param,
        .retry_after_ms = m->retry_after_ms,
    };
}

/* ---- text ---- */

static void write_text_or_null(struct json_writer *w, const char *name, struct span text)
{
    jw_key(w, name);
    if (text.len)
        jw_string(w, text);
    else
        jw_null(w);
}

static struct span code_of(const struct api_error *e)
{
    return e->code.len ? e->code : span_str(error_info(e->error_class)->openai_code);
}

static void write_openai(struct json_writer *w, const struct api_error *e)
{
    const struct error_info *info = error_info(e->error_class);
    jw_object(w);
    jw_key(w, "error");
    jw_object(w);
    jw_key(w, "message");
    jw_string(w, e->message);
    jw_key(w, "type");
    jw_str(w, info->openai_type);
    write_text_or_null(w, "param", e->param);
    write_text_or_null(w, "code", code_of(e));
    if (e->details_json.len) {
        jw_key(w, "innererror");
        jw_raw(w, e->details_json);
    }
    jw_object_end(w);
    jw_object_end(w);
}

/* ResponseErrorEvent of OpenAI's API. */
static void write_response_event(struct json_writer *w, const struct api_error *e,
                                 uint64_t sequence)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "error");
    write_text_or_null(w, "code", code_of(e));
    jw_key(w, "message");
    jw_string(w, e->message);
    write_text_or_null(w, "param", e->param);
    jw_key(w, "sequence_number");
    jw_u64(w, sequence);
    jw_object_end(w);
}

static void write_anthropic(struct json_writer *w, const struct api_error *e,
                            struct span request_id)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "error");
    jw_key(w, "error");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, error_info(e->error_class)->anthropic_type);
    jw_key(w, "message");
    jw_string(w, e->message);
    if (e->details_json.len) {
        jw_key(w, "details");
        jw_raw(w, e->details_json);
    }
    jw_object_end(w);
    jw_key(w, "request_id");
    if (request_id.len)
        jw_string(w, request_id);
    else
        jw_null(w);
    jw_object_end(w);
}

void api_error_write_body(struct buf *out, enum api api, const struct api_error *e,
                          struct span request_id)
{
    struct json_writer w = {.out = out};
    if (api_is_anthropic(api))
        write_anthropic(&w, e, request_id);
    else
        write_openai(&w, e);
}

void api_error_write_event(struct buf *out, enum api api, const struct api_error *e,
                           struct span request_id, uint64_t sequence)
{
    bool of_response = api_info(api)->shape == API_SHAPE_RESPONSE;
    struct json_writer w = {.out = out};
    buf_append_str(out, of_response || api_is_anthropic(api) ? "event: error\ndata: " : "data: ");
    if (of_response)
        write_response_event(&w, e, sequence);
    else
        api_error_write_body(out, api, e, request_id);
    buf_append_str(out, "\n\n");
}
