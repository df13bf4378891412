#include "services/worker/api/openai_answer.h"

void openai_write_head(const struct answer_writer *w, struct json_writer *jw, const char *object)
{
    jw_object(jw);
    jw_key(jw, "id");
    jw_text(jw, w->id_text);
    jw_key(jw, "object");
    jw_str(jw, object);
    writer_count(jw, "created", w->options.created_s);
    jw_key(jw, "model");
    jw_text(jw, w->model_text);
}

void openai_write_usage(struct json_writer *jw, const struct usage *u)
{
    jw_object(jw);
    writer_count(jw, "prompt_tokens", u->input);
    writer_count(jw, "completion_tokens", u->output);
    writer_count(jw, "total_tokens", u->input + u->output);
    jw_key(jw, "prompt_tokens_details");
    jw_object(jw);
    writer_count(jw, "cached_tokens", u->cached);
    writer_count(jw, "cache_write_tokens", u->cache_write);
    writer_cache_split(jw, "cache_creation_token_details", u);
    jw_object_end(jw);
    jw_key(jw, "completion_tokens_details");
    jw_object(jw);
    writer_count(jw, "reasoning_tokens", u->reasoning);
    jw_object_end(jw);
    writer_estimated(jw, u);
    jw_object_end(jw);
}

const char *openai_finish_word(enum stop_reason stop)
{
    switch (stop) {
    case STOP_LENGTH:
    case STOP_CONTEXT:
        return "length";
    case STOP_TOOL:
        return "tool_calls";
    case STOP_FILTER:
        return "content_filter";
    case STOP_UNKNOWN:
    case STOP_END:
    case STOP_SEQUENCE:
    case STOP_PAUSE:
        break;
    }
    return "stop";
}

void openai_end_chunk(const struct answer_writer *w)
{
    struct buf *out = w->options.out;
    if (w->options.request->want_usage)
        buf_append_str(out, ",\"usage\":null");
    buf_append_str(out, "}\n\n");
}

void openai_end_stream(const struct answer_writer *w, struct span prefix)
{
    struct buf *out = w->options.out;
    if (w->options.request->want_usage) {
        struct usage usage = writer_usage(w);
        struct json_writer jw = {.out = out};
        buf_append_str(out, "data: ");
        buf_append(out, prefix);
        buf_append_str(out, ",\"choices\":[],\"usage\":");
        openai_write_usage(&jw, &usage);
        buf_append_str(out, "}\n\n");
    }
    buf_append_str(out, "data: [DONE]\n\n");
}
