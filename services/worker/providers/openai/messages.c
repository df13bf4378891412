/* Neutral turns → OpenAI chat messages (docs/wire.md, Messages). */
#include "services/worker/providers/openai/openai.h"

#include "common/base/crypto.h"

enum { MAX_TOOL_ID = 40 };

/* gpt-5.6 and later have explicit cache breakpoints; others drop the mark. */
static bool knows_cache_marks(const struct conversion *pc)
{
    return pc->compat.is_openai && span_starts(pc->target_model, "gpt-5.") &&
           pc->target_model.len > 6 && pc->target_model.data[6] >= '6' &&
           pc->target_model.data[6] <= '9';
}

/* ---- system ---- */

static bool is_text(const struct part *p)
{
    return p->kind == PART_TEXT || p->kind == PART_REFUSAL;
}

static bool any_mark(const struct part_list *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->items[i].cache_json.len)
            return true;
    }
    return false;
}

/* The texts in one string, a separator (json text) between them. */
static void write_joined(struct openai_writer *m, const struct part_list *parts,
                         struct span separator)
{
    bool first = true;
    jw_string_begin(m->w);
    for (size_t i = 0; i < parts->count; i++) {
        if (!is_text(&parts->items[i]))
            continue;
        if (!first)
            jw_string_text(m->w, separator);
        jw_string_text(m->w, parts->items[i].text);
        first = false;
    }
    jw_string_end(m->w);
}

static void write_system(struct openai_writer *m, const struct part_list *parts)
{
    if (parts->count == 0)
        return;
    jw_object(m->w);
    jw_key(m->w, "role");
    jw_str(m->w, "system");
    jw_key(m->w, "content");
    if (m->marks && any_mark(parts)) {
        jw_array(m->w);
        for (size_t i = 0; i < parts->count; i++)
            openai_write_text_part(m, &parts->items[i]);
        jw_array_end(m->w);
    } else {
        for (size_t i = 0; i < parts->count; i++)
            openai_write_mark(
                m, &(struct part){.cache_json = m->marks ? SPAN_NONE : parts->items[i].cache_json});
        write_joined(m, parts, SPAN("\\n\\n"));
    }
    jw_object_end(m->w);
}

/* ---- tool results ---- */

/* OpenAI takes ids of 40 characters at most: a longer one becomes a hash, the same in the call
 * and its result. */
static void write_tool_id(struct openai_writer *m, struct span id_text)
{
    if (id_text.len <= MAX_TOOL_ID) {
        jw_text(m->w, id_text);
        return;
    }
    uint8_t hash[SHA256_BYTES];
    char text[5 + 2 * 16 + 1] = "call_";
    crypto_sha256(id_text, hash);
    crypto_hex(hash, 16, text + 5);
    jw_str(m->w, text);
}

static bool goes_to_user(const struct part *p)
{
    return p->kind == PART_IMAGE || (p->kind == PART_DOCUMENT && p->data_text.len);
}

/* Tool messages hold text only: a picture leaves a word and follows in the user message. */
static enum err write_result_part(struct openai_writer *m, const struct turn *turn,
                                  const struct part *p)
{
    switch (p->kind) {
    case PART_TEXT:
    case PART_REFUSAL:
        jw_string_text(m->w, p->text);
        return OK;
    case PART_IMAGE:
        jw_string_text(m->w, SPAN("[image]"));
        return OK;
    case PART_DOCUMENT:
        if (p->url_text.len)
            return openai_unsupported(
                m, turn, "Documents by URL are not supported by this model; send the data.");
        if (p->data_text.len)
            jw_string_text(m->w, SPAN("[document]"));
        else
            openai_write_as_text(m, p);
        return OK;
    case PART_SEARCH:
        openai_write_as_text(m, p);
        return OK;
    case PART_OPAQUE:
        jw_string_part(m->w, p->raw_json);
        return OK;
    case PART_TOOL_CALL:
    case PART_TOOL_RESULT:
    case PART_THINKING:
    case PART_REDACTED:
        return OK;
    }
    return OK;
}

