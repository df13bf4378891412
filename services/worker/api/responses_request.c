/* OpenAI responses request → neutral form (docs/wire.md, Responses). */
#include "services/worker/api/openai.h"
#include "services/worker/api/responses.h"

#define FIELD(member) offsetof(struct neutral_request, member)

static enum err read_instructions(struct reader *r, const struct where *at, struct json v,
                                  void *into)
{
    struct neutral_request *out = into;
    if (json_type(v) != JSON_STRING)
        return read_wrong_type(r, at, v, "a string");
    struct part *part = json_text(v).len ? read_add_part(r, &out->system, PART_TEXT) : NULL;
    if (part)
        part->text = json_text(v);
    return part || json_text(v).len == 0 ? OK : read_too_large(r);
}

/* ---- reasoning, text ---- */

/* Shown where it is wanted; how much of it there is, is the provider's. */
static enum err read_summary(struct reader *r, const struct where *at, struct json v, void *into)
{
    if (json_type(v) != JSON_STRING)
        return read_wrong_type(r, at, v, "a string");
    struct neutral_request *out = into;
    out->responses->shows_reasoning = true;
    return OK;
}

static const struct member reasoning_members[] = {
    {.name = "effort", .kind = MEMBER_TEXT, .offset = FIELD(effort_text)},
    {.name = "summary", .kind = MEMBER_FN, .fn = read_summary},
    {.name = "generate_summary", .kind = MEMBER_FN, .fn = read_summary},
};
static const struct shape reasoning_shape = SHAPE("reasoning", reasoning_members);

static enum err read_reasoning(struct reader *r, const struct where *at, struct json v, void *into)
{
    return read_object(r, at, v, &reasoning_shape, into);
}

static const struct member format_members[] = {
    {.name = "type", .kind = MEMBER_FN, .fn = openai_read_format_type, .required = true},
    {.name = "name", .kind = MEMBER_TEXT, .offset = FIELD(format_name_text)},
    {.name = "schema", .kind = MEMBER_OBJECT, .offset = FIELD(format_schema_json)},
    {.name = "strict", .kind = MEMBER_FLAG, .offset = FIELD(format_strict_json)},
    {.name = "description", .kind = MEMBER_KNOWN}, /* the schema has its own */
};
static const struct shape format_shape = SHAPE("text.format", format_members);

static enum err read_format(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    struct where schema = {.up = at, .name = "schema"};
    enum err e = read_object(r, at, v, &format_shape, into);
    if (!e && out->format == FORMAT_SCHEMA && !out->format_schema_json.len)
        return read_fault(r, &schema, ERROR_INVALID_VALUE,
                          "Missing required parameter: 'text.format.schema'.");
    return e;
}

static const struct member text_members[] = {
    {.name = "format", .kind = MEMBER_FN, .fn = read_format},
};
static const struct shape text_shape = SHAPE("text", text_members);

static enum err read_text_options(struct reader *r, const struct where *at, struct json v,
                                  void *into)
{
    return read_object(r, at, v, &text_shape, into);
}

/* ---- what can't be done without the provider's own responses ---- */

static enum err refuse(struct reader *r, const struct where *at, struct json v, void *into)
{
    (void)v;
    (void)into;
    return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER, "'%s' is not supported by this model.",
                      at->name);
}

static enum err refuse_previous(struct reader *r, const struct where *at, struct json v, void *into)
{
    (void)v;
    (void)into;
    enum err e = read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                            "Responses of this model are not stored: send the whole conversation "
                            "in 'input' instead of '%s'.",
                            at->name);
    r->fault->code = SPAN("previous_response_not_found");
    return e;
}

static enum err read_background(struct reader *r, const struct where *at, struct json v, void *into)
{
    bool background;
    if (!json_bool(v, &background))
        return read_wrong_type(r, at, v, "a boolean");
    return background ? refuse(r, at, v, into) : OK;
}

static enum err read_truncation(struct reader *r, const struct where *at, struct json v, void *into)
{
    (void)at;
    if (!json_is(v, "disabled"))
        neutral_drop(into, "truncation");
    (void)r;
    return OK;
}

static enum err read_included(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    (void)r;
    (void)at;
    out->logprobs |= json_is(v, "message.output_text.logprobs");
    return OK;
}

static enum err read_include(struct reader *r, const struct where *at, struct json v, void *into)
{
    return read_array(r, at, v, read_included, into);
}

/* ---- the whole ---- */

