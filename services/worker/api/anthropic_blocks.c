/* Content blocks of an Anthropic request → parts (docs/wire.md, Requests). A block that only its
 * own protocol knows stays whole. */
#include "services/worker/api/anthropic.h"

#define FIELD(member) offsetof(struct part, member)

typedef enum err (*block_fn)(struct reader *r, const struct where *at, struct json v,
                             struct part_list *parts);

/* Blocks nest three deep and no deeper: one only holds blocks of a higher level. */
enum level { LEVEL_TURN, LEVEL_RESULT, LEVEL_LEAF };

static enum err read_inner(struct reader *r, const struct where *at, struct json v,
                           enum level level, struct part_list *parts, bool *plain);

/* ---- sources of images and documents ---- */

/* A base64 or URL source. *known is false for a kind the caller must know. */
static enum err read_source(struct reader *r, const struct where *at, struct json v,
                            struct part *part, bool *known)
{
    struct json type = json_get(v, "type");
    struct where media = {.up = at, .name = "media_type"}, data = {.up = at, .name = "data"};
    struct where url = {.up = at, .name = "url"};
    *known = true;
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    if (json_is(type, "base64")) {
        enum err e = read_text(r, &media, json_get(v, "media_type"), &part->media_type_text);
        return e ? e : read_text(r, &data, json_get(v, "data"), &part->data_text);
    }
    if (json_is(type, "url"))
        return read_text(r, &url, json_get(v, "url"), &part->url_text);
    if (json_is(type, "file"))
        return read_fault(r, at, ERROR_UNSUPPORTED_PARAMETER,
                          "Uploaded files are not supported by this model: send the data itself.");
    *known = false;
    return OK;
}

static enum err unknown_source(struct reader *r, const struct where *at)
{
    struct where type = {.up = at, .name = "type"};
    return read_fault(r, &type, ERROR_INVALID_VALUE, "This type of source is not known.");
}

static const struct member image_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "source", .kind = MEMBER_KNOWN, .required = true},
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)},
};
static const struct shape image_shape = SHAPE("messages.content", image_members);

static enum err read_image(struct reader *r, const struct where *at, struct json v,
                           struct part_list *parts)
{
    struct where source = {.up = at, .name = "source"};
    struct part *part = read_add_part(r, parts, PART_IMAGE);
    bool known = false;
    if (!part)
        return read_too_large(r);
    enum err e = read_object(r, at, v, &image_shape, part);
    if (!e)
        e = read_source(r, &source, json_get(v, "source"), part, &known);
    return !e && !known ? unknown_source(r, &source) : e;
}

/* Text blocks joined with nothing between. */
static enum err join_texts(struct reader *r, const struct part_list *parts, struct span *out)
{
    struct buf joined = {0};
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->items[i].kind == PART_TEXT)
            buf_append(&joined, parts->items[i].text);
    }
    *out = joined.failed ? SPAN_NONE : arena_copy(r->arena, buf_span(&joined));
    buf_free(&joined);
    return out->data ? OK : read_too_large(r);
}

static enum err keep_images(struct reader *r, const struct part_list *from, struct part_list *parts)
{
    for (size_t i = 0; i < from->count; i++) {
        if (from->items[i].kind != PART_IMAGE)
            continue;
        struct part *part = part_list_add(parts, r->arena);
        if (!part)
            return read_too_large(r);
        *part = from->items[i];
    }
    return OK;
}

/* A document made of blocks: its texts are the document, its pictures follow it. */
static enum err read_content_source(struct reader *r, const struct where *at, struct json v,
                                    struct part_list *parts)
{
    struct where content = {.up = at, .name = "content"};
    struct part_list inner = {0};
    bool plain;
    enum err e = read_inner(r, &content, json_get(v, "content"), LEVEL_LEAF, &inner, &plain);
    if (!e)
        e = join_texts(r, &inner, &parts->items[parts->count - 1].text);
    return e ? e : keep_images(r, &inner, parts);
}

static const struct member document_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "source", .kind = MEMBER_KNOWN, .required = true},
    {.name = "title", .kind = MEMBER_TEXT, .offset = FIELD(title_text)},
    {.name = "context", .kind = MEMBER_TEXT, .offset = FIELD(context_text)},
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)},
};
static const struct shape document_shape = SHAPE("messages.content", document_members);

