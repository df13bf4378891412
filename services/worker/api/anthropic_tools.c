/* Anthropic tools and the choice among them (docs/wire.md, Tools). */
#include "services/worker/api/anthropic.h"

enum { NAME_MAX_ANTHROPIC = 128 };

#define FIELD(member) offsetof(struct tool, member)

static enum err read_name(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct tool *tool = into;
    enum err e = read_text(r, at, v, &tool->name_text);
    return e ? e : read_check_tool_name(r, at, tool->name_text, NAME_MAX_ANTHROPIC);
}

static const struct member tool_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "name", .kind = MEMBER_FN, .fn = read_name, .required = true},
    {.name = "description", .kind = MEMBER_TEXT, .offset = FIELD(description_text)},
    {.name = "input_schema", .kind = MEMBER_OBJECT, .offset = FIELD(schema_json), .required = true},
    {.name = "strict", .kind = MEMBER_FLAG, .offset = FIELD(strict_json)},
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)},
};
static const struct shape tool_shape = SHAPE("tools", tool_members);

/* Tools whose definition the API's own models know by heart, and which the client runs: elsewhere
 * they are functions like any other, once they are described. */
static const struct known_tool {
    const char *type; /* up to its date */
    const char *description, *schema;
} known_tools[] = {
    {"bash_",
     "Runs a command in a bash session that lasts over calls, and returns what it wrote to stdout "
     "and stderr.",
     "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"description\":"
     "\"The command. Needed unless restart is true.\"},\"restart\":{\"type\":\"boolean\","
     "\"description\":\"Starts the session anew.\"}}}"},
    {"text_editor_",
     "Views, creates and edits files. view shows a file (view_range: its lines from and to, -1 for "
     "the end) or lists a folder; create writes file_text into a new file; str_replace puts "
     "new_str "
     "in the place of old_str, which must occur exactly once; insert puts insert_text behind line "
     "insert_line.",
     "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"enum\":[\"view\","
     "\"create\",\"str_replace\",\"insert\"]},\"path\":{\"type\":\"string\"},\"view_range\":{"
     "\"type\":\"array\",\"items\":{\"type\":\"integer\"}},\"file_text\":{\"type\":\"string\"},"
     "\"old_str\":{\"type\":\"string\"},\"new_str\":{\"type\":\"string\"},\"insert_line\":{"
     "\"type\":\"integer\"},\"insert_text\":{\"type\":\"string\"}},\"required\":[\"command\","
     "\"path\"]}"},
    {"memory_",
     "Keeps notes in files below /memories, which last over conversations: view, create, "
     "str_replace, insert, delete and rename.",
     "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"enum\":[\"view\","
     "\"create\",\"str_replace\",\"insert\",\"delete\",\"rename\"]},\"path\":{\"type\":"
     "\"string\"},\"view_range\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},"
     "\"file_text\":{\"type\":\"string\"},\"old_str\":{\"type\":\"string\"},\"new_str\":{"
     "\"type\":\"string\"},\"insert_line\":{\"type\":\"integer\"},\"insert_text\":{\"type\":"
     "\"string\"},\"old_path\":{\"type\":\"string\"},\"new_path\":{\"type\":\"string\"}},"
     "\"required\":[\"command\"]}"},
};

/* A dated type: of a tool that the client runs, or of one that the provider does. */
static enum err read_dated_tool(struct reader *r, const struct where *at, struct json v,
                                struct tool *tool)
{
    struct where name = {.up = at, .name = "name"};
    struct json type = json_get(v, "type");
    for (size_t i = 0; i < sizeof known_tools / sizeof known_tools[0]; i++) {
        if (!span_starts(json_text(type), known_tools[i].type))
            continue;
        tool->description_text = span_str(known_tools[i].description);
        tool->schema_json = span_str(known_tools[i].schema);
        return read_name(r, &name, json_get(v, "name"), tool);
    }
    tool->server = true;
    tool->type_text = json_text(type);
    tool->raw_json = json_raw(v);
    return read_text(r, &name, json_get(v, "name"), &tool->name_text);
}

static enum err read_tool(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    struct tool *tool = &out->tools[out->tool_count++];
    struct json type = json_get(v, "type");
    if (json_type(v) == JSON_OBJECT && json_type(type) == JSON_STRING && !json_is(type, "custom"))
        return read_dated_tool(r, at, v, tool);
    return read_object(r, at, v, &tool_shape, tool);
}

enum err anthropic_read_tools(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    size_t count = json_count(v);
    if (json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "an array");
    if (count > TOOLS_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "At most %d tools may be given, not %zu.",
                          TOOLS_MAX, count);
    out->tools = ARENA_ARRAY(r->arena, struct tool, count);
    return out->tools ? read_array(r, at, v, read_tool, out) : read_too_large(r);
}

static enum err read_mode(struct reader *r, const struct where *at, struct json v, void *into)
{
    static const struct {
        const char *name;
        enum tool_mode mode;
    } modes[] = {
        {"auto", TOOLS_AUTO}, {"any", TOOLS_ANY}, {"tool", TOOLS_NAMED}, {"none", TOOLS_NONE}};
    struct neutral_request *out = into;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (json_is(v, modes[i].name)) {
            out->tool_mode = modes[i].mode;
            return OK;
        }
    }
    return read_fault(r, at, ERROR_INVALID_VALUE,
                      "'tool_choice.type' must be auto, any, tool or none.");
}

static enum err read_disable_parallel(struct reader *r, const struct where *at, struct json v,
                                      void *into)
{
    struct neutral_request *out = into;
    bool disable;
    if (!json_bool(v, &disable))
        return read_wrong_type(r, at, v, "a boolean");
    out->parallel_tools = disable ? NO : UNSET;
    return OK;
}

static const struct member choice_members[] = {
    {.name = "type", .kind = MEMBER_FN, .fn = read_mode, .required = true},
    {.name = "name",
     .kind = MEMBER_TEXT,
     .offset = offsetof(struct neutral_request, tool_name_text)},
    {.name = "disable_parallel_tool_use", .kind = MEMBER_FN, .fn = read_disable_parallel},
};
static const struct shape choice_shape = SHAPE("tool_choice", choice_members);

enum err anthropic_read_tool_choice(struct reader *r, const struct where *at, struct json v,
                                    void *into)
{
    enum err e = read_object(r, at, v, &choice_shape, into);
    return e ? e : read_check_tool_choice(r, at);
}
