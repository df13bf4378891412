/* Anthropic messages, count_tokens and models (docs/wire.md, Requests). */
#include "services/simulator/anthropic.h"

#include <stdio.h>

#define SIGNATURE "c2ltdWxhdGVkLXNpZ25hdHVyZQ=="

void anthropic_error_detailed(struct ask *ask, unsigned status, const char *type,
                              const char *message, const char *code)
{
    char id[32];
    struct json_writer w = reply_json(ask->reply, status);
    ask->reply->reports_usage = false;
    (void)snprintf(id, sizeof id, "req_sim_%llu", (unsigned long long)ask->id);
    jw_object(&w);
    jw_key(&w, "type");
    jw_str(&w, "error");
    jw_key(&w, "error");
    jw_object(&w);
    jw_key(&w, "type");
    jw_str(&w, type);
    jw_key(&w, "message");
    jw_str(&w, message);
    if (*code) {
        jw_key(&w, "details");
        jw_object(&w);
        jw_key(&w, "error_code");
        jw_str(&w, code);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    jw_key(&w, "request_id");
    jw_str(&w, id);
    jw_object_end(&w);
}

void anthropic_error(struct ask *ask, unsigned status, const char *type, const char *message)
{
    anthropic_error_detailed(ask, status, type, message, "");
}

static const char *type_of_status(unsigned status)
{
    static const struct {
        unsigned status;
        const char *type;
    } types[] = {
        {401, "authentication_error"}, {402, "billing_error"},  {403, "permission_error"},
        {404, "not_found_error"},      {409, "conflict_error"}, {413, "request_too_large"},
        {429, "rate_limit_error"},     {504, "timeout_error"},  {529, "overloaded_error"},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i].status == status)
            return types[i].type;
    }
    return status < 500 ? "invalid_request_error" : "api_error";
}

static bool fault_answer(struct ask *ask)
{
    const struct sim_fault *f = &ask->fault;
    if (!f->status || f->status == 200)
        return false;
    anthropic_error_detailed(ask, f->status, f->type[0] ? f->type : type_of_status(f->status),
                             f->message[0] ? f->message : "simulated failure", f->code);
    return true;
}

/* ---- checking ---- */

static bool refuse(struct ask *ask, const char *message)
{
    anthropic_error(ask, 400, "invalid_request_error", message);
    return false;
}

static bool check_members(struct ask *ask)
{
    static const char *const foreign[] = {"stop",
                                          "n",
                                          "frequency_penalty",
                                          "presence_penalty",
                                          "logit_bias",
                                          "max_completion_tokens",
                                          "response_format",
                                          "stream_options",
                                          "functions",
                                          "function_call",
                                          "logprobs",
                                          "parallel_tool_calls",
                                          "reasoning_effort",
                                          "user",
                                          "seed"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        if (json_count_named(ask->body, foreign[i])) {
            char text[128];
            (void)snprintf(text, sizeof text, "%s: Extra inputs are not permitted (simulated)",
                           foreign[i]);
            return refuse(ask, text);
        }
    }
    return true;
}

static bool check_text(struct json text)
{
    return json_type(text) == JSON_STRING && json_text(text).len > 0;
}

/* Ids of the tool_use blocks of the turn before. */
struct uses {
    struct json ids[ANSWER_MAX_TOOLS];
    unsigned count;
};

static bool has_use(const struct uses *u, struct json id)
{
    for (unsigned i = 0; i < u->count; i++) {
        if (span_equals(json_text(u->ids[i]), json_text(id)))
            return true;
    }
    return false;
}

