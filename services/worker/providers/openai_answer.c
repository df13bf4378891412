/* OpenAI chat answers → neutral events (WIRE 15, 16, 21). */
#include "services/worker/providers/openai.h"

/* ---- shared by bodies and streams ---- */

static void take_count(struct json object, const char *name, uint64_t *into)
{
    int64_t n;
    if (json_i64(json_get(object, name), &n) && n >= 0)
        *into = (uint64_t)n;
}

/* Members that are absent or null leave what an earlier chunk said. */
static void read_usage(struct openai_state *s, struct json usage)
{
    if (json_type(usage) != JSON_OBJECT)
        return;
    struct json in = json_get(usage, "prompt_tokens_details"),
                out = json_get(usage, "completion_tokens_details");
    take_count(usage, "prompt_tokens", &s->usage.input);
    take_count(usage, "completion_tokens", &s->usage.output);
    take_count(usage, "prompt_cache_hit_tokens", &s->usage.cached); /* DeepSeek */
    take_count(in, "cached_tokens", &s->usage.cached);
    take_count(in, "cache_write_tokens", &s->usage.cache_write);
    take_count(out, "reasoning_tokens", &s->usage.reasoning);
}

static bool is_said(struct json v)
{
    bool b;
    return !json_absent(v) && !(json_bool(v, &b) && !b) &&
           !(json_type(v) == JSON_STRING && json_text(v).len == 0);
}

/* An error in place of an answer, in any of the shapes of WIRE 21. */
static bool is_error(struct json root)
{
    if (is_said(json_get(root, "error")))
        return true;
    if (json_type(json_get(root, "choices")) == JSON_ARRAY)
        return false;
    return json_is(json_get(root, "object"), "error") ||
           json_type(json_get(root, "detail")) != JSON_NONE ||
           json_type(json_get(root, "message")) == JSON_STRING;
}

static struct span no_header(const void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return SPAN_NONE;
}

static void say_error(struct provider_call *pc, struct openai_state *s, struct span body)
{
    struct fault fault = {0};
    struct upstream_headers none = {no_header, NULL};
    pc->provider->map_error(pc, 200, &none, body, &fault);
    out_fault(pc, &s->out, &fault);
}

static void say_reasoning(struct provider_call *pc, struct openai_state *s, struct json from)
{
    struct json text = json_get(from, "reasoning_content");
    if (json_type(text) != JSON_STRING)
        text = json_get(from, "reasoning");
    out_text(pc, &s->out, EVENT_THINK, json_text(text));
}

/* A string, or parts of text. */
static void say_content(struct provider_call *pc, struct openai_state *s, struct json content)
{
    if (json_type(content) == JSON_STRING)
        out_text(pc, &s->out, EVENT_TEXT, json_text(content));
    for (struct json_iter i = json_iter(content);
         json_type(content) == JSON_ARRAY && json_next(&i);)
        out_text(pc, &s->out, EVENT_TEXT, json_text(json_get(i.value, "text")));
}

static void say_refusal(struct provider_call *pc, struct openai_state *s, struct json refusal)
{
    if (json_type(refusal) == JSON_STRING && json_text(refusal).len) {
        s->refused = true;
        out_text(pc, &s->out, EVENT_REFUSAL, json_text(refusal));
    }
}

/* ---- why it stopped ---- */

static const struct {
    const char *word;
    enum stop_reason stop;
} stops[] = {
    {"stop", STOP_END},
    {"eos", STOP_END},
    {"end_turn", STOP_END},
    {"length", STOP_LENGTH},
    {"max_tokens", STOP_LENGTH},
    {"model_length", STOP_CONTEXT},
    {"tool_calls", STOP_TOOL},
    {"function_call", STOP_TOOL},
    {"content_filter", STOP_FILTER},
};

static enum stop_reason stop_of(struct json reason)
{
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        if (json_is(reason, stops[i].word))
            return stops[i].stop;
    }
    return STOP_UNKNOWN;
}

/* Some hosts end a failed answer like a good one. */
static bool is_failure(struct json reason)
{
    return json_is(reason, "error") || json_is(reason, "insufficient_system_resource");
}

