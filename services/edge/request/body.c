#include "services/edge/request/body.h"

#include "proto/labels.h"
#include "services/edge/request/input_estimate.h"

#define EVERY_API (~0u)
#define API_OF_OPENAI                                                                              \
    (API_BIT(API_OPENAI_CHAT) | API_BIT(API_OPENAI_COMPLETIONS) | API_BIT(API_OPENAI_EMBEDDINGS) | \
     API_BIT(API_OPENAI_RESPONSES))

/* The members that the gateway acts on: gateway and provider must not disagree on them, so a
 * doubled one is refused. */
enum body_member {
    MODEL,
    STREAM,
    MAX_TOKENS,
    MAX_COMPLETION_TOKENS,
    MAX_OUTPUT_TOKENS,
    N,
    BEST_OF,
    PROMPT,
    PREVIOUS_RESPONSE_ID,
    USER,
    SAFETY_IDENTIFIER,
    METADATA,
    MEMBERS
};

static const struct member_info {
    struct span name;
    unsigned apis; /* where its type is checked; doubling is refused everywhere */
    const char *doubled;
    const char *wrong;
} infos[MEMBERS] = {
    [MODEL] = {{"model", 5}, EVERY_API, "model is given twice", "model must be a string"},
    [STREAM] = {{"stream", 6}, API_GENERATING, "stream is given twice", "stream must be a boolean"},
    [MAX_TOKENS] = {{"max_tokens", 10},
                    API_GENERATING,
                    "max_tokens is given twice",
                    "max_tokens must be an integer that is not negative"},
    [MAX_COMPLETION_TOKENS] = {{"max_completion_tokens", 21},
                               API_GENERATING,
                               "max_completion_tokens is given twice",
                               "max_completion_tokens must be an integer that is not negative"},
    [MAX_OUTPUT_TOKENS] = {{"max_output_tokens", 17},
                           API_BIT(API_OPENAI_RESPONSES),
                           "max_output_tokens is given twice",
                           "max_output_tokens must be an integer that is not negative"},
    [N] = {{"n", 1},
           API_BIT(API_OPENAI_CHAT) | API_BIT(API_OPENAI_COMPLETIONS),
           "n is given twice",
           "n must be an integer from 1 to 128"},
    [BEST_OF] = {{"best_of", 7},
                 API_BIT(API_OPENAI_COMPLETIONS),
                 "best_of is given twice",
                 "best_of must be an integer from 1 to 128"},
    [PROMPT] = {{"prompt", 6}, API_BIT(API_OPENAI_COMPLETIONS), "prompt is given twice", ""},
    [PREVIOUS_RESPONSE_ID] = {{"previous_response_id", 20},
                              API_BIT(API_OPENAI_RESPONSES),
                              "previous_response_id is given twice",
                              "previous_response_id must be a string"},
    [USER] = {{"user", 4}, API_OF_OPENAI, "user is given twice", "user must be a string"},
    [SAFETY_IDENTIFIER] = {{"safety_identifier", 17},
                           API_OF_OPENAI,
                           "safety_identifier is given twice",
                           "safety_identifier must be a string"},
    [METADATA] = {{"metadata", 8}, EVERY_API, "metadata is given twice", ""},
};

static enum err refuse(struct api_error *fault, unsigned error_class, const char *message,
                       const char *param)
{
    api_error_set(fault, error_class, message, param);
    return ERR_INVALID;
}

static enum err read_model(struct json value, struct arena *arena, struct body *out,
                           struct api_error *fault)
{
    if (json_type(value) != JSON_STRING)
        return refuse(fault, ERROR_INVALID_VALUE, infos[MODEL].wrong, "model");
    out->model = json_string(value, arena);
    if (!out->model.data || out->model.len > MODEL_MAX_BYTES)
        return refuse(fault, ERROR_INVALID_VALUE, "model is too long", "model");
    for (size_t i = 0; i < out->model.len; i++)
        if ((unsigned char)out->model.data[i] < 0x20 || out->model.data[i] == 0x7f)
            return refuse(fault, ERROR_INVALID_VALUE, "model holds a control character", "model");
    return OK;
}

static enum err read_end_user(struct json value, const char *param, struct arena *arena,
                              struct body *out, struct api_error *fault)
{
    struct span user = json_string(value, arena);
    if (user.len > END_USER_MAX_BYTES)
        return refuse(fault, ERROR_INVALID_VALUE, "the end user's name is longer than 512 bytes",
                      param);
    if (!label_is_printable(user))
        return refuse(fault, ERROR_INVALID_VALUE, "the end user's name holds a control character",
                      param);
    out->end_user = user;
    return OK;
}

/* As LiteLLM's clients send them. */
static enum err read_tags(struct json list, struct arena *arena, struct body *out,
                          struct api_error *fault)
{
    struct tag_list tags = {0};
    for (struct json_iter i = json_iter(list); json_next(&i);) {
        const char *why = json_type(i.value) == JSON_STRING
                              ? tag_list_add(&tags, json_string(i.value, arena), TAGS_MAX)
                              : "a tag must be a string";
        if (why)
            return refuse(fault, ERROR_INVALID_VALUE, why, "metadata.tags");
    }
    out->tags = tag_list_text(&tags, arena);
    return OK;
}

/* What else metadata holds is the provider's to judge. */
static enum err read_metadata(enum api api, struct json value, struct arena *arena,
                              struct body *out, struct api_error *fault)
{
    struct json user = json_get(value, "user_id"), tags = json_get(value, "tags");
    enum err e = OK;
    if (api_is_anthropic(api) && json_type(user) == JSON_STRING)
        e = read_end_user(user, "metadata.user_id", arena, out, fault);
    if (!e && json_type(tags) == JSON_ARRAY)
        e = read_tags(tags, arena, out, fault);
    return e;
}

