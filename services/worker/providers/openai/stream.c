/* OpenAI chat streams → neutral events (docs/wire.md, Streams). */
#include "services/worker/providers/openai/openai.h"

/* ---- a stream ---- */

static struct openai_tool *add_tool(struct conversion *pc, struct openai_state *s, int64_t index)
{
    if (!openai_make_tools(pc, s) || s->tool_count == OPENAI_MAX_TOOL_CALLS)
        return NULL;
    struct openai_tool *tool = &s->tools[s->tool_count++];
    tool->index = index;
    return tool;
}

/* A call by name, under an index whose call is whole: another one, of a server that gives no ids.
 */
static bool begins_another(const struct openai_tool *tool, struct json delta)
{
    struct json function = json_get(delta, "function");
    return tool->args.complete && json_text(json_get(function, "name")).len > 0 &&
           json_text(json_get(delta, "id")).len == 0 &&
           json_text(json_get(function, "arguments")).len > 0;
}

/* Which call a delta is for. By index; servers that give none are taken by position, and a new id
 * under a known index is a new call (they count every call as number 0). */
static struct openai_tool *find_tool(struct conversion *pc, struct openai_state *s,
                                     struct json delta, int64_t position)
{
    int64_t index = position;
    (void)json_i64(json_get(delta, "index"), &index);
    struct span id = json_text(json_get(delta, "id"));
    for (size_t i = s->tool_count; i-- > 0;) {
        struct openai_tool *tool = &s->tools[i];
        if (tool->index != index)
            continue;
        bool other = (id.len && tool->id.len && !span_equals(id, arena_text_span(&tool->id))) ||
                     begins_another(tool, delta);
        return other ? add_tool(pc, s, index) : tool;
    }
    return add_tool(pc, s, index);
}

/* TOOL_BEGIN needs the name; the id is waited for only until arguments come. */
static void begin_tool(struct conversion *pc, struct openai_state *s, struct openai_tool *tool)
{
    if (tool->begun || !tool->name.len)
        return;
    uint32_t slot = (uint32_t)(tool - s->tools);
    tool->begun = true;
    out_tool_begin(pc, &s->out, slot, arena_text_span(&tool->id), arena_text_span(&tool->name));
    out_tool_args(pc, &s->out, slot, arena_text_span(&tool->early));
    tool->early.len = 0;
}

static enum err take_args(struct conversion *pc, struct openai_state *s, struct openai_tool *tool,
                          struct json args)
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
    args_scan_feed(&tool->args, piece);
    if (tool->begun)
        out_tool_args(pc, &s->out, (uint32_t)(tool - s->tools), piece);
    else
        kept = arena_text_append(&tool->early, pc->arena, piece);
    buf_free(&text);
    return kept ? OK : ERR_TOO_BIG;
}

static enum err on_tool_delta(struct conversion *pc, struct openai_state *s, struct json delta,
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

static enum err on_delta(struct conversion *pc, struct openai_state *s, struct json delta)
{
    openai_say_reasoning(pc, s, delta);
    openai_say_content(pc, s, json_get(delta, "content"));
    openai_say_refusal(pc, s, json_get(delta, "refusal"));
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

static enum err on_choice(struct conversion *pc, struct openai_state *s, struct json root,
                          struct json choice)
{
    struct json reason = json_get(choice, "finish_reason");
    out_start(pc, &s->out, json_text(json_get(root, "id")), json_text(json_get(root, "model")),
              &s->usage);
    enum err e = on_delta(pc, s, json_get(choice, "delta"));
    if (e || json_type(reason) != JSON_STRING || json_text(reason).len == 0)
        return e;
    if (openai_is_failure(reason))
        openai_fail_by_finish(pc, s, reason);
    else
        openai_note_stop(pc, s, choice);
    if (s->usage.output == USAGE_UNKNOWN)
        usage_read_groq(&s->usage, root);
    return OK;
}

static enum err on_chunk(struct conversion *pc, struct openai_state *s, struct json root,
                         struct span data, struct span name)
{
    if (json_type(root) == JSON_NULL) /* some servers' way to keep a connection */
        return OK;
    if (json_type(root) != JSON_OBJECT)
        return ERR_INVALID;
    if (answer_event_is_error(root, name)) {
        out_error_body(pc, &s->out, data);
        return OK;
    }
    openai_note_bill(s, root);
    struct json choice = openai_first_choice(json_get(root, "choices"));
    return json_type(choice) == JSON_OBJECT ? on_choice(pc, s, root, choice) : OK;
}

static enum err on_done(struct conversion *pc, struct openai_state *s)
{
    if (!s->out.started)
        return ERR_INVALID;
    /* a call whose name never came can't be told to anyone; one whose arguments never came can */
    for (size_t i = 0; i < s->tool_count; i++)
        begin_tool(pc, s, &s->tools[i]);
    openai_finish(pc, s);
    return OK;
}

enum err openai_parse_event(struct conversion *pc, const struct transfer *x,
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
    enum err err = out_parse(pc, data, &repaired, &root);
    if (!err)
        err = on_chunk(pc, s, root, repaired.len ? buf_span(&repaired) : data, e->name);
    else if (span_is(e->name, "error")) {
        out_error_body(pc, &s->out, data);
        err = OK;
    }
    buf_free(&repaired);
    return err;
}

enum err openai_parse_end(struct conversion *pc, const struct transfer *x)
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
