/* Tools and the choice among them, and their deprecated twins, functions and function_call. */
#include "services/worker/api/openai.h"

enum { NAME_MAX_OPENAI = 64 };

#define FIELD(member) offsetof(struct tool, member)

static enum err read_name(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct tool *tool = into;
    enum err e = read_text(r, at, v, &tool->name_text);
    return e ? e : read_check_tool_name(r, at, tool->name_text, NAME_MAX_OPENAI);
}

static const struct member function_members[] = {
    {.name = "name", .kind = MEMBER_FN, .fn = read_name, .required = true},
    {.name = "description", .kind = MEMBER_TEXT, .offset = FIELD(description_text)},
    {.name = "parameters", .kind = MEMBER_OBJECT, .offset = FIELD(schema_json)},
    {.name = "strict", .kind = MEMBER_FLAG, .offset = FIELD(strict_json)},
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)},
};
static const struct shape function_shape = SHAPE("tools.function", function_members);

static enum err read_function(struct reader *r, const struct where *at, struct json v, void *into)
{
    return read_object(r, at, v, &function_shape, into);
}

static const struct member tool_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "function", .kind = MEMBER_FN, .fn = read_function, .required = true},
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)}, /* extension */
};
static const struct shape tool_shape = SHAPE("tools", tool_members);

static enum err read_custom(struct reader *r, const struct where *at, struct json v,
                            struct tool *tool)
{
    struct where custom = {.up = at, .name = "custom"}, name = {.up = &custom, .name = "name"};
    tool->custom = true;
    tool->raw_json = json_raw(v);
    return read_name(r, &name, json_get(json_get(v, "custom"), "name"), tool);
}

static enum err read_tool(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    struct tool *tool = &out->tools[out->tool_count++];
    struct json type = json_get(v, "type");
    struct where type_at = {.up = at, .name = "type"};
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    if (json_is(type, "custom"))
        return read_custom(r, at, v, tool);
    if (!json_is(type, "function"))
        return read_fault(r, &type_at, ERROR_INVALID_VALUE,
                          "A tool's type must be function or custom.");
    return read_object(r, at, v, &tool_shape, tool);
}

/* Room for the tools of an array. */
static enum err make_room(struct reader *r, const struct where *at, struct json v)
{
    size_t count = json_count(v);
    if (json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "an array");
    if (count > TOOLS_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "At most %d tools may be given, not %zu.",
                          TOOLS_MAX, count);
    if (r->out->tool_count)
        return read_fault(r, at, ERROR_INVALID_VALUE,
                          "'tools' and 'functions' can't be given together.");
    r->out->tools = ARENA_ARRAY(r->arena, struct tool, count);
    return r->out->tools ? OK : read_too_large(r);
}

enum err openai_read_tools(struct reader *r, const struct where *at, struct json v, void *into)
{
    enum err e = make_room(r, at, v);
    return e ? e : read_array(r, at, v, read_tool, into);
}

static enum err read_legacy_function(struct reader *r, const struct where *at, struct json v,
                                     void *into)
{
    struct neutral_request *out = into;
    return read_object(r, at, v, &function_shape, &out->tools[out->tool_count++]);
}

enum err openai_read_functions(struct reader *r, const struct where *at, struct json v, void *into)
{
    enum err e = make_room(r, at, v);
    r->out->legacy_functions = true;
    return e ? e : read_array(r, at, v, read_legacy_function, into);
}

enum err openai_read_function_call(struct reader *r, const struct where *at, struct json v,
                                   void *into)
{
    struct neutral_request *out = into;
    out->legacy_functions = true;
    if (json_is(v, "none")) {
        out->tool_mode = TOOLS_NONE;
    } else if (json_is(v, "auto")) {
        out->tool_mode = TOOLS_AUTO;
    } else {
        struct where name = {.up = at, .name = "name"};
        if (json_type(v) != JSON_OBJECT)
            return read_fault(r, at, ERROR_INVALID_VALUE,
                              "'function_call' must be none, auto or an object with a name.");
        out->tool_mode = TOOLS_NAMED;
        enum err e = read_text(r, &name, json_get(v, "name"), &out->tool_name_text);
        if (e)
            return e;
    }
    return read_check_tool_choice(r, at);
}

