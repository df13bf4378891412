/* Tools of a responses request (docs/wire.md, Tools). Upstream all that a client runs are
 * functions; what they are to the client is kept for the way back. */
#include "common/base/crypto.h"
#include "services/worker/api/openai.h"
#include "services/worker/api/responses.h"

enum { NAME_MAX_SENT = 64, NAME_HASH_BYTES = 4 };

static const char input_schema[] =
    "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"]"
    "}";

/* Tools that their models know by heart, described. */
static const struct built_in {
    const char *type;
    enum responses_tool_kind kind;
    const char *description, *schema;
} built_ins[] = {
    {"local_shell", RESPONSES_LOCAL_SHELL,
     "Runs a command on the user's machine and returns its output.",
     "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"array\",\"items\":{\"type\":"
     "\"string\"},\"description\":\"The program and its arguments.\"},\"working_directory\":{"
     "\"type\":\"string\"},\"timeout_ms\":{\"type\":\"integer\"},\"env\":{\"type\":\"object\","
     "\"additionalProperties\":{\"type\":\"string\"}}},\"required\":[\"command\"]}"},
    {"shell", RESPONSES_SHELL,
     "Runs shell commands, one after the other, and returns their output.",
     "{\"type\":\"object\",\"properties\":{\"commands\":{\"type\":\"array\",\"items\":{\"type\":"
     "\"string\"}},\"timeout_ms\":{\"type\":\"integer\"},\"max_output_length\":{\"type\":"
     "\"integer\"}},\"required\":[\"commands\"]}"},
    {"apply_patch", RESPONSES_APPLY_PATCH,
     "Creates, updates or deletes one file. diff is in the V4A format: for create_file every line "
     "begins with +, for update_file sections begin with @@ and lines with a blank, - or +.",
     "{\"type\":\"object\",\"properties\":{\"type\":{\"type\":\"string\",\"enum\":[\"create_file\","
     "\"update_file\",\"delete_file\"]},\"path\":{\"type\":\"string\"},\"diff\":{\"type\":"
     "\"string\"}},\"required\":[\"type\",\"path\"]}"},
};

/* ---- names ---- */

/* "namespace__name"; a long one ends in a hash of all of it. */
static struct span join_name(struct arena *arena, struct span namespace_text, struct span name_text)
{
    if (!namespace_text.len)
        return name_text;
    struct span whole =
        arena_printf(arena, "%.*s__%.*s", SPAN_ARG(namespace_text), SPAN_ARG(name_text));
    if (whole.len <= NAME_MAX_SENT)
        return whole;
    uint8_t digest[SHA256_BYTES];
    char hex[2 * NAME_HASH_BYTES + 1];
    crypto_sha256(whole, digest);
    crypto_hex(digest, NAME_HASH_BYTES, hex);
    struct span head = span_first(whole, NAME_MAX_SENT - 1 - 2 * NAME_HASH_BYTES);
    return arena_printf(arena, "%.*s_%s", SPAN_ARG(head), hex);
}

struct span responses_sent_name(struct reader *r, struct span namespace_text, struct span name_text)
{
    return join_name(r->arena, namespace_text, name_text);
}

const struct responses_tool *responses_find_tool(const struct responses_request *request,
                                                 struct span sent_text)
{
    for (size_t i = 0; request && i < request->tool_count; i++) {
        if (span_equals(request->tools[i].sent_text, sent_text))
            return &request->tools[i];
    }
    return NULL;
}

/* ---- tools ---- */

struct tools {
    struct span namespace_text; /* of the tools being read */
};

/* Exactly, but for tools that come one by one. */
static bool reserve_tools(struct reader *r, size_t more)
{
    struct neutral_request *request = r->out;
    struct responses_request *own = request->responses;
    size_t needed = own->tool_count + more;
    if (needed <= own->tool_cap)
        return true;
    size_t cap = needed < 2 * own->tool_cap ? 2 * own->tool_cap : needed;
    struct tool *tools = ARENA_ARRAY(r->arena, struct tool, cap);
    struct responses_tool *kept = ARENA_ARRAY(r->arena, struct responses_tool, cap);
    if (!tools || !kept)
        return false;
    if (own->tool_count) {
        memcpy(tools, request->tools, own->tool_count * sizeof *tools);
        memcpy(kept, own->tools, own->tool_count * sizeof *kept);
    }
    request->tools = tools;
    own->tools = kept;
    own->tool_cap = cap;
    return true;
}

