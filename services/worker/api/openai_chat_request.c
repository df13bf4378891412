/* OpenAI chat request → neutral form (docs/wire.md, Requests). Only read on its way to another
 * protocol, so what no other protocol can say (audio) is refused here. */
#include "services/worker/api/openai.h"

const char *const openai_never_twice[] = {"model", "stream", "max_tokens", "max_completion_tokens",
                                          "n",     NULL};

enum err openai_read_max_out(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    out->has_max_out = true;
    return read_integer(r, at, v, 1, INT64_MAX, &out->max_out);
}

enum err openai_read_n(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    return read_integer(r, at, v, 1, 128, &out->n);
}

static const struct member stream_options_members[] = {
    {.name = "include_usage",
     .kind = MEMBER_BOOL,
     .offset = offsetof(struct neutral_request, want_usage)},
    {.name = "include_obfuscation", .kind = MEMBER_KNOWN}, /* padding; never crosses protocols */
};
static const struct shape stream_options_shape = SHAPE("stream_options", stream_options_members);

enum err openai_read_stream_options(struct reader *r, const struct where *at, struct json v,
                                    void *into)
{
    return read_object(r, at, v, &stream_options_shape, into);
}

enum err openai_read_parallel(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    bool parallel;
    if (!json_bool(v, &parallel))
        return read_wrong_type(r, at, v, "a boolean");
    out->parallel_tools = parallel ? YES : NO;
    return OK;
}

static enum err read_seed(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    int64_t ignored;
    out->seed_json = json_raw(v);
    return read_integer(r, at, v, INT64_MIN, INT64_MAX, &ignored);
}

/* `modalities: ["text"]` says nothing new; audio changes the answer's shape. */
static enum err read_modality(struct reader *r, const struct where *at, struct json v, void *into)
{
    (void)into;
    if (json_type(v) != JSON_STRING)
        return read_wrong_type(r, at, v, "a string");
    if (!json_is(v, "text"))
        return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER, "This model answers in text only.");
    return OK;
}

static enum err read_modalities(struct reader *r, const struct where *at, struct json v, void *into)
{
    return read_array(r, at, v, read_modality, into);
}

static enum err refuse_audio(struct reader *r, const struct where *at, struct json v, void *into)
{
    (void)v;
    (void)into;
    return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER, "Audio is not supported by this model.");
}

/* ---- response_format ---- */

static const struct member schema_members[] = {
    {.name = "name",
     .kind = MEMBER_TEXT,
     .offset = offsetof(struct neutral_request, format_name_text)},
    {.name = "schema",
     .kind = MEMBER_OBJECT,
     .offset = offsetof(struct neutral_request, format_schema_json)},
    {.name = "strict",
     .kind = MEMBER_FLAG,
     .offset = offsetof(struct neutral_request, format_strict_json)},
};
static const struct shape schema_shape = SHAPE("response_format.json_schema", schema_members);

static enum err read_json_schema(struct reader *r, const struct where *at, struct json v,
                                 void *into)
{
    return read_object(r, at, v, &schema_shape, into);
}

enum err openai_read_format_type(struct reader *r, const struct where *at, struct json v,
                                 void *into)
{
    struct neutral_request *out = into;
    if (json_is(v, "text"))
        out->format = FORMAT_TEXT;
    else if (json_is(v, "json_object"))
        out->format = FORMAT_JSON;
    else if (json_is(v, "json_schema"))
        out->format = FORMAT_SCHEMA;
    else
        return read_fault(r, at, ERROR_INVALID_VALUE,
                          "The format's type must be text, json_object or json_schema.");
    return OK;
}

static const struct member format_members[] = {
    {.name = "type", .kind = MEMBER_FN, .fn = openai_read_format_type, .required = true},
    {.name = "json_schema", .kind = MEMBER_FN, .fn = read_json_schema},
};
static const struct shape format_shape = SHAPE("response_format", format_members);

