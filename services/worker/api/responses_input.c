/* The items of a responses request → turns (docs/wire.md, Responses). What an assistant said,
 * thought and called in a row is one turn, and the results of its calls follow it at once, wherever
 * they stand: other protocols know no other order. */
#include "common/base/span_groups.h"
#include "services/worker/api/responses.h"

enum item_sort { ITEM_OTHER, ITEM_CALL, ITEM_RESULT };

struct items {
    struct reader *r;
    const struct where *list;
    enum item_sort *sort;        /* by item */
    size_t *group;               /* by item that is a call or a result: of equal ids */
    struct json *result;         /* by group */
    bool *called;                /* by group */
    const struct span *ids_text; /* by group */
    size_t run;                  /* the assistant's turn that is open, from 1; 0 = none */
    bool run_speaks;             /* it has a message */
    size_t *pending;             /* items: its calls, in order */
    size_t pending_count;
};

typedef enum err (*item_fn)(struct items *in, const struct where *at, struct json v);

/* ---- the assistant's turn ---- */

static struct turn *open_run(struct items *in, size_t index)
{
    if (!in->run) {
        if (!read_add_turn(in->r, ROLE_ASSISTANT, index))
            return NULL;
        in->run = in->r->out->turn_count;
        in->run_speaks = false;
    }
    return &in->r->out->turns[in->run - 1];
}

/* ---- results ---- */

/* A shell's output is told as it is: models read JSON. */
static enum err read_output(struct items *in, const struct where *at, struct json v,
                            struct part *result)
{
    struct where output_at = {.up = at, .name = "output"};
    struct json output = json_get(v, "output");
    bool plain;
    result->is_error = json_is(json_get(v, "status"), "failed");
    if (json_absent(output))
        return OK;
    if (!json_is(json_get(v, "type"), "shell_call_output"))
        return responses_read_content(in->r, &output_at, output, result->parts, &plain);
    struct part *part = read_add_part(in->r, result->parts, PART_TEXT);
    struct buf compact = {0};
    json_append_compact(&compact, output);
    if (part && !compact.failed)
        part->text = read_to_text(in->r, buf_span(&compact));
    buf_free(&compact);
    return part && part->text.data ? OK : read_too_large(in->r);
}

static enum err add_result(struct items *in, size_t item, struct span id_text)
{
    struct json v = in->result[in->group[item]];
    struct where at = {.up = in->list, .index = item};
    struct turn *turn = read_add_turn(in->r, ROLE_TOOL, item);
    struct part *part = turn ? read_add_part(in->r, &turn->parts, PART_TOOL_RESULT) : NULL;
    struct part_list *parts = ARENA_NEW(in->r->arena, struct part_list);
    if (!part || !parts)
        return read_too_large(in->r);
    turn->plain = json_type(json_get(v, "output")) == JSON_STRING;
    part->id_text = id_text;
    part->parts = parts;
    return read_output(in, &at, v, part);
}

/* Somebody else speaks, or nobody does any more: only at the very end may a call wait. */
static enum err close_run(struct items *in, bool last)
{
    enum err e = OK;
    in->run = 0;
    for (size_t i = 0; !e && i < in->pending_count; i++) {
        size_t item = in->pending[i], group = in->group[item];
        struct where at = {.up = in->list, .index = item};
        if (json_type(in->result[group]) != JSON_NONE)
            e = add_result(in, item, in->ids_text[group]);
        else if (!last)
            e = read_fault(in->r, &at, ERROR_INVALID_VALUE,
                           "No tool output found for function call %.*s.",
                           SPAN_ARG(span_first(in->ids_text[group], 128)));
    }
    in->pending_count = 0;
    return e;
}

/* ---- calls ---- */

