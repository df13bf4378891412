/* Images and files of an OpenAI user message → image and document parts. */
#include "services/worker/api/data_url.h"
#include "services/worker/api/openai.h"

static bool is_image_type(struct span type)
{
    return span_is(type, "image/jpeg") || span_is(type, "image/png") ||
           span_is(type, "image/gif") || span_is(type, "image/webp");
}

static enum err bad_data(struct reader *r, const struct where *at, enum err e)
{
    if (e == ERR_NOMEM)
        return read_too_large(r);
    return read_fault(r, at, ERROR_INVALID_VALUE, "This is neither a valid data URL nor base64.");
}

/* A plain text file becomes text: no protocol wants it as base64. */
static enum err set_text(struct reader *r, const struct where *at, struct span base64,
                         struct part *part)
{
    struct span bytes;
    enum err e = data_url_decode_base64(base64, r->arena, &bytes);
    if (e)
        return bad_data(r, at, e);
    part->kind = PART_DOCUMENT;
    part->text = read_to_text(r, bytes);
    return part->text.data || !bytes.len ? OK : read_too_large(r);
}

static enum err set_data(struct reader *r, const struct where *at, const struct data_url *url,
                         struct part *part)
{
    if (span_is(url->media_type, "text/plain"))
        return set_text(r, at, url->base64, part);
    if (!is_image_type(url->media_type) && !span_is(url->media_type, "application/pdf"))
        return read_fault(
            r, at, ERROR_INVALID_VALUE,
            "Content of this media type is not supported: only image/jpeg, image/png, image/gif, "
            "image/webp, application/pdf and text/plain.");
    part->kind = is_image_type(url->media_type) ? PART_IMAGE : PART_DOCUMENT;
    part->media_type_text =
        url->media_type; /* letters and slashes: nothing to escape, and so is base64 */
    part->data_text = url->base64;
    return OK;
}

static bool is_web_url(struct span url)
{
    return span_is_nocase(span_first(url, 7), "http://") ||
           span_is_nocase(span_first(url, 8), "https://");
}

/* The path, without query and fragment, ends in ".pdf". */
static bool is_pdf_url(struct span url)
{
    struct span path = span_first(url, span_find(url, '#'));
    path = span_first(path, span_find(path, '?'));
    return path.len >= 4 && span_is_nocase(span_skip(path, path.len - 4), ".pdf");
}

enum err openai_set_url(struct reader *r, const struct where *at, struct span url_text,
                        struct part *part)
{
    struct data_url parsed;
    struct span url = read_to_bytes(r, url_text);
    if (!url.data)
        return read_too_large(r);
    enum err e = data_url_parse(url, r->arena, &parsed);
    if (!e)
        return set_data(r, at, &parsed, part);
    if (e != ERR_NOT_FOUND)
        return bad_data(r, at, e);
    if (!is_web_url(url))
        return read_fault(r, at, ERROR_INVALID_VALUE,
                          "An image's URL must be an http, https or data URL.");
    part->kind = is_pdf_url(url) ? PART_DOCUMENT : PART_IMAGE;
    part->url_text = url_text;
    return OK;
}

static const struct member image_members[] = {
    {.name = "url",
     .kind = MEMBER_TEXT,
     .offset = offsetof(struct part, url_text),
     .required = true},
    {.name = "detail", .kind = MEMBER_TEXT, .offset = offsetof(struct part, detail_text)},
};
static const struct shape image_shape = SHAPE("messages.content.image_url", image_members);

enum err openai_read_image_part(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts)
{
    struct where image = {.up = at, .name = "image_url"};
    struct part *part = read_add_part(r, parts, PART_IMAGE);
    if (!part)
        return read_too_large(r);
    enum err e = read_object(r, &image, json_get(v, "image_url"), &image_shape, part);
    if (e)
        return e;
    if (part->detail_text.len && !span_is(part->detail_text, "auto"))
        neutral_drop(r->out, "messages.content.image_url.detail"); /* nor this */
    struct span url_text = part->url_text;
    part->url_text = SPAN_NONE;
    return openai_set_url(r, at, url_text, part);
}

/* A data URL, or bare base64, which is taken for a PDF. */
enum err openai_set_file(struct reader *r, const struct where *at, struct span data_text,
                         struct part *part)
{
    struct data_url url = {.media_type = SPAN("application/pdf")};
    struct span data = read_to_bytes(r, data_text);
    if (!data.data)
        return read_too_large(r);
    enum err e = data_url_parse(data, r->arena, &url);
    if (e == ERR_NOT_FOUND)
        e = data_url_clean_base64(data, r->arena, &url.base64);
    return e ? bad_data(r, at, e) : set_data(r, at, &url, part);
}

struct file {
    struct span filename_text, data_text, id_text;
};

static const struct member file_members[] = {
    {.name = "filename", .kind = MEMBER_TEXT, .offset = offsetof(struct file, filename_text)},
    {.name = "file_data", .kind = MEMBER_TEXT, .offset = offsetof(struct file, data_text)},
    {.name = "file_id", .kind = MEMBER_TEXT, .offset = offsetof(struct file, id_text)},
};
static const struct shape file_shape = SHAPE("messages.content.file", file_members);

enum err openai_read_file_part(struct reader *r, const struct where *at, struct json v,
                               struct part_list *parts)
{
    struct where file_at = {.up = at, .name = "file"};
    struct file file = {0};
    struct part *part = read_add_part(r, parts, PART_DOCUMENT);
    if (!part)
        return read_too_large(r);
    enum err e = read_object(r, &file_at, json_get(v, "file"), &file_shape, &file);
    if (e)
        return e;
    if (file.id_text.len)
        return read_fault(
            r, at, ERROR_UNSUPPORTED_PARAMETER,
            "'file_id' is not supported by this model: send the file itself in 'file_data'.");
    if (!file.data_text.len)
        return read_fault(r, at, ERROR_INVALID_VALUE,
                          "Missing required parameter: 'file.file_data'.");
    part->title_text = file.filename_text;
    return openai_set_file(r, at, file.data_text, part);
}
