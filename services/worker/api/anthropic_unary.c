/* Neutral events → one Anthropic message (docs/wire.md, Answers). */
#include "services/worker/api/anthropic_answer.h"

static struct answer_block *add_block(struct anthropic_writer *w, enum block_kind kind)
{
    if (w->block_count == w->block_cap) {
        size_t cap = w->block_cap ? w->block_cap * 2 : 4;
        struct answer_block *grown = ARENA_ARRAY(w->base.options.arena, struct answer_block, cap);
        if (!grown) {
            w->base.options.out->failed = true;
            return NULL;
        }
        if (w->block_count)
            memcpy(grown, w->blocks, w->block_count * sizeof *grown);
        w->blocks = grown;
        w->block_cap = cap;
    }
    struct answer_block *block = &w->blocks[w->block_count++];
    *block = (struct answer_block){.kind = kind};
    return block;
}

/* The last block if it is of this kind and still takes text, else a new one. */
static struct answer_block *block_for(struct anthropic_writer *w, enum block_kind kind)
{
    struct answer_block *last = w->block_count ? &w->blocks[w->block_count - 1] : NULL;
    if (last && last->kind == kind && !last->signature_text.len)
        return last;
    return add_block(w, kind);
}

static void append(struct anthropic_writer *w, enum block_kind kind, struct span text)
{
    struct answer_block *block = text.len ? block_for(w, kind) : NULL;
    if (block)
        writer_gather(&w->base, &block->text, text);
}

static void on_signature(struct anthropic_writer *w, struct span signature)
{
    struct answer_block *block = signature.len ? block_for(w, BLOCK_THINKING) : NULL;
    if (block)
        block->signature_text = writer_copy(&w->base, signature);
}

static void on_redacted(struct anthropic_writer *w, struct span data)
{
    struct answer_block *block = add_block(w, BLOCK_REDACTED);
    if (block)
        writer_gather(&w->base, &block->text, data);
}

static void on_tool_begin(struct anthropic_writer *w, const struct neutral_event *e)
{
    struct answer_block *block = add_block(w, BLOCK_TOOL);
    if (!block)
        return;
    block->slot = e->slot;
    block->name_text = writer_copy(&w->base, e->name_text);
    block->id_text = anthropic_tool_id(w, e);
}

static void on_tool_args(struct anthropic_writer *w, const struct neutral_event *e)
{
    for (size_t i = w->block_count; i-- > 0;) {
        struct answer_block *block = &w->blocks[i];
        if (block->kind == BLOCK_TOOL && block->slot == e->slot) {
            writer_gather(&w->base, &block->text, e->text);
            return;
        }
    }
}

/* ---- a tool's input ---- */

/* Whether these bytes are one JSON object. */
static bool is_object(struct span bytes)
{
    struct json_doc doc = {0};
    bool object = json_parse(&doc, bytes, JSON_DEPTH_UPSTREAM) == OK &&
                  json_type(json_root(&doc)) == JSON_OBJECT;
    json_doc_free(&doc);
    return object;
}

/* What the model meant as an object, pasted as it is. What is none is `{}` when the answer was cut
 * (then *cut), else it is kept as text, so that nothing is lost. */
static void write_input(struct json_writer *jw, struct span args_text, enum stop_reason stop,
                        bool *cut)
{
    struct buf bytes = {0};
    json_text_decode(args_text, &bytes);
    if (is_object(buf_span(&bytes))) {
        jw_raw(jw, buf_span(&bytes));
    } else {
        bool blank = args_is_blank(args_text);
        jw_object(jw);
        if (!blank && stop == STOP_LENGTH)
            *cut = true;
        if (!blank && stop != STOP_LENGTH) {
            jw_key(jw, "_raw");
            jw_text(jw, args_text);
        }
        jw_object_end(jw);
    }
    buf_free(&bytes);
}

/* ---- the body ---- */

static void write_text_member(struct json_writer *jw, const char *name, const struct rope *rope)
{
    jw_key(jw, name);
    rope_write_string(rope, jw);
}

static void write_tool(struct anthropic_writer *w, struct json_writer *jw,
                       const struct answer_block *block, bool *cut)
{
    struct span args = rope_join(&block->text, w->base.options.arena);
    jw_key(jw, "id");
    jw_text(jw, block->id_text);
    jw_key(jw, "name");
    jw_text(jw, block->name_text);
    jw_key(jw, "input");
    if (!args.data)
        jw->out->failed = true;
    else
        write_input(jw, args, w->base.stop, cut);
}

static void write_block(struct anthropic_writer *w, struct json_writer *jw,
                        const struct answer_block *block, bool *cut)
{
    static const char *const types[] = {
        [BLOCK_TEXT] = "text",
        [BLOCK_THINKING] = "thinking",
        [BLOCK_REDACTED] = "redacted_thinking",
        [BLOCK_TOOL] = "tool_use",
    };
    jw_object(jw);
    jw_key(jw, "type");
    jw_str(jw, types[block->kind]);
    switch (block->kind) {
    case BLOCK_TEXT:
        write_text_member(jw, "text", &block->text);
        break;
    case BLOCK_THINKING:
        write_text_member(jw, "thinking", &block->text);
        jw_key(jw, "signature");
        jw_text(jw, block->signature_text);
        break;
    case BLOCK_REDACTED:
        write_text_member(jw, "data", &block->text);
        break;
    case BLOCK_TOOL:
        write_tool(w, jw, block, cut);
        break;
    case BLOCK_NONE:
        break;
    }
    jw_object_end(jw);
}

static void on_end(struct anthropic_writer *w)
{
    struct json_writer jw = {.out = w->base.options.out};
    bool cut = false;
    w->base.done = true;
    jw_object(&jw);
    jw_key(&jw, "id");
    jw_text(&jw, w->base.id_text);
    jw_key(&jw, "type");
    jw_str(&jw, "message");
    jw_key(&jw, "role");
    jw_str(&jw, "assistant");
    jw_key(&jw, "model");
    jw_text(&jw, w->base.model_text);
    jw_key(&jw, "content");
    jw_array(&jw);
    for (size_t i = 0; i < w->block_count; i++)
        write_block(w, &jw, &w->blocks[i], &cut);
    jw_array_end(&jw);
    anthropic_write_stop(w, &jw, cut ? STOP_LENGTH : w->base.stop);
    jw_key(&jw, "usage");
    anthropic_write_usage(w, &jw);
    jw_object_end(&jw);
}

void anthropic_unary_event(struct anthropic_writer *w, const struct neutral_event *e)
{
    bool thinking = anthropic_shows_thinking(w);
    switch (e->kind) {
    case EVENT_TEXT:
    case EVENT_REFUSAL:
        append(w, BLOCK_TEXT, e->text);
        break;
    case EVENT_THINK:
        if (thinking)
            append(w, BLOCK_THINKING, e->text);
        break;
    case EVENT_THINK_SIGNATURE:
        if (thinking)
            on_signature(w, e->text);
        break;
    case EVENT_REDACTED:
        if (thinking)
            on_redacted(w, e->text);
        break;
    case EVENT_TOOL_BEGIN:
        on_tool_begin(w, e);
        break;
    case EVENT_TOOL_ARGS:
        on_tool_args(w, e);
        break;
    case EVENT_END:
        on_end(w);
        break;
    case EVENT_START:
    case EVENT_TOOL_END:
    case EVENT_USAGE:
    case EVENT_STOP:
    case EVENT_PING:
    case EVENT_ERROR:
        break;
    }
}