static const char *check_block(struct json block, bool user, const struct uses *before,
                               struct uses *now, bool *other_seen)
{
    struct json type = json_get(block, "type");
    if (json_is(type, "tool_result")) {
        if (!user || !has_use(before, json_get(block, "tool_use_id")))
            return "messages: unexpected `tool_use_id` found in `tool_result` blocks. Each "
                   "`tool_result` block must have a "
                   "corresponding `tool_use` block in the previous message. (simulated)";
        return *other_seen
                   ? "messages: `tool_result` blocks must come first in their turn (simulated)"
                   : NULL;
    }
    *other_seen = true;
    if (json_is(type, "text"))
        return check_text(json_get(block, "text"))
                   ? NULL
                   : "messages: text content blocks must be non-empty (simulated)";
    if (json_is(type, "tool_use")) {
        if (user || json_type(json_get(block, "input")) != JSON_OBJECT ||
            json_type(json_get(block, "id")) != JSON_STRING)
            return "messages: malformed tool_use block (simulated)";
        if (now->count < ANSWER_MAX_TOOLS)
            now->ids[now->count++] = json_get(block, "id");
        return NULL;
    }
    if (json_is(type, "thinking") && json_type(json_get(block, "signature")) != JSON_STRING)
        return "messages: thinking.signature: Field required (simulated)";
    if (json_is(type, "image") && json_type(json_get(block, "source")) != JSON_OBJECT)
        return "messages: image.source: Field required (simulated)";
    return json_type(type) == JSON_STRING ? NULL
                                          : "messages: content block without type (simulated)";
}

static unsigned count_results(struct json content)
{
    unsigned n = 0;
    for (struct json_iter i = json_iter(content);
         json_type(content) == JSON_ARRAY && json_next(&i);)
        n += json_is(json_get(i.value, "type"), "tool_result");
    return n;
}

static const char *check_turn(struct json message, struct uses *before)
{
    struct json role = json_get(message, "role"), content = json_get(message, "content");
    bool user = json_is(role, "user"), other_seen = false;
    struct uses now = {.count = 0};
    if (!user && !json_is(role, "assistant") && !json_is(role, "system"))
        return "messages: Unexpected role. Allowed are \"user\" and \"assistant\". (simulated)";
    if (user && count_results(content) < before->count)
        return "messages: `tool_use` ids were found without `tool_result` blocks immediately after "
               "(simulated)";
    if (json_type(content) == JSON_STRING) {
        *before = now;
        return check_text(content) ? NULL
                                   : "messages: text content blocks must be non-empty (simulated)";
    }
    if (json_type(content) != JSON_ARRAY || !json_count(content))
        return "messages: content: Field required (simulated)";
    for (struct json_iter i = json_iter(content); json_next(&i);) {
        const char *why = check_block(i.value, user, before, &now, &other_seen);
        if (why)
            return why;
    }
    *before = now;
    return NULL;
}

static bool check_messages(struct ask *ask)
{
    struct json messages = json_get(ask->body, "messages");
    struct uses before = {.count = 0};
    if (json_type(messages) != JSON_ARRAY)
        return refuse(ask, "messages: Field required (simulated)");
    if (!json_count(messages))
        return refuse(ask, "messages: at least one message is required (simulated)");
    if (!json_is(json_get(json_at(messages, 0), "role"), "user"))
        return refuse(ask, "messages: first message must use the \"user\" role (simulated)");
    for (struct json_iter i = json_iter(messages); json_next(&i);) {
        const char *why = check_turn(i.value, &before);
        if (why)
            return refuse(ask, why);
    }
    struct json system = json_get(ask->body, "system");
    for (struct json_iter i = json_iter(system);
         json_type(system) == JSON_ARRAY && json_next(&i);) {
        if (!check_text(json_get(i.value, "text")))
            return refuse(ask, "system: text content blocks must be non-empty (simulated)");
    }
    return true;
}

static bool check_tools(struct ask *ask)
{
    struct json tools = json_get(ask->body, "tools"), choice = json_get(ask->body, "tool_choice");
    for (struct json_iter i = json_iter(tools); json_type(tools) == JSON_ARRAY && json_next(&i);) {
        struct json type = json_get(i.value, "type");
        if (json_type(json_get(i.value, "name")) != JSON_STRING)
            return refuse(ask, "tools: name: Field required (simulated)");
        if ((json_absent(type) || json_is(type, "custom")) &&
            !json_is(json_get(json_get(i.value, "input_schema"), "type"), "object"))
            return refuse(ask, "tools: input_schema.type: Field required (simulated)");
    }
    if (!json_absent(choice) && json_type(json_get(choice, "type")) != JSON_STRING)
        return refuse(ask, "tool_choice: Input should be an object with a type (simulated)");
    return true;
}

