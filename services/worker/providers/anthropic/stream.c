/* Anthropic streams → neutral events (docs/wire.md, Streams). */
#include "services/worker/providers/anthropic/anthropic.h"

enum { MAX_OPEN_BLOCKS = 256 };

enum source_kind { BLOCK_FREE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_TOOL, BLOCK_JSON, BLOCK_OTHER };

struct anthropic_block {
    enum source_kind kind;
    int64_t index;
    uint32_t slot;
    bool args_seen;
    struct arena_text input;     /* BLOCK_TOOL, BLOCK_JSON: what the start event held already */
    struct arena_text signature; /* BLOCK_THINKING: said when the block ends */
};

/* ---- a stream's blocks ---- */

static struct anthropic_block *find_block(struct anthropic_state *s, int64_t index)
{
    for (size_t i = s->block_count; i-- > 0;) {
        if (s->blocks[i].kind != BLOCK_FREE && s->blocks[i].index == index)
            return &s->blocks[i];
    }
    return NULL;
}

/* A block that ended leaves its place to the next one, its texts' memory too. */
static struct anthropic_block *add_block(struct conversion *pc, struct anthropic_state *s,
                                         int64_t index)
{
    struct anthropic_block *block = NULL;
    if (!s->blocks)
        s->blocks = ARENA_ARRAY(pc->arena, struct anthropic_block, MAX_OPEN_BLOCKS);
    if (!s->blocks)
        return NULL;
    for (size_t i = 0; !block && i < s->block_count; i++)
        block = s->blocks[i].kind == BLOCK_FREE ? &s->blocks[i] : NULL;
    if (!block && s->block_count < MAX_OPEN_BLOCKS)
        block = &s->blocks[s->block_count++];
    if (!block)
        return NULL;
    block->kind = BLOCK_OTHER;
    block->index = index;
    block->args_seen = false;
    block->input.len = block->signature.len = 0;
    return block;
}

static enum err start_tool(struct conversion *pc, struct anthropic_state *s,
                           struct anthropic_block *block, struct json from)
{
    struct json input = json_get(from, "input");
    bool kept = true;
    block->kind = anthropic_is_json_tool(s, from) ? BLOCK_JSON : BLOCK_TOOL;
    if (json_type(input) == JSON_OBJECT && json_count(input)) {
        struct buf text = {0};
        json_append_json_text(&text, input);
        kept = !text.failed && arena_text_append(&block->input, pc->arena, buf_span(&text));
        buf_free(&text);
    }
    if (block->kind == BLOCK_TOOL) {
        block->slot = s->slots++;
        out_tool_begin(pc, &s->out, block->slot, json_text(json_get(from, "id")),
                       json_text(json_get(from, "name")));
    }
    return kept ? OK : ERR_TOO_BIG;
}

static enum err on_block_start(struct conversion *pc, struct anthropic_state *s, struct json root)
{
    int64_t index;
    struct json from = json_get(root, "content_block"), type = json_get(from, "type");
    if (!json_i64(json_get(root, "index"), &index) || find_block(s, index))
        return ERR_INVALID;
    struct anthropic_block *block = add_block(pc, s, index);
    if (!block)
        return ERR_TOO_BIG;
    if (json_is(type, "text")) {
        block->kind = BLOCK_TEXT;
        out_text(pc, &s->out, EVENT_TEXT, json_text(json_get(from, "text")));
    } else if (json_is(type, "thinking")) {
        block->kind = BLOCK_THINKING;
        out_text(pc, &s->out, EVENT_THINK, json_text(json_get(from, "thinking")));
        anthropic_keep_text(pc, &block->signature, json_text(json_get(from, "signature")));
    } else if (json_is(type, "redacted_thinking")) {
        out_text(pc, &s->out, EVENT_REDACTED, json_text(json_get(from, "data")));
    } else if (json_is(type, "tool_use")) {
        return start_tool(pc, s, block, from);
    }
    return OK;
}

static void on_args(struct conversion *pc, struct anthropic_state *s, struct anthropic_block *block,
                    struct span piece)
{
    if (!piece.len)
        return;
    block->args_seen = true;
    if (block->kind == BLOCK_JSON)
        out_text(pc, &s->out, EVENT_TEXT, piece);
    else
        out_tool_args(pc, &s->out, block->slot, piece);
}

static enum err on_block_delta(struct conversion *pc, struct anthropic_state *s, struct json root)
{
    int64_t index;
    struct json delta = json_get(root, "delta"), type = json_get(delta, "type");
    struct anthropic_block *block =
        json_i64(json_get(root, "index"), &index) ? find_block(s, index) : NULL;
    if (!block)
        return ERR_INVALID;
    if (json_is(type, "text_delta") && block->kind == BLOCK_TEXT)
        out_text(pc, &s->out, EVENT_TEXT, json_text(json_get(delta, "text")));
    else if (json_is(type, "thinking_delta") && block->kind == BLOCK_THINKING)
        out_text(pc, &s->out, EVENT_THINK, json_text(json_get(delta, "thinking")));
    else if (json_is(type, "signature_delta") && block->kind == BLOCK_THINKING)
        return arena_text_append(&block->signature, pc->arena,
                                 json_text(json_get(delta, "signature")))
                   ? OK
                   : ERR_TOO_BIG;
    else if (json_is(type, "input_json_delta") &&
             (block->kind == BLOCK_TOOL || block->kind == BLOCK_JSON))
        on_args(pc, s, block, json_text(json_get(delta, "partial_json")));
    return OK;
}

