/* The messages of an OpenAI chat request → turns (docs/wire.md, Messages). Nothing is merged,
 * dropped or moved here: that is the business of whoever builds another protocol's request. */
#include "services/worker/api/openai.h"

/* Calls of the deprecated form that wait for their result; more are not looked at. */
enum { OPEN_CALLS_MAX = 64 };

struct chat_open_call {
    struct span name_text;
    struct span id_text;
};

struct messages {
    size_t index; /* of the message being read */
    struct chat_open_call open[OPEN_CALLS_MAX];
    size_t open_count;
};

/* One message's members, not yet a turn. */
struct chat_message {
    struct json role, content, tool_calls, function_call, thinking_blocks;
    struct span refusal_text, reasoning_text, name_text, tool_call_id_text, cache_json;
};

/* ---- what an assistant said ---- */

static enum err read_thinking_block(struct reader *r, const struct where *at, struct json v,
                                    void *into)
{
    struct part_list *parts = into;
    struct json signature = json_get(v, "signature"), data = json_get(v, "data");
    struct part *part;
    (void)at;
    if (json_is(json_get(v, "type"), "redacted_thinking") && json_type(data) == JSON_STRING) {
        part = read_add_part(r, parts, PART_REDACTED);
        if (part)
            part->data_text = json_text(data);
    } else if (json_type(signature) == JSON_STRING && json_text(signature).len) {
        part = read_add_part(r, parts, PART_THINKING);
        if (part) {
            part->text = json_text(json_get(v, "thinking"));
            part->signature_text = json_text(signature);
        }
    } else {
        /* thought without a signature is refused upstream */
        neutral_drop(r->out, "messages.thinking_blocks");
        return OK;
    }
    return part ? OK : read_too_large(r);
}

static enum err read_tool_call(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct json function = json_get(v, "function"), type = json_get(v, "type");
    struct where id = {.up = at, .name = "id"}, function_at = {.up = at, .name = "function"};
    struct where name = {.up = &function_at, .name = "name"},
                 args = {.up = &function_at, .name = "arguments"};
    if (json_is(type, "custom"))
        return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                          "Calls of custom tools are not supported by this model.");
    struct part *part = read_add_part(r, into, PART_TOOL_CALL);
    if (!part)
        return read_too_large(r);
    enum err e = read_count_tool_call(r, at);
    if (!e)
        e = read_text(r, &id, json_get(v, "id"), &part->id_text);
    if (!e)
        e = read_text(r, &name, json_get(function, "name"), &part->name_text);
    return e ? e : read_text(r, &args, json_get(function, "arguments"), &part->args_text);
}

/* The deprecated form has no ids: the message's place makes one. */
static enum err read_function_call(struct reader *r, const struct where *at, struct json v,
                                   struct part_list *parts, struct messages *m)
{
    struct where name = {.up = at, .name = "name"}, args = {.up = at, .name = "arguments"};
    struct part *part = read_add_part(r, parts, PART_TOOL_CALL);
    if (!part)
        return read_too_large(r);
    part->legacy_function = true;
    part->id_text = arena_printf(r->arena, "fc_%zu", m->index);
    if (!part->id_text.data)
        return read_too_large(r);
    enum err e = read_text(r, &name, json_get(v, "name"), &part->name_text);
    if (!e)
        e = read_text(r, &args, json_get(v, "arguments"), &part->args_text);
    if (m->open_count == OPEN_CALLS_MAX)
        memmove(m->open, m->open + 1, --m->open_count * sizeof m->open[0]);
    m->open[m->open_count++] = (struct chat_open_call){part->name_text, part->id_text};
    return e;
}