/* ---- tool_choice ---- */

/* The name in {"type":"function","function":{"name":…}}; a custom tool's stands under "custom". */
static enum err read_named(struct reader *r, const struct where *at, struct json v,
                           struct span *out)
{
    const char *kind = json_is(json_get(v, "type"), "custom") ? "custom" : "function";
    struct where kind_at = {.up = at, .name = kind}, name_at = {.up = &kind_at, .name = "name"};
    return read_text(r, &name_at, json_get(json_get(v, kind), "name"), out);
}

static bool is_allowed(struct json list, struct span name)
{
    for (struct json_iter i = json_iter(list); json_next(&i);) {
        const char *kind = json_is(json_get(i.value, "type"), "custom") ? "custom" : "function";
        if (span_equals(json_text(json_get(json_get(i.value, kind), "name")), name))
            return true;
    }
    return false;
}

static enum err check_allowed(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    struct span name;
    enum err e = read_named(r, at, v, &name);
    if (e)
        return e;
    for (size_t i = 0; i < out->tool_count; i++) {
        if (span_equals(out->tools[i].name_text, name))
            return OK;
    }
    return read_fault(r, at, ERROR_INVALID_VALUE, "An allowed tool is not among the tools given.");
}

/* Other protocols know no subset of the tools: only the allowed ones are sent. */
static enum err read_allowed(struct reader *r, const struct where *at, struct json v,
                             struct neutral_request *out)
{
    struct json allowed = json_get(v, "allowed_tools"), list = json_get(allowed, "tools");
    struct where allowed_at = {.up = at, .name = "allowed_tools"};
    struct where mode_at = {.up = &allowed_at, .name = "mode"},
                 list_at = {.up = &allowed_at, .name = "tools"};
    if (json_is(json_get(allowed, "mode"), "required"))
        out->tool_mode = TOOLS_ANY;
    else if (json_is(json_get(allowed, "mode"), "auto"))
        out->tool_mode = TOOLS_AUTO;
    else
        return read_fault(r, &mode_at, ERROR_INVALID_VALUE,
                          "'allowed_tools.mode' must be auto or required.");
    if (json_count(list) > TOOLS_MAX)
        return read_fault(r, &list_at, ERROR_INVALID_VALUE, "At most %d tools may be allowed.",
                          TOOLS_MAX);
    enum err e = read_array(r, &list_at, list, check_allowed, out);
    if (e)
        return e;
    size_t kept = 0;
    for (size_t i = 0; i < out->tool_count; i++) {
        if (is_allowed(list, out->tools[i].name_text))
            out->tools[kept++] = out->tools[i];
    }
    out->tool_count = kept;
    return OK;
}

enum err openai_read_tool_choice(struct reader *r, const struct where *at, struct json v,
                                 void *into)
{
    struct neutral_request *out = into;
    struct json type = json_get(v, "type");
    if (json_is(v, "none"))
        out->tool_mode = TOOLS_NONE;
    else if (json_is(v, "auto"))
        out->tool_mode = TOOLS_AUTO;
    else if (json_is(v, "required"))
        out->tool_mode = TOOLS_ANY;
    else if (json_is(type, "allowed_tools"))
        return read_allowed(r, at, v, out);
    else if (json_is(type, "function") || json_is(type, "custom"))
        out->tool_mode = TOOLS_NAMED;
    else
        return read_fault(
            r, at, ERROR_INVALID_VALUE,
            "'tool_choice' must be none, auto, required or an object that names a tool.");
    if (out->tool_mode != TOOLS_NAMED)
        return OK;
    enum err e = read_named(r, at, v, &out->tool_name_text);
    return e ? e : read_check_tool_choice(r, at);
}
