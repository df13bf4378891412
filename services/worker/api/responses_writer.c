/* Neutral events → OpenAI responses (docs/wire.md, Responses): items one after the other, the calls
 * of several tools beside each other; each event tells one step of one item, and the last one all
 * of them. */
#include "services/worker/api/responses_answer.h"

/* ---- items ---- */

static struct responses_item *open_item(struct responses_writer *w, enum responses_item_kind kind)
{
    struct responses_item *item = responses_new_item(w, kind);
    w->open = item;
    if (item)
        responses_tell_beginning(w, item);
    return item;
}

/* ---- reasoning ---- */

static void tell_summary_part(struct responses_writer *w, const char *type,
                              struct responses_item *item, struct span text)
{
    struct json_writer jw;
    if (!responses_begin_event(w, &jw, type))
        return;
    responses_event_item(&jw, item);
    writer_count(&jw, "summary_index", 0);
    jw_key(&jw, "part");
    jw_object(&jw);
    jw_key(&jw, "type");
    jw_str(&jw, "summary_text");
    jw_key(&jw, "text");
    jw_text(&jw, text);
    jw_object_end(&jw);
    responses_end_event(&jw);
}

static bool shows(const struct responses_writer *w)
{
    return w->base.options.request->responses->shows_reasoning;
}

/* `signature_text` is empty where the provider signs nothing. */
static void close_reasoning(struct responses_writer *w, struct responses_item *item,
                            struct span signature_text)
{
    struct span text = item->text.len ? responses_joined(w, &item->text) : SPAN_NONE;
    if (text.len && shows(w)) {
        responses_tell_text(w, "response.reasoning_summary_text.done", item, "summary_index", 0,
                            "text", text);
        tell_summary_part(w, "response.reasoning_summary_part.done", item, text);
    }
    if (!item->hidden.len)
        item->hidden = responses_hide_thinking(w->base.options.arena, text, signature_text);
    item->closed = true;
    responses_tell_item(w, "response.output_item.done", item);
    w->open = NULL;
}

/* ---- messages ---- */

static void tell_part(struct responses_writer *w, const char *type, struct responses_item *item,
                      bool refusal, struct span text)
{
    struct json_writer jw;
    if (!responses_begin_event(w, &jw, type))
        return;
    responses_event_item(&jw, item);
    writer_count(&jw, "content_index", refusal && item->has_text);
    jw_key(&jw, "part");
    jw_object(&jw);
    jw_key(&jw, "type");
    jw_str(&jw, refusal ? "refusal" : "output_text");
    jw_key(&jw, refusal ? "refusal" : "text");
    jw_text(&jw, text);
    if (!refusal) {
        jw_key(&jw, "annotations");
        jw_raw(&jw, SPAN("[]"));
        jw_key(&jw, "logprobs");
        jw_raw(&jw, SPAN("[]"));
    }
    jw_object_end(&jw);
    responses_end_event(&jw);
}

static void end_text_part(struct responses_writer *w, struct responses_item *item)
{
    struct span text = responses_joined(w, &item->text);
    responses_tell_text(w, "response.output_text.done", item, "content_index", 0, "text", text);
    tell_part(w, "response.content_part.done", item, false, text);
}

static void begin_text_part(struct responses_writer *w, struct responses_item *item)
{
    item->has_text = true;
    tell_part(w, "response.content_part.added", item, false, SPAN_NONE);
}

static void close_message(struct responses_writer *w, struct responses_item *item)
{
    if (!item->has_text && !item->has_refusal)
        begin_text_part(w, item);
    if (item->has_refusal) {
        struct span text = responses_joined(w, &item->refusal);
        responses_tell_text(w, "response.refusal.done", item, "content_index", item->has_text,
                            "refusal", text);
        tell_part(w, "response.content_part.done", item, true, text);
    } else {
        end_text_part(w, item);
    }
    item->closed = true;
    responses_tell_item(w, "response.output_item.done", item);
    w->open = NULL;
}

static void close_open(struct responses_writer *w)
{
    if (w->open && w->open->kind == RESPONSES_REASONING)
        close_reasoning(w, w->open, SPAN_NONE);
    else if (w->open)
        close_message(w, w->open);
}

/* ---- events ---- */

static struct responses_item *opened(struct responses_writer *w, enum responses_item_kind kind)
{
    if (w->open && w->open->kind == kind)
        return w->open;
    close_open(w);
    responses_close_whole_calls(w);
    return open_item(w, kind);
}

static void on_text(struct responses_writer *w, struct span text)
{
    struct responses_item *item = text.len ? opened(w, RESPONSES_MESSAGE) : NULL;
    if (item && item->has_refusal) { /* behind a refusal a message of its own begins */
        close_message(w, item);
        item = opened(w, RESPONSES_MESSAGE);
    }
    if (!item)
        return;
    if (!item->has_text)
        begin_text_part(w, item);
    writer_gather(&w->base, &item->text, text);
    responses_tell_text(w, "response.output_text.delta", item, "content_index", 0, "delta", text);
}