/* In this order: additional tools stand among the input, and the choice is among all of them. */
static const struct member members[] = {
    {.name = "model", .kind = MEMBER_FN, .fn = read_ignored_text},
    {.name = "stream", .kind = MEMBER_BOOL, .offset = FIELD(stream)},
    {.name = "stream_options", .kind = MEMBER_KNOWN},
    {.name = "previous_response_id", .kind = MEMBER_FN, .fn = refuse_previous},
    {.name = "conversation", .kind = MEMBER_FN, .fn = refuse_previous},
    {.name = "prompt", .kind = MEMBER_FN, .fn = refuse},
    {.name = "context_management", .kind = MEMBER_FN, .fn = refuse},
    {.name = "background", .kind = MEMBER_FN, .fn = read_background},
    {.name = "instructions", .kind = MEMBER_FN, .fn = read_instructions},
    {.name = "tools", .kind = MEMBER_FN, .fn = responses_read_tools},
    {.name = "input", .kind = MEMBER_FN, .fn = responses_read_input, .required = true},
    {.name = "tool_choice", .kind = MEMBER_FN, .fn = responses_read_tool_choice},
    {.name = "parallel_tool_calls", .kind = MEMBER_FN, .fn = openai_read_parallel},
    {.name = "max_output_tokens", .kind = MEMBER_FN, .fn = openai_read_max_out},
    {.name = "temperature", .kind = MEMBER_NUMBER, .offset = FIELD(temperature_json)},
    {.name = "top_p", .kind = MEMBER_NUMBER, .offset = FIELD(top_p_json)},
    {.name = "top_k", .kind = MEMBER_NUMBER, .offset = FIELD(top_k_json)}, /* extension */
    {.name = "stop", .kind = MEMBER_FN, .fn = read_stop_string_or_array},  /* extension */
    {.name = "reasoning", .kind = MEMBER_FN, .fn = read_reasoning},
    {.name = "text", .kind = MEMBER_FN, .fn = read_text_options},
    {.name = "truncation", .kind = MEMBER_FN, .fn = read_truncation},
    {.name = "include", .kind = MEMBER_FN, .fn = read_include},
    {.name = "user", .kind = MEMBER_TEXT, .offset = FIELD(user_text)},
    {.name = "safety_identifier", .kind = MEMBER_TEXT, .offset = FIELD(user_text)},
    {.name = "service_tier", .kind = MEMBER_TEXT, .offset = FIELD(service_tier_text)},
    {.name = "metadata", .kind = MEMBER_KNOWN}, /* comes back with the answer */
    {.name = "store", .kind = MEMBER_KNOWN},    /* the answer says that it is not */
};
static const struct shape request_shape = SHAPE(NULL, members);

/* The request's own value, or the default. */
static bool make_echo(struct json body, struct arena *arena, struct responses_request *out)
{
    static const struct {
        const char *name, *absent;
    } echoes[] = {
        {"instructions", "null"},
        {"max_output_tokens", "null"},
        {"metadata", "{}"},
        {"parallel_tool_calls", "true"},
        {"reasoning", "{\"effort\":null,\"summary\":null}"},
        {"temperature", "null"},
        {"text", "{\"format\":{\"type\":\"text\"}}"},
        {"tool_choice", "\"auto\""},
        {"tools", "[]"},
        {"top_p", "null"},
        {"truncation", "\"disabled\""},
        {"user", "null"},
    };
    struct buf text = {0};
    for (size_t i = 0; i < sizeof echoes / sizeof echoes[0]; i++) {
        struct json v = json_get(body, echoes[i].name);
        buf_append_str(&text, i ? ",\"" : "\"");
        buf_append_str(&text, echoes[i].name);
        buf_append_str(&text, "\":");
        if (json_absent(v))
            buf_append_str(&text, echoes[i].absent);
        else
            json_append_compact(&text, v);
    }
    out->echo = text.failed ? SPAN_NONE : arena_copy(arena, buf_span(&text));
    buf_free(&text);
    return out->echo.data != NULL;
}

enum err responses_read(struct json body, struct arena *arena, struct neutral_request *out,
                        struct api_error *fault_out)
{
    static const char *const never_twice[] = {"model", "stream", "max_output_tokens", NULL};
    struct responses_request *request = ARENA_NEW(arena, struct responses_request);
    *out = (struct neutral_request){
        .api = API_OPENAI_RESPONSES, .arena = arena, .n = 1, .responses = request};
    *fault_out = (struct api_error){0};
    struct reader r = {.out = out, .arena = arena, .fault = fault_out};
    if (!request || !make_echo(body, arena, request))
        return read_too_large(&r);
    enum err e = read_refuse_doubled(&r, body, never_twice);
    return e ? e : read_object(&r, NULL, body, &request_shape, out);
}
