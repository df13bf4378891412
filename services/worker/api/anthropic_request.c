/* Anthropic messages request → neutral form (docs/wire.md, Requests). */
#include "services/worker/api/anthropic.h"

#define FIELD(member) offsetof(struct neutral_request, member)

/* 0 is legal here: it only warms the cache. */
static enum err read_max_tokens(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    out->has_max_out = true;
    return read_integer(r, at, v, 0, INT64_MAX, &out->max_out);
}

static enum err read_top_k(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    int64_t ignored;
    out->top_k_json = json_raw(v);
    return read_integer(r, at, v, 0, INT64_MAX, &ignored);
}

/* ---- thinking ---- */

static enum err read_budget(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    return read_integer(r, at, v, 1024, INT64_MAX, &out->thinking_budget);
}

static enum err read_thinking_type(struct reader *r, const struct where *at, struct json v,
                                   void *into)
{
    struct neutral_request *out = into;
    if (json_is(v, "enabled"))
        out->thinking = THINKING_BUDGET;
    else if (json_is(v, "adaptive"))
        out->thinking = THINKING_ADAPTIVE;
    else if (json_is(v, "disabled"))
        out->thinking = THINKING_OFF;
    else if (json_type(v) == JSON_STRING)
        neutral_drop(out, "thinking"); /* a hint that is newer than we are */
    else
        return read_fault(r, at, ERROR_INVALID_VALUE,
                          "'thinking.type' must be enabled, adaptive or disabled.");
    return OK;
}

static const struct member thinking_members[] = {
    {.name = "type", .kind = MEMBER_FN, .fn = read_thinking_type, .required = true},
    {.name = "budget_tokens", .kind = MEMBER_FN, .fn = read_budget},
};
static const struct shape thinking_shape = SHAPE("thinking", thinking_members);

static enum err read_thinking(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    enum err e = read_object(r, at, v, &thinking_shape, into);
    struct where budget = {.up = at, .name = "budget_tokens"};
    if (!e && out->thinking == THINKING_BUDGET && out->thinking_budget == 0)
        return read_fault(r, &budget, ERROR_INVALID_VALUE,
                          "Missing required parameter: 'budget_tokens'.");
    return e;
}

/* ---- output_config ---- */

static enum err read_format_type(struct reader *r, const struct where *at, struct json v,
                                 void *into)
{
    struct neutral_request *out = into;
    if (!json_is(v, "json_schema"))
        return read_fault(r, at, ERROR_INVALID_VALUE,
                          "The output format's type must be json_schema.");
    out->format = FORMAT_SCHEMA;
    return OK;
}

static const struct member format_members[] = {
    {.name = "type", .kind = MEMBER_FN, .fn = read_format_type, .required = true},
    {.name = "schema",
     .kind = MEMBER_OBJECT,
     .offset = FIELD(format_schema_json),
     .required = true},
};
static const struct shape format_shape = SHAPE("output_config.format", format_members);

static enum err read_format(struct reader *r, const struct where *at, struct json v, void *into)
{
    return read_object(r, at, v, &format_shape, into);
}

static const struct member output_members[] = {
    {.name = "effort", .kind = MEMBER_TEXT, .offset = FIELD(effort_text)},
    {.name = "format", .kind = MEMBER_FN, .fn = read_format},
};
static const struct shape output_shape = SHAPE("output_config", output_members);

static enum err read_output_config(struct reader *r, const struct where *at, struct json v,
                                   void *into)
{
    return read_object(r, at, v, &output_shape, into);
}

static const struct member metadata_members[] = {
    {.name = "user_id", .kind = MEMBER_TEXT, .offset = FIELD(user_text)},
};
static const struct shape metadata_shape = SHAPE("metadata", metadata_members);

static enum err read_metadata(struct reader *r, const struct where *at, struct json v, void *into)
{
    return read_object(r, at, v, &metadata_shape, into);
}

/* ---- the whole ---- */

static const struct member members[] = {
    {.name = "model", .kind = MEMBER_FN, .fn = read_ignored_text},
    {.name = "max_tokens", .kind = MEMBER_FN, .fn = read_max_tokens, .required = true},
    {.name = "system", .kind = MEMBER_FN, .fn = anthropic_read_system},
    {.name = "messages", .kind = MEMBER_FN, .fn = anthropic_read_messages, .required = true},
    {.name = "stop_sequences", .kind = MEMBER_FN, .fn = read_stop_array},
    {.name = "stream", .kind = MEMBER_BOOL, .offset = FIELD(stream)},
    {.name = "temperature", .kind = MEMBER_NUMBER, .offset = FIELD(temperature_json)},
    {.name = "top_p", .kind = MEMBER_NUMBER, .offset = FIELD(top_p_json)},
    {.name = "top_k", .kind = MEMBER_FN, .fn = read_top_k},
    {.name = "tools", .kind = MEMBER_FN, .fn = anthropic_read_tools},
    {.name = "tool_choice", .kind = MEMBER_FN, .fn = anthropic_read_tool_choice},
    {.name = "thinking", .kind = MEMBER_FN, .fn = read_thinking},
    {.name = "output_format",
     .kind = MEMBER_FN,
     .fn = read_format}, /* the beta's name, still sent by SDK helpers */
    {.name = "output_config", .kind = MEMBER_FN, .fn = read_output_config},
    {.name = "metadata", .kind = MEMBER_FN, .fn = read_metadata},
    {.name = "service_tier", .kind = MEMBER_TEXT, .offset = FIELD(service_tier_text)},
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)},
};
static const struct shape messages_shape = SHAPE(NULL, members);

enum err anthropic_messages_read(struct json body, struct arena *arena, struct neutral_request *out,
                                 struct api_error *fault_out)
{
    static const char *const never_twice[] = {"model", "stream", "max_tokens", NULL};
    *out = (struct neutral_request){.api = API_ANTHROPIC_MESSAGES, .arena = arena, .n = 1};
    *fault_out = (struct api_error){0};
    struct reader r = {.out = out, .arena = arena, .fault = fault_out};
    enum err e = read_refuse_doubled(&r, body, never_twice);
    return e ? e : read_object(&r, NULL, body, &messages_shape, out);
}
