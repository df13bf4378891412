/* Content parts of responses' items (docs/wire.md, Media). */
#include "services/worker/api/openai.h"
#include "services/worker/api/responses.h"

static enum err read_text_part(struct reader *r, const struct where *at, struct json v,
                               struct part_list *parts)
{
    struct where text = {.up = at, .name = "text"};
    struct part *part = read_add_part(r, parts, PART_TEXT);
    return part ? read_text(r, &text, json_get(v, "text"), &part->text) : read_too_large(r);
}

static enum err read_refusal_part(struct reader *r, const struct where *at, struct json v,
                                  struct part_list *parts)
{
    struct where refusal = {.up = at, .name = "refusal"};
    struct part *part = read_add_part(r, parts, PART_REFUSAL);
    return part ? read_text(r, &refusal, json_get(v, "refusal"), &part->text) : read_too_large(r);
}

static enum err check_no_file_id(struct reader *r, const struct where *at, struct json v)
{
    if (json_absent(json_get(v, "file_id")))
        return OK;
    return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                      "'file_id' is not supported by this model: send the data itself.");
}

static enum err read_image_part(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts)
{
    struct where url_at = {.up = at, .name = "image_url"};
    struct span url_text;
    struct part *part = read_add_part(r, parts, PART_IMAGE);
    if (!part)
        return read_too_large(r);
    enum err e = check_no_file_id(r, at, v);
    if (!e)
        e = read_text(r, &url_at, json_get(v, "image_url"), &url_text);
    struct json detail = json_get(v, "detail");
    if (json_type(detail) == JSON_STRING)
        part->detail_text = json_text(detail);
    return e ? e : openai_set_url(r, &url_at, url_text, part);
}

static enum err read_file_part(struct reader *r, const struct where *at, struct json v,
                               struct part_list *parts)
{
    struct json url = json_get(v, "file_url"), data = json_get(v, "file_data");
    struct where url_at = {.up = at, .name = "file_url"}, data_at = {.up = at, .name = "file_data"};
    struct span text;
    struct part *part = read_add_part(r, parts, PART_DOCUMENT);
    if (!part)
        return read_too_large(r);
    enum err e = check_no_file_id(r, at, v);
    part->title_text = json_text(json_get(v, "filename"));
    if (!e && !json_absent(url)) {
        e = read_text(r, &url_at, url, &part->url_text);
        return e;
    }
    if (!e)
        e = read_text(r, &data_at, data, &text);
    return e ? e : openai_set_file(r, &data_at, text, part);
}

static enum err refuse_audio(struct reader *r, const struct where *at, struct json v,
                             struct part_list *parts)
{
    (void)v;
    (void)parts;
    return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                      "Audio input is not supported by this model.");
}

static const struct responses_part {
    const char *type;
    enum err (*read)(struct reader *r, const struct where *at, struct json v,
                     struct part_list *parts);
} part_readers[] = {
    {"input_text", read_text_part},   {"output_text", read_text_part},
    {"text", read_text_part},         {"refusal", read_refusal_part},
    {"input_image", read_image_part}, {"input_file", read_file_part},
    {"input_audio", refuse_audio},
};

static enum err read_part(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct where type_at = {.up = at, .name = "type"};
    struct json type = json_get(v, "type");
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    for (size_t i = 0; i < sizeof part_readers / sizeof part_readers[0]; i++) {
        if (json_is(type, part_readers[i].type))
            return part_readers[i].read(r, at, v, into);
    }
    return read_fault(r, &type_at, ERROR_INVALID_VALUE,
                      "A content part of the type '%.*s' is not known.",
                      SPAN_ARG(span_first(json_text(type), 64)));
}

enum err responses_read_content(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts, bool *plain)
{
    *plain = json_type(v) == JSON_STRING;
    if (*plain) {
        struct part *part = read_add_part(r, parts, PART_TEXT);
        if (!part)
            return read_too_large(r);
        part->text = json_text(v);
        return OK;
    }
    if (json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "a string or an array");
    /* a turn of many items grows by doubling */
    if (parts->count == 0 && !read_reserve_parts(r, parts, json_count(v)))
        return read_too_large(r);
    return read_array(r, at, v, read_part, parts);
}
