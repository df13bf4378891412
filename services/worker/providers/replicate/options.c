/* Numbers, effort and stop sequences of a prediction's input (docs/wire.md, Replicate). */
#include "services/worker/providers/replicate/replicate.h"

#include <math.h>

#include "services/worker/providers/effort.h"

/* A model's own maximum up to the first is too little for a chat: the second is asked for then. */
static const double small_default = 512, enough = 4096;

/* The number moved into minimum..maximum, whole where the schema says integer; its own digits if it
 * fits as it is. */
static void write_clamped(struct replicate_builder *b, const char *name, double value,
                          struct span own)
{
    struct json p = replicate_property(b, name), minimum = json_get(p, "minimum"),
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

static void write_number(struct replicate_builder *b, const char *name, struct span json)
{
    double value;
    struct json_doc doc = {0};
    if (!json.len)
        return;
    if (replicate_has(b, name) && !json_parse(&doc, json, 2) &&
        json_double(json_root(&doc), &value))
        write_clamped(b, name, value, json);
    else
        neutral_drop(b->r, name);
    json_doc_free(&doc);
}

void replicate_write_sampling(struct replicate_builder *b)
{
    write_number(b, "temperature", b->r->temperature_json);
    write_number(b, "top_p", b->r->top_p_json);
    write_number(b, "top_k", b->r->top_k_json);
    write_number(b, "presence_penalty", b->r->presence_penalty_json);
    write_number(b, "frequency_penalty", b->r->frequency_penalty_json);
    write_number(b, "seed", b->r->seed_json);
}

void replicate_write_max_out(struct replicate_builder *b)
{
    static const char *const names[] = {"max_completion_tokens", "max_output_tokens", "max_tokens",
                                        "max_new_tokens",        "max_length",        NULL};
    const char *name = replicate_first_of(b, names);
    double standard, wanted = (double)b->r->max_out;
    if (!name) {
        if (b->r->has_max_out)
            neutral_drop(b->r, "max_tokens");
        return;
    }
    bool small = json_double(json_get(replicate_property(b, name), "default"), &standard) &&
                 standard <= small_default;
    if (!b->r->has_max_out && !small)
        return;
    if (!b->r->has_max_out)
        wanted = enough;
    struct json maximum = json_get(replicate_property(b, name), "maximum");
    double most;
    if (json_double(maximum, &most) && wanted > most)
        wanted = most;
    b->s->asked_max = (int64_t)wanted;
    write_clamped(b, name, wanted, SPAN_NONE);
}

/* ---- words ---- */

/* The enumeration of a property: its own, or of the schema it refers to. */
static struct json words_of(const struct replicate_builder *b, struct json p)
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

static int64_t wanted_budget(const struct neutral_request *r, struct span effort)
{
    if (r->thinking == THINKING_BUDGET)
        return r->thinking_budget;
    if (span_is(effort, "minimal") || span_is(effort, "low"))
        return 1024;
    return span_is(effort, "medium") ? 4096 : span_is(effort, "high") ? 16384 : 32000;
}

void replicate_write_effort(struct replicate_builder *b)
{
    static const char *const names[] = {"reasoning_effort", "thinking_level", NULL};
    struct span effort = request_effort(b->r);
    const char *name = replicate_first_of(b, names);
    bool none = span_is(effort, "none");
    if (!effort.len) {
        if (b->r->thinking == THINKING_ADAPTIVE)
            effort_drop(b->r);
        return;
    }
    if (name && allows(words_of(b, replicate_property(b, name)), effort)) {
        jw_key(&b->w, name);
        jw_text(&b->w, effort);
    } else if (replicate_has(b, "extended_thinking")) {
        jw_key(&b->w, "extended_thinking");
        jw_bool(&b->w, !none);
        if (!none && replicate_has(b, "thinking_budget_tokens"))
            write_clamped(b, "thinking_budget_tokens", (double)wanted_budget(b->r, effort),
                          SPAN_NONE);
    } else if (!none) {
        effort_drop(b->r);
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

/* What can't be sent is enforced on the answer. */
static enum err enforce(struct replicate_builder *b, struct span stop)
{
    struct stop_filter *f = &b->s->out.filter;
    enum err e = f->stops ? OK : stop_filter_init(f, b->pc->arena, b->r->stop_count);
    return e ? e : stop_filter_add(f, stop);
}

static enum err write_stop_string(struct replicate_builder *b, const char *name)
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

enum err replicate_write_stop(struct replicate_builder *b)
{
    static const char *const names[] = {"stop_sequences", "stop", NULL};
    const char *name = replicate_first_of(b, names);
    enum err e = OK;
    if (b->r->stop_count == 0)
        return OK;
    if (name && json_is(json_get(replicate_property(b, name), "type"), "array")) {
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
    return e ? replicate_refuse(b, ERROR_REQUEST_TOO_LARGE,
                                "The request is too large to translate.", NULL)
             : OK;
}
