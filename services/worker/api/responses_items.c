/* Items and responses as JSON, and the events that tell of them. */
#include "common/base/crypto.h"
#include "services/worker/api/json_fence.h"
#include "services/worker/api/responses_answer.h"

enum responses_tool_kind responses_kind_of(const struct responses_item *item)
{
    return item->tool ? item->tool->kind : RESPONSES_FUNCTION;
}

bool responses_is_told_whole(const struct responses_item *item)
{
    enum responses_tool_kind kind = responses_kind_of(item);
    return item->kind == RESPONSES_CALL &&
           (kind == RESPONSES_LOCAL_SHELL || kind == RESPONSES_SHELL ||
            kind == RESPONSES_APPLY_PATCH);
}

static void put(struct json_writer *jw, const char *name, const char *value)
{
    jw_key(jw, name);
    jw_str(jw, value);
}

/* ---- parts ---- */

static struct span message_text(struct responses_writer *w, struct responses_item *item)
{
    struct span text = rope_join(&item->text, w->base.options.arena);
    if (!text.data) {
        w->base.options.out->failed = true;
        return SPAN_NONE;
    }
    bool strip = w->base.options.request->format == FORMAT_JSON && !w->base.stream;
    return strip ? json_fence_strip(text) : text;
}

static void write_text_part(struct json_writer *jw, struct span text)
{
    jw_object(jw);
    put(jw, "type", "output_text");
    jw_key(jw, "text");
    jw_text(jw, text);
    jw_key(jw, "annotations");
    jw_raw(jw, SPAN("[]"));
    jw_key(jw, "logprobs");
    jw_raw(jw, SPAN("[]"));
    jw_object_end(jw);
}

static void write_content(struct responses_writer *w, struct json_writer *jw,
                          struct responses_item *item)
{
    jw_key(jw, "content");
    jw_array(jw);
    if (item->closed && (item->has_text || !item->has_refusal))
        write_text_part(jw, message_text(w, item));
    if (item->closed && item->has_refusal) {
        jw_object(jw);
        put(jw, "type", "refusal");
        jw_key(jw, "refusal");
        rope_write_string(&item->refusal, jw);
        jw_object_end(jw);
    }
    jw_array_end(jw);
}

static void write_summary(struct responses_writer *w, struct json_writer *jw,
                          struct responses_item *item)
{
    jw_key(jw, "summary");
    jw_array(jw);
    if (item->closed && item->text.len && w->base.options.request->responses->shows_reasoning) {
        jw_object(jw);
        put(jw, "type", "summary_text");
        jw_key(jw, "text");
        rope_write_string(&item->text, jw);
        jw_object_end(jw);
    }
    jw_array_end(jw);
    if (item->closed && item->hidden.len) {
        jw_key(jw, "encrypted_content");
        jw_text(jw, item->hidden);
    }
}

/* ---- calls ---- */

/* What has to be there whatever the model left out. */
static void write_needed(struct json_writer *jw, enum responses_tool_kind kind, struct json args)
{
    if (kind == RESPONSES_APPLY_PATCH)
        return;
    if (kind == RESPONSES_LOCAL_SHELL) {
        put(jw, "type", "exec");
        if (json_absent(json_get(args, "env"))) {
            jw_key(jw, "env");
            jw_raw(jw, SPAN("{}"));
        }
        return;
    }
    if (json_absent(json_get(args, "timeout_ms"))) {
        jw_key(jw, "timeout_ms");
        jw_null(jw);
    }
    if (json_absent(json_get(args, "max_output_length"))) {
        jw_key(jw, "max_output_length");
        jw_null(jw);
    }
}

/* The arguments as the member that such a call has. */
static void write_object_member(struct responses_writer *w, struct json_writer *jw,
                                struct responses_item *item)
{
    enum responses_tool_kind kind = responses_kind_of(item);
    struct span text = rope_join(&item->text, w->base.options.arena);
    struct buf bytes = {0};
    struct json_doc doc = {0};
    json_text_decode(text, &bytes);
    bool parsed = json_parse(&doc, buf_span(&bytes), JSON_DEPTH_CLIENT) == OK;
    struct json args = parsed ? json_root(&doc) : JSON_NOTHING;
    jw_key(jw, kind == RESPONSES_APPLY_PATCH ? "operation" : "action");
    jw_object(jw);
    write_needed(jw, kind, args);
    for (struct json_iter i = json_iter(args); json_type(args) == JSON_OBJECT && json_next(&i);) {
        if (json_absent(i.value) || (kind == RESPONSES_LOCAL_SHELL && json_is(i.key, "type")))
            continue;
        jw_key_text(jw, json_text(i.key));
        jw_raw(jw, SPAN_NONE);
        json_append_compact(jw->out, i.value);
    }
    jw_object_end(jw);
    w->base.options.out->failed |= bytes.failed || !text.data;
    json_doc_free(&doc);
    buf_free(&bytes);
}