/* A call without arguments is `{}`; one that was cut stays as it is. */
static void end_block(struct conversion *pc, struct anthropic_state *s,
                      struct anthropic_block *block, bool cut)
{
    bool tool = block->kind == BLOCK_TOOL || block->kind == BLOCK_JSON;
    if (tool && !block->args_seen && block->input.len)
        on_args(pc, s, block, arena_text_span(&block->input));
    else if (tool && !block->args_seen && !cut)
        on_args(pc, s, block, SPAN("{}"));
    s->lost |= block->signature.failed || block->input.failed;
    if (block->kind == BLOCK_TOOL)
        out_tool_end(pc, &s->out, block->slot);
    if (block->kind == BLOCK_THINKING)
        out_text(pc, &s->out, EVENT_THINK_SIGNATURE, arena_text_span(&block->signature));
    block->kind = BLOCK_FREE;
}

static enum err on_block_stop(struct conversion *pc, struct anthropic_state *s, struct json root)
{
    int64_t index;
    struct anthropic_block *block =
        json_i64(json_get(root, "index"), &index) ? find_block(s, index) : NULL;
    if (!block)
        return ERR_INVALID;
    end_block(pc, s, block, false);
    return OK;
}

/* ---- a stream's frame ---- */

static enum err on_message_start(struct conversion *pc, struct anthropic_state *s, struct json root)
{
    struct json message = json_get(root, "message");
    if (json_type(message) != JSON_OBJECT)
        return ERR_INVALID;
    if (!s->out.started)
        anthropic_forget_usage(&s->usage);
    anthropic_read_usage(pc, &s->usage, json_get(message, "usage"));
    /* its output_tokens is what the first token cost: no count for an answer that is cut short */
    s->usage.counts.output = USAGE_UNKNOWN;
    struct usage usage = anthropic_neutral_usage(&s->usage);
    out_start(pc, &s->out, json_text(json_get(message, "id")),
              json_text(json_get(message, "model")), &usage);
    return OK;
}

static enum err on_message_delta(struct conversion *pc, struct anthropic_state *s, struct json root)
{
    anthropic_read_usage(pc, &s->usage, json_get(root, "usage"));
    anthropic_note_stop(pc, s, json_get(root, "delta"));
    return OK;
}

static enum err on_message_stop(struct conversion *pc, struct anthropic_state *s, struct json root)
{
    (void)root;
    for (size_t i = 0; i < s->block_count; i++) {
        if (s->blocks[i].kind != BLOCK_FREE)
            end_block(pc, s, &s->blocks[i], s->stop == STOP_LENGTH || s->stop == STOP_CONTEXT);
    }
    anthropic_finish(pc, s);
    return OK;
}

static enum err on_ping(struct conversion *pc, struct anthropic_state *s, struct json root)
{
    (void)root;
    if (s->out.started)
        out_event(pc, &s->out, &(struct neutral_event){.kind = EVENT_PING});
    return OK;
}

static const struct {
    const char *type;
    enum err (*fn)(struct conversion *pc, struct anthropic_state *s, struct json root);
    bool first; /* may come before message_start */
} handlers[] = {
    {"content_block_delta", on_block_delta, false},
    {"content_block_start", on_block_start, false},
    {"content_block_stop", on_block_stop, false},
    {"message_start", on_message_start, true},
    {"message_delta", on_message_delta, false},
    {"message_stop", on_message_stop, false},
    {"ping", on_ping, true},
};

/* Dispatched by the JSON's own type, by the event's name only where there is none. */
static enum err on_event(struct conversion *pc, struct anthropic_state *s, struct json root,
                         struct span name, struct span data)
{
    struct json type = json_get(root, "type");
    bool typed = json_type(type) == JSON_STRING;
    if (answer_event_is_error(root, name)) {
        out_error_body(pc, &s->out, data);
        return OK;
    }
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (typed ? !json_is(type, handlers[i].type) : !span_is(name, handlers[i].type))
            continue;
        if (!s->out.started && !handlers[i].first)
            return ERR_INVALID;
        return handlers[i].fn(pc, s, root);
    }
    return OK; /* types are added without notice */
}

enum err anthropic_parse_event(struct conversion *pc, const struct transfer *x,
                               const struct sse_event *e)
{
    (void)x;
    struct anthropic_state *s = pc->state;
    struct span data = span_trim(e->data);
    if (!out_is_open(&s->out) || data.len == 0)
        return OK;
    struct buf repaired = {0};
    struct json root;
    enum err err = out_parse(pc, data, &repaired, &root);
    if (!err)
        err = on_event(pc, s, root, e->name, repaired.len ? buf_span(&repaired) : data);
    buf_free(&repaired);
    return err;
}

enum err anthropic_parse_end(struct conversion *pc, const struct transfer *x)
{
    (void)x;
    struct anthropic_state *s = pc->state;
    if (!out_is_open(&s->out))
        return OK;
    if (s->stopped)
        return on_message_stop(pc, s, JSON_NOTHING);
    out_fault_class(pc, &s->out, ERROR_UPSTREAM_CLOSED, "upstream closed the stream");
    return OK;
}
