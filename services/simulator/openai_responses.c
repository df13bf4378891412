/* The Responses API (docs/wire.md, Responses): create, stream, get, delete, cancel, input_tokens.
 */
#include <stdio.h>

#include "services/simulator/openai.h"

struct response {
    struct ask *ask;
    const struct sim_answer *a;
    char id[48];
    const char *status;
    uint64_t sequence;
};

/* ---- reading ---- */

static struct span parts_text(struct ask *ask, struct json content)
{
    if (json_type(content) == JSON_STRING)
        return json_string(content, &ask->sim->arena);
    struct buf out = {0};
    for (struct json_iter i = json_iter(content);
         json_type(content) == JSON_ARRAY && json_next(&i);) {
        if (json_type(json_get(i.value, "text")) == JSON_STRING)
            json_text_decode(json_text(json_get(i.value, "text")), &out);
    }
    struct span copy = arena_copy(&ask->sim->arena, buf_span(&out));
    buf_free(&out);
    return copy;
}

static void read_tools(struct ask *ask, struct question *q)
{
    struct json tools = json_get(ask->body, "tools"), choice = json_get(ask->body, "tool_choice");
    for (struct json_iter i = json_iter(tools); json_type(tools) == JSON_ARRAY && json_next(&i);) {
        if (json_is(json_get(i.value, "type"), "function"))
            question_add_tool(ask, q, json_string(json_get(i.value, "name"), &ask->sim->arena),
                              json_get(i.value, "parameters"));
    }
    if (json_is(choice, "none"))
        q->mode = TOOLS_NONE;
    else if (json_is(choice, "required"))
        q->mode = TOOLS_ANY;
    if (json_is(json_get(choice, "type"), "function")) {
        q->mode = TOOLS_NAMED;
        q->named = json_string(json_get(choice, "name"), &ask->sim->arena);
    }
    bool parallel = true;
    q->one_call = json_bool(json_get(ask->body, "parallel_tool_calls"), &parallel) && !parallel;
}

static void read_question(struct ask *ask, struct question *q)
{
    struct json input = json_get(ask->body, "input"),
                format = json_get(json_get(ask->body, "text"), "format");
    int64_t most = 0;
    *q = (struct question){.input_bytes = json_raw(input).len +
                                          json_raw(json_get(ask->body, "instructions")).len +
                                          json_raw(json_get(ask->body, "tools")).len};
    if (json_type(input) == JSON_STRING)
        ask->text = json_string(input, &ask->sim->arena);
    for (struct json_iter i = json_iter(input); json_type(input) == JSON_ARRAY && json_next(&i);) {
        q->after_result = json_is(json_get(i.value, "type"), "function_call_output");
        if (json_is(json_get(i.value, "role"), "user"))
            ask->text = parts_text(ask, json_get(i.value, "content"));
    }
    read_tools(ask, q);
    if (json_is(json_get(format, "type"), "json_schema")) {
        q->format = FORMAT_SCHEMA;
        q->schema = json_get(format, "schema");
    } else if (json_is(json_get(format, "type"), "json_object")) {
        q->format = FORMAT_OBJECT;
    }
    if (json_i64(json_get(ask->body, "max_output_tokens"), &most) && most > 0)
        q->max_tokens = (uint64_t)most;
    struct json summary = json_get(json_get(ask->body, "reasoning"), "summary");
    q->thinking = !json_absent(summary);
    ask->marker = json_string(json_get(ask->body, "user"), &ask->sim->arena);
}

/* ---- writing ---- */

static void write_usage(struct json_writer *w, const struct sim_answer *a)
{
    jw_object(w);
    jw_key(w, "input_tokens");
    jw_u64(w, a->input);
    jw_key(w, "input_tokens_details");
    jw_object(w);
    jw_key(w, "cached_tokens");
    jw_u64(w, a->cached);
    jw_key(w, "cache_write_tokens");
    jw_u64(w, 0);
    jw_object_end(w);
    jw_key(w, "output_tokens");
    jw_u64(w, a->output);
    jw_key(w, "output_tokens_details");
    jw_object(w);
    jw_key(w, "reasoning_tokens");
    jw_u64(w, a->reasoning);
    jw_object_end(w);
    jw_key(w, "total_tokens");
    jw_u64(w, a->input + a->output);
    jw_object_end(w);
}

static void item_id(const struct response *r, const char *kind, unsigned index, char out[64])
{
    (void)snprintf(out, 64, "%s_sim%llu_%u", kind, (unsigned long long)r->ask->id, index);
}