static enum err add_tool(struct reader *r, const struct where *at, enum responses_tool_kind kind,
                         struct span namespace_text, struct span name_text, struct tool **out)
{
    struct neutral_request *request = r->out;
    struct responses_request *own = request->responses;
    if (request->tool_count == TOOLS_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "At most %d tools may be given.", TOOLS_MAX);
    if (!reserve_tools(r, 1))
        return read_too_large(r);
    struct span sent = join_name(r->arena, namespace_text, name_text);
    if (!sent.data)
        return read_too_large(r);
    own->tools[own->tool_count++] = (struct responses_tool){
        .kind = kind, .sent_text = sent, .name_text = name_text, .namespace_text = namespace_text};
    *out = &request->tools[request->tool_count++];
    **out = (struct tool){.name_text = sent};
    return OK;
}

#define FIELD(member) offsetof(struct tool, member)

static const struct member function_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "name", .kind = MEMBER_KNOWN, .required = true},
    {.name = "description", .kind = MEMBER_TEXT, .offset = FIELD(description_text)},
    {.name = "parameters", .kind = MEMBER_OBJECT, .offset = FIELD(schema_json)},
    {.name = "strict", .kind = MEMBER_FLAG, .offset = FIELD(strict_json)},
    {.name = "defer_loading", .kind = MEMBER_KNOWN},
};
static const struct shape function_shape = SHAPE("tools", function_members);

static enum err read_named(struct reader *r, const struct where *at, struct json v,
                           enum responses_tool_kind kind, struct span namespace_text,
                           struct tool **out)
{
    struct where name_at = {.up = at, .name = "name"};
    struct span name;
    enum err e = read_text(r, &name_at, json_get(v, "name"), &name);
    if (!e)
        e = read_check_tool_name(r, &name_at, name, NAME_MAX_SENT);
    return e ? e : add_tool(r, at, kind, namespace_text, name, out);
}

static enum err read_function(struct reader *r, const struct where *at, struct json v,
                              struct span namespace_text)
{
    struct tool *tool;
    enum err e = read_named(r, at, v, RESPONSES_FUNCTION, namespace_text, &tool);
    return e ? e : read_object(r, at, v, &function_shape, tool);
}

/* A grammar can only be asked for in words. */
static enum err read_custom(struct reader *r, const struct where *at, struct json v,
                            struct span namespace_text)
{
    struct tool *tool;
    struct json format = json_get(v, "format");
    struct span description = json_text(json_get(v, "description"));
    enum err e = read_named(r, at, v, RESPONSES_CUSTOM, namespace_text, &tool);
    if (e)
        return e;
    tool->schema_json = span_str(input_schema);
    tool->description_text = description;
    if (json_type(json_get(format, "definition")) == JSON_STRING) {
        struct span syntax = json_text(json_get(format, "syntax"));
        tool->description_text =
            arena_printf(r->arena, "%.*s\\n\\nThe input must follow this grammar (%.*s):\\n%.*s",
                         SPAN_ARG(description), SPAN_ARG(syntax),
                         SPAN_ARG(json_text(json_get(format, "definition"))));
        if (!tool->description_text.data)
            return read_too_large(r);
    }
    return OK;
}

static enum err read_in_namespace(struct reader *r, const struct where *at, struct json v,
                                  void *into)
{
    const struct tools *tools = into;
    struct where type_at = {.up = at, .name = "type"};
    struct json type = json_get(v, "type");
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    if (json_is(type, "function"))
        return read_function(r, at, v, tools->namespace_text);
    if (json_is(type, "custom"))
        return read_custom(r, at, v, tools->namespace_text);
    return read_fault(r, &type_at, ERROR_INVALID_VALUE,
                      "A tool's type in a namespace must be function or custom.");
}

static enum err read_namespace(struct reader *r, const struct where *at, struct json v)
{
    struct where name_at = {.up = at, .name = "name"}, tools_at = {.up = at, .name = "tools"};
    struct tools tools = {0};
    enum err e = read_text(r, &name_at, json_get(v, "name"), &tools.namespace_text);
    if (!e)
        e = read_check_tool_name(r, &name_at, tools.namespace_text, NAME_MAX_SENT);
    return e ? e : read_array(r, &tools_at, json_get(v, "tools"), read_in_namespace, &tools);
}

/* What runs at the provider: whether this one has it, the provider's part says. */
static enum err read_hosted(struct reader *r, const struct where *at, struct json v)
{
    struct tool *tool;
    struct span type = json_text(json_get(v, "type"));
    bool search = span_starts(type, "web_search");
    enum err e =
        add_tool(r, at, RESPONSES_FUNCTION, SPAN_NONE, search ? SPAN("web_search") : type, &tool);
    if (e)
        return e;
    tool->server = true;
    tool->type_text = type;
    tool->raw_json = json_raw(v);
    return OK;
}

