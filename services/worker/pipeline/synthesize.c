#include "services/worker/pipeline/synthesize.h"
#include "services/worker/pipeline/synthesize_internal.h"

/* ---- OpenAI chat ---- */

static void begin_chunk(struct json_writer *w, struct json body, bool with_usage)
{
    static const char *const except[] = {"object", "choices", "usage"};
    synthesize_begin_event(w, NULL);
    jw_object(w);
    synthesize_copy_members(w, body, except, 3);
    jw_key(w, "object");
    jw_str(w, "chat.completion.chunk");
    if (with_usage) {
        jw_key(w, "usage");
        jw_null(w);
    }
    jw_key(w, "choices");
    jw_array(w);
}

static void end_chunk(struct json_writer *w)
{
    jw_array_end(w);
    jw_object_end(w);
    synthesize_end_event(w);
}

static void put_tool_calls(struct json_writer *w, struct json calls)
{
    static const char *const except[] = {"index"};
    uint64_t index = 0;
    jw_array(w);
    for (struct json_iter i = json_iter(calls); json_next(&i);) {
        jw_object(w);
        jw_key(w, "index");
        jw_u64(w, index++);
        synthesize_copy_members(w, i.value, except, 1);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void put_delta(struct json_writer *w, struct json message)
{
    static const char *const except[] = {"tool_calls"};
    struct json calls = json_get(message, "tool_calls");
    jw_object(w);
    synthesize_copy_members(w, message, except, 1);
    if (json_type(calls) == JSON_ARRAY) {
        jw_key(w, "tool_calls");
        put_tool_calls(w, calls);
    }
    jw_object_end(w);
}

static void put_chat_choice(struct json_writer *w, struct json body, struct json choice,
                            bool with_usage)
{
    static const char *const of_first[] = {"message", "finish_reason"};
    begin_chunk(w, body, with_usage);
    jw_object(w);
    synthesize_copy_members(w, choice, of_first, 2);
    jw_key(w, "delta");
    put_delta(w, json_get(choice, "message"));
    jw_key(w, "finish_reason");
    jw_null(w);
    jw_object_end(w);
    end_chunk(w);

    begin_chunk(w, body, with_usage);
    jw_object(w);
    jw_key(w, "index");
    struct json index = json_get(choice, "index");
    jw_raw(w, json_absent(index) ? SPAN("0") : json_raw(index));
    jw_key(w, "delta");
    jw_object(w);
    jw_object_end(w);
    jw_key(w, "finish_reason");
    struct json finish = json_get(choice, "finish_reason");
    jw_raw(w, json_absent(finish) ? SPAN("\"stop\"") : json_raw(finish));
    jw_object_end(w);
    end_chunk(w);
}

static void put_usage_chunk(struct json_writer *w, struct json body, const char *object)
{
    static const char *const except[] = {"object", "choices", "usage"};
    synthesize_begin_event(w, NULL);
    jw_object(w);
    synthesize_copy_members(w, body, except, 3);
    jw_key(w, "object");
    jw_str(w, object);
    jw_key(w, "choices");
    jw_array(w);
    jw_array_end(w);
    jw_key(w, "usage");
    synthesize_put_compact(w, json_get(body, "usage"));
    jw_object_end(w);
    synthesize_end_event(w);
}

static enum err synthesize_chat(struct json_writer *w, struct json body, bool with_usage)
{
    struct json choices = json_get(body, "choices");
    if (json_type(choices) != JSON_ARRAY)
        return ERR_INVALID;
    /* each choice repeats what stands beside them: no further than there is room */
    for (struct json_iter i = json_iter(choices); !w->out->failed && json_next(&i);)
        put_chat_choice(w, body, i.value, with_usage);
    if (with_usage && json_type(json_get(body, "usage")) == JSON_OBJECT)
        put_usage_chunk(w, body, "chat.completion.chunk");
    return OK;
}

/* A chunk of the legacy protocol has the shape of its whole answer. */
static enum err synthesize_completion(struct json_writer *w, struct json body, bool with_usage)
{
    static const char *const except[] = {"usage"};
    if (json_type(json_get(body, "choices")) != JSON_ARRAY)
        return ERR_INVALID;
    synthesize_begin_event(w, NULL);
    jw_object(w);
    synthesize_copy_members(w, body, except, 1);
    jw_object_end(w);
    synthesize_end_event(w);
    if (with_usage && json_type(json_get(body, "usage")) == JSON_OBJECT)
        put_usage_chunk(w, body, "text_completion");
    return OK;
}

/* ---- Anthropic messages ---- */

static void put_message_start(struct json_writer *w, struct json body)
{
    static const char *const except[] = {"content", "stop_reason", "stop_sequence", "stop_details"};
    synthesize_begin_event(w, "message_start");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "message_start");
    jw_key(w, "message");
    jw_object(w);
    synthesize_copy_members(w, body, except, 4);
    jw_key(w, "content");
    jw_array(w);
    jw_array_end(w);
    jw_key(w, "stop_reason");
    jw_null(w);
    jw_key(w, "stop_sequence");
    jw_null(w);
    jw_object_end(w);
    jw_object_end(w);
    synthesize_end_event(w);
}

/* A block's member that streams as deltas, what it starts as, and the delta's type. */
static const struct streamed {
    const char *member, *empty, *delta, *field;
} streamed[] = {
    {"text", "\"\"", "text_delta", "text"},
    {"thinking", "\"\"", "thinking_delta", "thinking"},
    {"signature", "\"\"", "signature_delta", "signature"},
    {"input", "{}", "input_json_delta", "partial_json"},
};
enum { STREAMED = sizeof streamed / sizeof *streamed };

static bool streams(struct json block)
{
    struct json type = json_get(block, "type");
    return json_is(type, "text") || json_is(type, "thinking") || json_is(type, "tool_use") ||
           json_is(type, "server_tool_use");
}

static const struct streamed *find_streamed(struct json key)
{
    for (size_t i = 0; i < STREAMED; i++) {
        if (json_is(key, streamed[i].member))
            return &streamed[i];
    }
    return NULL;
}

static void put_block_start(struct json_writer *w, struct json block, uint64_t index)
{
    synthesize_begin_event(w, "content_block_start");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "content_block_start");
    jw_key(w, "index");
    jw_u64(w, index);
    jw_key(w, "content_block");
    jw_object(w);
    bool streaming = streams(block);
    for (struct json_iter i = json_iter(block); json_next(&i);) {
        const struct streamed *s = streaming ? find_streamed(i.key) : NULL;
        jw_key_text(w, json_text(i.key));
        if (s)
            jw_raw(w, span_str(s->empty));
        else
            synthesize_put_compact(w, i.value);
    }
    jw_object_end(w);
    jw_object_end(w);
    synthesize_end_event(w);
}

