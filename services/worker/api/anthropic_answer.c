#include "services/worker/api/anthropic_answer.h"

bool anthropic_shows_thinking(const struct anthropic_writer *w)
{
    enum thinking_mode mode = w->base.options.request->thinking;
    return mode == THINKING_BUDGET || mode == THINKING_ADAPTIVE;
}

struct span anthropic_tool_id(struct anthropic_writer *w, const struct neutral_event *e)
{
    size_t number = w->tool_count++;
    return e->id_text.len ? writer_copy(&w->base, e->id_text)
                          : writer_made_id(&w->base, "toolu_", number);
}

static const char *stop_word(const struct anthropic_writer *w, enum stop_reason stop)
{
    if (w->refused)
        return "refusal";
    switch (stop) {
    case STOP_SEQUENCE:
        return "stop_sequence";
    case STOP_LENGTH:
        return "max_tokens";
    case STOP_CONTEXT:
        return "model_context_window_exceeded";
    case STOP_FILTER:
        return "refusal";
    case STOP_PAUSE:
        return "pause_turn";
    case STOP_UNKNOWN:
    case STOP_END:
    case STOP_TOOL:
        break;
    }
    /* Servers say "stop" with tool calls too; without one a client must not wait for any. */
    return w->tool_count ? "tool_use" : "end_turn";
}

void anthropic_write_stop(const struct anthropic_writer *w, struct json_writer *jw,
                          enum stop_reason stop)
{
    jw_key(jw, "stop_reason");
    jw_str(jw, stop_word(w, stop));
    jw_key(jw, "stop_sequence");
    if (!w->refused && stop == STOP_SEQUENCE && w->base.stop_sequence_text.len)
        jw_text(jw, w->base.stop_sequence_text);
    else
        jw_null(jw);
}

void anthropic_write_usage(const struct anthropic_writer *w, struct json_writer *jw)
{
    struct usage u = writer_usage(&w->base);
    uint64_t other = u.cached + u.cache_write;
    jw_object(jw);
    writer_count(jw, "input_tokens", u.input > other ? u.input - other : 0);
    writer_count(jw, "cache_creation_input_tokens", u.cache_write);
    writer_count(jw, "cache_read_input_tokens", u.cached);
    writer_cache_split(jw, "cache_creation", &u);
    writer_count(jw, "output_tokens", u.output);
    if (u.reasoning) {
        jw_key(jw, "output_tokens_details");
        jw_object(jw);
        writer_count(jw, "thinking_tokens", u.reasoning);
        jw_object_end(jw);
    }
    writer_estimated(jw, &u);
    jw_object_end(jw);
}
