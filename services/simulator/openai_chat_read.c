/* A chat request: checked as the real provider does, and read into a question. */
#include "services/simulator/openai.h"

static void refuse(struct ask *ask, const char *param, const char *message)
{
    openai_error(ask, 400, "invalid_request_error", "invalid_value", param, message);
}

static bool in_range(struct json v, double least, double most)
{
    double d = 0;
    return json_absent(v) || (json_double(v, &d) && d >= least && d <= most);
}

static bool check_numbers(struct ask *ask)
{
    static const struct {
        const char *name;
        double least, most;
    } ranges[] = {
        {"temperature", 0, 2},
        {"top_p", 0, 1},
        {"n", 1, 128},
        {"frequency_penalty", -2, 2},
        {"presence_penalty", -2, 2},
        {"max_tokens", 1, 1e9},
        {"max_completion_tokens", 1, 1e9},
        {"top_logprobs", 0, 20},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (!in_range(json_get(ask->body, ranges[i].name), ranges[i].least, ranges[i].most)) {
            refuse(ask, ranges[i].name, "number out of range, or not a number (simulated)");
            return false;
        }
    }
    if (!json_absent(json_get(ask->body, "stream_options")) && !ask->stream) {
        refuse(
            ask, "stream_options",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled. (simulated)");
        return false;
    }
    if (!json_absent(json_get(ask->body, "stop_sequences")) ||
        !json_absent(json_get(ask->body, "system"))) {
        refuse(ask, NULL,
               "Unrecognized request argument supplied: system or stop_sequences (simulated)");
        return false;
    }
    return true;
}

/* Every tool call of an assistant turn is answered before the next other turn, and nothing else is.
 */
struct open_calls {
    struct json ids[ANSWER_MAX_TOOLS];
    unsigned count;
};

static bool close_call(struct open_calls *open, struct json id)
{
    for (unsigned i = 0; i < open->count; i++) {
        if (span_equals(json_text(open->ids[i]), json_text(id))) {
            open->ids[i] = open->ids[--open->count];
            return true;
        }
    }
    return false;
}

/* A literal that says what is wrong with the message, or NULL. */
static const char *check_message(struct json message, struct open_calls *open)
{
    struct json role = json_get(message, "role"), content = json_get(message, "content");
    bool has_content = json_type(content) == JSON_STRING || json_type(content) == JSON_ARRAY;
    if (json_is(role, "tool"))
        return !has_content ? "tool message without content (simulated)"
               : close_call(open, json_get(message, "tool_call_id"))
                   ? NULL
                   : "messages with role 'tool' must be a response to a "
                     "preceding message with 'tool_calls'. (simulated)";
    if (open->count)
        return "An assistant message with 'tool_calls' must be followed by tool messages "
               "responding to each "
               "'tool_call_id'. (simulated)";
    if (json_is(role, "assistant")) {
        struct json calls = json_get(message, "tool_calls");
        for (struct json_iter i = json_iter(calls);
             json_type(calls) == JSON_ARRAY && json_next(&i);) {
            if (open->count < ANSWER_MAX_TOOLS)
                open->ids[open->count++] = json_get(i.value, "id");
            if (json_type(json_get(json_get(i.value, "function"), "arguments")) != JSON_STRING &&
                json_type(json_get(i.value, "custom")) != JSON_OBJECT)
                return "tool_calls[].function.arguments must be a string (simulated)";
        }
        return has_content || json_count(calls) ||
                       !json_absent(json_get(message, "function_call")) ||
                       !json_absent(json_get(message, "refusal")) ||
                       !json_absent(json_get(message, "audio"))
                   ? NULL
                   : "assistant message without content or tool_calls (simulated)";
    }
    if (json_is(role, "user") || json_is(role, "system") || json_is(role, "developer") ||
        json_is(role, "function"))
        return has_content || json_is(role, "function") ? NULL
                                                        : "Invalid type for 'content' (simulated)";
    return "Invalid value for 'role' (simulated)";
}

static bool check_messages(struct ask *ask, struct json messages)
{
    struct open_calls open = {.count = 0};
    if (json_type(messages) != JSON_ARRAY || !json_count(messages)) {
        refuse(ask, "messages",
               "Invalid 'messages': expected an array with at least one element (simulated)");
        return false;
    }
    for (struct json_iter i = json_iter(messages); json_next(&i);) {
        const char *why = check_message(i.value, &open);
        if (why) {
            refuse(ask, "messages", why);
            return false;
        }
    }
    if (open.count) {
        refuse(ask, "messages", "tool_calls without their tool messages (simulated)");
        return false;
    }
    return true;
}

/* The text of a content: a string, or the text parts joined. */
static struct span content_text(struct ask *ask, struct json content)
{
    if (json_type(content) == JSON_STRING)
        return json_string(content, &ask->sim->arena);
    struct buf out = {0};
    for (struct json_iter i = json_iter(content);
         json_type(content) == JSON_ARRAY && json_next(&i);) {
        if (json_type(json_get(i.value, "text")) == JSON_STRING)
            json_text_decode(json_text(json_get(i.value, "text")), &out);
    }
    struct span copy = arena_copy(&ask->sim->arena, buf_span(&out));
    buf_free(&out);
    return copy;
}

bool openai_is_legacy(const struct ask *ask)
{
    return json_type(json_get(ask->body, "functions")) == JSON_ARRAY;
}

static void read_functions(struct ask *ask, struct question *q)
{
    struct json choice = json_get(ask->body, "function_call");
    for (struct json_iter i = json_iter(json_get(ask->body, "functions")); json_next(&i);)
        question_add_tool(ask, q, json_string(json_get(i.value, "name"), &ask->sim->arena),
                          json_get(i.value, "parameters"));
    q->one_call = true;
    if (json_is(choice, "none"))
        q->mode = TOOLS_NONE;
    if (json_type(choice) != JSON_OBJECT)
        return;
    q->mode = TOOLS_NAMED;
    q->named = json_string(json_get(choice, "name"), &ask->sim->arena);
}

static void read_tools(struct ask *ask, struct question *q)
{
    struct json tools = json_get(ask->body, "tools"), choice = json_get(ask->body, "tool_choice");
    for (struct json_iter i = json_iter(tools); json_type(tools) == JSON_ARRAY && json_next(&i);) {
        struct json function = json_get(i.value, "function");
        if (json_type(json_get(function, "name")) == JSON_STRING)
            question_add_tool(ask, q, json_string(json_get(function, "name"), &ask->sim->arena),
                              json_get(function, "parameters"));
    }
    if (json_is(choice, "none")) {
        q->mode = TOOLS_NONE;
    } else if (json_is(choice, "required")) {
        q->mode = TOOLS_ANY;
    } else if (json_type(choice) == JSON_OBJECT && json_is(json_get(choice, "type"), "function")) {
        q->mode = TOOLS_NAMED;
        q->named = json_string(json_get(json_get(choice, "function"), "name"), &ask->sim->arena);
    }
    bool parallel = true;
    q->one_call = json_bool(json_get(ask->body, "parallel_tool_calls"), &parallel) && !parallel;
}

static void read_format(struct ask *ask, struct question *q)
{
    struct json format = json_get(ask->body, "response_format");
    if (json_is(json_get(format, "type"), "json_object")) {
        q->format = FORMAT_OBJECT;
    } else if (json_is(json_get(format, "type"), "json_schema")) {
        q->format = FORMAT_SCHEMA;
        q->schema = json_get(json_get(format, "json_schema"), "schema");
    }
}

bool openai_chat_read(struct ask *ask, struct question *q)
{
    struct json messages = json_get(ask->body, "messages");
    int64_t most = 0;
    if (!check_numbers(ask) || !check_messages(ask, messages))
        return false;
    struct json last = JSON_NOTHING;
    for (struct json_iter i = json_iter(messages); json_next(&i);) {
        last = i.value;
        if (json_is(json_get(last, "role"), "user"))
            ask->text = content_text(ask, json_get(last, "content"));
    }
    *q = (struct question){.after_result = json_is(json_get(last, "role"), "tool") ||
                                           json_is(json_get(last, "role"), "function")};
    if (openai_is_legacy(ask))
        read_functions(ask, q);
    else
        read_tools(ask, q);
    read_format(ask, q);
    if (json_i64(json_get(ask->body, "max_completion_tokens"), &most) ||
        json_i64(json_get(ask->body, "max_tokens"), &most))
        q->max_tokens = (uint64_t)most;
    q->stops = json_get(ask->body, "stop");
    q->input_bytes = json_raw(messages).len + json_raw(json_get(ask->body, "tools")).len;
    ask->marker = json_string(json_get(ask->body, "user"), &ask->sim->arena);
    return true;
}
