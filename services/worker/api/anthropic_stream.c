/* Neutral events → Anthropic's stream (docs/wire.md, Streams). Blocks never overlap: at most one
 * tool is live, the arguments of others wait for their turn. */
#include "services/worker/api/anthropic_answer.h"

#define EVENT(name) "event: " name "\ndata: {\"type\":\"" name "\""

static struct buf *out_of(struct anthropic_writer *w)
{
    return w->base.options.out;
}

static void end_event(struct anthropic_writer *w)
{
    buf_append_str(out_of(w), "}\n\n");
}

static void write_ping(struct anthropic_writer *w)
{
    buf_append_str(out_of(w), "event: ping\ndata: {\"type\": \"ping\"}\n\n");
}

/* ---- blocks ---- */

/* "…,"index":N,"content_block":" and the opened object with its type. */
static struct json_writer begin_block(struct anthropic_writer *w, enum block_kind kind,
                                      const char *type)
{
    struct json_writer jw = {.out = out_of(w), .comma_ = true};
    buf_append_str(jw.out, EVENT("content_block_start"));
    jw_key(&jw, "index");
    jw_u64(&jw, w->next_index++);
    jw_key(&jw, "content_block");
    jw_object(&jw);
    jw_key(&jw, "type");
    jw_str(&jw, type);
    w->open = kind;
    return jw;
}

static void end_block_start(struct anthropic_writer *w, struct json_writer *jw)
{
    jw_object_end(jw);
    end_event(w);
}

static void close_block(struct anthropic_writer *w)
{
    if (w->open == BLOCK_NONE)
        return;
    struct json_writer jw = {.out = out_of(w), .comma_ = true};
    buf_append_str(jw.out, EVENT("content_block_stop"));
    jw_key(&jw, "index");
    jw_u64(&jw, w->next_index - 1);
    end_event(w);
    w->open = BLOCK_NONE;
}

/* A delta of the open block; the caller writes the string's content and calls end_delta. */
static struct json_writer begin_delta(struct anthropic_writer *w, const char *type,
                                      const char *member)
{
    struct json_writer jw = {.out = out_of(w), .comma_ = true};
    buf_append_str(jw.out, EVENT("content_block_delta"));
    jw_key(&jw, "index");
    jw_u64(&jw, w->next_index - 1);
    jw_key(&jw, "delta");
    jw_object(&jw);
    jw_key(&jw, "type");
    jw_str(&jw, type);
    jw_key(&jw, member);
    jw_string_begin(&jw);
    return jw;
}

static void end_delta(struct anthropic_writer *w, struct json_writer *jw)
{
    jw_string_end(jw);
    jw_object_end(jw);
    end_event(w);
}

static void write_delta(struct anthropic_writer *w, const char *type, const char *member,
                        struct span text)
{
    struct json_writer jw = begin_delta(w, type, member);
    jw_string_text(&jw, text);
    end_delta(w, &jw);
}

static void open_text(struct anthropic_writer *w)
{
    struct json_writer jw = begin_block(w, BLOCK_TEXT, "text");
    jw_key(&jw, "text");
    jw_str(&jw, "");
    end_block_start(w, &jw);
}

static void open_thinking(struct anthropic_writer *w)
{
    struct json_writer jw = begin_block(w, BLOCK_THINKING, "thinking");
    jw_key(&jw, "thinking");
    jw_str(&jw, "");
    jw_key(&jw, "signature");
    jw_str(&jw, "");
    end_block_start(w, &jw);
}

/* ---- tools ---- */

static struct live_tool *live_tool(struct anthropic_writer *w)
{
    struct live_tool *last = w->first_waiting ? &w->tools[w->first_waiting - 1] : NULL;
    return last && last->state == TOOL_LIVE ? last : NULL;
}

static void close_tool(struct anthropic_writer *w)
{
    struct live_tool *tool = live_tool(w);
    if (!tool)
        return;
    tool->state = TOOL_CLOSED;
    close_block(w);
}

