#include "services/worker/pipeline/scan.h"

#include "services/worker/neutral/answer_error.h"

enum { MAX_CHOICES = 128 };

void scan_init(struct scan *s, enum api api)
{
    *s = (struct scan){.api = api, .usage = USAGE_NONE, .messages = usage_messages_none};
}

/* ---- usage ---- */

static void note_tier(struct scan *s, struct json answer)
{
    struct json tier = json_get(answer, "service_tier");
    if (json_type(tier) == JSON_STRING)
        s->usage.tier = service_tier_of(json_text(tier));
}

static void read_chat_usage(struct scan *s, struct json usage)
{
    usage_read_chat(&s->usage, usage);
    if (!api_info(s->api)->generates && s->usage.input != USAGE_UNKNOWN &&
        s->usage.output == USAGE_UNKNOWN)
        s->usage.output = 0;
}

static void read_messages_usage(struct scan *s, struct json usage)
{
    usage_read_messages(&s->messages, usage);
    struct usage counts = usage_of_messages(&s->messages);
    usage_merge(&s->usage, &counts);
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

static void note_choice(struct scan *s, struct json choice, bool finished)
{
    int64_t index = 0;
    (void)json_i64(json_get(choice, "index"), &index);
    if (index < 0 || index >= MAX_CHOICES)
        return;
    s->seen[index / 64] |= (uint64_t)1 << index % 64;
    if (finished)
        s->finished[index / 64] |= (uint64_t)1 << index % 64;
}

static bool scan_choice(struct scan *s, struct json choice)
{
    bool finished = json_text(json_get(choice, "finish_reason")).len > 0;
    note_choice(s, choice, finished);
    struct json text = json_get(choice, "text");
    s->text_bytes += json_text(text).len;
    bool any = has_content(s, json_get(choice, "delta"));
    any |= has_content(s, json_get(choice, "message"));
    return any || json_text(text).len || finished;
}

bool scan_is_complete(const struct scan *s)
{
    if (s->stopped)
        return true;
    return (s->seen[0] || s->seen[1]) && s->seen[0] == s->finished[0] &&
           s->seen[1] == s->finished[1];
}

static void scan_chat(struct scan *s, struct json v, struct scan_result *r)
{
    struct json choices = json_get(v, "choices");
    r->usage_member = json_get(v, "usage");
    bool has_usage = json_type(r->usage_member) == JSON_OBJECT;
    if (has_usage) {
        read_chat_usage(s, r->usage_member);
        note_tier(s, v);
    }
    r->usage_chunk = has_usage && json_count(choices) == 0;
    for (struct json_iter i = json_iter(choices); json_next(&i);)
        r->content |= scan_choice(s, i.value);
    if (s->usage.output == USAGE_UNKNOWN && scan_is_complete(s))
        usage_read_groq(&s->usage, v);
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
        read_messages_usage(s, json_get(message, "usage"));
        /* its output_tokens is what the first token cost: no count for an answer that is cut */
        s->messages.output = s->usage.output = USAGE_UNKNOWN;
    } else if (span_is(type, "message_delta")) {
        read_messages_usage(s, json_get(v, "usage"));
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
    read_messages_usage(s, json_get(v, "usage"));
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

/* Which fee an item of a response's output costs; TARIFF_FEES = none. Pages that a search opens are
 * not billed. */
static enum tariff_fee fee_of(struct json item)
{
    struct json type = json_get(item, "type");
    struct json action = json_get(json_get(item, "action"), "type");
    if (json_is(type, "web_search_call"))
        return json_absent(action) || json_is(action, "search") ? FEE_WEB_SEARCH : TARIFF_FEES;
    return json_is(type, "file_search_call") ? FEE_FILE_SEARCH : TARIFF_FEES;
}

/* Containers are billed, not calls: those that follow each other mostly share one. */
static bool is_new_container(struct json item, struct json before)
{
    struct json id = json_get(item, "container_id");
    return json_is(json_get(item, "type"), "code_interpreter_call") &&
           !span_equals(json_text(id), json_text(json_get(before, "container_id")));
}

/* What a whole output says stands for what its items said one by one. */
static void count_calls(struct scan *s, struct json output)
{
    uint64_t calls[TARIFF_FEES + 1] = {0};
    struct json before = JSON_NOTHING;
    if (json_type(output) != JSON_ARRAY || json_count(output) == 0)
        return;
    for (struct json_iter i = json_iter(output); json_next(&i);) {
        calls[fee_of(i.value)]++;
        calls[FEE_CODE_INTERPRETER] += is_new_container(i.value, before);
        if (json_is(json_get(i.value, "type"), "code_interpreter_call"))
            before = i.value;
    }
    memcpy(s->usage.calls, calls, sizeof s->usage.calls);
}

static void scan_response_object(struct scan *s, struct json response, struct scan_result *r)
{
    usage_read_responses(&s->usage, json_get(response, "usage"));
    note_tier(s, response);
    count_calls(s, json_get(response, "output"));
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
        if (span_is(type, "response.output_item.done") && fee_of(json_get(v, "item")) < TARIFF_FEES)
            s->usage.calls[fee_of(json_get(v, "item"))]++;
        s->text_bytes += json_text(json_get(v, "delta")).len;
        r->content = true;
    }
}

/* ---- both ---- */

struct scan_result scan_event(struct scan *s, struct json event, struct span name)
{
    struct scan_result r = {.id = json_get(event, "id"), .model = json_get(event, "model")};
    /* a response's own `error` member is null in every event: only a bare one is an error there */
    r.is_error = answer_event_is_error(event, name);
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
    struct json status = json_get(body, "status");
    bool stored = api_info(s->api)->stored && json_is(json_get(body, "object"), "response");
    r.unfinished = stored && (json_is(status, "queued") || json_is(status, "in_progress"));
    r.is_error = !stored && answer_is_error(body);
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
