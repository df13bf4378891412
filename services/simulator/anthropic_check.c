/* What Anthropic refuses in a request. */
#include "services/simulator/anthropic.h"

#include <stdio.h>

/* Ids of the tool_use blocks of the turn before. */
struct uses {
    struct json ids[ANSWER_MAX_TOOLS];
    unsigned count;
};

bool anthropic_refuse(struct ask *ask, const char *message)
{
    anthropic_error(ask, 400, "invalid_request_error", message);
    return false;
}

static bool check_members(struct ask *ask)
{
    static const char *const foreign[] = {"stop",
                                          "n",
                                          "frequency_penalty",
                                          "presence_penalty",
                                          "logit_bias",
                                          "max_completion_tokens",
                                          "response_format",
                                          "stream_options",
                                          "functions",
                                          "function_call",
                                          "logprobs",
                                          "parallel_tool_calls",
                                          "reasoning_effort",
                                          "user",
                                          "seed"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        if (json_count_named(ask->body, foreign[i])) {
            char text[128];
            (void)snprintf(text, sizeof text, "%s: Extra inputs are not permitted (simulated)",
                           foreign[i]);
            return anthropic_refuse(ask, text);
        }
    }
    return true;
}

static bool check_text(struct json text)
{
    return json_type(text) == JSON_STRING && json_text(text).len > 0;
}

static bool has_use(const struct uses *u, struct json id)
{
    for (unsigned i = 0; i < u->count; i++) {
        if (span_equals(json_text(u->ids[i]), json_text(id)))
            return true;
    }
    return false;
}

static const char *check_block(struct json block, bool user, const struct uses *before,
                               struct uses *now, bool *other_seen)
{
    struct json type = json_get(block, "type");
    if (json_is(type, "tool_result")) {
        if (!user || !has_use(before, json_get(block, "tool_use_id")))
            return "messages: unexpected `tool_use_id` found in `tool_result` blocks. Each "
                   "`tool_result` block must have a "
                   "corresponding `tool_use` block in the previous message. (simulated)";
        return *other_seen
                   ? "messages: `tool_result` blocks must come first in their turn (simulated)"
                   : NULL;
    }
    *other_seen = true;
    if (json_is(type, "text"))
        return check_text(json_get(block, "text"))
                   ? NULL
                   : "messages: text content blocks must be non-empty (simulated)";
    if (json_is(type, "tool_use")) {
        if (user || json_type(json_get(block, "input")) != JSON_OBJECT ||
            json_type(json_get(block, "id")) != JSON_STRING)
            return "messages: malformed tool_use block (simulated)";
        if (now->count < ANSWER_MAX_TOOLS)
            now->ids[now->count++] = json_get(block, "id");
        return NULL;
    }
    if (json_is(type, "thinking") && json_type(json_get(block, "signature")) != JSON_STRING)
        return "messages: thinking.signature: Field required (simulated)";
    if (json_is(type, "image") && json_type(json_get(block, "source")) != JSON_OBJECT)
        return "messages: image.source: Field required (simulated)";
    return json_type(type) == JSON_STRING ? NULL
                                          : "messages: content block without type (simulated)";
}

unsigned anthropic_count_results(struct json content)
{
    unsigned n = 0;
    for (struct json_iter i = json_iter(content);
         json_type(content) == JSON_ARRAY && json_next(&i);)
        n += json_is(json_get(i.value, "type"), "tool_result");
    return n;
}

static const char *check_turn(struct json message, struct uses *before)
{
    struct json role = json_get(message, "role"), content = json_get(message, "content");
    bool user = json_is(role, "user"), other_seen = false;
    struct uses now = {.count = 0};
    if (!user && !json_is(role, "assistant") && !json_is(role, "system"))
        return "messages: Unexpected role. Allowed are \"user\" and \"assistant\". (simulated)";
    if (user && anthropic_count_results(content) < before->count)
        return "messages: `tool_use` ids were found without `tool_result` blocks immediately after "
               "(simulated)";
    if (json_type(content) == JSON_STRING) {
        *before = now;
        return check_text(content) ? NULL
                                   : "messages: text content blocks must be non-empty (simulated)";
    }
    if (json_type(content) != JSON_ARRAY || !json_count(content))
        return "messages: content: Field required (simulated)";
    for (struct json_iter i = json_iter(content); json_next(&i);) {
        const char *why = check_block(i.value, user, before, &now, &other_seen);
        if (why)
            return why;
    }
    *before = now;
    return NULL;
}