static bool same_bytes(struct span a_text, struct span b_text)
{
    struct buf a = {0}, b = {0};
    json_text_decode(a_text, &a);
    json_text_decode(b_text, &b);
    bool same = span_equals(buf_span(&a), buf_span(&b));
    buf_free(&a);
    buf_free(&b);
    return same;
}

/* vLLM says which of the requested sequences it was. */
static void note_stop(struct provider_call *pc, struct openai_state *s, struct json choice)
{
    s->finished = true;
    s->stop = stop_of(json_get(choice, "finish_reason"));
    struct json sequence = json_get(choice, "stop_reason");
    const struct neutral_request *r = pc->request;
    for (size_t i = 0; json_type(sequence) == JSON_STRING && i < r->stop_count; i++) {
        if (!same_bytes(json_text(sequence), r->stop_text[i]))
            continue;
        s->stop = STOP_SEQUENCE;
        s->stop_sequence_text = r->stop_text[i];
    }
}

/* Compatible hosts say "stop", or nothing, although a tool is called (H090). */
static enum stop_reason final_stop(const struct openai_state *s)
{
    bool weak = s->stop == STOP_END || s->stop == STOP_UNKNOWN;
    if (s->refused && (weak || s->stop == STOP_FILTER))
        return STOP_FILTER;
    if (s->tool_count && weak)
        return STOP_TOOL;
    return s->stop == STOP_UNKNOWN ? STOP_END : s->stop;
}

static void finish(struct provider_call *pc, struct openai_state *s)
{
    for (size_t i = 0; i < s->tool_count; i++) {
        if (s->tools[i].begun)
            out_tool_end(pc, &s->out, (uint32_t)i);
    }
    out_finish(pc, &s->out, &s->usage, final_stop(s), s->stop_sequence_text);
}

static void fail_by_finish(struct provider_call *pc, struct openai_state *s, struct json reason)
{
    bool busy = json_is(reason, "insufficient_system_resource");
    out_fault_class(pc, &s->out, busy ? ERROR_UPSTREAM_OVERLOADED : ERROR_UPSTREAM_ERROR,
                    "The provider ended its answer with an error.");
}

static struct json first_choice(struct json choices)
{
    for (struct json_iter i = json_iter(choices); json_next(&i);) {
        int64_t index = 0;
        if (!json_i64(json_get(i.value, "index"), &index) || index == 0)
            return i.value;
    }
    return JSON_NOTHING;
}

static bool make_tools(struct provider_call *pc, struct openai_state *s)
{
    if (!s->tools)
        s->tools = ARENA_ARRAY(pc->arena, struct openai_tool, OPENAI_MAX_TOOL_CALLS);
    return s->tools != NULL;
}

/* ---- a whole answer ---- */

static void say_whole_args(struct provider_call *pc, struct openai_state *s, uint32_t slot,
                           struct json args)
{
    if (json_type(args) == JSON_OBJECT)
        out_tool_json(pc, &s->out, slot, args);
    else
        out_tool_args(pc, &s->out, slot, json_text(args));
}

static void say_whole_call(struct provider_call *pc, struct openai_state *s, struct span id_text,
                           struct json function)
{
    if (!make_tools(pc, s) || s->tool_count == OPENAI_MAX_TOOL_CALLS)
        return;
    uint32_t slot = (uint32_t)s->tool_count++;
    s->tools[slot].begun = true;
    out_tool_begin(pc, &s->out, slot, id_text, json_text(json_get(function, "name")));
    say_whole_args(pc, s, slot, json_get(function, "arguments"));
}

static void say_thinking_blocks(struct provider_call *pc, struct openai_state *s,
                                struct json blocks)
{
    for (struct json_iter i = json_iter(blocks); json_next(&i);) {
        out_text(pc, &s->out, EVENT_THINK, json_text(json_get(i.value, "thinking")));
        out_text(pc, &s->out, EVENT_THINK_SIGNATURE, json_text(json_get(i.value, "signature")));
        if (json_is(json_get(i.value, "type"), "redacted_thinking"))
            out_text(pc, &s->out, EVENT_REDACTED, json_text(json_get(i.value, "data")));
    }
}

