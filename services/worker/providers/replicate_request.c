/* Neutral request → a prediction's input: only members that the model's schema has (WIRE 17.1). */
#include "services/worker/providers/replicate.h"

#include <math.h>

#include "services/worker/fault.h"

enum { MAX_DATA_URL = 256 << 10, SMALL_DEFAULT = 512, ENOUGH = 4096 };

struct builder {
    struct provider_call *pc;
    struct neutral_request *r;
    struct replicate_state *s;
    struct json schemas, properties;
    struct json_writer w;
    struct fault *fault;
    struct replicate_talk talk;
};

static enum err refuse(struct builder *b, unsigned error_class, const char *message,
                       const char *param)
{
    fault_set(b->fault, error_class, message, param);
    return ERR_INVALID;
}

static struct json property(const struct builder *b, const char *name)
{
    return json_get(b->properties, name);
}

static bool has(const struct builder *b, const char *name)
{
    return json_type(property(b, name)) == JSON_OBJECT;
}

static const char *first_of(const struct builder *b, const char *const *names)
{
    for (; *names; names++) {
        if (has(b, *names))
            return *names;
    }
    return NULL;
}

/* ---- numbers ---- */

/* The number moved into minimum..maximum, whole where the schema says integer; its own digits if it
 * fits as it is. */
static void write_clamped(struct builder *b, const char *name, double value, struct span own)
{
    struct json p = property(b, name), minimum = json_get(p, "minimum"),
                maximum = json_get(p, "maximum");
    double bound;
    jw_key(&b->w, name);
    if (json_double(minimum, &bound) && value < bound)
        jw_value(&b->w, minimum);
    else if (json_double(maximum, &bound) && value > bound)
        jw_value(&b->w, maximum);
    else if (json_is(json_get(p, "type"), "integer") && fabs(value) < 9e18)
        jw_i64(&b->w, (int64_t)llround(value));
    else if (own.len)
        jw_raw(&b->w, own);
    else
        jw_double(&b->w, value);
}

static void write_number(struct builder *b, const char *name, struct span json)
{
    double value;
    struct json_doc doc = {0};
    if (!json.len)
        return;
    if (has(b, name) && !json_parse(&doc, json, 2) && json_double(json_root(&doc), &value))
        write_clamped(b, name, value, json);
    else
        neutral_drop(b->r, name);
    json_doc_free(&doc);
}

static void write_sampling(struct builder *b)
{
    write_number(b, "temperature", b->r->temperature_json);
    write_number(b, "top_p", b->r->top_p_json);
    write_number(b, "top_k", b->r->top_k_json);
    write_number(b, "presence_penalty", b->r->presence_penalty_json);
    write_number(b, "frequency_penalty", b->r->frequency_penalty_json);
    write_number(b, "seed", b->r->seed_json);
}

static void write_max_out(struct builder *b)
{
    static const char *const names[] = {"max_completion_tokens", "max_output_tokens", "max_tokens",
                                        "max_new_tokens",        "max_length",        NULL};
    const char *name = first_of(b, names);
    double standard, wanted = (double)b->r->max_out;
    if (!name) {
        if (b->r->has_max_out)
            neutral_drop(b->r, "max_tokens");
        return;
    }
    bool small =
        json_double(json_get(property(b, name), "default"), &standard) && standard <= SMALL_DEFAULT;
    if (!b->r->has_max_out && !small)
        return;
    if (!b->r->has_max_out)
        wanted = ENOUGH;
    struct json maximum = json_get(property(b, name), "maximum");
    double most;
    if (json_double(maximum, &most) && wanted > most)
        wanted = most;
    b->s->asked_max = (int64_t)wanted;
    write_clamped(b, name, wanted, SPAN_NONE);
}

/* ---- words ---- */

/* The enumeration of a property: its own, or of the schema it refers to. */
static struct json words_of(const struct builder *b, struct json p)
{
    struct json list = json_get(p, "enum");
    struct json refs = json_get(p, "allOf");
    struct span ref =
        json_text(json_get(json_type(refs) == JSON_ARRAY ? json_at(refs, 0) : p, "$ref"));
    if (json_type(list) == JSON_ARRAY || !span_starts(ref, "#/components/schemas/"))
        return list;
    char name[128];
    ref = span_skip(ref, strlen("#/components/schemas/"));
    if (ref.len >= sizeof name)
        return JSON_NOTHING;
    memcpy(name, ref.data, ref.len);
    name[ref.len] = '\0';
    return json_get(json_get(b->schemas, name), "enum");
}