static enum err read_document(struct reader *r, const struct where *at, struct json v,
                              struct part_list *parts)
{
    struct where at_source = {.up = at, .name = "source"},
                 data = {.up = &at_source, .name = "data"};
    struct json source = json_get(v, "source");
    struct part *part = read_add_part(r, parts, PART_DOCUMENT);
    bool known = false;
    if (!part)
        return read_too_large(r);
    enum err e = read_object(r, at, v, &document_shape, part);
    if (!e)
        e = read_source(r, &at_source, source, part, &known);
    if (e || known)
        return e;
    if (json_is(json_get(source, "type"), "text"))
        return read_text(r, &data, json_get(source, "data"), &part->text);
    if (json_is(json_get(source, "type"), "content"))
        return read_content_source(r, &at_source, source, parts);
    return unknown_source(r, &at_source);
}

/* ---- blocks that are one table each ---- */

static const struct member text_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "text", .kind = MEMBER_TEXT, .offset = FIELD(text), .required = true},
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)},
};
static const struct member thinking_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "thinking", .kind = MEMBER_TEXT, .offset = FIELD(text), .required = true},
    {.name = "signature", .kind = MEMBER_TEXT, .offset = FIELD(signature_text)},
};
static const struct member redacted_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "data", .kind = MEMBER_TEXT, .offset = FIELD(data_text), .required = true},
};
static const struct member tool_use_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "id", .kind = MEMBER_TEXT, .offset = FIELD(id_text), .required = true},
    {.name = "name", .kind = MEMBER_TEXT, .offset = FIELD(name_text), .required = true},
    {.name = "input", .kind = MEMBER_OBJECT, .offset = FIELD(args_json), .required = true},
    {.name = "caller",
     .kind = MEMBER_KNOWN}, /* comes back from answers; says who called, not what */
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)},
};

static enum err read_simple(struct reader *r, const struct where *at, struct json v,
                            struct part_list *parts, enum part_kind kind, const struct shape *shape)
{
    struct part *part = read_add_part(r, parts, kind);
    return part ? read_object(r, at, v, shape, part) : read_too_large(r);
}

static enum err read_text_block(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts)
{
    static const struct shape shape = SHAPE("messages.content", text_members);
    return read_simple(r, at, v, parts, PART_TEXT, &shape);
}

static enum err read_thinking(struct reader *r, const struct where *at, struct json v,
                              struct part_list *parts)
{
    static const struct shape shape = SHAPE("messages.content", thinking_members);
    return read_simple(r, at, v, parts, PART_THINKING, &shape);
}

static enum err read_redacted(struct reader *r, const struct where *at, struct json v,
                              struct part_list *parts)
{
    static const struct shape shape = SHAPE("messages.content", redacted_members);
    return read_simple(r, at, v, parts, PART_REDACTED, &shape);
}

static enum err read_tool_use(struct reader *r, const struct where *at, struct json v,
                              struct part_list *parts)
{
    static const struct shape shape = SHAPE("messages.content", tool_use_members);
    enum err e = read_count_tool_call(r, at);
    return e ? e : read_simple(r, at, v, parts, PART_TOOL_CALL, &shape);
}

/* ---- blocks that hold others ---- */

static const struct member result_members[] = {
    {.name = "type", .kind = MEMBER_KNOWN},
    {.name = "tool_use_id", .kind = MEMBER_TEXT, .offset = FIELD(id_text), .required = true},
    {.name = "content", .kind = MEMBER_KNOWN},
    {.name = "is_error", .kind = MEMBER_BOOL, .offset = FIELD(is_error)},
    {.name = "cache_control", .kind = MEMBER_OBJECT, .offset = FIELD(cache_json)},
};

static enum err read_tool_result(struct reader *r, const struct where *at, struct json v,
                                 struct part_list *parts)
{
    static const struct shape shape = SHAPE("messages.content", result_members);
    struct where content_at = {.up = at, .name = "content"};
    struct json content = json_get(v, "content");
    struct part_list *inner = ARENA_NEW(r->arena, struct part_list);
    struct part *part = read_add_part(r, parts, PART_TOOL_RESULT);
    bool plain;
    if (!part || !inner)
        return read_too_large(r);
    part->parts = inner;
    enum err e = read_object(r, at, v, &shape, part);
    return e || json_absent(content)
               ? e
               : read_inner(r, &content_at, content, LEVEL_RESULT, inner, &plain);
}