static bool check_numbers(struct ask *ask, int64_t max_tokens)
{
    double t = 0;
    int64_t budget = 0;
    struct json temperature = json_get(ask->body, "temperature"),
                thinking = json_get(ask->body, "thinking");
    if (!json_absent(temperature) && (!json_double(temperature, &t) || t < 0 || t > 1))
        return refuse(ask, "temperature: range: 0..1 (simulated)");
    if (!json_is(json_get(thinking, "type"), "enabled"))
        return true;
    if (!json_i64(json_get(thinking, "budget_tokens"), &budget) || budget < 1024)
        return refuse(
            ask,
            "thinking.budget_tokens: Input should be greater than or equal to 1024 (simulated)");
    if (max_tokens >= 0 && budget >= max_tokens)
        return refuse(ask,
                      "`max_tokens` must be greater than `thinking.budget_tokens` (simulated)");
    return true;
}

/* Model, messages, tools: what messages and count_tokens share. */
static bool check_common(struct ask *ask)
{
    struct json model = json_get(ask->body, "model");
    if (json_type(model) != JSON_STRING)
        return refuse(ask, "model: Field required (simulated)");
    ask->model = json_string(model, &ask->sim->arena);
    if (span_starts(ask->model, "missing") || span_starts(ask->model, "unknown")) {
        anthropic_error(ask, 404, "not_found_error", "model: not found (simulated)");
        return false;
    }
    return check_members(ask) && check_messages(ask) && check_tools(ask);
}

/* ---- reading ---- */

static void turn_text(struct ask *ask, struct json content)
{
    if (json_type(content) == JSON_STRING) {
        ask->text = json_string(content, &ask->sim->arena);
        return;
    }
    struct buf out = {0};
    for (struct json_iter i = json_iter(content); json_next(&i);) {
        if (json_is(json_get(i.value, "type"), "text"))
            json_text_decode(json_text(json_get(i.value, "text")), &out);
    }
    if (out.len)
        ask->text = arena_copy(&ask->sim->arena, buf_span(&out));
    buf_free(&out);
}

static void read_question(struct ask *ask, struct question *q)
{
    struct json messages = json_get(ask->body, "messages"), tools = json_get(ask->body, "tools");
    struct json choice = json_get(ask->body, "tool_choice"),
                thinking = json_get(ask->body, "thinking");
    struct json format = json_get(json_get(ask->body, "output_config"), "format");
    *q = (struct question){.stops = json_get(ask->body, "stop_sequences")};
    for (struct json_iter i = json_iter(messages); json_next(&i);) {
        q->after_result = count_results(json_get(i.value, "content")) > 0;
        if (json_is(json_get(i.value, "role"), "user"))
            turn_text(ask, json_get(i.value, "content"));
    }
    for (struct json_iter i = json_iter(tools); json_type(tools) == JSON_ARRAY && json_next(&i);) {
        question_add_tool(ask, q, json_string(json_get(i.value, "name"), &ask->sim->arena),
                          json_get(i.value, "input_schema"));
    }
    struct json kind = json_get(choice, "type");
    q->mode = json_is(kind, "none")   ? TOOLS_NONE
              : json_is(kind, "any")  ? TOOLS_ANY
              : json_is(kind, "tool") ? TOOLS_NAMED
                                      : TOOLS_AUTO;
    q->named = json_string(json_get(choice, "name"), &ask->sim->arena);
    (void)json_bool(json_get(choice, "disable_parallel_tool_use"), &q->one_call);
    q->thinking = json_is(json_get(thinking, "type"), "enabled") ||
                  json_is(json_get(thinking, "type"), "adaptive");
    if (json_is(json_get(format, "type"), "json_schema")) {
        q->format = FORMAT_SCHEMA;
        q->schema = json_get(format, "schema");
    }
    q->input_bytes =
        json_raw(messages).len + json_raw(json_get(ask->body, "system")).len + json_raw(tools).len;
    ask->marker =
        json_string(json_get(json_get(ask->body, "metadata"), "user_id"), &ask->sim->arena);
}

/* ---- writing ---- */