static enum err read_args(struct items *in, const struct where *at, struct json v,
                          struct part *part)
{
    static const struct {
        const char *type, *member;
    } objects[] = {{"local_shell_call", "action"},
                   {"shell_call", "action"},
                   {"apply_patch_call", "operation"}};
    struct json type = json_get(v, "type");
    struct where input_at = {.up = at, .name = "input"}, args_at = {.up = at, .name = "arguments"};
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        struct where member_at = {.up = at, .name = objects[i].member};
        struct json object = json_get(v, objects[i].member);
        if (!json_is(type, objects[i].type))
            continue;
        if (json_type(object) != JSON_OBJECT)
            return read_wrong_type(in->r, &member_at, object, "an object");
        part->args_json = json_raw(object);
        return OK;
    }
    if (!json_is(type, "custom_tool_call"))
        return read_text(in->r, &args_at, json_get(v, "arguments"), &part->args_text);
    if (json_type(json_get(v, "input")) != JSON_STRING)
        return read_wrong_type(in->r, &input_at, json_get(v, "input"), "a string");
    /* as the function was described that stands for the tool */
    part->args_json =
        arena_printf(in->r->arena, "{\"input\":%.*s}", SPAN_ARG(json_raw(json_get(v, "input"))));
    return part->args_json.data ? OK : read_too_large(in->r);
}

/* local_shell_call, shell_call and apply_patch_call have their tool's name in their type. */
static enum err read_name(struct items *in, const struct where *at, struct json v,
                          struct part *part)
{
    struct where name_at = {.up = at, .name = "name"};
    struct span type = json_text(json_get(v, "type")), name;
    bool named = span_is(type, "function_call") || span_is(type, "custom_tool_call");
    if (!named) {
        part->name_text = span_first(type, type.len - strlen("_call"));
        return OK;
    }
    enum err e = read_text(in->r, &name_at, json_get(v, "name"), &name);
    if (e)
        return e;
    part->name_text = responses_sent_name(in->r, json_text(json_get(v, "namespace")), name);
    return part->name_text.data ? OK : read_too_large(in->r);
}

static enum err read_call(struct items *in, const struct where *at, struct json v)
{
    struct turn *turn = open_run(in, at->index);
    struct part *part = turn ? read_add_part(in->r, &turn->parts, PART_TOOL_CALL) : NULL;
    if (!part)
        return read_too_large(in->r);
    part->id_text = in->ids_text[in->group[at->index]];
    in->pending[in->pending_count++] = at->index;
    enum err e = read_count_tool_call(in->r, at);
    if (!e)
        e = read_name(in, at, v, part);
    return e ? e : read_args(in, at, v, part);
}

/* It has been, or will be, told behind its call. */
static enum err read_result(struct items *in, const struct where *at, struct json v)
{
    (void)v;
    struct where id_at = {.up = at, .name = "call_id"};
    size_t group = in->group[at->index];
    if (!in->called[group])
        return read_fault(in->r, &id_at, ERROR_INVALID_VALUE,
                          "No tool call found for function call output with call_id %.*s.",
                          SPAN_ARG(span_first(in->ids_text[group], 128)));
    return close_run(in, false);
}

/* ---- messages ---- */

static bool role_of(struct json v, enum role *out)
{
    static const char *const names[] = {[ROLE_SYSTEM] = "system",
                                        [ROLE_DEVELOPER] = "developer",
                                        [ROLE_USER] = "user",
                                        [ROLE_ASSISTANT] = "assistant"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (json_is(v, names[i])) {
            *out = (enum role)i;
            return true;
        }
    }
    return false;
}

static enum err read_message(struct items *in, const struct where *at, struct json v)
{
    struct where role_at = {.up = at, .name = "role"}, content_at = {.up = at, .name = "content"};
    enum role role;
    enum err e = OK;
    if (!role_of(json_get(v, "role"), &role))
        return read_fault(in->r, &role_at, ERROR_INVALID_VALUE,
                          "A message's role must be user, assistant, system or developer.");
    /* a second message of the assistant is one of its own, unless calls wait for their results */
    bool goes_on = role == ROLE_ASSISTANT && (in->pending_count || !in->run || !in->run_speaks);
    if (!goes_on)
        e = close_run(in, false);
    if (e)
        return e;
    struct turn *turn =
        role == ROLE_ASSISTANT ? open_run(in, at->index) : read_add_turn(in->r, role, at->index);
    if (!turn)
        return read_too_large(in->r);
    in->run_speaks |= role == ROLE_ASSISTANT;
    return responses_read_content(in->r, &content_at, json_get(v, "content"), &turn->parts,
                                  &turn->plain);
}

