/* A whole response as its stream: every item begun, told in one piece and ended. */
#include "services/worker/pipeline/synthesize_internal.h"

struct response_stream {
    struct json_writer *w;
    uint64_t sequence;
    uint64_t item; /* its place in the output */
    struct json id;
};

static void begin(struct response_stream *s, const char *type)
{
    synthesize_begin_event(s->w, type);
    jw_object(s->w);
    jw_key(s->w, "type");
    jw_str(s->w, type);
    jw_key(s->w, "sequence_number");
    jw_u64(s->w, s->sequence++);
}

static void end(struct response_stream *s)
{
    jw_object_end(s->w);
    synthesize_end_event(s->w);
}

static void begin_of_item(struct response_stream *s, const char *type)
{
    begin(s, type);
    jw_key(s->w, "item_id");
    jw_text(s->w, json_text(s->id));
    jw_key(s->w, "output_index");
    jw_u64(s->w, s->item);
}

static void put_raw(struct response_stream *s, const char *name, struct span json)
{
    jw_key(s->w, name);
    jw_raw(s->w, json);
}

/* ---- parts and arguments ---- */

static const struct told {
    const char *type; /* of a part, or of an item that has the text itself */
    const char *member, *index, *delta, *done;
    const char *part_added, *part_done; /* NULL: no part */
} tolds[] = {
    {"output_text", "text", "content_index", "response.output_text.delta",
     "response.output_text.done", "response.content_part.added", "response.content_part.done"},
    {"refusal", "refusal", "content_index", "response.refusal.delta", "response.refusal.done",
     "response.content_part.added", "response.content_part.done"},
    {"reasoning_text", "text", "content_index", "response.reasoning_text.delta",
     "response.reasoning_text.done", "response.content_part.added", "response.content_part.done"},
    {"summary_text", "text", "summary_index", "response.reasoning_summary_text.delta",
     "response.reasoning_summary_text.done", "response.reasoning_summary_part.added",
     "response.reasoning_summary_part.done"},
    {"function_call", "arguments", NULL, "response.function_call_arguments.delta",
     "response.function_call_arguments.done", NULL, NULL},
    {"custom_tool_call", "input", NULL, "response.custom_tool_call_input.delta",
     "response.custom_tool_call_input.done", NULL, NULL},
};

static const struct told *told_of(struct json v)
{
    for (size_t i = 0; i < sizeof tolds / sizeof tolds[0]; i++) {
        if (json_is(json_get(v, "type"), tolds[i].type))
            return &tolds[i];
    }
    return NULL;
}

static void tell_text(struct response_stream *s, const struct told *told, const char *type,
                      uint64_t index, const char *member, struct span text)
{
    begin_of_item(s, type);
    if (told->index) {
        jw_key(s->w, told->index);
        jw_u64(s->w, index);
    }
    jw_key(s->w, member);
    jw_text(s->w, text);
    if (strcmp(told->type, "output_text") == 0)
        put_raw(s, "logprobs", SPAN("[]"));
    end(s);
}

static void tell_part(struct response_stream *s, const struct told *told, const char *type,
                      uint64_t index, struct json part, bool empty)
{
    begin_of_item(s, type);
    jw_key(s->w, told->index);
    jw_u64(s->w, index);
    jw_key(s->w, "part");
    if (empty) {
        jw_object(s->w);
        synthesize_copy_members(s->w, part, &told->member, 1);
        put_raw(s, told->member, SPAN("\"\""));
        jw_object_end(s->w);
    } else {
        synthesize_put_compact(s->w, part);
    }
    end(s);
}

static void tell(struct response_stream *s, struct json v, uint64_t index)
{
    const struct told *told = told_of(v);
    if (!told)
        return;
    struct span text = json_text(json_get(v, told->member));
    if (told->part_added)
        tell_part(s, told, told->part_added, index, v, true);
    if (text.len)
        tell_text(s, told, told->delta, index, "delta", text);
    tell_text(s, told, told->done, index, told->member, text);
    if (told->part_done)
        tell_part(s, told, told->part_done, index, v, false);
}

static void tell_parts(struct response_stream *s, struct json list)
{
    uint64_t index = 0;
    for (struct json_iter i = json_iter(list); json_type(list) == JSON_ARRAY && json_next(&i);)
        tell(s, i.value, index++);
}

/* ---- items ---- */

/* The item without what its events tell. */
static void put_begun_item(struct response_stream *s, struct json item)
{
    static const struct {
        const char *name;
        struct span empty;
    } later[] = {{"content", {"[]", 2}},
                 {"summary", {"[]", 2}},
                 {"arguments", {"\"\"", 2}},
                 {"input", {"\"\"", 2}}};
    static const char *const except[] = {"status", "content", "summary", "arguments", "input"};
    jw_object(s->w);
    synthesize_copy_members(s->w, item, except, sizeof except / sizeof except[0]);
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        if (json_type(json_get(item, later[i].name)) != JSON_NONE)
            put_raw(s, later[i].name, later[i].empty);
    }
    put_raw(s, "status", SPAN("\"in_progress\""));
    jw_object_end(s->w);
}

static void tell_item(struct response_stream *s, struct json item)
{
    s->id = json_get(item, "id");
    begin(s, "response.output_item.added");
    jw_key(s->w, "output_index");
    jw_u64(s->w, s->item);
    jw_key(s->w, "item");
    put_begun_item(s, item);
    end(s);
    tell(s, item, 0);
    tell_parts(s, json_get(item, "summary"));
    tell_parts(s, json_get(item, "content"));
    begin(s, "response.output_item.done");
    jw_key(s->w, "output_index");
    jw_u64(s->w, s->item++);
    jw_key(s->w, "item");
    synthesize_put_compact(s->w, item);
    end(s);
}

/* ---- the response ---- */

static const char *terminal_name(struct json response)
{
    struct json status = json_get(response, "status");
    if (json_is(status, "incomplete"))
        return "response.incomplete";
    return json_is(status, "failed") ? "response.failed" : "response.completed";
}

static void tell_beginning(struct response_stream *s, const char *type, struct json body)
{
    static const char *const except[] = {"status", "output", "usage"};
    begin(s, type);
    jw_key(s->w, "response");
    jw_object(s->w);
    synthesize_copy_members(s->w, body, except, sizeof except / sizeof except[0]);
    put_raw(s, "status", SPAN("\"in_progress\""));
    put_raw(s, "output", SPAN("[]"));
    put_raw(s, "usage", SPAN("null"));
    jw_object_end(s->w);
    end(s);
}

enum err synthesize_response(struct json_writer *w, struct json body, bool with_usage)
{
    struct response_stream s = {.w = w};
    struct json output = json_get(body, "output");
    (void)with_usage;
    if (!json_is(json_get(body, "object"), "response"))
        return ERR_INVALID;
    tell_beginning(&s, "response.created", body);
    tell_beginning(&s, "response.in_progress", body);
    for (struct json_iter i = json_iter(output);
         json_type(output) == JSON_ARRAY && !w->out->failed && json_next(&i);)
        tell_item(&s, i.value);
    begin(&s, terminal_name(body));
    jw_key(s.w, "response");
    synthesize_put_compact(s.w, body);
    end(&s);
    return OK;
}
