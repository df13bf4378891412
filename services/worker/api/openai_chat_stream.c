/* Chunks of an OpenAI chat answer (docs/wire.md, Streams). */
#include "services/worker/api/openai_chat_answer.h"

static struct json_writer begin_delta(struct chat_writer *w)
{
    struct json_writer jw = {.out = w->base.options.out};
    buf_append_str(jw.out, "data: ");
    buf_append(jw.out, w->prefix);
    buf_append_str(jw.out, ",\"choices\":[{\"index\":0,\"delta\":");
    jw_object(&jw);
    return jw;
}

static void end_delta(struct chat_writer *w, struct json_writer *jw, const char *finish)
{
    jw_object_end(jw);
    jw_key(jw, "finish_reason");
    if (finish)
        jw_str(jw, finish);
    else
        jw_null(jw);
    buf_append_str(jw->out, "}]");
    openai_end_chunk(&w->base);
}

void chat_stream_text(struct chat_writer *w, const char *member, struct span text)
{
    struct json_writer jw = begin_delta(w);
    jw_key(&jw, member);
    jw_text(&jw, text);
    end_delta(w, &jw, NULL);
}

static void make_prefix(struct chat_writer *w)
{
    struct buf text = {0};
    struct json_writer jw = {.out = &text};
    openai_write_head(&w->base, &jw, "chat.completion.chunk");
    chat_write_tier(w, &jw);
    w->prefix = writer_copy(&w->base, buf_span(&text));
    buf_free(&text);
}

void chat_stream_start(struct chat_writer *w)
{
    make_prefix(w);
    struct json_writer jw = begin_delta(w);
    jw_key(&jw, "role");
    jw_str(&jw, "assistant");
    jw_key(&jw, "content");
    jw_str(&jw, "");
    end_delta(w, &jw, NULL);
}

void chat_stream_call(struct chat_writer *w, const struct answer_tool *tool, size_t index,
                      struct span args)
{
    bool legacy = chat_is_legacy(w);
    if (legacy && index > 0)
        return; /* the deprecated form has room for one */
    struct json_writer jw = begin_delta(w);
    jw_key(&jw, legacy ? "function_call" : "tool_calls");
    if (!legacy)
        jw_array(&jw);
    chat_write_call(&jw, legacy, tool, legacy ? NULL : &index);
    jw_text(&jw, args);
    chat_end_call(&jw, legacy);
    if (!legacy)
        jw_array_end(&jw);
    end_delta(w, &jw, NULL);
}

void chat_stream_block(struct chat_writer *w, struct span json)
{
    struct json_writer jw = begin_delta(w);
    jw_key(&jw, "thinking_blocks");
    jw_array(&jw);
    jw_raw(&jw, json);
    jw_array_end(&jw);
    end_delta(w, &jw, NULL);
}

void chat_stream_end(struct chat_writer *w)
{
    struct json_writer jw = begin_delta(w);
    end_delta(w, &jw, chat_finish_word(w));
    openai_end_stream(&w->base, w->prefix);
}