static bool check_messages(struct ask *ask)
{
    struct json messages = json_get(ask->body, "messages");
    struct uses before = {.count = 0};
    if (json_type(messages) != JSON_ARRAY)
        return anthropic_refuse(ask, "messages: Field required (simulated)");
    if (!json_count(messages))
        return anthropic_refuse(ask, "messages: at least one message is required (simulated)");
    if (!json_is(json_get(json_at(messages, 0), "role"), "user"))
        return anthropic_refuse(ask,
                                "messages: first message must use the \"user\" role (simulated)");
    for (struct json_iter i = json_iter(messages); json_next(&i);) {
        const char *why = check_turn(i.value, &before);
        if (why)
            return anthropic_refuse(ask, why);
    }
    struct json system = json_get(ask->body, "system");
    for (struct json_iter i = json_iter(system);
         json_type(system) == JSON_ARRAY && json_next(&i);) {
        if (!check_text(json_get(i.value, "text")))
            return anthropic_refuse(ask,
                                    "system: text content blocks must be non-empty (simulated)");
    }
    return true;
}

static bool check_tools(struct ask *ask)
{
    struct json tools = json_get(ask->body, "tools"), choice = json_get(ask->body, "tool_choice");
    for (struct json_iter i = json_iter(tools); json_type(tools) == JSON_ARRAY && json_next(&i);) {
        struct json type = json_get(i.value, "type");
        if (json_type(json_get(i.value, "name")) != JSON_STRING)
            return anthropic_refuse(ask, "tools: name: Field required (simulated)");
        if ((json_absent(type) || json_is(type, "custom")) &&
            !json_is(json_get(json_get(i.value, "input_schema"), "type"), "object"))
            return anthropic_refuse(ask, "tools: input_schema.type: Field required (simulated)");
    }
    if (!json_absent(choice) && json_type(json_get(choice, "type")) != JSON_STRING)
        return anthropic_refuse(ask,
                                "tool_choice: Input should be an object with a type (simulated)");
    return true;
}

bool anthropic_check_numbers(struct ask *ask, int64_t max_tokens)
{
    double t = 0;
    int64_t budget = 0;
    struct json temperature = json_get(ask->body, "temperature"),
                thinking = json_get(ask->body, "thinking");
    if (!json_absent(temperature) && (!json_double(temperature, &t) || t < 0 || t > 1))
        return anthropic_refuse(ask, "temperature: range: 0..1 (simulated)");
    if (!json_is(json_get(thinking, "type"), "enabled"))
        return true;
    if (!json_i64(json_get(thinking, "budget_tokens"), &budget) || budget < 1024)
        return anthropic_refuse(
            ask,
            "thinking.budget_tokens: Input should be greater than or equal to 1024 (simulated)");
    if (max_tokens >= 0 && budget >= max_tokens)
        return anthropic_refuse(
            ask, "`max_tokens` must be greater than `thinking.budget_tokens` (simulated)");
    return true;
}

/* Model, messages, tools: what messages and count_tokens share. */
bool anthropic_check(struct ask *ask)
{
    struct json model = json_get(ask->body, "model");
    if (json_type(model) != JSON_STRING)
        return anthropic_refuse(ask, "model: Field required (simulated)");
    ask->model = json_string(model, &ask->sim->arena);
    if (span_starts(ask->model, "missing") || span_starts(ask->model, "unknown")) {
        anthropic_error(ask, 404, "not_found_error", "model: not found (simulated)");
        return false;
    }
    return check_members(ask) && check_messages(ask) && check_tools(ask);
}