static enum err write_tool_result(struct openai_writer *m, const struct turn *turn,
                                  const struct part *p)
{
    enum err e = OK;
    jw_object(m->w);
    jw_key(m->w, "role");
    jw_str(m->w, "tool");
    jw_key(m->w, "tool_call_id");
    write_tool_id(m, p->id_text);
    jw_key(m->w, "content");
    jw_string_begin(m->w);
    if (p->is_error)
        jw_string_text(m->w, SPAN("Error: "));
    for (size_t i = 0; !e && p->parts && i < p->parts->count; i++)
        e = write_result_part(m, turn, &p->parts->items[i]);
    jw_string_end(m->w);
    jw_object_end(m->w);
    if (p->cache_json.len)
        neutral_drop(m->pc->request, "cache_control");
    return e;
}

/* ---- turns ---- */

struct counts {
    size_t results, moved, rest;
};

static struct counts count_parts(const struct turn *turn)
{
    struct counts n = {0};
    for (size_t i = 0; i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        if (p->kind != PART_TOOL_RESULT) {
            n.rest++;
            continue;
        }
        n.results++;
        for (size_t k = 0; p->parts && k < p->parts->count; k++)
            n.moved += goes_to_user(&p->parts->items[k]);
    }
    return n;
}

static enum err write_user_parts(struct openai_writer *m, const struct turn *turn)
{
    enum err e = OK;
    jw_array(m->w);
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        if (p->kind != PART_TOOL_RESULT)
            continue;
        for (size_t k = 0; !e && p->parts && k < p->parts->count; k++) {
            if (goes_to_user(&p->parts->items[k]))
                e = openai_write_user_part(m, turn, &p->parts->items[k]);
        }
    }
    for (size_t i = 0; !e && i < turn->parts.count; i++)
        e = openai_write_user_part(m, turn, &turn->parts.items[i]);
    jw_array_end(m->w);
    return e;
}

/* Results right behind their calls, then everything else in its order. */
static enum err write_user(struct openai_writer *m, const struct turn *turn)
{
    struct counts n = count_parts(turn);
    enum err e = OK;
    for (size_t i = 0; !e && i < turn->parts.count; i++) {
        if (turn->parts.items[i].kind == PART_TOOL_RESULT)
            e = write_tool_result(m, turn, &turn->parts.items[i]);
    }
    if (e || n.rest + n.moved == 0)
        return e;
    jw_object(m->w);
    jw_key(m->w, "role");
    jw_str(m->w, "user");
    jw_key(m->w, "content");
    const struct part *only = NULL;
    for (size_t i = 0; n.rest == 1 && n.moved == 0 && i < turn->parts.count; i++) {
        if (turn->parts.items[i].kind == PART_TEXT)
            only = &turn->parts.items[i];
    }
    if (only && !(m->marks && only->cache_json.len)) {
        openai_write_mark(m, &(struct part){.cache_json = only->cache_json});
        jw_text(m->w, only->text);
    } else {
        e = write_user_parts(m, turn);
    }
    jw_object_end(m->w);
    return e;
}

static void write_arguments(struct openai_writer *m, const struct part *p)
{
    struct buf compact = {0};
    if (p->args_json.len == 0) {
        jw_text(m->w, p->args_text);
        return;
    }
    if (json_parse(m->pc->doc, p->args_json, JSON_DEPTH_MAX) == OK)
        json_append_compact(&compact, json_root(m->pc->doc));
    jw_string(m->w, compact.len ? buf_span(&compact) : p->args_json);
    m->w->out->failed |= compact.failed;
    buf_free(&compact);
}

