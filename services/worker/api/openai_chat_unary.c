/* One OpenAI chat completion (docs/wire.md, Answers). */
#include "services/worker/api/json_fence.h"
#include "services/worker/api/openai_chat_answer.h"

static void write_content(struct chat_writer *w, struct json_writer *jw)
{
    struct span text = rope_join(&w->text, w->base.options.arena);
    jw_key(jw, "content");
    if (!text.data) {
        jw->out->failed = true;
        return;
    }
    if (w->base.options.request->format == FORMAT_JSON)
        text = json_fence_strip(text);
    if (!text.len && w->tools.count)
        jw_null(jw);
    else
        jw_text(jw, text);
}

static void write_args(struct json_writer *jw, const struct answer_tool *tool)
{
    if (tool->args_seen)
        rope_write_string(&tool->args, jw);
    else
        jw_str(jw, "{}");
}

static void write_calls(struct chat_writer *w, struct json_writer *jw)
{
    bool legacy = chat_is_legacy(w);
    if (!w->tools.count)
        return;
    jw_key(jw, legacy ? "function_call" : "tool_calls");
    if (!legacy)
        jw_array(jw);
    for (size_t i = 0; i < (legacy ? 1 : w->tools.count); i++) {
        chat_write_call(jw, legacy, &w->tools.items[i], NULL);
        write_args(jw, &w->tools.items[i]);
        chat_end_call(jw, legacy);
    }
    if (!legacy)
        jw_array_end(jw);
}

static void write_thinking(struct chat_writer *w, struct json_writer *jw)
{
    if (w->reasoning.len) {
        jw_key(jw, "reasoning_content");
        rope_write_string(&w->reasoning, jw);
    }
    if (w->blocks.len) {
        jw_key(jw, "thinking_blocks");
        jw_array(jw);
        rope_write(&w->blocks, jw->out);
        jw_array_end(jw);
    }
}

static void write_message(struct chat_writer *w, struct json_writer *jw)
{
    jw_key(jw, "message");
    jw_object(jw);
    jw_key(jw, "role");
    jw_str(jw, "assistant");
    write_content(w, jw);
    jw_key(jw, "refusal");
    if (w->refusal.len)
        rope_write_string(&w->refusal, jw);
    else
        jw_null(jw);
    write_thinking(w, jw);
    write_calls(w, jw);
    jw_object_end(jw);
}

void chat_unary_end(struct chat_writer *w)
{
    struct json_writer jw = {.out = w->base.options.out};
    struct usage usage = writer_usage(&w->base);
    openai_write_head(&w->base, &jw, "chat.completion");
    jw_key(&jw, "choices");
    jw_array(&jw);
    jw_object(&jw);
    jw_key(&jw, "index");
    jw_u64(&jw, 0);
    write_message(w, &jw);
    jw_key(&jw, "logprobs");
    jw_null(&jw);
    jw_key(&jw, "finish_reason");
    jw_str(&jw, chat_finish_word(w));
    jw_object_end(&jw);
    jw_array_end(&jw);
    jw_key(&jw, "usage");
    openai_write_usage(&jw, &usage);
    chat_write_tier(w, &jw);
    jw_object_end(&jw);
}
