#include "services/worker/providers/out.h"

void out_event(struct conversion *pc, struct out *o, const struct neutral_event *e)
{
    if (!out_is_open(o))
        return;
    o->ended = e->kind == EVENT_END || e->kind == EVENT_ERROR;
    if (o->filter.count)
        stop_filter_feed(&o->filter, e, pc->emit, pc->emit_ctx);
    else
        pc->emit(pc->emit_ctx, e);
}

void out_start(struct conversion *pc, struct out *o, struct span id_text, struct span model_text,
               const struct usage *usage)
{
    if (o->started)
        return;
    o->started = true;
    out_event(
        pc, o,
        &(struct neutral_event){
            .kind = EVENT_START, .id_text = id_text, .model_text = model_text, .usage = *usage});
}

void out_text(struct conversion *pc, struct out *o, enum event_kind kind, struct span text)
{
    if (text.len)
        out_event(pc, o, &(struct neutral_event){.kind = kind, .text = text});
}

void out_tool_begin(struct conversion *pc, struct out *o, uint32_t slot, struct span id_text,
                    struct span name_text)
{
    out_event(
        pc, o,
        &(struct neutral_event){
            .kind = EVENT_TOOL_BEGIN, .slot = slot, .id_text = id_text, .name_text = name_text});
}

void out_tool_args(struct conversion *pc, struct out *o, uint32_t slot, struct span text)
{
    if (text.len)
        out_event(pc, o,
                  &(struct neutral_event){.kind = EVENT_TOOL_ARGS, .slot = slot, .text = text});
}

static struct span no_header(const void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return SPAN_NONE;
}

void out_error_body(struct conversion *pc, struct out *o, struct span body)
{
    struct api_error fault = {0};
    struct upstream_headers none = {no_header, NULL};
    pc->provider->map_error(pc, 200, &none, body, &fault);
    out_fault(pc, o, &fault);
}

void json_append_json_text(struct buf *out, struct json value)
{
    struct buf compact = {0};
    json_append_compact(&compact, value);
    json_append_text(out, buf_span(&compact));
    out->failed |= compact.failed;
    buf_free(&compact);
}

void out_tool_json(struct conversion *pc, struct out *o, uint32_t slot, struct json value)
{
    struct buf text = {0};
    json_append_json_text(&text, value);
    out_tool_args(pc, o, slot, buf_span(&text));
    buf_free(&text);
}

void out_tool_end(struct conversion *pc, struct out *o, uint32_t slot)
{
    out_event(pc, o, &(struct neutral_event){.kind = EVENT_TOOL_END, .slot = slot});
}

void out_finish(struct conversion *pc, struct out *o, const struct usage *usage,
                enum stop_reason stop, struct span stop_sequence_text)
{
    out_event(pc, o, &(struct neutral_event){.kind = EVENT_USAGE, .usage = *usage});
    out_event(pc, o,
              &(struct neutral_event){
                  .kind = EVENT_STOP, .stop = stop, .stop_sequence_text = stop_sequence_text});
    out_event(pc, o, &(struct neutral_event){.kind = EVENT_END});
}

void out_fault(struct conversion *pc, struct out *o, const struct api_error *fault)
{
    out_event(pc, o, &(struct neutral_event){.kind = EVENT_ERROR, .fault = *fault});
}

void out_fault_class(struct conversion *pc, struct out *o, unsigned error_class,
                     const char *message)
{
    struct api_error fault;
    api_error_set(&fault, error_class, message, NULL);
    out_fault(pc, o, &fault);
}

enum err out_parse(struct conversion *pc, struct span text, struct buf *repaired,
                   struct json *root_out)
{
    enum err e = json_parse(pc->doc, text, JSON_DEPTH_UPSTREAM);
    if (e && !utf8_valid(text)) {
        buf_clear(repaired);
        utf8_repair(repaired, text);
        e = buf_check(repaired);
        if (!e)
            e = json_parse(pc->doc, buf_span(repaired), JSON_DEPTH_UPSTREAM);
    }
    *root_out = e ? JSON_NOTHING : json_root(pc->doc);
    return e ? ERR_INVALID : OK;
}

bool arena_text_append(struct arena_text *t, struct arena *arena, struct span s)
{
    if (s.len > t->cap - t->len) {
        size_t cap = (t->len + s.len) * 2;
        char *grown = arena_alloc(arena, cap);
        if (!grown) {
            t->failed = true;
            return false;
        }
        if (t->len)
            memcpy(grown, t->data, t->len);
        t->data = grown;
        t->cap = cap;
    }
    if (s.len)
        memcpy(t->data + t->len, s.data, s.len);
    t->len += s.len;
    return true;
}
