/* Neutral events → OpenAI chat answers: chunks as they come, or one completion. */
#include "services/worker/api/openai.h"
#include "services/worker/api/openai_chat_answer.h"

static const char *const id_prefixes[] = {"chatcmpl-", "msg_", NULL};

static void on_text(struct chat_writer *w, struct span text)
{
    if (!text.len)
        return;
    if (w->base.stream)
        chat_stream_text(w, "content", text);
    else
        writer_gather(&w->base, &w->text, text);
}

static void on_think(struct chat_writer *w, struct span text)
{
    if (!text.len)
        return;
    writer_gather(&w->base, &w->thought, text);
    if (w->base.stream)
        chat_stream_text(w, "reasoning_content", text);
    else
        writer_gather(&w->base, &w->reasoning, text);
}

/* A whole thinking block, as JSON in `json`: sent, or kept for the end. */
static void put_block(struct chat_writer *w, const struct buf *json)
{
    w->base.options.out->failed |= json->failed;
    if (!w->base.stream) {
        if (w->blocks.len)
            writer_gather(&w->base, &w->blocks, SPAN(","));
        writer_gather(&w->base, &w->blocks, buf_span(json));
        return;
    }
    chat_stream_block(w, buf_span(json));
}

static void on_signature(struct chat_writer *w, struct span signature)
{
    if (!signature.len) { /* no block can be sent back without one */
        rope_reset(&w->thought);
        return;
    }
    struct buf json = {0};
    struct json_writer jw = {.out = &json};
    jw_object(&jw);
    jw_key(&jw, "type");
    jw_str(&jw, "thinking");
    jw_key(&jw, "thinking");
    rope_write_string(&w->thought, &jw);
    jw_key(&jw, "signature");
    jw_text(&jw, signature);
    jw_object_end(&jw);
    put_block(w, &json);
    buf_free(&json);
    rope_reset(&w->thought);
}

static void on_redacted(struct chat_writer *w, struct span data)
{
    struct buf json = {0};
    struct json_writer jw = {.out = &json};
    jw_object(&jw);
    jw_key(&jw, "type");
    jw_str(&jw, "redacted_thinking");
    jw_key(&jw, "data");
    jw_text(&jw, data);
    jw_object_end(&jw);
    put_block(w, &json);
    buf_free(&json);
}

static void on_tool_begin(struct chat_writer *w, const struct neutral_event *e)
{
    size_t index = w->tools.count;
    struct answer_tool *tool = answer_tools_add(&w->tools, &w->base, e);
    if (!tool)
        return;
    if (!tool->id_text.len)
        tool->id_text = writer_made_id(&w->base, "call_", index);
    if (w->base.stream)
        chat_stream_call(w, tool, index, SPAN(""));
}

static void on_tool_args(struct chat_writer *w, struct answer_tool *tool, struct span text)
{
    if (!tool || !text.len)
        return;
    tool->args_seen = true;
    if (w->base.stream)
        chat_stream_call(w, NULL, (size_t)(tool - w->tools.items), text);
    else
        writer_gather(&w->base, &tool->args, text);
}

/* A call without arguments has `{}`: what a client joins must be JSON. */
static void on_tool_end(struct chat_writer *w, struct answer_tool *tool)
{
    if (!tool || tool->ended)
        return;
    tool->ended = true;
    if (!tool->args_seen)
        on_tool_args(w, tool, SPAN("{}"));
}

static void on_end(struct chat_writer *w)
{
    for (size_t i = 0; i < w->tools.count; i++)
        on_tool_end(w, &w->tools.items[i]);
    w->base.done = true;
    if (w->base.stream)
        chat_stream_end(w);
    else
        chat_unary_end(w);
}

static void ensure_started(struct chat_writer *w)
{
    if (w->base.started)
        return;
    writer_settle_id(&w->base, id_prefixes);
    w->base.started = true;
    if (w->base.stream)
        chat_stream_start(w);
}

struct answer_writer *openai_chat_writer_create(const struct answer_options *options)
{
    struct chat_writer *w = ARENA_NEW(options->arena, struct chat_writer);
    if (!w)
        return NULL;
    writer_init(&w->base, options);
    return &w->base;
}

void openai_chat_write(struct answer_writer *base, const struct neutral_event *e)
{
    struct chat_writer *w = (struct chat_writer *)base;
    if (base->done)
        return;
    writer_take(base, e);
    if (e->kind != EVENT_PING && e->kind != EVENT_ERROR && e->kind != EVENT_USAGE)
        ensure_started(w);
    switch (e->kind) {
    case EVENT_TEXT:
        on_text(w, e->text);
        break;
    case EVENT_REFUSAL:
        /* It explains a refusal whose sign is the finish reason; in a stream only that is sent. */
        writer_gather(base, &w->refusal, e->text);
        break;
    case EVENT_THINK:
        on_think(w, e->text);
        break;
    case EVENT_THINK_SIGNATURE:
        on_signature(w, e->text);
        break;
    case EVENT_REDACTED:
        on_redacted(w, e->text);
        break;
    case EVENT_TOOL_BEGIN:
        on_tool_begin(w, e);
        break;
    case EVENT_TOOL_ARGS:
        on_tool_args(w, answer_tools_find(&w->tools, e->slot), e->text);
        break;
    case EVENT_TOOL_END:
        on_tool_end(w, answer_tools_find(&w->tools, e->slot));
        break;
    case EVENT_PING:
        if (base->stream && base->started)
            buf_append_str(base->options.out, ": ping\n\n");
        break;
    case EVENT_END:
        on_end(w);
        break;
    case EVENT_ERROR:
        writer_error(base, &e->fault);
        break;
    case EVENT_START:
    case EVENT_USAGE:
    case EVENT_STOP:
        break;
    }
}