static const char *stop_word(const struct ask *ask, const struct sim_answer *a)
{
    static const char *const words[] = {"end_turn", "max_tokens", "tool_use", "stop_sequence"};
    return ask->fault.finish[0] ? ask->fault.finish : words[a->finish];
}

static void write_stop(struct ask *ask, struct json_writer *w, const struct sim_answer *a,
                       bool done)
{
    jw_key(w, "stop_reason");
    if (done)
        jw_str(w, stop_word(ask, a));
    else
        jw_null(w);
    jw_key(w, "stop_sequence");
    if (done && a->finish == FINISH_SEQUENCE)
        jw_string(w, a->sequence);
    else
        jw_null(w);
}

static void write_usage(struct ask *ask, struct json_writer *w, const struct sim_answer *a,
                        uint64_t output)
{
    jw_key(w, "usage");
    jw_object(w);
    jw_key(w, "input_tokens");
    jw_u64(w, a->input - a->cached);
    jw_key(w, "cache_creation_input_tokens");
    jw_u64(w, 0);
    jw_key(w, "cache_read_input_tokens");
    jw_u64(w, a->cached);
    jw_key(w, "output_tokens");
    jw_u64(w, output);
    jw_key(w, "service_tier");
    jw_str(w, "standard");
    jw_object_end(w);
    (void)ask;
}

struct span anthropic_message_id(struct ask *ask)
{
    return arena_printf(&ask->sim->arena, "msg_sim%llu", (unsigned long long)ask->id);
}

static void write_head(struct ask *ask, struct json_writer *w)
{
    jw_key(w, "id");
    jw_string(w, anthropic_message_id(ask));
    jw_key(w, "type");
    jw_str(w, "message");
    jw_key(w, "role");
    jw_str(w, "assistant");
    jw_key(w, "model");
    jw_string(w, ask->model);
}

static void write_tool_use(struct ask *ask, struct json_writer *w, const struct tool_use *call,
                           unsigned i, bool whole)
{
    char id[48];
    (void)snprintf(id, sizeof id, "toolu_sim%llu_%u", (unsigned long long)ask->id, i);
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "tool_use");
    jw_key(w, "id");
    jw_str(w, id);
    jw_key(w, "name");
    jw_string(w, call->name);
    jw_key(w, "input");
    jw_raw(w, whole ? call->args : SPAN("{}"));
    jw_object_end(w);
}

static void write_text_block(struct json_writer *w, struct span text)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "text");
    jw_key(w, "text");
    jw_string(w, text);
    jw_object_end(w);
}

static void write_thinking_block(struct json_writer *w, struct span thinking, const char *signature)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "thinking");
    jw_key(w, "thinking");
    jw_string(w, thinking);
    jw_key(w, "signature");
    jw_str(w, signature);
    jw_object_end(w);
}

void anthropic_write_content(struct ask *ask, struct json_writer *w, const struct sim_answer *a)
{
    jw_array(w);
    if (a->thinking.len)
        write_thinking_block(w, a->thinking, SIGNATURE);
    for (unsigned i = 0; i < a->call_count; i++)
        write_tool_use(ask, w, &a->calls[i], i, true);
    if (!a->call_count && a->text.len)
        write_text_block(w, a->text);
    jw_array_end(w);
}

static void write_unary(struct ask *ask, const struct sim_answer *a)
{
    struct json_writer w = reply_json(ask->reply, 200);
    jw_object(&w);
    write_head(ask, &w);
    jw_key(&w, "content");
    anthropic_write_content(ask, &w, a);
    write_stop(ask, &w, a, true);
    if (!ask->fault.no_usage)
        write_usage(ask, &w, a, a->output);
    jw_object_end(&w);
}

/* ---- streaming ---- */

static struct json_writer event(struct ask *ask, const char *type)
{
    struct json_writer w = reply_event(ask->reply, type);
    jw_object(&w);
    jw_key(&w, "type");
    jw_str(&w, type);
    return w;
}

static void event_end(struct ask *ask, struct json_writer *w)
{
    jw_object_end(w);
    reply_event_end(ask->reply);
}