static bool allows(struct json words, struct span word)
{
    if (json_type(words) != JSON_ARRAY)
        return true;
    for (struct json_iter i = json_iter(words); json_next(&i);) {
        if (span_equals(json_text(i.value), word))
            return true;
    }
    return false;
}

static struct span wanted_effort(const struct neutral_request *r)
{
    if (r->effort_text.len)
        return r->effort_text;
    if (r->thinking == THINKING_OFF)
        return SPAN("none");
    if (r->thinking != THINKING_BUDGET)
        return SPAN_NONE;
    return r->thinking_budget < 4096    ? SPAN("low")
           : r->thinking_budget < 16384 ? SPAN("medium")
                                        : SPAN("high");
}

static int64_t wanted_budget(const struct neutral_request *r, struct span effort)
{
    if (r->thinking == THINKING_BUDGET)
        return r->thinking_budget;
    if (span_is(effort, "minimal") || span_is(effort, "low"))
        return 1024;
    return span_is(effort, "medium") ? 4096 : span_is(effort, "high") ? 16384 : 32000;
}

static void write_effort(struct builder *b)
{
    static const char *const names[] = {"reasoning_effort", "thinking_level", NULL};
    struct span effort = wanted_effort(b->r);
    const char *name = first_of(b, names);
    bool none = span_is(effort, "none");
    if (!effort.len)
        return;
    if (name && allows(words_of(b, property(b, name)), effort)) {
        jw_key(&b->w, name);
        jw_text(&b->w, effort);
    } else if (has(b, "extended_thinking")) {
        jw_key(&b->w, "extended_thinking");
        jw_bool(&b->w, !none);
        if (!none && has(b, "thinking_budget_tokens"))
            write_clamped(b, "thinking_budget_tokens", (double)wanted_budget(b->r, effort),
                          SPAN_NONE);
    } else if (!none) {
        neutral_drop(b->r, api_is_anthropic(b->r->api) ? "thinking" : "reasoning_effort");
    }
}

/* ---- stop sequences ---- */

static bool has_comma(struct span text)
{
    struct buf bytes = {0};
    json_text_decode(text, &bytes);
    bool comma = bytes.len && memchr(bytes.data, ',', bytes.len);
    buf_free(&bytes);
    return comma;
}

/* What can't be sent is enforced on the answer (H115). */
static enum err enforce(struct builder *b, struct span stop)
{
    struct stop_filter *f = &b->s->out.filter;
    enum err e = f->stops ? OK : stop_filter_init(f, b->pc->arena, b->r->stop_count);
    return e ? e : stop_filter_add(f, stop);
}

static enum err write_stop_string(struct builder *b, const char *name)
{
    enum err e = OK;
    size_t sent = 0;
    for (size_t i = 0; !e && i < b->r->stop_count; i++) {
        struct span stop = b->r->stop_text[i];
        if (has_comma(stop)) {
            e = enforce(b, stop);
            continue;
        }
        if (!stop.len)
            continue;
        if (sent == 0) {
            jw_key(&b->w, name);
            jw_string_begin(&b->w);
        } else {
            jw_string_text(&b->w, SPAN(","));
        }
        jw_string_text(&b->w, stop);
        sent++;
    }
    if (sent)
        jw_string_end(&b->w);
    return e;
}