static void write_text_part(struct json_writer *w, struct span text)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "output_text");
    jw_key(w, "text");
    jw_string(w, text);
    jw_key(w, "annotations");
    jw_array(w);
    jw_array_end(w);
    jw_key(w, "logprobs");
    jw_array(w);
    jw_array_end(w);
    jw_object_end(w);
}

static void write_reasoning(const struct response *r, struct json_writer *w, bool done)
{
    char id[64];
    item_id(r, "rs", 0, id);
    jw_object(w);
    jw_key(w, "id");
    jw_str(w, id);
    jw_key(w, "type");
    jw_str(w, "reasoning");
    jw_key(w, "summary");
    jw_array(w);
    if (done) {
        jw_object(w);
        jw_key(w, "type");
        jw_str(w, "summary_text");
        jw_key(w, "text");
        jw_string(w, r->a->thinking);
        jw_object_end(w);
    }
    jw_array_end(w);
    jw_object_end(w);
}

static void write_message(const struct response *r, struct json_writer *w, bool done)
{
    char id[64];
    item_id(r, "msg", 0, id);
    jw_object(w);
    jw_key(w, "id");
    jw_str(w, id);
    jw_key(w, "type");
    jw_str(w, "message");
    jw_key(w, "status");
    jw_str(w, done ? "completed" : "in_progress");
    jw_key(w, "role");
    jw_str(w, "assistant");
    jw_key(w, "content");
    jw_array(w);
    if (done)
        write_text_part(w, r->a->text);
    jw_array_end(w);
    jw_object_end(w);
}

static void write_call(const struct response *r, struct json_writer *w, unsigned i, bool done)
{
    char id[64];
    item_id(r, "fc", i, id);
    jw_object(w);
    jw_key(w, "id");
    jw_str(w, id);
    jw_key(w, "type");
    jw_str(w, "function_call");
    jw_key(w, "status");
    jw_str(w, done ? "completed" : "in_progress");
    jw_key(w, "call_id");
    item_id(r, "call", i, id);
    jw_str(w, id);
    jw_key(w, "name");
    jw_string(w, r->a->calls[i].name);
    jw_key(w, "arguments");
    jw_string(w, done ? r->a->calls[i].args : SPAN(""));
    jw_object_end(w);
}

static void write_output(const struct response *r, struct json_writer *w)
{
    if (r->a->thinking.len)
        write_reasoning(r, w, true);
    for (unsigned i = 0; i < r->a->call_count; i++)
        write_call(r, w, i, true);
    if (!r->a->call_count)
        write_message(r, w, true);
}

/* The response object; output and usage only in a terminal status. */
static void write_response(const struct response *r, struct json_writer *w, const char *status)
{
    bool incomplete = strcmp(status, "incomplete") == 0;
    bool terminal = incomplete || strcmp(status, "completed") == 0;
    jw_object(w);
    jw_key(w, "id");
    jw_str(w, r->id);
    jw_key(w, "object");
    jw_str(w, "response");
    jw_key(w, "created_at");
    jw_u64(w, OPENAI_CREATED);
    jw_key(w, "status");
    jw_str(w, status);
    jw_key(w, "error");
    jw_null(w);
    jw_key(w, "incomplete_details");
    if (incomplete) {
        jw_object(w);
        jw_key(w, "reason");
        jw_str(w, "max_output_tokens");
        jw_object_end(w);
    } else {
        jw_null(w);
    }
    jw_key(w, "instructions");
    if (json_absent(json_get(r->ask->body, "instructions")))
        jw_null(w);
    else
        jw_value(w, json_get(r->ask->body, "instructions"));
    jw_key(w, "model");
    jw_string(w, r->ask->model);
    jw_key(w, "output");
    jw_array(w);
    if (terminal)
        write_output(r, w);
    jw_array_end(w);
    jw_key(w, "parallel_tool_calls");
    jw_bool(w, true);
    jw_key(w, "tool_choice");
    jw_str(w, "auto");
    jw_key(w, "tools");
    jw_array(w);
    jw_array_end(w);
    jw_key(w, "metadata");
    jw_object(w);
    jw_key(w, "simulated");
    jw_str(w, "true");
    jw_object_end(w);
    jw_key(w, "usage");
    if (terminal && !r->ask->fault.no_usage)
        write_usage(w, r->a);
    else
        jw_null(w);
    jw_object_end(w);
}

/* ---- streaming ---- */

static struct json_writer event(struct response *r, const char *type)
{
    struct json_writer w = reply_event(r->ask->reply, type);
    jw_object(&w);
    jw_key(&w, "type");
    jw_str(&w, type);
    jw_key(&w, "sequence_number");
    jw_u64(&w, r->sequence++);
    return w;
}

static void event_end(struct response *r, struct json_writer *w)
{
    jw_object_end(w);
    reply_event_end(r->ask->reply);
}

