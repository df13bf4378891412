/* Neutral events → OpenAI chat answers: chunks as they come (WIRE 13), or one completion (WIRE 12).
 */
#include "services/worker/api/json_fence.h"
#include "services/worker/api/openai.h"
#include "services/worker/api/writer.h"

struct chat_writer {
    struct answer_writer base;
    struct span prefix; /* streams: every chunk's bytes up to "choices" */
    struct answer_tools tools;
    struct rope text, refusal, reasoning; /* unary */
    struct rope thought;                  /* the thinking block being written */
    struct rope blocks;                   /* unary: the signed ones, as JSON, comma-separated */
};

static const char *const id_prefixes[] = {"chatcmpl-", "msg_", NULL};

static bool is_legacy(const struct chat_writer *w)
{
    return w->base.options.request->legacy_functions;
}

/* OpenAI's word for the tier that answered (WIRE 12); NULL when there is none. */
static const char *tier_word(struct span tier)
{
    if (span_is(tier, "standard") || span_is(tier, "default"))
        return "default";
    return span_is(tier, "priority") ? "priority" : NULL;
}

static void write_tier(const struct chat_writer *w, struct json_writer *jw)
{
    const char *tier = tier_word(w->base.usage.service_tier_text);
    if (!tier)
        return;
    jw_key(jw, "service_tier");
    jw_str(jw, tier);
}

/* The members before "choices". */
static void write_head(const struct chat_writer *w, struct json_writer *jw, const char *object)
{
    jw_object(jw);
    jw_key(jw, "id");
    jw_text(jw, w->base.id_text);
    jw_key(jw, "object");
    jw_str(jw, object);
    jw_key(jw, "created");
    jw_u64(jw, w->base.options.created_s);
    jw_key(jw, "model");
    jw_text(jw, w->base.model_text);
}

/* "tool_calls", unless the client used functions (WIRE 11). A call that ends as plain "stop" is one
 * all the same. */
static const char *finish_word(const struct chat_writer *w)
{
    const char *word = writer_openai_finish(w->base.stop);
    bool called = w->tools.count && (w->base.stop == STOP_END || w->base.stop == STOP_UNKNOWN);
    if (w->base.stop != STOP_TOOL && !called)
        return word;
    return is_legacy(w) ? "function_call" : "tool_calls";
}

/* `id_text` and `name_text` empty: a later piece of the call. */
static void write_call(struct json_writer *jw, bool legacy, const struct answer_tool *tool,
                       const size_t *index)
{
    jw_object(jw);
    if (index) {
        jw_key(jw, "index");
        jw_u64(jw, *index);
    }
    if (!legacy) {
        if (tool) {
            jw_key(jw, "id");
            jw_text(jw, tool->id_text);
            jw_key(jw, "type");
            jw_str(jw, "function");
        }
        jw_key(jw, "function");
        jw_object(jw);
    }
    if (tool) {
        jw_key(jw, "name");
        jw_text(jw, tool->name_text);
    }
    jw_key(jw, "arguments");
}

static void end_call(struct json_writer *jw, bool legacy)
{
    jw_object_end(jw);
    if (!legacy)
        jw_object_end(jw);
}

/* ---- chunks ---- */

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
    if (w->base.options.request->want_usage)
        buf_append_str(jw->out, ",\"usage\":null");
    buf_append_str(jw->out, "}\n\n");
}

static void stream_text(struct chat_writer *w, const char *member, struct span text)
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
    write_head(w, &jw, "chat.completion.chunk");
    write_tier(w, &jw);
    w->prefix = arena_copy(w->base.options.arena, buf_span(&text));
    buf_free(&text);
}

static void stream_start(struct chat_writer *w)
{
    make_prefix(w);
    struct json_writer jw = begin_delta(w);
    jw_key(&jw, "role");
    jw_str(&jw, "assistant");
    jw_key(&jw, "content");
    jw_str(&jw, "");
    end_delta(w, &jw, NULL);
}

/* One piece of a call; `tool` for its first. */
static void stream_call(struct chat_writer *w, const struct answer_tool *tool, size_t index,
                        struct span args)
{
    bool legacy = is_legacy(w);
    if (legacy && index > 0)
        return; /* the deprecated form has room for one */
    struct json_writer jw = begin_delta(w);
    jw_key(&jw, legacy ? "function_call" : "tool_calls");
    if (!legacy)
        jw_array(&jw);
    write_call(&jw, legacy, tool, legacy ? NULL : &index);
    jw_text(&jw, args);
    end_call(&jw, legacy);
    if (!legacy)
        jw_array_end(&jw);
    end_delta(w, &jw, NULL);
}

static void stream_end(struct chat_writer *w)
{
    struct buf *out = w->base.options.out;
    struct json_writer jw = begin_delta(w);
    end_delta(w, &jw, finish_word(w));
    if (w->base.options.request->want_usage) {
        struct usage usage = writer_usage(&w->base);
        struct json_writer usage_jw = {.out = out};
        buf_append_str(out, "data: ");
        buf_append(out, w->prefix);
        buf_append_str(out, ",\"choices\":[],\"usage\":");
        writer_openai_usage(&usage_jw, &usage);
        buf_append_str(out, "}\n\n");
    }
    buf_append_str(out, "data: [DONE]\n\n");
}

