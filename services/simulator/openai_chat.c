#include <stdio.h>

#include "services/simulator/openai.h"

static void write_head(struct ask *ask, struct json_writer *w, const char *object)
{
    char id[48];
    (void)snprintf(id, sizeof id, "chatcmpl-sim%llu", (unsigned long long)ask->id);
    jw_object(w);
    jw_key(w, "id");
    jw_str(w, id);
    jw_key(w, "object");
    jw_str(w, object);
    jw_key(w, "created");
    jw_u64(w, OPENAI_CREATED);
    jw_key(w, "model");
    jw_string(w, ask->model);
    jw_key(w, "service_tier");
    jw_str(w, "default");
    jw_key(w, "system_fingerprint");
    jw_str(w, "simulated");
}

static void call_id(const struct ask *ask, unsigned index, unsigned choice, char out[48])
{
    (void)snprintf(out, 48, "call_sim%llu_%u_%u", (unsigned long long)ask->id, choice, index);
}

/* name.data NULL: only more arguments. */
static void write_function_call(struct json_writer *w, struct span name, struct span args)
{
    jw_key(w, "function_call");
    jw_object(w);
    if (name.data) {
        jw_key(w, "name");
        jw_string(w, name);
    }
    jw_key(w, "arguments");
    jw_string(w, args);
    jw_object_end(w);
}