static enum err write_stop(struct builder *b)
{
    static const char *const names[] = {"stop_sequences", "stop", NULL};
    const char *name = first_of(b, names);
    enum err e = OK;
    if (b->r->stop_count == 0)
        return OK;
    if (name && json_is(json_get(property(b, name), "type"), "array")) {
        jw_key(&b->w, name);
        jw_array(&b->w);
        for (size_t i = 0; i < b->r->stop_count; i++)
            jw_text(&b->w, b->r->stop_text[i]);
        jw_array_end(&b->w);
    } else if (name) {
        e = write_stop_string(b, name);
    } else {
        for (size_t i = 0; !e && i < b->r->stop_count; i++)
            e = enforce(b, b->r->stop_text[i]);
    }
    return e ? refuse(b, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.", NULL)
             : OK;
}

/* ---- images ---- */

static void write_image(struct builder *b, const struct part *p)
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

static enum err write_images(struct builder *b)
{
    static const char *const names[] = {"image", "images", "image_input", "input_images", NULL};
    const char *name = first_of(b, names);
    if (b->talk.image_count == 0)
        return OK;
    if (!name)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model takes no images.", "messages");
    bool list = json_is(json_get(property(b, name), "type"), "array");
    if (!list && b->talk.image_count > 1)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model takes one image only.",
                      "messages");
    for (size_t i = 0; i < b->talk.image_count; i++) {
        if (b->talk.images[i]->data_text.len > MAX_DATA_URL)
            return refuse(b, ERROR_INVALID_VALUE,
                          "Images for this model must be at most 256 kB, or URLs.", "messages");
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
static enum err add_format_text(struct builder *b)
{
    struct arena_text *system = &b->talk.system;
    struct arena *arena = b->pc->arena;
    if (b->r->format == FORMAT_TEXT || has(b, "json_schema") || has(b, "response_format"))
        return OK;
    bool ok = system->len == 0 || arena_text_append(system, arena, SPAN("\n\n"));
    ok = ok &&
         arena_text_append(system, arena, SPAN("Answer with one JSON object only, no other text."));
    if (ok && b->r->format == FORMAT_SCHEMA)
        ok = arena_text_append(system, arena, SPAN(" It must follow this JSON schema: ")) &&
             arena_text_append(system, arena, b->r->format_schema_json);
    return ok ? OK
              : refuse(b, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.", NULL);
}

/* By the member's own type: an object, or its text. */
static void write_format_member(struct builder *b, const char *name, struct span json)
{
    jw_key(&b->w, name);
    if (json_is(json_get(property(b, name), "type"), "string"))
        jw_string(&b->w, json);
    else
        jw_raw(&b->w, json);
}

static void write_format(struct builder *b)
{
    struct buf text = {0};
    struct json_writer w = {.out = &text};
    if (b->r->format == FORMAT_SCHEMA && has(b, "json_schema")) {
        write_format_member(b, "json_schema", b->r->format_schema_json);
    } else if (b->r->format != FORMAT_TEXT && has(b, "response_format")) {
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

static const char *system_member(const struct builder *b)
{
    static const char *const names[] = {"system_prompt", "system_instruction", "system", NULL};
    return first_of(b, names);
}

static void write_system(struct builder *b)
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

static void write_message(struct builder *b, const char *role, struct span text)
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

static void write_messages(struct builder *b)
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

static void write_prompt(struct builder *b)
{
    struct replicate_prompt p;
    if (json_is(json_get(property(b, "messages"), "type"), "array")) {
        write_messages(b);
        return;
    }
    replicate_write_prompt(b->pc, &b->talk, system_member(b) != NULL, has(b, "prompt_template"),
                           &p);
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

static enum err check(struct builder *b)
{
    if (b->r->n > 1)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model gives one choice only.", "n");
    if (b->r->logprobs)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model gives no logprobs.", "logprobs");
    if (b->r->tool_count)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model knows no tools.", "tools");
    return OK;
}

static void drop_rest(struct builder *b)
{
    const struct {
        struct span value;
        const char *name;
    } unknown[] = {{b->r->user_text, api_is_anthropic(b->r->api) ? "metadata" : "user"},
                   {b->r->service_tier_text, "service_tier"},
                   {b->r->cache_json, "cache_control"}};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        if (unknown[i].value.len)
            neutral_drop(b->r, unknown[i].name);
    }
    for (size_t i = 0; i < b->r->extra_count; i++)
        neutral_drop(b->r, b->r->extras[i].name);
}

static enum err write_input(struct builder *b)
{
    jw_key(&b->w, "input");
    jw_object(&b->w);
    write_prompt(b);
    enum err e = write_images(b);
    if (!e)
        e = write_stop(b);
    write_max_out(b);
    write_sampling(b);
    write_effort(b);
    write_format(b);
    drop_rest(b);
    jw_object_end(&b->w);
    return e;
}

enum err replicate_write_body(struct provider_call *pc, struct replicate_state *s, struct buf *out,
                              struct fault *fault_out)
{
    struct json_doc doc = {0};
    struct builder b = {.pc = pc, .r = pc->request, .s = s, .w = {.out = out}, .fault = fault_out};
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