static void on_refusal(struct responses_writer *w, struct span text)
{
    struct responses_item *item = opened(w, RESPONSES_MESSAGE);
    if (!item)
        return;
    if (!item->has_refusal) {
        if (item->has_text)
            end_text_part(w, item);
        item->has_refusal = true;
        tell_part(w, "response.content_part.added", item, true, SPAN_NONE);
    }
    writer_gather(&w->base, &item->refusal, text);
    responses_tell_text(w, "response.refusal.delta", item, "content_index", item->has_text, "delta",
                        text);
}

static void on_think(struct responses_writer *w, struct span text)
{
    struct responses_item *item = text.len ? opened(w, RESPONSES_REASONING) : NULL;
    if (!item)
        return;
    if (shows(w) && !item->text.len)
        tell_summary_part(w, "response.reasoning_summary_part.added", item, SPAN_NONE);
    writer_gather(&w->base, &item->text, text);
    if (shows(w))
        responses_tell_text(w, "response.reasoning_summary_text.delta", item, "summary_index", 0,
                            "delta", text);
}

static void on_signature(struct responses_writer *w, struct span signature_text)
{
    struct responses_item *item = signature_text.len ? opened(w, RESPONSES_REASONING) : NULL;
    if (item)
        close_reasoning(w, item, signature_text);
}

static void on_redacted(struct responses_writer *w, struct span data_text)
{
    close_open(w);
    struct responses_item *item = opened(w, RESPONSES_REASONING);
    if (!item)
        return;
    item->hidden = responses_hide_redacted(w->base.options.arena, data_text);
    close_reasoning(w, item, SPAN_NONE);
}

static const char *final_status(const struct responses_writer *w)
{
    bool refused = false;
    for (size_t i = 0; i < w->told_count; i++)
        refused |= w->items[i]->has_refusal;
    bool cut = w->base.stop == STOP_LENGTH || w->base.stop == STOP_CONTEXT;
    return cut || (w->base.stop == STOP_FILTER && !refused) ? "incomplete" : "completed";
}

static void on_end(struct responses_writer *w)
{
    bool incomplete = strcmp(final_status(w), "incomplete") == 0;
    if (w->open)
        w->open->cut = incomplete;
    close_open(w);
    for (size_t i = 0; i < w->call_count; i++) {
        w->calls[i]->cut |= incomplete && !w->calls[i]->closed && !w->calls[i]->scan.complete;
        responses_close_call(w, w->calls[i]);
    }
    if (!w->told_count) { /* an answer of nothing is a message of nothing */
        struct responses_item *item = open_item(w, RESPONSES_MESSAGE);
        if (item)
            close_message(w, item);
    }
    w->base.done = true;
    if (w->base.stream) {
        responses_tell_object(w, incomplete ? "response.incomplete" : "response.completed",
                              final_status(w));
        return;
    }
    struct json_writer jw = {.out = w->base.options.out};
    responses_write_object(w, &jw, final_status(w));
}

static void ensure_started(struct responses_writer *w)
{
    if (w->base.started)
        return;
    static const char *const prefixes[] = {"resp_", NULL};
    w->base.id_text = SPAN_NONE; /* the upstream's is no response's */
    writer_settle_id(&w->base, prefixes);
    w->base.started = true;
    responses_tell_object(w, "response.created", "in_progress");
    responses_tell_object(w, "response.in_progress", "in_progress");
}

struct answer_writer *responses_writer_create(const struct answer_options *options)
{
    struct responses_writer *w = ARENA_NEW(options->arena, struct responses_writer);
    if (!w)
        return NULL;
    writer_init(&w->base, options);
    return &w->base;
}

void responses_write(struct answer_writer *base, const struct neutral_event *e)
{
    struct responses_writer *w = (struct responses_writer *)base;
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
        on_refusal(w, e->text);
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
        close_open(w);
        responses_begin_call(w, e);
        break;
    case EVENT_TOOL_ARGS:
        responses_add_args(w, responses_find_call(w, e->slot), e->text);
        break;
    case EVENT_TOOL_END: {
        struct responses_item *item = responses_find_call(w, e->slot);
        if (item)
            responses_close_call(w, item);
        break;
    }
    case EVENT_PING:
        if (base->stream && base->started)
            buf_append_str(base->options.out, ": ping\n\n");
        break;
    case EVENT_END:
        on_end(w);
        break;
    case EVENT_ERROR:
        base->done = true;
        if (base->stream)
            api_error_write_event(base->options.out, API_OPENAI_RESPONSES, &e->fault,
                                  base->options.request_id, w->sequence);
        break;
    case EVENT_START:
    case EVENT_USAGE:
    case EVENT_STOP:
        break;
    }
}