static void stream_start(struct ask *ask, const struct sim_answer *a)
{
    struct json_writer w = event(ask, "message_start");
    jw_key(&w, "message");
    jw_object(&w);
    write_head(ask, &w);
    jw_key(&w, "content");
    jw_array(&w);
    jw_array_end(&w);
    write_stop(ask, &w, a, false);
    write_usage(ask, &w, a, 1);
    jw_object_end(&w);
    event_end(ask, &w);
}

static struct json_writer block_start(struct ask *ask, unsigned index)
{
    struct json_writer w = event(ask, "content_block_start");
    jw_key(&w, "index");
    jw_u64(&w, index);
    jw_key(&w, "content_block");
    return w;
}

static void block_stop(struct ask *ask, unsigned index)
{
    struct json_writer w = event(ask, "content_block_stop");
    jw_key(&w, "index");
    jw_u64(&w, index);
    event_end(ask, &w);
}

static void delta(struct ask *ask, unsigned index, const char *type, const char *member,
                  struct span text)
{
    struct json_writer w = event(ask, "content_block_delta");
    jw_key(&w, "index");
    jw_u64(&w, index);
    jw_key(&w, "delta");
    jw_object(&w);
    jw_key(&w, "type");
    jw_str(&w, type);
    jw_key(&w, member);
    jw_string(&w, text);
    jw_object_end(&w);
    event_end(ask, &w);
}

static bool deltas(struct ask *ask, unsigned index, const char *type, const char *member,
                   struct span text)
{
    size_t at = 0;
    int64_t count = 0;
    while (at < text.len) {
        if (ask->fault.error_at >= 0 && count++ == ask->fault.error_at)
            return false;
        delta(ask, index, type, member, answer_piece(ask, text, &at));
        reply_mark(ask->reply);
    }
    return true;
}

static bool stream_thinking(struct ask *ask, const struct sim_answer *a, unsigned index)
{
    struct json_writer w = block_start(ask, index);
    write_thinking_block(&w, SPAN(""), "");
    event_end(ask, &w);
    if (!deltas(ask, index, "thinking_delta", "thinking", a->thinking))
        return false;
    delta(ask, index, "signature_delta", "signature", SPAN(SIGNATURE));
    block_stop(ask, index);
    return true;
}

static bool stream_call(struct ask *ask, const struct sim_answer *a, unsigned i, unsigned index)
{
    struct json_writer w = block_start(ask, index);
    write_tool_use(ask, &w, &a->calls[i], i, false);
    event_end(ask, &w);
    delta(ask, index, "input_json_delta", "partial_json", SPAN(""));
    if (!span_is(a->calls[i].args, "{}") &&
        !deltas(ask, index, "input_json_delta", "partial_json", a->calls[i].args))
        return false;
    block_stop(ask, index);
    return true;
}