static void put_block_delta(struct json_writer *w, struct json value, const struct streamed *s,
                            uint64_t index)
{
    synthesize_begin_event(w, "content_block_delta");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "content_block_delta");
    jw_key(w, "index");
    jw_u64(w, index);
    jw_key(w, "delta");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, s->delta);
    jw_key(w, s->field);
    if (json_type(value) == JSON_STRING)
        jw_value(w, value);
    else
        jw_string(w, json_raw(value));
    jw_object_end(w);
    jw_object_end(w);
    synthesize_end_event(w);
}

static void put_block(struct json_writer *w, struct json block, uint64_t index)
{
    put_block_start(w, block, index);
    bool streaming = streams(block);
    for (struct json_iter i = json_iter(block); streaming && json_next(&i);) {
        const struct streamed *s = find_streamed(i.key);
        if (s && !json_absent(i.value) && !json_is(i.value, ""))
            put_block_delta(w, i.value, s, index);
    }
    synthesize_begin_event(w, "content_block_stop");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "content_block_stop");
    jw_key(w, "index");
    jw_u64(w, index);
    jw_object_end(w);
    synthesize_end_event(w);
}

static void put_message_end(struct json_writer *w, struct json body)
{
    static const char *const names[] = {"stop_reason", "stop_sequence", "stop_details",
                                        "container"};
    synthesize_begin_event(w, "message_delta");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "message_delta");
    jw_key(w, "delta");
    jw_object(w);
    for (size_t i = 0; i < 4; i++) {
        struct json v = json_get(body, names[i]);
        if (json_type(v) == JSON_NONE)
            continue;
        jw_key(w, names[i]);
        synthesize_put_compact(w, v);
    }
    jw_object_end(w);
    struct json usage = json_get(body, "usage");
    if (!json_absent(usage)) {
        jw_key(w, "usage");
        synthesize_put_compact(w, usage);
    }
    jw_object_end(w);
    synthesize_end_event(w);
    buf_append_str(w->out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

static enum err synthesize_message(struct json_writer *w, struct json body, bool with_usage)
{
    (void)with_usage;
    struct json content = json_get(body, "content");
    if (json_type(content) != JSON_ARRAY)
        return ERR_INVALID;
    put_message_start(w, body);
    uint64_t index = 0;
    for (struct json_iter i = json_iter(content); json_next(&i);)
        put_block(w, i.value, index++);
    put_message_end(w, body);
    return OK;
}

typedef enum err (*synthesize_fn)(struct json_writer *w, struct json body, bool with_usage);

static const synthesize_fn functions[API_COUNT] = {
    [API_OPENAI_CHAT] = synthesize_chat,
    [API_OPENAI_COMPLETIONS] = synthesize_completion,
    [API_OPENAI_RESPONSES] = synthesize_response,
    [API_ANTHROPIC_MESSAGES] = synthesize_message,
};

enum err synthesize_stream(enum api api, struct json body, bool with_usage, struct buf *out)
{
    struct json_writer w = {.out = out};
    return (unsigned)api < API_COUNT && functions[api] ? functions[api](&w, body, with_usage)
                                                       : ERR_INVALID;
}