static void event_response(struct response *r, const char *type, const char *status)
{
    struct json_writer w = event(r, type);
    jw_key(&w, "response");
    write_response(r, &w, status);
    event_end(r, &w);
}

static void where(struct json_writer *w, const char *id, unsigned output, bool content)
{
    jw_key(w, "item_id");
    jw_str(w, id);
    jw_key(w, "output_index");
    jw_u64(w, output);
    if (content) {
        jw_key(w, "content_index");
        jw_u64(w, 0);
    }
}

static void item_event(struct response *r, const char *type, unsigned output,
                       void (*write)(const struct response *, struct json_writer *, bool),
                       bool done)
{
    struct json_writer w = event(r, type);
    jw_key(&w, "output_index");
    jw_u64(&w, output);
    jw_key(&w, "item");
    write(r, &w, done);
    event_end(r, &w);
}

static bool deltas(struct response *r, const char *type, const char *id, unsigned output,
                   bool content, struct span text)
{
    size_t at = 0;
    int64_t count = 0;
    while (at < text.len) {
        if (r->ask->fault.error_at >= 0 && count++ == r->ask->fault.error_at)
            return false;
        struct json_writer w = event(r, type);
        where(&w, id, output, content);
        jw_key(&w, "delta");
        jw_string(&w, answer_piece(r->ask, text, &at));
        if (content) {
            jw_key(&w, "logprobs");
            jw_array(&w);
            jw_array_end(&w);
        }
        event_end(r, &w);
        reply_mark(r->ask->reply);
    }
    return true;
}

static void part_event(struct response *r, const char *type, const char *id, unsigned output,
                       struct span text)
{
    struct json_writer w = event(r, type);
    where(&w, id, output, true);
    jw_key(&w, "part");
    write_text_part(&w, text);
    event_end(r, &w);
}

static bool stream_message(struct response *r, unsigned output)
{
    char id[64];
    item_id(r, "msg", 0, id);
    item_event(r, "response.output_item.added", output, write_message, false);
    part_event(r, "response.content_part.added", id, output, SPAN(""));
    if (!deltas(r, "response.output_text.delta", id, output, true, r->a->text))
        return false;
    struct json_writer w = event(r, "response.output_text.done");
    where(&w, id, output, true);
    jw_key(&w, "text");
    jw_string(&w, r->a->text);
    jw_key(&w, "logprobs");
    jw_array(&w);
    jw_array_end(&w);
    event_end(r, &w);
    part_event(r, "response.content_part.done", id, output, r->a->text);
    item_event(r, "response.output_item.done", output, write_message, true);
    return true;
}

static void call_item_event(struct response *r, const char *type, unsigned output, unsigned i,
                            bool done)
{
    struct json_writer w = event(r, type);
    jw_key(&w, "output_index");
    jw_u64(&w, output);
    jw_key(&w, "item");
    write_call(r, &w, i, done);
    event_end(r, &w);
}

static bool stream_call(struct response *r, unsigned output, unsigned i)
{
    char id[64];
    item_id(r, "fc", i, id);
    call_item_event(r, "response.output_item.added", output, i, false);
    if (!deltas(r, "response.function_call_arguments.delta", id, output, false,
                r->a->calls[i].args))
        return false;
    struct json_writer w = event(r, "response.function_call_arguments.done");
    where(&w, id, output, false);
    jw_key(&w, "name");
    jw_string(&w, r->a->calls[i].name);
    jw_key(&w, "arguments");
    jw_string(&w, r->a->calls[i].args);
    event_end(r, &w);
    call_item_event(r, "response.output_item.done", output, i, true);
    return true;
}

static bool stream_items(struct response *r)
{
    unsigned output = 0;
    if (r->a->thinking.len) {
        item_event(r, "response.output_item.added", output, write_reasoning, false);
        item_event(r, "response.output_item.done", output++, write_reasoning, true);
    }
    for (unsigned i = 0; i < r->a->call_count; i++) {
        if (!stream_call(r, output++, i))
            return false;
    }
    return r->a->call_count || stream_message(r, output);
}

static void stream(struct response *r)
{
    reply_begin_stream(r->ask->reply, "text/event-stream; charset=utf-8");
    event_response(r, "response.created", "in_progress");
    event_response(r, "response.in_progress", "in_progress");
    if (!stream_items(r)) {
        struct json_writer w = event(r, "error");
        jw_key(&w, "code");
        jw_str(&w, r->ask->fault.code[0] ? r->ask->fault.code : "server_error");
        jw_key(&w, "message");
        jw_str(&w, "simulated failure in mid-stream");
        jw_key(&w, "param");
        jw_null(&w);
        event_end(r, &w);
        r->ask->reply->reports_usage = false;
        return;
    }
    bool whole = strcmp(r->status, "completed") == 0;
    event_response(r, whole ? "response.completed" : "response.incomplete", r->status);
}

