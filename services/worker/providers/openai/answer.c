/* OpenAI chat answers → neutral events (docs/wire.md, Answers). */
#include "services/worker/providers/openai/openai.h"

/* ---- shared by bodies and streams ---- */

void openai_note_bill(struct openai_state *s, struct json root)
{
    struct json usage = json_get(root, "usage"), tier;
    if (json_type(usage) != JSON_OBJECT)
        return;
    usage_read_chat(&s->usage, usage);
    tier = json_get(root, "service_tier");
    if (json_type(tier) == JSON_STRING)
        s->usage.tier = service_tier_of(json_text(tier));
}

void openai_say_reasoning(struct conversion *pc, struct openai_state *s, struct json from)
{
    struct json text = json_get(from, "reasoning_content");
    if (json_text(text).len == 0) /* absent, or "" beside the other */
        text = json_get(from, "reasoning");
    out_text(pc, &s->out, EVENT_THINK, json_text(text));
}

/* A string, or parts of text. */
static void say_parts(struct conversion *pc, struct openai_state *s, enum event_kind kind,
                      struct json content)
{
    if (json_type(content) == JSON_STRING)
        out_text(pc, &s->out, kind, json_text(content));
    for (struct json_iter i = json_iter(content);
         json_type(content) == JSON_ARRAY && json_next(&i);)
        out_text(pc, &s->out, kind, json_text(json_get(i.value, "text")));
}

/* Mistral's thinking is a part among the text. */
void openai_say_content(struct conversion *pc, struct openai_state *s, struct json content)
{
    if (json_type(content) != JSON_ARRAY) {
        say_parts(pc, s, EVENT_TEXT, content);
        return;
    }
    for (struct json_iter i = json_iter(content); json_next(&i);) {
        if (json_is(json_get(i.value, "type"), "thinking"))
            say_parts(pc, s, EVENT_THINK, json_get(i.value, "thinking"));
        else
            out_text(pc, &s->out, EVENT_TEXT, json_text(json_get(i.value, "text")));
    }
}

void openai_say_refusal(struct conversion *pc, struct openai_state *s, struct json refusal)
{
    if (json_type(refusal) == JSON_STRING && json_text(refusal).len) {
        s->refused = true;
        out_text(pc, &s->out, EVENT_REFUSAL, json_text(refusal));
    }
}

/* ---- why it stopped ---- */

static const struct {
    const char *word;
    enum stop_reason stop;
} stops[] = {
    {"stop", STOP_END},
    {"eos", STOP_END},
    {"end_turn", STOP_END},
    {"length", STOP_LENGTH},
    {"max_tokens", STOP_LENGTH},
    {"model_length", STOP_CONTEXT},
    {"tool_calls", STOP_TOOL},
    {"function_call", STOP_TOOL},
    {"content_filter", STOP_FILTER},
};

static enum stop_reason stop_of(struct json reason)
{
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        if (json_is(reason, stops[i].word))
            return stops[i].stop;
    }
    return STOP_UNKNOWN;
}

/* Some servers end a failed answer like a good one. */
bool openai_is_failure(struct json reason)
{
    return json_is(reason, "error") || json_is(reason, "insufficient_system_resource");
}

static bool same_bytes(struct span a_text, struct span b_text)
{
    struct buf a = {0}, b = {0};
    json_text_decode(a_text, &a);
    json_text_decode(b_text, &b);
    bool same = span_equals(buf_span(&a), buf_span(&b));
    buf_free(&a);
    buf_free(&b);
    return same;
}

/* vLLM says which of the requested sequences it was. */
void openai_note_stop(struct conversion *pc, struct openai_state *s, struct json choice)
{
    s->finished = true;
    s->stop = stop_of(json_get(choice, "finish_reason"));
    struct json sequence = json_get(choice, "stop_reason");
    const struct neutral_request *r = pc->request;
    for (size_t i = 0; json_type(sequence) == JSON_STRING && i < r->stop_count; i++) {
        if (!same_bytes(json_text(sequence), r->stop_text[i]))
            continue;
        s->stop = STOP_SEQUENCE;
        s->stop_sequence_text = r->stop_text[i];
    }
}

/* Compatible servers say "stop", or nothing, although a tool is called. */
static enum stop_reason final_stop(const struct openai_state *s)
{
    bool weak = s->stop == STOP_END || s->stop == STOP_UNKNOWN;
    if (s->refused && (weak || s->stop == STOP_FILTER))
        return STOP_FILTER;
    if (s->tool_count && weak)
        return STOP_TOOL;
    return s->stop == STOP_UNKNOWN ? STOP_END : s->stop;
}

void openai_finish(struct conversion *pc, struct openai_state *s)
{
    for (size_t i = 0; i < s->tool_count; i++) {
        if (s->tools[i].begun)
            out_tool_end(pc, &s->out, (uint32_t)i);
    }
    out_finish(pc, &s->out, &s->usage, final_stop(s), s->stop_sequence_text);
}

