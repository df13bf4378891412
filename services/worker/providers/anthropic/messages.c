/* Arranged turns → Anthropic's messages (docs/wire.md, Messages). */
#include "services/worker/providers/anthropic/anthropic.h"

enum { MAX_MARKS = 4 };

struct message_writer {
    struct conversion *pc;
    struct json_writer *w;
    struct marks *marks;
    struct api_error *fault;
};

void anthropic_write_mark(struct json_writer *w, struct marks *marks, struct span cache_json)
{
    if (!cache_json.len)
        return;
    if (marks->used++ >= MAX_MARKS) {
        neutral_drop(marks->request, "cache_control");
        return;
    }
    /* OpenAI's {"mode":"explicit"} is a mark too, in other words */
    bool own = span_find_span(cache_json, SPAN("\"type\"")) < cache_json.len;
    jw_key(w, "cache_control");
    jw_raw(w, own ? cache_json : SPAN("{\"type\":\"ephemeral\"}"));
}

static void write_type(struct message_writer *m, const char *type)
{
    jw_object(m->w);
    jw_key(m->w, "type");
    jw_str(m->w, type);
}

static void write_text(struct message_writer *m, struct span text, struct span cache_json)
{
    write_type(m, "text");
    jw_key(m->w, "text");
    jw_text(m->w, text);
    anthropic_write_mark(m->w, m->marks, cache_json);
    jw_object_end(m->w);
}

/* ---- images and documents ---- */

static bool ends_like_pdf(struct span url_text)
{
    struct span path = span_first(url_text, span_find(url_text, '?'));
    path = span_first(path, span_find(path, '#'));
    return path.len >= 4 && strncasecmp(path.data + path.len - 4, ".pdf", 4) == 0;
}

static void write_source(struct message_writer *m, const struct part *p)
{
    jw_key(m->w, "source");
    jw_object(m->w);
    jw_key(m->w, "type");
    if (p->url_text.len) {
        jw_str(m->w, "url");
        jw_key(m->w, "url");
        jw_text(m->w, p->url_text);
    } else if (p->data_text.len) {
        jw_str(m->w, "base64");
        jw_key(m->w, "media_type");
        jw_text(m->w, p->media_type_text);
        jw_key(m->w, "data");
        jw_text(m->w, p->data_text);
    } else {
        jw_str(m->w, "text");
        jw_key(m->w, "media_type");
        jw_str(m->w, "text/plain");
        jw_key(m->w, "data");
        jw_text(m->w, p->text);
    }
    jw_object_end(m->w);
}

static void write_document(struct message_writer *m, const struct part *p)
{
    write_type(m, "document");
    write_source(m, p);
    if (p->title_text.len) {
        jw_key(m->w, "title");
        jw_text(m->w, p->title_text);
    }
    if (p->context_text.len) {
        jw_key(m->w, "context");
        jw_text(m->w, p->context_text);
    }
    anthropic_write_mark(m->w, m->marks, p->cache_json);
    jw_object_end(m->w);
}

static bool is_image_type(struct span type)
{
    static const char *const types[] = {"image/jpeg", "image/png", "image/gif", "image/webp"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (span_is_nocase(type, types[i]))
            return true;
    }
    return false;
}

static enum err refuse_part(struct message_writer *m, const struct message *message,
                            unsigned error_class, const char *what)
{
    api_error_set(m->fault, error_class, what, NULL);
    m->fault->param = arena_printf(m->pc->arena, "%s[%u].content",
                                   neutral_turns_name(m->pc->request), message->index);
    return ERR_INVALID;
}

static enum err write_image(struct message_writer *m, const struct message *message,
                            const struct part *p)
{
    if (p->url_text.len && ends_like_pdf(p->url_text)) {
        write_document(m, p);
        return OK;
    }
    if (!p->url_text.len && span_is_nocase(p->media_type_text, "application/pdf")) {
        write_document(m, p);
        return OK;
    }
    if (!p->url_text.len && !is_image_type(p->media_type_text))
        return refuse_part(m, message, ERROR_INVALID_VALUE,
                           "Images must be JPEG, PNG, GIF or WebP.");
    write_type(m, "image");
    write_source(m, p);
    anthropic_write_mark(m->w, m->marks, p->cache_json);
    jw_object_end(m->w);
    return OK;
}

/* ---- tools ---- */

/* The arguments' text as an object; what is none is kept whole under _raw, so that a past mistake
 * of the model never ends a conversation. */
static void write_input(struct message_writer *m, const struct part *p)
{
    struct buf bytes = {0};
    struct json_doc doc = {0};
    if (p->args_json.len) {
        jw_raw(m->w, p->args_json);
        return;
    }
    json_text_decode(p->args_text, &bytes);
    if (span_trim(buf_span(&bytes)).len == 0) {
        jw_raw(m->w, SPAN("{}"));
    } else if (!json_parse(&doc, buf_span(&bytes), JSON_DEPTH_CLIENT) &&
               json_type(json_root(&doc)) == JSON_OBJECT) {
        jw_raw(m->w, json_raw(json_root(&doc)));
    } else {
        jw_object(m->w);
        jw_key(m->w, "_raw");
        jw_text(m->w, p->args_text);
        jw_object_end(m->w);
    }
    json_doc_free(&doc);
    buf_free(&bytes);
}

static void write_call(struct message_writer *m, const struct block *b)
{
    write_type(m, "tool_use");
    jw_key(m->w, "id");
    jw_string(m->w, b->id);
    jw_key(m->w, "name");
    jw_text(m->w, b->part->name_text);
    jw_key(m->w, "input");
    write_input(m, b->part);
    anthropic_write_mark(m->w, m->marks, b->part->cache_json);
    jw_object_end(m->w);
}