static void write_call(struct responses_writer *w, struct json_writer *jw,
                       struct responses_item *item)
{
    static const char *const types[] = {[RESPONSES_FUNCTION] = "function_call",
                                        [RESPONSES_CUSTOM] = "custom_tool_call",
                                        [RESPONSES_LOCAL_SHELL] = "local_shell_call",
                                        [RESPONSES_SHELL] = "shell_call",
                                        [RESPONSES_APPLY_PATCH] = "apply_patch_call"};
    enum responses_tool_kind kind = responses_kind_of(item);
    put(jw, "type", types[kind]);
    jw_key(jw, "call_id");
    jw_text(jw, item->call_id_text);
    if (responses_is_told_whole(item)) {
        write_object_member(w, jw, item);
        return;
    }
    jw_key(jw, "name");
    jw_text(jw, item->tool ? item->tool->name_text : item->name_text);
    if (item->tool && item->tool->namespace_text.len) {
        jw_key(jw, "namespace");
        jw_text(jw, item->tool->namespace_text);
    }
    jw_key(jw, kind == RESPONSES_CUSTOM ? "input" : "arguments");
    if (item->closed)
        rope_write_string(&item->text, jw);
    else
        jw_str(jw, "");
}

/* ---- the item, the response ---- */

void responses_write_item(struct responses_writer *w, struct json_writer *jw,
                          struct responses_item *item)
{
    jw_object(jw);
    jw_key(jw, "id");
    jw_text(jw, item->id_text);
    switch (item->kind) {
    case RESPONSES_REASONING:
        put(jw, "type", "reasoning");
        write_summary(w, jw, item);
        break;
    case RESPONSES_MESSAGE:
        put(jw, "type", "message");
        put(jw, "role", "assistant");
        write_content(w, jw, item);
        break;
    case RESPONSES_CALL:
        write_call(w, jw, item);
        break;
    }
    put(jw, "status", !item->closed ? "in_progress" : item->cut ? "incomplete" : "completed");
    jw_object_end(jw);
}

static void write_usage(struct responses_writer *w, struct json_writer *jw)
{
    struct usage u = writer_usage(&w->base);
    jw_object(jw);
    writer_count(jw, "input_tokens", u.input);
    jw_key(jw, "input_tokens_details");
    jw_object(jw);
    writer_count(jw, "cached_tokens", u.cached);
    writer_count(jw, "cache_write_tokens", u.cache_write);
    jw_object_end(jw);
    writer_count(jw, "output_tokens", u.output);
    jw_key(jw, "output_tokens_details");
    jw_object(jw);
    writer_count(jw, "reasoning_tokens", u.reasoning);
    jw_object_end(jw);
    writer_count(jw, "total_tokens", u.input + u.output);
    writer_estimated(jw, &u);
    jw_object_end(jw);
}

static void write_incomplete(struct json_writer *jw, const char *status, enum stop_reason stop)
{
    jw_key(jw, "incomplete_details");
    if (strcmp(status, "incomplete") != 0) {
        jw_null(jw);
        return;
    }
    jw_object(jw);
    put(jw, "reason", stop == STOP_FILTER ? "content_filter" : "max_output_tokens");
    jw_object_end(jw);
}

void responses_write_object(struct responses_writer *w, struct json_writer *jw, const char *status)
{
    bool ended = strcmp(status, "in_progress") != 0;
    jw_object(jw);
    jw_key(jw, "id");
    jw_text(jw, w->base.id_text);
    put(jw, "object", "response");
    writer_count(jw, "created_at", w->base.options.created_s);
    put(jw, "status", status);
    jw_key(jw, "background");
    jw_bool(jw, false);
    jw_key(jw, "error");
    jw_null(jw);
    write_incomplete(jw, status, w->base.stop);
    jw_key(jw, "model");
    jw_text(jw, w->base.model_text);
    jw_key(jw, "output");
    jw_array(jw);
    for (size_t i = 0; ended && i < w->told_count; i++)
        responses_write_item(w, jw, w->items[i]);
    jw_array_end(jw);
    jw_key(jw, "previous_response_id");
    jw_null(jw);
    jw_key(jw, "store");
    jw_bool(jw, false);
    jw_key(jw, "usage");
    if (ended)
        write_usage(w, jw);
    else
        jw_null(jw);
    buf_append_char(jw->out, ',');
    buf_append(jw->out, w->base.options.request->responses->echo);
    jw_object_end(jw);
}

