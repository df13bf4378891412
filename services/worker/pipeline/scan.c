#include "services/worker/pipeline/scan.h"

enum { MAX_CHOICES = 128 };

void scan_init(struct scan *s, enum api api)
{
    *s = (struct scan){.api = api,
                       .usage = USAGE_NONE,
                       .uncached = USAGE_UNKNOWN,
                       .cache_read = USAGE_UNKNOWN,
                       .cache_write = USAGE_UNKNOWN};
}

/* ---- usage ---- */

/* Absent and null do not reset. */
static void read_count(struct json object, const char *name, uint64_t *out)
{
    int64_t v;
    if (json_i64(json_get(object, name), &v) && v >= 0)
        *out = (uint64_t)v;
}

static void read_openai_usage(struct scan *s, struct json usage)
{
    struct json in = json_get(usage, "prompt_tokens_details"),
                out = json_get(usage, "completion_tokens_details");
    read_count(usage, "prompt_tokens", &s->usage.input);
    read_count(usage, "completion_tokens", &s->usage.output);
    read_count(usage, "prompt_cache_hit_tokens", &s->usage.cached); /* DeepSeek's word */
    read_count(in, "cached_tokens", &s->usage.cached);
    read_count(in, "cache_write_tokens", &s->usage.cache_write);
    read_count(out, "reasoning_tokens", &s->usage.reasoning);
    if (!api_info(s->api)->generates && s->usage.input != USAGE_UNKNOWN &&
        s->usage.output == USAGE_UNKNOWN)
        s->usage.output = 0;
}

static void read_responses_usage(struct scan *s, struct json usage)
{
    struct json in = json_get(usage, "input_tokens_details"),
                out = json_get(usage, "output_tokens_details");
    read_count(usage, "input_tokens", &s->usage.input);
    read_count(usage, "output_tokens", &s->usage.output);
    read_count(in, "cached_tokens", &s->usage.cached);
    read_count(in, "cache_write_tokens", &s->usage.cache_write);
    read_count(out, "reasoning_tokens", &s->usage.reasoning);
}

/* Anthropic's input_tokens leaves the cached ones out; ours is all of them (neutral.h). */
static void read_anthropic_usage(struct scan *s, struct json usage)
{
    read_count(usage, "input_tokens", &s->uncached);
    read_count(usage, "cache_read_input_tokens", &s->cache_read);
    read_count(usage, "cache_creation_input_tokens", &s->cache_write);
    read_count(usage, "output_tokens", &s->usage.output);
    read_count(json_get(usage, "output_tokens_details"), "thinking_tokens", &s->usage.reasoning);
    if (s->uncached == USAGE_UNKNOWN)
        return;
    s->usage.cached = s->cache_read == USAGE_UNKNOWN ? 0 : s->cache_read;
    s->usage.cache_write = s->cache_write == USAGE_UNKNOWN ? 0 : s->cache_write;
    s->usage.input = s->uncached + s->usage.cached + s->usage.cache_write;
}

/* ---- errors ---- */

/* {"error": {…}} or {"error": "text"}; null, false and "" are none (some servers always send
 * them). */
static bool is_error_member(struct json error)
{
    switch (json_type(error)) {
    case JSON_OBJECT:
        return true;
    case JSON_STRING:
        return json_text(error).len > 0;
    case JSON_NONE:
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_NUMBER:
    case JSON_ARRAY:
        return false;
    }
    return false;
}

/* {"object":"error","message":…} is how some compatible servers say it. */
static bool is_error_object(struct json v)
{
    return is_error_member(json_get(v, "error")) || json_is(json_get(v, "object"), "error") ||
           json_is(json_get(v, "type"), "error");
}

/* ---- OpenAI chat and completions ---- */

/* What stands in a delta or message beyond an empty beginning counts as content. */
static bool has_content(struct scan *s, struct json delta)
{
    bool any = false;
    for (struct json_iter i = json_iter(delta); json_next(&i);) {
        if (json_is(i.key, "role") || json_absent(i.value))
            continue;
        size_t bytes =
            json_type(i.value) == JSON_STRING ? json_text(i.value).len : json_raw(i.value).len;
        s->text_bytes += bytes;
        any |= bytes > 0;
    }
    return any;
}

static void note_choice(struct scan *s, struct json choice)
{
    int64_t index = 0;
    (void)json_i64(json_get(choice, "index"), &index);
    if (index < 0 || index >= MAX_CHOICES)
        return;
    s->seen[index / 64] |= (uint64_t)1 << index % 64;
    struct json finish = json_get(choice, "finish_reason");
    if (json_type(finish) == JSON_STRING && json_text(finish).len)
        s->finished[index / 64] |= (uint64_t)1 << index % 64;
}

static bool scan_choice(struct scan *s, struct json choice)
{
    note_choice(s, choice);
    struct json text = json_get(choice, "text");
    s->text_bytes += json_text(text).len;
    bool any = has_content(s, json_get(choice, "delta"));
    any |= has_content(s, json_get(choice, "message"));
    struct json finish = json_get(choice, "finish_reason");
    return any || json_text(text).len ||
           (json_type(finish) == JSON_STRING && json_text(finish).len);
}