static bool stream_text(struct ask *ask, const struct sim_answer *a, unsigned index)
{
    struct json_writer w = block_start(ask, index);
    write_text_block(&w, SPAN(""));
    event_end(ask, &w);
    buf_append_str(&ask->reply->body, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
    if (!deltas(ask, index, "text_delta", "text", a->text))
        return false;
    block_stop(ask, index);
    return true;
}

static bool stream_blocks(struct ask *ask, const struct sim_answer *a)
{
    unsigned index = 0;
    if (a->thinking.len && !stream_thinking(ask, a, index++))
        return false;
    for (unsigned i = 0; i < a->call_count; i++) {
        if (!stream_call(ask, a, i, index++))
            return false;
    }
    return a->call_count || stream_text(ask, a, index);
}

static void write_stream(struct ask *ask, const struct sim_answer *a)
{
    const struct sim_fault *f = &ask->fault;
    reply_begin_stream(ask->reply, "text/event-stream; charset=utf-8");
    if (f->error_at != 0)
        stream_start(ask, a);
    if (f->error_at == 0 || !stream_blocks(ask, a)) {
        struct json_writer w = event(ask, "error");
        jw_key(&w, "error");
        jw_object(&w);
        jw_key(&w, "details");
        jw_null(&w);
        jw_key(&w, "type");
        jw_str(&w, f->type[0] ? f->type : "overloaded_error");
        jw_key(&w, "message");
        jw_str(&w, f->message[0] ? f->message : "Overloaded (simulated)");
        jw_object_end(&w);
        event_end(ask, &w);
        ask->reply->reports_usage = false;
        return;
    }
    struct json_writer w = event(ask, "message_delta");
    jw_key(&w, "delta");
    jw_object(&w);
    write_stop(ask, &w, a, true);
    jw_object_end(&w);
    if (!f->no_usage) {
        jw_key(&w, "usage");
        jw_object(&w);
        jw_key(&w, "output_tokens");
        jw_u64(&w, a->output);
        jw_object_end(&w);
    }
    event_end(ask, &w);
    if (f->no_done)
        return;
    w = event(ask, "message_stop");
    event_end(ask, &w);
}

/* ---- routes ---- */

static void messages(struct ask *ask)
{
    struct question q;
    struct sim_answer a;
    int64_t most = -1;
    ask->route = "anthropic_messages";
    if (!anthropic_thread_resume(ask))
        return;
    if (!json_i64(json_get(ask->body, "max_tokens"), &most) || most < 0) {
        (void)refuse(ask, "max_tokens: Field required (simulated)");
        return;
    }
    if (!check_common(ask) || !check_numbers(ask, most))
        return;
    (void)json_bool(json_get(ask->body, "stream"), &ask->stream);
    read_question(ask, &q);
    q.max_tokens = (uint64_t)most;
    ask_gather_faults(ask);
    if (fault_answer(ask))
        return;
    answer_make(ask, &q, &a);
    anthropic_thread_keep(ask, &a);
    if (ask->stream)
        write_stream(ask, &a);
    else
        write_unary(ask, &a);
}

static void count_tokens(struct ask *ask)
{
    struct question q;
    ask->route = "anthropic_count_tokens";
    if (!check_common(ask))
        return;
    if (!json_absent(json_get(ask->body, "max_tokens")) ||
        !json_absent(json_get(ask->body, "stream"))) {
        (void)refuse(ask, "max_tokens: Extra inputs are not permitted (simulated)");
        return;
    }
    read_question(ask, &q);
    ask_gather_faults(ask);
    if (fault_answer(ask))
        return;
    struct json_writer w = reply_json(ask->reply, 200);
    jw_object(&w);
    jw_key(&w, "input_tokens");
    jw_u64(&w, tokens_of(q.input_bytes));
    jw_object_end(&w);
}

static void write_model(struct json_writer *w, struct span id)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "model");
    jw_key(w, "id");
    jw_string(w, id);
    jw_key(w, "display_name");
    jw_str(w, "Simulated");
    jw_key(w, "created_at");
    jw_str(w, "2025-01-01T00:00:00Z");
    jw_key(w, "lifecycle");
    jw_str(w, "active");
    jw_object_end(w);
}

static void models(struct ask *ask)
{
    static const char id[] = "claude-simulated";
    ask->route = "anthropic_models";
    ask_gather_faults(ask);
    if (fault_answer(ask))
        return;
    struct json_writer w = reply_json(ask->reply, 200);
    if (!span_is(ask->path, "/models")) {
        write_model(&w, span_skip(ask->path, strlen("/models/")));
        return;
    }
    jw_object(&w);
    jw_key(&w, "data");
    jw_array(&w);
    write_model(&w, span_str(id));
    jw_array_end(&w);
    jw_key(&w, "has_more");
    jw_bool(&w, false);
    jw_key(&w, "first_id");
    jw_str(&w, id);
    jw_key(&w, "last_id");
    jw_str(&w, id);
    jw_object_end(&w);
}

void anthropic_handle(struct ask *ask)
{
    bool is_post = span_is(http_method(ask->x), "POST");
    reply_header(ask->reply, "anthropic-organization-id", "simulated");
    if (is_post && span_is(ask->path, "/messages"))
        messages(ask);
    else if (is_post && span_is(ask->path, "/messages/count_tokens"))
        count_tokens(ask);
    else if (!is_post && span_starts(ask->path, "/models"))
        models(ask);
    else
        anthropic_error(ask, is_post ? 404 : 405, "not_found_error", "Not found (simulated)");
}
