/* Anthropic answers as written: errors, a message, a stream of events. */
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

bool anthropic_fault(struct ask *ask)
{
    const struct sim_fault *f = &ask->fault;
    if (!f->status || f->status == 200)
        return false;
    anthropic_error_detailed(ask, f->status, f->type[0] ? f->type : type_of_status(f->status),
                             f->message[0] ? f->message : "simulated failure", f->code);
    return true;
}

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

void anthropic_write_unary(struct ask *ask, const struct sim_answer *a)
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

void anthropic_write_stream(struct ask *ask, const struct sim_answer *a)
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
