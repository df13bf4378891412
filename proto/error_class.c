#include "proto/error_class.h"

#include "common/base/json.h"

static const struct error_info infos[ERROR_CLASS_COUNT] = {
#define ERROR_CLASS(name, ostatus, otype, ocode, astatus, atype, retry)                            \
    [ERROR_##name] = {#name, ostatus, otype, ocode, astatus, atype, RETRY_##retry},
#include "proto/errors.def"
#undef ERROR_CLASS
};

const struct error_info *error_info(unsigned error_class)
{
    return &infos[error_class < ERROR_CLASS_COUNT ? error_class : ERROR_INTERNAL];
}

unsigned error_status(unsigned error_class, enum api api)
{
    const struct error_info *info = error_info(error_class);
    return api_is_anthropic(api) ? info->anthropic_status : info->openai_status;
}

bool error_should_retry(unsigned error_class)
{
    return error_info(error_class)->retry != RETRY_NEVER;
}

static void write_openai(struct json_writer *w, const struct error_report *r)
{
    const struct error_info *info = error_info(r->error_class);
    jw_object(w);
    jw_key(w, "error");
    jw_object(w);
    jw_key(w, "message");
    jw_string(w, r->message);
    jw_key(w, "type");
    jw_str(w, info->openai_type);
    jw_key(w, "param");
    if (r->param.len)
        jw_string(w, r->param);
    else
        jw_null(w);
    jw_key(w, "code");
    struct span code = r->code.len ? r->code : span_str(info->openai_code);
    if (code.len)
        jw_string(w, code);
    else
        jw_null(w);
    jw_object_end(w);
    jw_object_end(w);
}

static void write_anthropic(struct json_writer *w, const struct error_report *r)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "error");
    jw_key(w, "error");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, error_info(r->error_class)->anthropic_type);
    jw_key(w, "message");
    jw_string(w, r->message);
    if (r->details_json.len) {
        jw_key(w, "details");
        jw_raw(w, r->details_json);
    }
    jw_object_end(w);
    jw_key(w, "request_id");
    if (r->request_id.len)
        jw_string(w, r->request_id);
    else
        jw_null(w);
    jw_object_end(w);
}

void error_write_body(struct buf *out, enum api api, const struct error_report *r)
{
    struct json_writer w = {.out = out};
    if (api_is_anthropic(api))
        write_anthropic(&w, r);
    else
        write_openai(&w, r);
}

void error_write_event(struct buf *out, enum api api, const struct error_report *r)
{
    buf_append_str(out, api_is_anthropic(api) ? "event: error\ndata: " : "data: ");
    error_write_body(out, api, r);
    buf_append_str(out, "\n\n");
}
