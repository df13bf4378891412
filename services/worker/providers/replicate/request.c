/* Neutral request → a prediction's input: only members that the model's schema has (docs/wire.md,
 * Replicate). */
#include "services/worker/providers/replicate/replicate.h"

enum { MAX_DATA_URL = 256 << 10 };

/* ---- images ---- */

static void write_image(struct replicate_builder *b, const struct part *p)
{
    if (p->url_text.len) {
        jw_text(&b->w, p->url_text);
        return;
    }
    jw_string_begin(&b->w);
    jw_string_text(&b->w, SPAN("data:"));
    jw_string_text(&b->w, p->media_type_text);
    jw_string_text(&b->w, SPAN(";base64,"));
    jw_string_text(&b->w, p->data_text);
    jw_string_end(&b->w);
}

static enum err write_images(struct replicate_builder *b)
{
    static const char *const names[] = {"image", "images", "image_input", "input_images", NULL};
    const char *name = replicate_first_of(b, names);
    if (b->talk.image_count == 0)
        return OK;
    if (!name)
        return replicate_refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model takes no images.",
                                "messages");
    bool list = json_is(json_get(replicate_property(b, name), "type"), "array");
    if (!list && b->talk.image_count > 1)
        return replicate_refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model takes one image only.",
                                "messages");
    for (size_t i = 0; i < b->talk.image_count; i++) {
        if (b->talk.images[i]->data_text.len > MAX_DATA_URL)
            return replicate_refuse(b, ERROR_INVALID_VALUE,
                                    "Images for this model must be at most 256 kB, or URLs.",
                                    "messages");
    }
    jw_key(&b->w, name);
    if (list)
        jw_array(&b->w);
    for (size_t i = 0; i < b->talk.image_count; i++)
        write_image(b, b->talk.images[i]);
    if (list)
        jw_array_end(&b->w);
    return OK;
}

/* ---- prompt ---- */

/* Formats the model has no member for are asked for in words. */
static enum err add_format_text(struct replicate_builder *b)
{
    struct arena_text *system = &b->talk.system;
    struct arena *arena = b->pc->arena;
    if (b->r->format == FORMAT_TEXT || replicate_has(b, "json_schema") ||
        replicate_has(b, "response_format"))
        return OK;
    bool ok = system->len == 0 || arena_text_append(system, arena, SPAN("\n\n"));
    ok = ok &&
         arena_text_append(system, arena, SPAN("Answer with one JSON object only, no other text."));
    if (ok && b->r->format == FORMAT_SCHEMA)
        ok = arena_text_append(system, arena, SPAN(" It must follow this JSON schema: ")) &&
             arena_text_append(system, arena, b->r->format_schema_json);
    return ok ? OK
              : replicate_refuse(b, ERROR_REQUEST_TOO_LARGE,
                                 "The request is too large to translate.", NULL);
}

/* By the member's own type: an object, or its text. */
static void write_format_member(struct replicate_builder *b, const char *name, struct span json)
{
    jw_key(&b->w, name);
    if (json_is(json_get(replicate_property(b, name), "type"), "string"))
        jw_string(&b->w, json);
    else
        jw_raw(&b->w, json);
}

static void write_format(struct replicate_builder *b)
{
    struct buf text = {0};
    struct json_writer w = {.out = &text};
    if (b->r->format == FORMAT_SCHEMA && replicate_has(b, "json_schema")) {
        write_format_member(b, "json_schema", b->r->format_schema_json);
    } else if (b->r->format != FORMAT_TEXT && replicate_has(b, "response_format")) {
        jw_object(&w);
        jw_key(&w, "type");
        jw_str(&w, b->r->format == FORMAT_JSON ? "json_object" : "json_schema");
        if (b->r->format == FORMAT_SCHEMA) {
            jw_key(&w, "json_schema");
            jw_object(&w);
            jw_key(&w, "name");
            jw_text(&w, b->r->format_name_text.len ? b->r->format_name_text : SPAN("output"));
            jw_key(&w, "schema");
            jw_raw(&w, b->r->format_schema_json);
            jw_object_end(&w);
        }
        jw_object_end(&w);
        write_format_member(b, "response_format", buf_span(&text));
    }
    buf_free(&text);
}

static const char *system_member(const struct replicate_builder *b)
{
    static const char *const names[] = {"system_prompt", "system_instruction", "system", NULL};
    return replicate_first_of(b, names);
}

static void write_system(struct replicate_builder *b)
{
    struct buf clean = {0};
    const char *name = system_member(b);
    replicate_append_clean(&clean, b->pc->target_model, arena_text_span(&b->talk.system));
    if (name && clean.len) {
        jw_key(&b->w, name);
        jw_string(&b->w, buf_span(&clean));
    }
    buf_free(&clean);
}

