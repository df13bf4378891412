/* The parts of a user's message, as OpenAI takes them (docs/wire.md, Media). */
#include "services/worker/providers/openai/openai.h"

enum err openai_unsupported(struct openai_writer *m, const struct turn *turn, const char *what)
{
    api_error_set(m->fault, ERROR_UNSUPPORTED_PARAMETER, what, NULL);
    if (turn)
        m->fault->param = arena_printf(m->pc->arena, "%s[%u].content",
                                       neutral_turns_name(m->pc->request), turn->index);
    return ERR_INVALID;
}

void openai_write_mark(struct openai_writer *m, const struct part *p)
{
    if (!p->cache_json.len)
        return;
    if (!m->marks) {
        neutral_drop(m->pc->request, "cache_control");
        return;
    }
    jw_key(m->w, "prompt_cache_breakpoint");
    jw_raw(m->w, SPAN("{\"mode\":\"explicit\"}"));
}

void openai_write_text_part(struct openai_writer *m, const struct part *p)
{
    jw_object(m->w);
    jw_key(m->w, "type");
    jw_str(m->w, "text");
    jw_key(m->w, "text");
    jw_text(m->w, p->text);
    openai_write_mark(m, p);
    jw_object_end(m->w);
}

static void write_data_url(struct openai_writer *m, const struct part *p)
{
    jw_string_begin(m->w);
    jw_string_text(m->w, SPAN("data:"));
    jw_string_text(m->w, p->media_type_text);
    jw_string_text(m->w, SPAN(";base64,"));
    jw_string_text(m->w, p->data_text);
    jw_string_end(m->w);
}

static void write_image(struct openai_writer *m, const struct part *p)
{
    jw_object(m->w);
    jw_key(m->w, "type");
    jw_str(m->w, "image_url");
    jw_key(m->w, "image_url");
    jw_object(m->w);
    jw_key(m->w, "url");
    if (p->url_text.len)
        jw_text(m->w, p->url_text);
    else
        write_data_url(m, p);
    if (p->detail_text.len) {
        jw_key(m->w, "detail");
        jw_text(m->w, p->detail_text);
    }
    jw_object_end(m->w);
    openai_write_mark(m, p);
    jw_object_end(m->w);
}

static void write_file(struct openai_writer *m, const struct part *p)
{
    jw_object(m->w);
    jw_key(m->w, "type");
    jw_str(m->w, "file");
    jw_key(m->w, "file");
    jw_object(m->w);
    jw_key(m->w, "filename");
    jw_text(m->w, p->title_text.len ? p->title_text : SPAN("document.pdf"));
    jw_key(m->w, "file_data");
    write_data_url(m, p);
    jw_object_end(m->w);
    openai_write_mark(m, p);
    jw_object_end(m->w);
}

/* A document or a search result as text: what it is called and where it is from as lines in front.
 */
void openai_write_as_text(struct openai_writer *m, const struct part *p)
{
    const struct span lines[] = {p->title_text,
                                 p->kind == PART_SEARCH ? p->url_text : p->context_text};
    for (size_t i = 0; i < 2; i++) {
        if (!lines[i].len)
            continue;
        jw_string_text(m->w, lines[i]);
        jw_string_text(m->w, SPAN("\\n"));
    }
    jw_string_text(m->w, p->text);
}

static void write_text_document(struct openai_writer *m, const struct part *p)
{
    jw_object(m->w);
    jw_key(m->w, "type");
    jw_str(m->w, "text");
    jw_key(m->w, "text");
    jw_string_begin(m->w);
    openai_write_as_text(m, p);
    jw_string_end(m->w);
    openai_write_mark(m, p);
    jw_object_end(m->w);
}

static enum err write_document(struct openai_writer *m, const struct turn *turn,
                               const struct part *p)
{
    if (p->url_text.len)
        return openai_unsupported(
            m, turn, "Documents by URL are not supported by this model; send the data.");
    if (!p->data_text.len) {
        write_text_document(m, p);
        return OK;
    }
    if (!m->pc->compat.is_openai)
        return openai_unsupported(m, turn, "Documents are not supported by this model's provider.");
    write_file(m, p);
    return OK;
}

enum err openai_write_user_part(struct openai_writer *m, const struct turn *turn,
                                const struct part *p)
{
    switch (p->kind) {
    case PART_TEXT:
    case PART_REFUSAL:
        openai_write_text_part(m, p);
        return OK;
    case PART_IMAGE:
        write_image(m, p);
        return OK;
    case PART_DOCUMENT:
        return write_document(m, turn, p);
    case PART_SEARCH:
        write_text_document(m, p);
        return OK;
    case PART_OPAQUE:
        return openai_unsupported(
            m, turn, "This kind of content is not supported by this model's provider.");
    case PART_TOOL_CALL:
    case PART_TOOL_RESULT:
    case PART_THINKING:
    case PART_REDACTED:
        return OK;
    }
    return OK;
}