static enum err read_assistant(struct reader *r, const struct where *at,
                               const struct chat_message *from, struct turn *turn,
                               struct messages *m)
{
    struct where content = {.up = at, .name = "content"}, calls = {.up = at, .name = "tool_calls"};
    struct where thinking = {.up = at, .name = "thinking_blocks"},
                 call = {.up = at, .name = "function_call"};
    enum err e = OK;
    size_t most = json_count(from->thinking_blocks) + json_count(from->tool_calls);
    if (!read_reserve_parts(r, &turn->parts, most + json_count(from->content) + 1))
        return read_too_large(r);
    if (!json_absent(from->thinking_blocks))
        e = read_array(r, &thinking, from->thinking_blocks, read_thinking_block, &turn->parts);
    else if (from->reasoning_text.len)
        neutral_drop(r->out, "messages.reasoning_content");
    if (!e && !json_absent(from->content))
        e = openai_read_content(r, &content, from->content, ROLE_ASSISTANT, &turn->parts,
                                &turn->plain);
    if (!e && from->refusal_text.len) {
        struct part *part = read_add_part(r, &turn->parts, PART_REFUSAL);
        if (!part)
            return read_too_large(r);
        part->text = from->refusal_text;
    }
    if (!e && !json_absent(from->tool_calls))
        e = read_array(r, &calls, from->tool_calls, read_tool_call, &turn->parts);
    if (!e && !json_absent(from->function_call))
        e = read_function_call(r, &call, from->function_call, &turn->parts, m);
    return e;
}

/* ---- what a tool answered ---- */

static enum err read_result(struct reader *r, const struct where *at,
                            const struct chat_message *from, struct turn *turn, struct span id_text,
                            bool legacy)
{
    struct where content = {.up = at, .name = "content"};
    struct part *part = read_add_part(r, &turn->parts, PART_TOOL_RESULT);
    struct part_list *parts = ARENA_NEW(r->arena, struct part_list);
    if (!part || !parts)
        return read_too_large(r);
    part->id_text = id_text;
    part->parts = parts;
    part->legacy_function = legacy;
    turn->plain = true;
    return json_absent(from->content)
               ? OK
               : openai_read_content(r, &content, from->content, ROLE_TOOL, parts, &turn->plain);
}

static enum err read_tool(struct reader *r, const struct where *at, const struct chat_message *from,
                          struct turn *turn)
{
    struct where id = {.up = at, .name = "tool_call_id"};
    if (!from->tool_call_id_text.data)
        return read_fault(r, &id, ERROR_INVALID_VALUE,
                          "Missing required parameter: 'tool_call_id'.");
    return read_result(r, at, from, turn, from->tool_call_id_text, false);
}

/* Answers the latest open call of its name. */
static enum err read_function_result(struct reader *r, const struct where *at,
                                     const struct chat_message *from, struct turn *turn,
                                     struct messages *m)
{
    struct where name = {.up = at, .name = "name"};
    for (size_t i = m->open_count; i-- > 0;) {
        if (!span_equals(m->open[i].name_text, from->name_text))
            continue;
        struct span id_text = m->open[i].id_text;
        m->open_count--;
        memmove(m->open + i, m->open + i + 1, (m->open_count - i) * sizeof m->open[0]);
        return read_result(r, at, from, turn, id_text, true);
    }
    return read_fault(r, &name, ERROR_INVALID_VALUE,
                      "No function_call before this message has the name '%.*s'.",
                      SPAN_ARG(span_first(from->name_text, 64)));
}

/* ---- a message ---- */

static enum err keep_json(struct reader *r, const struct where *at, struct json v, void *into)
{
    (void)r;
    struct chat_message *m = into;
    if (strcmp(at->name, "role") == 0)
        m->role = v;
    else if (strcmp(at->name, "content") == 0)
        m->content = v;
    else if (strcmp(at->name, "tool_calls") == 0)
        m->tool_calls = v;
    else if (strcmp(at->name, "function_call") == 0)
        m->function_call = v;
    else
        m->thinking_blocks = v;
    return OK;
}

/* An assistant's past audio can't be said again in text. */
static enum err refuse_audio_message(struct reader *r, const struct where *at, struct json v,
                                     void *into)
{
    (void)v;
    (void)into;
    return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                      "Audio input is not supported by this model.");
}

/* SDKs send `annotations: []` back; only real ones are a loss. */
static enum err read_annotations(struct reader *r, const struct where *at, struct json v,
                                 void *into)
{
    (void)at;
    (void)into;
    if (json_count(v))
        neutral_drop(r->out, "messages.annotations");
    return OK;
}