static enum err read_reasoning(struct items *in, const struct where *at, struct json v)
{
    /* it belongs to what follows: behind a message a new turn begins */
    if (!in->pending_count && in->run && in->run_speaks) {
        enum err e = close_run(in, false);
        if (e)
            return e;
    }
    struct turn *turn = open_run(in, at->index);
    return turn ? responses_read_reasoning(in->r, at, v, &turn->parts) : read_too_large(in->r);
}

static enum err read_more_tools(struct items *in, const struct where *at, struct json v)
{
    struct where tools_at = {.up = at, .name = "tools"};
    return responses_read_tools(in->r, &tools_at, json_get(v, "tools"), in->r->out);
}

/* A provider's own tool has run and is over: what came of it is in the words that follow. */
static enum err drop_item(struct items *in, const struct where *at, struct json v)
{
    struct span name = arena_printf(in->r->arena, "input.%.*s",
                                    SPAN_ARG(span_first(json_text(json_get(v, "type")), 40)));
    (void)at;
    if (!name.data)
        return read_too_large(in->r);
    neutral_drop(in->r->out, name.data);
    return OK;
}

static enum err refuse_reference(struct items *in, const struct where *at, struct json v)
{
    (void)v;
    return read_fault(in->r, at, ERROR_UNSUPPORTED_PARAMETER,
                      "Items of this model are not stored: send the item itself, not a reference.");
}

/* ---- items ---- */

static const struct item_reader {
    const char *type;
    enum item_sort sort;
    item_fn read;
} item_readers[] = {
    {"message", ITEM_OTHER, read_message},
    {"reasoning", ITEM_OTHER, read_reasoning},
    {"function_call", ITEM_CALL, read_call},
    {"function_call_output", ITEM_RESULT, read_result},
    {"custom_tool_call", ITEM_CALL, read_call},
    {"custom_tool_call_output", ITEM_RESULT, read_result},
    {"local_shell_call", ITEM_CALL, read_call},
    {"local_shell_call_output", ITEM_RESULT, read_result},
    {"shell_call", ITEM_CALL, read_call},
    {"shell_call_output", ITEM_RESULT, read_result},
    {"apply_patch_call", ITEM_CALL, read_call},
    {"apply_patch_call_output", ITEM_RESULT, read_result},
    {"additional_tools", ITEM_OTHER, read_more_tools},
    {"item_reference", ITEM_OTHER, refuse_reference},
};

/* Of tools that run at a provider. */
static const struct item_reader hosted = {"", ITEM_OTHER, drop_item};
static const char *const hosted_types[] = {"web_search_call",
                                           "file_search_call",
                                           "image_generation_call",
                                           "code_interpreter_call",
                                           "computer_call",
                                           "computer_call_output",
                                           "mcp_call",
                                           "mcp_list_tools",
                                           "mcp_approval_request",
                                           "mcp_approval_response"};

/* NULL for a type that nobody knows. Without a type a role makes it a message. */
static const struct item_reader *reader_of(struct json v)
{
    struct json type = json_get(v, "type");
    for (size_t i = 0; i < sizeof hosted_types / sizeof hosted_types[0]; i++) {
        if (json_is(type, hosted_types[i]))
            return &hosted;
    }
    if (json_absent(type) && !json_absent(json_get(v, "role")))
        return &item_readers[0];
    for (size_t i = 0; i < sizeof item_readers / sizeof item_readers[0]; i++) {
        if (json_is(type, item_readers[i].type))
            return &item_readers[i];
    }
    return NULL;
}

