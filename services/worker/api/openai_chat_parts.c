/* Content parts of OpenAI messages (docs/wire.md, Media). */
#include "services/worker/api/openai.h"

enum { IN_SYSTEM = 1, IN_USER = 2, IN_ASSISTANT = 4, IN_TOOL = 8 };

static unsigned place_of(enum role role)
{
    switch (role) {
    case ROLE_SYSTEM:
    case ROLE_DEVELOPER:
        return IN_SYSTEM;
    case ROLE_USER:
        return IN_USER;
    case ROLE_ASSISTANT:
        return IN_ASSISTANT;
    case ROLE_TOOL:
        return IN_TOOL;
    }
    return 0;
}

static enum err read_text_part(struct reader *r, const struct where *at, struct json v,
                               struct part_list *parts)
{
    struct part *part = read_add_part(r, parts, PART_TEXT);
    struct where text = {.up = at, .name = "text"};
    return part ? read_text(r, &text, json_get(v, "text"), &part->text) : read_too_large(r);
}

static enum err read_refusal_part(struct reader *r, const struct where *at, struct json v,
                                  struct part_list *parts)
{
    struct part *part = read_add_part(r, parts, PART_REFUSAL);
    struct where text = {.up = at, .name = "refusal"};
    return part ? read_text(r, &text, json_get(v, "refusal"), &part->text) : read_too_large(r);
}

static enum err refuse_audio_part(struct reader *r, const struct where *at, struct json v,
                                  struct part_list *parts)
{
    (void)v;
    (void)parts;
    return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                      "Audio input is not supported by this model.");
}

static const struct part_reader {
    const char *type;
    unsigned places;
    enum err (*read)(struct reader *r, const struct where *at, struct json v,
                     struct part_list *parts);
} part_readers[] = {
    {"text", IN_SYSTEM | IN_USER | IN_ASSISTANT | IN_TOOL, read_text_part},
    {"image_url", IN_USER | IN_TOOL, openai_read_image_part},
    {"file", IN_USER | IN_TOOL, openai_read_file_part},
    {"input_audio", IN_USER, refuse_audio_part},
    {"refusal", IN_ASSISTANT, read_refusal_part},
};

/* A mark of either kind: the extension's own value, or a breakpoint, which knows no more than
 * "here". */
static struct span cache_mark(struct json v)
{
    struct json mark = json_get(v, "cache_control");
    if (json_type(mark) == JSON_OBJECT)
        return json_raw(mark);
    return json_absent(json_get(v, "prompt_cache_breakpoint")) ? SPAN_NONE
                                                               : SPAN("{\"type\":\"ephemeral\"}");
}

struct content {
    struct part_list *parts;
    unsigned place;
};

static enum err read_part(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct content *content = into;
    struct json type = json_get(v, "type");
    struct where type_at = {.up = at, .name = "type"};
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    for (size_t i = 0; i < sizeof part_readers / sizeof part_readers[0]; i++) {
        const struct part_reader *reader = &part_readers[i];
        if (!json_is(type, reader->type))
            continue;
        if (!(reader->places & content->place))
            break;
        enum err e = reader->read(r, at, v, content->parts);
        if (!e)
            content->parts->items[content->parts->count - 1].cache_json = cache_mark(v);
        return e;
    }
    return read_fault(r, &type_at, ERROR_INVALID_VALUE,
                      "A content part of this type is not allowed in this message.");
}

enum err openai_read_content(struct reader *r, const struct where *at, struct json v,
                             enum role role, struct part_list *parts, bool *plain)
{
    struct content content = {parts, place_of(role)};
    *plain = json_type(v) == JSON_STRING;
    if (!*plain) {
        if (json_type(v) != JSON_ARRAY)
            return read_wrong_type(r, at, v, "a string or an array");
        if (!read_reserve_parts(r, parts, json_count(v)))
            return read_too_large(r);
        return read_array(r, at, v, read_part, &content);
    }
    struct part *part = read_add_part(r, parts, PART_TEXT);
    if (!part)
        return read_too_large(r);
    part->text = json_text(v);
    return OK;
}
