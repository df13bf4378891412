/* The messages and the system of an Anthropic request → turns (docs/wire.md, Messages). */
#include "services/worker/api/anthropic.h"

static bool role_of(struct json v, enum role *out)
{
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {{"user", ROLE_USER}, {"assistant", ROLE_ASSISTANT}, {"system", ROLE_SYSTEM}};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (json_is(v, roles[i].name)) {
            *out = roles[i].role;
            return true;
        }
    }
    return false;
}

struct anthropic_message {
    size_t index;
    enum role role;
    bool open;    /* the last turn is this message's and takes its next block */
    size_t count; /* blocks; room is made once, for the first turn of the message */
};

/* A system block in the middle of a message becomes a turn of its own; what follows it goes on as
 * before. */
static enum err read_mid_system(struct reader *r, const struct where *at, struct json v,
                                struct anthropic_message *m)
{
    struct where content = {.up = at, .name = "content"};
    struct turn *turn = read_add_turn(r, ROLE_SYSTEM, m->index);
    m->open = false;
    return turn ? anthropic_read_content(r, &content, json_get(v, "content"), &turn->parts,
                                         &turn->plain)
                : read_too_large(r);
}

static bool open_turn(struct reader *r, struct anthropic_message *m)
{
    struct turn *turn = read_add_turn(r, m->role, m->index);
    size_t count = m->count;
    m->open = true;
    m->count = 0;
    return turn && read_reserve_parts(r, &turn->parts, count);
}

static enum err read_element(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct anthropic_message *m = into;
    if (json_is(json_get(v, "type"), "mid_conv_system"))
        return read_mid_system(r, at, v, m);
    if (!m->open && !open_turn(r, m))
        return read_too_large(r);
    return anthropic_read_block(r, at, v, &r->out->turns[r->out->turn_count - 1].parts);
}

static bool has_result(const struct turn *turn)
{
    for (size_t i = 0; i < turn->parts.count; i++) {
        if (turn->parts.items[i].kind == PART_TOOL_RESULT)
            return true;
    }
    return false;
}

/* The API takes consecutive user turns for one. It matters where results follow other text:
 * elsewhere nothing may stand between a call and its result. */
static enum err join_results(struct reader *r, size_t first)
{
    struct neutral_request *out = r->out;
    if (first == 0 || first + 1 != out->turn_count)
        return OK;
    struct turn *turn = &out->turns[first], *before = turn - 1;
    if (turn->role != ROLE_USER || before->role != ROLE_USER || !has_result(turn))
        return OK;
    for (size_t i = 0; i < turn->parts.count; i++) {
        struct part *part = part_list_add(&before->parts, r->arena);
        if (!part)
            return read_too_large(r);
        *part = turn->parts.items[i];
    }
    before->plain = false;
    out->turn_count--;
    return OK;
}

static const struct member message_members[] = {
    {.name = "role", .kind = MEMBER_KNOWN, .required = true},
    {.name = "content", .kind = MEMBER_KNOWN, .required = true},
};
static const struct shape message_shape = SHAPE("messages", message_members);

static enum err read_message(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct anthropic_message m = {.index = at->index};
    struct where role_at = {.up = at, .name = "role"}, content_at = {.up = at, .name = "content"};
    struct json content = json_get(v, "content");
    size_t first = r->out->turn_count;
    (void)into;
    enum err e = read_object(r, at, v, &message_shape, &m);
    if (e)
        return e;
    if (!role_of(json_get(v, "role"), &m.role))
        return read_fault(r, &role_at, ERROR_INVALID_VALUE,
                          "A message's role must be user, assistant or system.");
    if (json_type(content) == JSON_STRING) {
        struct turn *turn = read_add_turn(r, m.role, m.index);
        return turn ? anthropic_read_content(r, &content_at, content, &turn->parts, &turn->plain)
                    : read_too_large(r);
    }
    if (json_type(content) != JSON_ARRAY)
        return read_wrong_type(r, &content_at, content, "a string or an array");
    m.count = json_count(content);
    e = read_array(r, &content_at, content, read_element, &m);
    return e ? e : join_results(r, first);
}

enum err anthropic_read_messages(struct reader *r, const struct where *at, struct json v,
                                 void *into)
{
    size_t count = json_count(v);
    if (json_type(v) == JSON_ARRAY && count == 0)
        return read_fault(r, at, ERROR_INVALID_VALUE, "'messages' must hold at least one message.");
    if (json_type(v) == JSON_ARRAY && count > MESSAGES_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "'messages' may hold at most %d messages.",
                          MESSAGES_MAX);
    return read_reserve_turns(r, count) ? read_array(r, at, v, read_message, into)
                                        : read_too_large(r);
}

static enum err read_system_block(struct reader *r, const struct where *at, struct json v,
                                  void *into)
{
    struct where type = {.up = at, .name = "type"};
    if (json_type(v) == JSON_OBJECT && !json_is(json_get(v, "type"), "text"))
        return read_fault(r, &type, ERROR_INVALID_VALUE, "A system block's type must be text.");
    return anthropic_read_block(r, at, v, into);
}

enum err anthropic_read_system(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    bool plain;
    if (json_type(v) == JSON_STRING)
        return anthropic_read_content(r, at, v, &out->system, &plain);
    if (json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "a string or an array");
    return read_reserve_parts(r, &out->system, json_count(v))
               ? read_array(r, at, v, read_system_block, &out->system)
               : read_too_large(r);
}
