/* Anthropic messages, count_tokens and models (docs/wire.md, Requests). */
#include "services/simulator/anthropic.h"

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
        q->after_result = anthropic_count_results(json_get(i.value, "content")) > 0;
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

/* ---- streaming ---- */

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
        (void)anthropic_refuse(ask, "max_tokens: Field required (simulated)");
        return;
    }
    if (!anthropic_check(ask) || !anthropic_check_numbers(ask, most))
        return;
    (void)json_bool(json_get(ask->body, "stream"), &ask->stream);
    read_question(ask, &q);
    q.max_tokens = (uint64_t)most;
    ask_gather_faults(ask);
    if (anthropic_fault(ask))
        return;
    answer_make(ask, &q, &a);
    anthropic_thread_keep(ask, &a);
    if (ask->stream)
        anthropic_write_stream(ask, &a);
    else
        anthropic_write_unary(ask, &a);
}

static void count_tokens(struct ask *ask)
{
    struct question q;
    ask->route = "anthropic_count_tokens";
    if (!anthropic_check(ask))
        return;
    if (!json_absent(json_get(ask->body, "max_tokens")) ||
        !json_absent(json_get(ask->body, "stream"))) {
        (void)anthropic_refuse(ask, "max_tokens: Extra inputs are not permitted (simulated)");
        return;
    }
    read_question(ask, &q);
    ask_gather_faults(ask);
    if (anthropic_fault(ask))
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
    if (anthropic_fault(ask))
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