static void write_calls(struct ask *ask, struct json_writer *w, const struct sim_answer *a,
                        unsigned choice)
{
    jw_key(w, "tool_calls");
    jw_array(w);
    for (unsigned i = 0; i < a->call_count; i++) {
        char id[48];
        call_id(ask, i, choice, id);
        jw_object(w);
        jw_key(w, "id");
        jw_str(w, id);
        jw_key(w, "type");
        jw_str(w, "function");
        jw_key(w, "function");
        jw_object(w);
        jw_key(w, "name");
        jw_string(w, a->calls[i].name);
        jw_key(w, "arguments");
        jw_string(w, a->calls[i].args);
        jw_object_end(w);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static bool wants_logprobs(const struct ask *ask)
{
    bool wants = false;
    return json_bool(json_get(ask->body, "logprobs"), &wants) && wants;
}

static void write_logprobs(struct json_writer *w, struct span token)
{
    jw_object(w);
    jw_key(w, "content");
    jw_array(w);
    jw_object(w);
    jw_key(w, "token");
    jw_string(w, token);
    jw_key(w, "logprob");
    jw_raw(w, SPAN("-0.125"));
    jw_key(w, "bytes");
    jw_null(w);
    jw_key(w, "top_logprobs");
    jw_array(w);
    jw_array_end(w);
    jw_object_end(w);
    jw_array_end(w);
    jw_key(w, "refusal");
    jw_null(w);
    jw_object_end(w);
}

static bool is_refusal(const struct ask *ask)
{
    return strcmp(ask->fault.finish, "refusal") == 0;
}

static const char *finish_word(const struct ask *ask, const struct sim_answer *a)
{
    if (openai_is_legacy(ask) && a->call_count && !ask->fault.finish[0])
        return "function_call";
    return is_refusal(ask) ? "stop" : openai_finish(ask, a);
}

static void write_choice(struct ask *ask, struct json_writer *w, const struct sim_answer *a,
                         unsigned index)
{
    jw_object(w);
    jw_key(w, "index");
    jw_u64(w, index);
    jw_key(w, "message");
    jw_object(w);
    jw_key(w, "role");
    jw_str(w, "assistant");
    jw_key(w, "content");
    if (a->call_count || is_refusal(ask))
        jw_null(w);
    else
        jw_string(w, a->text);
    if (a->thinking.len) {
        jw_key(w, "reasoning_content");
        jw_string(w, a->thinking);
    }
    jw_key(w, "refusal");
    if (is_refusal(ask))
        jw_string(w, a->text);
    else
        jw_null(w);
    jw_key(w, "annotations");
    jw_array(w);
    jw_array_end(w);
    if (a->call_count && openai_is_legacy(ask))
        write_function_call(w, a->calls[0].name, a->calls[0].args);
    else if (a->call_count)
        write_calls(ask, w, a, index);
    jw_object_end(w);
    jw_key(w, "logprobs");
    if (wants_logprobs(ask) && !a->call_count)
        write_logprobs(w, a->text);
    else
        jw_null(w);
    jw_key(w, "finish_reason");
    jw_str(w, finish_word(ask, a));
    jw_object_end(w);
}

static void write_unary(struct ask *ask, const struct sim_answer *a, unsigned n)
{
    struct json_writer w = reply_json(ask->reply, 200);
    write_head(ask, &w, "chat.completion");
    jw_key(&w, "choices");
    jw_array(&w);
    for (unsigned i = 0; i < n; i++)
        write_choice(ask, &w, a, i);
    jw_array_end(&w);
    if (!ask->fault.no_usage) {
        jw_key(&w, "usage");
        openai_usage(&w, a);
    }
    jw_object_end(&w);
}

/* ---- streaming ---- */

struct chunks {
    struct ask *ask;
    bool usage_member; /* "usage":null in every chunk */
    struct json_writer w;
};

static struct json_writer *chunk_begin(struct chunks *c, unsigned choice)
{
    c->w = reply_event(c->ask->reply, NULL);
    write_head(c->ask, &c->w, "chat.completion.chunk");
    jw_key(&c->w, "choices");
    jw_array(&c->w);
    jw_object(&c->w);
    jw_key(&c->w, "index");
    jw_u64(&c->w, choice);
    jw_key(&c->w, "delta");
    jw_object(&c->w);
    return &c->w;
}

static void chunk_end(struct chunks *c, struct span token, const char *finish)
{
    struct json_writer *w = &c->w;
    jw_object_end(w);
    jw_key(w, "logprobs");
    if (token.len && wants_logprobs(c->ask))
        write_logprobs(w, token);
    else
        jw_null(w);
    jw_key(w, "finish_reason");
    if (finish)
        jw_str(w, finish);
    else
        jw_null(w);
    jw_object_end(w);
    jw_array_end(w);
    if (c->usage_member) {
        jw_key(w, "usage");
        jw_null(w);
    }
    jw_object_end(w);
    reply_event_end(c->ask->reply);
}

static void stream_role(struct chunks *c, const struct sim_answer *a, unsigned choice)
{
    struct json_writer *w = chunk_begin(c, choice);
    jw_key(w, "role");
    jw_str(w, "assistant");
    jw_key(w, "content");
    if (a->call_count || is_refusal(c->ask))
        jw_null(w);
    else
        jw_str(w, "");
    jw_key(w, "refusal");
    if (is_refusal(c->ask))
        jw_str(w, "");
    else
        jw_null(w);
    chunk_end(c, SPAN_NONE, NULL);
}

/* One member in the delta, in pieces. false when an in-band error has ended the stream. */
static bool stream_text(struct chunks *c, const char *member, struct span text, unsigned choice)
{
    size_t at = 0;
    int64_t count = 0;
    while (at < text.len) {
        if (c->ask->fault.error_at >= 0 && count++ == c->ask->fault.error_at)
            return false;
        struct span piece = answer_piece(c->ask, text, &at);
        struct json_writer *w = chunk_begin(c, choice);
        jw_key(w, member);
        jw_string(w, piece);
        chunk_end(c, piece, NULL);
        reply_mark(c->ask->reply);
    }
    return true;
}

static void stream_call(struct chunks *c, const struct tool_use *call, unsigned index,
                        unsigned choice)
{
    size_t at = 0;
    for (bool first = true; first || at < call->args.len; first = false) {
        struct json_writer *w = chunk_begin(c, choice);
        jw_key(w, "tool_calls");
        jw_array(w);
        jw_object(w);
        jw_key(w, "index");
        jw_u64(w, index);
        if (first) {
            char id[48];
            call_id(c->ask, index, choice, id);
            jw_key(w, "id");
            jw_str(w, id);
            jw_key(w, "type");
            jw_str(w, "function");
        }
        jw_key(w, "function");
        jw_object(w);
        if (first) {
            jw_key(w, "name");
            jw_string(w, call->name);
        }
        jw_key(w, "arguments");
        jw_string(w, first ? SPAN("") : answer_piece(c->ask, call->args, &at));
        jw_object_end(w);
        jw_object_end(w);
        jw_array_end(w);
        chunk_end(c, SPAN_NONE, NULL);
        reply_mark(c->ask->reply);
    }
}

static void stream_function_call(struct chunks *c, const struct tool_use *call, unsigned choice)
{
    size_t at = 0;
    for (bool first = true; first || at < call->args.len; first = false) {
        struct json_writer *w = chunk_begin(c, choice);
        write_function_call(w, first ? call->name : SPAN_NONE,
                            first ? SPAN("") : answer_piece(c->ask, call->args, &at));
        chunk_end(c, SPAN_NONE, NULL);
        reply_mark(c->ask->reply);
    }
}

static bool stream_choice(struct chunks *c, const struct sim_answer *a, unsigned choice)
{
    stream_role(c, a, choice);
    if (a->thinking.len && !stream_text(c, "reasoning_content", a->thinking, choice))
        return false;
    if (a->call_count && openai_is_legacy(c->ask))
        stream_function_call(c, &a->calls[0], choice);
    for (unsigned i = 0; i < a->call_count && !openai_is_legacy(c->ask); i++)
        stream_call(c, &a->calls[i], i, choice);
    if (!stream_text(c, is_refusal(c->ask) ? "refusal" : "content", a->text, choice))
        return false;
    (void)chunk_begin(c, choice);
    chunk_end(c, SPAN_NONE, finish_word(c->ask, a));
    reply_mark(c->ask->reply);
    return true;
}

static void stream_usage(struct chunks *c, const struct sim_answer *a)
{
    c->w = reply_event(c->ask->reply, NULL);
    write_head(c->ask, &c->w, "chat.completion.chunk");
    jw_key(&c->w, "choices");
    jw_array(&c->w);
    jw_array_end(&c->w);
    jw_key(&c->w, "usage");
    openai_usage(&c->w, a);
    jw_object_end(&c->w);
    reply_event_end(c->ask->reply);
}

static void write_stream(struct ask *ask, const struct sim_answer *a, unsigned n)
{
    struct chunks c = {.ask = ask, .usage_member = openai_wants_usage(ask)};
    reply_begin_stream(ask->reply, "text/event-stream; charset=utf-8");
    ask->reply->reports_usage = c.usage_member;
    for (unsigned i = 0; i < n; i++) {
        if (!stream_choice(&c, a, i)) {
            openai_stream_error(ask);
            return;
        }
    }
    if (c.usage_member)
        stream_usage(&c, a);
    if (!ask->fault.no_done)
        buf_append_str(&ask->reply->body, "data: [DONE]\n\n");
}

void openai_chat(struct ask *ask)
{
    struct question q;
    struct sim_answer a;
    int64_t n = 1;
    if (!openai_chat_read(ask, &q))
        return;
    ask_gather_faults(ask);
    if (openai_fault(ask))
        return;
    answer_make(ask, &q, &a);
    (void)json_i64(json_get(ask->body, "n"), &n);
    if (n > 1) {
        a.output *= (uint64_t)n;
        ask->reply->output = a.output;
    }
    if (ask->stream)
        write_stream(ask, &a, (unsigned)n);
    else
        write_unary(ask, &a, (unsigned)n);
}