/* Kept whole, with its words beside it for protocols that only know text. */
static enum err read_search_result(struct reader *r, const struct where *at, struct json v,
                                   struct part_list *parts)
{
    struct where content = {.up = at, .name = "content"};
    struct part_list inner = {0};
    bool plain;
    enum err e = read_inner(r, &content, json_get(v, "content"), LEVEL_LEAF, &inner, &plain);
    struct part *part = e ? NULL : read_add_part(r, parts, PART_SEARCH);
    if (!part)
        return e ? e : read_too_large(r);
    part->raw_json = json_raw(v);
    part->title_text = json_text(json_get(v, "title"));
    part->url_text = json_text(json_get(v, "source"));
    return join_texts(r, &inner, &part->text);
}

/* What stands for the turns before it: its words, for protocols that know no such block. Without
 * words (it failed) it stands for nothing. */
static enum err read_compaction(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts)
{
    struct json content = json_get(v, "content");
    struct where content_at = {.up = at, .name = "content"};
    if (json_absent(content))
        return OK;
    if (json_type(content) != JSON_STRING)
        return read_fault(r, &content_at, ERROR_INVALID_VALUE,
                          "'content' of a compaction must be a string.");
    struct part *part = json_text(content).len ? read_add_part(r, parts, PART_TEXT) : NULL;
    if (part)
        part->text = json_text(content);
    return part || json_text(content).len == 0 ? OK : read_too_large(r);
}

static enum err read_opaque(struct reader *r, struct json v, struct part_list *parts)
{
    struct part *part = read_add_part(r, parts, PART_OPAQUE);
    if (!part)
        return read_too_large(r);
    part->raw_json = json_raw(v);
    part->name_text = json_text(json_get(v, "type"));
    return OK;
}

static const struct block_reader {
    const char *type;
    block_fn read;
    enum level level;
} block_readers[] = {
    {"text", read_text_block, LEVEL_LEAF},
    {"image", read_image, LEVEL_LEAF},
    {"tool_use", read_tool_use, LEVEL_TURN},
    {"tool_result", read_tool_result, LEVEL_TURN},
    {"document", read_document, LEVEL_RESULT},
    {"search_result", read_search_result, LEVEL_RESULT},
    {"thinking", read_thinking, LEVEL_TURN},
    {"redacted_thinking", read_redacted, LEVEL_TURN},
    {"compaction", read_compaction, LEVEL_TURN},
};

struct blocks {
    struct part_list *parts;
    enum level level;
};

static enum err read_block(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct blocks *blocks = into;
    struct json type = json_get(v, "type");
    struct where type_at = {.up = at, .name = "type"};
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    if (json_type(type) != JSON_STRING)
        return read_wrong_type(r, &type_at, type, "a string");
    for (size_t i = 0; i < sizeof block_readers / sizeof block_readers[0]; i++) {
        if (!json_is(type, block_readers[i].type))
            continue;
        if (block_readers[i].level < blocks->level)
            return read_fault(r, &type_at, ERROR_INVALID_VALUE,
                              "A block of this type is not allowed here.");
        return block_readers[i].read(r, at, v, blocks->parts);
    }
    return read_opaque(r, v, blocks->parts);
}

static enum err read_inner(struct reader *r, const struct where *at, struct json v,
                           enum level level, struct part_list *parts, bool *plain)
{
    struct blocks blocks = {parts, level};
    *plain = json_type(v) == JSON_STRING;
    if (!*plain && json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "a string or an array");
    if (!*plain && !read_reserve_parts(r, parts, json_count(v)))
        return read_too_large(r);
    if (!*plain)
        return read_array(r, at, v, read_block, &blocks);
    struct part *part = read_add_part(r, parts, PART_TEXT);
    if (!part)
        return read_too_large(r);
    part->text = json_text(v);
    return OK;
}

enum err anthropic_read_block(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct blocks blocks = {into, LEVEL_TURN};
    return read_block(r, at, v, &blocks);
}

enum err anthropic_read_content(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts, bool *plain)
{
    return read_inner(r, at, v, LEVEL_TURN, parts, plain);
}
