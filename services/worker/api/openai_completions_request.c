/* OpenAI legacy completions request → neutral form (docs/wire.md, Completions). Each prompt is one
 * user turn. */
#include "services/worker/api/openai.h"

enum { PROMPTS_MAX = 2048 };

/* What only a native /completions can do. */
struct legacy {
    struct neutral_request request;
    int64_t best_of;
};

static enum err read_prompt_element(struct reader *r, const struct where *at, struct json v,
                                    void *into)
{
    struct neutral_request *out = into;
    if (json_type(v) == JSON_NUMBER || json_type(v) == JSON_ARRAY)
        return read_fault(r, at->up, ERROR_UNSUPPORTED_PARAMETER,
                          "Prompts of token numbers are not supported by this model: send text.");
    return read_text(r, at, v, &out->prompts_text[out->prompt_count++]);
}

static enum err read_prompt(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    bool one = json_type(v) == JSON_STRING;
    size_t count = one ? 1 : json_count(v);
    if (!one && json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "a string or an array of strings");
    if (count == 0 || count > PROMPTS_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "'prompt' must hold 1 to %d prompts.",
                          PROMPTS_MAX);
    out->prompts_text = ARENA_ARRAY(r->arena, struct span, count);
    if (!out->prompts_text)
        return read_too_large(r);
    if (!one)
        return read_array(r, at, v, read_prompt_element, out);
    out->prompts_text[out->prompt_count++] = json_text(v);
    return OK;
}

static enum err read_suffix(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct span suffix;
    (void)into;
    enum err e = read_text(r, at, v, &suffix);
    if (!e && suffix.len)
        return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                          "'suffix' is not supported by this model.");
    return e;
}

static enum err read_best_of(struct reader *r, const struct where *at, struct json v, void *into)
{
    return read_integer(r, at, v, 0, 20, &((struct legacy *)into)->best_of);
}

/* A number here, 0 included, asks for log probabilities. */
static enum err read_logprobs(struct reader *r, const struct where *at, struct json v, void *into)
{
    int64_t count;
    (void)into;
    enum err e = read_integer(r, at, v, 0, 5, &count);
    return e ? e
             : read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                          "'logprobs' is not supported by this model.");
}

static enum err read_seed(struct reader *r, const struct where *at, struct json v, void *into)
{
    int64_t ignored;
    ((struct neutral_request *)into)->seed_json = json_raw(v);
    return read_integer(r, at, v, INT64_MIN, INT64_MAX, &ignored);
}

#define FIELD(member) offsetof(struct neutral_request, member)

static const struct member members[] = {
    {.name = "model", .kind = MEMBER_FN, .fn = read_ignored_text},
    {.name = "prompt", .kind = MEMBER_FN, .fn = read_prompt, .required = true},
    {.name = "suffix", .kind = MEMBER_FN, .fn = read_suffix},
    {.name = "n", .kind = MEMBER_FN, .fn = openai_read_n},
    {.name = "best_of", .kind = MEMBER_FN, .fn = read_best_of},
    {.name = "logprobs", .kind = MEMBER_FN, .fn = read_logprobs},
    {.name = "echo", .kind = MEMBER_BOOL, .offset = FIELD(echo)},
    {.name = "stream", .kind = MEMBER_BOOL, .offset = FIELD(stream)},
    {.name = "stream_options", .kind = MEMBER_FN, .fn = openai_read_stream_options},
    {.name = "max_tokens", .kind = MEMBER_FN, .fn = openai_read_max_out},
    {.name = "temperature", .kind = MEMBER_NUMBER, .offset = FIELD(temperature_json)},
    {.name = "top_p", .kind = MEMBER_NUMBER, .offset = FIELD(top_p_json)},
    {.name = "top_k", .kind = MEMBER_NUMBER, .offset = FIELD(top_k_json)}, /* extension */
    {.name = "frequency_penalty", .kind = MEMBER_NUMBER, .offset = FIELD(frequency_penalty_json)},
    {.name = "presence_penalty", .kind = MEMBER_NUMBER, .offset = FIELD(presence_penalty_json)},
    {.name = "seed", .kind = MEMBER_FN, .fn = read_seed},
    {.name = "stop", .kind = MEMBER_FN, .fn = read_stop_string_or_array},
    {.name = "user", .kind = MEMBER_TEXT, .offset = FIELD(user_text)},
};
static const struct shape completions_shape = SHAPE(NULL, members);

/* One answer per prompt is all that a translation can give. */
static enum err check_choices(struct reader *r, const struct legacy *legacy)
{
    struct where n = {.name = "n"}, best_of = {.name = "best_of"};
    if (legacy->request.n > 1)
        return read_fault(r, &n, ERROR_UNSUPPORTED_PARAMETER,
                          "'n' above 1 is not supported by this model.");
    if (legacy->best_of > 1)
        return read_fault(r, &best_of, ERROR_UNSUPPORTED_PARAMETER,
                          "'best_of' is not supported by this model.");
    return OK;
}

/* The first prompt's; pipeline.c puts the others in its place. */
static enum err add_turn(struct reader *r)
{
    struct turn *turn = read_add_turn(r, ROLE_USER, 0);
    struct part *part = turn ? read_add_part(r, &turn->parts, PART_TEXT) : NULL;
    if (!part)
        return read_too_large(r);
    turn->plain = true;
    part->text = r->out->prompts_text[0];
    return OK;
}

enum err openai_completions_read(struct json body, struct arena *arena, struct neutral_request *out,
                                 struct api_error *fault_out)
{
    struct legacy legacy = {.request = {.api = API_OPENAI_COMPLETIONS, .arena = arena, .n = 1}};
    *fault_out = (struct api_error){0};
    struct reader r = {.out = &legacy.request, .arena = arena, .fault = fault_out};
    enum err e = read_refuse_doubled(&r, body, openai_never_twice);
    if (!e)
        e = read_object(&r, NULL, body, &completions_shape, &legacy);
    if (!e)
        e = check_choices(&r, &legacy);
    if (!e)
        e = add_turn(&r);
    *out = legacy.request;
    return e;
}
