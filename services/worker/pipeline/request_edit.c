#include "services/worker/pipeline/request_edit.h"

#include <stdio.h>

#include "services/worker/neutral/splice.h"

/* ---- checks ---- */

enum member_type { MEMBER_STRING, MEMBER_BOOL, MEMBER_INT, MEMBER_ARRAY };

#define ON(api) (1u << API_##api)

/* The members the gateway reads itself: it and the upstream must not disagree on them. */
static const struct member {
    const char *name;
    enum member_type type;
    unsigned apis;
    bool may_double;
    const char *doubled, *wrong;
} members[] = {
    {"model", MEMBER_STRING, ~0u, false, "model is given twice", "model must be a string"},
    {"stream", MEMBER_BOOL, ~0u, false, "stream is given twice", "stream must be true or false"},
    {"n", MEMBER_INT, ON(OPENAI_CHAT) | ON(OPENAI_COMPLETIONS), false, "n is given twice",
     "n must be an integer"},
    {"max_tokens", MEMBER_INT, ON(OPENAI_CHAT) | ON(OPENAI_COMPLETIONS) | ON(ANTHROPIC_MESSAGES),
     false, "max_tokens is given twice", "max_tokens must be an integer"},
    {"max_completion_tokens", MEMBER_INT, ON(OPENAI_CHAT), false,
     "max_completion_tokens is given twice", "max_completion_tokens must be an integer"},
    {"max_output_tokens", MEMBER_INT, ON(OPENAI_RESPONSES), false,
     "max_output_tokens is given twice", "max_output_tokens must be an integer"},
    {"messages", MEMBER_ARRAY,
     ON(OPENAI_CHAT) | ON(ANTHROPIC_MESSAGES) | ON(ANTHROPIC_COUNT_TOKENS), true, NULL,
     "messages must be an array"},
};

static bool has_type(struct json v, enum member_type type)
{
    bool truth;
    int64_t number;
    switch (type) {
    case MEMBER_STRING:
        return json_type(v) == JSON_STRING;
    case MEMBER_BOOL:
        return json_bool(v, &truth);
    case MEMBER_INT:
        return json_i64(v, &number);
    case MEMBER_ARRAY:
        return json_type(v) == JSON_ARRAY;
    }
    return false;
}

enum err request_check(struct json body, enum api api, struct api_error *fault_out)
{
    if (json_type(body) != JSON_OBJECT) {
        api_error_set(fault_out, ERROR_INVALID_JSON, "the body must be a JSON object", NULL);
        return ERR_INVALID;
    }
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const struct member *m = &members[i];
        if (!m->may_double && json_count_named(body, m->name) > 1) {
            api_error_set(fault_out, ERROR_INVALID_VALUE, m->doubled, m->name);
            return ERR_INVALID;
        }
        struct json v = json_get(body, m->name);
        if ((m->apis & 1u << api) && !json_absent(v) && !has_type(v, m->type)) {
            api_error_set(fault_out, ERROR_INVALID_VALUE, m->wrong, m->name);
            return ERR_INVALID;
        }
    }
    return OK;
}

/* ---- caps and defaults ---- */

/* The members that bound an answer's length, the one to add when there is none first. */
static size_t cap_names(const struct request_edit *e, const char *names[2])
{
    const struct api_info *info = api_info(e->api);
    bool both = *info->older_cap;
    if (!*info->cap)
        return 0;
    /* o-series models refuse the older name, old compatible servers don't know the other */
    bool older_first = both && !e->compat->is_openai;
    names[0] = older_first ? info->older_cap : info->cap;
    names[1] = older_first ? info->cap : info->older_cap;
    return both ? 2 : 1;
}

static bool has_cap(const struct request_edit *e, struct json body)
{
    const char *names[2];
    size_t count = cap_names(e, names);
    for (size_t i = 0; i < count; i++) {
        if (!json_absent(json_get(body, names[i])))
            return true;
    }
    return false;
}

/* A member the client gave as null is replaced, one it did not give is added. */
static void put_member(struct splice *s, struct json body, const char *name, struct span json)
{
    struct json old = json_get(body, name);
    if (json_type(old) == JSON_NONE)
        splice_add(s, body, name, json);
    else
        splice_replace(s, old, json);
}

static bool is_cap_name(const char *name)
{
    return strcmp(name, "max_tokens") == 0 || strcmp(name, "max_completion_tokens") == 0 ||
           strcmp(name, "max_output_tokens") == 0;
}

/* max_tokens of a configuration is meant for every protocol. */
static const char *default_name(const struct request_edit *e, const char *name)
{
    const char *names[2];
    if (is_cap_name(name))
        return cap_names(e, names) ? names[0] : NULL;
    if (e->api == API_ANTHROPIC_MESSAGES && strcmp(name, "stop") == 0)
        return "stop_sequences";
    return e->api == API_ANTHROPIC_COUNT_TOKENS ? NULL : name;
}

static bool is_over(const char *json, uint64_t cap)
{
    uint64_t v;
    return cap && (!span_to_u64(span_str(json), &v) || v > cap);
}

/* A default cap above the hard one is left to put_cap. */
static void put_defaults(const struct request_edit *e, struct splice *s, struct json body,
                         uint64_t cap)
{
    for (size_t i = 0; e->config && i < e->config->default_count; i++) {
        const struct config_default *d = &e->config->defaults[i];
        const char *name = default_name(e, d->name);
        if (!name || !json_absent(json_get(body, name)))
            continue;
        if (is_cap_name(name) && (has_cap(e, body) || is_over(d->json, cap)))
            continue;
        put_member(s, body, name, span_str(d->json));
    }
}