/* ---- one completion ---- */

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

static void write_rope(struct json_writer *jw, const struct rope *rope)
{
    jw_string_begin(jw);
    rope_write(rope, jw->out);
    jw_string_end(jw);
}

static void write_args(struct json_writer *jw, const struct answer_tool *tool)
{
    if (tool->args_seen)
        write_rope(jw, &tool->args);
    else
        jw_str(jw, "{}");
}

static void write_calls(struct chat_writer *w, struct json_writer *jw)
{
    bool legacy = is_legacy(w);
    if (!w->tools.count)
        return;
    jw_key(jw, legacy ? "function_call" : "tool_calls");
    if (!legacy)
        jw_array(jw);
    for (size_t i = 0; i < (legacy ? 1 : w->tools.count); i++) {
        write_call(jw, legacy, &w->tools.items[i], NULL);
        write_args(jw, &w->tools.items[i]);
        end_call(jw, legacy);
    }
    if (!legacy)
        jw_array_end(jw);
}

static void write_thinking(struct chat_writer *w, struct json_writer *jw)
{
    if (w->reasoning.len) {
        jw_key(jw, "reasoning_content");
        write_rope(jw, &w->reasoning);
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
        write_rope(jw, &w->refusal);
    else
        jw_null(jw);
    write_thinking(w, jw);
    write_calls(w, jw);
    jw_object_end(jw);
}

static void unary_end(struct chat_writer *w)
{
    struct json_writer jw = {.out = w->base.options.out};
    struct usage usage = writer_usage(&w->base);
    write_head(w, &jw, "chat.completion");
    jw_key(&jw, "choices");
    jw_array(&jw);
    jw_object(&jw);
    jw_key(&jw, "index");
    jw_u64(&jw, 0);
    write_message(w, &jw);
    jw_key(&jw, "logprobs");
    jw_null(&jw);
    jw_key(&jw, "finish_reason");
    jw_str(&jw, finish_word(w));
    jw_object_end(&jw);
    jw_array_end(&jw);
    jw_key(&jw, "usage");
    writer_openai_usage(&jw, &usage);
    write_tier(w, &jw);
    jw_object_end(&jw);
}

/* ---- events ---- */

static void on_text(struct chat_writer *w, struct span text)
{
    if (!text.len)
        return;
    if (w->base.stream)
        stream_text(w, "content", text);
    else
        rope_append(&w->text, w->base.options.arena, text);
}

static void on_think(struct chat_writer *w, struct span text)
{
    if (!text.len)
        return;
    rope_append(&w->thought, w->base.options.arena, text);
    if (w->base.stream)
        stream_text(w, "reasoning_content", text);
    else
        rope_append(&w->reasoning, w->base.options.arena, text);
}

/* A whole thinking block, as JSON in `json`: sent, or kept for the end. */
static void put_block(struct chat_writer *w, const struct buf *json)
{
    w->base.options.out->failed |= json->failed;
    if (!w->base.stream) {
        if (w->blocks.len)
            rope_append(&w->blocks, w->base.options.arena, SPAN(","));
        rope_append(&w->blocks, w->base.options.arena, buf_span(json));
        return;
    }
    struct json_writer jw = begin_delta(w);
    jw_key(&jw, "thinking_blocks");
    jw_array(&jw);
    jw_raw(&jw, buf_span(json));
    jw_array_end(&jw);
    end_delta(w, &jw, NULL);
}

static void on_signature(struct chat_writer *w, struct span signature)
{
    struct buf json = {0};
    struct json_writer jw = {.out = &json};
    jw_object(&jw);
    jw_key(&jw, "type");
    jw_str(&jw, "thinking");
    jw_key(&jw, "thinking");
    write_rope(&jw, &w->thought);
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
    struct answer_tool *tool = answer_tools_add(&w->tools, w->base.options.arena, e);
    if (!tool) {
        w->base.options.out->failed = true;
        return;
    }
    if (!tool->id_text.len)
        tool->id_text = writer_made_id(&w->base, "call_", index);
    if (w->base.stream)
        stream_call(w, tool, index, SPAN(""));
}

static void on_tool_args(struct chat_writer *w, struct answer_tool *tool, struct span text)
{
    if (!tool || !text.len)
        return;
    tool->args_seen = true;
    if (w->base.stream)
        stream_call(w, NULL, (size_t)(tool - w->tools.items), text);
    else
        rope_append(&tool->args, w->base.options.arena, text);
}

/* A call without arguments has `{}`: what a client joins must be JSON (H071). */
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
        stream_end(w);
    else
        unary_end(w);
}

static void ensure_started(struct chat_writer *w)
{
    if (w->base.started)
        return;
    writer_settle_id(&w->base, id_prefixes);
    w->base.started = true;
    if (w->base.stream)
        stream_start(w);
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
        /* It explains a refusal whose sign is the finish reason; in a stream only that is sent
         * (WIRE 13). */
        rope_append(&w->refusal, base->options.arena, e->text);
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