static void start_tool(struct anthropic_writer *w, struct live_tool *tool)
{
    close_block(w);
    struct json_writer jw = begin_block(w, BLOCK_TOOL, "tool_use");
    jw_key(&jw, "id");
    jw_text(&jw, tool->id_text);
    jw_key(&jw, "name");
    jw_text(&jw, tool->name_text);
    jw_key(&jw, "input");
    jw_object(&jw);
    jw_object_end(&jw);
    end_block_start(w, &jw);
    tool->state = TOOL_LIVE;
    w->first_waiting++;
    if (!tool->args.len)
        return;
    jw = begin_delta(w, "input_json_delta", "partial_json");
    rope_write(&tool->args, jw.out);
    end_delta(w, &jw);
}

/* Closes the live tool when nothing more can come for it and another waits, as long as that holds;
 * with `all`, every tool in its order. */
static void advance_tools(struct anthropic_writer *w, bool all)
{
    for (;;) {
        struct live_tool *live = live_tool(w);
        bool waits = w->first_waiting < w->tool_count;
        if (live && !all && !(waits && (live->scan.complete || live->ended)))
            return;
        close_tool(w);
        if (!waits)
            return;
        start_tool(w, &w->tools[w->first_waiting]);
    }
}

static bool has_room(struct anthropic_writer *w)
{
    if (w->tool_count < w->tool_cap)
        return true;
    size_t cap = w->tool_cap ? w->tool_cap * 2 : 4;
    struct live_tool *grown = ARENA_ARRAY(w->base.options.arena, struct live_tool, cap);
    if (!grown)
        return false;
    if (w->tool_count)
        memcpy(grown, w->tools, w->tool_count * sizeof *grown);
    w->tools = grown;
    w->tool_cap = cap;
    return true;
}

static void on_tool_begin(struct anthropic_writer *w, const struct neutral_event *e)
{
    if (!has_room(w)) {
        out_of(w)->failed = true;
        return;
    }
    struct live_tool *tool = &w->tools[w->tool_count];
    *tool = (struct live_tool){.slot = e->slot};
    tool->name_text = writer_copy(&w->base, e->name_text);
    tool->id_text = anthropic_tool_id(w, e);
    advance_tools(w, false);
}

static struct live_tool *find_tool(struct anthropic_writer *w, uint32_t slot)
{
    if (slot < w->tool_count && w->tools[slot].slot == slot)
        return &w->tools[slot];
    for (size_t i = w->tool_count; i-- > 0;) {
        if (w->tools[i].slot == slot)
            return &w->tools[i];
    }
    return NULL;
}

static void on_tool_args(struct anthropic_writer *w, const struct neutral_event *e)
{
    struct live_tool *tool = find_tool(w, e->slot);
    if (!tool || !e->text.len)
        return;
    args_scan_feed(&tool->scan, e->text);
    if (tool->state == TOOL_WAITING)
        writer_gather(&w->base, &tool->args, e->text);
    else if (tool->state == TOOL_LIVE)
        write_delta(w, "input_json_delta", "partial_json", e->text);
    advance_tools(w, false);
}

static void on_tool_end(struct anthropic_writer *w, const struct neutral_event *e)
{
    struct live_tool *tool = find_tool(w, e->slot);
    if (!tool)
        return;
    tool->ended = true;
    if (tool->state == TOOL_LIVE)
        close_tool(w);
    advance_tools(w, false);
}

/* ---- the rest ---- */

static void on_text(struct anthropic_writer *w, struct span text)
{
    if (!text.len)
        return;
    advance_tools(w, true);
    if (w->open != BLOCK_TEXT) {
        close_block(w);
        open_text(w);
    }
    write_delta(w, "text_delta", "text", text);
}

