#include <stdio.h>

#include "services/simulator/openai.h"

enum { MAX_PROMPTS = 128, DEFAULT_MAX_TOKENS = 16 };

/* The real host says so to all but its three legacy models; compatible servers under other names do
 * answer. */
static bool is_chat_model(struct span model)
{
    static const char *const chat[] = {"gpt-4", "gpt-5", "o1", "o3", "o4", "chatgpt"};
    for (size_t i = 0; i < sizeof chat / sizeof chat[0]; i++) {
        if (span_starts(model, chat[i]))
            return true;
    }
    return span_starts(model, "gpt-3.5-turbo") && !span_starts(model, "gpt-3.5-turbo-instruct");
}

struct prompts {
    struct span text[MAX_PROMPTS];
    unsigned count;
};

static bool read_prompts(struct ask *ask, struct prompts *p)
{
    struct json prompt = json_get(ask->body, "prompt");
    p->count = 0;
    if (json_absent(prompt)) {
        p->text[p->count++] = SPAN("<|endoftext|>");
    } else if (json_type(prompt) == JSON_STRING) {
        p->text[p->count++] = json_string(prompt, &ask->sim->arena);
    } else {
        for (struct json_iter i = json_iter(prompt);
             json_type(prompt) == JSON_ARRAY && json_next(&i);) {
            if (p->count == MAX_PROMPTS)
                return false;
            if (json_type(i.value) == JSON_STRING)
                p->text[p->count++] = json_string(i.value, &ask->sim->arena);
            else if (json_type(i.value) == JSON_NUMBER && p->count)
                continue; /* one prompt of tokens */
            else
                p->text[p->count++] = arena_copy(&ask->sim->arena, json_raw(i.value));
        }
    }
    return p->count > 0;
}

static void write_head(struct ask *ask, struct json_writer *w)
{
    char id[48];
    (void)snprintf(id, sizeof id, "cmpl-sim%llu", (unsigned long long)ask->id);
    jw_object(w);
    jw_key(w, "id");
    jw_str(w, id);
    jw_key(w, "object");
    jw_str(w, "text_completion");
    jw_key(w, "created");
    jw_u64(w, OPENAI_CREATED);
    jw_key(w, "model");
    jw_string(w, ask->model);
    jw_key(w, "system_fingerprint");
    jw_str(w, "simulated");
    jw_key(w, "choices");
    jw_array(w);
}

static void write_choice(struct json_writer *w, struct span text, unsigned index,
                         const char *finish)
{
    jw_object(w);
    jw_key(w, "text");
    jw_string(w, text);
    jw_key(w, "index");
    jw_u64(w, index);
    jw_key(w, "logprobs");
    jw_null(w);
    jw_key(w, "finish_reason");
    if (finish)
        jw_str(w, finish);
    else
        jw_null(w);
    jw_object_end(w);
}

static void write_usage(struct json_writer *w, const struct sim_answer *sum)
{
    jw_key(w, "usage");
    jw_object(w);
    jw_key(w, "prompt_tokens");
    jw_u64(w, sum->input);
    jw_key(w, "completion_tokens");
    jw_u64(w, sum->output);
    jw_key(w, "total_tokens");
    jw_u64(w, sum->input + sum->output);
    jw_object_end(w);
}

static void stream_choice(struct ask *ask, struct span text, unsigned index, const char *finish)
{
    size_t at = 0;
    do {
        struct span piece = answer_piece(ask, text, &at);
        struct json_writer w = reply_event(ask->reply, NULL);
        write_head(ask, &w);
        write_choice(&w, piece, index, at >= text.len ? finish : NULL);
        jw_array_end(&w);
        jw_object_end(&w);
        reply_event_end(ask->reply);
        reply_mark(ask->reply);
    } while (at < text.len);
}

/* The answer to one prompt; with echo the prompt stands in front of it. */
static struct span choice_text(struct ask *ask, const struct sim_answer *a, struct span prompt,
                               bool echo)
{
    return echo ? arena_printf(&ask->sim->arena, "%.*s%.*s", SPAN_ARG(prompt), SPAN_ARG(a->text))
                : a->text;
}

static void write_unary(struct ask *ask, const struct prompts *p, const struct sim_answer *answers,
                        unsigned n, bool echo, const struct sim_answer *sum)
{
    struct json_writer w = reply_json(ask->reply, 200);
    write_head(ask, &w);
    for (unsigned i = 0; i < p->count * n; i++)
        write_choice(&w, choice_text(ask, &answers[i / n], p->text[i / n], echo), i,
                     openai_finish(ask, &answers[i / n]));
    jw_array_end(&w);
    if (!ask->fault.no_usage)
        write_usage(&w, sum);
    jw_object_end(&w);
    ask->reply->reports_usage = !ask->fault.no_usage;
}

static void write_stream(struct ask *ask, const struct prompts *p, const struct sim_answer *answers,
                         unsigned n, bool echo, const struct sim_answer *sum)
{
    reply_begin_stream(ask->reply, "text/event-stream; charset=utf-8");
    for (unsigned i = 0; i < p->count * n; i++)
        stream_choice(ask, choice_text(ask, &answers[i / n], p->text[i / n], echo), i,
                      openai_finish(ask, &answers[i / n]));
    ask->reply->reports_usage = openai_wants_usage(ask);
    if (ask->reply->reports_usage) {
        struct json_writer w = reply_event(ask->reply, NULL);
        write_head(ask, &w);
        jw_array_end(&w);
        write_usage(&w, sum);
        jw_object_end(&w);
        reply_event_end(ask->reply);
    }
    if (!ask->fault.no_done)
        buf_append_str(&ask->reply->body, "data: [DONE]\n\n");
}

void openai_completions(struct ask *ask)
{
    struct prompts p;
    struct sim_answer *answers;
    struct sim_answer sum = {.input = 0};
    int64_t n = 1, most = DEFAULT_MAX_TOKENS;
    bool echo = false;
    if (is_chat_model(ask->model)) {
        openai_error(
            ask, 404, "invalid_request_error", "", "model",
            "This is a chat model and not supported in the v1/completions endpoint. (simulated)");
        return;
    }
    if (!read_prompts(ask, &p)) {
        openai_error(ask, 400, "invalid_request_error", "invalid_value", "prompt",
                     "bad prompt (simulated)");
        return;
    }
    (void)json_i64(json_get(ask->body, "n"), &n);
    (void)json_i64(json_get(ask->body, "max_tokens"), &most);
    (void)json_bool(json_get(ask->body, "echo"), &echo);
    if (n < 1 || n > 128 || most < 0) {
        openai_error(ask, 400, "invalid_request_error", "invalid_value", NULL,
                     "n or max_tokens out of range (simulated)");
        return;
    }
    ask->marker = json_string(json_get(ask->body, "user"), &ask->sim->arena);
    ask->text = p.text[0];
    ask_gather_faults(ask);
    answers = ARENA_ARRAY(&ask->sim->arena, struct sim_answer, p.count);
    if (openai_fault(ask) || !answers)
        return;
    for (unsigned i = 0; i < p.count; i++) {
        struct question q = {.max_tokens = (uint64_t)most,
                             .stops = json_get(ask->body, "stop"),
                             .input_bytes = p.text[i].len};
        ask->text = p.text[i];
        answer_make(ask, &q, &answers[i]);
        sum.input += answers[i].input;
        sum.output += answers[i].output * (uint64_t)n;
    }
    ask->reply->input = sum.input;
    ask->reply->output = sum.output;
    (ask->stream ? write_stream : write_unary)(ask, &p, answers, (unsigned)n, echo, &sum);
}
