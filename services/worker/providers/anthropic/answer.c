/* Anthropic answers → neutral events (docs/wire.md, Answers). */
#include "services/worker/providers/anthropic/anthropic.h"

/* ---- usage ---- */

void anthropic_forget_usage(struct anthropic_usage *u)
{
    *u = (struct anthropic_usage){.counts = usage_messages_none};
}

void anthropic_read_usage(struct conversion *pc, struct anthropic_usage *u, struct json usage)
{
    struct span tier = json_text(json_get(usage, "service_tier"));
    usage_read_messages(&u->counts, usage);
    if (tier.len) {
        u->tier.len = 0;
        (void)arena_text_append(&u->tier, pc->arena, tier);
    }
}

struct usage anthropic_neutral_usage(const struct anthropic_usage *u)
{
    struct usage usage = usage_of_messages(&u->counts);
    usage.service_tier_text = arena_text_span(&u->tier);
    return usage;
}

/* ---- why it stopped ---- */

static enum stop_reason stop_of(struct json reason)
{
    static const struct {
        const char *word;
        enum stop_reason stop;
    } stops[] = {
        {"end_turn", STOP_END},
        {"max_tokens", STOP_LENGTH},
        {"stop_sequence", STOP_SEQUENCE},
        {"tool_use", STOP_TOOL},
        {"pause_turn", STOP_PAUSE},
        {"refusal", STOP_FILTER},
        {"model_context_window_exceeded", STOP_CONTEXT},
    };
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        if (json_is(reason, stops[i].word))
            return stops[i].stop;
    }
    return STOP_UNKNOWN;
}

void anthropic_keep_text(struct conversion *pc, struct arena_text *into, struct span text)
{
    into->len = 0;
    (void)arena_text_append(into, pc->arena, text);
}

/* The members of a message, or of a message_delta's delta. */
void anthropic_note_stop(struct conversion *pc, struct anthropic_state *s, struct json from)
{
    struct json reason = json_get(from, "stop_reason");
    struct span sequence = json_text(json_get(from, "stop_sequence"));
    struct span explanation = json_text(json_get(json_get(from, "stop_details"), "explanation"));
    if (json_type(reason) == JSON_STRING) {
        s->stopped = true;
        s->stop = stop_of(reason);
    }
    if (sequence.len)
        anthropic_keep_text(pc, &s->stop_sequence, sequence);
    if (explanation.len)
        anthropic_keep_text(pc, &s->explanation, explanation);
}

/* The answer's own tool was no tool to the client. */
static enum stop_reason final_stop(const struct anthropic_state *s)
{
    return s->stop == STOP_TOOL && s->json_tool && s->slots == 0 ? STOP_END : s->stop;
}

/* A streaming chat client has no place for the explanation any more: only a whole answer says it.
 */
void anthropic_finish(struct conversion *pc, struct anthropic_state *s)
{
    struct usage usage = anthropic_neutral_usage(&s->usage);
    if (s->lost || s->stop_sequence.failed || s->explanation.failed || s->usage.tier.failed) {
        out_fault_class(pc, &s->out, ERROR_INTERNAL, "out of memory");
        return;
    }
    if (s->stop == STOP_FILTER &&
        (!pc->request->stream || pc->request->api == API_OPENAI_RESPONSES))
        out_text(pc, &s->out, EVENT_REFUSAL, arena_text_span(&s->explanation));
    out_finish(pc, &s->out, &usage, final_stop(s), arena_text_span(&s->stop_sequence));
}

/* ---- a whole answer ---- */

bool anthropic_is_json_tool(const struct anthropic_state *s, struct json block)
{
    return s->json_tool && json_is(json_get(block, "name"), ANTHROPIC_JSON_TOOL);
}

static void append_input(struct buf *text, struct json input)
{
    if (json_type(input) == JSON_OBJECT)
        json_append_json_text(text, input);
    else
        buf_append_str(text, "{}");
}

static void say_whole_tool(struct conversion *pc, struct anthropic_state *s, struct json block)
{
    struct buf text = {0};
    append_input(&text, json_get(block, "input"));
    if (anthropic_is_json_tool(s, block)) {
        out_text(pc, &s->out, EVENT_TEXT, buf_span(&text));
    } else {
        uint32_t slot = s->slots++;
        out_tool_begin(pc, &s->out, slot, json_text(json_get(block, "id")),
                       json_text(json_get(block, "name")));
        out_tool_args(pc, &s->out, slot, buf_span(&text));
        out_tool_end(pc, &s->out, slot);
    }
    buf_free(&text);
}

/* Kinds we do not know (server tools, fallback, compaction, …) are passed over. */
static void say_block(struct conversion *pc, struct anthropic_state *s, struct json block)
{
    struct json type = json_get(block, "type");
    if (json_is(type, "text")) {
        out_text(pc, &s->out, EVENT_TEXT, json_text(json_get(block, "text")));
    } else if (json_is(type, "thinking")) {
        out_text(pc, &s->out, EVENT_THINK, json_text(json_get(block, "thinking")));
        out_text(pc, &s->out, EVENT_THINK_SIGNATURE, json_text(json_get(block, "signature")));
    } else if (json_is(type, "redacted_thinking")) {
        out_text(pc, &s->out, EVENT_REDACTED, json_text(json_get(block, "data")));
    } else if (json_is(type, "tool_use")) {
        say_whole_tool(pc, s, block);
    }
}

static enum err parse_whole(struct conversion *pc, struct anthropic_state *s, struct json root,
                            struct span body)
{
    struct json content = json_get(root, "content");
    if (answer_is_error(root)) {
        out_error_body(pc, &s->out, body);
        return OK;
    }
    if (json_absent(content) && json_absent(json_get(root, "stop_reason"))) {
        out_fault_class(pc, &s->out, ERROR_UPSTREAM_ERROR, "The provider's answer is empty.");
        return OK;
    }
    if (json_type(content) != JSON_ARRAY)
        return ERR_INVALID;
    anthropic_forget_usage(&s->usage);
    anthropic_read_usage(pc, &s->usage, json_get(root, "usage"));
    anthropic_note_stop(pc, s, root);
    struct usage usage = anthropic_neutral_usage(&s->usage);
    out_start(pc, &s->out, json_text(json_get(root, "id")), json_text(json_get(root, "model")),
              &usage);
    for (struct json_iter i = json_iter(content); json_next(&i);)
        say_block(pc, s, i.value);
    anthropic_finish(pc, s);
    return OK;
}

enum err anthropic_parse_response(struct conversion *pc, const struct transfer *x, struct span body)
{
    (void)x;
    struct buf repaired = {0};
    struct json root;
    enum err e = out_parse(pc, body, &repaired, &root);
    if (!e)
        e = parse_whole(pc, pc->state, root, repaired.len ? buf_span(&repaired) : body);
    buf_free(&repaired);
    return e;
}