static void on_think(struct anthropic_writer *w, struct span text, bool signature)
{
    if (!anthropic_shows_thinking(w) || !text.len)
        return;
    advance_tools(w, true);
    if (w->open != BLOCK_THINKING) {
        close_block(w);
        open_thinking(w);
    }
    if (signature) {
        write_delta(w, "signature_delta", "signature", text);
        close_block(w);
    } else {
        write_delta(w, "thinking_delta", "thinking", text);
    }
}

static void on_redacted(struct anthropic_writer *w, struct span data)
{
    if (!anthropic_shows_thinking(w))
        return;
    advance_tools(w, true);
    close_block(w);
    struct json_writer jw = begin_block(w, BLOCK_REDACTED, "redacted_thinking");
    jw_key(&jw, "data");
    jw_text(&jw, data);
    end_block_start(w, &jw);
    close_block(w);
}

static void on_end(struct anthropic_writer *w)
{
    advance_tools(w, true);
    close_block(w);
    struct json_writer jw = {.out = out_of(w), .comma_ = true};
    buf_append_str(jw.out, EVENT("message_delta"));
    jw_key(&jw, "delta");
    jw_object(&jw);
    anthropic_write_stop(w, &jw, w->base.stop);
    jw_object_end(&jw);
    jw_key(&jw, "usage");
    anthropic_write_usage(w, &jw);
    end_event(w);
    buf_append_str(jw.out, EVENT("message_stop"));
    end_event(w);
    w->base.done = true;
}

/* The counts known so early; the final ones come with message_delta. */
static void write_early_usage(struct anthropic_writer *w, struct json_writer *jw)
{
    struct usage u = writer_usage(&w->base);
    uint64_t other = u.cached + u.cache_write;
    jw_key(jw, "usage");
    jw_object(jw);
    writer_count(jw, "input_tokens", u.input > other ? u.input - other : 0);
    if (other) {
        writer_count(jw, "cache_creation_input_tokens", u.cache_write);
        writer_count(jw, "cache_read_input_tokens", u.cached);
    }
    writer_count(jw, "output_tokens", 0);
    jw_object_end(jw);
}

void anthropic_stream_start(struct anthropic_writer *w)
{
    struct json_writer jw = {.out = out_of(w), .comma_ = true};
    buf_append_str(jw.out, EVENT("message_start"));
    jw_key(&jw, "message");
    jw_object(&jw);
    jw_key(&jw, "id");
    jw_text(&jw, w->base.id_text);
    jw_key(&jw, "type");
    jw_str(&jw, "message");
    jw_key(&jw, "role");
    jw_str(&jw, "assistant");
    jw_key(&jw, "content");
    jw_array(&jw);
    jw_array_end(&jw);
    jw_key(&jw, "model");
    jw_text(&jw, w->base.model_text);
    jw_key(&jw, "stop_reason");
    jw_null(&jw);
    jw_key(&jw, "stop_sequence");
    jw_null(&jw);
    write_early_usage(w, &jw);
    jw_object_end(&jw);
    end_event(w);
    write_ping(w);
}

void anthropic_stream_event(struct anthropic_writer *w, const struct neutral_event *e)
{
    switch (e->kind) {
    case EVENT_TEXT:
    case EVENT_REFUSAL:
        on_text(w, e->text);
        break;
    case EVENT_THINK:
        on_think(w, e->text, false);
        break;
    case EVENT_THINK_SIGNATURE:
        on_think(w, e->text, true);
        break;
    case EVENT_REDACTED:
        on_redacted(w, e->text);
        break;
    case EVENT_TOOL_BEGIN:
        on_tool_begin(w, e);
        break;
    case EVENT_TOOL_ARGS:
        on_tool_args(w, e);
        break;
    case EVENT_TOOL_END:
        on_tool_end(w, e);
        break;
    case EVENT_PING:
        if (w->base.started)
            write_ping(w);
        break;
    case EVENT_END:
        on_end(w);
        break;
    case EVENT_START:
    case EVENT_USAGE:
    case EVENT_STOP:
    case EVENT_ERROR:
        break;
    }
}