static enum err read_response_format(struct reader *r, const struct where *at, struct json v,
                                     void *into)
{
    struct neutral_request *out = into;
    enum err e = read_object(r, at, v, &format_shape, into);
    if (e)
        return e;
    if (out->format == FORMAT_SCHEMA && !out->format_schema_json.len) {
        struct where schema = {.up = at, .name = "json_schema"};
        return read_fault(r, &schema, ERROR_INVALID_VALUE,
                          "Missing required parameter: 'json_schema.schema'.");
    }
    return OK;
}

/* ---- the whole ---- */

#define FIELD(member) offsetof(struct neutral_request, member)

/* In this order: the newer name of a pair comes last and wins. */
static const struct member members[] = {
    {.name = "model", .kind = MEMBER_FN, .fn = read_ignored_text},
    {.name = "stream", .kind = MEMBER_BOOL, .offset = FIELD(stream)},
    {.name = "stream_options", .kind = MEMBER_FN, .fn = openai_read_stream_options},
    {.name = "max_tokens", .kind = MEMBER_FN, .fn = openai_read_max_out},
    {.name = "max_completion_tokens", .kind = MEMBER_FN, .fn = openai_read_max_out},
    {.name = "n", .kind = MEMBER_FN, .fn = openai_read_n},
    {.name = "temperature", .kind = MEMBER_NUMBER, .offset = FIELD(temperature_json)},
    {.name = "top_p", .kind = MEMBER_NUMBER, .offset = FIELD(top_p_json)},
    {.name = "top_k", .kind = MEMBER_NUMBER, .offset = FIELD(top_k_json)}, /* extension */
    {.name = "frequency_penalty", .kind = MEMBER_NUMBER, .offset = FIELD(frequency_penalty_json)},
    {.name = "presence_penalty", .kind = MEMBER_NUMBER, .offset = FIELD(presence_penalty_json)},
    {.name = "seed", .kind = MEMBER_FN, .fn = read_seed},
    {.name = "stop", .kind = MEMBER_FN, .fn = read_stop_string_or_array},
    {.name = "logprobs", .kind = MEMBER_BOOL, .offset = FIELD(logprobs)},
    {.name = "reasoning_effort", .kind = MEMBER_TEXT, .offset = FIELD(effort_text)},
    {.name = "response_format", .kind = MEMBER_FN, .fn = read_response_format},
    {.name = "user", .kind = MEMBER_TEXT, .offset = FIELD(user_text)},
    {.name = "safety_identifier", .kind = MEMBER_TEXT, .offset = FIELD(user_text)},
    {.name = "service_tier", .kind = MEMBER_TEXT, .offset = FIELD(service_tier_text)},
    {.name = "modalities", .kind = MEMBER_FN, .fn = read_modalities},
    {.name = "audio", .kind = MEMBER_FN, .fn = refuse_audio},
    {.name = "messages", .kind = MEMBER_FN, .fn = openai_read_messages, .required = true},
    {.name = "tools", .kind = MEMBER_FN, .fn = openai_read_tools},
    {.name = "functions", .kind = MEMBER_FN, .fn = openai_read_functions},
    {.name = "function_call", .kind = MEMBER_FN, .fn = openai_read_function_call},
    {.name = "tool_choice", .kind = MEMBER_FN, .fn = openai_read_tool_choice},
    {.name = "parallel_tool_calls", .kind = MEMBER_FN, .fn = openai_read_parallel},
};
static const struct shape chat_shape = SHAPE(NULL, members);

enum err openai_chat_read(struct json body, struct arena *arena, struct neutral_request *out,
                          struct api_error *fault_out)
{
    *out = (struct neutral_request){.api = API_OPENAI_CHAT, .arena = arena, .n = 1};
    *fault_out = (struct api_error){0};
    struct reader r = {.out = out, .arena = arena, .fault = fault_out};
    enum err e = read_refuse_doubled(&r, body, openai_never_twice);
    return e ? e : read_object(&r, NULL, body, &chat_shape, out);
}