static void write_calls(struct openai_writer *m, const struct turn *turn)
{
    jw_key(m->w, "tool_calls");
    jw_array(m->w);
    for (size_t i = 0; i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        if (p->kind != PART_TOOL_CALL)
            continue;
        jw_object(m->w);
        jw_key(m->w, "id");
        write_tool_id(m, p->id_text);
        jw_key(m->w, "type");
        jw_str(m->w, "function");
        jw_key(m->w, "function");
        jw_object(m->w);
        jw_key(m->w, "name");
        jw_text(m->w, p->name_text);
        jw_key(m->w, "arguments");
        write_arguments(m, p);
        jw_object_end(m->w);
        jw_object_end(m->w);
    }
    jw_array_end(m->w);
}

static void write_reasoning(struct openai_writer *m, const struct turn *turn)
{
    bool any = false;
    for (size_t i = 0; i < turn->parts.count; i++)
        any |= turn->parts.items[i].kind == PART_THINKING && turn->parts.items[i].text.len;
    if (!any || !m->pc->compat.echo_reasoning)
        return;
    jw_key(m->w, "reasoning_content");
    jw_string_begin(m->w);
    for (size_t i = 0; i < turn->parts.count; i++) {
        if (turn->parts.items[i].kind == PART_THINKING)
            jw_string_text(m->w, turn->parts.items[i].text);
    }
    jw_string_end(m->w);
}

/* Thinking and blocks of server tools are nothing OpenAI knows: they stay away from its history. */
static void write_assistant(struct openai_writer *m, const struct turn *turn)
{
    size_t texts = 0, calls = 0;
    for (size_t i = 0; i < turn->parts.count; i++) {
        const struct part *p = &turn->parts.items[i];
        texts += is_text(p);
        calls += p->kind == PART_TOOL_CALL;
        openai_write_mark(m, &(struct part){.cache_json = m->marks ? SPAN_NONE : p->cache_json});
    }
    if (texts + calls == 0)
        return;
    jw_object(m->w);
    jw_key(m->w, "role");
    jw_str(m->w, "assistant");
    jw_key(m->w, "content");
    if (texts)
        write_joined(m, &turn->parts, SPAN_NONE);
    else
        jw_null(m->w);
    write_reasoning(m, turn);
    if (calls)
        write_calls(m, turn);
    jw_object_end(m->w);
}

static bool is_system(const struct turn *turn)
{
    return turn->role == ROLE_SYSTEM || turn->role == ROLE_DEVELOPER;
}

/* The request's system and all of its system turns as one. */
static void write_systems(struct openai_writer *m)
{
    const struct neutral_request *r = m->pc->request;
    struct part_list all = {0};
    size_t count = r->system.count;
    for (size_t i = 0; i < r->turn_count; i++)
        count += is_system(&r->turns[i]) ? r->turns[i].parts.count : 0;
    all.items = ARENA_ARRAY(m->pc->arena, struct part, count);
    if (!all.items) {
        m->w->out->failed = true;
        return;
    }
    for (size_t i = 0; i < r->system.count; i++)
        all.items[all.count++] = r->system.items[i];
    for (size_t i = 0; i < r->turn_count; i++) {
        const struct part_list *parts = &r->turns[i].parts;
        for (size_t k = 0; is_system(&r->turns[i]) && k < parts->count; k++)
            all.items[all.count++] = parts->items[k];
    }
    write_system(m, &all);
}

enum err openai_write_messages(struct conversion *pc, struct json_writer *w,
                               struct api_error *fault_out)
{
    struct openai_writer m = {.pc = pc, .w = w, .fault = fault_out, .marks = knows_cache_marks(pc)};
    const struct neutral_request *r = pc->request;
    enum err e = OK;
    jw_array(w);
    bool hoisted = pc->compat.system_first;
    if (hoisted)
        write_systems(&m);
    else
        write_system(&m, &r->system);
    for (size_t i = 0; !e && i < r->turn_count; i++) {
        const struct turn *turn = &r->turns[i];
        if (is_system(turn) && hoisted)
            continue;
        if (is_system(turn))
            write_system(&m, &turn->parts);
        else if (turn->role == ROLE_ASSISTANT)
            write_assistant(&m, turn);
        else
            e = write_user(&m, turn);
    }
    jw_array_end(w);
    return e;
}
