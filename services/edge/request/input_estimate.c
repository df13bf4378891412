#include "services/edge/request/input_estimate.h"

/* A shorter text is counted by its bytes whatever it is. */
enum { LONG_TEXT_BYTES = 4096, LOOKED_AT_BYTES = 512 };

/* What is not text: bytes of the body, and what they cost instead. */
struct files {
    uint64_t bytes, tokens;
};

static bool is_base64(struct span text)
{
    for (size_t i = 0; i < text.len && i < LOOKED_AT_BYTES; i++) {
        char c = text.data[i];
        bool fine = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                    (c != 0 && strchr("+/=\\_-", c));
        if (!fine)
            return false;
    }
    return true;
}

static void add_file(struct files *f, struct span whole, struct span type, struct span payload)
{
    uint64_t tokens = PICTURE_TOKENS;
    if (whole.len < LONG_TEXT_BYTES || !is_base64(payload))
        return;
    if (!span_starts(type, "image/") && payload.len / FILE_BYTES_PER_TOKEN > tokens)
        tokens = payload.len / FILE_BYTES_PER_TOKEN;
    f->bytes += whole.len;
    f->tokens += tokens;
}

/* "data:image/png;base64,…" */
static void add_url(struct files *f, struct json url)
{
    static const char mark[] = ";base64,";
    if (json_type(url) != JSON_STRING || !span_starts(json_text(url), "data:"))
        return;
    struct span whole = json_text(url);
    struct span type = span_skip(whole, sizeof "data:" - 1);
    size_t at = span_find_span(span_first(type, LOOKED_AT_BYTES), span_str(mark));
    if (at < span_first(type, LOOKED_AT_BYTES).len)
        add_file(f, whole, span_first(type, at), span_skip(type, at + sizeof mark - 1));
}

/* {"type":"base64","media_type":"image/png","data":…} */
static void add_source(struct files *f, struct json source)
{
    struct json data = json_get(source, "data");
    if (json_is(json_get(source, "type"), "base64") && json_type(data) == JSON_STRING)
        add_file(f, json_text(data), json_text(json_get(source, "media_type")), json_text(data));
}

static void add_sound(struct files *f, struct json sound)
{
    struct json data = json_get(sound, "data");
    if (json_type(data) == JSON_STRING)
        add_file(f, json_text(data), SPAN("audio/"), json_text(data));
}

/* A part of a message, by its type, in any of the APIs. */
static void add_part(struct files *f, struct json part)
{
    struct json type = json_get(part, "type");
    if (json_is(type, "image_url")) {
        struct json url = json_get(part, "image_url");
        add_url(f, json_type(url) == JSON_OBJECT ? json_get(url, "url") : url);
    } else if (json_is(type, "input_image") || json_is(type, "computer_screenshot")) {
        add_url(f, json_get(part, "image_url"));
    } else if (json_is(type, "image") || json_is(type, "document")) {
        add_source(f, json_get(part, "source"));
    } else if (json_is(type, "file")) {
        add_url(f, json_get(json_get(part, "file"), "file_data"));
    } else if (json_is(type, "input_file")) {
        add_url(f, json_get(part, "file_data"));
    } else if (json_is(type, "input_audio")) {
        add_sound(f, json_get(part, "input_audio"));
    }
}

/* An object with room for a file in it? */
static bool may_hold_file(struct json v)
{
    return json_type(v) == JSON_OBJECT && json_raw(v).len >= LONG_TEXT_BYTES;
}

static void add_parts(struct files *f, struct json parts)
{
    if (may_hold_file(parts))
        add_part(f, parts);
    if (json_type(parts) != JSON_ARRAY)
        return;
    for (struct json_iter i = json_iter(parts); json_next(&i);)
        if (may_hold_file(i.value))
            add_part(f, i.value);
}

/* A tool's result has parts of its own. */
static void add_content(struct files *f, struct json content)
{
    add_parts(f, content);
    if (json_type(content) != JSON_ARRAY)
        return;
    for (struct json_iter i = json_iter(content); json_next(&i);)
        if (may_hold_file(i.value) && json_is(json_get(i.value, "type"), "tool_result"))
            add_parts(f, json_get(i.value, "content"));
}

static void add_messages(struct files *f, struct json messages)
{
    for (struct json_iter i = json_iter(messages); json_next(&i);) {
        if (!may_hold_file(i.value))
            continue;
        add_content(f, json_get(i.value, "content"));
        add_parts(f, json_get(i.value, "output")); /* of a call, in /v1/responses */
    }
}

/* One pass over the tape: what is between quotes, and a token for each number (token arrays). Keys
 * and role names count too: they stand for the few tokens that every message costs beside its text.
 */
static uint64_t text_bytes(const struct json_doc *doc, uint64_t *longest_out)
{
    uint64_t bytes = 0, longest = 0;
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct json_node *node = &doc->nodes[i];
        uint64_t text = 0;
        if (node->type == JSON_NUMBER)
            bytes += TEXT_BYTES_PER_TOKEN;
        else if (node->type == JSON_STRING)
            text = node->end - node->start - 2;
        longest = text > longest ? text : longest;
        bytes += text;
    }
    *longest_out = longest;
    return bytes;
}

static void add_files(struct files *f, struct json root)
{
    for (struct json_iter i = json_iter(root); json_next(&i);)
        if (json_type(i.value) == JSON_ARRAY && json_raw(i.value).len >= LONG_TEXT_BYTES &&
            (json_is(i.key, "messages") || json_is(i.key, "input")))
            add_messages(f, i.value);
}

uint64_t input_estimate(const struct json_doc *doc)
{
    struct files files = {0};
    uint64_t longest, bytes = text_bytes(doc, &longest);
    if (longest >= LONG_TEXT_BYTES) /* else there is no file in it */
        add_files(&files, json_root(doc));
    /* A member that stands there twice could be taken twice. */
    bytes = bytes > files.bytes ? bytes - files.bytes : 0;
    return bytes / TEXT_BYTES_PER_TOKEN + files.tokens + 1;
}