/* ---- routes ---- */

/* As with OpenAI, a response is known only to the key that made it. Lives in the request's memory.
 */
static struct span stored_name(struct ask *ask, struct span id)
{
    struct span key = http_header(ask->x, "authorization");
    return arena_printf(&ask->sim->arena, "%.*s %.*s", SPAN_ARG(key), SPAN_ARG(id));
}

static bool previous_is_known(struct ask *ask)
{
    struct span value;
    struct json previous = json_get(ask->body, "previous_response_id");
    if (json_type(previous) != JSON_STRING ||
        store_get(ask->sim->responses, stored_name(ask, json_text(previous)), &value, NULL))
        return true;
    openai_error(ask, 400, "invalid_request_error", "previous_response_not_found",
                 "previous_response_id", "Previous response not found. (simulated)");
    return false;
}

static void keep(struct response *r)
{
    bool store = true;
    struct buf text = {0};
    struct json_writer w = {.out = &text};
    if (json_bool(json_get(r->ask->body, "store"), &store) && !store)
        return;
    write_response(r, &w, r->status);
    if (store_put(r->ask->sim->responses, stored_name(r->ask, span_str(r->id)), buf_span(&text),
                  NULL, 0))
        r->id[0] = '\0';
    buf_free(&text);
}

static void create(struct ask *ask)
{
    struct question q;
    struct sim_answer a;
    bool background = false;
    ask->route = "openai_responses";
    if (!openai_common(ask))
        return;
    read_question(ask, &q);
    ask_gather_faults(ask);
    if (openai_fault(ask) || !previous_is_known(ask))
        return;
    answer_make(ask, &q, &a);
    struct response r = {
        .ask = ask, .a = &a, .status = a.finish == FINISH_LENGTH ? "incomplete" : "completed"};
    (void)snprintf(r.id, sizeof r.id, "resp_sim%llu", (unsigned long long)ask->id);
    keep(&r);
    (void)json_bool(json_get(ask->body, "background"), &background);
    if (ask->stream) {
        stream(&r);
        return;
    }
    struct json_writer w = reply_json(ask->reply, 200);
    write_response(&r, &w, background ? "queued" : r.status);
    ask->reply->reports_usage = !background && !ask->fault.no_usage;
}

static void input_tokens(struct ask *ask)
{
    struct question q;
    ask->route = "openai_input_tokens";
    if (!openai_common(ask))
        return;
    read_question(ask, &q);
    ask_gather_faults(ask);
    if (openai_fault(ask))
        return;
    struct json_writer w = reply_json(ask->reply, 200);
    jw_object(&w);
    jw_key(&w, "object");
    jw_str(&w, "response.input_tokens");
    jw_key(&w, "input_tokens");
    jw_u64(&w, tokens_of(q.input_bytes));
    jw_object_end(&w);
}

static void not_found(struct ask *ask)
{
    openai_error(ask, 404, "invalid_request_error", "", "id", "Response not found. (simulated)");
}

static void by_id(struct ask *ask, struct span id)
{
    struct span value;
    struct span method = http_method(ask->x);
    ask->route = "openai_response_by_id";
    ask_gather_faults(ask);
    if (openai_fault(ask))
        return;
    bool cancel = span_ends(id, "/cancel") && span_is(method, "POST");
    if (cancel)
        id.len -= strlen("/cancel");
    if (!store_get(ask->sim->responses, stored_name(ask, id), &value, NULL)) {
        not_found(ask);
        return;
    }
    struct json_writer w = reply_json(ask->reply, 200);
    if (!span_is(method, "DELETE")) {
        jw_raw(&w, value);
        return;
    }
    jw_object(&w);
    jw_key(&w, "id");
    jw_string(&w, id);
    jw_key(&w, "object");
    jw_str(&w, "response");
    jw_key(&w, "deleted");
    jw_bool(&w, true);
    jw_object_end(&w);
    (void)store_remove(ask->sim->responses, stored_name(ask, id));
}

void openai_responses_handle(struct ask *ask)
{
    bool is_post = span_is(http_method(ask->x), "POST");
    if (is_post && span_is(ask->path, "/responses"))
        create(ask);
    else if (is_post && span_is(ask->path, "/responses/input_tokens"))
        input_tokens(ask);
    else if (span_starts(ask->path, "/responses/"))
        by_id(ask, span_skip(ask->path, strlen("/responses/")));
    else
        openai_error(ask, 405, "invalid_request_error", "", NULL, "Not allowed (simulated)");
}