static enum err read_label(enum api api, enum body_member which, struct json value,
                           struct arena *arena, struct body *out, struct api_error *fault)
{
    const struct member_info *info = &infos[which];
    if (which == METADATA)
        return json_type(value) == JSON_OBJECT ? read_metadata(api, value, arena, out, fault) : OK;
    if (json_type(value) != JSON_STRING)
        return refuse(fault, ERROR_INVALID_VALUE, info->wrong, info->name.data);
    if (which == SAFETY_IDENTIFIER && out->end_user.len)
        return OK; /* `user` says it more plainly, wherever it stands */
    return read_end_user(value, info->name.data, arena, out, fault);
}

/* One too long for an id is the provider's to refuse. */
static bool read_previous(struct json value, struct arena *arena, struct body *out)
{
    if (json_type(value) != JSON_STRING)
        return false;
    if (json_text(value).len <= RESPONSE_ID_MAX_BYTES)
        out->previous_response_id = json_string(value, arena);
    return true;
}

static bool read_choices(struct json value, uint64_t *out)
{
    int64_t number = 0;
    if (!json_i64(value, &number) || number < 1 || number > CHOICES_MAX)
        return false;
    *out = (uint64_t)number;
    return true;
}

/* Each text or array of tokens in an array is a prompt; tokens themselves are one. */
static uint64_t count_prompts(struct json value)
{
    uint64_t prompts = 0;
    if (json_type(value) != JSON_ARRAY)
        return 1;
    for (struct json_iter i = json_iter(value); json_next(&i);)
        prompts += json_type(i.value) != JSON_NUMBER;
    return prompts ? prompts : 1;
}

static bool read_member(enum body_member which, struct json value, struct arena *arena,
                        struct body *out)
{
    int64_t number = 0;
    switch (which) {
    case STREAM:
        return json_bool(value, &out->stream);
    case MAX_TOKENS:
    case MAX_COMPLETION_TOKENS:
    case MAX_OUTPUT_TOKENS:
        if (!json_i64(value, &number) || number < 0)
            return false;
        out->has_cap = true;
        if ((uint64_t)number > out->output_cap)
            out->output_cap = (uint64_t)number;
        return true;
    case N:
        return read_choices(value, &out->choices);
    case BEST_OF:
        return read_choices(value, &out->best_of);
    case PROMPT:
        out->prompts = count_prompts(value);
        return true;
    case PREVIOUS_RESPONSE_ID:
        return read_previous(value, arena, out);
    case MODEL:
    case USER:
    case SAFETY_IDENTIFIER:
    case METADATA:
    case MEMBERS:
        break;
    }
    return true;
}

static enum body_member member_of(struct json key)
{
    struct span name = json_text(key);
    bool escaped = memchr(name.data, '\\', name.len) != NULL;
    for (unsigned m = 0; m < MEMBERS; m++)
        if (escaped ? json_is(key, infos[m].name.data) : span_equals(name, infos[m].name))
            return (enum body_member)m;
    return MEMBERS;
}

static enum err read_members(enum api api, struct json root, struct arena *arena, struct body *out,
                             struct api_error *fault)
{
    bool seen[MEMBERS] = {false};
    for (struct json_iter i = json_iter(root); json_next(&i);) {
        enum body_member which = member_of(i.key);
        if (which == MEMBERS)
            continue;
        const struct member_info *info = &infos[which];
        if (seen[which])
            return refuse(fault, ERROR_INVALID_VALUE, info->doubled, info->name.data);
        seen[which] = true;
        if (json_absent(i.value) || !(info->apis & API_BIT(api)))
            continue;
        if (which == MODEL || which >= USER) {
            enum err e = which == MODEL ? read_model(i.value, arena, out, fault)
                                        : read_label(api, which, i.value, arena, out, fault);
            if (e != OK)
                return e;
        } else if (!read_member(which, i.value, arena, out)) {
            return refuse(fault, ERROR_INVALID_VALUE, info->wrong, info->name.data);
        }
    }
    return OK;
}

static bool is_blank(struct span text)
{
    return span_trim(text).len == 0;
}

enum err body_check(enum api api, struct span text, struct json_doc *doc, struct arena *arena,
                    struct body *out, struct api_error *fault)
{
    *out = (struct body){.prompts = 1};
    if (is_blank(text))
        return refuse(fault, ERROR_INVALID_JSON,
                      "The request has no body; a JSON object is needed.", NULL);
    enum err e = json_parse(doc, text, JSON_DEPTH_CLIENT);
    if (e == ERR_TOO_BIG)
        return refuse(fault, ERROR_INVALID_JSON,
                      "The request body is nested too deeply, or has too many values.", NULL);
    if (e == ERR_NOMEM)
        return refuse(fault, ERROR_INTERNAL, "Out of memory.", NULL);
    if (e != OK)
        return refuse(fault, ERROR_INVALID_JSON,
                      doc->error ? doc->error : "The request body is not valid JSON.", NULL);
    if (json_type(json_root(doc)) != JSON_OBJECT)
        return refuse(fault, ERROR_INVALID_JSON, "The request body is not a JSON object.", NULL);
    e = read_members(api, json_root(doc), arena, out, fault);
    if (e != OK)
        return e;
    out->input_tokens = input_estimate(doc);
    return OK;
}