static enum err read_tool(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct json type = json_get(v, "type");
    struct where type_at = {.up = at, .name = "type"};
    struct tool *tool;
    (void)into;
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    if (json_type(type) != JSON_STRING)
        return read_wrong_type(r, &type_at, type, "a string");
    if (json_is(type, "function"))
        return read_function(r, at, v, SPAN_NONE);
    if (json_is(type, "custom"))
        return read_custom(r, at, v, SPAN_NONE);
    if (json_is(type, "namespace"))
        return read_namespace(r, at, v);
    for (size_t i = 0; i < sizeof built_ins / sizeof built_ins[0]; i++) {
        if (!json_is(type, built_ins[i].type))
            continue;
        enum err e =
            add_tool(r, at, built_ins[i].kind, SPAN_NONE, span_str(built_ins[i].type), &tool);
        if (e)
            return e;
        tool->description_text = span_str(built_ins[i].description);
        tool->schema_json = span_str(built_ins[i].schema);
        return OK;
    }
    return read_hosted(r, at, v);
}

enum err responses_read_tools(struct reader *r, const struct where *at, struct json v, void *into)
{
    size_t count = 0;
    for (struct json_iter i = json_iter(v); json_type(v) == JSON_ARRAY && json_next(&i);)
        count += json_is(json_get(i.value, "type"), "namespace")
                     ? json_count(json_get(i.value, "tools"))
                     : 1;
    if (count > TOOLS_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "At most %d tools may be given, not %zu.",
                          TOOLS_MAX, count);
    return reserve_tools(r, count) ? read_array(r, at, v, read_tool, into) : read_too_large(r);
}

/* ---- the choice ---- */

/* The name upstream of what {"type":…,"name":…} speaks of. */
static enum err read_choice_name(struct reader *r, const struct where *at, struct json v,
                                 struct span *out)
{
    struct json type = json_get(v, "type");
    struct where name_at = {.up = at, .name = "name"};
    struct span name = json_text(type);
    enum err e = OK;
    if (json_is(type, "function") || json_is(type, "custom"))
        e = read_text(r, &name_at, json_get(v, "name"), &name);
    else if (span_starts(name, "web_search"))
        name = SPAN("web_search");
    *out = e ? SPAN_NONE : join_name(r->arena, json_text(json_get(v, "namespace")), name);
    return e;
}

static enum err keep_allowed(struct reader *r, const struct where *at, struct json v, void *into)
{
    bool *allowed = into;
    struct span name;
    enum err e = read_choice_name(r, at, v, &name);
    bool found = false;
    for (size_t i = 0; !e && i < r->out->tool_count; i++) {
        if (!span_equals(r->out->tools[i].name_text, name))
            continue;
        allowed[i] = found = true;
    }
    return e || found ? e
                      : read_fault(r, at, ERROR_INVALID_VALUE,
                                   "An allowed tool is not among the tools given.");
}

/* Other protocols know no subset of the tools: only the allowed ones are sent. */
static enum err read_allowed(struct reader *r, const struct where *at, struct json v,
                             struct neutral_request *out)
{
    struct where list_at = {.up = at, .name = "tools"};
    struct json list = json_get(v, "tools");
    bool allowed[TOOLS_MAX] = {false};
    size_t kept = 0;
    out->tool_mode = json_is(json_get(v, "mode"), "required") ? TOOLS_ANY : TOOLS_AUTO;
    if (json_count(list) > TOOLS_MAX)
        return read_fault(r, &list_at, ERROR_INVALID_VALUE, "At most %d tools may be allowed.",
                          TOOLS_MAX);
    enum err e = read_array(r, &list_at, list, keep_allowed, allowed);
    for (size_t i = 0; !e && i < out->tool_count; i++) {
        if (allowed[i])
            out->tools[kept++] = out->tools[i];
    }
    out->tool_count = e ? out->tool_count : kept;
    return e;
}

enum err responses_read_tool_choice(struct reader *r, const struct where *at, struct json v,
                                    void *into)
{
    struct neutral_request *out = into;
    if (json_is(v, "none"))
        out->tool_mode = TOOLS_NONE;
    else if (json_is(v, "auto"))
        out->tool_mode = TOOLS_AUTO;
    else if (json_is(v, "required"))
        out->tool_mode = TOOLS_ANY;
    else if (json_is(json_get(v, "type"), "allowed_tools"))
        return read_allowed(r, at, v, out);
    else if (json_type(v) == JSON_OBJECT)
        out->tool_mode = TOOLS_NAMED;
    else
        return read_fault(
            r, at, ERROR_INVALID_VALUE,
            "'tool_choice' must be none, auto, required or an object that names a tool.");
    if (out->tool_mode != TOOLS_NAMED)
        return OK;
    enum err e = read_choice_name(r, at, v, &out->tool_name_text);
    return e ? e : read_check_tool_choice(r, at);
}