static bool is_text(const struct part *p)
{
    return (p->kind == PART_TEXT || p->kind == PART_REFUSAL) && p->text.len;
}

static size_t count_result_parts(const struct part_list *parts)
{
    size_t n = 0;
    for (size_t i = 0; parts && i < parts->count; i++)
        n += is_text(&parts->items[i]) || parts->items[i].kind == PART_IMAGE ||
             parts->items[i].kind == PART_DOCUMENT;
    return n;
}

static enum err write_result_content(struct message_writer *m, const struct message *message,
                                     const struct block *b)
{
    const struct part_list *parts = b->part->parts;
    enum err e = OK;
    if (count_result_parts(parts) == 0)
        return OK;
    jw_key(m->w, "content");
    if (b->plain && parts->count == 1 && is_text(&parts->items[0])) {
        jw_text(m->w, parts->items[0].text);
        return OK;
    }
    jw_array(m->w);
    for (size_t i = 0; !e && i < parts->count; i++) {
        const struct part *p = &parts->items[i];
        if (is_text(p))
            write_text(m, p->text, p->cache_json);
        else if (p->kind == PART_IMAGE)
            e = write_image(m, message, p);
        else if (p->kind == PART_DOCUMENT)
            write_document(m, p);
    }
    jw_array_end(m->w);
    return e;
}

static enum err write_result(struct message_writer *m, const struct message *message,
                             const struct block *b)
{
    enum err e = OK;
    write_type(m, "tool_result");
    jw_key(m->w, "tool_use_id");
    jw_string(m->w, b->id);
    if (b->no_result) {
        jw_key(m->w, "content");
        jw_str(m->w, "no result");
    } else {
        e = write_result_content(m, message, b);
    }
    if (b->no_result || b->part->is_error) {
        jw_key(m->w, "is_error");
        jw_bool(m->w, true);
    }
    if (!b->no_result)
        anthropic_write_mark(m->w, m->marks, b->part->cache_json);
    jw_object_end(m->w);
    return e;
}

/* ---- blocks ---- */

static void write_thought(struct message_writer *m, const struct part *p)
{
    if (p->kind == PART_REDACTED) {
        write_type(m, "redacted_thinking");
        jw_key(m->w, "data");
        jw_text(m->w, p->data_text);
    } else {
        write_type(m, "thinking");
        jw_key(m->w, "thinking");
        jw_text(m->w, p->text);
        jw_key(m->w, "signature");
        jw_text(m->w, p->signature_text);
    }
    jw_object_end(m->w);
}

static enum err write_part(struct message_writer *m, const struct message *message,
                           const struct block *b)
{
    const struct part *p = b->part;
    switch (p->kind) {
    case PART_TEXT:
    case PART_REFUSAL:
        write_text(m, p->text, p->cache_json);
        return OK;
    case PART_IMAGE:
        return write_image(m, message, p);
    case PART_DOCUMENT:
        write_document(m, p);
        return OK;
    case PART_SEARCH:
        jw_raw(m->w, p->raw_json);
        return OK;
    case PART_TOOL_CALL:
        write_call(m, b);
        return OK;
    case PART_TOOL_RESULT:
        return write_result(m, message, b);
    case PART_THINKING:
    case PART_REDACTED:
        write_thought(m, p);
        return OK;
    case PART_OPAQUE:
        return refuse_part(m, message, ERROR_UNSUPPORTED_PARAMETER,
                           "This kind of content is not supported by this model's provider.");
    }
    return OK;
}

/* json text without the white space at its end: spaces, and escapes that mean white space. */
static struct span trim_end(struct span text)
{
    for (;;) {
        if (span_ends(text, " "))
            text.len--;
        else if (span_ends(text, "\\n") || span_ends(text, "\\t") || span_ends(text, "\\r")) {
            /* "\\\\n" is a backslash and a letter */
            size_t slashes = 0;
            while (slashes < text.len - 1 && text.data[text.len - 2 - slashes] == '\\')
                slashes++;
            if (slashes % 2 == 0)
                return text;
            text.len -= 2;
        } else {
            return text;
        }
    }
}

static enum err write_block(struct message_writer *m, const struct message *message,
                            const struct block *b, bool last)
{
    if (b->dot) {
        write_text(m, SPAN("."), SPAN_NONE);
        return OK;
    }
    if (b->no_result)
        return write_result(m, message, b);
    if (!last || !is_text(b->part))
        return write_part(m, message, b);
    /* the API refuses a prefill that ends in white space */
    struct span text = trim_end(b->part->text);
    if (!text.len)
        return refuse_part(m, message, ERROR_INVALID_VALUE,
                           "The last assistant message holds nothing but white space.");
    write_text(m, text, b->part->cache_json);
    return OK;
}

enum err anthropic_write_messages(struct conversion *pc, const struct conversation *c,
                                  struct json_writer *w, struct marks *marks,
                                  struct api_error *fault_out)
{
    struct message_writer m = {.pc = pc, .w = w, .marks = marks, .fault = fault_out};
    enum err e = OK;
    jw_array(w);
    for (size_t i = 0; !e && i < c->count; i++) {
        const struct message *message = &c->messages[i];
        bool prefill = message->assistant && i + 1 == c->count;
        jw_object(w);
        jw_key(w, "role");
        jw_str(w, message->assistant ? "assistant" : "user");
        jw_key(w, "content");
        jw_array(w);
        for (size_t k = 0; !e && k < message->count; k++)
            e = write_block(&m, message, &message->blocks[k], prefill && k + 1 == message->count);
        jw_array_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
    return e;
}