/* ---- events ---- */

bool responses_begin_event(struct responses_writer *w, struct json_writer *jw, const char *type)
{
    *jw = (struct json_writer){.out = w->base.options.out};
    if (!w->base.stream)
        return false;
    buf_append_str(jw->out, "event: ");
    buf_append_str(jw->out, type);
    buf_append_str(jw->out, "\ndata: ");
    jw_object(jw);
    put(jw, "type", type);
    writer_count(jw, "sequence_number", w->sequence++);
    return true;
}

void responses_end_event(struct json_writer *jw)
{
    jw_object_end(jw);
    buf_append_str(jw->out, "\n\n");
}

void responses_event_item(struct json_writer *jw, const struct responses_item *item)
{
    jw_key(jw, "item_id");
    jw_text(jw, item->id_text);
    writer_count(jw, "output_index", item->index);
}

void responses_tell_object(struct responses_writer *w, const char *type, const char *status)
{
    struct json_writer jw;
    if (!responses_begin_event(w, &jw, type))
        return;
    jw_key(&jw, "response");
    responses_write_object(w, &jw, status);
    responses_end_event(&jw);
}

void responses_tell_item(struct responses_writer *w, const char *type, struct responses_item *item)
{
    struct json_writer jw;
    if (!responses_begin_event(w, &jw, type))
        return;
    writer_count(&jw, "output_index", item->index);
    jw_key(&jw, "item");
    responses_write_item(w, &jw, item);
    responses_end_event(&jw);
}

void responses_tell_text(struct responses_writer *w, const char *type, struct responses_item *item,
                         const char *index_name, uint64_t index, const char *name, struct span text)
{
    struct json_writer jw;
    if (!responses_begin_event(w, &jw, type))
        return;
    responses_event_item(&jw, item);
    if (index_name)
        writer_count(&jw, index_name, index);
    if (name) {
        jw_key(&jw, name);
        jw_text(&jw, text);
    }
    if (span_starts(span_str(type), "response.output_text.")) {
        jw_key(&jw, "logprobs");
        jw_raw(&jw, SPAN("[]"));
    }
    responses_end_event(&jw);
}

/* ---- its place in the output ---- */

struct span responses_joined(struct responses_writer *w, const struct rope *rope)
{
    struct span text = rope_join(rope, w->base.options.arena);
    w->base.options.out->failed |= !text.data;
    return text;
}

static bool grow_items(struct responses_writer *w)
{
    if (w->told_count < w->item_cap)
        return true;
    size_t cap = w->item_cap ? w->item_cap * 2 : 8;
    struct responses_item **grown =
        ARENA_ARRAY(w->base.options.arena, struct responses_item *, cap);
    if (grown && w->told_count)
        memcpy(grown, w->items, w->told_count * sizeof(struct responses_item *));
    w->base.options.out->failed |= !grown;
    w->items = grown ? grown : w->items;
    w->item_cap = grown ? cap : w->item_cap;
    return grown != NULL;
}

struct responses_item *responses_new_item(struct responses_writer *w, enum responses_item_kind kind)
{
    struct responses_item *item = ARENA_NEW(w->base.options.arena, struct responses_item);
    w->base.options.out->failed |= !item;
    if (item)
        item->kind = kind;
    return item;
}

static const char *id_prefix(const struct responses_item *item)
{
    static const char *const of_calls[] = {[RESPONSES_FUNCTION] = "fc_",
                                           [RESPONSES_CUSTOM] = "ctc_",
                                           [RESPONSES_LOCAL_SHELL] = "lsh_",
                                           [RESPONSES_SHELL] = "sh_",
                                           [RESPONSES_APPLY_PATCH] = "apc_"};
    switch (item->kind) {
    case RESPONSES_REASONING:
        return "rs_";
    case RESPONSES_MESSAGE:
        return "msg_";
    case RESPONSES_CALL:
        break;
    }
    return of_calls[responses_kind_of(item)];
}

/* Gives it its place in the output. */
void responses_tell_beginning(struct responses_writer *w, struct responses_item *item)
{
    if (item->told || !grow_items(w))
        return;
    item->told = true;
    item->index = w->told_count;
    item->id_text = writer_made_id(&w->base, id_prefix(item), item->index);
    w->items[w->told_count++] = item;
    responses_tell_item(w, "response.output_item.added", item);
}
