/* The calls of a response: arguments as they come, closed one by one when they are whole. */
#include "services/worker/api/responses_answer.h"

static void add_args(struct responses_writer *w, struct responses_item *item, struct span text)
{
    bool custom = responses_kind_of(item) == RESPONSES_CUSTOM;
    if (!text.len)
        return;
    writer_gather(&w->base, &item->text, text);
    if (!responses_is_told_whole(item))
        responses_tell_text(w,
                            custom ? "response.custom_tool_call_input.delta"
                                   : "response.function_call_arguments.delta",
                            item, NULL, 0, "delta", text);
}

/* What of a piece of the arguments is the input. */
static void add_custom(struct responses_writer *w, struct responses_item *item, struct span text)
{
    struct buf bytes = {0}, input = {0};
    if (item->custom.state != CUSTOM_TEXT && item->custom.state != CUSTOM_DONE)
        writer_gather(&w->base, &item->odd, text);
    json_text_decode(text, &bytes);
    custom_input_feed(&item->custom, buf_span(&bytes), &input);
    add_args(w, item, buf_span(&input));
    w->base.options.out->failed |= bytes.failed || input.failed;
    buf_free(&bytes);
    buf_free(&input);
}

/* Arguments that never became an input. */
static void end_custom(struct responses_writer *w, struct responses_item *item)
{
    struct buf bytes = {0};
    if (item->custom.state == CUSTOM_TEXT || item->custom.state == CUSTOM_DONE)
        return;
    struct span all = responses_joined(w, &item->odd);
    json_text_decode(all, &bytes);
    add_args(w, item, custom_input_whole(buf_span(&bytes), all, w->base.options.arena));
    buf_free(&bytes);
}

static void tell_args_done(struct responses_writer *w, struct responses_item *item)
{
    struct json_writer jw;
    bool custom = responses_kind_of(item) == RESPONSES_CUSTOM;
    if (!responses_begin_event(w, &jw,
                               custom ? "response.custom_tool_call_input.done"
                                      : "response.function_call_arguments.done"))
        return;
    responses_event_item(&jw, item);
    if (!custom) {
        jw_key(&jw, "name");
        jw_text(&jw, item->tool ? item->tool->name_text : item->name_text);
    }
    jw_key(&jw, custom ? "input" : "arguments");
    rope_write_string(&item->text, &jw);
    responses_end_event(&jw);
}

/* A call without arguments has `{}`: what a client parses must be JSON. */
void responses_close_call(struct responses_writer *w, struct responses_item *item)
{
    if (item->closed)
        return;
    responses_tell_beginning(w, item);
    if (responses_kind_of(item) == RESPONSES_CUSTOM)
        end_custom(w, item);
    else if (!item->text.len)
        add_args(w, item, SPAN("{}"));
    item->closed = true;
    if (!responses_is_told_whole(item))
        tell_args_done(w, item);
    responses_tell_item(w, "response.output_item.done", item);
}

/* By the neutral slot, which mostly counts calls as they begin. */
struct responses_item *responses_find_call(const struct responses_writer *w, uint32_t slot)
{
    struct responses_item *const *calls = w->calls;
    if (slot < w->call_count && calls[slot]->slot == slot)
        return calls[slot];
    for (size_t i = w->call_count; i-- > 0;) {
        if (calls[i]->slot == slot)
            return calls[i];
    }
    return NULL;
}

static bool note_call(struct responses_writer *w, struct responses_item *item)
{
    if (w->call_count == w->call_cap) {
        size_t cap = w->call_cap ? w->call_cap * 2 : 4;
        struct responses_item **grown =
            ARENA_ARRAY(w->base.options.arena, struct responses_item *, cap);
        w->base.options.out->failed |= !grown;
        if (!grown)
            return false;
        if (w->call_count)
            memcpy(grown, w->calls, w->call_count * sizeof(struct responses_item *));
        w->calls = grown;
        w->call_cap = cap;
    }
    w->calls[w->call_count++] = item;
    return true;
}

void responses_begin_call(struct responses_writer *w, const struct neutral_event *e)
{
    struct responses_item *item = responses_new_item(w, RESPONSES_CALL);
    if (!item || !note_call(w, item))
        return;
    item->slot = e->slot;
    item->name_text = writer_copy(&w->base, e->name_text);
    item->call_id_text = e->id_text.len ? writer_copy(&w->base, e->id_text)
                                        : writer_made_id(&w->base, "call_", w->call_count - 1);
    item->tool = responses_find_tool(w->base.options.request->responses, item->name_text);
    if (!responses_is_told_whole(item))
        responses_tell_beginning(w, item);
}

void responses_add_args(struct responses_writer *w, struct responses_item *item, struct span text)
{
    if (!item || item->closed || !text.len)
        return;
    args_scan_feed(&item->scan, text);
    if (responses_kind_of(item) == RESPONSES_CUSTOM)
        add_custom(w, item, text);
    else
        add_args(w, item, text);
}

/* Whoever speaks behind calls has ended those that are whole; others may still go on. */
void responses_close_whole_calls(struct responses_writer *w)
{
    for (; w->whole_calls < w->call_count; w->whole_calls++) {
        struct responses_item *item = w->calls[w->whole_calls];
        if (!item->closed && !item->scan.complete)
            return;
        responses_close_call(w, item);
    }
}