static void write_message(struct replicate_builder *b, const char *role, struct span text)
{
    struct buf clean = {0};
    replicate_append_clean(&clean, b->pc->target_model, text);
    jw_object(&b->w);
    jw_key(&b->w, "role");
    jw_str(&b->w, role);
    jw_key(&b->w, "content");
    jw_string(&b->w, buf_span(&clean));
    jw_object_end(&b->w);
    buf_free(&clean);
}

static void write_messages(struct replicate_builder *b)
{
    jw_key(&b->w, "messages");
    jw_array(&b->w);
    if (b->talk.system.len && !system_member(b))
        write_message(b, "system", arena_text_span(&b->talk.system));
    for (size_t i = 0; i < b->talk.count; i++)
        write_message(b, b->talk.turns[i].assistant ? "assistant" : "user",
                      arena_text_span(&b->talk.turns[i].text));
    jw_array_end(&b->w);
    write_system(b);
}

static void write_prompt(struct replicate_builder *b)
{
    struct replicate_prompt p;
    if (json_is(json_get(replicate_property(b, "messages"), "type"), "array")) {
        write_messages(b);
        return;
    }
    replicate_write_prompt(b->pc, &b->talk, system_member(b) != NULL,
                           replicate_has(b, "prompt_template"), &p);
    jw_key(&b->w, "prompt");
    jw_string(&b->w, buf_span(&p.prompt));
    b->w.out->failed |= p.prompt.failed;
    if (!p.system_inside)
        write_system(b);
    if (p.templated) {
        jw_key(&b->w, "prompt_template");
        jw_str(&b->w, "{prompt}");
    }
    buf_free(&p.prompt);
}

/* ---- the whole ---- */

static enum err check(struct replicate_builder *b)
{
    if (b->r->n > 1)
        return replicate_refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model gives one choice only.",
                                "n");
    if (b->r->logprobs)
        return replicate_refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model gives no logprobs.",
                                "logprobs");
    if (b->r->tool_count)
        return replicate_refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model knows no tools.",
                                b->r->legacy_functions ? "functions" : "tools");
    return OK;
}

static bool has_mark(const struct part_list *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->items[i].cache_json.len)
            return true;
    }
    return false;
}

static bool has_marks(const struct neutral_request *r)
{
    bool found = r->cache_json.len || has_mark(&r->system);
    for (size_t i = 0; i < r->turn_count && !found; i++)
        found = has_mark(&r->turns[i].parts);
    return found;
}

static void drop_rest(struct replicate_builder *b)
{
    const struct {
        struct span value;
        const char *name;
    } unknown[] = {{b->r->user_text, api_is_anthropic(b->r->api) ? "metadata" : "user"},
                   {b->r->service_tier_text, "service_tier"}};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        if (unknown[i].value.len)
            neutral_drop(b->r, unknown[i].name);
    }
    if (has_marks(b->r))
        neutral_drop(b->r, "cache_control");
    for (size_t i = 0; i < b->r->extra_count; i++)
        neutral_drop(b->r, b->r->extras[i].name);
}

static enum err write_input(struct replicate_builder *b)
{
    jw_key(&b->w, "input");
    jw_object(&b->w);
    write_prompt(b);
    enum err e = write_images(b);
    if (!e)
        e = replicate_write_stop(b);
    replicate_write_max_out(b);
    replicate_write_sampling(b);
    replicate_write_effort(b);
    write_format(b);
    drop_rest(b);
    jw_object_end(&b->w);
    return e;
}

enum err replicate_write_body(struct conversion *pc, struct replicate_state *s, struct buf *out,
                              struct api_error *fault_out)
{
    struct json_doc doc = {0};
    struct replicate_builder b = {
        .pc = pc, .r = pc->request, .s = s, .w = {.out = out}, .fault = fault_out};
    if (json_parse(&doc, s->schemas, JSON_DEPTH_UPSTREAM) == OK)
        b.schemas = json_root(&doc);
    b.properties = json_get(json_get(b.schemas, "Input"), "properties");
    enum err e = check(&b);
    if (!e)
        e = replicate_read_talk(pc, &b.talk, fault_out);
    if (!e)
        e = add_format_text(&b);
    if (!e) {
        jw_object(&b.w);
        if (s->version.len) {
            jw_key(&b.w, "version");
            jw_string(&b.w, s->version);
        }
        e = write_input(&b);
        jw_object_end(&b.w);
    }
    json_doc_free(&doc);
    return e;
}