static void say_message(struct provider_call *pc, struct openai_state *s, struct json message)
{
    struct json blocks = json_get(message, "thinking_blocks");
    if (json_type(blocks) == JSON_ARRAY && json_count(blocks))
        say_thinking_blocks(pc, s, blocks);
    else
        say_reasoning(pc, s, message);
    say_content(pc, s, json_get(message, "content"));
    say_refusal(pc, s, json_get(message, "refusal"));
    struct json calls = json_get(message, "tool_calls"),
                legacy = json_get(message, "function_call");
    for (struct json_iter i = json_iter(calls); json_type(calls) == JSON_ARRAY && json_next(&i);)
        say_whole_call(pc, s, json_text(json_get(i.value, "id")), json_get(i.value, "function"));
    if (json_type(legacy) == JSON_OBJECT)
        say_whole_call(pc, s, SPAN_NONE, legacy);
}

static enum err parse_whole(struct provider_call *pc, struct openai_state *s, struct json root,
                            struct span body)
{
    if (json_type(root) != JSON_OBJECT)
        return ERR_INVALID;
    struct json choice = first_choice(json_get(root, "choices")),
                message = json_get(choice, "message");
    if (is_error(root)) {
        say_error(pc, s, body);
        return OK;
    }
    if (json_type(message) != JSON_OBJECT)
        return ERR_INVALID;
    if (is_failure(json_get(choice, "finish_reason"))) {
        fail_by_finish(pc, s, json_get(choice, "finish_reason"));
        return OK;
    }
    read_usage(s, json_get(root, "usage"));
    s->usage.service_tier_text = json_text(json_get(root, "service_tier"));
    note_stop(pc, s, choice);
    out_start(pc, &s->out, json_text(json_get(root, "id")), json_text(json_get(root, "model")),
              &s->usage);
    say_message(pc, s, message);
    finish(pc, s);
    return OK;
}

enum err openai_parse_response(struct provider_call *pc, const struct exchange *x, struct span body)
{
    (void)x;
    struct openai_state *s = pc->state;
    struct buf repaired = {0};
    struct json root;
    enum err e = out_parse(pc, body, &repaired, &root);
    if (!e)
        e = parse_whole(pc, s, root, repaired.len ? buf_span(&repaired) : body);
    buf_free(&repaired);
    return e;
}

/* ---- a stream ---- */

static struct openai_tool *add_tool(struct provider_call *pc, struct openai_state *s, int64_t index)
{
    if (!make_tools(pc, s) || s->tool_count == OPENAI_MAX_TOOL_CALLS)
        return NULL;
    struct openai_tool *tool = &s->tools[s->tool_count++];
    tool->index = index;
    return tool;
}

/* Which call a delta is for. By index; hosts that give none are taken by position, and a new id
 * under a known index is a new call (they count every call as number 0). */
static struct openai_tool *find_tool(struct provider_call *pc, struct openai_state *s,
                                     struct json delta, int64_t position)
{
    int64_t index = position;
    (void)json_i64(json_get(delta, "index"), &index);
    struct span id = json_text(json_get(delta, "id"));
    for (size_t i = s->tool_count; i-- > 0;) {
        struct openai_tool *tool = &s->tools[i];
        if (tool->index != index)
            continue;
        bool other = id.len && tool->id.len && !span_equals(id, arena_text_span(&tool->id));
        return other ? add_tool(pc, s, index) : tool;
    }
    return add_tool(pc, s, index);
}

/* TOOL_BEGIN needs the name (H092); the id is waited for only until arguments come. */
static void begin_tool(struct provider_call *pc, struct openai_state *s, struct openai_tool *tool)
{
    if (tool->begun || !tool->name.len)
        return;
    uint32_t slot = (uint32_t)(tool - s->tools);
    tool->begun = true;
    out_tool_begin(pc, &s->out, slot, arena_text_span(&tool->id), arena_text_span(&tool->name));
    out_tool_args(pc, &s->out, slot, arena_text_span(&tool->early));
    tool->early.len = 0;
}

static enum err take_args(struct provider_call *pc, struct openai_state *s,
                          struct openai_tool *tool, struct json args)
{
    struct buf text = {0};
    struct span piece = json_text(args);
    bool kept = true;
    if (json_type(args) == JSON_OBJECT) {
        json_append_json_text(&text, args);
        piece = buf_span(&text);
    }
    if (piece.len)
        begin_tool(pc, s, tool);
    if (tool->begun)
        out_tool_args(pc, &s->out, (uint32_t)(tool - s->tools), piece);
    else
        kept = arena_text_append(&tool->early, pc->arena, piece);
    buf_free(&text);
    return kept ? OK : ERR_TOO_BIG;
}