#define FIELD(member) offsetof(struct chat_message, member)

static const struct member message_members[] = {
    {.name = "role", .kind = MEMBER_FN, .fn = keep_json, .required = true},
    {.name = "content", .kind = MEMBER_FN, .fn = keep_json},
    {.name = "name", .kind = MEMBER_TEXT, .offset = FIELD(name_text)},
    {.name = "refusal", .kind = MEMBER_TEXT, .offset = FIELD(refusal_text)},
    {.name = "tool_calls", .kind = MEMBER_FN, .fn = keep_json},
    {.name = "function_call", .kind = MEMBER_FN, .fn = keep_json},
    {.name = "tool_call_id", .kind = MEMBER_TEXT, .offset = FIELD(tool_call_id_text)},
    {.name = "audio", .kind = MEMBER_FN, .fn = refuse_audio_message},
    {.name = "annotations", .kind = MEMBER_FN, .fn = read_annotations},
    {.name = "thinking_blocks", .kind = MEMBER_FN, .fn = keep_json}, /* extension */
    {.name = "reasoning_content",
     .kind = MEMBER_TEXT,
     .offset = FIELD(reasoning_text)},                                             /* extension */
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)}, /* extension */
};
static const struct shape message_shape = SHAPE("messages", message_members);

static bool role_of(struct json v, enum role *out)
{
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {
        {"user", ROLE_USER},           {"assistant", ROLE_ASSISTANT}, {"system", ROLE_SYSTEM},
        {"developer", ROLE_DEVELOPER}, {"tool", ROLE_TOOL},           {"function", ROLE_TOOL},
    };
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (json_is(v, roles[i].name)) {
            *out = roles[i].role;
            return true;
        }
    }
    return false;
}

static enum err read_turn(struct reader *r, const struct where *at, const struct chat_message *from,
                          struct turn *turn, struct messages *m)
{
    struct where content = {.up = at, .name = "content"};
    switch (turn->role) {
    case ROLE_SYSTEM:
    case ROLE_DEVELOPER:
    case ROLE_USER:
        if (json_absent(from->content))
            return read_fault(r, &content, ERROR_INVALID_VALUE,
                              "Missing required parameter: 'content'.");
        return openai_read_content(r, &content, from->content, turn->role, &turn->parts,
                                   &turn->plain);
    case ROLE_ASSISTANT:
        return read_assistant(r, at, from, turn, m);
    case ROLE_TOOL:
        return json_is(from->role, "function") ? read_function_result(r, at, from, turn, m)
                                               : read_tool(r, at, from, turn);
    }
    return ERR_INVALID;
}

static enum err read_message(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct messages *m = into;
    struct chat_message from = {0};
    struct where role_at = {.up = at, .name = "role"};
    enum role role;
    m->index = at->index;
    enum err e = read_object(r, at, v, &message_shape, &from);
    if (e)
        return e;
    if (!role_of(from.role, &role))
        return read_fault(
            r, &role_at, ERROR_INVALID_VALUE,
            "A message's role must be system, developer, user, assistant, tool or function.");
    struct turn *turn = read_add_turn(r, role, at->index);
    if (!turn)
        return read_too_large(r);
    /* a function's name only says which call is answered */
    if (from.name_text.len && !json_is(from.role, "function")) {
        turn->name_text = from.name_text;
        neutral_drop(r->out, "messages.name"); /* no other protocol has one */
    }
    e = read_turn(r, at, &from, turn, m);
    if (!e && from.cache_json.len && turn->parts.count)
        turn->parts.items[turn->parts.count - 1].cache_json = from.cache_json;
    return e;
}

enum err openai_read_messages(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct messages m = {0};
    size_t count = json_count(v);
    (void)into;
    if (json_type(v) == JSON_ARRAY && count == 0)
        return read_fault(r, at, ERROR_INVALID_VALUE, "'messages' must hold at least one message.");
    if (json_type(v) == JSON_ARRAY && count > MESSAGES_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "'messages' may hold at most %d messages.",
                          MESSAGES_MAX);
    return read_reserve_turns(r, count) ? read_array(r, at, v, read_message, &m)
                                        : read_too_large(r);
}