static void scan_chat(struct scan *s, struct json v, struct scan_result *r)
{
    struct json choices = json_get(v, "choices");
    r->usage_member = json_get(v, "usage");
    if (json_type(r->usage_member) == JSON_OBJECT)
        read_openai_usage(s, r->usage_member);
    r->usage_chunk = json_type(r->usage_member) == JSON_OBJECT && json_count(choices) == 0;
    for (struct json_iter i = json_iter(choices); json_next(&i);)
        r->content |= scan_choice(s, i.value);
}

/* ---- Anthropic messages ---- */

static void scan_block(struct scan *s, struct json block)
{
    for (struct json_iter i = json_iter(block); json_next(&i);) {
        if (json_is(i.key, "text") || json_is(i.key, "thinking") || json_is(i.key, "partial_json"))
            s->text_bytes += json_text(i.value).len;
        else if (json_is(i.key, "input"))
            s->text_bytes += json_raw(i.value).len;
    }
}

static void scan_anthropic_event(struct scan *s, struct json v, struct span name,
                                 struct scan_result *r)
{
    struct json type_member = json_get(v, "type");
    /* the JSON's type decides; the event's name only when there is none */
    struct span type = json_type(type_member) == JSON_STRING ? json_text(type_member) : name;
    struct json message = json_get(v, "message"), delta = json_get(v, "delta");
    if (span_is(type, "message_start")) {
        r->id = json_get(message, "id");
        r->model = json_get(message, "model");
        read_anthropic_usage(s, json_get(message, "usage"));
        /* its output_tokens is what the first token cost: no count for an answer that is cut */
        s->usage.output = USAGE_UNKNOWN;
    } else if (span_is(type, "message_delta")) {
        read_anthropic_usage(s, json_get(v, "usage"));
        s->stopped |= !json_absent(json_get(delta, "stop_reason"));
        r->content = true;
    } else if (span_is(type, "message_stop")) {
        r->terminal = true;
    } else if (!span_is(type, "ping")) {
        scan_block(s, delta);
        scan_block(s, json_get(v, "content_block"));
        r->content = true;
    }
}

static void scan_anthropic_body(struct scan *s, struct json v, struct scan_result *r)
{
    read_anthropic_usage(s, json_get(v, "usage"));
    for (struct json_iter i = json_iter(json_get(v, "content")); json_next(&i);)
        scan_block(s, i.value);
    if (!api_info(s->api)->generates) {
        /* counting is free and makes nothing */
        s->usage.output = 0;
        s->usage.input = 0;
    }
    r->content = true;
}

/* ---- OpenAI responses ---- */

static void scan_response_object(struct scan *s, struct json response, struct scan_result *r)
{
    struct json usage = json_get(response, "usage");
    if (json_type(usage) == JSON_OBJECT)
        read_responses_usage(s, usage);
    r->id = json_get(response, "id");
    r->model = json_get(response, "model");
}

static void scan_responses_event(struct scan *s, struct json v, struct span name,
                                 struct scan_result *r)
{
    struct json type_member = json_get(v, "type");
    struct span type = json_type(type_member) == JSON_STRING ? json_text(type_member) : name;
    struct json response = json_get(v, "response");
    if (json_type(response) == JSON_OBJECT)
        scan_response_object(s, response, r);
    if (span_is(type, "response.failed")) {
        r->terminal = r->failed = true;
    } else if (span_is(type, "response.completed") || span_is(type, "response.incomplete") ||
               span_is(type, "response.cancelled")) {
        r->terminal = true;
    } else if (!span_is(type, "response.created") && !span_is(type, "response.in_progress") &&
               !span_is(type, "response.queued")) {
        s->text_bytes += json_text(json_get(v, "delta")).len;
        r->content = true;
    }
}

/* ---- both ---- */

static bool names_error(struct span name)
{
    return span_is(name, "error");
}

struct scan_result scan_event(struct scan *s, struct json event, struct span name)
{
    struct scan_result r = {.id = json_get(event, "id"), .model = json_get(event, "model")};
    /* a response's own `error` member is null in every event: only a bare one is an error there */
    r.is_error = is_error_object(event) || names_error(name);
    if (r.is_error)
        return r;
    switch (api_info(s->api)->shape) {
    case API_SHAPE_MESSAGE:
        scan_anthropic_event(s, event, name, &r);
        break;
    case API_SHAPE_RESPONSE:
        scan_responses_event(s, event, name, &r);
        break;
    case API_SHAPE_CHAT:
        scan_chat(s, event, &r);
        break;
    }
    r.content |= r.terminal;
    return r;
}

struct scan_result scan_body(struct scan *s, struct json body)
{
    struct scan_result r = {.id = json_get(body, "id"), .model = json_get(body, "model")};
    /* a stored response that failed is an answer, and carries its error as a member */
    bool stored = api_info(s->api)->stored && json_is(json_get(body, "object"), "response");
    r.is_error = !stored && is_error_object(body);
    if (r.is_error)
        return r;
    switch (api_info(s->api)->shape) {
    case API_SHAPE_MESSAGE:
        scan_anthropic_body(s, body, &r);
        break;
    case API_SHAPE_RESPONSE:
        scan_response_object(s, body, &r);
        break;
    case API_SHAPE_CHAT:
        scan_chat(s, body, &r);
        break;
    }
    return r;
}

bool scan_is_complete(const struct scan *s)
{
    if (s->stopped)
        return true;
    return (s->seen[0] || s->seen[1]) && s->seen[0] == s->finished[0] &&
           s->seen[1] == s->finished[1];
}