static enum err on_tool_delta(struct provider_call *pc, struct openai_state *s, struct json delta,
                              int64_t position)
{
    struct openai_tool *tool = find_tool(pc, s, delta, position);
    if (!tool)
        return ERR_TOO_BIG;
    struct json function = json_get(delta, "function");
    struct span id = json_text(json_get(delta, "id")), name = json_text(json_get(function, "name"));
    if (!tool->id.len && id.len && !arena_text_append(&tool->id, pc->arena, id))
        return ERR_TOO_BIG;
    if (!tool->begun && !tool->name.len && name.len &&
        !arena_text_append(&tool->name, pc->arena, name))
        return ERR_TOO_BIG;
    if (tool->id.len)
        begin_tool(pc, s, tool);
    return take_args(pc, s, tool, json_get(function, "arguments"));
}

static enum err on_delta(struct provider_call *pc, struct openai_state *s, struct json delta)
{
    say_reasoning(pc, s, delta);
    say_content(pc, s, json_get(delta, "content"));
    say_refusal(pc, s, json_get(delta, "refusal"));
    struct json calls = json_get(delta, "tool_calls");
    int64_t position = 0;
    for (struct json_iter i = json_iter(calls); json_type(calls) == JSON_ARRAY && json_next(&i);
         position++) {
        enum err e = on_tool_delta(pc, s, i.value, position);
        if (e)
            return e;
    }
    return OK;
}

static enum err on_choice(struct provider_call *pc, struct openai_state *s, struct json root,
                          struct json choice)
{
    struct json reason = json_get(choice, "finish_reason");
    out_start(pc, &s->out, json_text(json_get(root, "id")), json_text(json_get(root, "model")),
              &s->usage);
    enum err e = on_delta(pc, s, json_get(choice, "delta"));
    if (e || json_type(reason) != JSON_STRING || json_text(reason).len == 0)
        return e;
    if (is_failure(reason))
        fail_by_finish(pc, s, reason);
    else
        note_stop(pc, s, choice);
    return OK;
}

static enum err on_chunk(struct provider_call *pc, struct openai_state *s, struct json root,
                         struct span data, bool named_error)
{
    if (json_type(root) != JSON_OBJECT)
        return ERR_INVALID;
    if (named_error || is_error(root)) {
        say_error(pc, s, data);
        return OK;
    }
    read_usage(s, json_get(root, "usage"));
    struct json choice = first_choice(json_get(root, "choices"));
    return json_type(choice) == JSON_OBJECT ? on_choice(pc, s, root, choice) : OK;
}

static enum err on_done(struct provider_call *pc, struct openai_state *s)
{
    if (!s->out.started)
        return ERR_INVALID;
    /* a call whose name never came can't be told to anyone; one whose arguments never came can */
    for (size_t i = 0; i < s->tool_count; i++)
        begin_tool(pc, s, &s->tools[i]);
    finish(pc, s);
    return OK;
}

enum err openai_parse_event(struct provider_call *pc, const struct exchange *x,
                            const struct sse_event *e)
{
    (void)x;
    struct openai_state *s = pc->state;
    struct span data = span_trim(e->data);
    if (!out_is_open(&s->out) || data.len == 0)
        return OK;
    if (span_starts(data, "[DONE]"))
        return on_done(pc, s);
    struct buf repaired = {0};
    struct json root;
    bool named_error = span_is(e->name, "error");
    enum err err = out_parse(pc, data, &repaired, &root);
    if (!err)
        err = on_chunk(pc, s, root, repaired.len ? buf_span(&repaired) : data, named_error);
    else if (named_error) {
        say_error(pc, s, data);
        err = OK;
    }
    buf_free(&repaired);
    return err;
}

enum err openai_parse_end(struct provider_call *pc, const struct exchange *x)
{
    (void)x;
    struct openai_state *s = pc->state;
    if (!out_is_open(&s->out))
        return OK;
    if (s->finished)
        return on_done(pc, s);
    out_fault_class(pc, &s->out, ERROR_UPSTREAM_CLOSED, "upstream closed the stream");
    return OK;
}