void openai_fail_by_finish(struct conversion *pc, struct openai_state *s, struct json reason)
{
    bool busy = json_is(reason, "insufficient_system_resource");
    out_fault_class(pc, &s->out, busy ? ERROR_UPSTREAM_OVERLOADED : ERROR_UPSTREAM_ERROR,
                    "The provider ended its answer with an error.");
}

struct json openai_first_choice(struct json choices)
{
    for (struct json_iter i = json_iter(choices); json_next(&i);) {
        int64_t index = 0;
        if (!json_i64(json_get(i.value, "index"), &index) || index == 0)
            return i.value;
    }
    return JSON_NOTHING;
}

bool openai_make_tools(struct conversion *pc, struct openai_state *s)
{
    if (!s->tools)
        s->tools = ARENA_ARRAY(pc->arena, struct openai_tool, OPENAI_MAX_TOOL_CALLS);
    return s->tools != NULL;
}

/* ---- a whole answer ---- */

static void say_whole_args(struct conversion *pc, struct openai_state *s, uint32_t slot,
                           struct json args)
{
    if (json_type(args) == JSON_OBJECT)
        out_tool_json(pc, &s->out, slot, args);
    else
        out_tool_args(pc, &s->out, slot, json_text(args));
}

/* More calls than can be kept are an error, as in a stream: never an answer that lacks some. */
static enum err say_whole_call(struct conversion *pc, struct openai_state *s, struct span id_text,
                               struct json function)
{
    if (!openai_make_tools(pc, s) || s->tool_count == OPENAI_MAX_TOOL_CALLS)
        return ERR_TOO_BIG;
    uint32_t slot = (uint32_t)s->tool_count++;
    s->tools[slot].begun = true;
    out_tool_begin(pc, &s->out, slot, id_text, json_text(json_get(function, "name")));
    say_whole_args(pc, s, slot, json_get(function, "arguments"));
    return OK;
}

static void say_thinking_blocks(struct conversion *pc, struct openai_state *s, struct json blocks)
{
    for (struct json_iter i = json_iter(blocks); json_next(&i);) {
        out_text(pc, &s->out, EVENT_THINK, json_text(json_get(i.value, "thinking")));
        out_text(pc, &s->out, EVENT_THINK_SIGNATURE, json_text(json_get(i.value, "signature")));
        if (json_is(json_get(i.value, "type"), "redacted_thinking"))
            out_text(pc, &s->out, EVENT_REDACTED, json_text(json_get(i.value, "data")));
    }
}

static enum err say_message(struct conversion *pc, struct openai_state *s, struct json message)
{
    enum err e = OK;
    struct json blocks = json_get(message, "thinking_blocks");
    if (json_type(blocks) == JSON_ARRAY && json_count(blocks))
        say_thinking_blocks(pc, s, blocks);
    else
        openai_say_reasoning(pc, s, message);
    openai_say_content(pc, s, json_get(message, "content"));
    openai_say_refusal(pc, s, json_get(message, "refusal"));
    struct json calls = json_get(message, "tool_calls"),
                legacy = json_get(message, "function_call");
    struct json_iter i = json_iter(calls);
    while (!e && json_type(calls) == JSON_ARRAY && json_next(&i))
        e = say_whole_call(pc, s, json_text(json_get(i.value, "id")),
                           json_get(i.value, "function"));
    if (!e && json_type(legacy) == JSON_OBJECT)
        e = say_whole_call(pc, s, SPAN_NONE, legacy);
    return e;
}

static enum err parse_whole(struct conversion *pc, struct openai_state *s, struct json root,
                            struct span body)
{
    if (json_type(root) != JSON_OBJECT)
        return ERR_INVALID;
    struct json choice = openai_first_choice(json_get(root, "choices")),
                message = json_get(choice, "message");
    if (answer_is_error(root)) {
        out_error_body(pc, &s->out, body);
        return OK;
    }
    if (json_absent(json_get(root, "choices"))) {
        out_fault_class(pc, &s->out, ERROR_UPSTREAM_ERROR, "The provider's answer is empty.");
        return OK;
    }
    if (json_type(message) != JSON_OBJECT)
        return ERR_INVALID;
    if (openai_is_failure(json_get(choice, "finish_reason"))) {
        openai_fail_by_finish(pc, s, json_get(choice, "finish_reason"));
        return OK;
    }
    openai_note_bill(s, root);
    s->usage.service_tier_text = json_text(json_get(root, "service_tier"));
    openai_note_stop(pc, s, choice);
    out_start(pc, &s->out, json_text(json_get(root, "id")), json_text(json_get(root, "model")),
              &s->usage);
    enum err e = say_message(pc, s, message);
    if (!e)
        openai_finish(pc, s);
    return e;
}

enum err openai_parse_response(struct conversion *pc, const struct transfer *x, struct span body)
{
    (void)x;
    struct openai_state *s = pc->state;
    struct buf repaired = {0};
    struct json root;
    enum err e = out_parse(pc, body, &repaired, &root);
    if (!e)
        e = parse_whole(pc, s, root, repaired.len ? buf_span(&repaired) : body);
    buf_free(&repaired);
    return e;
}