/* A cap is for the whole request: of several choices each gets its part. */
static uint64_t cap_of_one(const struct request_edit *e, struct json body)
{
    int64_t n = 1, best_of = 1;
    (void)json_i64(json_get(body, "n"), &n);
    if (e->api == API_OPENAI_COMPLETIONS)
        (void)json_i64(json_get(body, "best_of"), &best_of);
    int64_t parts = n > best_of ? n : best_of;
    uint64_t cap = parts > 1 ? e->output_cap / (uint64_t)parts : e->output_cap;
    return cap ? cap : 1;
}

static bool default_fits(const struct request_edit *e, uint64_t cap)
{
    for (size_t i = 0; e->config && i < e->config->default_count; i++) {
        const struct config_default *d = &e->config->defaults[i];
        if (is_cap_name(d->name) && !is_over(d->json, cap))
            return true;
    }
    return false;
}

/* `digits` must live until the splice is written. */
static void put_cap(const struct request_edit *e, struct splice *s, struct json body,
                    struct span digits, uint64_t cap)
{
    const char *names[2];
    size_t count = cap_names(e, names);
    if (count == 0)
        return;
    if (!has_cap(e, body)) {
        if (!default_fits(e, cap))
            put_member(s, body, names[0], digits);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t given;
        struct json v = json_get(body, names[i]);
        if (json_i64(v, &given) && given > 0 && (uint64_t)given > cap)
            splice_replace(s, v, digits);
    }
}

/* ---- the rest ---- */

static void put_model(const struct request_edit *e, struct splice *s, struct json body,
                      struct span model_json)
{
    struct json v = json_get(body, "model");
    if (json_type(v) == JSON_STRING && span_equals(json_raw(v), model_json))
        return;
    if (e->target_model.len)
        put_member(s, body, "model", model_json);
}

/* Usage is forced on streams, for accounting. */
static void put_include_usage(struct splice *s, struct json body, struct request_facts *facts)
{
    struct json options = json_get(body, "stream_options");
    struct json include = json_get(options, "include_usage");
    if (json_bool(include, &facts->asked_usage) && facts->asked_usage)
        return;
    if (json_absent(options))
        put_member(s, body, "stream_options", SPAN("{\"include_usage\":true}"));
    else if (json_type(options) == JSON_OBJECT)
        put_member(s, options, "include_usage", SPAN("true"));
    else
        return; /* not an object: the upstream will say so */
    facts->forced_usage = true;
}

static void take_out(const struct request_edit *e, struct splice *s, struct json body,
                     struct request_facts *facts)
{
    const char *names[2];
    size_t count = 0;
    if (e->compat->no_stream_options && json_type(json_get(body, "stream_options")) != JSON_NONE) {
        names[count++] = "stream_options";
        (void)json_bool(json_get(json_get(body, "stream_options"), "include_usage"),
                        &facts->asked_usage);
        facts->dropped_stream_options = true;
    }
    if (e->compat->no_parallel_tool_calls)
        names[count++] = "parallel_tool_calls";
    if (count)
        splice_remove(s, body, names, count);
}

/* Tags are for the ledger, which has them: providers refuse a list where they take strings. */
static void take_tags(struct splice *s, struct json body)
{
    static const char *const tags[] = {"tags"};
    struct json metadata = json_get(body, "metadata");
    if (json_type(json_get(metadata, "tags")) == JSON_ARRAY)
        splice_remove(s, metadata, tags, 1);
}

enum err request_edit_native(const struct request_edit *e, struct json body, struct buf *out,
                             struct request_facts *facts_out)
{
    struct splice s;
    splice_init(&s, body.doc->text);
    *facts_out = (struct request_facts){0};
    /* elsewhere a client's `stream` is one more member nobody knows */
    if (api_info(e->api)->streams)
        (void)json_bool(json_get(body, "stream"), &facts_out->stream);

    struct buf model = {0}, messages = {.max = body.doc->text.len + (1u << 20)};
    json_append_string(&model, e->target_model);
    char digits[24];
    uint64_t cap = e->output_cap ? cap_of_one(e, body) : 0;
    int digit_count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)cap);

    if (api_streams_chunks(e->api))
        take_out(e, &s, body, facts_out);
    take_tags(&s, body);
    put_model(e, &s, body, buf_span(&model));
    if (e->api == API_OPENAI_CHAT && e->compat->max_tokens_only &&
        json_absent(json_get(body, "max_tokens")))
        splice_rename(&s, body, "max_completion_tokens", "max_tokens");
    if (e->api == API_OPENAI_CHAT && e->compat->system_first)
        request_put_system_first(json_get(body, "messages"), &messages);
    if (messages.len)
        splice_replace(&s, json_get(body, "messages"), buf_span(&messages));
    put_defaults(e, &s, body, cap);
    if (cap)
        put_cap(e, &s, body, span_of(digits, (size_t)digit_count), cap);
    if (api_streams_chunks(e->api) && facts_out->stream && !e->compat->no_stream_options)
        put_include_usage(&s, body, facts_out);
    enum err err = buf_check(&model);
    if (err == OK)
        err = buf_check(&messages);
    if (err == OK && !splice_is_empty(&s))
        err = splice_write(&s, out);
    buf_free(&model);
    buf_free(&messages);
    return err;
}

enum err request_edit_defaults(const struct request_edit *e, struct json body, struct buf *out)
{
    struct splice s;
    splice_init(&s, body.doc->text);
    put_defaults(e, &s, body, 0);
    return splice_is_empty(&s) ? OK : splice_write(&s, out);
}