static enum err read_item(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct where type_at = {.up = at, .name = "type"};
    const struct item_reader *reader = reader_of(v);
    (void)r;
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    if (!reader)
        return read_fault(r, &type_at, ERROR_UNSUPPORTED_PARAMETER,
                          "Items of the type '%.*s' are not supported by this model.",
                          SPAN_ARG(span_first(json_text(json_get(v, "type")), 64)));
    return reader->read(into, at, v);
}

/* ---- calls and results, found before they are read ---- */

/* A local shell's result has the call's id as its own. */
static enum err note_id(struct reader *r, const struct where *at, struct json v, struct span *out)
{
    struct where id_at = {.up = at, .name = "call_id"};
    struct json id = json_get(v, "call_id");
    if (json_absent(id) && json_is(json_get(v, "type"), "local_shell_call_output"))
        id = json_get(v, "id");
    return read_text(r, &id_at, id, out);
}

static enum err note_group(struct items *in, struct json list, const size_t *of_id)
{
    size_t item = 0, id = 0;
    for (struct json_iter i = json_iter(list); json_next(&i); item++) {
        struct where at = {.up = in->list, .index = item}, id_at = {.up = &at, .name = "call_id"};
        if (in->sort[item] == ITEM_OTHER)
            continue;
        size_t group = in->group[item] = of_id[id++];
        bool twice = in->sort[item] == ITEM_CALL ? in->called[group]
                                                 : json_type(in->result[group]) != JSON_NONE;
        if (twice)
            return read_fault(in->r, &id_at, ERROR_INVALID_VALUE,
                              "'%.*s' is the call_id of more than one %s.",
                              SPAN_ARG(span_first(in->ids_text[group], 128)),
                              in->sort[item] == ITEM_CALL ? "call" : "result");
        if (in->sort[item] == ITEM_CALL)
            in->called[group] = true;
        else
            in->result[group] = i.value;
    }
    return OK;
}

static enum err find_calls(struct items *in, struct json list, size_t count)
{
    struct arena *arena = in->r->arena;
    struct span_groups groups;
    struct span *ids = ARENA_ARRAY(arena, struct span, count);
    size_t *of_id = ARENA_ARRAY(arena, size_t, count), item = 0, id_count = 0;
    in->sort = ARENA_ARRAY(arena, enum item_sort, count);
    in->group = ARENA_ARRAY(arena, size_t, count);
    in->pending = ARENA_ARRAY(arena, size_t, count);
    if (!ids || !of_id || !in->sort || !in->group || !in->pending)
        return read_too_large(in->r);
    for (struct json_iter i = json_iter(list); json_next(&i); item++) {
        struct where at = {.up = in->list, .index = item};
        const struct item_reader *reader = reader_of(i.value);
        in->sort[item] = reader ? reader->sort : ITEM_OTHER;
        enum err e =
            in->sort[item] == ITEM_OTHER ? OK : note_id(in->r, &at, i.value, &ids[id_count++]);
        if (e)
            return e;
    }
    if (span_groups_build(&groups, arena, ids, id_count, of_id))
        return read_too_large(in->r);
    in->ids_text = groups.texts;
    in->result = ARENA_ARRAY(arena, struct json, groups.count);
    in->called = ARENA_ARRAY(arena, bool, groups.count);
    return in->result && in->called ? note_group(in, list, of_id) : read_too_large(in->r);
}

enum err responses_read_input(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct items in = {.r = r, .list = at};
    size_t count = json_count(v);
    (void)into;
    if (json_type(v) == JSON_STRING) {
        struct turn *turn = read_add_turn(r, ROLE_USER, 0);
        return turn ? responses_read_content(r, at, v, &turn->parts, &turn->plain)
                    : read_too_large(r);
    }
    if (json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "a string or an array");
    if (count > MESSAGES_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "'input' may hold at most %d items.",
                          MESSAGES_MAX);
    if (!read_reserve_turns(r, count))
        return read_too_large(r);
    enum err e = find_calls(&in, v, count);
    if (!e)
        e = read_array(r, at, v, read_item, &in);
    return e ? e : close_run(&in, true);
}
